//! What is remembered of credentials, so that not every request asks the database.
//!
//! A bounded memory that is used only while this replica hears of revocations; when the connection that brings them is
//! lost, everything is forgotten and nothing is remembered until it is back. Even then an entry counts for a minute at most;
//! one that is in use is asked about again before that, beside the requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use quick_cache::sync::Cache;

use crate::domain::{ResellerId, Time, TokenId};
use crate::service::Principal;

/// How many credentials are remembered; of more, those that are used least are forgotten.
const CAPACITY: usize = 20_000;
/// How long one is remembered at most.
const MAX_AGE: TimeDelta = TimeDelta::seconds(60);
/// From which age on one that is in use is asked about again.
const OLD: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug)]
struct Entry {
    principal: Principal,
    kept_at: Time,
    valid_until: Option<Time>,
    /// Whether it was recalled since it was kept.
    was_used: AtomicBool,
}

type Used = HashMap<TokenId, (ResellerId, Time)>;

#[derive(Debug)]
pub(in crate::service) struct CredentialCache {
    entries: Cache<[u8; 32], Arc<Entry>>,
    /// Counts what was forgotten: a look-up that began before is not kept after.
    generation: AtomicU64,
    is_on: AtomicBool,
    used: Mutex<Used>,
    signing_keys: Mutex<HashMap<String, Arc<[u8]>>>,
}

impl CredentialCache {
    pub(in crate::service) fn new() -> Self {
        Self {
            entries: Cache::new(CAPACITY),
            generation: AtomicU64::new(0),
            is_on: AtomicBool::new(false),
            used: Mutex::default(),
            signing_keys: Mutex::default(),
        }
    }

    pub(super) fn recall(&self, hash: &[u8; 32], now: Time) -> Option<Principal> {
        if !self.is_on() {
            return None;
        }
        let entry = self.entries.get(hash)?;
        let age = now - entry.kept_at;
        let is_fresh = age >= TimeDelta::zero()
            && age < MAX_AGE
            && entry.valid_until.is_none_or(|until| until > now);
        is_fresh.then(|| {
            entry.was_used.store(true, Ordering::Relaxed);
            entry.principal.clone()
        })
    }

    /// The credentials of ours that are in use, and must be asked about again to be remembered for longer.
    pub(super) fn old(&self, now: Time) -> Vec<[u8; 32]> {
        let is_old = |entry: &Entry| {
            entry.principal.token.is_some()
                && entry.was_used.load(Ordering::Relaxed)
                && now - entry.kept_at >= OLD
        };
        self.entries
            .iter()
            .filter(|(_, entry)| is_old(entry))
            .map(|(hash, _)| hash)
            .collect()
    }

    /// Forgets one that is not valid any more.
    pub(super) fn drop_invalid(&self, hash: &[u8; 32]) {
        self.entries.remove(hash);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn keep(
        &self,
        hash: [u8; 32],
        principal: &Principal,
        valid_until: Option<Time>,
        now: Time,
        generation: u64,
    ) {
        if !self.is_on() {
            return;
        }
        let was_used = AtomicBool::new(false);
        self.entries.insert(
            hash,
            Arc::new(Entry {
                principal: principal.clone(),
                kept_at: now,
                valid_until,
                was_used,
            }),
        );
        // Looked at after, not before: what is forgotten in between must not stay.
        if self.generation() != generation {
            self.entries.remove(&hash);
        }
    }

    pub(super) fn forget(&self, reseller: ResellerId) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries
            .retain(|_, entry| entry.principal.storage_reseller() != reseller);
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst)
    }

    pub(super) fn switch_on(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    pub(super) fn switch_off(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.clear();
    }

    pub(super) fn note_use(&self, principal: &Principal, now: Time) {
        if let Some(token) = principal.token {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            // Not more than one batch ever writes; the rest is noted at its next use.
            if used.len() < CAPACITY || used.contains_key(&token) {
                used.insert(token, (principal.storage_reseller(), now));
            }
        }
    }

    pub(super) fn take_used(&self) -> Vec<(ResellerId, TokenId, Time)> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let mut used: Vec<_> = used
            .into_iter()
            .map(|(token, (reseller, at))| (reseller, token, at))
            .collect();
        used.sort_unstable();
        used
    }

    pub(super) fn signing_key(&self, name: &str) -> Option<Arc<[u8]>> {
        self.signing_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(super) fn keep_signing_key(&self, name: &str, secret: &Arc<[u8]>) {
        self.signing_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::clone(secret));
    }
}

//! The cache of credentials, so that most requests need no look-up.
//!
//! Another replica's revocations arrive as notifications on a LISTEN connection. The cache is on
//! only while that connection is open; when it is lost, the cache is emptied. The connection may be
//! open and deliver nothing: so the process sends itself heartbeats, and no entry is used unless a
//! heartbeat that was sent within the last second has come back. Notifications arrive in order, so
//! every revocation from before that second has arrived too. Even then, an entry is valid for a
//! minute at most. Entries that are in use are renewed before that, in the background.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use crate::domain::{ResellerId, Time, TokenId};
use crate::service::Principal;

/// How many credentials are cached. Beyond that the least used ones are evicted.
const CAPACITY: usize = 20_000;
/// How long an entry is valid at most.
const MAX_AGE: TimeDelta = TimeDelta::seconds(60);
/// The age from which an entry that is in use is renewed.
const RENEW_AGE: TimeDelta = TimeDelta::seconds(30);
/// How long after its sending a heartbeat that came back proves that the LISTEN connection works,
/// in microseconds. A revocation takes effect within this time.
const PROOF_MICROS: i64 = 1_000_000;

#[derive(Debug)]
struct Entry {
    principal: Principal,
    cached_at: Time,
    valid_until: Option<Time>,
    /// Whether a request has used the entry since it was cached.
    was_used: AtomicBool,
}

type LastUses = HashMap<TokenId, (ResellerId, Time)>;

/// Principals by the SHA-256 of their credential; also the platform's signing keys, and the uses of
/// credentials that are not written to the database yet.
#[derive(Debug)]
pub(in crate::service) struct CredentialCache {
    entries: Cache<[u8; 32], Arc<Entry>>,
    /// Grows with every invalidation. A look-up that began in an earlier generation is not cached.
    generation: AtomicU64,
    is_on: AtomicBool,
    /// When the latest heartbeat that came back was sent, in microseconds since 1970.
    proven_at: AtomicI64,
    /// Notified when an entry is cached.
    is_filled: Notify,
    last_uses: Mutex<LastUses>,
    signing_keys: Mutex<HashMap<String, Arc<[u8]>>>,
}

impl CredentialCache {
    pub(in crate::service) fn new() -> Self {
        Self {
            entries: Cache::new(CAPACITY),
            generation: AtomicU64::new(0),
            is_on: AtomicBool::new(false),
            proven_at: AtomicI64::new(i64::MIN),
            is_filled: Notify::new(),
            last_uses: Mutex::default(),
            signing_keys: Mutex::default(),
        }
    }

    /// The principal of a credential, if there is a valid entry.
    pub(super) fn get(&self, hash: &[u8; 32], now: Time) -> Option<Principal> {
        if !self.is_usable(now) {
            return None;
        }
        let entry = self.entries.get(hash)?;
        let age = now - entry.cached_at;
        let is_valid = age >= TimeDelta::zero()
            && age < MAX_AGE
            && entry.valid_until.is_none_or(|until| until > now);
        is_valid.then(|| {
            entry.was_used.store(true, Ordering::Relaxed);
            entry.principal.clone()
        })
    }

    /// The credentials that are in use and are to be renewed now. JSON Web Tokens of other issuers
    /// are never renewed: the database does not know them.
    pub(super) fn to_renew(&self, now: Time) -> Vec<[u8; 32]> {
        let is_due = |entry: &Entry| {
            entry.principal.token.is_some()
                && entry.was_used.load(Ordering::Relaxed)
                && now - entry.cached_at >= RENEW_AGE
        };
        self.entries
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(hash, _)| hash)
            .collect()
    }

    /// Removes a credential that is not valid any more.
    pub(super) fn remove(&self, hash: &[u8; 32]) {
        self.entries.remove(hash);
    }

    /// The generation that a look-up begins in, to be passed to [`CredentialCache::insert`].
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Caches the result of a look-up that began in `generation`.
    pub(super) fn insert(
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
        let entry = Entry {
            principal: principal.clone(),
            cached_at: now,
            valid_until,
            was_used: AtomicBool::new(false),
        };
        self.entries.insert(hash, Arc::new(entry));
        self.is_filled.notify_one();
        // Compared after the insert: an invalidation between the comparison and the insert would
        // otherwise be lost.
        if self.generation() != generation {
            self.entries.remove(&hash);
        }
    }

    /// Removes all credentials of a reseller.
    pub(super) fn forget(&self, reseller: ResellerId) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries
            .retain(|_, entry| entry.principal.storage_reseller() != reseller);
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst)
    }

    /// Whether entries may be used now: the LISTEN connection is open, and a heartbeat has proven
    /// it within the last second.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        let age = now
            .timestamp_micros()
            .checked_sub(self.proven_at.load(Ordering::SeqCst));
        self.is_on() && age.is_some_and(|age| (0..PROOF_MICROS).contains(&age))
    }

    /// Records that the heartbeat that was sent at this time has come back.
    pub(super) fn prove(&self, sent_at: Time) {
        self.proven_at
            .store(sent_at.timestamp_micros(), Ordering::SeqCst);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Resolves when an entry is cached.
    pub(super) async fn filled(&self) {
        self.is_filled.notified().await;
    }

    /// Removes the entries that nobody can use any more because of their age.
    pub(super) fn remove_expired(&self, now: Time) {
        self.entries
            .retain(|_, entry| now - entry.cached_at < MAX_AGE);
    }

    pub(super) fn switch_on(&self) {
        // Whatever was looked up while nobody listened may have been revoked since.
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.is_on.store(true, Ordering::SeqCst);
    }

    /// Empties the cache, and caches nothing until it is switched on again.
    pub(super) fn switch_off(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.clear();
    }

    /// Records that a credential was used, until [`CredentialCache::take_last_uses`].
    pub(super) fn record_use(&self, principal: &Principal, now: Time) {
        if let Some(token) = principal.token {
            let mut uses = lock(&self.last_uses);
            // Bounds the batch that is written. A credential that does not fit is recorded at a
            // later use.
            if uses.len() < CAPACITY || uses.contains_key(&token) {
                uses.insert(token, (principal.storage_reseller(), now));
            }
        }
    }

    /// Takes the recorded uses, in the order in which the rows are locked when they are written.
    pub(super) fn take_last_uses(&self) -> Vec<(ResellerId, TokenId, Time)> {
        let uses = std::mem::take(&mut *lock(&self.last_uses));
        let mut uses: Vec<_> = uses
            .into_iter()
            .map(|(token, (reseller, at))| (reseller, token, at))
            .collect();
        uses.sort_unstable();
        uses
    }

    /// A signing key of the platform. Signing keys never change, so they stay cached until the
    /// process ends.
    pub(super) fn signing_key(&self, name: &str) -> Option<Arc<[u8]>> {
        lock(&self.signing_keys).get(name).cloned()
    }

    pub(super) fn insert_signing_key(&self, name: &str, secret: &Arc<[u8]>) {
        lock(&self.signing_keys).insert(name.to_owned(), Arc::clone(secret));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

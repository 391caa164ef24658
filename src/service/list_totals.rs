//! The totals of lists.
//!
//! Counting a million rows takes longer than reading a page of them, and clients read a list page
//! by page.
//!
//! - Without a filter, the total is the kept number of the accounts of the reseller.
//! - Of a reseller's accounts in a state, the totals are kept in the database once the reseller has
//!   many accounts and somebody has read such a list. A list corrects them for what changed since,
//!   and a job, or a list that found them far behind, moves them on.
//! - All others are counted every time if they are small. Large ones are cached for 30 seconds.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use quick_cache::sync::Cache;
use tracing::warn;

use super::{Clock, Service};
use crate::domain::{Error, ResellerId, StateFilter, Time};
use crate::store::{Store, Tenancy};

/// Totals up to this one are counted every time. The totals by state of resellers with more accounts
/// are kept.
pub(super) const EXACT: i64 = 10_000;
/// How many journal entries kept totals may be behind before a list has them moved on.
const BEHIND: i64 = 200;
/// How often a list notes that kept totals are still asked for.
const NOTED: TimeDelta = TimeDelta::hours(1);
/// How long a larger total is cached.
const MAX_AGE: TimeDelta = TimeDelta::seconds(30);
/// How many totals are cached.
const CAPACITY: usize = 1_000;

/// The reseller whose accounts are listed (`None` means all resellers), and the filter as text.
pub(super) type ListKey = (Option<ResellerId>, String);

/// The totals that this process knows of.
#[derive(Debug)]
pub(super) struct ListTotals {
    /// Totals, each with the time when it was counted.
    cached: Cache<ListKey, (Time, i64)>,
    /// The resellers whose kept totals this process is building or moving on.
    worked_on: Mutex<HashSet<ResellerId>>,
}

impl ListTotals {
    pub(super) fn new() -> Self {
        Self {
            cached: Cache::new(CAPACITY),
            worked_on: Mutex::default(),
        }
    }

    /// The total of a list, if it was large when it was counted within the last 30 seconds.
    pub(super) fn cached(&self, list: &ListKey, now: Time) -> Option<i64> {
        let (counted_at, total) = self.cached.get(list)?;
        let age = now - counted_at;
        (age >= TimeDelta::zero() && age < MAX_AGE).then_some(total)
    }

    /// Caches the total of a list that was counted now.
    pub(super) fn insert(&self, list: ListKey, now: Time, total: i64) {
        self.cached.insert(list, (now, total));
    }

    /// Notes that this process works on the kept totals of a reseller. `None` if it does already.
    fn work_on(self: &Arc<Self>, reseller: ResellerId) -> Option<Work> {
        let mut worked_on = self
            .worked_on
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        worked_on.insert(reseller).then(|| Work {
            totals: Arc::clone(self),
            reseller,
        })
    }
}

/// Work on the kept totals of a reseller.
struct Work {
    totals: Arc<ListTotals>,
    reseller: ResellerId,
}

impl Drop for Work {
    fn drop(&mut self) {
        let worked_on = self.totals.worked_on.lock();
        let mut worked_on = worked_on.unwrap_or_else(PoisonError::into_inner);
        worked_on.remove(&self.reseller);
    }
}

impl Service {
    /// How many accounts of a reseller are in a state, by the kept totals. `None` if they must be
    /// counted; then the totals are kept from now on if the reseller has many accounts.
    pub(super) async fn state_total(
        &self,
        reseller: ResellerId,
        state: StateFilter,
        now: Time,
    ) -> Result<Option<i64>, Error> {
        let tenancy = Tenancy::of(reseller);
        let read = self.read_page(&tenancy, move |store| async move {
            store.state_total(reseller, state, now).await
        });
        let found = read.await?;
        let is_due = match found.asked_at {
            None => found.live > EXACT,
            Some(asked_at) => found.behind > BEHIND || now - asked_at > NOTED,
        };
        if is_due && let Some(work) = self.totals.work_on(reseller) {
            let (store, clock) = (self.store.for_background(), self.clock.clone());
            self.tasks.spawn(async move {
                if let Err(error) = keep(&store, &clock, reseller).await {
                    warn!(%error, %reseller, "the totals of lists were not moved on");
                }
                drop(work);
            });
        }
        Ok(found.total)
    }

    /// Keeps the totals by state of a reseller from now on, and moves them on to the present.
    pub async fn keep_totals(&self, reseller: ResellerId) -> Result<(), Error> {
        keep(&self.store.for_background(), &self.clock, reseller).await
    }

    /// Moves all kept totals on to the present. Drops those that no list has asked for lately.
    pub async fn fold_totals(&self) -> Result<(), Error> {
        let resellers = self
            .background_read(Tenancy::Platform, |tx| Box::pin(tx.list_totals()))
            .await?;
        let store = self.store.for_background();
        // A reseller that fails holds up no other one.
        let mut outcome = Ok(());
        for reseller in resellers {
            outcome = outcome.and(fold(&store, &self.clock, reseller).await);
        }
        outcome
    }
}

async fn keep(store: &Store, clock: &Clock, reseller: ResellerId) -> Result<(), Error> {
    let mut tx = store.begin(&Tenancy::of(reseller)).await?;
    tx.begin_totals(reseller, clock.now()).await?;
    tx.commit().await?;
    build_and_fold(store, clock, reseller).await
}

async fn fold(store: &Store, clock: &Clock, reseller: ResellerId) -> Result<(), Error> {
    let mut tx = store.begin(&Tenancy::of(reseller)).await?;
    let is_dropped = tx.drop_stale_totals(reseller, clock.now()).await?;
    tx.commit().await?;
    if is_dropped {
        return Ok(());
    }
    build_and_fold(store, clock, reseller).await
}

/// Finishes building the totals of a reseller, and moves them on to the present.
async fn build_and_fold(store: &Store, clock: &Clock, reseller: ResellerId) -> Result<(), Error> {
    let tenancy = Tenancy::of(reseller);
    loop {
        let mut tx = store.begin(&tenancy).await?;
        let has_more = tx.build_totals(reseller, clock.now()).await?;
        tx.commit().await?;
        if !has_more {
            break;
        }
    }
    loop {
        let mut tx = store.begin(&tenancy).await?;
        let has_more = tx.fold_totals(reseller, clock.now()).await?;
        tx.commit().await?;
        if !has_more {
            return Ok(());
        }
    }
}

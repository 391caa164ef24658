//! How many a list has in all.
//!
//! Counting a million rows takes longer than reading a page of them, and a list is read page by page. So what is many is
//! counted once in a while; what is few, every time.

use std::future::Future;

use quick_cache::sync::Cache;

use crate::domain::{Error, ResellerId, Time};

/// Up to here every total is exact.
pub(super) const FEW: i64 = 1_000;
/// For how long a larger one is remembered.
const MAX_AGE: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// How many are remembered.
const CAPACITY: usize = 1_000;

/// Whose list, and of what.
type Key = (Option<ResellerId>, String);

#[derive(Debug)]
pub(super) struct ListTotals(Cache<Key, (Time, i64)>);

impl ListTotals {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// The total of a list of which `few` were counted, up to one more than [`FEW`]; `all` counts them all, and is only asked
    /// when nothing is remembered.
    pub(super) async fn get_or_count(
        &self,
        key: Key,
        now: Time,
        few: i64,
        all: impl Future<Output = Result<i64, Error>>,
    ) -> Result<i64, Error> {
        if few <= FEW {
            return Ok(few);
        }
        if let Some((counted_at, total)) = self.0.get(&key) {
            let age = now - counted_at;
            if age >= chrono::TimeDelta::zero() && age < MAX_AGE {
                return Ok(total);
            }
        }
        let total = all.await?;
        self.0.insert(key, (now, total));
        Ok(total)
    }
}

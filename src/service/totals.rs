//! How many a list has in all.
//!
//! Counting a million rows takes longer than reading a page of them, and a list is read page by page. So what is many is
//! counted once in a while; what is few, every time.

use quick_cache::sync::Cache;

use crate::domain::{ResellerId, Time};

/// Up to here every total is exact.
pub(super) const FEW: i64 = 1_000;
/// For how long a larger one is remembered.
const MAX_AGE: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// How many are remembered.
const CAPACITY: usize = 1_000;

/// Whose list, and of what.
type Key = (Option<ResellerId>, String);

#[derive(Debug)]
pub(super) struct Totals(Cache<Key, (Time, i64)>);

impl Totals {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    pub(super) fn recall(&self, key: &Key, now: Time) -> Option<i64> {
        let (counted_at, total) = self.0.get(key)?;
        let age = now - counted_at;
        (age >= chrono::TimeDelta::zero() && age < MAX_AGE).then_some(total)
    }

    pub(super) fn keep(&self, key: Key, now: Time, total: i64) -> i64 {
        self.0.insert(key, (now, total));
        total
    }
}

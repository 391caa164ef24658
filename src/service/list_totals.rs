//! The totals of lists.
//!
//! Counting a million rows takes longer than reading a page of them, and clients read a list page
//! by page. So large totals are cached for 30 seconds; small ones are counted every time.

use std::future::Future;

use chrono::TimeDelta;
use quick_cache::sync::Cache;

use crate::domain::{Error, ResellerId, Time};

/// Totals up to this one are counted every time.
pub(super) const EXACT: i64 = 10_000;
/// How long a larger total is cached.
const MAX_AGE: TimeDelta = TimeDelta::seconds(30);
/// How many totals are cached.
const CAPACITY: usize = 1_000;

/// The reseller whose accounts are listed (`None` means all resellers), and the filter as text.
type ListKey = (Option<ResellerId>, String);

/// A cache of totals, each with the time when it was counted.
#[derive(Debug)]
pub(super) struct ListTotals(Cache<ListKey, (Time, i64)>);

impl ListTotals {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// The total of a list. The caller has counted `few`, up to [`EXACT`] + 1. If that is more than
    /// [`EXACT`] and no total is cached, `all` is awaited, which counts every row.
    pub(super) async fn get_or_count(
        &self,
        list: ListKey,
        now: Time,
        few: i64,
        all: impl Future<Output = Result<i64, Error>>,
    ) -> Result<i64, Error> {
        if few <= EXACT {
            return Ok(few);
        }
        if let Some((counted_at, total)) = self.0.get(&list) {
            let age = now - counted_at;
            if age >= TimeDelta::zero() && age < MAX_AGE {
                return Ok(total);
            }
        }
        let total = all.await?;
        self.0.insert(list, (now, total));
        Ok(total)
    }
}

//! How much space the answers stored under idempotency keys take, kept in this process.
//!
//! Answers are kept for hours, and a caller decides how many there are and, by the metadata of an
//! account, how long. So each reseller may store so many bytes within the time for which answers are
//! kept. Counting them in the database would cost a statement for each batch. Each process counts
//! those that it has stored instead, by the hour, and begins with none when it starts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{Error, ResellerId, Time};
use crate::store::StoredRequest;

const HOUR: i64 = 3_600;
/// What a row takes besides its texts, in bytes: hashes, times, the tuple's header, and its entries
/// in two indexes.
const ROW: u64 = 256;

/// The space of all resellers.
#[derive(Debug)]
pub(super) struct AnswerSpace {
    /// How many bytes a reseller may store. `None` means any number.
    limit: Option<u64>,
    /// How long answers are kept, in seconds.
    window: i64,
    stored: Mutex<HashMap<ResellerId, Stored>>,
}

/// What a reseller has stored.
#[derive(Debug, Default)]
struct Stored {
    /// The bytes by the hour in which they were stored, in hours since 1970.
    by_hour: BTreeMap<i64, u64>,
    total: u64,
}

impl AnswerSpace {
    pub(super) fn new(limit: Option<u64>, window: Duration) -> Self {
        Self {
            limit,
            window: i64::try_from(window.as_secs()).unwrap_or(i64::MAX),
            stored: Mutex::default(),
        }
    }

    /// Checks that a reseller may store one more answer. Those under way may pass the limit a
    /// little. The operator's own answers are not limited.
    ///
    /// # Errors
    /// [`Error::AnswerSpaceUsedUp`].
    pub(super) fn check(&self, reseller: ResellerId, now: Time) -> Result<(), Error> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut all = self.lock();
        let Some(stored) = all.get_mut(&reseller) else {
            return Ok(());
        };
        stored.forget(self.last_expired(now));
        if stored.total < limit {
            return Ok(());
        }
        let oldest = stored.by_hour.keys().next().copied().unwrap_or_default();
        let expires_at = (oldest + 1)
            .saturating_mul(HOUR)
            .saturating_add(self.window);
        let retry_after = expires_at.saturating_sub(now.timestamp()).max(1);
        Err(Error::AnswerSpaceUsedUp {
            retry_after: u32::try_from(retry_after).unwrap_or(u32::MAX),
        })
    }

    /// Counts answers that are stored.
    pub(super) fn add<'a>(&self, answers: impl IntoIterator<Item = &'a StoredRequest>, now: Time) {
        if self.limit.is_none() {
            return;
        }
        let hour = now.timestamp().div_euclid(HOUR);
        let mut all = None;
        for answer in answers {
            if answer.key.reseller == ResellerId::PLATFORM {
                continue;
            }
            let all = all.get_or_insert_with(|| self.lock());
            let stored = all.entry(answer.key.reseller).or_default();
            let size = size(answer);
            *stored.by_hour.entry(hour).or_default() += size;
            stored.total += size;
        }
    }

    /// Forgets what has expired.
    pub(super) fn forget_expired(&self, now: Time) {
        let last = self.last_expired(now);
        self.lock().retain(|_, stored| {
            stored.forget(last);
            stored.total > 0
        });
    }

    /// The last hour all of whose answers have expired.
    fn last_expired(&self, now: Time) -> i64 {
        let before = now.timestamp().saturating_sub(self.window);
        before.div_euclid(HOUR) - 1
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ResellerId, Stored>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// Forgets the hours up to `last`.
    fn forget(&mut self, last: i64) {
        while let Some(oldest) = self.by_hour.first_entry()
            && *oldest.key() <= last
        {
            self.total -= oldest.remove();
        }
    }
}

/// How many bytes an answer takes.
fn size(stored: &StoredRequest) -> u64 {
    let (key, answer) = (&stored.key, &stored.answer);
    let headers = [&answer.headers.etag, &answer.headers.location];
    let headers: usize = headers.into_iter().flatten().map(String::len).sum();
    // The key is in the index as well.
    let texts = 2 * (key.method.len() + key.path.len() + key.key.len())
        + answer.content_type.len()
        + answer.body.len()
        + headers;
    u64::try_from(texts).unwrap_or(u64::MAX).saturating_add(ROW)
}

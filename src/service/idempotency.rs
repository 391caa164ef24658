//! Requests that are carried out once, however often they are sent.

use std::fmt;
use std::sync::Arc;

use super::Service;
use crate::domain::{Account, Error, Outcome, Time};
use crate::store::{IdempotencyKey, StoredAnswer, Tenancy};

/// Writes an outcome as the dialect would, so that a repeat can be answered with the same bytes. An answer of 500 or
/// more is not kept.
type Encoder<T> = Arc<dyn Fn(&Result<T, Error>) -> StoredAnswer + Send + Sync>;

/// Asks for a request to be carried out once, however often it is sent.
pub struct IdempotentRequest<T = CommandOutcome> {
    /// What makes it the same request.
    pub key: IdempotencyKey,
    /// SHA-256 of its body: another body under the same key is refused.
    pub fingerprint: [u8; 32],
    /// How its answer is written.
    pub encode: Encoder<T>,
}

impl<T> Clone for IdempotentRequest<T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            fingerprint: self.fingerprint,
            encode: Arc::clone(&self.encode),
        }
    }
}

impl<T> fmt::Debug for IdempotentRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotentRequest")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The account after it.
    pub account: Account,
    /// Whether anything changed.
    pub outcome: Outcome,
    /// When it was decided.
    pub at: Time,
}

/// The answer to a change.
#[derive(Debug, Clone)]
pub enum Completion<T = CommandOutcome> {
    /// It was carried out now.
    Fresh(Box<T>),
    /// It was answered before, with this.
    Replayed(StoredAnswer),
}

impl<T> Completion<T> {
    /// What was done, for callers that sent no idempotency key.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if it was answered before.
    pub fn done(self) -> Result<T, Error> {
        match self {
            Self::Fresh(done) => Ok(*done),
            Self::Replayed(_) => Err(Error::IdempotencyKeyReused),
        }
    }
}

impl Service {
    /// The answer that was stored under an idempotency key, if the key was used before with the same request. The
    /// dialects ask for it before any other look-up, so that a retry gets its answer even when the account that
    /// it names has gone since. A request that is still under way is found by the change itself.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the key was used with another request.
    pub async fn stored_answer(
        &self,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
    ) -> Result<Option<StoredAnswer>, Error> {
        let now = self.now();
        let stored = self
            .read(Tenancy::of(key.reseller), move |tx| {
                Box::pin(async move { tx.fetch_answers(&[key], now).await })
            })
            .await?;
        match stored.into_iter().next() {
            None => Ok(None),
            Some(stored) if stored.fingerprint == fingerprint => Ok(Some(stored.answer)),
            Some(_) => Err(Error::IdempotencyKeyReused),
        }
    }
}

//! Requests that are carried out once, however often they are sent.
//!
//! A request that carries an `Idempotency-Key` is stored with its answer, in the transaction of the
//! change itself. A repeat of the request gets the stored bytes. Another request under the same key
//! is refused; the SHA-256 of the body tells them apart.

use std::fmt;
use std::sync::Arc;

use super::{Seal, Service};
use crate::domain::{Account, Error, Outcome, Time};
use crate::store::{IdempotencyKey, StoredAnswer, StoredRequest, Tenancy};

/// Encodes a result as the dialect answers it, so that a repeat gets the same bytes. An answer with
/// status 500 or above is never stored.
type Encoder<T> = Arc<dyn Fn(&Result<T, Error>) -> StoredAnswer + Send + Sync>;

/// The part of a request that makes it idempotent: its key, its fingerprint and its encoder.
pub struct IdempotentRequest<T = CommandOutcome> {
    /// Two requests with the same key are the same request.
    pub key: IdempotencyKey,
    /// SHA-256 of the request's body. The same key with another body is refused.
    pub fingerprint: [u8; 32],
    /// Encodes the answer that is stored.
    pub encode: Encoder<T>,
    /// Encrypts the answer, if it contains a secret. The key is then that of the seal.
    pub seal: Option<Seal>,
}

impl<T> IdempotentRequest<T> {
    /// The request with its answer, to be stored. `None` if the answer must not be stored: its
    /// status is 500 or above, it cannot be encrypted, or the reseller is suspended; the same
    /// request is to succeed once the suspension is lifted.
    pub(super) fn with_answer(&self, outcome: &Result<T, Error>) -> Option<StoredRequest> {
        if matches!(outcome, Err(Error::ResellerSuspended)) {
            return None;
        }
        let answer = (self.encode)(outcome);
        if answer.status >= 500 {
            return None;
        }
        match &self.seal {
            Some(seal) => seal.close(&self.fingerprint, answer),
            None => Some(StoredRequest {
                key: self.key.clone(),
                fingerprint: self.fingerprint,
                nonce: None,
                answer,
            }),
        }
    }

    /// The answer that is stored for the request.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if it belongs to a request with another body.
    pub(super) fn stored_answer(&self, stored: StoredRequest) -> Result<StoredAnswer, Error> {
        match &self.seal {
            Some(seal) => seal.open(&self.fingerprint, stored),
            None => stored.answer_to(&self.fingerprint),
        }
    }
}

impl<T> Clone for IdempotentRequest<T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            fingerprint: self.fingerprint,
            encode: Arc::clone(&self.encode),
            seal: self.seal.clone(),
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

/// The result of a command on an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The account after the command.
    pub account: Account,
    /// Whether the command changed anything.
    pub outcome: Outcome,
    /// When the command was decided.
    pub at: Time,
}

/// The answer to a request that may be a repeat.
#[derive(Debug, Clone)]
pub enum Completion<T = CommandOutcome> {
    /// The request was carried out now.
    Fresh(Box<T>),
    /// The request is a repeat; this is the answer that the first one got.
    Replayed(StoredAnswer),
}

impl<T> Completion<T> {
    /// The fresh result, for callers that sent no idempotency key.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the answer is a replayed one.
    pub fn done(self) -> Result<T, Error> {
        match self {
            Self::Fresh(result) => Ok(*result),
            Self::Replayed(_) => Err(Error::IdempotencyKeyReused),
        }
    }
}

impl Service {
    /// The answer stored under an idempotency key, or `None` if the key is new or has expired.
    ///
    /// The dialects call this before any other look-up, so that a retry gets its answer even when
    /// the account in its path is gone by then. Look-ups at the same time share one statement, by a
    /// lane. A first request that is still under way has stored nothing yet; the change itself then
    /// finds its answer.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the key was used with another body.
    pub async fn stored_answer(
        &self,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
    ) -> Result<Option<StoredAnswer>, Error> {
        let stored = self.answers.submit(key).await?;
        stored
            .map(|stored| stored.answer_to(&fingerprint))
            .transpose()
    }

    /// The same as [`Service::stored_answer`] for an operation whose answer may contain a secret.
    /// Such an answer is stored under the key of its seal. Answers without a secret, and those that
    /// an earlier version stored, are under the caller's own key.
    pub async fn stored_secret_answer(
        &self,
        key: IdempotencyKey,
        seal: &Seal,
        fingerprint: [u8; 32],
    ) -> Result<Option<StoredAnswer>, Error> {
        let sealed = self.answers.submit(seal.key().clone());
        let (sealed, plain) = tokio::join!(sealed, self.stored_answer(key, fingerprint));
        match sealed? {
            Some(stored) => seal.open(&fingerprint, stored).map(Some),
            None => plain,
        }
    }

    /// Deletes answers that have expired, at most 10,000 of them. Returns the number of deleted
    /// answers.
    pub async fn forget_expired_answers(&self) -> Result<u64, Error> {
        let now = self.now();
        self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(tx.delete_expired_answers(now, 10_000))
        })
        .await
    }
}

//! Requests that are carried out once, however often they are sent.
//!
//! A request that carries an `Idempotency-Key` is stored with its answer, in the transaction of the
//! change itself. A repeat of the request gets the stored bytes. Another request under the same key
//! is refused; the hash of the command tells them apart.

use std::fmt;
use std::sync::Arc;

use super::{Seal, Service};
use crate::domain::{Account, Conflict, Error, Outcome, Time};
use crate::store::{Fingerprint, IdempotencyKey, StoredAnswer, StoredRequest, Tenancy};

/// Encodes a result as the dialect answers it, so that a repeat gets the same bytes. An answer with
/// status 500 or above is never stored.
pub type Encoder<T> = Arc<dyn Fn(&Result<T, Error>) -> StoredAnswer + Send + Sync>;

/// Makes the key, and the seal if there is one, that the request has under the other identity of
/// its account.
pub type OtherKey = Arc<dyn Fn(&Account) -> (IdempotencyKey, Option<Seal>) + Send + Sync>;

/// The part of a request that makes it idempotent: its key, its fingerprint and its encoder.
pub struct IdempotentRequest<T = CommandOutcome> {
    /// Two requests with the same key are the same request.
    pub key: IdempotencyKey,
    /// What the request asks for. The same key with another command is refused.
    pub fingerprint: Fingerprint,
    /// The key under which the request is stored if its path names the account by its other
    /// identity: by number instead of UUID, or the other way round. `None` if no path names it.
    pub other_key: Option<OtherKey>,
    /// Encodes the answer that is stored.
    pub encode: Encoder<T>,
    /// Encrypts the answer, if it contains a secret. The key is then that of the seal.
    pub seal: Option<Seal>,
}

impl<T> IdempotentRequest<T> {
    /// The request with its answer, to be stored. `None` if the answer must not be stored: its
    /// status is 500 or above, the account was not at the required version, so that the caller has
    /// to decide anew, it cannot be encrypted, or the reseller is suspended; the same request is to
    /// succeed once the suspension is lifted.
    pub(super) fn with_answer(&self, outcome: &Result<T, Error>) -> Option<StoredRequest> {
        if matches!(
            outcome,
            Err(Error::PreconditionFailed | Error::ResellerSuspended)
        ) {
            return None;
        }
        let answer = (self.encode)(outcome);
        if answer.status >= 500 {
            return None;
        }
        match &self.seal {
            Some(seal) => seal.close(&self.fingerprint, answer),
            None => Some(StoredRequest::of(
                self.key.clone(),
                self.fingerprint,
                answer,
            )),
        }
    }

    /// The same request under the other identity of its account. `None` if it has no other key.
    pub(super) fn under_other_key(&self, account: &Account) -> Option<Self> {
        let (key, seal) = self.other_key.as_ref()?(account);
        Some(Self {
            key,
            seal,
            other_key: None,
            ..self.clone()
        })
    }

    /// The answer that is stored for the request.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if it belongs to another command.
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
            other_key: self.other_key.clone(),
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

/// The result of a write that may leave everything as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// What the write was for, as it is now.
    pub value: T,
    /// Whether the write changed anything.
    pub is_changed: bool,
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

/// Whether a repeat of a request must get this refusal again, although what caused it may have
/// changed. The others stay as they are as long as the request does, or ask the caller to try
/// again.
#[must_use]
pub fn is_lasting_refusal(error: &Error) -> bool {
    match error {
        Error::AccountNotFound
        | Error::AccountOfAnother
        | Error::AccountDeleted
        | Error::ResellerNotFound
        | Error::NotFound(_)
        | Error::QuotaReached => true,
        Error::Conflict(conflict) => *conflict != Conflict::KeyInUse,
        Error::InvalidField { .. }
        | Error::NotYourHold { .. }
        | Error::CredentialMissing
        | Error::CredentialInvalid
        | Error::TicketInvalid
        | Error::ResellerSuspended
        | Error::InsufficientScope(_)
        | Error::CredentialOutlived
        | Error::CredentialBound
        | Error::OperatorRequired
        | Error::RateLimited { .. }
        | Error::ShareUsedUp { .. }
        | Error::AnswerSpaceUsedUp { .. }
        | Error::PreconditionFailed
        | Error::AccountNumbersExhausted
        | Error::IdempotencyKeyReused
        | Error::Overloaded
        | Error::Unavailable
        | Error::Internal { .. } => false,
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
    /// [`Error::IdempotencyKeyReused`] if the key was used with another command;
    /// [`Error::AnswerSpaceUsedUp`] if the key is new and its reseller may store no more answers.
    pub async fn stored_answer(
        &self,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<StoredAnswer>, Error> {
        let reseller = key.reseller;
        match self.answers.submit(key).await? {
            Some(stored) => stored.answer_to(&fingerprint).map(Some),
            None => self.answer_space.check(reseller, self.now()).map(|()| None),
        }
    }

    /// The same as [`Service::stored_answer`] for an operation whose answer may contain a secret.
    /// Such an answer is stored under the key of its seal. Answers without a secret, and those that
    /// an earlier version stored, are under the caller's own key.
    pub async fn stored_secret_answer(
        &self,
        key: IdempotencyKey,
        seal: &Seal,
        fingerprint: Fingerprint,
    ) -> Result<Option<StoredAnswer>, Error> {
        let sealed = self.answers.submit(seal.key().clone());
        let (sealed, plain) = tokio::join!(sealed, self.stored_answer(key, fingerprint));
        match sealed? {
            Some(stored) => seal.open(&fingerprint, stored).map(Some),
            None => plain,
        }
    }

    /// Stores the answer to a request that no transaction of its own has stored: a refusal, or the
    /// answer to many commands. If an answer is stored by now, that one stays.
    pub async fn store_answer(
        &self,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
        answer: StoredAnswer,
    ) -> Result<(), Error> {
        let request = IdempotentRequest {
            key: key.clone(),
            fingerprint,
            other_key: None,
            encode: Arc::new(move |_: &Result<(), Error>| answer.clone()),
            seal: None,
        };
        let tenancy = Tenancy::of(key.reseller);
        let stored = self.answer_once(tenancy, Some(request), |_| Box::pin(async { Ok(()) }));
        stored.await.map(drop)
    }

    /// Deletes answers that have expired, at most 10,000 of them. Returns the number of deleted
    /// answers.
    pub async fn forget_expired_answers(&self) -> Result<u64, Error> {
        let now = self.now();
        self.answer_space.forget_expired(now);
        self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(tx.delete_expired_answers(now, 10_000))
        })
        .await
    }
}

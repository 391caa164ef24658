//! Everything that can go wrong with a request, named for what a program could do differently.
//!
//! No text of this file reaches a client as it stands: each dialect has one table (`codes.rs`) from these
//! variants to its own codes and words, matched exhaustively, so that a new variant breaks every table.

use thiserror::Error;
use uuid::Uuid;

use super::Scope;

/// Why a request was not carried out. Nothing was changed, except where [`Error::Unavailable`] says that it
/// cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// One value of the request cannot be accepted.
    #[error("{field}: {problem}")]
    InvalidField {
        /// The field as the domain names it.
        field: &'static str,
        /// What is wrong with it; may be shown to the client.
        problem: String,
    },
    /// No credential was presented.
    #[error("no credential")]
    CredentialMissing,
    /// The credential is unknown, revoked or expired.
    #[error("credential not valid")]
    CredentialInvalid,
    /// The credential is good, but lacks this right.
    #[error("credential lacks {0}")]
    InsufficientScope(Scope),
    /// No such account in the caller's reach; another reseller's account looks the same.
    #[error("account not found")]
    AccountNotFound,
    /// The account is another reseller's. Only dialects whose original says so tell it from
    /// [`Error::AccountNotFound`].
    #[error("account of another reseller")]
    AccountOfAnother,
    /// The account is deleted and not yet purged. Most dialects say "not found".
    #[error("account is deleted")]
    AccountDeleted,
    /// No such reseller.
    #[error("reseller not found")]
    ResellerNotFound,
    /// No such thing in the caller's reach; another reseller's looks the same.
    #[error("{0} not found")]
    NotFound(Resource),
    /// The caller has asked too often.
    #[error("too many requests")]
    RateLimited {
        /// Seconds after which one more request is taken.
        retry_after: u32,
    },
    /// The facts forbid it; asking again changes nothing until the facts do.
    #[error("{0}")]
    Conflict(Conflict),
    /// The account is not at the version that the caller's condition names.
    #[error("precondition failed: the account has moved on")]
    PreconditionFailed,
    /// The reseller has as many accounts as it may have.
    #[error("account quota reached")]
    QuotaReached,
    /// The idempotency key was used before with another request.
    #[error("idempotency key reused with another request")]
    IdempotencyKeyReused,
    /// The queue is full; ask again after a moment.
    #[error("too many requests queued")]
    Overloaded,
    /// The database cannot be reached or did not answer. If it was lost while the change was being committed,
    /// the outcome is unknown: asking again is safe.
    #[error("database unavailable")]
    Unavailable,
    /// Our own fault; the log has the cause under this id.
    #[error("internal error, incident {incident}")]
    Internal {
        /// The id under which the log has the cause.
        incident: Uuid,
    },
}

/// Which facts forbid a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Conflict {
    /// The hold named by the caller is not the one that is open now.
    #[error("stale_hold: the hold named is not the one that is open now")]
    StaleHold,
    /// Another live account of the reseller has the e-mail address.
    #[error("email_in_use: another account of this reseller has this e-mail address")]
    EmailInUse,
    /// A retention hold forbids deletion.
    #[error("retention_hold: a retention hold forbids deletion")]
    RetentionHold,
    /// The operator's suspension forbids deletion.
    #[error("suspended_by_operator: an account that the operator suspended cannot be deleted")]
    SuspendedByOperator,
    /// Automation has to leave the account alone for now.
    #[error("exempt: automation has to leave the account alone for now")]
    Exempt,
    /// The plan does not say that the account is to be purged now, or something stops it.
    #[error("not_planned: the account is not to be purged now")]
    NotPlanned,
    /// A bulk job is not in a state for this.
    #[error("bulk_job: it is under way, was not applied, or was reverted")]
    BulkJob,
    /// The reseller has as many webhook endpoints as one may have.
    #[error("too_many_webhooks: a reseller has at most 50 webhook endpoints")]
    TooManyWebhooks,
    /// The hold has started; its start cannot move into the future.
    #[error("hold_has_started: a hold that has started cannot be moved to a later start")]
    HoldHasStarted,
}

/// What was not found, where it is neither an account nor a request's reseller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Resource {
    /// A credential.
    #[error("token")]
    Token,
    /// A reseller that a path names.
    #[error("reseller")]
    Reseller,
    /// A plan.
    #[error("plan")]
    Plan,
    /// A bulk job.
    #[error("bulk job")]
    BulkJob,
    /// A webhook endpoint.
    #[error("webhook")]
    Webhook,
    /// An entry of the log of webhook deliveries.
    #[error("event log")]
    EventLog,
}

impl Error {
    /// An [`Error::InvalidField`].
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidField {
            field,
            problem: problem.into(),
        }
    }
}

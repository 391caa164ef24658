//! Every way in which a request can fail. Two failures have separate variants if a program would
//! handle them differently.
//!
//! The texts here go to the log and to the journal. Each dialect has its own table (`codes.rs`)
//! from these variants to its codes and texts. The tables match exhaustively, so the compiler
//! rejects a new variant until every table has it.

use std::fmt::Display;

use thiserror::Error;
use uuid::Uuid;

use super::{Scope, quoted};

/// Why a request failed. Nothing was changed, with one exception: after [`Error::Unavailable`] the
/// outcome may be unknown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// One value of the request is not acceptable.
    #[error("{field}: {problem}")]
    InvalidField {
        /// The field as the domain names it.
        field: &'static str,
        /// What is wrong with it. The client may see this text.
        problem: String,
    },
    /// No credential was presented.
    #[error("no credential")]
    CredentialMissing,
    /// The credential is unknown, revoked or expired.
    #[error("credential not valid")]
    CredentialInvalid,
    /// The credential is valid, but lacks this right.
    #[error("credential lacks {0}")]
    InsufficientScope(Scope),
    /// The credential is valid, but expires before the one that it is to end or replace.
    #[error("credential expires before the one that it is to end")]
    CredentialOutlived,
    /// The credential is bound to an owner, and the one that it is to end or replace is not bound to
    /// the same.
    #[error("credential is bound to an owner")]
    CredentialBound,
    /// Only an operator may do this, whatever rights the credential has.
    #[error("only an operator may do this")]
    OperatorRequired,
    /// The caller's reseller is suspended. Its credentials may read, and revoke credentials, until
    /// the operator lifts the suspension.
    #[error("reseller is suspended")]
    ResellerSuspended,
    /// The text is not a release ticket of this database.
    #[error("release ticket not valid")]
    TicketInvalid,
    /// The caller has no such account. The answer is the same if another reseller has it.
    #[error("account not found")]
    AccountNotFound,
    /// The account is another reseller's. Most dialects answer as for [`Error::AccountNotFound`].
    /// Only a dialect whose original has its own code for this answers with that code.
    #[error("account of another reseller")]
    AccountOfAnother,
    /// The account is deleted and not yet purged. Most dialects answer "not found".
    #[error("account is deleted")]
    AccountDeleted,
    /// The hold that the caller named is open, and belongs to another authority or owner.
    #[error("not_your_hold: the hold belongs to {holder}")]
    NotYourHold {
        /// Whose it is, such as `the operator` or `abuse-desk of the reseller`.
        holder: String,
    },
    /// No such reseller.
    #[error("reseller not found")]
    ResellerNotFound,
    /// The caller has no such resource. The answer is the same if another reseller has it.
    #[error("{0} not found")]
    NotFound(Resource),
    /// The caller has sent too many requests.
    #[error("too many requests")]
    RateLimited {
        /// Seconds after which one more request is accepted.
        retry_after: u32,
    },
    /// The caller's own requests use up its share of something scarce.
    #[error("too many {what} of this caller at a time")]
    ShareUsedUp {
        /// What there are too many of, in the plural.
        what: &'static str,
    },
    /// The answers that are stored under the idempotency keys of the caller's reseller take as much
    /// space as they may. Requests without a key are accepted.
    #[error("the answers stored under the reseller's idempotency keys take all of its space")]
    AnswerSpaceUsedUp {
        /// Seconds after which some of them have expired.
        retry_after: u32,
    },
    /// The facts forbid it. Repeating the request fails until they change.
    #[error("{0}")]
    Conflict(Conflict),
    /// The account is not at the version that the caller requires.
    #[error("precondition failed: the account has moved on")]
    PreconditionFailed,
    /// The reseller already has as many accounts as its quota allows.
    #[error("account quota reached")]
    QuotaReached,
    /// Every account number has been given away. Numbers are 32 bits wide and are never given
    /// twice, so no account can be created any more, for any reseller.
    #[error("account numbers exhausted: no account number up to 2147483647 is left")]
    AccountNumbersExhausted,
    /// The idempotency key was used before for a different request.
    #[error("idempotency key reused with another request")]
    IdempotencyKeyReused,
    /// A queue is full, or others use up something scarce. The caller should retry after a moment.
    #[error("too many requests queued")]
    Overloaded,
    /// The database cannot be reached or did not answer. If the connection broke during the commit,
    /// the outcome is unknown. Repeating the request is safe.
    #[error("database unavailable")]
    Unavailable,
    /// A defect of the service. The log has the cause under this id.
    #[error("internal error, incident {incident}")]
    Internal {
        /// The id of the log entry with the cause.
        incident: Uuid,
    },
}

/// The facts that forbid a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Conflict {
    /// The caller named a hold that is not open any more.
    #[error("stale_hold: the hold named is not the one that is open now")]
    StaleHold,
    /// The freeze was changed after the release ticket was made for it.
    #[error("stale_ticket: the freeze was changed after this ticket was made")]
    StaleTicket,
    /// Another account of the reseller, not deleted, has the e-mail address.
    #[error("email_in_use: another account of this reseller has this e-mail address")]
    EmailInUse,
    /// A retention hold forbids deletion.
    #[error("retention_hold: a retention hold forbids deletion")]
    RetentionHold,
    /// A suspension by the operator forbids deletion.
    #[error("suspended_by_operator: an account that the operator suspended cannot be deleted")]
    SuspendedByOperator,
    /// The authority has as many holds of this kind on the account, each of another owner, as it may
    /// have.
    #[error("too_many_holds: an account has at most 10 open holds of one kind and authority")]
    TooManyHolds,
    /// The account is exempt from automation for now.
    #[error("exempt: automation has to leave the account alone for now")]
    Exempt,
    /// The account is not due in the purge plan, or something stops its purge.
    #[error("not_planned: the account is not to be purged now")]
    NotPlanned,
    /// The bulk job's state does not allow this.
    #[error("bulk_job: the job is {state}, and only {accepted}")]
    BulkJob {
        /// The state of the job.
        state: &'static str,
        /// What the call accepts, such as `a planned job can be applied`.
        accepted: &'static str,
    },
    /// The bulk job's list of accounts was deleted some time after the job was finished.
    #[error("bulk_job_trimmed: the list of its accounts was deleted after its retention period")]
    BulkJobTrimmed,
    /// The reseller already has as many planned and running bulk jobs as are allowed.
    #[error("too_many_bulk_jobs: a reseller has at most 20 planned and running bulk jobs")]
    TooManyBulkJobs,
    /// The account does not match the selector of the bulk job any more.
    #[error("not_selected: the account no longer matches the selector")]
    NotSelected,
    /// The reseller already has as many webhook endpoints as are allowed.
    #[error("too_many_webhooks: a reseller has at most 50 webhook endpoints")]
    TooManyWebhooks,
    /// The first request with the same idempotency key is still being carried out.
    #[error("key_in_use: the first request with this idempotency key is still being carried out")]
    KeyInUse,
    /// The hold has started, so its start cannot move into the future.
    #[error("hold_has_started: a hold that has started cannot be moved to a later start")]
    HoldHasStarted,
}

/// The kinds of things that [`Error::NotFound`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Resource {
    /// A credential.
    #[error("token")]
    Token,
    /// A reseller that the request's path names.
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
    /// An entry in the log of webhook deliveries.
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

    /// An [`Error::InvalidField`] that says what is accepted and repeats what the caller gave.
    pub(crate) fn must_be(field: &'static str, accepted: &str, given: &str) -> Self {
        Self::invalid(field, format!("must be {accepted}, not {}", quoted(given)))
    }

    /// The same for a number.
    pub(crate) fn out_of_range(field: &'static str, accepted: &str, given: impl Display) -> Self {
        Self::invalid(field, format!("must be {accepted}, not {given}"))
    }
}

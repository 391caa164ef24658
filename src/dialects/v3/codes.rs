//! The table of codes: the HTTP status, `code` and message for each kind of failure.

use crate::dialects::failure::{
    BASE_PATHS, BOUND, Failure, NO_ANSWER_SPACE, OUTLIVED, not_yours, wrong_method,
};
use crate::domain::{Conflict, Error, Resource};
use crate::wire;

/// The answer to a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) status: u16,
    pub(super) word: &'static str,
    pub(super) message: String,
    /// Seconds after which the caller may retry, if a retry can help.
    pub(super) retry_after: Option<u32>,
}

const SUSPENDED: &str = "The operator has suspended the reseller: until that is lifted, its tokens \
     can read, and revoke tokens, and change nothing else";
const NO_TICKET: &str =
    "The ticket is invalid: it must be a releaseTicket from the answer to a freeze, unchanged";

/// The message when no account number is left.
const NO_NUMBER: &str = "No account number is left, so this service can create no more accounts; \
                         its operator has to set up another one";

/// The answer to a failure.
pub(super) fn code(failure: &Failure) -> Code {
    let say = |status, word, message: &str| Code {
        status,
        word,
        message: message.to_owned(),
        retry_after: None,
    };
    let later = |message: &str, seconds| Code {
        retry_after: Some(seconds),
        ..say(503, "UNAVAILABLE", message)
    };
    let too_many = |seconds| Code {
        retry_after: Some(seconds),
        ..say(429, "RATE_LIMITED", "Too many requests")
    };
    let invalid = |message: &str| say(400, "INVALID_REQUEST", message);
    let forbidden = |message: &str| say(403, "INSUFFICIENT_SCOPE", message);
    let unauthenticated = |message: &str| say(401, "AUTHENTICATION_FAILED", message);
    match failure {
        Failure::Service(error) => match error {
            Error::InvalidField { field, problem } => {
                invalid(&format!("{}: {problem}", member(field)))
            }
            Error::CredentialMissing => unauthenticated("A bearer token is required"),
            Error::CredentialInvalid => unauthenticated("The token is invalid"),
            Error::InsufficientScope(scope) => forbidden(&format!("The token lacks {scope}")),
            Error::CredentialOutlived => forbidden(&format!("Not allowed: {OUTLIVED}")),
            Error::CredentialBound => forbidden(&format!("Not allowed: {BOUND}")),
            Error::OperatorRequired => forbidden("Only an operator's token may do this"),
            Error::ResellerSuspended => say(403, "RESELLER_SUSPENDED", SUSPENDED),
            Error::NotYourHold { holder } => say(403, "NOT_YOUR_HOLD", &not_yours(holder)),
            Error::TicketInvalid => unauthenticated(NO_TICKET),
            Error::AccountNotFound | Error::AccountOfAnother | Error::AccountDeleted => {
                say(404, "ACCOUNT_NOT_FOUND", "Account not found")
            }
            Error::ResellerNotFound => invalid("resellerId: no such reseller"),
            Error::NotFound(resource) => {
                let (word, message) = not_found(*resource);
                say(404, word, message)
            }
            Error::RateLimited { retry_after } => too_many(*retry_after),
            Error::ShareUsedUp { what } => Code {
                message: format!("Too many {what} at a time"),
                ..too_many(1)
            },
            Error::AnswerSpaceUsedUp { retry_after } => Code {
                message: NO_ANSWER_SPACE.to_owned(),
                ..too_many(*retry_after)
            },
            Error::Conflict(conflict) => Code {
                retry_after: (*conflict == Conflict::KeyInUse).then_some(1),
                ..say(409, conflict_word(*conflict), &conflict_text(*conflict))
            },
            Error::QuotaReached => say(
                409,
                "CONFLICT",
                "quota_reached: the reseller has as many accounts as it may have",
            ),
            Error::AccountNumbersExhausted => say(507, "ACCOUNT_NUMBERS_EXHAUSTED", NO_NUMBER),
            Error::PreconditionFailed => say(412, "PRECONDITION_FAILED", STALE),
            Error::IdempotencyKeyReused => say(
                422,
                "IDEMPOTENCY_KEY_REUSED",
                "The Idempotency-Key was used before with another request",
            ),
            Error::Overloaded => later("Too many requests are waiting", 1),
            Error::Unavailable => later("The service is unavailable", 2),
            Error::Internal { incident } => say(
                500,
                "INTERNAL_ERROR",
                &format!("Internal error, incident {incident}"),
            ),
        },
        Failure::Wire(error) => {
            let (status, word, message) = unreadable(error);
            say(status, word, &message)
        }
        Failure::Parameter { name, problem } => invalid(&format!("{name}: {problem}")),
        // Only other dialects produce these failures.
        Failure::Missing(name) => invalid(&format!("{name}: is required")),
        Failure::TokensDiffer => invalid("the tokens differ"),
        Failure::TokenNotRead(why) => {
            unauthenticated(&format!("A bearer token is required: {why}"))
        }
        Failure::NoSuchRoute | Failure::OnManagementListener => {
            say(404, "NOT_FOUND", "There is no such resource")
        }
        Failure::NoSuchPath(path) => {
            let message = format!("There is no such resource: {path}; {BASE_PATHS}");
            say(404, "NOT_FOUND", &message)
        }
        Failure::NotOffered(why) => say(404, "NOT_FOUND", why),
        Failure::MethodNotAllowed(allowed) => {
            say(405, "METHOD_NOT_ALLOWED", &wrong_method(allowed))
        }
        Failure::TimedOut => later("The request took too long", 2),
        Failure::BodyTimedOut => say(
            408,
            "REQUEST_TIMEOUT",
            "The body of the request did not arrive in time; send it faster or in smaller parts",
        ),
        Failure::Crashed => say(500, "INTERNAL_ERROR", "Internal error"),
        Failure::RateLimited { retry_after } => too_many(*retry_after),
    }
}

/// The message for a version that `If-Match` does not name.
const STALE: &str = "The account is not at the version that If-Match names; send the ETag as it \
                     was read, with its quotation marks";

/// The status, code and message for a body that cannot be read.
fn unreadable(error: &wire::Error) -> (u16, &'static str, String) {
    let media_type = |problem: &str| {
        let message = format!("Unsupported media type{problem}");
        (415, "UNSUPPORTED_MEDIA_TYPE", message)
    };
    match error {
        wire::Error::UnsupportedMediaType(_) => media_type(&format!(": {error}")),
        wire::Error::UnknownCharset(name) => {
            media_type(&format!(": the body must be in UTF-8, not {name}"))
        }
        wire::Error::ContentEncoding(name) => {
            media_type(&format!(": send the body without Content-Encoding {name}"))
        }
        wire::Error::TooLarge => {
            let message = "The request is too large".to_owned();
            (413, "REQUEST_TOO_LARGE", message)
        }
        wire::Error::Malformed { .. } => (400, "INVALID_REQUEST", error.to_string()),
    }
}

/// The code and message for a resource that does not exist.
fn not_found(resource: Resource) -> (&'static str, &'static str) {
    match resource {
        Resource::Token => ("TOKEN_NOT_FOUND", "Token not found"),
        Resource::Reseller => ("RESELLER_NOT_FOUND", "Reseller not found"),
        Resource::Plan => ("PLAN_NOT_FOUND", "Plan not found"),
        Resource::BulkJob => ("BULK_JOB_NOT_FOUND", "Bulk job not found"),
        Resource::Webhook => ("WEBHOOK_NOT_FOUND", "Webhook not found"),
        Resource::EventLog => ("EVENT_LOG_NOT_FOUND", "Event log not found"),
    }
}

/// The code for a conflict. Those about bulk jobs have codes of their own, because a program handles
/// each differently.
fn conflict_word(conflict: Conflict) -> &'static str {
    if matches!(conflict, Conflict::BulkJob { .. }) {
        "BULK_JOB_STATE"
    } else if conflict == Conflict::BulkJobTrimmed {
        "BULK_JOB_TRIMMED"
    } else if conflict == Conflict::TooManyBulkJobs {
        "TOO_MANY_BULK_JOBS"
    } else {
        "CONFLICT"
    }
}

fn conflict_text(conflict: Conflict) -> String {
    let text = match conflict {
        Conflict::TooManyHolds => {
            "too_many_holds: the account has 10 open holds of this kind already, each of another owner"
        }
        Conflict::StaleHold => "stale_hold: the hold named is not the one that is open now",
        Conflict::StaleTicket => {
            "stale_ticket: the freeze was changed after this ticket was made, so it may be about \
             another debt; freeze with releaseTicket again for a ticket that fits"
        }
        Conflict::EmailInUse => "email_in_use: another account has this e-mail address",
        Conflict::RetentionHold => "retention_hold: a retention hold forbids deletion",
        Conflict::SuspendedByOperator => {
            "suspended_by_operator: an account that the operator suspended cannot be deleted"
        }
        Conflict::TooManyWebhooks => "too_many_webhooks: there are 50 webhook endpoints already",
        Conflict::HoldHasStarted => {
            "hold_has_started: startsAt cannot be moved later once the hold has started"
        }
        Conflict::Exempt => "exempt: automation has to leave the account alone for now",
        Conflict::NotPlanned => "not_planned: the account is not to be purged now",
        Conflict::BulkJob { .. } => return conflict.to_string(),
        Conflict::BulkJobTrimmed => {
            "bulk_job_trimmed: it was finished too long ago to be reverted; the list of its \
             accounts was deleted after lifecycle.keep_bulk_items_days"
        }
        Conflict::TooManyBulkJobs => {
            "too_many_bulk_jobs: there are 20 planned or running bulk jobs already; apply or \
             delete one (GET /v3/bulk-jobs lists them). A planned job is deleted after 24 hours"
        }
        Conflict::NotSelected => "not_selected: the account no longer matches the selector",
        Conflict::KeyInUse => {
            "key_in_use: the first request with this Idempotency-Key is still being carried out; \
             send it again in a moment"
        }
    };
    text.to_owned()
}

/// The name that this dialect uses for a field of the domain: the same words in camel case.
pub(super) fn member(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
        name + &head.to_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_named_in_camel_case() {
        assert_eq!(
            (
                member("expires_at").as_str(),
                member("email").as_str(),
                member("admin_portal_domain").as_str()
            ),
            ("expiresAt", "email", "adminPortalDomain")
        );
    }

    #[test]
    fn the_code_table() {
        use crate::domain::Scope;
        let malformed = wire::Error::Malformed {
            field: "status".to_owned(),
            problem: "is required".to_owned(),
        };
        let failures = [
            Failure::Service(Error::invalid("expires_at", "is required; null for never")),
            Failure::Service(Error::CredentialMissing),
            Failure::Service(Error::CredentialInvalid),
            Failure::Service(Error::InsufficientScope(Scope::AccountWrite)),
            Failure::Service(Error::CredentialOutlived),
            Failure::Service(Error::AnswerSpaceUsedUp { retry_after: 7 }),
            Failure::Service(Error::OperatorRequired),
            Failure::Service(Error::ResellerSuspended),
            Failure::Service(Error::TicketInvalid),
            Failure::Service(Error::AccountNotFound),
            Failure::Service(Error::AccountOfAnother),
            Failure::Service(Error::AccountDeleted),
            Failure::Service(Error::ResellerNotFound),
            Failure::Service(Error::NotFound(Resource::Token)),
            Failure::Service(Error::NotFound(Resource::Reseller)),
            Failure::Service(Error::NotFound(Resource::Plan)),
            Failure::Service(Error::NotFound(Resource::BulkJob)),
            Failure::Service(Error::NotFound(Resource::Webhook)),
            Failure::Service(Error::NotFound(Resource::EventLog)),
            Failure::Service(Error::Conflict(Conflict::TooManyWebhooks)),
            Failure::Service(Error::RateLimited { retry_after: 7 }),
            Failure::Service(Error::ShareUsedUp {
                what: "heavy requests",
            }),
            Failure::Service(Error::Conflict(Conflict::StaleHold)),
            Failure::Service(Error::Conflict(Conflict::StaleTicket)),
            Failure::Service(Error::Conflict(Conflict::EmailInUse)),
            Failure::Service(Error::Conflict(Conflict::RetentionHold)),
            Failure::Service(Error::Conflict(Conflict::SuspendedByOperator)),
            Failure::Service(Error::Conflict(Conflict::HoldHasStarted)),
            Failure::Service(Error::Conflict(Conflict::Exempt)),
            Failure::Service(Error::Conflict(Conflict::NotPlanned)),
            Failure::Service(Error::Conflict(Conflict::BulkJob {
                state: "applying",
                accepted: "an applied job can be reverted",
            })),
            Failure::Service(Error::Conflict(Conflict::BulkJobTrimmed)),
            Failure::Service(Error::Conflict(Conflict::TooManyBulkJobs)),
            Failure::Service(Error::Conflict(Conflict::NotSelected)),
            Failure::Service(Error::QuotaReached),
            Failure::Service(Error::AccountNumbersExhausted),
            Failure::Service(Error::PreconditionFailed),
            Failure::Service(Error::IdempotencyKeyReused),
            Failure::Service(Error::Overloaded),
            Failure::Service(Error::Unavailable),
            Failure::Service(Error::Internal {
                incident: uuid::Uuid::nil(),
            }),
            Failure::Wire(wire::Error::UnsupportedMediaType("text/plain".to_owned())),
            Failure::Wire(wire::Error::TooLarge),
            Failure::Wire(malformed),
            Failure::parameter("limit", "must be between 1 and 100"),
            Failure::NoSuchRoute,
            Failure::no_such_path("/v3/x"),
            Failure::NotOffered("Accounts do not sign in to Steward"),
            Failure::MethodNotAllowed("GET, HEAD, OPTIONS".to_owned()),
            Failure::Service(Error::Conflict(Conflict::KeyInUse)),
            Failure::TimedOut,
            Failure::BodyTimedOut,
            Failure::Crashed,
            Failure::RateLimited { retry_after: 7 },
        ];
        let line = |code: Code| {
            format!(
                "{} {} {}{}",
                code.status,
                code.word,
                code.message,
                code.retry_after.map_or(String::new(), |seconds| format!(
                    " (retry after {seconds} s)"
                ))
            )
        };
        insta::assert_snapshot!(
            failures
                .iter()
                .map(code)
                .map(line)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
}

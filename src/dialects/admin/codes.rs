//! The table of codes: the answer to each kind of failure. `error` equals the HTTP status.

use crate::dialects::failure::{
    BASE_PATHS, BOUND, Failure, MANAGEMENT, NO_ANSWER_SPACE, OUTLIVED, not_yours, wrong_method,
};
use crate::domain::{Conflict, Error};
use crate::wire;

/// The answer to a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    /// The HTTP status and the `error` member.
    pub(super) error: u16,
    /// The `error_text` member.
    pub(super) error_text: String,
    /// Seconds after which the caller may retry, if a retry can help.
    pub(super) retry_after: Option<u32>,
}

/// The answer to a failure.
pub(super) fn code(failure: &Failure) -> Code {
    let say = |error, error_text: &str| Code {
        error,
        error_text: error_text.to_owned(),
        retry_after: None,
    };
    let later = |error, error_text: &str, seconds| Code {
        retry_after: Some(seconds),
        ..say(error, error_text)
    };
    let incorrect = |what: &str| say(400, &format!("Incorrect request: {what}"));
    match failure {
        Failure::Service(error) => match error {
            Error::InvalidField { field, problem } => {
                incorrect(&format!("{}: {problem}", member(field)))
            }
            Error::CredentialMissing => say(401, "API token required"),
            Error::CredentialInvalid => say(401, "API token is invalid"),
            Error::InsufficientScope(scope) => {
                say(403, &format!("No access rights: the token lacks {scope}"))
            }
            Error::CredentialOutlived => say(403, &format!("No access rights: {OUTLIVED}")),
            Error::CredentialBound => say(403, &format!("No access rights: {BOUND}")),
            Error::OperatorRequired => say(
                403,
                "No access rights: only an operator's token may do this",
            ),
            Error::ResellerSuspended => say(
                403,
                "No access rights: the operator has suspended the reseller; until that is lifted, \
                 its tokens can only read",
            ),
            Error::NotYourHold { holder } => {
                say(403, &format!("No access rights: {}", not_yours(holder)))
            }
            // Only `v3` redeems tickets.
            Error::TicketInvalid => say(401, "The ticket is invalid"),
            Error::AccountNotFound | Error::AccountOfAnother | Error::AccountDeleted => {
                say(404, "Account not found")
            }
            Error::ResellerNotFound => incorrect("reseller_id: no such reseller"),
            Error::NotFound(_) => say(404, "Not found"),
            Error::RateLimited { retry_after } => later(429, "Too many requests", *retry_after),
            Error::ShareUsedUp { what } => later(429, &format!("Too many {what} at a time"), 1),
            Error::AnswerSpaceUsedUp { retry_after } => later(429, NO_ANSWER_SPACE, *retry_after),
            Error::Conflict(conflict) => Code {
                retry_after: (*conflict == Conflict::KeyInUse).then_some(1),
                ..say(409, &format!("Conflict: {}", conflict_text(*conflict)))
            },
            Error::PreconditionFailed => say(412, "Precondition failed"),
            Error::QuotaReached => say(402, "Tariff limit reached"),
            Error::AccountNumbersExhausted => say(
                507,
                "No account number is left: this service can create no more accounts",
            ),
            Error::IdempotencyKeyReused => {
                say(422, "Idempotency-Key was used before with another request")
            }
            Error::Overloaded => {
                later(503, "Service unavailable: too many requests are waiting", 1)
            }
            Error::Unavailable => later(503, "Service unavailable", 2),
            Error::Internal { incident } => {
                say(500, &format!("Internal error: incident {incident}"))
            }
        },
        Failure::Wire(error) => {
            let (status, text) = unreadable(error);
            say(status, &text)
        }
        Failure::Parameter { name, problem } => incorrect(&format!("{name}: {problem}")),
        Failure::TokenNotRead(why) => say(401, &format!("API token required: {why}")),
        Failure::TokensDiffer => {
            incorrect("token: differs from the one in the Authorization header")
        }
        // Only the `soap` dialect produces this failure.
        Failure::Missing(name) => incorrect(&format!("{name}: is required")),
        Failure::NoSuchRoute | Failure::NotOffered(_) => say(404, "Call not found"),
        Failure::NoSuchPath(path) => say(404, &format!("Call not found: {path}; {BASE_PATHS}")),
        Failure::OnManagementListener => say(404, &format!("Call not found: {MANAGEMENT}")),
        Failure::MethodNotAllowed(allowed) => say(405, &wrong_method(allowed)),
        Failure::TimedOut => later(503, "Service unavailable: the request took too long", 2),
        Failure::BodyTimedOut => say(408, "Request timeout: the body did not arrive in time"),
        Failure::Crashed => say(500, "Internal error"),
        Failure::RateLimited { retry_after } => later(429, "Too many requests", *retry_after),
    }
}

/// The status and text for a body that cannot be read.
fn unreadable(error: &wire::Error) -> (u16, String) {
    let media_type = |problem: &str| (415, format!("Unsupported media type: {problem}"));
    match error {
        wire::Error::UnsupportedMediaType(_) => media_type(&error.to_string()),
        wire::Error::UnknownCharset(name) => {
            media_type(&format!("the character set {name} is not known"))
        }
        wire::Error::ContentEncoding(name) => {
            media_type(&format!("send the body without Content-Encoding {name}"))
        }
        wire::Error::TooLarge => (413, "Request too large".to_owned()),
        wire::Error::Malformed { .. } => (400, format!("Incorrect request: {error}")),
    }
}

fn conflict_text(conflict: Conflict) -> String {
    let text = match conflict {
        Conflict::TooManyHolds => {
            "too_many_holds: the account has 10 open holds of this kind already, each of another owner"
        }
        Conflict::StaleHold => "stale_hold: the hold named is not the one that is open now",
        Conflict::StaleTicket => "stale_ticket: the freeze was changed after this ticket was made",
        Conflict::EmailInUse => "email_in_use: another account has this e-mail address",
        Conflict::RetentionHold => "retention_hold: a retention hold forbids deletion",
        Conflict::SuspendedByOperator => {
            "suspended_by_operator: an account that the operator suspended cannot be deleted"
        }
        Conflict::TooManyWebhooks => "too_many_webhooks: there are 50 webhook endpoints already",
        Conflict::HoldHasStarted => {
            "hold_has_started: starts_at cannot be moved later once the hold has started"
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

/// The name that this dialect uses for a field of the domain.
fn member(field: &str) -> &str {
    match field {
        "payment_url" => "frozen_details.payment_url",
        "expires_at" => "expiry_date",
        "timezone" => "tz",
        "tariff_id" => "tariff",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::Scope;

    #[test]
    fn the_code_table() {
        let malformed = wire::Error::Malformed {
            field: "id".to_owned(),
            problem: "is required".to_owned(),
        };
        let table: Vec<_> = [
            Failure::Service(Error::invalid(
                "payment_url",
                "must be an absolute https or http URL",
            )),
            Failure::Service(Error::CredentialMissing),
            Failure::Service(Error::CredentialInvalid),
            Failure::Service(Error::InsufficientScope(Scope::AccountWrite)),
            Failure::Service(Error::CredentialOutlived),
            Failure::Service(Error::AnswerSpaceUsedUp { retry_after: 7 }),
            Failure::Service(Error::OperatorRequired),
            Failure::Service(Error::ShareUsedUp {
                what: "heavy requests",
            }),
            Failure::Service(Error::ResellerSuspended),
            Failure::Service(Error::AccountNotFound),
            Failure::Service(Error::AccountOfAnother),
            Failure::Service(Error::AccountDeleted),
            Failure::Service(Error::ResellerNotFound),
            Failure::Service(Error::Conflict(Conflict::StaleHold)),
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
            Failure::Service(Error::PreconditionFailed),
            Failure::Service(Error::QuotaReached),
            Failure::Service(Error::AccountNumbersExhausted),
            Failure::Service(Error::IdempotencyKeyReused),
            Failure::Service(Error::Overloaded),
            Failure::Service(Error::Unavailable),
            Failure::Service(Error::Internal {
                incident: Uuid::nil(),
            }),
            Failure::Wire(wire::Error::UnsupportedMediaType("text/plain".to_owned())),
            Failure::Wire(wire::Error::TooLarge),
            Failure::Wire(malformed),
            Failure::parameter("Idempotency-Key", "must be 1 to 255 visible characters"),
            Failure::TokensDiffer,
            Failure::NoSuchRoute,
            Failure::no_such_path("/api/v1"),
            Failure::OnManagementListener,
            Failure::MethodNotAllowed("POST".to_owned()),
            Failure::TimedOut,
            Failure::BodyTimedOut,
            Failure::Crashed,
        ]
        .iter()
        .map(code)
        .map(|code| {
            format!(
                "{} {}{}",
                code.error,
                code.error_text,
                code.retry_after.map_or(String::new(), |seconds| format!(
                    " (retry after {seconds} s)"
                ))
            )
        })
        .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}

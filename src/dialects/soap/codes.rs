//! The tables of codes: a word, a number and a message for each business outcome, and a fault for
//! each protocol error.

use crate::dialects::failure::Failure;
use crate::domain::{Conflict, Error, Resource};
use crate::wire::{SoapProblem, SoapVersion};

/// The words of Zoolz's enumeration, in its order. A word's number is 1000 plus its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Success,
    MissingParameters,
    InvalidAuth,
    InvalidEmail,
    InvalidPassword,
    UsedEmail,
    PlanError,
    GeneralError,
    InvalidAccount,
    PolicyError,
    NoCredit,
    InvalidLicence,
    EmailNotConfirmed,
    SqlNotAllowed,
    NotAllowedLicenceAccount,
}

impl Code {
    /// All codes, each with its word and number.
    pub(super) const ALL: [(Self, &'static str, u16); 15] = [
        (Self::Success, "Success", 1000),
        (Self::MissingParameters, "MissingParameters", 1001),
        (Self::InvalidAuth, "InvalidAuth", 1002),
        (Self::InvalidEmail, "InvalidEmail", 1003),
        (Self::InvalidPassword, "InvalidPassword", 1004),
        (Self::UsedEmail, "UsedEmail", 1005),
        (Self::PlanError, "PlanError", 1006),
        (Self::GeneralError, "GeneralError", 1007),
        (Self::InvalidAccount, "InvalidAccount", 1008),
        (Self::PolicyError, "PolicyError", 1009),
        (Self::NoCredit, "NoCredit", 1010),
        (Self::InvalidLicence, "InvalidLicence", 1011),
        (Self::EmailNotConfirmed, "EmailNotConfirmed", 1012),
        (Self::SqlNotAllowed, "SqlNotAllowed", 1013),
        (
            Self::NotAllowedLicenceAccount,
            "NotAllowedLicenceAccount",
            1014,
        ),
    ];

    /// The code as the caller's reseller prefers it: the number, or the word.
    pub(super) fn text(self, as_number: bool) -> String {
        let row = Self::ALL.iter().find(|(code, ..)| *code == self);
        row.map_or_else(String::new, |(_, word, number)| {
            if as_number {
                number.to_string()
            } else {
                (*word).to_owned()
            }
        })
    }
}

/// By what an operation's request names its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    AccountId,
    Email,
    /// None: the operation creates one, or is about plans.
    None,
}

/// The element of a result that has a document, after `Code` and `Message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    None,
    /// Zoolz's first operations by number write the name so.
    Joson,
    /// Zoolz's later operations.
    Json,
}

impl Detail {
    /// The name of the element.
    pub(super) const fn element(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Joson => Some("Joson"),
            Self::Json => Some("JSON"),
        }
    }
}

/// The texts of an operation's results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wording {
    /// The name of the operation.
    pub(super) operation: &'static str,
    /// The message of a success. Empty if the message is the document.
    pub(super) success: &'static str,
    /// The message of a failed change.
    pub(super) failure: &'static str,
    /// The message for another reseller's account, unless such accounts are hidden.
    pub(super) foreign: &'static str,
    /// By what the request names its account.
    pub(super) subject: Subject,
    /// The element with a document.
    pub(super) detail: Detail,
}

/// The code and message of a failure. `hide_foreign` answers another reseller's account as if it
/// did not exist.
pub(super) fn result(failure: &Failure, wording: &Wording, hide_foreign: bool) -> (Code, String) {
    match failure {
        Failure::Service(error) => service_result(error, wording, hide_foreign),
        Failure::Missing(name) => (
            Code::MissingParameters,
            format!("Missing Main Parameters ({name})"),
        ),
        // The dispatcher answers these as faults, or only other dialects produce them.
        Failure::Wire(_)
        | Failure::Parameter { .. }
        | Failure::TokensDiffer
        | Failure::TokenNotRead(_)
        | Failure::NoSuchRoute
        | Failure::NoSuchPath(_)
        | Failure::OnManagementListener
        | Failure::NotOffered(_)
        | Failure::MethodNotAllowed(_)
        | Failure::TimedOut
        | Failure::BodyTimedOut
        | Failure::Crashed
        | Failure::RateLimited { .. } => (Code::GeneralError, "General Exception".to_owned()),
    }
}

fn service_result(error: &Error, wording: &Wording, hide_foreign: bool) -> (Code, String) {
    let say = |code, message: &str| (code, message.to_owned());
    let by_id = wording.subject == Subject::AccountId;
    match error {
        Error::CredentialMissing
        | Error::CredentialInvalid
        | Error::InsufficientScope(_)
        | Error::CredentialOutlived
        | Error::CredentialBound
        | Error::OperatorRequired => say(Code::InvalidAuth, "Invalid Authentication Token"),
        Error::ResellerSuspended => say(
            Code::GeneralError,
            "General Error, the reseller is suspended",
        ),
        Error::NotYourHold { .. } => say(Code::GeneralError, "General Error, another owner's hold"),
        Error::AccountOfAnother if !hide_foreign => {
            let code = if by_id {
                Code::InvalidAccount
            } else {
                Code::InvalidEmail
            };
            say(code, wording.foreign)
        }
        Error::AccountNotFound
        | Error::AccountDeleted
        | Error::AccountOfAnother
        | Error::InvalidField { field: "id", .. } => no_account(by_id),
        Error::InvalidField { field: "email", .. } if wording.subject == Subject::None => say(
            Code::InvalidEmail,
            "Invalid Email, Please send a valid email address",
        ),
        Error::InvalidField { field: "email", .. } => no_account(false),
        // The handlers write these messages.
        Error::InvalidField {
            field: "password",
            problem,
        } => (Code::InvalidPassword, problem.clone()),
        Error::InvalidField {
            field: "plan" | "plan_id",
            problem,
        } => (Code::PlanError, problem.clone()),
        Error::NotFound(Resource::Plan) => say(Code::PlanError, "Plan Error, Plan does not exist"),
        Error::Conflict(Conflict::EmailInUse) => say(
            Code::UsedEmail,
            "Used Email, Someone already has that email",
        ),
        // Zoolz's message names no reason for an invalid date.
        Error::InvalidField {
            field: "expires_at",
            ..
        }
        | Error::Conflict(
            Conflict::StaleHold
            | Conflict::TooManyHolds
            | Conflict::StaleTicket
            | Conflict::RetentionHold
            | Conflict::SuspendedByOperator
            | Conflict::HoldHasStarted
            | Conflict::Exempt
            | Conflict::NotPlanned
            | Conflict::BulkJob { .. }
            | Conflict::BulkJobTrimmed
            | Conflict::TooManyBulkJobs
            | Conflict::NotSelected
            | Conflict::TooManyWebhooks,
        )
        | Error::PreconditionFailed => say(Code::GeneralError, wording.failure),
        Error::IdempotencyKeyReused => say(
            Code::GeneralError,
            "General Error, the Idempotency-Key was used before with another request",
        ),
        Error::Conflict(Conflict::KeyInUse) => say(
            Code::GeneralError,
            "General Error, the first request with this Idempotency-Key is still being carried out",
        ),
        Error::InvalidField { field, problem } => (
            Code::GeneralError,
            format!("{}: {field} {problem}", wording.failure),
        ),
        Error::QuotaReached => say(Code::NoCredit, "The account limit is reached"),
        Error::AccountNumbersExhausted => say(
            Code::GeneralError,
            "No account number is left: this service can create no more accounts",
        ),
        Error::Overloaded | Error::Unavailable => {
            say(Code::GeneralError, "General Error. DB error")
        }
        Error::ResellerNotFound
        | Error::NotFound(_)
        | Error::TicketInvalid
        | Error::RateLimited { .. }
        | Error::ShareUsedUp { .. }
        | Error::AnswerSpaceUsedUp { .. }
        | Error::Internal { .. } => say(Code::GeneralError, "General Exception"),
    }
}

/// The account that the request names by number or by address does not exist.
fn no_account(by_id: bool) -> (Code, String) {
    let (code, message) = if by_id {
        (
            Code::InvalidAccount,
            "Invalid Account ID or Account ID does not exist",
        )
    } else {
        (Code::InvalidEmail, "Invalid Email or Email does not exist")
    };
    (code, message.to_owned())
}

/// A protocol error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The envelope cannot be read.
    Envelope(SoapProblem),
    /// A value does not fit its type, or the request contradicts itself; the text explains it.
    Request(String),
    /// Neither the action nor the Body names an operation.
    NoOperation,
    /// The action or the Body names an unknown operation; its name.
    UnknownOperation(String),
    /// These header blocks, by namespace and name, must be understood. This service understands
    /// none.
    MustUnderstand(Vec<(String, String)>),
    /// An HTTP header is missing or contradicts itself; the text explains it.
    Header(String),
    /// The media type, the character set or the content encoding is not known; the text explains it.
    MediaType(String),
    /// A fault whose reason is fixed, with an explanation for its detail.
    Explained(Box<Self>, String),
    /// The caller sends too many requests.
    RateLimited {
        /// Seconds until the next request is accepted.
        retry_after: u32,
    },
    /// Others use up something that the request needs.
    Busy,
    /// The service failed.
    Crash,
    /// The request took too long.
    TimedOut,
    /// The body did not arrive in time.
    BodyTimedOut,
}

/// The cause of a fault, written as the fault's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    Sender,
    Receiver,
    VersionMismatch,
    MustUnderstand,
}

impl Fault {
    /// The HTTP status, the fault code and the reason.
    pub(super) fn describe(&self, version: SoapVersion) -> (u16, &'static str, String) {
        const UNREADABLE: &str = "Server was unable to read request.";
        let (status, blame, reason) = match self {
            Self::Envelope(SoapProblem::NotWellFormed) => {
                (400, Blame::Sender, UNREADABLE.to_owned())
            }
            Self::Envelope(SoapProblem::TypographicQuotes) => {
                let why = "the XML declaration has typographic quotes; write version=\"1.0\" with plain ones";
                (400, Blame::Sender, format!("{UNREADABLE} ---> {why}"))
            }
            Self::Envelope(SoapProblem::Unreadable(why)) | Self::Request(why) => {
                (500, Blame::Sender, format!("{UNREADABLE} ---> {why}"))
            }
            Self::Envelope(SoapProblem::OtherNamespace(found)) => {
                let expected = version.namespace();
                (
                    500,
                    Blame::VersionMismatch,
                    format!(
                        "Possible SOAP version mismatch: Envelope namespace {found} was unexpected. Expecting {expected}."
                    ),
                )
            }
            Self::NoOperation => {
                let reason = "Unable to handle request without a valid action parameter. Please supply a valid soap action.";
                (500, Blame::Sender, reason.to_owned())
            }
            Self::UnknownOperation(name) => {
                let reason = match version {
                    SoapVersion::V12 => {
                        format!("Unable to handle request. The action '{name}' was not recognized.")
                    }
                    SoapVersion::V11 => format!(
                        "Server did not recognize the value of HTTP Header SOAPAction: {name}."
                    ),
                };
                (500, Blame::Sender, reason)
            }
            Self::MediaType(why) => (415, Blame::Sender, format!("{UNREADABLE} ---> {why}")),
            Self::Explained(fault, _) => return fault.describe(version),
            Self::Header(why) => (400, Blame::Sender, format!("{UNREADABLE} ---> {why}")),
            Self::MustUnderstand(_) => (
                500,
                Blame::MustUnderstand,
                "A header block that must be understood was not understood.".to_owned(),
            ),
            Self::RateLimited { .. } => (429, Blame::Sender, "Too many requests.".to_owned()),
            Self::Busy => (
                503,
                Blame::Receiver,
                "Server was unable to process request. ---> Too many requests are waiting."
                    .to_owned(),
            ),
            Self::Crash => (
                500,
                Blame::Receiver,
                "Server was unable to process request.".to_owned(),
            ),
            Self::BodyTimedOut => (
                408,
                Blame::Sender,
                format!("{UNREADABLE} ---> The body did not arrive in time."),
            ),
            Self::TimedOut => (
                500,
                Blame::Receiver,
                "Server was unable to process request. ---> The request took too long.".to_owned(),
            ),
        };
        let code = match (blame, version) {
            (Blame::Sender, SoapVersion::V12) => "Sender",
            (Blame::Sender, SoapVersion::V11) => "Client",
            (Blame::Receiver, SoapVersion::V12) => "Receiver",
            (Blame::Receiver, SoapVersion::V11) => "Server",
            (Blame::VersionMismatch, _) => "VersionMismatch",
            (Blame::MustUnderstand, _) => "MustUnderstand",
        };
        (status, code, reason)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::dialects::soap::operations::by_name;
    use crate::domain::Scope;

    #[test]
    fn the_code_table() {
        let failures = [
            Failure::Missing("expiryDate"),
            Failure::Service(Error::CredentialMissing),
            Failure::Service(Error::CredentialInvalid),
            Failure::Service(Error::InsufficientScope(Scope::AccountWrite)),
            Failure::Service(Error::ResellerSuspended),
            Failure::Service(Error::AccountNotFound),
            Failure::Service(Error::AccountDeleted),
            Failure::Service(Error::AccountOfAnother),
            Failure::Service(Error::invalid("id", "must be between 1 and 2147483647")),
            Failure::Service(Error::invalid("email", "must be an e-mail address")),
            Failure::Service(Error::invalid(
                "password",
                "Invalid Password, Minimum 6 characters",
            )),
            Failure::Service(Error::invalid(
                "plan_id",
                "The specified plan id does not exist",
            )),
            Failure::Service(Error::NotFound(Resource::Plan)),
            Failure::Service(Error::invalid(
                "expires_at",
                "must be in the years 1970 to 9999",
            )),
            Failure::Service(Error::Conflict(Conflict::EmailInUse)),
            Failure::Service(Error::Conflict(Conflict::RetentionHold)),
            Failure::Service(Error::QuotaReached),
            Failure::Service(Error::AccountNumbersExhausted),
            Failure::Service(Error::Overloaded),
            Failure::Service(Error::Unavailable),
            Failure::Service(Error::IdempotencyKeyReused),
            Failure::Service(Error::Internal {
                incident: Uuid::nil(),
            }),
        ];
        let mut table = Vec::new();
        for name in [
            "SuspendAccountUsingAccountID",
            "ChangeAccountExpiryDateUsingAccountID",
            "ActivateAccount",
            "CreateAccount",
        ] {
            let wording = &by_name(name).unwrap().wording;
            table.push(format!("{name}:"));
            for failure in &failures {
                let (code, message) = result(failure, wording, false);
                table.push(format!(
                    "  {} {} {message}",
                    code.text(true),
                    code.text(false)
                ));
            }
        }
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn the_fault_table() {
        let faults = [
            Fault::Envelope(SoapProblem::NotWellFormed),
            Fault::Envelope(SoapProblem::TypographicQuotes),
            Fault::Envelope(SoapProblem::Unreadable(
                "a document type is not accepted".to_owned(),
            )),
            Fault::Envelope(SoapProblem::OtherNamespace("urn:x".to_owned())),
            Fault::Request("accountID must be an int, not 'x'".to_owned()),
            Fault::NoOperation,
            Fault::UnknownOperation("Zoolz/X".to_owned()),
            Fault::MustUnderstand(Vec::new()),
            Fault::Header("Content-Type: appears twice, with different values".to_owned()),
            Fault::Crash,
            Fault::BodyTimedOut,
            Fault::MediaType("the Content-Encoding is gzip; send bodies uncompressed".to_owned()),
            Fault::Explained(Box::new(Fault::NoOperation), "why".to_owned()),
        ];
        let lines = faults.iter().flat_map(|fault| {
            [SoapVersion::V12, SoapVersion::V11].map(|version| fault.describe(version))
        });
        let table: Vec<_> = lines
            .map(|(status, code, reason)| format!("{status} {code} {reason}"))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}

//! [`Failure`]: the reasons for which a request can fail, shared by all dialects. Each dialect's
//! `codes.rs` maps them to its own codes.

use crate::domain::{Error, quoted};
use crate::wire;

/// Where the paths of the management listener are. The address itself is nobody's business here.
pub(super) const MANAGEMENT: &str = "/livez, /readyz and /metrics are served at the address that \
     the operator's key server.management_listen names";

/// The text for a method that a path does not take.
pub(super) fn wrong_method(allowed: &str) -> String {
    format!("Method not allowed; this path takes {allowed}")
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The service refused the request, or failed.
    Service(Error),
    /// The body could not be read.
    Wire(wire::Error),
    /// A header or a query parameter is invalid.
    Parameter {
        /// The name of the header or parameter, as the caller wrote it.
        name: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// A required value is missing or empty; the name of its XML element. Only in `soap`.
    Missing(&'static str),
    /// The tokens in the body and in the `Authorization` header differ. Only in `admin`.
    TokensDiffer,
    /// There is no token where one is read, but something elsewhere that may be one; the text says
    /// where tokens are read.
    TokenNotRead(&'static str),
    /// The dialect has no such path.
    NoSuchRoute,
    /// No dialect has this path, which is given as the caller wrote it, up to a length.
    NoSuchPath(String),
    /// The path is one of the management listener, which is at another address.
    OnManagementListener,
    /// The original of the dialect has this operation, and Steward does not; the text says why.
    NotOffered(&'static str),
    /// The path exists, but not with this method; the methods that it has, separated by commas.
    MethodNotAllowed(String),
    /// The request took longer than the configured limit.
    TimedOut,
    /// The request took longer than the configured limit, because its body did not arrive.
    BodyTimedOut,
    /// The handler panicked. The log has the cause.
    Crashed,
    /// The client's address sends too many requests.
    RateLimited {
        /// Seconds until the next request is accepted.
        retry_after: u32,
    },
}

/// How many characters of an unknown path an answer shows.
const MAX_SHOWN_PATH: usize = 100;

/// Where the paths of the dialects begin.
pub(super) const BASE_PATHS: &str = "paths begin with /api/v1.1/admin/accounts/ or /v3/, and SOAP is at \
     /Services/Reseller/Service.asmx";

impl Failure {
    /// A [`Failure::NoSuchPath`].
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::NoSuchPath(path.chars().take(MAX_SHOWN_PATH).collect())
    }

    /// A [`Failure::Parameter`].
    pub(crate) fn parameter(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Parameter {
            name: name.into(),
            problem: problem.into(),
        }
    }

    /// A [`Failure::Parameter`] that says what is accepted and repeats what the caller gave.
    pub(crate) fn must_be(name: impl Into<String>, accepted: &str, given: &str) -> Self {
        Self::parameter(name, format!("must be {accepted}, not {}", quoted(given)))
    }
}

/// The text of [`Error::CredentialOutlived`].
pub(crate) const OUTLIVED: &str = "the caller's token expires before the token that it is to rotate; \
    use one that expires no earlier";
/// The text of [`Error::CredentialBound`].
pub(crate) const BOUND: &str = "the caller's token is bound to an owner; it rotates and revokes only \
    tokens that are bound to the same";
/// The text of [`Error::NotYourHold`].
pub(crate) fn not_yours(holder: &str) -> String {
    format!("the hold belongs to {holder}; only its holder can lift it")
}

/// The text of [`Error::AnswerSpaceUsedUp`].
pub(crate) const NO_ANSWER_SPACE: &str = "The answers stored under the reseller's idempotency keys \
    take all the space that it has; send the request without a key, or later; the operator raises \
    the space with idempotency.max_bytes_per_reseller";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl From<wire::Error> for Failure {
    fn from(error: wire::Error) -> Self {
        Self::Wire(error)
    }
}

//! Why a request failed: one type for all dialects. Each dialect has a table (`codes.rs`) from here to its own codes.

use crate::domain::Error;
use crate::wire;

/// Why a request failed, from its first byte to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The service refused the request, or failed.
    Service(Error),
    /// The body could not be read.
    Wire(wire::Error),
    /// A header or a query parameter is not acceptable.
    Parameter {
        /// The name of the header or parameter, as the caller wrote it.
        name: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// A value that the operation requires is missing or empty: the name of the element. `soap` only.
    Missing(&'static str),
    /// The token in the body differs from the one in the `Authorization` header. `admin` only.
    TokensDiffer,
    /// The dialect has no such path.
    NoSuchRoute,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The request took longer than the configured limit.
    TimedOut,
    /// Our code panicked; the log has the cause.
    Crashed,
    /// The client's address sends too many requests.
    RateLimited {
        /// Seconds until the next request is accepted.
        retry_after: u32,
    },
}

impl Failure {
    /// A header or a query parameter that is not acceptable.
    pub(crate) fn parameter(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Parameter {
            name: name.into(),
            problem: problem.into(),
        }
    }
}

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

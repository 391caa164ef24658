//! The dialects: the three APIs through which callers reach the service.
//!
//! A dialect turns requests into commands and outcomes into replies. It contains no lifecycle rules
//! and no SQL. Each has its own names and envelopes, one table of operations (`operations.rs`), one
//! dispatcher that enforces the table (`dispatch.rs`), and one table (`codes.rs`) that maps
//! [`failure::Failure`] to its codes. All dialects call the same service, so an operation has the
//! same effect in each of them.

pub mod admin;
mod body;
pub(crate) mod dates;
pub(crate) mod exchange;
pub mod failure;
pub(crate) mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod metadata;
mod openapi;
mod openapi_3_0;
pub mod operation;
mod patches;
pub(crate) mod path;
mod schemas;
pub mod soap;
pub mod v3;
mod views;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::Response;

use crate::metrics::Call;
use crate::wire::{Codec, SoapVersion};
use failure::Failure;

pub use exchange::RequestId;
pub use openapi::{openapi, openapi_3_0};

/// The operation's label in metrics and logs if the request matches no operation.
pub(crate) const UNKNOWN: &str = "unknown";
/// The end of the entity tag of an answer that is sent compressed with gzip.
pub(crate) const GZIP_TAG: &str = "-gzip";

/// The API that a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/api/v1.1/admin/...`
    Admin,
    /// `/Services/Reseller/Service.asmx`, ignoring case.
    Soap,
    /// `/v3/...`
    V3,
}

impl Dialect {
    /// The dialect of a path, however it is spelled. `None` if the path belongs to no dialect, such as a page.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let is_v3 = |path: &str| {
            path.strip_prefix(v3::ROOT)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let path = path::plain(path);
        match path.as_ref() {
            path if path.trim_end_matches('/').eq_ignore_ascii_case(soap::PATH) => Some(Self::Soap),
            path if is_v3(path) => Some(Self::V3),
            path if path.starts_with(admin::PREFIX) => Some(Self::Admin),
            _ => None,
        }
    }

    /// The dialect's label in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Soap => "soap",
            Self::V3 => "v3",
        }
    }
}

/// The labels of a request in metrics and logs before it is handled. The body of a SOAP request
/// names its operation, so the SOAP dispatcher sets that label later.
pub(crate) fn labels(request: &Request) -> Call {
    let dialect = Dialect::of(request.uri().path());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str);
    let operation = match (dialect, route) {
        (Some(Dialect::V3), Some(route)) => v3::operation_name(request.method(), route),
        (Some(Dialect::Admin), Some(route)) => admin::operation_name(route),
        (Some(Dialect::Soap), _) => (request.method() == Method::GET).then_some("page"),
        (None, Some(_)) => Some("page"),
        (_, None) => None,
    };
    Call {
        dialect: dialect.map_or("none", Dialect::as_str),
        operation: operation.unwrap_or(UNKNOWN),
    }
}

/// How to answer a failure in the request's dialect and format when no dispatcher did: an unknown
/// path, a timeout, a panic, or a rate limit. Paths of no dialect are answered in the `admin`
/// dialect.
#[derive(Debug, Clone)]
pub enum Responder {
    /// In the `admin` dialect's envelope.
    Admin(Codec),
    /// With a SOAP fault.
    Soap(SoapVersion),
    /// In the `v3` dialect's envelope, which contains the request's id.
    V3(v3::FailureFormat, RequestId),
}

impl Responder {
    /// Reads the dialect and the format from a request's head.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        match Dialect::of(uri.path()) {
            Some(Dialect::Soap) => Self::Soap(soap::version(headers)),
            Some(Dialect::V3) => {
                let id = request.extensions().get::<RequestId>();
                Self::V3(
                    v3::accepted_for_failures(headers),
                    id.cloned().unwrap_or_default(),
                )
            }
            Some(Dialect::Admin) | None => Self::Admin(admin::preferred_format(headers, uri)),
        }
    }

    /// The response to a failure.
    #[must_use]
    pub fn respond(&self, failure: &Failure, admin: &admin::Settings) -> Response {
        match self {
            Self::Admin(format) => admin::respond_to(failure, *format, admin),
            Self::Soap(version) => soap::respond_to(failure, *version),
            Self::V3(format, request_id) => v3::respond_to(failure, *format, request_id),
        }
    }
}

//! How each API speaks: requests into commands, outcomes into replies, one code table each.
//!
//! A dialect knows no rule of the lifecycle and no SQL. It has its own words, its own envelopes, and one table
//! (`codes.rs`) from [`domain::Error`](crate::domain::Error) to its codes. All dialects call the same service, so
//! the same operation has the same effect whichever one it came through.

pub mod admin;
mod body;
pub(crate) mod dates;
#[cfg(fuzzing)]
pub mod fuzzing;
mod openapi;
mod patches;
mod schemas;
pub use openapi::openapi;

pub mod soap;
pub mod v3;

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method, header};
use secrecy::SecretString;

use crate::domain::Error;
use crate::metrics::Call;
use crate::service::{Principal, Rate, Service};

/// What went wrong outside the handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// No such path.
    NoSuchCall,
    /// It took longer than it may.
    TimedOut,
    /// A handler panicked.
    Crashed,
    /// The client's address asks too often.
    RateLimited {
        /// Seconds after which one more request is taken.
        retry_after: u32,
    },
}

/// How a request ended, for who counts them. Stands in an answer's extensions where the status does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As was asked.
    Ok,
    /// The caller asked for what cannot be.
    Refused,
    /// The caller asks too often.
    RateLimited,
    /// The database, or room in a queue, is missing.
    Unavailable,
    /// Our fault.
    Error,
}

impl Ending {
    /// What a status, or a code of a dialect that is like one, means.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Ok,
            429 => Self::RateLimited,
            400..500 => Self::Refused,
            503 => Self::Unavailable,
            _ => Self::Error,
        }
    }

    /// Its name in the metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Error => "error",
        }
    }
}

/// The name of a call that no table has.
pub(crate) const UNKNOWN: &str = "unknown";

/// Which call a request is, as far as its head tells: the operation of the `soap` dialect stands in the body, and so in the
/// answer's extensions.
pub(crate) fn call(request: &Request) -> Call {
    let path = request.uri().path();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str);
    let (dialect, operation) = match route {
        Some(route) if v3::is_path(route) => ("v3", v3::operation_name(request.method(), route)),
        Some(route) if route.starts_with(admin::PREFIX) => ("admin", admin::operation_name(route)),
        Some(_) => ("none", Some("page")),
        None if soap::is_path(path) => {
            ("soap", (request.method() == Method::GET).then_some("page"))
        }
        None if v3::is_path(path) => ("v3", None),
        None if path.starts_with(admin::PREFIX) => ("admin", None),
        None => ("none", None),
    };
    Call {
        dialect,
        operation: operation.unwrap_or(UNKNOWN),
    }
}

/// The host that a request names, if it can stand in an address without being quoted.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    let is_plain = |host: &&str| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
    };
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .filter(is_plain)
        .unwrap_or("localhost")
}

/// The identity of a request, for logs, the journal and the caller. Made or accepted by the HTTP layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the credential of a request may ask yet: found out by the dialect, which knows where its credential stands, and
/// told to the caller by the HTTP layer.
#[derive(Debug, Clone, Default)]
pub struct Allowance(Arc<OnceLock<Rate>>);

impl Allowance {
    /// Whom a token stands for, if it may ask now.
    ///
    /// # Errors
    /// As [`Service::authenticate`], and [`Error::RateLimited`].
    pub(crate) async fn authenticate(
        &self,
        service: &Service,
        token: &SecretString,
    ) -> Result<Principal, Error> {
        let principal = service.authenticate(token).await?;
        let (rate, admitted) = service.count_caller(&principal);
        if let Some(rate) = rate {
            self.0.get_or_init(|| rate);
        }
        admitted.map(|()| principal)
    }

    /// What is left, if that was found out.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.0.get().copied()
    }
}

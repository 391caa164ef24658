//! One request and its answer, as every dialect sees them: the request's id, the caller, and the record of what was handled.

use std::fmt;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use secrecy::SecretString;
use serde_json::Value;

use crate::domain::{Authority, Error, Time};
use crate::service::{Context, Principal, Rate, Service};
use crate::wire::Codec;

/// The id of a request, for logs, the journal and the caller. The HTTP layer accepts the caller's or makes one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request ended, as the metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The request did what it asked for.
    Ok,
    /// The request was refused: its own fault.
    Refused,
    /// The caller sends too many requests.
    RateLimited,
    /// The database does not answer, or a queue is full.
    Unavailable,
    /// Our fault.
    Error,
}

impl RequestOutcome {
    /// The outcome that an HTTP status stands for.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Ok,
            429 => Self::RateLimited,
            400..500 => Self::Refused,
            503 => Self::Unavailable,
            _ => Self::Error,
        }
    }

    /// The value of the metrics' label.
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

/// What a dispatcher handled. It stands in the extensions of the response, where the HTTP layer reads it: for the metrics, and
/// for the rate headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handled {
    /// The name of the operation in its table.
    pub(crate) operation: &'static str,
    /// How it ended.
    pub(crate) outcome: RequestOutcome,
    /// The rate limit of the credential, where one applies.
    pub(crate) rate: Option<Rate>,
}

/// One request on its way through a dispatcher.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request's id.
    pub(crate) request_id: RequestId,
    rate: Option<Rate>,
}

impl Exchange {
    /// Begins with what the HTTP layer knows of the request.
    pub(crate) fn begin(parts: &Parts) -> Self {
        Self {
            request_id: parts
                .extensions
                .get::<RequestId>()
                .cloned()
                .unwrap_or_default(),
            rate: None,
        }
    }

    /// The principal of a token. Counts the request against the credential's rate limit.
    ///
    /// # Errors
    /// As [`Service::authenticate`], and [`Error::RateLimited`].
    pub(crate) async fn authenticate(
        &mut self,
        service: &Service,
        token: &SecretString,
    ) -> Result<Principal, Error> {
        let principal = service.authenticate(token).await?;
        let (rate, admitted) = service.count_caller(&principal);
        self.rate = rate;
        admitted.map(|()| principal)
    }

    /// Records in the response what was handled.
    pub(crate) fn finish(
        self,
        mut response: Response,
        operation: &'static str,
        outcome: RequestOutcome,
    ) -> Response {
        response.extensions_mut().insert(Handled {
            operation,
            outcome,
            rate: self.rate,
        });
        response
    }
}

/// The text of a header, if it is there and is text.
pub(super) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The address of the service as its callers see it: the configured one, else what the `Host` header of the request names.
pub(super) fn base_url(configured: Option<&str>, headers: &HeaderMap) -> String {
    configured.map_or_else(|| format!("http://{}", host(headers)), str::to_owned)
}

/// The host that a request names, if it can stand in a URL without quoting; else `localhost`.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    let is_plain = |host: &&str| {
        !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
    };
    header_text(headers, header::HOST)
        .filter(is_plain)
        .unwrap_or("localhost")
}

/// Who reads a document, and for which instant it is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer {
    /// The viewer's authority: the internal reason of a hold is shown only to the authority that placed it.
    pub(super) authority: Authority,
    /// The instant for which states are computed.
    pub(super) now: Time,
}

impl Viewer {
    /// The caller of a request, at an instant.
    pub(super) fn of(context: &Context, now: Time) -> Self {
        Self {
            authority: context.principal.authority(),
            now,
        }
    }
}

/// The facts of a journal entry in a format. In XML the names of holds (`freeze:reseller`) are written with a full stop, because
/// a colon would make a namespace of them.
pub(super) fn facts_in(format: Codec, facts: Value) -> Value {
    match (format, facts) {
        (Codec::Xml, Value::Object(members)) => {
            let renamed = members.into_iter();
            Value::Object(
                renamed
                    .map(|(name, value)| (name.replace(':', "."), value))
                    .collect(),
            )
        }
        (_, facts) => facts,
    }
}

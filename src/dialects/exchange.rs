//! Types shared by all dispatchers: a request's id, its authentication, and the record of its
//! outcome.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use secrecy::SecretString;

use crate::domain::Error;
use crate::service::{Principal, Rate, Service};
use crate::shares::Holder;

/// The id of a request, written to the log, the journal and the response. The HTTP layer takes it
/// from the caller, or generates it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of the client. The HTTP layer stores it in the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// The holder of the client's share. Requests without a connection, which exist only in tests,
    /// share one.
    pub(crate) fn holder(address: Option<&Self>) -> Holder {
        Holder::address(address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.0))
    }
}

/// Whether the service waits for the request's body. The HTTP layer stores it in the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyWait(Arc<AtomicBool>);

impl BodyWait {
    /// Waits for a part of the body.
    pub(super) async fn during<T>(&self, part: impl Future<Output = T>) -> T {
        self.0.store(true, Ordering::Relaxed);
        let part = part.await;
        self.0.store(false, Ordering::Relaxed);
        part
    }

    /// Whether a part is being waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The outcome of a request, as the metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The request succeeded.
    Ok,
    /// The request was refused because of an error of the caller.
    Refused,
    /// The caller sends too many requests.
    RateLimited,
    /// The database does not answer, or a queue is full.
    Unavailable,
    /// The service failed.
    Error,
}

impl RequestOutcome {
    /// The outcome that belongs to an HTTP status.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Ok,
            429 => Self::RateLimited,
            400..500 => Self::Refused,
            503 => Self::Unavailable,
            _ => Self::Error,
        }
    }

    /// The value of the metrics' `outcome` label.
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

/// The record of a handled request. The dispatcher, or whatever answers instead of it, puts it into
/// the response's extensions. The HTTP layer reads it for the metrics and the rate headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handled {
    /// The name of the operation in its table. `None` if no dispatcher answered.
    pub(crate) operation: Option<&'static str>,
    /// How the request ended.
    pub(crate) outcome: RequestOutcome,
    /// The credential's rate limit. `None` if no limit applies.
    pub(crate) rate: Option<Rate>,
    /// Whose share the answer uses. `None` if no dispatcher answered, and for writes: their answers
    /// are sent always.
    pub(crate) holder: Option<Holder>,
    /// Whether the answer may contain a secret.
    pub(crate) has_secret: bool,
}

impl Handled {
    /// Adds the record of a failure that was answered outside the dispatcher. Without it the
    /// metrics go by the HTTP status, which does not show the outcome in every dialect.
    pub(super) fn outside(mut response: Response, outcome: RequestOutcome) -> Response {
        response.extensions_mut().insert(Self {
            operation: None,
            outcome,
            rate: None,
            holder: None,
            has_secret: false,
        });
        response
    }
}

/// One request while a dispatcher handles it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request_id: RequestId,
    pub(super) body_wait: BodyWait,
    rate: Option<Rate>,
    holder: Holder,
    /// Whether the answer may be refused for want of memory.
    may_refuse_answer: bool,
    has_secret: bool,
}

impl Exchange {
    /// Starts from the request's head, in which the HTTP layer stored the request's id.
    pub(crate) fn begin(parts: &Parts) -> Self {
        Self {
            request_id: parts
                .extensions
                .get::<RequestId>()
                .cloned()
                .unwrap_or_default(),
            body_wait: parts.extensions.get().cloned().unwrap_or_default(),
            rate: None,
            holder: ClientAddress::holder(parts.extensions.get::<ClientAddress>()),
            may_refuse_answer: true,
            has_secret: false,
        }
    }

    /// Whose share the request uses: the client's address, and the caller's reseller once it is
    /// known.
    pub(crate) fn holder(&self) -> Holder {
        self.holder
    }

    /// Authenticates a token, and counts the request against the credential's rate limit.
    ///
    /// # Errors
    /// The errors of [`Service::authenticate`], and [`Error::RateLimited`].
    pub(crate) async fn authenticate(
        &mut self,
        service: &Service,
        token: &SecretString,
    ) -> Result<Principal, Error> {
        let principal = service.authenticate(token).await?;
        self.holder = Holder::Reseller(principal.storage_reseller());
        let (rate, admitted) = service.count_caller(&principal);
        self.rate = rate;
        admitted.map(|()| principal)
    }

    /// Sends the answer whatever memory is left: the request is a write, which may have been carried
    /// out.
    pub(crate) fn answer_always(&mut self) {
        self.may_refuse_answer = false;
    }

    /// Notes whether the operation's answer may contain a secret.
    pub(crate) fn set_secret(&mut self, has_secret: bool) {
        self.has_secret = has_secret;
    }

    /// Adds the record of the handled request to the response.
    pub(crate) fn finish(
        self,
        response: Response,
        operation: &'static str,
        outcome: RequestOutcome,
    ) -> Response {
        self.record(response, Some(operation), outcome)
    }

    /// The same for a request that matches no operation.
    pub(crate) fn finish_unmatched(self, response: Response) -> Response {
        let outcome = RequestOutcome::of_status(response.status().as_u16());
        self.record(response, None, outcome)
    }

    fn record(
        self,
        mut response: Response,
        operation: Option<&'static str>,
        outcome: RequestOutcome,
    ) -> Response {
        response.extensions_mut().insert(Handled {
            operation,
            outcome,
            rate: self.rate,
            holder: self.may_refuse_answer.then_some(self.holder),
            has_secret: self.has_secret,
        });
        response
    }
}

/// The text of a header. `None` if the header is absent or not text.
pub(super) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why a header `Authorization` has no token.
pub(super) const NO_BEARER: &str =
    "the Authorization header must be the word Bearer, a space and the token";

/// The token in an `Authorization` header. `None` if it does not have the scheme Bearer and a token.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The `Accept` header. If there are several, they are one list (RFC 9110, section 5.3).
pub(crate) fn accept(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::ACCEPT).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// `https` if a trusted proxy says that the client came by TLS. The middleware removes the header
/// that others send.
pub(crate) const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The service's base URL as callers see it: the configured one, else one made from the request's
/// `Host` header, with the scheme that a trusted proxy names.
pub(crate) fn base_url(configured: Option<&str>, headers: &HeaderMap) -> String {
    let scheme = if headers.contains_key(FORWARDED_PROTO) {
        "https"
    } else {
        "http"
    };
    configured.map_or_else(|| format!("{scheme}://{}", host(headers)), str::to_owned)
}

/// The host from the request's `Host` header if it can stand in a URL unquoted, else `localhost`.
fn host(headers: &HeaderMap) -> &str {
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

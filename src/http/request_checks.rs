//! What is checked of every request's head before a dispatcher sees it.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Uri, Version, header};

use crate::dialects::failure::Failure;

/// The headers that may have one value only. One server that takes the first and another that takes
/// the last would read two different requests.
const SINGLE: [(&str, &str); 6] = [
    ("authorization", "Authorization"),
    ("content-type", "Content-Type"),
    ("host", "Host"),
    ("idempotency-key", "Idempotency-Key"),
    ("soapaction", "SOAPAction"),
    ("x-request-id", "X-Request-Id"),
];

/// Refuses a request whose head contradicts itself, or that names no host.
///
/// # Errors
/// [`Failure::Parameter`] with the name of the header or parameter.
pub(super) fn check(request: &Request<Body>) -> Result<(), Failure> {
    let headers = request.headers();
    // Requests without a connection exist only in tests.
    let is_from_network = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some();
    let has_host = headers.contains_key(header::HOST) || request.uri().authority().is_some();
    if is_from_network && request.version() == Version::HTTP_11 && !has_host {
        return Err(Failure::parameter("Host", "is required in HTTP/1.1"));
    }
    for (name, written) in SINGLE {
        if has_two_values(headers, name) {
            return Err(Failure::parameter(
                written,
                "appears twice, with different values",
            ));
        }
    }
    let mut tokens =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .filter(|(name, _)| name == "token")
            .map(|(_, value)| value);
    match tokens.next() {
        Some(first) if tokens.any(|other| other != first) => Err(Failure::parameter(
            "token",
            "appears twice, with different values",
        )),
        _ => Ok(()),
    }
}

fn has_two_values(headers: &HeaderMap, name: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .is_some_and(|first| values.any(|other| other != first))
}

/// The same URI with another path. `None` if that is no valid URI.
pub(super) fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

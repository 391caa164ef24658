//! What is checked of every request's head before a dispatcher sees it.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri, Version, header};

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

/// Refuses a request whose head contradicts itself, or that names no host. If the host is in the
/// request's URI, writes it into the `Host` header.
///
/// # Errors
/// [`Failure::Parameter`] with the name of the header or parameter.
pub(super) fn check(request: &mut Request<Body>) -> Result<(), Failure> {
    settle_host(request)?;
    let headers = request.headers();
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

/// `HTTP/2` names the host in the URI, and `HTTP/1.1` may (RFC 9112, section 3.2.2): then a `Host`
/// header of HTTP/1.1 does not count. One of HTTP/2 must be the same.
fn settle_host(request: &mut Request<Body>) -> Result<(), Failure> {
    let version = request.version();
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host)
            .map_err(|_| Failure::parameter("Host", "is not a host and port"))?;
        let given = request.headers().get(header::HOST);
        if version == Version::HTTP_2 && given.is_some_and(|given| *given != host) {
            let problem = "differs from :authority; send one of them";
            return Err(Failure::parameter("Host", problem));
        }
        request.headers_mut().insert(header::HOST, host);
        return Ok(());
    }
    // Requests without a connection exist only in tests.
    let is_from_network = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some();
    if !is_from_network || request.headers().contains_key(header::HOST) {
        return Ok(());
    }
    match version {
        Version::HTTP_11 => Err(Failure::parameter("Host", "is required in HTTP/1.1")),
        Version::HTTP_2 => {
            let problem = "is required in HTTP/2, as the pseudo-header :authority or as Host";
            Err(Failure::parameter("Host", problem))
        }
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

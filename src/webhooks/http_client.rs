//! The HTTP client for deliveries: one attempt, with its timeouts, and which addresses it may
//! reach.
//!
//! A reseller chooses the URL of its endpoint, so the client must not let it reach servers that
//! only this machine can reach (server-side request forgery). It resolves the host name when it
//! connects and connects to public addresses only. The same check applies to addresses written into
//! the URL and to IPv4 addresses embedded in IPv6 ones. The client follows no redirects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

use crate::domain::{Time, is_public};

/// The timeouts of a DNS lookup and of connecting.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a response may take after its head has arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a response's body is read, and how much of it is kept for the log of attempts, in
/// bytes.
const MAX_BODY: usize = 8 * 1024;
const KEPT_BODY: usize = 512;

/// The receiver's response to an attempt, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    /// The HTTP status. `None` if no response arrived.
    pub(super) status: Option<u16>,
    /// Why the attempt failed. `None` if it succeeded.
    pub(super) problem: Option<String>,
    /// The beginning of the body. `None` if there is no body.
    pub(super) body: Option<String>,
    /// The `Retry-After` header. `None` if it is absent or cannot be read.
    pub(super) retry_after: Option<RetryAfter>,
}

/// When the receiver wants the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    /// After this many seconds.
    Seconds(u64),
    /// At this time.
    At(Time),
}

impl RetryAfter {
    /// Reads a number of seconds, or a date in any of the three forms of RFC 9110, section 5.6.7.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            // A number that does not fit is longer than any limit.
            return Some(Self::Seconds(text.parse().unwrap_or(u64::MAX)));
        }
        httpdate::parse_http_date(text)
            .ok()
            .map(|at| Self::At(at.into()))
    }
}

impl Response {
    pub(super) fn succeeded(&self) -> bool {
        self.problem.is_none()
    }

    fn failed(problem: String) -> Self {
        Self {
            status: None,
            problem: Some(problem),
            body: None,
            retry_after: None,
        }
    }
}

/// Decides which addresses the client may connect to: public ones, and those in these networks.
#[derive(Debug, Clone)]
struct AddressFilter(Arc<[IpNet]>);

impl AddressFilter {
    fn admits(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
            || is_public(address)
    }
}

impl Resolve for AddressFilter {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.clone();
        Box::pin(async move {
            let found =
                tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name.as_str(), 0)))
                    .await??;
            let admitted: Vec<SocketAddr> = found
                .filter(|address| filter.admits(address.ip()))
                .collect();
            if admitted.is_empty() {
                return Err("its address is not a public one".into());
            }
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        })
    }
}

/// Why a receiver cannot be connected to. The texts are for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// The configuration forbids its address, or the URL has none.
    Forbidden(String),
    /// Its name is not known, or it accepts no connection.
    Down(String),
}

/// Checks whether a receiver accepts connections, without sending anything.
///
/// # Errors
/// [`Unreachable`].
pub async fn probe(url: &str, allowed: &[IpNet]) -> Result<(), Unreachable> {
    let forbidden = |problem: &str| Unreachable::Forbidden(problem.to_owned());
    let down = |problem: String| Unreachable::Down(problem);
    let filter = AddressFilter(allowed.into());
    let url = Url::parse(url).map_err(|_| forbidden("the URL cannot be read"))?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(forbidden("the URL names no host"));
    };
    let found = tokio::time::timeout(
        LOOKUP_TIMEOUT,
        tokio::net::lookup_host((host.trim_matches(['[', ']']), port)),
    )
    .await;
    let found = found
        .map_err(|_| down(format!("looking up the name {host} timed out")))?
        .map_err(|error| down(format!("the name {host} cannot be looked up: {error}")))?;
    let admitted: Vec<SocketAddr> = found
        .filter(|address| filter.admits(address.ip()))
        .collect();
    if admitted.is_empty() {
        return Err(forbidden("its address is not a public one"));
    }
    match tokio::time::timeout(
        CONNECT_TIMEOUT,
        tokio::net::TcpStream::connect(admitted.as_slice()),
    )
    .await
    {
        Ok(connected) => connected.map(drop).map_err(|error| down(error.to_string())),
        Err(_elapsed) => Err(down("connecting to it timed out".to_owned())),
    }
}

/// Sends deliveries.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client,
    filter: AddressFilter,
}

impl Sender {
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn new(timeout: Duration, allowed: &[IpNet]) -> Result<Self, String> {
        let filter = AddressFilter(allowed.into());
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(filter.clone()))
            .no_proxy()
            .http1_only()
            .http1_ignore_invalid_headers_in_responses(true)
            .pool_max_idle_per_host(64)
            .user_agent(concat!("Steward-Webhooks/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            filter,
        })
    }

    /// Makes one attempt. It succeeds if the receiver responds with a 2xx status in time.
    pub(super) async fn send(
        &self,
        url: &str,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Response {
        let Ok(url) = Url::parse(url) else {
            return Response::failed("the URL cannot be read".to_owned());
        };
        // The resolver never sees addresses written into the URL, so they are checked here.
        let literal = url
            .host_str()
            .and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if literal.is_some_and(|address| !self.filter.admits(address)) {
            return Response::failed("its address is not a public one".to_owned());
        }
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => Response::failed(describe(error)),
        }
    }
}

async fn read(mut response: reqwest::Response) -> Response {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| RetryAfter::read(value.to_str().ok()?));
    let mut body = Vec::new();
    // The status is the receiver's answer, so a body that is broken, endless or slow changes
    // nothing. What is not read is dropped with the response, which closes the connection.
    let read_body = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                break;
            }
        }
    };
    let _slow = tokio::time::timeout(BODY_TIMEOUT, read_body).await;
    body.truncate(KEPT_BODY);
    // PostgreSQL's text cannot contain NUL.
    let body = String::from_utf8_lossy(&body).replace('\0', "\u{fffd}");
    let problem = (!status.is_success()).then(|| format!("answered {}", status.as_u16()));
    Response {
        status: Some(status.as_u16()),
        problem,
        body: Some(body).filter(|body| !body.is_empty()),
        retry_after,
    }
}

/// The innermost cause of an error, without the URL, which may contain secrets.
fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_in_three_forms() {
        let at: Time = "1994-11-06T08:49:37Z".parse().unwrap();
        for (text, expected) in [
            ("120", Some(RetryAfter::Seconds(120))),
            (" 0 ", Some(RetryAfter::Seconds(0))),
            (
                "99999999999999999999999",
                Some(RetryAfter::Seconds(u64::MAX)),
            ),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(RetryAfter::At(at))),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(RetryAfter::At(at))),
            ("Sun Nov  6 08:49:37 1994", Some(RetryAfter::At(at))),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(RetryAfter::read(text), expected, "{text}");
        }
    }

    #[test]
    fn an_allowed_network_admits_ipv4_addresses_in_both_notations() {
        let filter = AddressFilter(Arc::from(["127.0.0.0/8".parse().unwrap()]));
        assert!(
            filter.admits("127.0.0.1".parse().unwrap())
                && filter.admits("::ffff:127.0.0.1".parse().unwrap())
        );
        assert!(
            !filter.admits("10.0.0.1".parse().unwrap()) && !filter.admits("::1".parse().unwrap())
        );
    }
}

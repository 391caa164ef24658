//! One attempt: to whom we connect, for how long, and what counts as taken.
//!
//! A receiver's name is looked up when it is connected to, and only addresses that are for everybody are connected to:
//! whoever may register an endpoint must not reach what only we can. That holds for addresses written into the URL, for
//! IPv4 addresses in IPv6 clothes, and, since nothing is followed, for redirects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

/// The longest that a look-up, and that connecting may take.
const LOOKUP: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(5);
/// How much of an answer is read, and how much of that is kept.
const MAX_ANSWER: usize = 8 * 1024;
const KEPT_ANSWER: usize = 512;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    /// The HTTP status; none: no answer arrived.
    pub(super) status: Option<u16>,
    /// What went wrong.
    pub(super) problem: Option<String>,
    /// How the answer begins.
    pub(super) answer: Option<String>,
    /// Seconds after which the receiver would like to be asked again.
    pub(super) retry_after: Option<u64>,
}

impl Answered {
    pub(super) fn succeeded(&self) -> bool {
        self.problem.is_none()
    }

    fn failed(problem: String) -> Self {
        Self {
            status: None,
            problem: Some(problem),
            answer: None,
            retry_after: None,
        }
    }
}

/// Which addresses may be connected to.
#[derive(Debug, Clone)]
struct Reachable(Arc<[IpNet]>);

impl Reachable {
    fn admits(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
            || is_public(address)
    }
}

impl Resolve for Reachable {
    fn resolve(&self, name: Name) -> Resolving {
        let reachable = self.clone();
        Box::pin(async move {
            let found =
                tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name.as_str(), 0))).await??;
            let admitted: Vec<SocketAddr> = found
                .filter(|address| reachable.admits(address.ip()))
                .collect();
            if admitted.is_empty() {
                return Err("its address is not a public one".into());
            }
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether a receiver's address can be connected to, without sending anything.
///
/// # Errors
/// Why not.
pub async fn probe(url: &str, allowed: &[IpNet]) -> Result<(), String> {
    let reachable = Reachable(allowed.into());
    let url = Url::parse(url).map_err(|_| "the URL cannot be read".to_owned())?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("the URL names no host".to_owned());
    };
    let found = tokio::time::timeout(
        LOOKUP,
        tokio::net::lookup_host((host.trim_matches(['[', ']']), port)),
    )
    .await;
    let found = found
        .map_err(|_| "its name is not answered in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let admitted: Vec<SocketAddr> = found
        .filter(|address| reachable.admits(address.ip()))
        .collect();
    if admitted.is_empty() {
        return Err("its address is not a public one".to_owned());
    }
    match tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(admitted.as_slice())).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_elapsed) => Err("it does not take connections in time".to_owned()),
    }
}

/// Sends deliveries.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client,
    reachable: Reachable,
}

impl Sender {
    /// # Errors
    /// That TLS cannot be set up.
    pub(super) fn new(timeout: Duration, allowed: &[IpNet]) -> Result<Self, String> {
        let reachable = Reachable(allowed.into());
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT.min(timeout))
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(reachable.clone()))
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(64)
            .user_agent(concat!("Steward-Webhooks/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            reachable,
        })
    }

    /// Sends one delivery. Anything but 2xx in time is a failure.
    pub(super) async fn send(
        &self,
        url: &str,
        headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Answered {
        let Ok(url) = Url::parse(url) else {
            return Answered::failed("the URL cannot be read".to_owned());
        };
        // What is an address already is not looked up.
        let literal = url
            .host_str()
            .and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if literal.is_some_and(|address| !self.reachable.admits(address)) {
            return Answered::failed("its address is not a public one".to_owned());
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
            Err(error) => Answered::failed(describe(error)),
        }
    }
}

async fn read(mut response: reqwest::Response) -> Answered {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut answer = Vec::new();
    let problem = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if answer.len() + chunk.len() <= MAX_ANSWER => {
                answer.extend_from_slice(&chunk);
            }
            // The rest of a long answer is of no interest; the connection goes with it.
            Ok(_) => break None,
            Err(error) => break Some(describe(error)),
        }
    };
    answer.truncate(KEPT_ANSWER);
    let answer = String::from_utf8_lossy(&answer).replace('\0', "\u{fffd}");
    let problem = if status.is_success() {
        problem
    } else {
        Some(format!("answered {}", status.as_u16()))
    };
    Answered {
        status: Some(status.as_u16()),
        problem,
        answer: Some(answer).filter(|answer| !answer.is_empty()),
        retry_after,
    }
}

/// The innermost cause, without the URL, which may hold secrets.
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

/// Whether an address is for everybody (the registries of special-purpose addresses, RFC 6890 and its successors).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let (segments, bits) = (address.segments(), address.to_bits());
    let [first, second, ..] = segments;
    // The 32 bits that end so many bits from the right.
    let embedded = |from_right: u32| {
        u32::try_from((bits >> from_right) & u128::from(u32::MAX))
            .is_ok_and(|bits| is_public_v4(Ipv4Addr::from_bits(bits)))
    };
    match (first, second) {
        // IPv4 in other clothes: NAT64, 6to4. What they lead to counts.
        (0x64, 0xff9b) if (bits >> 32) & u128::from(u64::MAX) == 0 => embedded(0),
        (0x2002, _) => embedded(80),
        // Teredo and what else is for special purposes, documentation.
        (0x2001, second) => second >= 0x200 && second != 0x0db8,
        (0x3fff, second) => second >= 0x1000,
        // Global unicast is 2000::/3; everything else is local, multicast, or not given to anybody.
        _ => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_for_everybody_are_public() {
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn a_network_may_be_allowed_in_both_clothes() {
        let reachable = Reachable(Arc::from(["127.0.0.0/8".parse().unwrap()]));
        assert!(
            reachable.admits("127.0.0.1".parse().unwrap())
                && reachable.admits("::ffff:127.0.0.1".parse().unwrap())
        );
        assert!(
            !reachable.admits("10.0.0.1".parse().unwrap())
                && !reachable.admits("::1".parse().unwrap())
        );
    }
}

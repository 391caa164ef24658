//! The client's address and scheme: those of the connection, or those that a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use crate::dialects::exchange::FORWARDED_PROTO;

const FORWARDED: &str = "x-forwarded-for";

/// The client's address. `None` means that there is no connection, as in tests.
pub(super) fn address(request: &Request, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()?
        .0
        .ip();
    Some(behind(peer, request.headers(), trusted))
}

/// Leaves `https` in the header `X-Forwarded-Proto` if a trusted proxy says that the client came by
/// TLS, in this header or in `Forwarded` (RFC 7239); else removes the header.
pub(super) fn settle_scheme(request: &mut Request, trusted: &[IpNet]) {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_trusted = peer.is_some_and(|peer| is_in(trusted, peer.0.ip()));
    let is_tls = is_trusted && came_by_tls(request.headers());
    let headers = request.headers_mut();
    headers.remove(FORWARDED_PROTO);
    if is_tls {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
}

/// Reads the last value, which the nearest proxy wrote: those before it may come from the client.
fn came_by_tls(headers: &HeaderMap) -> bool {
    let last = |name: &str| {
        let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        line.rsplit(',').next().map(str::trim)
    };
    let is_https = |scheme: &str| scheme.trim_matches('"').eq_ignore_ascii_case("https");
    if let Some(scheme) = last(FORWARDED_PROTO) {
        return is_https(scheme);
    }
    let pairs = last(header::FORWARDED.as_str())
        .unwrap_or_default()
        .split(';');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .any(|(name, value)| name.trim().eq_ignore_ascii_case("proto") && is_https(value.trim()))
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Walks `X-Forwarded-For` from right to left, starting at the connection, and returns the first
/// address that is not a trusted proxy. Entries further left come from the client, which may write
/// anything.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines: Vec<&str> = headers
        .get_all(FORWARDED)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    let mut forwarded = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut address = peer;
    while is_in(trusted, address) {
        match forwarded.next().map(str::trim).map(str::parse) {
            Some(Ok(next)) => address = next,
            Some(Err(_)) | None => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, forwarded, expected) in [
            ("203.0.113.9", vec!["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                vec!["6.6.6.6, 198.51.100.1, 10.0.0.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", vec!["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("fd00::1", vec!["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec!["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ] {
            let mut headers = HeaderMap::new();
            for line in &forwarded {
                headers.append(FORWARDED, line.parse().unwrap());
            }
            assert_eq!(
                behind(peer.parse().unwrap(), &headers, &trusted).to_string(),
                expected,
                "{peer} {forwarded:?}"
            );
        }
    }
}

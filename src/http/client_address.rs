//! The client's address: that of the connection, or the one that a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use ipnet::IpNet;

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

/// Walks `X-Forwarded-For` from right to left, starting at the connection, and returns the first
/// address that is not a trusted proxy. Entries further left come from the client, which may write
/// anything.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| {
        trusted
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
    };
    let lines: Vec<&str> = headers
        .get_all(FORWARDED)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    let mut forwarded = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut address = peer;
    while is_trusted(&address) {
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

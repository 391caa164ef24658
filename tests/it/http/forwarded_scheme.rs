//! The scheme of links that are made from the request's `Host`, behind a proxy that terminates TLS.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use steward::dialects::{admin, soap};

use crate::harness::App;
use crate::harness::app::{
    Answer, admin_settings, http_settings, router_with, send, soap_settings,
};

const PROXY: &str = "10.1.2.3:40000";
const STRANGER: &str = "203.0.113.7:40000";

fn request(peer: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let peer: SocketAddr = peer.parse().unwrap();
    let mut request = Request::get(path)
        .header("host", "accounts.example.com")
        .extension(ConnectInfo(peer));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn router() -> (App, axum::Router) {
    let app = App::new().await;
    let http = steward::http::Settings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..http_settings()
    };
    let admin = admin::Settings {
        public_url: None,
        ..admin_settings()
    };
    let soap = soap::Settings {
        public_url: None,
        ..soap_settings()
    };
    let router = router_with(&app.service, admin, soap, &http);
    (app, router)
}

/// The scheme with which an answer names the service. Panics if it names it with both, or not at all.
fn scheme(answer: &Answer, case: &str) -> &'static str {
    let has = |scheme: &str| {
        answer
            .body
            .contains(&format!("{scheme}://accounts.example.com"))
    };
    match (has("http"), has("https")) {
        (true, false) => "http",
        (false, true) => "https",
        both => panic!("{case}: {both:?}: {}", answer.body),
    }
}

#[tokio::test]
async fn links_have_the_scheme_that_a_trusted_proxy_names() {
    let (_app, router) = router().await;
    for (peer, headers, expected) in [
        (PROXY, vec![("x-forwarded-proto", "https")], "https"),
        (PROXY, vec![("x-forwarded-proto", "HTTPS")], "https"),
        (PROXY, vec![("x-forwarded-proto", "http")], "http"),
        (PROXY, vec![("x-forwarded-proto", "javascript")], "http"),
        (
            PROXY,
            vec![("forwarded", "for=192.0.2.1;proto=https")],
            "https",
        ),
        (
            PROXY,
            vec![("forwarded", "for=\"[::1]\"; Proto=\"https\"")],
            "https",
        ),
        (PROXY, vec![("forwarded", "for=192.0.2.1")], "http"),
        // What the nearest proxy wrote counts, not what stood before it.
        (PROXY, vec![("x-forwarded-proto", "https, http")], "http"),
        (
            PROXY,
            vec![
                ("x-forwarded-proto", "http"),
                ("x-forwarded-proto", "https"),
            ],
            "https",
        ),
        (
            PROXY,
            vec![("forwarded", "proto=http, for=10.0.0.1;proto=https")],
            "https",
        ),
        (
            PROXY,
            vec![("x-forwarded-proto", "http"), ("forwarded", "proto=https")],
            "http",
        ),
        (PROXY, vec![], "http"),
        (STRANGER, vec![("x-forwarded-proto", "https")], "http"),
        (STRANGER, vec![("forwarded", "proto=https")], "http"),
    ] {
        for path in [
            "/",
            "/openapi.json",
            "/openapi-3.0.json",
            "/Services/Reseller/Service.asmx?wsdl",
        ] {
            let answer = send(&router, request(peer, path, &headers)).await;
            let case = format!("{peer} {headers:?} {path}");
            assert_eq!(answer.status, 200, "{case}");
            assert_eq!(scheme(&answer, &case), expected, "{case}");
        }
    }
}

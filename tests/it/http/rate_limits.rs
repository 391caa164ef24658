//! Rate limits per token and per client address.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use serde_json::json;
use steward::service::Limits;

use crate::harness::app::{Answer, http_settings, limited_router, send, start_of_time};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

#[tokio::test]
async fn every_dialect_answers_429_and_retry_after_when_a_token_exceeds_its_rate() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let other = app.new_reseller("Other").await;
    let router = limited_router(
        &app,
        Limits {
            per_token: Some(3),
            per_address: None,
        },
        &http_settings(),
    );
    let v3 = V3::with_token(&router, &acme.token);
    let rate = |answer: &Answer| {
        ["limit", "remaining", "reset"]
            .map(|name| answer.header(&format!("x-rate-limit-{name}")).to_owned())
    };
    let now = start_of_time().timestamp();
    for left in [2, 1, 0] {
        let answer = v3.get("/v3/accounts").await;
        assert_eq!(
            (answer.status.as_u16(), rate(&answer)),
            (
                200,
                [
                    "3".to_owned(),
                    left.to_string(),
                    (now + (3 - left) * 20).to_string()
                ]
            )
        );
    }
    let refusal = v3.get("/v3/accounts").await;
    refused(&refusal, 429, "RATE_LIMITED", "Too many requests");
    assert_eq!(
        (refusal.header("retry-after"), rate(&refusal)[1].as_str()),
        ("20", "0")
    );
    let client = Client {
        router: router.clone(),
        token: acme.token.clone(),
    };
    let refusal = client.call("list", json!({})).await;
    refusal.is_error(429, "Too many requests");
    assert_eq!(refusal.header("retry-after"), "20");
    let soap = format!(
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body><GetAccountInfoUsingAccountID xmlns='Zoolz'><authToken>{}</authToken><accountID>1</accountID></GetAccountInfoUsingAccountID></e:Body></e:Envelope>",
        acme.token
    );
    let request = Request::post(steward::dialects::soap::PATH)
        .header("content-type", "application/soap+xml")
        .body(Body::from(soap))
        .unwrap();
    let refusal = send(&router, request).await;
    assert_eq!(
        (refusal.status.as_u16(), refusal.header("retry-after")),
        (429, "20"),
        "{}",
        refusal.body
    );
    assert_eq!(
        V3::with_token(&router, &other.token)
            .get("/v3/accounts")
            .await
            .status,
        200,
        "tokens do not share"
    );
    app.clock.advance(TimeDelta::seconds(20));
    assert_eq!(v3.get("/v3/accounts").await.status, 200);
}

#[tokio::test]
async fn an_address_over_its_rate_is_refused_before_authentication() {
    let app = App::new().await;
    let http = steward::http::Settings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..http_settings()
    };
    let router = limited_router(
        &app,
        Limits {
            per_token: None,
            per_address: Some(2),
        },
        &http,
    );
    let ask = async |peer: &str, forwarded: &str, path: &str| {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let request = Request::post(path)
            .header("host", "steward.example")
            .header("x-forwarded-for", forwarded)
            .extension(ConnectInfo(peer))
            .body(Body::empty())
            .unwrap();
        send(&router, request).await
    };
    let from = async |peer: &str, forwarded: &str| {
        ask(peer, forwarded, "/v3/accounts").await.status.as_u16()
    };
    assert_eq!(
        [
            from("203.0.113.7:1", "1.1.1.1").await,
            from("203.0.113.7:2", "2.2.2.2").await,
            from("203.0.113.7:3", "3.3.3.3").await
        ],
        [401, 401, 429]
    );
    assert_eq!(
        [
            from("10.1.1.1:1", "198.51.100.1").await,
            from("10.1.1.1:1", "9.9.9.9, 198.51.100.1").await,
            from("10.1.1.1:1", "198.51.100.1").await
        ],
        [401, 401, 429]
    );
    assert_eq!(
        [
            from("[2001:db8::1]:1", "").await,
            from("[2001:db8::2]:1", "").await,
            from("[2001:db8::3]:1", "").await
        ],
        [401, 401, 429]
    );
    let refusal = ask("203.0.113.7:4", "", "/v3/accounts").await;
    refused(&refusal, 429, "RATE_LIMITED", "");
    assert_eq!(
        (
            refusal.header("retry-after"),
            refusal.header("x-rate-limit-remaining")
        ),
        ("30", "0")
    );
    assert_eq!(
        ask("203.0.113.7:4", "", "/api/v1.1/admin/accounts/freeze")
            .await
            .status,
        429
    );
    assert_eq!(
        ask("203.0.113.7:4", "", steward::dialects::soap::PATH)
            .await
            .status,
        429
    );
}

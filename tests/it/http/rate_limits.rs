//! Rate limits per token and per client address.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use serde_json::json;
use steward::domain::ResellerId;
use steward::service::{Clock, Cost, Limits, Service, Settings, ShareSettings};
use steward::shares::Holder;
use steward::store::Store;

use crate::harness::app::{
    Answer, admin_settings, http_settings, limited_router, pool_settings, router_with, send,
    soap_settings, start_of_time,
};
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

#[tokio::test]
async fn every_answer_to_a_caller_has_the_rate_headers() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let limits = Limits {
        per_token: Some(60),
        per_address: None,
    };
    let router = limited_router(&app, limits, &http_settings());
    let v3 = V3::with_token(&router, &acme.token);
    for (count, (method, path, status)) in [
        ("GET", "/v3/accounts", 200),
        ("GET", "/v3/nonsense", 404),
        ("PATCH", "/v3/accounts", 405),
        ("OPTIONS", "/v3/accounts", 204),
        ("GET", "/v3/accounts/1", 404),
        ("GET", "/v3/accounts?limit=0", 400),
        ("GET", "/v3/resellers?after=x", 400),
        ("POST", "/v3/resellers", 403),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = v3.send(method, path, &[], "").await;
        let left = 59 - count;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert_eq!(answer.header("x-rate-limit-limit"), "60", "{method} {path}");
        assert_eq!(answer.header("x-rate-limit-remaining"), left.to_string());
        assert_eq!(answer.header("ratelimit-policy"), "\"token\";q=60;w=60");
        let rate = format!("\"token\";r={left};t={}", count + 1);
        assert_eq!(answer.header("ratelimit"), rate, "{method} {path}");
    }
    for _ in 0..60 {
        v3.get("/v3/nonsense").await;
    }
    let refusal = v3.get("/v3/nonsense").await;
    refused(&refusal, 429, "RATE_LIMITED", "");
    assert_eq!(refusal.header("ratelimit"), "\"token\";r=0;t=60");
}

#[tokio::test]
async fn both_limits_are_named_and_a_refused_token_has_the_address_rate() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let limits = Limits {
        per_token: Some(60),
        per_address: Some(120),
    };
    let router = limited_router(&app, limits, &http_settings());
    let ask = async |token: &str| {
        let peer: std::net::SocketAddr = "203.0.113.7:1".parse().unwrap();
        let request = Request::get("/v3/accounts")
            .header("host", "steward.example")
            .header("authorization", format!("Bearer {token}"))
            .extension(ConnectInfo(peer));
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    let answer = ask(&acme.token).await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        "\"token\";q=60;w=60, \"address\";q=120;w=60"
    );
    assert_eq!(
        answer.header("ratelimit"),
        "\"token\";r=59;t=1, \"address\";r=119;t=1"
    );
    let answer = ask("garbage").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("x-rate-limit-remaining"), "118");
    assert_eq!(answer.header("ratelimit"), "\"address\";r=118;t=1");
}

#[tokio::test]
async fn a_used_up_share_leaves_no_requests() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let limits = Limits {
        per_token: Some(60),
        per_address: None,
    };
    let settings = Settings {
        limits,
        shares: ShareSettings {
            heavy_per_reseller: 1,
            queue: 0,
            ..ShareSettings::default()
        },
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    let router = router_with(
        &service,
        admin_settings(),
        soap_settings(),
        &http_settings(),
    );
    let holder = Holder::Reseller(ResellerId(1));
    let _permit = service.permit(Cost::Heavy, holder).await.unwrap();
    let answer = V3::with_token(&router, &acme.token)
        .get("/v3/accounts")
        .await;
    refused(&answer, 429, "RATE_LIMITED", "at a time");
    let reset = start_of_time().timestamp() + 1;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("x-rate-limit-remaining"), "0");
    assert_eq!(answer.header("x-rate-limit-reset"), reset.to_string());
    assert_eq!(
        answer.header("ratelimit"),
        "\"share\";r=0;t=1, \"token\";r=59;t=1"
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_408_and_the_service_is_not_unavailable() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let http = steward::http::Settings {
        request_timeout: std::time::Duration::from_secs(1),
        ..http_settings()
    };
    let router = router_with(&app.service, admin_settings(), soap_settings(), &http);
    let slow = async |path: &str, kind: &str| {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {}", acme.token))
            .header("content-type", kind);
        let never = Body::from_stream(futures_util::stream::pending::<Result<String, String>>());
        send(&router, request.body(never).unwrap()).await
    };
    let (v3, admin, soap) = tokio::join!(
        slow("/v3/accounts", "application/json"),
        slow("/api/v1.1/admin/accounts/save", "application/json"),
        slow(steward::dialects::soap::PATH, "text/xml")
    );
    refused(&v3, 408, "REQUEST_TIMEOUT", "did not arrive in time");
    admin.is_error(408, "Request timeout: the body did not arrive in time");
    assert_eq!(soap.status, 408);
    assert!(
        soap.body.contains("did not arrive in time"),
        "{}",
        soap.body
    );
    let metrics = app.service.render_metrics();
    let count = |outcome: &str| metrics.matches(&format!("outcome=\"{outcome}\"")).count();
    assert_eq!(count("unavailable"), 0, "{metrics}");
    assert!(count("refused") > 0, "{metrics}");
}

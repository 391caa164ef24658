//! Cross-origin requests of web pages.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use steward::service::Limits;

use crate::harness::App;
use crate::harness::app::{http_settings, limited_router, send};
use crate::harness::v3::V3;

#[tokio::test]
async fn only_the_configured_origins_may_call() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let http = steward::http::Settings {
        cors_origins: vec!["https://panel.example".to_owned()],
        ..http_settings()
    };
    let router = limited_router(&app, Limits::default(), &http);
    let preflight = async |router: &Router, origin: &str| {
        let request = Request::options("/v3/accounts/1/status")
            .header("origin", origin)
            .header("access-control-request-method", "PUT");
        send(
            router,
            request
                .header(
                    "access-control-request-headers",
                    "authorization,if-match,last-event-id,traceparent",
                )
                .body(Body::empty())
                .unwrap(),
        )
        .await
    };
    let allowed = preflight(&router, "https://panel.example").await;
    assert_eq!(
        (
            allowed.status.as_u16(),
            allowed.header("access-control-allow-origin")
        ),
        (200, "https://panel.example")
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .contains("PUT")
            && allowed
                .header("access-control-allow-headers")
                .contains("if-match,if-none-match,idempotency-key,last-event-id,traceparent")
    );
    assert_eq!(
        preflight(&router, "https://evil.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    assert_eq!(
        preflight(&app.router, "https://panel.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let v3 = V3::with_token(&router, &client.token);
    let answer = v3
        .send(
            "GET",
            "/v3/accounts",
            &[("origin", "https://panel.example")],
            "",
        )
        .await;
    let exposed: Vec<&str> = answer
        .header("access-control-expose-headers")
        .split(',')
        .collect();
    // Every header of our own, in these and in later answers, and those of the standards that a
    // script needs. A browser shows the rest itself, or no script needs them.
    let hidden = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "vary",
    ];
    for name in answer.headers.keys().map(axum::http::HeaderName::as_str) {
        let is_safelisted = ["cache-control", "content-type", "content-length"].contains(&name);
        assert!(
            is_safelisted
                || hidden.contains(&name)
                || name == "x-content-type-options"
                || exposed.contains(&name),
            "{name} is not exposed"
        );
    }
    for name in [
        "etag",
        "link",
        "location",
        "retry-after",
        "www-authenticate",
        "idempotent-replayed",
        "steward-changed",
        "ignored-members",
        "ratelimit",
        "ratelimit-policy",
        "pagination-count",
        "x-request-id",
    ] {
        assert!(exposed.contains(&name), "{name} is not in {exposed:?}");
    }
    let wrong = V3::with_token(&router, "garbage")
        .send(
            "GET",
            "/v3/accounts",
            &[("origin", "https://panel.example")],
            "",
        )
        .await;
    assert_eq!(
        (
            wrong.status.as_u16(),
            wrong.header("access-control-allow-origin")
        ),
        (401, "https://panel.example"),
        "errors can be read too"
    );
}

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
                .header("access-control-request-headers", "authorization,if-match")
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
                .contains("if-match")
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
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("x-rate-limit-remaining"),
        "{:?}",
        answer.headers
    );
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

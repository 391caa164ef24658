//! The format of an answer, the places for a token, and `always_200`.

use serde_json::{Value, json};

use crate::harness::App;

#[tokio::test]
async fn the_answer_format_comes_from_body_query_accept_or_request_in_this_order() {
    use axum::http::Request;
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let send = |content_type: &'static str,
                query: &'static str,
                accept: &'static str,
                format: Option<&'static str>| {
        let body = match (content_type, format) {
            ("application/json", None) => json!({"token": client.token, "id": id}).to_string(),
            ("application/json", Some(format)) => {
                json!({"token": client.token, "id": id, "format": format}).to_string()
            }
            (_, None) => format!("<xml><token>{}</token><id>{id}</id></xml>", client.token),
            (_, Some(format)) => format!(
                "<xml><token>{}</token><id>{id}</id><format>{format}</format></xml>",
                client.token
            ),
        };
        let request = Request::post(format!("/api/v1.1/admin/accounts/activate{query}"))
            .header("content-type", content_type)
            .header("accept", accept);
        let request = request.body(body.into()).unwrap();
        let router = client.router.clone();
        async move {
            crate::harness::app::send(&router, request)
                .await
                .header("content-type")
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        }
    };
    assert_eq!(
        send("application/json", "", "*/*", None).await,
        "application/json"
    );
    assert_eq!(send("text/xml", "", "*/*", None).await, "application/xml");
    assert_eq!(
        send("application/json", "", "application/xml", None).await,
        "application/xml"
    );
    assert_eq!(
        send(
            "application/json",
            "",
            "application/xml, application/json",
            None
        )
        .await,
        "application/json"
    );
    assert_eq!(
        send("application/json", "?format=xml", "application/json", None).await,
        "application/xml"
    );
    assert_eq!(
        send("text/xml", "?format=xml", "application/xml", Some("json")).await,
        "application/json"
    );
    assert_eq!(
        send("application/json", "?format=json", "*/*", Some("xml")).await,
        "application/xml"
    );
}

#[tokio::test]
async fn the_token_may_be_in_the_header_the_body_or_if_allowed_the_query() {
    use axum::http::Request;
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let send = |router: &axum::Router, query: String, header: Option<String>, body: Value| {
        let mut request = Request::post(format!("/api/v1.1/admin/accounts/get{query}"))
            .header("content-type", "application/json");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let (router, request) = (
            router.clone(),
            request.body(body.to_string().into()).unwrap(),
        );
        async move { crate::harness::app::send(&router, request).await }
    };
    let bearer = Some(format!("Bearer {}", client.token));
    send(
        &app.router,
        String::new(),
        bearer.clone(),
        json!({"id": id}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        bearer.clone(),
        json!({"id": id, "token": client.token}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        Some(format!("bearer  {}", client.token)),
        json!({"id": id}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        bearer,
        json!({"id": id, "token": "other"}),
    )
    .await
    .is_error(400, "Incorrect request: token: differs");
    send(
        &app.router,
        String::new(),
        Some("Basic eDp5".to_owned()),
        json!({"id": id}),
    )
    .await
    .is_error(401, "API token required");
    let query = format!("?token={}", client.token);
    send(&app.router, query.clone(), None, json!({"id": id}))
        .await
        .is_error(401, "API token required");
    let allowing = steward::dialects::admin::Settings {
        token_in_query: true,
        ..crate::harness::app::admin_settings()
    };
    let router =
        crate::harness::app::router(&app.service, allowing, crate::harness::app::soap_settings());
    send(&router, query.clone(), None, json!({"id": id}))
        .await
        .ok();
    for (content_type, body, status) in [
        (None, "", 200),
        (Some("application/json"), "", 200),
        (Some("application/xml"), "", 200),
        (None, "{}", 415),
        (Some("application/json"), " ", 400),
    ] {
        let path = format!("/api/v1.1/admin/accounts/list/{query}");
        let mut request = Request::post(path);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(body.into()).unwrap();
        let answer = crate::harness::app::send(&router, request).await;
        assert_eq!(
            answer.status, status,
            "{content_type:?} {body:?}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn always_200_leaves_the_error_in_the_body() {
    let app = App::with(steward::dialects::admin::Settings {
        always_200: true,
        ..crate::harness::app::admin_settings()
    })
    .await;
    let client = app.new_reseller("Acme").await;
    let answer = client.call("get", json!({"id": 5})).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, r#"{"error":404,"error_text":"Account not found"}"#)
    );
    let unknown = client.call("no_such_call", json!({})).await;
    assert_eq!(unknown.status.as_u16(), 200, "{}", unknown.body);
    // The metrics count the outcome, also that of a repeat.
    let (first, second) = (
        client.call_once("suspend", "k", json!({"id": 5})).await,
        client.call_once("suspend", "k", json!({"id": 5})).await,
    );
    assert!(second.headers.contains_key("idempotent-replayed"));
    assert_eq!((second.status, second.body), (first.status, first.body));
    let metrics = app.service.render_metrics();
    for (operation, count) in [("get", 1), ("suspend", 2), ("unknown", 1)] {
        let refused = format!(
            "steward_http_requests_total{{dialect=\"admin\",operation=\"{operation}\",outcome=\"refused\"}} {count}"
        );
        assert!(metrics.contains(&refused), "{operation}: {metrics}");
    }
}

//! What the APIs answer to mistakes: what was given, what is accepted, and how to go on.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::harness::App;
use crate::harness::app::send;
use crate::harness::v3::V3;

#[tokio::test]
async fn mistakes_are_answered_with_what_was_given_and_what_is_accepted() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("gina").await;
    for (method, path, headers, body, status, words) in [
        (
            "POST",
            "/v3/bulk",
            &[][..],
            r#"[{"operation":"freeze","account":1}]"#,
            400,
            r#"must be an object such as {"operations": [...]}, not an array"#,
        ),
        (
            "POST",
            "/v3/bulk",
            &[],
            r#"{"operations":[{"op":"freeze","account":1}]}"#,
            400,
            "operations[0].operation: is required; op is no member of this request, did you mean \
             operation?",
        ),
        (
            "POST",
            "/v3/accounts/1/status",
            &[],
            "{}",
            405,
            "this path takes PUT, OPTIONS",
        ),
        (
            "PUT",
            "/v3/accounts/1/status",
            &[("if-match", "1")],
            r#"{"status":"active"}"#,
            412,
            "quotation marks",
        ),
        (
            "PUT",
            "/v3/accounts/1/status",
            &[("content-type", "application/xml")],
            r#"{"status":"active"}"#,
            400,
            "the Content-Type is XML, but the body looks like JSON; send it with Content-Type \
             application/json",
        ),
        (
            "PUT",
            "/v3/accounts/1/status",
            &[],
            "<xml><status>active</status></xml>",
            400,
            "the Content-Type is JSON, but the body looks like XML; send it with Content-Type \
             application/xml",
        ),
    ] {
        let answer = v3.send(method, path, headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message}");
    }
    let named = client.call("freeze", json!({"account_id": id})).await;
    named.is_error(
        400,
        "Incorrect request: id: is required; account_id is no member of this request, did you mean \
         id?",
    );
    let stored = client.call("save", json!({"id": id, "e-mail": "x"})).await;
    stored.is_error(
        400,
        "Incorrect request: save: has a member of its own, \"e-mail\", whose name",
    );
    let jsonish = client.raw("freeze", "text/xml", "[1]").await;
    assert!(jsonish.body.contains("looks like JSON"), "{}", jsonish.body);
}

#[tokio::test]
async fn a_path_of_the_management_listener_and_a_wrong_method_say_where_and_how() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        send(&client.router, request).await
    };
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        get(path).await.is_error(
            404,
            "Call not found: /livez, /readyz and /metrics are served at the address that the \
             operator's key server.management_listen names",
        );
    }
    for path in ["/other", "/api/v1/admin/accounts/list", "/accounts"] {
        let expected = format!(
            "Call not found: {path}; paths begin with /api/v1.1/admin/accounts/ or /v3/, and SOAP is \
             at /Services/Reseller/Service.asmx"
        );
        get(path).await.is_error(404, &expected);
    }
    let long = format!("/{}", "x".repeat(5_000));
    let answer = get(&long).await;
    assert!(answer.body.len() < 400, "{}", answer.body);
    assert!(
        get("/v3/licences")
            .await
            .body
            .contains("no such resource: /v3/licences;")
    );
    let freeze = get("/api/v1.1/admin/accounts/freeze").await;
    freeze.is_error(405, "Method not allowed; this path takes POST");
    let help = get(steward::dialects::soap::PATH).await.body;
    for link in ["href=\"/\"", "href=\"/docs\""] {
        assert!(help.contains(link), "{help}");
    }
}

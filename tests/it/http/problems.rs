//! Errors of `v3` as problems (RFC 9457), where `Accept` names that type.

use serde_json::json;

use crate::harness::App;
use crate::harness::v3::V3;

const PROBLEM: (&str, &str) = ("accept", "application/json, application/problem+json");

#[tokio::test]
async fn errors_are_problems_where_accept_names_them() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let stranger = V3::with_token(&client.router, "nobody");
    let account = format!("/v3/accounts/{id}");
    for (caller, method, path, body, status, title, code) in [
        (
            &v3,
            "GET",
            "/v3/accounts/999",
            "",
            404,
            "Not Found",
            "ACCOUNT_NOT_FOUND",
        ),
        (&v3, "GET", "/v3/nothing", "", 404, "Not Found", "NOT_FOUND"),
        (
            &v3,
            "PATCH",
            "/v3/accounts",
            "",
            405,
            "Method Not Allowed",
            "METHOD_NOT_ALLOWED",
        ),
        (
            &v3,
            "PATCH",
            &account,
            "{\"email\":7}",
            400,
            "Bad Request",
            "INVALID_REQUEST",
        ),
        (
            &v3,
            "POST",
            "/v3/resellers",
            "{\"name\":\"x\"}",
            403,
            "Forbidden",
            "INSUFFICIENT_SCOPE",
        ),
        (
            &stranger,
            "GET",
            &account,
            "",
            401,
            "Unauthorized",
            "AUTHENTICATION_FAILED",
        ),
    ] {
        let answer = caller.send(method, path, &[PROBLEM], body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
        let problem = answer.json();
        let message = problem["message"].clone();
        let expected = json!({
            "type": "about:blank", "title": title, "status": status, "detail": message,
            "code": code, "message": message, "error": status, "error_text": message,
            "requestId": answer.header("x-request-id"),
        });
        assert_eq!(problem, expected, "{path}");
        // For everybody else the document is as it was.
        let answer = caller.send(method, path, &[], body).await;
        let content_type = "application/json; charset=utf-8";
        assert_eq!(answer.header("content-type"), content_type, "{path}");
        assert_eq!(answer.json().get("type"), None, "{path}");
        let refused = [("accept", "application/problem+json;q=0, application/xml")];
        let answer = caller.send(method, path, &refused, body).await;
        let content_type = "application/xml; charset=utf-8";
        assert_eq!(answer.header("content-type"), content_type, "{path}");
    }
    let answer = v3.send("GET", &account, &[PROBLEM], "").await;
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_problem() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let v3 = V3::of(&client);
    let key = [PROBLEM, ("idempotency-key", "once")];
    let body = r#"{"email":"a@example.com"}"#;
    let first = v3.send("POST", "/v3/accounts", &key, body).await;
    let again = v3.send("POST", "/v3/accounts", &key, body).await;
    assert_eq!(first.status, 409, "{}", first.body);
    assert_eq!(first.json()["type"], "about:blank");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("content-type"), "application/problem+json");
    assert_eq!(again.header("idempotent-replayed"), "true");
}

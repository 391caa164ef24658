//! The form of errors.

use serde_json::Value;

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn errors_have_one_form_in_every_layer() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let status = format!("/v3/accounts/{id}/status");
    refused(&v3.get("/v3/nonsense").await, 404, "NOT_FOUND", "");
    refused(&v3.get("/v3").await, 404, "NOT_FOUND", "");
    let wrong = v3.get(&status).await;
    refused(&wrong, 405, "METHOD_NOT_ALLOWED", "");
    assert_eq!(wrong.header("allow"), "PUT, OPTIONS");
    let options = v3.call("OPTIONS", "/v3/accounts", &Value::Null).await;
    let mut allowed: Vec<_> = options.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(
        (options.status.as_u16(), allowed),
        (204, vec!["GET", "HEAD", "OPTIONS", "POST"])
    );
    assert_eq!(
        v3.call("HEAD", &format!("/v3/accounts/{id}"), &Value::Null)
            .await
            .status
            .as_u16(),
        200
    );
    refused(
        &v3.send("PUT", &status, &[("content-type", "text/plain")], "x")
            .await,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "",
    );
    refused(
        &v3.send("PUT", &status, &[], &"x".repeat(65_537)).await,
        413,
        "REQUEST_TOO_LARGE",
        "",
    );
    refused(
        &v3.send("PUT", &status, &[], "{").await,
        400,
        "INVALID_REQUEST",
        "not valid JSON",
    );
    refused(
        &v3.send(
            "PUT",
            &status,
            &[("idempotency-key", &"k".repeat(256))],
            "{\"status\":\"active\"}",
        )
        .await,
        400,
        "INVALID_REQUEST",
        "Idempotency-Key",
    );
    refused(
        &v3.send(
            "PUT",
            &status,
            &[("authorization", "Bearer x")],
            "{\"status\":\"active\"}",
        )
        .await,
        400,
        "INVALID_REQUEST",
        "Authorization: appears twice, with different values",
    );
    assert_eq!(client.get(id).await["version"], 1);
}

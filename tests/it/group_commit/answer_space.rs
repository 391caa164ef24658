//! The answers stored under a reseller's idempotency keys do not fill the database.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use steward::service::{Clock, Service, Settings};
use steward::store::Store;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::soap::{NS12, envelope, post};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

#[tokio::test]
async fn a_reseller_stores_so_many_bytes_of_answers_and_then_waits_until_some_have_expired() {
    let app = App::new().await;
    let settings = Settings {
        max_answer_bytes: Some(100_000),
        ..Settings::default()
    };
    let store = Store::new(app.database.options(), &pool_settings());
    let service = Arc::new(Service::start(
        store,
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    let router = router(&service, admin_settings(), soap_settings());
    let (acme, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let operator = app.operator().await;
    let on_replica = |client: &Client| Client {
        router: router.clone(),
        token: client.token.clone(),
    };
    let (acme, other, operator) = (on_replica(&acme), on_replica(&other), on_replica(&operator));
    let (v3, others, operators) = (V3::of(&acme), V3::of(&other), V3::of(&operator));
    let text = "x".repeat(500);
    let metadata: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n}"), json!(text))).collect();
    let body = json!({ "metadata": metadata });
    let id = acme.account("a").await;
    let changed = v3.call("PATCH", &format!("/v3/accounts/{id}"), &body).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let unfreeze = format!("/v3/accounts/{id}/unfreeze");
    let keyed = async |v3: &V3, path: &str, key: &str| {
        v3.send("POST", path, &[("idempotency-key", key)], "{}")
            .await
    };
    let mut stored = 0;
    let full = loop {
        let answer = keyed(&v3, &unfreeze, &format!("k{stored}")).await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        stored += 1;
        assert!(stored < 20, "nothing is refused");
    };
    assert!(stored > 5, "{stored}");
    refused(
        &full,
        429,
        "RATE_LIMITED",
        "idempotency.max_bytes_per_reseller",
    );
    // It is 12:00, and answers are kept for 24 hours.
    assert_eq!(full.header("retry-after"), (25 * 3_600).to_string());
    let bytes = "select sum(octet_length(body))::bigint from idempotency";
    assert!(app.database.number(bytes).await < 120_000);

    // All dialects refuse a new key, also of what has no lane. What is stored is answered, and
    // requests without a key are carried out.
    let freeze = acme.call_once("freeze", "new", json!({ "id": id })).await;
    assert_eq!(freeze.status, 429, "{}", freeze.body);
    let plan = r#"{"name":"x","displayName":"x"}"#;
    let made = v3
        .send("POST", "/v3/plans", &[("idempotency-key", "new")], plan)
        .await;
    refused(&made, 429, "RATE_LIMITED", "send the request without a key");
    let element = format!(
        "<SuspendAccount xmlns=\"Zoolz\"><authToken>{}</authToken><accountID>{id}</accountID></SuspendAccount>",
        acme.token
    );
    let headers = [
        ("content-type", "application/soap+xml; charset=utf-8"),
        ("idempotency-key", "new"),
    ];
    let soap = post(&router, &headers, envelope(NS12, &element)).await;
    assert_eq!(
        soap.header("retry-after"),
        (25 * 3_600).to_string(),
        "{}",
        soap.body
    );
    let again = keyed(&v3, &unfreeze, "k0").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (200, "true")
    );
    assert_eq!(v3.send("POST", &unfreeze, &[], "{}").await.status, 200);
    // Neither another reseller nor the operator is refused.
    let path = format!("/v3/accounts/{}/unfreeze", other.account("a").await);
    assert_eq!(keyed(&others, &path, "k").await.status, 200);
    assert_eq!(keyed(&operators, &unfreeze, "k").await.status, 200);

    app.clock.advance(TimeDelta::hours(24));
    assert_eq!(keyed(&v3, &unfreeze, "new").await.status, 429);
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(keyed(&v3, &unfreeze, "new").await.status, 200);
    service.forget_expired_answers().await.unwrap();
    assert!(app.database.number(bytes).await < 120_000);
}

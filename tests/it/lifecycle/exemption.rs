//! Exemption from automatic holds.

use chrono::TimeDelta;
use serde_json::json;

use super::pass_days;
use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn exemption_stops_automatic_blocks_but_not_manual_ones() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-02T12:00:00Z"}),
        )
        .await
        .ok();
    let account = v3
        .call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({"exemptUntil": "2026-03-05T12:00:00Z"}),
        )
        .await
        .ok();
    assert_eq!(account["exemptUntil"], "2026-03-05T12:00:00Z");
    assert_eq!(client.get(id).await["exempt_until"], "2026-03-05T12:00:00Z");
    refused(
        &v3.call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({"exemptUntil": "2026-02-01"}),
        )
        .await,
        400,
        "INVALID_REQUEST",
        "exemptUntil",
    );
    refused(
        &v3.call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({}),
        )
        .await,
        400,
        "INVALID_REQUEST",
        "exemptUntil: is required",
    );

    // The exemption keeps the account from expiring. A manual suspension blocks it at once.
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(client.get(id).await["effective_status"], "active");
    for (state, count) in [("active", 1), ("expired", 0)] {
        assert_eq!(
            client.call("list", json!({"state": state})).await.ok()["total_count"],
            count,
            "{state}"
        );
    }
    client.call("freeze", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "frozen");
    client.call("unfreeze", json!({"id": id})).await.ok();

    // When the exemption ends, the account is expired, and one notice is sent.
    pass_days(&app, 3).await;
    assert_eq!(client.get(id).await["blocked_by"], json!(["expired"]));
    pass_days(&app, 1).await;
    let events: Vec<_> = v3
        .get("/v3/events")
        .await
        .ok()
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|event| event["events"].as_array().unwrap().clone())
        .collect();
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "account.expired")
            .count(),
        1,
        "{events:?}"
    );
    // The same through the other dialect.
    client
        .call("exempt", json!({"id": id, "exempt_until": "2026-12-31"}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
    client
        .call("exempt", json!({"id": id, "exempt_until": null}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "expired");
}

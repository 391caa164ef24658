//! What waits for delivery is counted and shown.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::live::{Live, settings};
use crate::harness::App;
use crate::harness::receiver::Receiver;
use crate::harness::v3::V3;

/// Adds entries to the journal, behind those that are there, by copying the last one.
async fn lengthen_journal(app: &App, entries: i32) {
    let superuser = app.database.superuser().await;
    sqlx::query(
        "insert into journal (reseller_id, account_id, id, at, sequence, action, outcome, events,
           authority, actor, dialect, request_id, before, after)
         select reseller_id, account_id, nextval('journal_id_seq'), at, sequence, action, outcome,
           events, authority, actor, dialect, request_id, before, after
         from (select * from journal order by id desc limit 1) as last, generate_series(1, $1)",
    )
    .bind(entries)
    .execute(&superuser)
    .await
    .unwrap();
}

#[tokio::test]
async fn events_that_no_dispatcher_has_read_are_pending_and_late_after_two_seconds() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let endpoint = v3
        .call(
            "POST",
            "/v3/webhooks",
            &json!({"url": "https://example.com/hook"}),
        )
        .await;
    let path = format!("/v3/webhooks/{}", endpoint.json()["id"].as_str().unwrap());
    let shown = async || {
        let endpoint = v3.get(&path).await.ok();
        ["health", "pending", "pendingSince"].map(|member| endpoint[member].clone())
    };
    assert_eq!(shown().await, [json!("Healthy"), json!(0), Value::Null]);
    app.clock.advance(TimeDelta::seconds(60));
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    let since = json!("2026-03-01T12:01:00Z");
    assert_eq!(shown().await, [json!("Healthy"), json!(2), since.clone()]);
    app.clock.advance(TimeDelta::seconds(2));
    assert_eq!(shown().await, [json!("Healthy"), json!(2), since.clone()]);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(shown().await, [json!("Unhealthy"), json!(2), since.clone()]);
    app.service.observe_endpoints().await.unwrap();
    let metrics = app.service.render_metrics();
    for line in [
        "steward_webhook_late_endpoints{cause=\"no_runner\"} 1\n",
        "steward_webhook_late_endpoints{cause=\"runner\"} 0\n",
        "steward_webhook_oldest_undelivered_seconds 2.001\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    // Only what the endpoint subscribed to waits for it. Since the change it is not late.
    let changed = v3
        .call("PATCH", &path, &json!({"events": ["account.frozen"]}))
        .await
        .ok();
    assert_eq!(
        (changed["health"].clone(), changed["pending"].clone()),
        (json!("Healthy"), json!(1))
    );
    v3.call("PATCH", &path, &json!({"enabled": false}))
        .await
        .ok();
    app.clock.advance(TimeDelta::days(1));
    assert_eq!(shown().await, [json!("Suspended"), json!(1), since]);
}

#[tokio::test]
async fn counting_what_is_pending_stops_at_a_thousand_events() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let url = json!({"url": "https://example.com/hook"});
    assert_eq!(v3.call("POST", "/v3/webhooks", &url).await.status, 201);
    client.account("a").await;
    lengthen_journal(&app, 998).await;
    let pending = async || v3.get("/v3/webhooks").await.ok()[0]["pending"].clone();
    assert_eq!(pending().await, 999);
    lengthen_journal(&app, 500).await;
    assert_eq!(pending().await, 1_000);
}

#[tokio::test]
async fn an_endpoint_that_wants_little_of_a_long_journal_gets_it() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live
        .endpoint(&receiver, json!({"events": ["account.frozen"]}))
        .await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    let id = live.client.account("a").await;
    lengthen_journal(&live.app, 2_500).await;
    live.client.call("freeze", json!({"id": id})).await.ok();
    live.dispatch(settings());
    assert_eq!(receiver.next().await.json()["event"], "account.frozen");
    let delivered = live
        .finish_when(&path, |endpoint| endpoint["pending"] == 0)
        .await;
    assert_eq!(
        (
            delivered["health"].clone(),
            delivered["pendingSince"].clone()
        ),
        (json!("Healthy"), Value::Null)
    );
    live.finish().await;
}

//! Journal partitions are kept for the configured time, and until every endpoint has their events.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use steward::jobs;

use crate::harness::App;
use crate::harness::v3::V3;

const PARTITIONS: &str = "select count(*) from pg_inherits where inhparent = 'journal'::regclass";
const ENTRIES: &str = "select count(*) from journal";

#[tokio::test]
async fn journal_partitions_are_dropped_when_old_and_delivered() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let kept = |days: Option<u64>| jobs::Settings {
        keep_attempts: Duration::from_hours(24),
        keep_journal: days.map(|days| Duration::from_hours(24 * days)),
        keep_bulk_items: Duration::from_hours(24 * 30),
    };
    jobs::run_once(&app.service, &kept(None)).await.unwrap();
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let endpoint = v3
        .call(
            "POST",
            "/v3/webhooks",
            &json!({"url": "https://hooks.example.com/"}),
        )
        .await
        .json();
    client.call("freeze", json!({"id": id})).await.ok();
    let made = app.database.number(PARTITIONS).await;

    // Without a limit no partition is dropped.
    app.clock.advance(TimeDelta::days(100));
    jobs::run_once(&app.service, &kept(None)).await.unwrap();
    client.call("unfreeze", json!({"id": id})).await.ok();
    assert_eq!(app.database.number(PARTITIONS).await, made + 8);
    assert_eq!(app.database.number(ENTRIES).await, 3);

    // The freeze has not been delivered yet: its partition stays, and so do all later ones.
    jobs::run_once(&app.service, &kept(Some(30))).await.unwrap();
    assert_eq!(app.database.number(PARTITIONS).await, made + 8);

    // A disabled endpoint keeps no partition. Younger partitions stay.
    v3.call(
        "PATCH",
        &format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap()),
        &json!({"enabled": false}),
    )
    .await
    .json();
    jobs::run_once(&app.service, &kept(Some(101)))
        .await
        .unwrap();
    assert_eq!(app.database.number(ENTRIES).await, 3);
    jobs::run_once(&app.service, &kept(Some(30))).await.unwrap();
    assert_eq!(
        app.database.number(PARTITIONS).await,
        9,
        "eight days ahead, and the default partition"
    );
    assert_eq!(app.database.number(ENTRIES).await, 1);
    assert_eq!(
        client.get(id).await["version"],
        3,
        "the account did not change"
    );
    client.call("freeze", json!({"id": id})).await.ok();
}

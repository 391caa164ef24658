//! The journal is kept for as long as is asked, and for as long as somebody has yet to be told.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use steward::jobs;

use crate::harness::App;
use crate::harness::v3::V3;

const PARTITIONS: &str = "select count(*) from pg_inherits where inhparent = 'journal'::regclass";
const ENTRIES: &str = "select count(*) from journal";

#[tokio::test]
async fn days_of_the_journal_are_dropped_once_they_are_old_and_delivered() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let kept = |days: Option<u64>| jobs::Settings {
        keep_attempts: Duration::from_hours(24),
        keep_journal: days.map(|days| Duration::from_hours(24 * days)),
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

    // Without a limit nothing is ever dropped.
    app.clock.advance(TimeDelta::days(100));
    jobs::run_once(&app.service, &kept(None)).await.unwrap();
    client.call("unfreeze", json!({"id": id})).await.ok();
    assert_eq!(app.database.number(PARTITIONS).await, made + 8);
    assert_eq!(app.database.number(ENTRIES).await, 3);

    // Nobody has told the endpoint of the freeze yet: its day stays, and so does every later one.
    jobs::run_once(&app.service, &kept(Some(30))).await.unwrap();
    assert_eq!(app.database.number(PARTITIONS).await, made + 8);

    // An endpoint that its owner switched off holds nothing back. What is younger stays.
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
        "eight days ahead, and the one for whatever has none"
    );
    assert_eq!(app.database.number(ENTRIES).await, 1);
    assert_eq!(
        client.get(id).await["version"],
        3,
        "the account is as it was"
    );
    client.call("freeze", json!({"id": id})).await.ok();
}

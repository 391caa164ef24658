//! After a restore no id is given again that was given after the backup was made.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use serde_json::json;
use sqlx::Connection as _;
use steward::domain::Time;
use steward::store::Store;
use steward::store::backup::{Reader, Record, Restore};
use tokio::sync::mpsc;

use super::{back_up, on, reseller, restore, serve, succeeds, v3};
use crate::harness::TestDatabase;
use crate::harness::process::{Served, folder};

/// The ids (which are the `webhook-id` of deliveries) and cursors of a reseller's events.
fn events(served: &Served, token: &str) -> Vec<(String, String)> {
    let (status, events) = v3(served, token, "GET", "/v3/events?limit=100", "");
    assert_eq!(status, 200, "{events}");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| (text(&event["id"]), text(&event["cursor"])))
        .collect()
}

fn ids(events: &[(String, String)]) -> BTreeSet<&String> {
    events.iter().map(|(id, _)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_an_event_account_reseller_or_token_is_given_twice() {
    let (database, folder) = (TestDatabase::new().await, folder());
    let token = reseller(&database, folder.path(), "Acme");
    let served = serve(&database, folder.path());
    let create = |served: &Served, email: &str| {
        let body = json!({ "email": email }).to_string();
        let (status, account) = v3(served, &token, "POST", "/v3/accounts", &body);
        assert_eq!(status, 201, "{account}");
        account["id"].clone()
    };
    create(&served, "kept@example.com");
    let kept = events(&served, &token);
    let file = back_up(&database, folder.path());
    let lost = create(&served, "lost@example.com");
    let all = events(&served, &token);
    assert_eq!((kept.len(), all.len()), (1, 2));
    assert!(served.stop().success());
    succeeds(on(
        &database,
        folder.path(),
        &["reseller", "create", "--name", "Lost"],
    ));

    let restored = restore(&file, folder.path()).await;
    let served = serve(&restored, folder.path());
    // What is in the backup keeps its id, so that a repeated delivery is recognized.
    assert_eq!(events(&served, &token), kept);
    let made = create(&served, "new@example.com");
    assert_ne!(made, lost);
    let after = events(&served, &token);
    assert_eq!(after.len(), 2);
    assert_eq!(
        ids(&after).intersection(&ids(&all)).count(),
        kept.len(),
        "{after:?} {all:?}"
    );
    let others = on(
        &restored,
        folder.path(),
        &["reseller", "create", "--name", "New", "--json"],
    );
    let others = succeeds(others);
    assert!(!others.contains("\"id\": 2,"), "{others}");

    // A reader that knows the lost event is told, and goes on from the last one of the backup.
    let path = |cursor: &str| format!("/v3/events?after={cursor}");
    let (status, problem) = v3(&served, &token, "GET", &path(&all[1].1), "");
    let problem = problem.to_string();
    assert!(
        (400..500).contains(&status)
            && problem.contains("was undone")
            && problem.contains(&format!("after={}", kept[0].1)),
        "{status} {problem}"
    );
    let (status, rest) = v3(&served, &token, "GET", &path(&kept[0].1), "");
    assert_eq!(
        (status, rest[0]["id"].as_str()),
        (200, Some(after[1].0.as_str()))
    );
    let (status, rest) = v3(&served, &token, "GET", &path(&after[1].1), "");
    assert_eq!((status, rest), (200, json!([])));
    assert!(served.stop().success());
}

/// Restores in this process, at an instant.
async fn restore_at(file: &std::path::Path, now: Time) -> TestDatabase {
    let database = TestDatabase::blank().await;
    let content = Box::new(std::fs::File::open(file).unwrap());
    let mut reader = Reader::open(file, content).unwrap();
    let header = reader.header().clone();
    let (sender, receiver) = mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        loop {
            let record = reader.next_record().unwrap();
            let is_end = matches!(record, Record::End { .. });
            sender.blocking_send(record).unwrap();
            if is_end {
                break;
            }
        }
    });
    let how = Restore { now, skip: 0 };
    Store::restore(&database.options(), &header, how, receiver)
        .await
        .unwrap();
    reading.await.unwrap();
    database
}

async fn next_id(database: &TestDatabase) -> i64 {
    let mut connection = sqlx::PgConnection::connect_with(&database.superuser_options())
        .await
        .unwrap();
    let id = sqlx::query_scalar("select nextval('journal_id_seq')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_restore_begins_an_epoch_of_its_own() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    let first = back_up(&database, folder.path());
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let restored = restore_at(&first, now).await;
    // A backup that is made before the next event has the place too.
    let unused = back_up(&restored, folder.path());
    let once = next_id(&restored).await;
    let from_unused = next_id(&restore_at(&unused, now - TimeDelta::days(1)).await).await;
    assert!(once < from_unused, "{once} {from_unused}");
    // The same backup a second later, and a backup of a restored database with its clock set back.
    let again = restore_at(&first, now + TimeDelta::seconds(1)).await;
    let twice = next_id(&again).await;
    let second = back_up(&again, folder.path());
    let set_back = next_id(&restore_at(&second, now - TimeDelta::days(1)).await).await;
    assert_eq!(once, 1_800_000_000 << 20);
    assert!(
        once < twice && twice < set_back,
        "{once} {twice} {set_back}"
    );
    // Exact as a number of JavaScript, also in the year 2200.
    assert!(
        (DateTime::from_timestamp(7_258_118_400, 0)
            .unwrap()
            .timestamp()
            << 20)
            < 1 << 53
    );
}

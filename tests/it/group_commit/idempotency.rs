//! Retries with an `Idempotency-Key`.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use steward::domain::{Error, ResellerId};
use steward::service::{Fingerprint, IdempotencyKey};

use crate::harness::App;

fn save(email: &str) -> serde_json::Value {
    json!({"name": "n", "title": "t", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1, "email": email})
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_stored_answer() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let first = client.call_once("save", "k1", save("a@example.com")).await;
    assert_eq!(
        (
            first.ok()["data"]["saved_id"].clone(),
            first.header("idempotent-replayed")
        ),
        (json!(1), "")
    );
    let second = client.call_once("save/", "k1", save("a@example.com")).await;
    assert_eq!(
        (second.body.as_str(), second.header("idempotent-replayed")),
        (first.body.as_str(), "true")
    );
    assert_eq!(second.header("content-type"), first.header("content-type"));
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 1);
    assert_eq!(
        client.history(1).await.len(),
        1,
        "a repeat does not run again"
    );

    client.call("freeze", json!({"id": 1})).await.ok();
    client
        .call_once("unfreeze", "k1", json!({"id": 1}))
        .await
        .ok();
    client.call("freeze", json!({"id": 1})).await.ok();
    client
        .call_once("unfreeze", "k1", json!({"id": 1}))
        .await
        .ok();
    assert_eq!(
        client.get(1).await["is_frozen"],
        json!(true),
        "the late repeat lifts nothing"
    );
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client
        .call_once("save", "k", save("a@example.com"))
        .await
        .ok();
    client
        .call_once("save", "k", save("b@example.com"))
        .await
        .is_error(422, "Idempotency-Key was used before");
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 1);
}

#[tokio::test]
async fn refusals_are_stored_too() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client
        .call_once("freeze", "k", json!({"id": 1}))
        .await
        .is_error(404, "Account not found");
    client.account("a").await;
    let again = client.call_once("freeze", "k", json!({"id": 1})).await;
    again.is_error(404, "Account not found");
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_key_belongs_to_one_reseller_and_expires_after_a_day() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    client
        .call_once("save", "k", save("a@example.com"))
        .await
        .ok();
    assert_eq!(
        other
            .call_once("save", "k", save("a@example.com"))
            .await
            .ok()["data"]["saved_id"],
        2
    );
    app.clock.advance(TimeDelta::hours(25));
    client
        .call_once("save", "k", save("a@example.com"))
        .await
        .is_error(409, "Conflict: email_in_use");
    assert_eq!(
        app.database
            .number("select count(*) from idempotency")
            .await,
        2
    );
    app.clock.advance(TimeDelta::hours(25));
    steward::jobs::run_once(
        &app.service,
        &steward::jobs::Settings {
            keep_attempts: std::time::Duration::from_hours(24),
            keep_journal: None,
            keep_bulk_items: std::time::Duration::from_hours(24 * 30),
        },
    )
    .await
    .unwrap();
    assert_eq!(
        app.database
            .number("select count(*) from idempotency")
            .await,
        0
    );
}

#[tokio::test]
async fn simultaneous_requests_with_one_key_are_carried_out_once() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call_once("save", "k", save("a@example.com")).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().ok()["data"]["saved_id"], 1);
    }
    assert_eq!(app.database.number("select count(*) from account").await, 1);
}

#[tokio::test]
async fn invalid_keys_are_refused() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    for key in ["", &"k".repeat(256), "tab\there"] {
        client
            .call_once("save", key, save("a@example.com"))
            .await
            .is_error(400, "Incorrect request: Idempotency-Key: must be 1 to 255");
    }
    client
        .call_once("save", &"k".repeat(255), save("a@example.com"))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_sent_to_two_replicas_makes_one_change() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let replica = app.replica(&client);
    let anonymous = json!({"name": "n", "title": "t", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1});
    for round in 0..30 {
        let key = format!("k{round}");
        let (one, other) = tokio::join!(
            client.call_once("save", &key, anonymous.clone()),
            replica.call_once("save", &key, anonymous.clone())
        );
        assert_eq!(one.ok()["data"]["saved_id"], other.ok()["data"]["saved_id"]);
    }
    assert_eq!(
        app.database.number("select count(*) from account").await,
        30
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_email_sent_to_two_replicas_makes_one_account() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let replica = app.replica(&client);
    for round in 0..30 {
        let email = format!("n{round}@example.com");
        let (one, other) = tokio::join!(
            client.call("save", save(&email)),
            replica.call("save", save(&email))
        );
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.body, other.body);
    }
    assert_eq!(
        app.database.number("select count(*) from account").await,
        30
    );
}

#[tokio::test]
async fn a_repeated_deletion_gets_the_stored_answer_even_if_it_was_404() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = crate::harness::v3::V3::of(&client);
    let id = client.account("a").await;
    let path = format!("/v3/accounts/{id}");
    for key in ["first", "second", "first", "second"] {
        assert_eq!(
            v3.send("DELETE", &path, &[("idempotency-key", key)], "")
                .await
                .status,
            204,
            "{key}"
        );
    }
}

#[tokio::test]
async fn stored_answers_of_several_resellers_are_found_together() {
    let app = App::new().await;
    let clients = [
        app.new_reseller("Acme").await,
        app.new_reseller("Globex").await,
    ];
    for client in &clients {
        client
            .call_once("save", "k", save("a@example.com"))
            .await
            .ok();
    }
    let key = |reseller: i64, key: &str| IdempotencyKey {
        reseller: ResellerId(reseller),
        method: "POST".to_owned(),
        path: "/api/v1.1/admin/accounts/save".to_owned(),
        key: key.to_owned(),
    };
    let keys = [
        key(1, "k"),
        key(2, "k"),
        key(1, "k"),
        key(1, "other"),
        key(3, "k"),
    ];
    // Whatever body they were sent with, another one is refused: the answers are there.
    let look_ups = keys
        .into_iter()
        .map(|key| app.service.stored_answer(key, Fingerprint::default()));
    let looked_up = || {
        let metrics = app.service.render_metrics();
        let sum = "steward_lane_batch_size_sum{lane=\"answer\"} ";
        let sum = metrics.lines().find_map(|line| line.strip_prefix(sum));
        sum.unwrap().parse::<f64>().unwrap()
    };
    let before = looked_up();
    let found = join_all(look_ups).await;
    let reused = Err(Error::IdempotencyKeyReused);
    assert_eq!(
        found,
        [reused.clone(), reused.clone(), reused, Ok(None), Ok(None)]
    );
    assert_eq!(
        (looked_up() - before).to_string(),
        "5",
        "all went through the lane"
    );
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(
        app.service
            .stored_answer(key(1, "k"), Fingerprint::default())
            .await,
        Ok(None)
    );
}

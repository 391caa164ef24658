//! Receivers that fail: delayed accounts, continued endpoints, and suspension after days of failures.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::webhooks::Settings;

use super::live::{Live, sequence, settings};
use crate::harness::receiver::Receiver;

#[tokio::test]
async fn a_failing_delivery_delays_only_its_own_account_and_keeps_its_order() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let (a, b) = (
        live.client.account("a").await,
        live.client.account("b").await,
    );
    let mut failures_left = 4;
    receiver.answer(move |delivery| {
        if delivery.body.contains("a@example.com") && failures_left > 0 {
            failures_left -= 1;
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        StatusCode::OK.into_response()
    });
    for round in 0..5 {
        for id in [a, b] {
            live.client
                .call("save", json!({"id": id, "title": format!("round {round}")}))
                .await
                .ok();
        }
    }
    live.dispatch(settings());
    let mut seen: Vec<(String, i64)> = Vec::new();
    while seen.iter().collect::<BTreeSet<_>>().len() < 12
        || seen
            .iter()
            .filter(|(email, _)| email.starts_with('a'))
            .count()
            < 10
    {
        seen.push(sequence(&receiver.next().await));
    }
    let of = |who: &str| {
        seen.iter()
            .filter(|(email, _)| email.starts_with(who))
            .map(|(_, sequence)| *sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("b"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        of("a"),
        [1, 1, 1, 1, 1, 2, 3, 4, 5, 6],
        "the first is tried until it is taken, then the others follow"
    );
    let last_b = seen
        .iter()
        .rposition(|(email, _)| email.starts_with('b'))
        .unwrap();
    let first_taken_a = seen
        .iter()
        .position(|(email, sequence)| email.starts_with('a') && *sequence == 2)
        .unwrap();
    assert!(last_b < first_taken_a, "b did not wait for a: {seen:?}");
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    live.finish_when(&path, |endpoint| {
        endpoint["pending"] == 0 && endpoint["health"] == "Healthy"
    })
    .await;
    let logs = live
        .v3
        .get("/v3/webhook-event-logs?succeeded=false")
        .await
        .ok();
    let failed: Vec<_> = logs
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            (
                log["attempt"].clone(),
                log["statusCode"].clone(),
                log["problem"].clone(),
            )
        })
        .collect();
    let expected: Vec<_> = (1..=4)
        .rev()
        .map(|number| (json!(number), json!(500), json!("answered 500")))
        .collect();
    assert_eq!(failed, expected);
    live.finish().await;
}

#[tokio::test]
async fn a_disabled_or_unreachable_endpoint_continues_where_it_stopped() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver.answer(|_| StatusCode::GONE.into_response());
    live.dispatch(settings());
    live.client.account("a").await;
    assert_eq!(
        sequence(&receiver.next().await),
        ("a@example.com".to_owned(), 1)
    );
    let suspended = live
        .finish_when(&path, |endpoint| endpoint["health"] == "Suspended")
        .await;
    assert_eq!(
        (
            suspended["suspendedBy"].clone(),
            suspended["enabled"].clone()
        ),
        (json!("gone"), json!(false))
    );
    live.client.account("b").await;
    receiver.answer(|_| StatusCode::OK.into_response());
    let enabled = live
        .v3
        .call("PATCH", &path, &json!({"enabled": true}))
        .await
        .ok();
    assert_eq!(
        (enabled["health"].clone(), enabled["suspendedBy"].clone()),
        (json!("Healthy"), Value::Null)
    );
    let both: BTreeSet<_> = [receiver.next().await, receiver.next().await]
        .iter()
        .map(sequence)
        .collect();
    assert_eq!(
        both,
        BTreeSet::from([
            ("a@example.com".to_owned(), 1),
            ("b@example.com".to_owned(), 1)
        ]),
        "nothing is skipped"
    );
    live.finish_when(&path, |endpoint| {
        endpoint["pending"] == 0 && endpoint["lastSuccessAt"].is_string()
    })
    .await;

    live.v3
        .call("PATCH", &path, &json!({"enabled": false}))
        .await
        .ok();
    live.client.account("c").await;
    live.v3
        .call("PATCH", &path, &json!({"enabled": true}))
        .await
        .ok();
    assert_eq!(
        sequence(&receiver.next().await),
        ("c@example.com".to_owned(), 1)
    );
    live.finish().await;
}

#[tokio::test]
async fn continued_failures_suspend_an_endpoint_and_retry_after_is_respected() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver
        .answer(|_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]).into_response());
    live.dispatch(settings());
    live.client.account("a").await;
    receiver.next().await;
    live.finish_when(&path, |endpoint| {
        endpoint["health"] == "Unhealthy" && endpoint["pending"] == 1
    })
    .await;
    let superuser = live.app.database.superuser().await;
    let waits: f64 = sqlx::query_scalar("select extract(epoch from next_attempt_at - current_timestamp)::float8 from webhook_pending")
        .fetch_one(&superuser)
        .await
        .unwrap();
    assert!((3_000.0..3_700.0).contains(&waits), "{waits}");
    live.finish().await;

    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver.answer(|_| StatusCode::BAD_GATEWAY.into_response());
    live.dispatch(Settings {
        suspend_after: TimeDelta::milliseconds(200),
        ..settings()
    });
    live.client.account("a").await;
    receiver.next().await;
    let suspended = live
        .finish_when(&path, |endpoint| endpoint["health"] == "Suspended")
        .await;
    assert_eq!(
        (
            suspended["suspendedBy"].clone(),
            suspended["pending"].clone()
        ),
        (json!("failures"), json!(1))
    );
    live.finish().await;
}

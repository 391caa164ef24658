//! Which addresses a delivery may reach, and how much of an answer is read.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;
use steward::webhooks::Settings;

use super::live::{Live, settings};
use crate::harness::process::until;
use crate::harness::receiver::Receiver;

#[tokio::test]
async fn private_addresses_are_not_reached_in_any_notation() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let port = receiver.address.port();
    let mut targets = vec![
        format!("http://127.0.0.1:{port}/hook"),
        format!("http://localhost:{port}/hook"),
        format!("http://[::ffff:127.0.0.1]:{port}/hook"),
        format!("http://[::1]:{port}/hook"),
        format!("http://2130706433:{port}/hook"),
        format!("http://0x7f.1:{port}/hook"),
        "http://169.254.169.254/latest".to_owned(),
        "http://10.0.0.1/".to_owned(),
    ];
    for target in &targets {
        live.endpoint(&receiver, json!({"url": target})).await;
    }
    live.dispatch(Settings {
        allowed_networks: Vec::new(),
        ..settings()
    });
    live.client.account("a").await;
    let logs = until("an attempt at each", async || {
        let logs = live.v3.get("/v3/webhook-event-logs").await.ok();
        let reached: BTreeSet<String> = logs
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["webhookId"].as_str().unwrap().to_owned())
            .collect();
        (reached.len() == targets.len()).then_some(logs)
    })
    .await;
    for log in logs.as_array().unwrap() {
        assert_eq!(log["problem"], "its address is not a public one", "{log}");
    }
    assert!(receiver.arrived.try_recv().is_err(), "something arrived");
    targets.clear();
    live.finish().await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_answers_are_cut() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    live.endpoint(&receiver, json!({})).await;
    let mut turn = 0;
    receiver.answer(move |_| {
        turn += 1;
        match turn {
            1 => (StatusCode::FOUND, [("location", "/hook")]).into_response(),
            2 => (StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(5_000_000)).into_response(),
            _ => (StatusCode::OK, "thanks").into_response(),
        }
    });
    live.dispatch(settings());
    live.client.account("a").await;
    for _ in 0..3 {
        receiver.next().await;
    }
    let logs = until("three attempts", async || {
        Some(live.v3.get("/v3/webhook-event-logs").await.ok())
            .filter(|logs| logs.as_array().unwrap().len() == 3)
    })
    .await;
    let seen: Vec<_> = logs
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|log| {
            (
                log["statusCode"].clone(),
                log["response"].as_str().map_or(0, str::len),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [(json!(302), 0), (json!(500), seen[1].1), (json!(200), 6)]
    );
    assert!(seen[1].1 <= 512, "{}", seen[1].1);
    live.finish().await;
}

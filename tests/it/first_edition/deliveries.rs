//! Webhooks go on at their positions: what was due is delivered once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use steward::dialects::v3;
use steward::webhooks::{Dispatcher, Settings, Writer};
use tokio_util::sync::CancellationToken;

use super::compare;
use super::exchange::Recorded;
use super::fixture::{migrate, restore};
use crate::harness::App;
use crate::harness::process::until;
use crate::harness::receiver::Receiver;
use crate::harness::v3::V3;

/// What each endpoint is sent: id and body of each message, in the order of the ids.
pub(super) type Deliveries = BTreeMap<String, Vec<(String, String)>>;

/// Settings of a dispatcher that delivers to this machine.
pub(super) fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        retries: vec![Duration::from_mins(1), Duration::from_hours(1)],
        suspend_after: TimeDelta::days(5),
        lease: Duration::from_secs(30),
        concurrency: 16,
        reseller_concurrency: 16,
        endpoint_concurrency: 4,
        turns: 4,
        reseller_turns: 2,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        writer: Writer {
            event: v3::message,
            test: v3::test_message,
        },
    }
}

/// Gives every endpoint in use a receiver that takes everything, and delivers until nothing is
/// pending.
pub(super) async fn deliver_all(app: &App, credentials: &BTreeMap<String, String>) -> Deliveries {
    let mut endpoints = Vec::new();
    for by in ["acme", "gamma", "delta"] {
        let v3 = V3::with_token(&app.router, &credentials[by]);
        for endpoint in v3.get("/v3/webhooks").await.ok().as_array().unwrap() {
            if endpoint["enabled"] == true {
                let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
                let receiver = Receiver::start().await;
                let url = json!({"url": receiver.url()});
                v3.call("PATCH", &path, &url).await.ok();
                let v3 = V3::with_token(&app.router, &credentials[by]);
                endpoints.push((path, v3, receiver));
            }
        }
    }
    let stop = CancellationToken::new();
    let dispatcher = Dispatcher::new(Arc::clone(&app.service), settings()).unwrap();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    for (path, v3, _) in &endpoints {
        until(path, async || {
            (v3.get(path).await.ok()["pending"] == 0).then_some(())
        })
        .await;
    }
    stop.cancel();
    running.await.unwrap();
    let mut deliveries = Deliveries::new();
    for (path, _, mut receiver) in endpoints {
        let mut messages = Vec::new();
        while let Ok(message) = receiver.arrived.try_recv() {
            messages.push((message.header("webhook-id").to_owned(), message.body));
        }
        messages.sort();
        deliveries.insert(path, messages);
    }
    deliveries
}

#[tokio::test]
async fn webhooks_go_on_at_their_positions_and_deliver_everything_once() {
    let recorded = Recorded::load();
    let database = restore().await;
    migrate(&database).await;
    let app = recorded.serve(database).await;
    let deliveries = deliver_all(&app, &recorded.credentials).await;
    for (path, before) in &recorded.deliveries {
        let ids = |messages: &[(String, String)]| -> Vec<String> {
            messages.iter().map(|(id, _)| id.clone()).collect()
        };
        let after = &deliveries[path];
        assert_eq!(ids(before), ids(after), "messages to {path}");
        for ((id, before), (_, after)) in before.iter().zip(after) {
            let differences = compare::differences(before, after);
            assert_eq!(differences, [""; 0], "{path}, message {id}");
        }
    }
    assert_eq!(deliveries.len(), recorded.deliveries.len());
}

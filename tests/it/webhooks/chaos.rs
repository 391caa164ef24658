//! Dispatchers that are killed, and a slow receiver that fails: no event is lost, and each
//! account's order is kept.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use steward::service::{Clock, Service, Settings};
use steward::store::Store;
use tokio::sync::mpsc;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::process::folder;
use crate::harness::v3::V3;
use crate::harness::{App, Client};
use crate::webhooks::live::local_targets;

const ACCOUNTS: i64 = 200;
const EVENTS_EACH: i64 = 100;
const DISPATCHERS: usize = 3;

/// A dispatcher in its own process, on the test's database.
fn dispatcher(url: &str, home: &std::path::Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steward"));
    command
        .arg("worker")
        .env("DATABASE_URL", url)
        .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
        .env("STEWARD_LOG__LEVEL", "error");
    command
        .env("STEWARD_WEBHOOKS__ALLOW_HTTP", "true")
        .env("STEWARD_WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]");
    command
        .env("STEWARD_WEBHOOKS__RETRY_SECONDS", "[0.02, 0.05, 0.2]")
        .env("STEWARD_WEBHOOKS__TIMEOUT_SECONDS", "0.5");
    command
        .env("STEWARD_WEBHOOKS__LEASE_SECONDS", "1")
        .env("STEWARD_DATABASE__DATA_DIR", home);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Takes the account and the sequence of each delivery that arrived.
type Arrivals = mpsc::UnboundedSender<(String, i64)>;

/// The receiver fails often: it answers 500, or too late, or takes a delivery and still answers
/// 500.
async fn receive(
    State((arrivals, count)): State<(Arrivals, Arc<AtomicUsize>)>,
    body: Bytes,
) -> StatusCode {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let arrived = (
        message["data"]["id"].as_str().unwrap().to_owned(),
        message["sequence"].as_i64().unwrap(),
    );
    let number = count.fetch_add(1, Ordering::Relaxed);
    match number % 10 {
        2 | 5 | 8 => return StatusCode::INTERNAL_SERVER_ERROR,
        9 if number % 400 == 9 => {
            // The answer comes after the sender's timeout.
            std::future::pending::<()>().await;
        }
        _ => {}
    }
    arrivals.send(arrived).unwrap();
    // The delivery was taken, but the answer is a failure, so it will be sent again.
    if number % 25 == 3 {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_dispatchers_and_a_failing_receiver_lose_no_event_and_keep_the_order() {
    let app = App::new().await;
    let owner = app.new_reseller("Acme").await;
    let settings = Settings {
        webhook_targets: local_targets(),
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::System,
        settings,
    ));
    let client = Client {
        router: router(&service, admin_settings(), soap_settings()),
        token: owner.token.clone(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let receiver = Router::new()
        .route("/hook", post(receive))
        .with_state((arrivals, Arc::clone(&count)));
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let v3 = V3::of(&client);
    let made = v3
        .call(
            "POST",
            "/v3/webhooks",
            &json!({"url": format!("http://{address}/hook")}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);

    let home = folder();
    let url = app.database.url();
    let mut dispatchers: Vec<Child> = (0..DISPATCHERS)
        .map(|_| dispatcher(&url, home.path()))
        .collect();
    let writing = tokio::spawn({
        let client = client.clone();
        async move {
            let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("n{number}")).collect();
            let creations = names.iter().map(|name| client.account(name));
            let ids: Vec<i64> = futures_util::future::join_all(creations).await;
            for round in 1..EVENTS_EACH {
                let work = ids.iter().map(|id| {
                    client.call("save", json!({"id": id, "title": format!("round {round}")}))
                });
                futures_util::future::join_all(work)
                    .await
                    .iter()
                    .for_each(|answer| drop(answer.ok()));
            }
        }
    });
    // Without duplicates the sequence of each account has no gap.
    let mut next: HashMap<String, i64> = HashMap::new();
    let (mut complete, mut duplicates, mut kills) = (0, 0, 0_usize);
    let total = ACCOUNTS * EVENTS_EACH;
    while complete < total {
        let wait = tokio::time::timeout(Duration::from_mins(2), arrived.recv()).await;
        let (account, sequence) = wait
            .unwrap_or_else(|_| panic!("nothing arrives any more after {complete} of {total}"))
            .unwrap();
        let expected = next.entry(account.clone()).or_insert(1);
        assert!(
            sequence <= *expected,
            "{account}: {sequence} arrived before {expected}"
        );
        if sequence == *expected {
            *expected += 1;
            complete += 1;
            // Kills a dispatcher from time to time, and starts another.
            if complete % 1_500 == 750 {
                let victim = kills % DISPATCHERS;
                dispatchers[victim].kill().unwrap();
                dispatchers[victim].wait().unwrap();
                dispatchers[victim] = dispatcher(&url, home.path());
                kills += 1;
            }
        } else {
            duplicates += 1;
        }
    }
    writing.await.unwrap();
    assert!(
        next.len() == usize::try_from(ACCOUNTS).unwrap()
            && next.values().all(|after| *after == EVENTS_EACH + 1),
        "{next:?}"
    );
    assert!(
        kills >= 10 && duplicates > 0,
        "{kills} kills, {duplicates} duplicates"
    );
    for mut dispatcher in dispatchers {
        dispatcher.kill().unwrap();
        dispatcher.wait().unwrap();
    }
    println!(
        "{total} events of {ACCOUNTS} accounts, {} requests, {kills} dispatchers killed, {duplicates} duplicates",
        count.load(Ordering::Relaxed)
    );
    service.stop().await;
}

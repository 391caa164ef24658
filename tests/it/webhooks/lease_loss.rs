//! The lease of an endpoint: a dispatcher that has lost it stops delivering.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::live::{Live, settings};
use crate::harness::App;
use crate::harness::process::until;
use crate::harness::v3::V3;

/// What happens at the receiver.
#[derive(Debug, PartialEq, Eq)]
enum Happening {
    /// A delivery for this account arrived.
    Arrived(String),
    /// The sender gave a delivery up before it was answered.
    GivenUp(String),
}

/// Reports when a request is dropped without an answer.
struct Pending(mpsc::UnboundedSender<Happening>, Option<String>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(account) = self.1.take() {
            let _ended = self.0.send(Happening::GivenUp(account));
        }
    }
}

type Happenings = mpsc::UnboundedSender<Happening>;

/// Never answers a delivery for `held`, and accepts all others.
async fn receive(
    State((happenings, held)): State<(Happenings, Arc<Mutex<String>>)>,
    body: Bytes,
) -> StatusCode {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let account = message["data"]["email"].as_str().unwrap().to_owned();
    let is_held = account == *held.lock().unwrap();
    let pending = Pending(happenings.clone(), is_held.then(|| account.clone()));
    happenings.send(Happening::Arrived(account)).unwrap();
    if is_held {
        std::future::pending::<()>().await;
    }
    drop(pending);
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_lost_its_lease_delivers_no_further_event() {
    let mut live = Live::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (happenings, mut happened) = mpsc::unbounded_channel();
    let held = Arc::new(Mutex::new("held@example.com".to_owned()));
    let routes = Router::new()
        .route("/hook", post(receive))
        .with_state((happenings, held));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let body = json!({"url": url, "events": ["account.created"]});
    let made = live.v3.call("POST", "/v3/webhooks", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mut settings = settings();
    // An attempt never ends by itself.
    settings.timeout = std::time::Duration::from_hours(1);
    live.dispatch(settings);
    live.client.account("held").await;
    let arrived = |name: &str| Happening::Arrived(format!("{name}@example.com"));
    assert_eq!(happened.recv().await, Some(arrived("held")));

    // Another dispatcher takes the lease, in a transaction that is still open. The delivery of the
    // next event makes the runner write, and its write waits for that transaction.
    let superuser = live.app.database.superuser().await;
    let mut thief = superuser.begin().await.unwrap();
    sqlx::raw_sql(
        "update webhook_endpoint set lease_owner = gen_random_uuid(), lease_until = '2100-01-01'",
    )
    .execute(&mut *thief)
    .await
    .unwrap();
    live.client.account("written").await;
    assert_eq!(happened.recv().await, Some(arrived("written")));
    until("the write of the runner", async || {
        let waiting = live
            .app
            .database
            .number("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%update webhook_endpoint%' and datname = current_database()")
            .await;
        (waiting > 0).then_some(())
    })
    .await;
    // The lease is gone when the write goes on. A runner that went on would deliver this event.
    thief.commit().await.unwrap();
    live.client.account("late").await;
    let given_up = Happening::GivenUp("held@example.com".to_owned());
    assert_eq!(
        happened.recv().await,
        Some(given_up),
        "a runner without the lease goes on"
    );
    let attempts = "select count(*) from webhook_attempt";
    assert_eq!(live.app.database.number(attempts).await, 0);
    live.finish().await;
    assert_eq!(happened.try_recv(), Err(mpsc::error::TryRecvError::Empty));
}

#[tokio::test]
async fn a_lease_is_free_when_it_has_run_out_and_not_before() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let body = json!({"url": "https://example.com/hook"});
    let made = v3.call("POST", "/v3/webhooks", &body).await.json();
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let lease = async |owner: u128| {
        let (owner, until) = (
            Uuid::from_u128(owner),
            app.service.now() + TimeDelta::minutes(1),
        );
        let leased = app.service.lease_endpoint(reseller, id, owner, until).await;
        leased.unwrap().is_some()
    };
    assert!(lease(1).await, "the endpoint is free");
    assert!(!lease(2).await, "another process has the lease");
    app.clock.advance(TimeDelta::seconds(59));
    assert!(!lease(2).await, "it still has it");
    app.clock.advance(TimeDelta::seconds(1));
    assert!(lease(2).await, "the lease has run out");
}

//! What the endpoints of several resellers share: turns and slots.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::future::join_all;
use serde_json::{Value, json};
use steward::webhooks::Settings;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::live::{Live, settings};
use crate::harness::Client;
use crate::harness::process::{PATIENCE, until};
use crate::harness::v3::V3;

/// A receiver with a path for each endpoint. Those that begin with `hang` are answered when the
/// gate opens, and those that begin with `fail` with 500 until the test has seen them once.
struct Paths {
    base: String,
    arrived: mpsc::UnboundedReceiver<(String, Value)>,
    gate: CancellationToken,
}

type Arrivals = (mpsc::UnboundedSender<(String, Value)>, CancellationToken);

impl Paths {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (send, arrived) = mpsc::unbounded_channel();
        let gate = CancellationToken::new();
        let routes = Router::new()
            .route("/{name}", post(receive))
            .with_state((send, gate.clone()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            base,
            arrived,
            gate,
        }
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.arrived.recv())
            .await
            .expect("nothing arrived")
            .unwrap()
    }

    /// Creates an endpoint of the client's reseller at a path.
    async fn endpoint(&self, client: &Client, name: &str) {
        let body = json!({"url": format!("{}/{name}", self.base)});
        let made = V3::of(client).call("POST", "/v3/webhooks", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
}

async fn receive(
    State((arrivals, gate)): State<Arrivals>,
    Path(name): Path<String>,
    body: Bytes,
) -> StatusCode {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let (hangs, fails) = (name.starts_with("hang"), name.starts_with("fail"));
    let is_first_attempt = message["data"]["company"] == "";
    arrivals.send((name, message)).unwrap();
    if hangs || (fails && !is_first_attempt) {
        gate.cancelled().await;
    }
    if fails && is_first_attempt {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::NO_CONTENT
    }
}

/// Waits until this many of a reseller's requests wait for a share.
async fn waits(live: &Live, share: &str, reseller: i64, count: usize) {
    let wanted = format!(
        "steward_share_waiting{{share=\"{share}\",holder=\"reseller {reseller}\"}} {count}\n"
    );
    until(&wanted, async || {
        live.service
            .render_metrics()
            .contains(&wanted)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reseller_with_many_endpoints_delays_another_by_one_turn() {
    let mut live = Live::new().await;
    let (busy, busy_id) = live.another_reseller("Busy").await;
    let (quiet, quiet_id) = live.another_reseller("Quiet").await;
    let mut paths = Paths::start().await;
    for number in 0..50 {
        paths.endpoint(&busy, &format!("busy{number}")).await;
    }
    paths.endpoint(&quiet, "quiet").await;
    busy.account("a").await;
    // Whichever of the endpoints has the only turn keeps it until the lock is released.
    let superuser = live.app.database.superuser().await;
    let mut lock = superuser.begin().await.unwrap();
    sqlx::query("select from webhook_endpoint where reseller_id = $1 for update")
        .bind(busy_id)
        .execute(&mut *lock)
        .await
        .unwrap();
    live.dispatch(Settings {
        turns: 1,
        reseller_turns: 1,
        concurrency: 1,
        reseller_concurrency: 1,
        ..settings()
    });
    waits(&live, "webhook_turns", busy_id, 49).await;
    quiet.account("b").await;
    waits(&live, "webhook_turns", quiet_id, 1).await;
    lock.rollback().await.unwrap();
    let mut order = Vec::new();
    for _ in 0..51 {
        order.push(paths.next().await.0);
    }
    let place = order.iter().position(|name| name == "quiet").unwrap();
    assert!(
        place <= 2,
        "the turn that was under way, and one more, come first: {order:?}"
    );
    live.finish().await;
}

#[tokio::test]
async fn receivers_that_hang_use_up_only_the_share_of_their_reseller() {
    let mut live = Live::new().await;
    let (slow, slow_id) = live.another_reseller("Slow").await;
    let (quick, _) = live.another_reseller("Quick").await;
    let mut paths = Paths::start().await;
    for number in 0..4 {
        paths.endpoint(&slow, &format!("hang{number}")).await;
    }
    paths.endpoint(&quick, "quick").await;
    live.dispatch(Settings {
        concurrency: 4,
        reseller_concurrency: 2,
        ..settings()
    });
    join_all(["a", "b", "c", "d"].map(|name| slow.account(name))).await;
    for _ in 0..2 {
        assert!(paths.next().await.0.starts_with("hang"));
    }
    waits(&live, "webhook_attempts", slow_id, 4).await;
    for number in 0..10 {
        quick.account(&format!("q{number}")).await;
        assert_eq!(paths.next().await.0, "quick");
    }
    paths.gate.cancel();
    for _ in 0..14 {
        assert!(paths.next().await.0.starts_with("hang"));
    }
    live.finish().await;
}

#[tokio::test]
async fn failing_endpoints_take_no_slots_from_working_ones() {
    let mut live = Live::new().await;
    let (failing, failing_id) = live.another_reseller("Failing").await;
    let (working, _) = live.another_reseller("Working").await;
    let mut paths = Paths::start().await;
    for number in 0..4 {
        paths.endpoint(&failing, &format!("fail{number}")).await;
    }
    paths.endpoint(&working, "hang").await;
    live.dispatch(Settings {
        concurrency: 4,
        reseller_concurrency: 4,
        ..settings()
    });
    let id = failing.account("a").await;
    for _ in 0..4 {
        assert!(paths.next().await.0.starts_with("fail"));
    }
    // From now on they do not answer. One of them has the only slot of failing endpoints.
    failing
        .call("save", json!({"id": id, "company": "Acme"}))
        .await
        .ok();
    waits(&live, "webhook_attempts_to_failing", failing_id, 3).await;
    join_all(["a", "b", "c", "d"].map(|name| working.account(name))).await;
    let mut hanging = 0;
    while hanging < 4 {
        hanging += usize::from(paths.next().await.0 == "hang");
    }
    paths.gate.cancel();
    live.finish().await;
}

#[tokio::test]
async fn two_dispatchers_with_few_turns_deliver_everything_once_and_in_order() {
    const ENDPOINTS: usize = 12;
    const ACCOUNTS: usize = 4;
    const CHANGES: usize = 20;
    let mut live = Live::new().await;
    let (busy, _) = live.another_reseller("Busy").await;
    let (quiet, _) = live.another_reseller("Quiet").await;
    let mut paths = Paths::start().await;
    for number in 0..ENDPOINTS {
        paths.endpoint(&busy, &format!("busy{number}")).await;
    }
    paths.endpoint(&quiet, "quiet").await;
    let few = Settings {
        turns: 1,
        reseller_turns: 1,
        concurrency: 8,
        reseller_concurrency: 4,
        ..settings()
    };
    live.dispatch(few.clone());
    live.dispatch(few);
    let ids = join_all((0..ACCOUNTS).map(|number| {
        let busy = busy.clone();
        async move { busy.account(&format!("a{number}")).await }
    }))
    .await;
    let quiet_account = quiet.account("q").await;
    for round in 1..CHANGES {
        let title = format!("round {round}");
        let changes = ids
            .iter()
            .map(|id| busy.call("save", json!({"id": id, "title": title})));
        join_all(changes).await.iter().for_each(|it| drop(it.ok()));
        quiet
            .call("save", json!({"id": quiet_account, "title": title}))
            .await
            .ok();
    }
    let mut seen: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    for _ in 0..(ENDPOINTS * ACCOUNTS + 1) * CHANGES {
        let (name, message) = paths.next().await;
        let account = message["data"]["id"].as_str().unwrap().to_owned();
        seen.entry((name, account))
            .or_default()
            .push(message["sequence"].as_i64().unwrap());
    }
    let expected: Vec<i64> = (1..=20).collect();
    assert_eq!(seen.len(), ENDPOINTS * ACCOUNTS + 1);
    for (of, sequences) in seen {
        assert_eq!(sequences, expected, "{of:?}");
    }
    live.finish().await;
}

//! A dispatcher that loses the lease of an endpoint stops delivering to it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::sync::mpsc::error::TryRecvError;

use super::live::{Live, settings};
use crate::harness::process::until;
use crate::harness::receiver::Receiver;

/// Two endpoints of a reseller that have got an event, and whose runner is idle.
struct Pair {
    live: Live,
    account: i64,
    lost: Receiver,
    lost_path: String,
    kept: Receiver,
}

impl Pair {
    async fn start() -> Self {
        let mut live = Live::on_manual_clock().await;
        let (mut lost, mut kept) = (Receiver::start().await, Receiver::start().await);
        let path = |endpoint: &Value| format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
        let lost_path = path(&live.endpoint(&lost, json!({})).await);
        let kept_path = path(&live.endpoint(&kept, json!({})).await);
        live.dispatch(settings());
        let account = live.client.account("a").await;
        lost.next().await;
        kept.next().await;
        for path in [&lost_path, &kept_path] {
            live.finish_when(path, |endpoint| endpoint["pending"] == 0)
                .await;
        }
        Self {
            live,
            account,
            lost,
            lost_path,
            kept,
        }
    }

    /// Gives the lease of the first endpoint to another dispatcher.
    async fn steal_lease(&self) {
        let superuser = self.live.app.database.superuser().await;
        let stolen = sqlx::query(
            "update webhook_endpoint set lease_owner = gen_random_uuid(),
               lease_until = '2100-01-01' where id = $1::uuid",
        )
        .bind(self.lost_path.rsplit('/').next())
        .execute(&superuser)
        .await
        .unwrap();
        assert_eq!(stolen.rows_affected(), 1);
    }

    /// Changes the account once.
    async fn change_once(&self, title: &str) {
        let change = json!({"id": self.account, "title": title});
        self.live.client.call("save", change).await.ok();
    }

    /// Changes the account so often. Each change arrives at the second endpoint.
    async fn change(&mut self, times: usize) {
        for number in 0..times {
            self.change_once(&format!("title {number}")).await;
            self.kept.next().await;
        }
    }
}

#[tokio::test]
async fn a_runner_whose_lease_was_taken_over_ends_at_its_next_write() {
    let mut pair = Pair::start().await;
    pair.steal_lease().await;
    pair.change(100).await;
    let repeated = std::iter::from_fn(|| pair.lost.arrived.try_recv().ok()).count();
    assert!(
        repeated < 50,
        "{repeated} of 100 events were delivered without the lease"
    );
    pair.live.finish().await;
}

#[tokio::test]
async fn a_runner_whose_lease_has_run_out_asks_for_it_before_it_sends() {
    let mut pair = Pair::start().await;
    pair.live.app.clock.advance(TimeDelta::minutes(10));
    pair.steal_lease().await;
    pair.change(20).await;
    let arrived = pair.lost.arrived.try_recv();
    assert!(
        matches!(arrived, Err(TryRecvError::Empty)),
        "delivered without the lease: {arrived:?}"
    );
    pair.live.finish().await;
}

#[tokio::test]
async fn an_endpoint_whose_runner_failed_is_served_again_before_its_lease_runs_out() {
    let mut pair = Pair::start().await;
    let superuser = pair.live.app.database.superuser().await;
    let mut lock = superuser.begin().await.unwrap();
    sqlx::query("select from webhook_endpoint where id = $1::uuid for update")
        .bind(pair.lost_path.rsplit('/').next())
        .execute(&mut *lock)
        .await
        .unwrap();
    pair.change_once("new").await;
    assert_eq!(pair.lost.next().await.json()["sequence"], 2);
    // The runner cannot write that it has delivered the event.
    until("a runner that waits for the lock", async || {
        sqlx::query_scalar::<_, bool>(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_optional(&superuser)
        .await
        .unwrap()
    })
    .await;
    lock.rollback().await.unwrap();
    // The clock stands still, so the lease has not run out.
    assert_eq!(pair.lost.next().await.json()["sequence"], 2);
    pair.live
        .finish_when(&pair.lost_path, |endpoint| endpoint["pending"] == 0)
        .await;
    pair.live.finish().await;
}

//! Background jobs: one that fails stops no other, and one reseller's failure no other reseller.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use steward::jobs;
use steward::service::ResellerPatch;

use crate::harness::App;

fn settings() -> jobs::Settings {
    jobs::Settings {
        keep_attempts: Duration::from_hours(24),
        keep_journal: Some(Duration::from_hours(24)),
        keep_bulk_items: Duration::from_hours(24 * 30),
    }
}

#[tokio::test]
async fn a_job_that_fails_is_counted_and_stops_no_other() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let members = json!({"id": client.account("a").await});
    client.call_once("freeze", "key", members).await.ok();
    app.clock.advance(TimeDelta::days(2));
    let superuser = app.database.superuser().await;
    // Breaks the jobs before and after the one that deletes stored answers.
    sqlx::raw_sql(
        "drop function prepare_journal(date, integer); drop function drop_journal(date);
         alter table webhook_attempt rename to hidden",
    )
    .execute(&superuser)
    .await
    .unwrap();
    jobs::run_once(&app.service, &settings()).await.unwrap_err();
    assert_eq!(
        app.database
            .number("select count(*) from idempotency")
            .await,
        0
    );
    let metrics = app.service.render_metrics();
    for (job, failures) in [
        ("journal", 1),
        ("journal_retention", 1),
        ("webhook_log", 1),
        ("idempotency", 0),
        ("purge_plan", 0),
        ("account_numbers", 0),
    ] {
        let line = format!("steward_job_failures_total{{job=\"{job}\"}} {failures}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn a_reseller_whose_accounts_cannot_be_written_stops_no_other() {
    let app = App::new().await;
    let mut clients = Vec::new();
    for name in ["Broken", "Sound"] {
        let patch = ResellerPatch {
            purges: Some(true),
            ..ResellerPatch::default()
        };
        let reseller = app.reseller_with(name, patch).await;
        clients.push(app.client(&app.token(Some(reseller), None).await));
    }
    let (broken, sound) = (&clients[0], &clients[1]);
    for client in &clients {
        let id = client.account("a").await;
        let members = json!({"id": id, "expiry_date": "2026-03-02T00:00:00Z"});
        client.call("expiry_date", members).await.ok();
    }
    let superuser = app.database.superuser().await;
    sqlx::raw_sql(
        "create function fail() returns trigger language plpgsql as
           $$ begin raise exception 'this reseller is broken'; end $$;
         create trigger fail before update or delete on account for each row
           when (old.reseller_id = 1) execute function fail()",
    )
    .execute(&superuser)
    .await
    .unwrap();
    // The announcement, the plan and the purge: each works for the second reseller.
    let events =
        "select count(*) from journal where reseller_id = 2 and 'account.expired' = any (events)";
    app.clock.advance(TimeDelta::days(2));
    app.service.announce_due().await.unwrap_err();
    assert_eq!(app.database.number(events).await, 1);
    let planned = "select count(*) from account where purge_due_at is not null";
    app.clock.advance(TimeDelta::days(16));
    app.service.plan_purges().await.unwrap_err();
    assert_eq!(app.database.number(planned).await, 1);
    for _ in 0..40 {
        app.clock.advance(TimeDelta::hours(12));
        jobs::announce_and_purge(&app.service, true)
            .await
            .unwrap_err();
    }
    assert_eq!(sound.call("get", json!({"id": 2})).await.status, 404);
    broken.get(1).await;
}

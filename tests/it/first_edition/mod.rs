//! A database of the first edition (migration 25) with every kind of row: it is migrated, and
//! answers every recorded request as before. `tests/fixtures/first_edition/README.md` says how it
//! was made.

mod compare;
mod coverage;
mod deliveries;
mod exchange;
mod fixture;
mod make;
mod script;

use sqlx::Connection as _;
use steward::store::Store;

use crate::harness::process::until;
use exchange::Recorded;
use fixture::{migrate, restore, run};

#[tokio::test]
async fn every_recorded_request_is_answered_as_before() {
    let recorded = Recorded::load();
    let database = restore().await;
    migrate(&database).await;
    let served = recorded.serve(database).await;
    let differences = recorded.differences(&served, |_| true).await;
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// The comparison above would find a migration that loses a detail.
#[tokio::test]
async fn a_row_that_changed_is_named_by_request_and_member() {
    let recorded = Recorded::load();
    let database = restore().await;
    let change = "update hold set payment_url = 'https://pay.example/other' where account_id = 5;
        update journal set before = jsonb_set(before, '{company}', '\"Other\"') where account_id = 1 and before ? 'company'";
    run(&database, change).await;
    migrate(&database).await;
    let served = recorded.serve(database).await;
    let affected = ["/v3/accounts/5/holds", "/v3/accounts/1/history?limit=20"];
    let differences = recorded
        .differences(&served, |it| affected.contains(&it.path.as_str()))
        .await
        .join("\n");
    for expected in [
        "acme: GET /v3/accounts/5/holds",
        "/0/paymentUrl\n    before: \"https://pay.example/5\"\n    after:  \"https://pay.example/other\"",
        "acme: GET /v3/accounts/1/history?limit=20",
        "/before/company\n    before: ",
    ] {
        assert!(differences.contains(expected), "{expected}\n{differences}");
    }
}

#[tokio::test]
async fn a_migration_that_was_interrupted_begins_again() {
    let database = restore().await;
    // A reader holds up the migration after it has copied the accounts.
    let superuser = database.superuser().await;
    let mut reader = superuser.acquire().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("select from hold limit 1")
        .execute(&mut *reading)
        .await
        .unwrap();
    let options = database.options();
    let interrupting = async {
        until("the migration waits", async || {
            let waiting =
                "select count(*) from pg_stat_activity where application_name = 'steward-migrate'
                 and wait_event_type = 'Lock' and datname = current_database()";
            (database.number(waiting).await == 1).then_some(())
        })
        .await;
        run(
            &database,
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'steward-migrate'
                 and datname = current_database()",
        )
        .await;
    };
    let (migrated, ()) = tokio::join!(Store::migrate(&options), interrupting);
    assert!(migrated.is_err(), "it was not interrupted");
    reading.rollback().await.unwrap();
    let left = "select count(*) from pg_class where relname in ('account_row', 'held')";
    assert_eq!(database.number(left).await, 0, "it left something behind");
    migrate(&database).await;
    assert_eq!(database.wrong_held_rows().await, 0);
    assert_eq!(database.wrong_texts().await, 0);
    assert!(database.number("select count(*) from held").await > 5);
}

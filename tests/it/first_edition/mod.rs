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

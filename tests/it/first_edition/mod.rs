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
use fixture::{migrate, restore};

#[tokio::test]
async fn every_recorded_request_is_answered_as_before() {
    let recorded = Recorded::load();
    let database = restore().await;
    migrate(&database).await;
    let served = recorded.serve(database).await;
    let mut differences = Vec::new();
    for exchange in &recorded.exchanges {
        let now = exchange.send(&served.router, &recorded.credentials).await;
        differences.extend(exchange.differences(&now));
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

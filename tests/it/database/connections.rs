//! Connections go from one transaction to the next without a round trip.

use steward::store::{Store, Tenancy};

use crate::harness::app::pool_settings;
use crate::harness::database::TestDatabase;

/// The idle and the used connections of the general pool.
fn general(store: &Store) -> (u32, u32) {
    let [general, ..] = store.pools();
    (general.idle, general.used)
}

#[tokio::test]
async fn a_finished_transaction_leaves_its_connection_ready_at_once() {
    let database = TestDatabase::new().await;
    let store = Store::new(database.options(), &pool_settings());
    for _ in 0..3 {
        let tx = store.begin(&Tenancy::Platform).await.unwrap();
        assert_eq!(general(&store), (0, 1));
        tx.commit().await.unwrap();
        assert_eq!(general(&store), (1, 0), "nothing is awaited in between");
    }
    store.close().await;
    assert!(store.begin(&Tenancy::Platform).await.is_err());
}

#[tokio::test]
async fn a_transaction_that_is_dropped_closes_its_connection() {
    let database = TestDatabase::new().await;
    let store = Store::new(database.options(), &pool_settings());
    drop(store.begin(&Tenancy::Platform).await.unwrap());
    assert_eq!(general(&store).0, 0, "it is not used again");
    let next = store.begin(&Tenancy::Platform).await.unwrap();
    next.rollback().await;
    assert_eq!(general(&store).0, 1);
    store.close().await;
}

//! A suspension of a reseller refuses its writes also if it begins while they are under way.

use super::things::Things;
use crate::harness::App;
use crate::harness::process::until;

/// How the dialects refuse the writes of a suspended reseller.
const REFUSALS: [&str; 3] = [
    "RESELLER_SUSPENDED",
    "the operator has suspended the reseller",
    "the reseller is suspended",
];

/// Another replica begins a suspension before the write looks up its credential, and commits it
/// when the write waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_of_a_reseller_heeds_a_suspension_that_begins_while_it_is_under_way() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let superuser = app.database.superuser().await;
    let mut things = Things::of(&app, &client).await;
    let mut requests = things.writes().await;
    // A token that leaked is revoked, and a customer pays, also while the reseller is suspended.
    let exempt = [
        "tokens_delete",
        "personal_access_tokens_patch",
        "personal_access_tokens_delete",
        "release_tickets_redeem",
    ];
    requests.retain(|it| it.token == client.token && !exempt.contains(&it.name.as_str()));
    assert!(requests.len() > 40, "{}", requests.len());
    for request in &requests {
        let before = things.state().await;
        let mut suspension = superuser.begin().await.unwrap();
        sqlx::raw_sql(
            "update reseller set suspended_at = now() where id = 1; select pg_advisory_xact_lock(1)",
        )
        .execute(&mut *suspension)
        .await
        .unwrap();
        let land = async {
            until(&format!("{} waits for a lock", request.name), async || {
                let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
                (app.database.number(waiting).await > 0).then_some(())
            })
            .await;
            suspension.commit().await.unwrap();
        };
        let key = request.name.replace(' ', "-");
        let (answer, ()) = tokio::join!(request.send(&key), land);
        assert!(
            REFUSALS.iter().any(|text| answer.body.contains(text)),
            "{}: {}",
            request.name,
            answer.body
        );
        sqlx::raw_sql("update reseller set suspended_at = null where id = 1")
            .execute(&superuser)
            .await
            .unwrap();
        assert!(things.state().await == before, "{}", request.name);
    }
}

//! What makes a reseller movable to another database: keys that lead with it, and transactions
//! that touch one reseller only.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::Row as _;
use steward::domain::{AccountId, Command, HoldId, HoldKind, HoldPatch};
use steward::service::{Clock, CommitScope, Service, Settings};
use steward::store::Store;
use uuid::Uuid;

use crate::harness::App;
use crate::harness::app::pool_settings;

#[tokio::test]
async fn every_key_leads_with_the_reseller_and_triggers_write_only_rows_of_their_account() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    let names = |rows: Vec<sqlx::postgres::PgRow>| {
        rows.iter()
            .map(|row| row.get::<String, _>(0))
            .collect::<BTreeSet<_>>()
    };
    // The key of the table `reseller` is the reseller itself.
    let wrong = "select c.relname || ': ' || i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
        where i.indisunique and c.relnamespace = 'public'::regnamespace and not c.relispartition and c.relname not in ('_sqlx_migrations', 'reseller')
          and (select attname from pg_attribute where attrelid = c.oid and attnum = i.indkey[0]) <> 'reseller_id'";
    // The numbers and UUIDs of accounts are unique over all resellers.
    let over_all = ["account: account_number_uq", "account: account_uuid_uq"];
    assert_eq!(
        names(sqlx::query(wrong).fetch_all(&superuser).await.unwrap()),
        over_all.map(str::to_owned).into(),
        "the other unique keys lead with reseller_id"
    );
    let wrong = "select conrelid::regclass::text || ': ' || conname from pg_constraint k where contype = 'f' and conparentid = 0
        and not exists (select from unnest(conkey, confkey) as pair (ours, theirs)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = pair.ours
          join pg_attribute b on b.attrelid = k.confrelid and b.attnum = pair.theirs
          where a.attname = 'reseller_id' and b.attname in ('reseller_id', 'id') and (b.attname = 'reseller_id' or k.confrelid = 'reseller'::regclass))";
    assert_eq!(
        names(sqlx::query(wrong).fetch_all(&superuser).await.unwrap()),
        BTreeSet::new(),
        "foreign keys carry reseller_id"
    );
    let wrong =
        "select tgrelid::regclass::text || ': ' || tgname from pg_trigger where not tgisinternal";
    assert_eq!(
        names(sqlx::query(wrong).fetch_all(&superuser).await.unwrap()),
        [
            "account_text_changed",
            "account_text_deleted",
            "account_text_made"
        ]
        .map(|name| format!("account: {name}"))
        .into(),
        "no triggers but those that write the text of the same account"
    );
}

#[tokio::test]
async fn a_group_commit_of_one_reseller_does_not_wait_for_the_locks_of_another() {
    let app = App::new().await;
    let (one, other) = (
        app.new_reseller("One").await,
        app.new_reseller("Other").await,
    );
    let (blocked, free) = (one.account("a").await, other.account("b").await);
    // Another transaction keeps a lock on the first reseller's account.
    let superuser = app.database.superuser().await;
    let mut holder = superuser.begin().await.unwrap();
    sqlx::query("select from account where id = $1 for update")
        .bind(i32::try_from(blocked).unwrap())
        .execute(&mut *holder)
        .await
        .unwrap();

    let store = Store::new(app.database.options(), &pool_settings());
    let settings = Settings {
        scope: CommitScope::Reseller,
        ..Settings::default()
    };
    let service = std::sync::Arc::new(Service::start(
        store,
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    let freeze = |token: String, account: i64| {
        let service = std::sync::Arc::clone(&service);
        async move {
            let principal = service.authenticate(&token.into()).await.unwrap();
            let context = steward::service::Context {
                principal,
                dialect: steward::domain::Dialect::V3,
                request_id: "r".to_owned(),
            };
            let command = Command::Place {
                owner: None,
                kind: HoldKind::Freeze,
                fresh: HoldId(Uuid::now_v7()),
                details: HoldPatch::default(),
            };
            service
                .execute(&context, AccountId::new(account).unwrap(), command, None)
                .await
        }
    };
    let waiting = tokio::spawn(freeze(one.token.clone(), blocked));
    // This shows that the two resellers' transactions share no lock.
    freeze(other.token.clone(), free).await.unwrap();
    assert_eq!(other.get(free).await["effective_status"], json!("frozen"));
    assert!(
        !waiting.is_finished(),
        "the first one's waits for its own account"
    );
    holder.rollback().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(one.get(blocked).await["effective_status"], json!("frozen"));
    service.stop().await;
}

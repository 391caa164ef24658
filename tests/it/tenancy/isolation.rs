//! No tenant sees another's data: the row level security of the database.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};
use steward::domain::{AccountId, ResellerId};
use steward::store::{SERVICE_ROLE, Store};

use crate::harness::App;
use crate::harness::app::pool_settings;

const TENANT_TABLES: [&str; 23] = [
    "reseller",
    "reseller_suspension",
    "restoration",
    "api_token",
    "plan",
    "signing_key",
    "account",
    "account_metadata",
    "held",
    "reseller_total",
    "reseller_total_state",
    "counted_block",
    "earlier_hold",
    "earlier_hold_revision",
    "journal",
    "idempotency",
    "webhook_endpoint",
    "webhook_secret",
    "webhook_pending",
    "webhook_attempt",
    "tombstone",
    "bulk_job",
    "bulk_item",
];

#[tokio::test]
async fn without_a_tenant_setting_the_services_role_sees_no_rows() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call_once("freeze", "k", json!({"id": id}))
        .await
        .ok();
    client
        .call("freeze", json!({"id": id, "reason": "x"}))
        .await
        .ok();
    client
        .call("save", json!({"id": id, "metadata": {"plan": "gold"}}))
        .await
        .ok();
    app.service.keep_totals(ResellerId(1)).await.unwrap();
    let superuser = app.database.superuser().await;
    let mut connection = superuser.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("set role {SERVICE_ROLE}")))
        .execute(&mut *connection)
        .await
        .unwrap();
    for (resellers, sees) in [(None, 0), (Some("2"), 0), (Some("1"), 1)] {
        sqlx::raw_sql("begin")
            .execute(&mut *connection)
            .await
            .unwrap();
        if let Some(resellers) = resellers {
            sqlx::query("select set_config('steward.resellers', $1, true)")
                .bind(resellers)
                .execute(&mut *connection)
                .await
                .unwrap();
        }
        for table in TENANT_TABLES.into_iter().filter(|table| {
            ![
                "plan",
                "signing_key",
                "tombstone",
                "bulk_job",
                "bulk_item",
                "reseller_suspension",
                "restoration",
            ]
            .contains(table)
                && !table.starts_with("webhook")
                && !table.starts_with("earlier")
        }) {
            let count: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap();
            assert_eq!(count.min(1), sees, "{table} for {resellers:?}");
        }
        let moved = sqlx::query("update account set version = version + 1")
            .execute(&mut *connection)
            .await
            .unwrap()
            .rows_affected();
        assert_eq!(moved, sees.unsigned_abs());
        sqlx::raw_sql("rollback")
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    sqlx::raw_sql("begin; select set_config('steward.resellers', '1', true)")
        .execute(&mut *connection)
        .await
        .unwrap();
    let stolen = sqlx::query(
        "insert into idempotency select 2, method, path, key, fingerprint, status, content_type, body, created_at, expires_at from idempotency",
    )
    .execute(&mut *connection)
    .await
    .unwrap_err();
    assert!(
        stolen.to_string().contains("row-level security"),
        "{stolen}"
    );
}

#[tokio::test]
async fn an_account_is_found_only_under_its_own_reseller() {
    let app = App::new().await;
    let (one, other) = (app.reseller("One").await, app.reseller("Other").await);
    let client = app.client(&app.token(Some(one), None).await);
    let account = AccountId::new(client.account("a").await).unwrap();
    let store = Store::new(app.database.options(), &pool_settings());
    // A batch can have accounts of both resellers, so its transaction is scoped to both.
    for (reseller, is_found) in [(one, true), (other, false)] {
        let (tx, found) = store
            .look_up(&BTreeSet::from([one, other]), &[(reseller, account)])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            found
                .iter()
                .map(|it| (it.reseller_id, it.id))
                .collect::<Vec<_>>(),
            if is_found {
                vec![(one, account)]
            } else {
                vec![]
            }
        );
    }
}

#[tokio::test]
async fn every_tenant_table_has_row_level_security_and_is_keyed_by_reseller() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    let rows = sqlx::query(
        "select c.relname::text as name, c.relrowsecurity and c.relforcerowsecurity as forced,
           (select count(*) from pg_policy p where p.polrelid = c.oid) as policies,
           (select count(*) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) as triggers
         from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> '_sqlx_migrations'
           and c.relname <> 'account_text'",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    let mut names: Vec<String> = rows.iter().map(|row| row.get("name")).collect();
    names.sort();
    let mut expected = TENANT_TABLES.map(str::to_owned);
    expected.sort();
    assert_eq!(names, expected, "a new table belongs into this test");
    for row in &rows {
        let name: String = row.get("name");
        assert!(row.get::<bool, _>("forced"), "{name}");
        assert!(row.get::<i64, _>("policies") >= 2, "{name}");
        // The texts of accounts, which the service cannot reach, are kept by three triggers.
        let triggers = if name == "account" { 3 } else { 0 };
        assert_eq!(row.get::<i64, _>("triggers"), triggers, "{name}");
    }
    let keys = sqlx::query(
        "select i.indexrelid::regclass::text as name, (select attname from pg_attribute where attrelid = i.indrelid and attnum = i.indkey[0])::text as first
         from pg_index i join pg_class c on c.oid = i.indrelid
         where i.indisunique and c.relnamespace = 'public'::regnamespace and c.relname <> '_sqlx_migrations' and c.relname <> 'reseller'",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    assert!(keys.len() >= 10);
    for key in keys {
        let name: String = key.get("name");
        // The numbers and UUIDs of accounts are unique over all resellers.
        if name != "account_number_uq" && name != "account_uuid_uq" {
            let first: Option<String> = key.get("first");
            assert_eq!(first.as_deref(), Some("reseller_id"), "{name}");
        }
    }
}

#[tokio::test]
async fn the_service_refuses_a_database_without_row_level_security() {
    let app = App::new().await;
    let store = Store::new(app.database.options(), &pool_settings());
    assert_eq!(store.check().await.unwrap(), []);
    let superuser = app.database.superuser().await;
    for (damage, repair, expected) in [
        (
            "alter table account no force row level security",
            "alter table account force row level security",
            "not forced on table account",
        ),
        (
            "alter table held disable row level security",
            "alter table held enable row level security",
            "not forced on table held",
        ),
        (
            "alter table journal owner to steward_service",
            "alter table journal owner to current_user; grant select, insert on journal to steward_service",
            "owns table journal",
        ),
    ] {
        sqlx::raw_sql(damage).execute(&superuser).await.unwrap();
        let findings = store.check().await.unwrap();
        assert!(
            findings
                .iter()
                .any(|finding| finding.problem.contains(expected)),
            "{damage}: {findings:?}"
        );
        sqlx::raw_sql(repair).execute(&superuser).await.unwrap();
        assert_eq!(store.check().await.unwrap(), [], "{repair}");
    }
    sqlx::raw_sql(
        "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)",
    )
    .execute(&superuser)
    .await
    .unwrap();
    assert!(
        store.check().await.unwrap()[0]
            .remedy
            .contains("steward migrate")
    );
}

#[tokio::test]
async fn the_owner_of_the_tables_need_not_be_a_superuser() {
    let database = crate::harness::TestDatabase::blank().await;
    let superuser = database.superuser().await;
    let owner = format!("owner_{}", database.name);
    for statement in [
        format!("create role {owner} login createrole nosuperuser"),
        format!("grant steward_service to {owner}"),
        format!("alter schema public owner to {owner}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&superuser)
            .await
            .unwrap();
    }
    let options = database.options().username(&owner);
    let all = steward::store::MIGRATOR.iter().count();
    assert_eq!(Store::migrate(&options).await, Ok(all));
    assert_eq!(
        Store::migrate(&options).await,
        Ok(0),
        "a second time there is nothing to do"
    );
    let stranger = format!("stranger_{}", database.name);
    sqlx::raw_sql(AssertSqlSafe(format!("create role {stranger} login")))
        .execute(&superuser)
        .await
        .unwrap();
    let findings = Store::new(database.options().username(&stranger), &pool_settings())
        .check()
        .await
        .unwrap();
    assert!(
        findings[0]
            .problem
            .starts_with("cannot work as steward_service")
            && findings[0].remedy.contains("grant"),
        "{findings:?}"
    );
    let findings = Store::new(
        database.options().username("nobody_of_that_name"),
        &pool_settings(),
    )
    .check()
    .await
    .unwrap();
    assert!(
        findings[0].problem.starts_with("cannot connect to "),
        "{findings:?}"
    );
    sqlx::raw_sql(AssertSqlSafe(format!("drop role {stranger}")))
        .execute(&superuser)
        .await
        .unwrap();
    let store = Store::new(options, &pool_settings());
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "drop owned by {owner} cascade; drop role {owner}"
    )))
    .execute(&superuser)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_journal_has_a_partition_for_each_day_ahead() {
    let app = App::new().await;
    let jobs = steward::jobs::Settings {
        keep_attempts: std::time::Duration::from_hours(24),
        keep_journal: None,
        keep_bulk_items: std::time::Duration::from_hours(24 * 30),
    };
    steward::jobs::run_once(&app.service, &jobs).await.unwrap();
    steward::jobs::run_once(&app.service, &jobs).await.unwrap();
    assert_eq!(
        app.database
            .number("select count(*) from pg_inherits where inhparent = 'journal'::regclass")
            .await,
        9
    );
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    assert_eq!(
        app.database
            .number("select count(*) from journal_20260301")
            .await,
        1
    );
    app.clock.advance(chrono::TimeDelta::days(400));
    client.account("b").await;
    assert_eq!(
        app.database
            .number("select count(*) from journal_default")
            .await,
        1,
        "nothing is lost where no partition is ready"
    );
    steward::jobs::run_once(&app.service, &jobs).await.unwrap();
    assert_eq!(app.database.number("select count(*) from journal").await, 2);
}

//! The policies, grants and roles that separate resellers: a start refuses what the migrations did
//! not make.

use std::fs;
use std::path::Path;

use sqlx::AssertSqlSafe;
use steward::store::embedded::{Cluster, Search, Settings};
use steward::store::{Finding, Store};

use crate::harness::TestDatabase;
use crate::harness::app::pool_settings;
use crate::harness::process::folder;

fn recorded() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/checks/access.txt");
    fs::read_to_string(path).unwrap()
}

fn store(database: &TestDatabase) -> Store {
    Store::new(database.options(), &pool_settings())
}

#[tokio::test]
async fn the_recorded_access_is_that_of_a_freshly_migrated_database() {
    let database = TestDatabase::new().await;
    let made = store(&database).describe_access().await.unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/checks/access.txt");
        fs::write(path, &made).unwrap();
        return;
    }
    assert!(
        made == recorded(),
        "src/store/checks/access.txt is not what the migrations make. Write it anew, review the \
         difference, and build again:\n  \
         UPDATE_DOCS=1 cargo test --locked --test it database::access\n{made}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_postgresql_describes_the_access_in_the_same_words() {
    let folder = folder();
    let settings = Settings {
        data_dir: folder.path().to_owned(),
        search: Search::default(),
        fetch: true,
        durable: false,
        max_connections: 20,
    };
    let cluster = Cluster::start(&settings).await.unwrap();
    cluster.ensure_database("steward").await.unwrap();
    let options = cluster.options("steward");
    Store::migrate(&options).await.unwrap();
    let store = Store::new(options, &pool_settings());
    assert_eq!(store.describe_access().await.unwrap(), recorded());
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await;

    // Since PostgreSQL 16, a login that creates a role cannot take it without a grant.
    let superuser = sqlx::PgPool::connect_with(cluster.superuser_options("postgres"))
        .await
        .unwrap();
    for statement in [
        "drop database steward with (force)",
        "drop role steward_service",
        "create role creator login createrole",
        "create database created owner creator",
    ] {
        sqlx::raw_sql(statement).execute(&superuser).await.unwrap();
    }
    superuser.close().await;
    let options = cluster.options("created").username("creator");
    Store::migrate(&options).await.unwrap();
    let store = Store::new(options, &pool_settings());
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await;
    cluster.stop().await;
}

/// Does something to a database as superuser, checks it, follows the remedies, and checks again.
async fn damaged(database: &TestDatabase, damage: &str) -> Vec<Finding> {
    let superuser = database.superuser().await;
    let run = async |statement: &str| {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&superuser)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    };
    run(damage).await;
    let store = store(database);
    let findings = store.check().await.unwrap();
    for finding in &findings {
        let mut between = finding.remedy.split('`').skip(1).step_by(2);
        let first = between.next().unwrap_or_else(|| panic!("{finding:?}"));
        run(first).await;
        for statement in between {
            run(statement).await;
        }
    }
    assert_eq!(store.check().await.unwrap(), [], "{damage}: {findings:?}");
    store.close().await;
    superuser.close().await;
    findings
}

#[tokio::test]
async fn a_start_refuses_every_policy_that_the_migrations_did_not_make() {
    let database = TestDatabase::new().await;
    let tables: Vec<String> = recorded()
        .lines()
        .filter(|line| line.ends_with(" | row level security | forced"))
        .map(|line| line.split(" | ").nth(1).unwrap().to_owned())
        .collect();
    assert!(tables.len() > 10, "{tables:?}");
    for table in &tables {
        for (damage, problem) in [
            (
                format!("create policy everything on {table} using (true)"),
                format!("table {table} has an additional row level security policy everything"),
            ),
            (
                format!("create policy fence on {table} as restrictive using (false)"),
                format!("table {table} has an additional row level security policy fence"),
            ),
            (
                format!("drop policy of_resellers on {table}"),
                format!("policy of_resellers of table {table} is missing"),
            ),
            (
                format!("alter policy of_platform on {table} using (true)"),
                format!("policy of_platform of table {table} is not the one"),
            ),
            (
                format!("alter policy of_resellers on {table} with check (true)"),
                format!("policy of_resellers of table {table} is not the one"),
            ),
            (
                format!("alter policy of_resellers on {table} to steward_service"),
                format!("policy of_resellers of table {table} is not the one"),
            ),
            (
                format!("alter table {table} no force row level security"),
                format!("row level security is not forced on table {table}"),
            ),
            (
                format!("alter table {table} disable row level security"),
                format!("row level security is not forced on table {table}"),
            ),
        ] {
            let findings = damaged(&database, &damage).await;
            assert!(
                findings.len() == 1 && findings[0].problem.contains(&problem),
                "{damage}: {findings:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_start_refuses_every_right_that_the_migrations_did_not_grant() {
    let database = TestDatabase::new().await;
    for (damage, problem) in [
        (
            "grant truncate on account to steward_service",
            "table account: the grant to steward_service is",
        ),
        (
            "grant select on account to public",
            "table account has a grant to public",
        ),
        (
            "grant update (uid) on tombstone to steward_service",
            "table tombstone has a grant on column uid to steward_service",
        ),
        (
            "revoke insert on journal from steward_service",
            "table journal: the grant to steward_service is select",
        ),
        (
            "grant select on journal_default to steward_service",
            "can reach table journal_default",
        ),
        (
            "create view accounts as select * from account; grant select on accounts to public",
            "can reach view accounts",
        ),
        (
            "create table note (reseller_id bigint); grant select on note to steward_service",
            "can reach table note",
        ),
        (
            "create schema other; grant usage on schema other to public; create table other.note (id bigint); grant select on other.note to public",
            "can reach table other.note",
        ),
        (
            "create function peek() returns bigint language sql security definer as 'select count(*) from account'",
            "can reach function peek()",
        ),
        (
            "grant all on function drop_journal(date) to public",
            "function drop_journal(before_day date) has a grant to public",
        ),
    ] {
        let findings = damaged(&database, damage).await;
        assert!(
            findings.len() == 1 && findings[0].problem.contains(problem),
            "{damage}: {findings:?}"
        );
    }
    // What the service cannot reach does not matter.
    let superuser = database.superuser().await;
    for harmless in [
        "create table own_notes (id bigint)",
        "create view own_view as select 1 as one",
        // As monitoring and managed servers make them: the role cannot use the schema.
        "create schema monitoring;
         create function monitoring.count() returns bigint language sql security definer as 'select count(*) from public.account';
         create table monitoring.note (id bigint); grant select on monitoring.note to public",
        // Only a trigger can call it.
        "create function note_of_a_table() returns event_trigger language plpgsql security definer as 'begin end'",
    ] {
        sqlx::raw_sql(harmless).execute(&superuser).await.unwrap();
    }
    assert_eq!(store(&database).check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_refuses_a_service_role_with_more_rights_of_its_own() {
    // Roles belong to the whole server, so this test has a server of its own.
    let folder = folder();
    let settings = Settings {
        data_dir: folder.path().to_owned(),
        search: Search::usual(None),
        fetch: true,
        durable: false,
        max_connections: 20,
    };
    let cluster = Cluster::start(&settings).await.unwrap();
    cluster.ensure_database("steward").await.unwrap();
    let options = cluster.options("steward");
    Store::migrate(&options).await.unwrap();
    let store = Store::new(options, &pool_settings());
    let superuser = sqlx::PgPool::connect_with(cluster.superuser_options("steward"))
        .await
        .unwrap();
    for (damage, repair, problem) in [
        (
            "alter role steward_service bypassrls",
            "alter role steward_service nobypassrls",
            "is exempt from row level security: it has bypassrls",
        ),
        (
            "alter role steward_service superuser",
            "alter role steward_service nosuperuser",
            "is exempt from row level security: it has superuser",
        ),
        (
            "alter role steward_service createrole",
            "alter role steward_service nocreaterole",
            "has the attribute createrole",
        ),
        (
            "grant pg_read_all_data to steward_service",
            "revoke pg_read_all_data from steward_service",
            "is a member of pg_read_all_data",
        ),
    ] {
        sqlx::raw_sql(damage).execute(&superuser).await.unwrap();
        let findings = store.check().await.unwrap();
        assert!(
            findings.len() == 1
                && findings[0].problem.contains(problem)
                && findings[0].remedy == format!("`{repair}`"),
            "{findings:?}"
        );
        sqlx::raw_sql(repair).execute(&superuser).await.unwrap();
        assert_eq!(store.check().await.unwrap(), []);
    }
    superuser.close().await;
    store.close().await;
    cluster.stop().await;
}

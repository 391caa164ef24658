//! Builds and schemas of different versions: a rollback of the program on a migrated database.

use std::path::Path;
use std::process::{Command, Output};

use sqlx::AssertSqlSafe;
use steward::store::{MIGRATOR, Store};

use crate::harness::TestDatabase;
use crate::harness::app::pool_settings;
use crate::harness::process::{Served, folder, steward};

/// A migration that a later build might bring, expanding the schema: a column, a table, a grant.
const LATER: &str = "
    alter table account add column nickname text;
    create table badge (reseller_id bigint not null, id uuid not null,
      constraint badge_pkey primary key (reseller_id, id));
    alter table badge enable row level security;
    alter table badge force row level security;
    create policy of_resellers on badge using (reseller_id = any (array(
      select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)));
    create policy of_platform on badge using ((select current_setting('steward.scope', true)) = 'platform');
    grant select, insert on badge to steward_service;
    grant delete on bulk_job to steward_service;
    insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
      select max(version) + 5, 'later', now(), true, 'x', 0 from _sqlx_migrations";

fn newest_known() -> i64 {
    MIGRATOR.iter().map(|it| it.version).max().unwrap()
}

async fn run(database: &TestDatabase, statement: &str) {
    let owner = sqlx::PgPool::connect_with(database.options())
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&owner)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    owner.close().await;
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn command(data_dir: &Path, database: &TestDatabase) -> Command {
    let mut command = steward(data_dir);
    command.env("DATABASE_URL", database.url());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_every_command_works_on_the_newer_schema() {
    let database = TestDatabase::new().await;
    run(&database, LATER).await;
    let folder = folder();
    let call = |arguments: &[&str]| {
        let output = command(folder.path(), &database)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    assert!(call(&["migrate"]).contains("the database is up to date"));
    call(&["reseller", "create", "--name", "Acme"]);
    let issued = call(&["token", "create", "--reseller", "Acme", "--json"]);
    let issued: serde_json::Value = serde_json::from_str(&issued).unwrap();
    let id = issued["id"].to_string();
    call(&[
        "account",
        "create",
        "--reseller",
        "Acme",
        "--email",
        "a@example.com",
    ]);
    call(&["token", "revoke", &id]);
    for arguments in [&["--no-migrate"][..], &[]] {
        let served = Served::start_with(folder.path(), |command| {
            command.env("DATABASE_URL", database.url()).args(arguments);
        });
        let lines = served.log();
        let lines = lines.lines();
        let told = lines.filter(|line| line.contains("a newer build has migrated the schema"));
        assert_eq!(told.count(), 1, "{}", served.log());
        assert!(served.stop().success());
    }
    let doctor = command(folder.path(), &database)
        .arg("doctor")
        .output()
        .unwrap();
    let doctor = text(&doctor);
    assert!(
        doctor.contains("ok     schema         a newer build has migrated the schema")
            && doctor.contains("ok     policies"),
        "{doctor}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_older_than_the_minimum_of_the_schema_is_refused_with_both_numbers() {
    let database = TestDatabase::new().await;
    let (known, minimum) = (newest_known(), newest_known() + 5);
    run(&database, LATER).await;
    run(
        &database,
        &format!(
            "create or replace function schema_minimum() returns bigint language sql immutable as 'select {minimum}::bigint'"
        ),
    )
    .await;
    let folder = folder();
    for arguments in [
        &["migrate"][..],
        &["token", "list"],
        &["serve", "--no-migrate"],
        &["serve"],
        &["doctor"],
    ] {
        let output = command(folder.path(), &database)
            .args(arguments)
            .output()
            .unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains(&format!("needs a build that knows migration {minimum}"))
                && text.contains(&format!("this build knows {known}")),
            "{arguments:?}: {text}"
        );
    }
}

#[tokio::test]
async fn on_a_newer_schema_what_a_later_migration_cannot_have_made_is_refused() {
    let database = TestDatabase::new().await;
    run(&database, LATER).await;
    let store = Store::new(database.options(), &pool_settings());
    assert_eq!(store.check().await.unwrap(), []);
    for (damage, repair, problem) in [
        (
            "create policy everything on badge using (true)",
            "drop policy everything on badge",
            "can reach table badge",
        ),
        (
            "alter table badge no force row level security",
            "alter table badge force row level security",
            "can reach table badge",
        ),
        (
            "drop policy of_platform on badge",
            "create policy of_platform on badge using ((select current_setting('steward.scope', true)) = 'platform')",
            "can reach table badge",
        ),
        (
            "grant truncate on bulk_job to steward_service",
            "revoke truncate on bulk_job from steward_service",
            "table bulk_job: the grant to steward_service is",
        ),
        (
            "create policy everything on account using (true)",
            "drop policy everything on account",
            "additional row level security policy everything",
        ),
    ] {
        run(&database, damage).await;
        let findings = store.check().await.unwrap();
        assert!(
            findings.len() == 1 && findings[0].problem.contains(problem),
            "{damage}: {findings:?}"
        );
        run(&database, repair).await;
        assert_eq!(store.check().await.unwrap(), [], "{repair}");
    }
}

#[tokio::test]
async fn a_schema_with_a_gap_is_refused() {
    let database = TestDatabase::new().await;
    run(&database, LATER).await;
    run(&database, "delete from _sqlx_migrations where version = 7").await;
    let problem = Store::migrate(&database.options()).await.unwrap_err();
    assert!(problem.contains("lacks some of the first"), "{problem}");
    let store = Store::new(database.options(), &pool_settings());
    let findings = store.check().await.unwrap();
    assert!(
        findings[0]
            .remedy
            .contains("an earlier migration is missing"),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_migrated_database_has_no_notices_in_its_log() {
    let folder = folder();
    for _ in ["new", "migrated"] {
        let served = Served::start(folder.path());
        assert!(!served.log().contains("already exists"), "{}", served.log());
        assert!(served.stop().success());
    }
}

#[tokio::test]
async fn migrations_that_change_rows_see_all_rows_although_the_owner_is_no_superuser() {
    // Migration 7 gives accounts that expire later a time of announcement.
    let database = TestDatabase::blank().await;
    let owner = sqlx::PgPool::connect_with(database.options())
        .await
        .unwrap();
    let mut connection = owner.acquire().await.unwrap();
    MIGRATOR.run_to(6, &mut *connection).await.unwrap();
    sqlx::raw_sql(
        "set steward.scope = 'platform';
         insert into reseller (name, name_key, created_at, updated_at) values ('Acme', 'acme', now(), now());
         insert into account (reseller_id, id, uid, status, status_set_at, expires_at, version, created_at, updated_at)
           values (1, 1, gen_random_uuid(), 'active', now(), now() + interval '1 year', 1, now(), now())",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    owner.close().await;
    Store::migrate(&database.options()).await.unwrap();
    let announced = "select count(*) from account where announce_at is not null";
    assert_eq!(database.number(announced).await, 1);
}

#[tokio::test]
async fn a_login_that_may_not_create_the_role_gets_the_statements_for_the_administrator() {
    let database = TestDatabase::blank().await;
    let superuser = database.superuser().await;
    let login = format!("plain_{}", database.name);
    let make = format!("create role {login} login nosuperuser nocreaterole");
    sqlx::raw_sql(AssertSqlSafe(make))
        .execute(&superuser)
        .await
        .unwrap();
    let options = database.options().username(&login);
    // The tests' server has the role: only the grant is missing.
    let problem = Store::migrate(&options).await.unwrap_err();
    let grant = format!("grant steward_service to \"{login}\"");
    assert!(
        problem.contains("may not") && problem.contains(&grant),
        "{problem}"
    );
    sqlx::raw_sql(AssertSqlSafe(grant))
        .execute(&superuser)
        .await
        .unwrap();
    let problem = Store::migrate(&options).await.unwrap_err();
    let own = format!("alter database \"{}\" owner to \"{login}\"", database.name);
    assert!(problem.contains(&own), "{problem}");
    sqlx::raw_sql(AssertSqlSafe(own))
        .execute(&superuser)
        .await
        .unwrap();
    Store::migrate(&options).await.unwrap();
    let store = Store::new(options, &pool_settings());
    assert_eq!(store.check().await.unwrap(), []);
    store.close().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "alter database {} owner to current_user; drop owned by {login} cascade; drop role {login}",
        database.name
    )))
    .execute(&superuser)
    .await
    .unwrap();
}

/// Migration 12 keeps the past of suspensions; the present ones are known to it from the start.
#[tokio::test]
async fn the_suspensions_of_before_the_upgrade_are_known() {
    let database = TestDatabase::blank().await;
    let superuser = database.superuser().await;
    MIGRATOR.run_to(11, &superuser).await.unwrap();
    sqlx::raw_sql(
        "insert into reseller (name, name_key, suspended_at, created_at, updated_at)
         values ('A', 'a', '2026-02-01T00:00Z', now(), now()), ('B', 'b', null, now(), now())",
    )
    .execute(&superuser)
    .await
    .unwrap();
    MIGRATOR.run(&superuser).await.unwrap();
    let known = "select count(*) from reseller_suspension where reseller_id = 1
        and suspended_at = '2026-02-01T00:00Z' and lifted_at is null and suspended_by is null";
    assert_eq!(database.number(known).await, 1);
    let all = "select count(*) from reseller_suspension";
    assert_eq!(database.number(all).await, 1);
}

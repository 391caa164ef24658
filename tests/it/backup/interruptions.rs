//! A restore that is killed in the middle leaves nothing, and can be run again.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{back_up, on, reseller, restore, succeeds, tables, unpack};
use crate::harness::TestDatabase;
use crate::harness::process::{eventually, folder, run, steward, succeed, until};

/// Starts a restore from standard input, and writes the beginning of the backup to it, up to the
/// rows of the journal's table. The restore then waits for the rest.
fn begin(mut command: Command, file: &Path) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(file).unwrap();
    let beginning = &bytes[..bytes.len() - 60];
    child.stdin.as_mut().unwrap().write_all(beginning).unwrap();
    child
}

/// Enough rows that the beginning of the file has more than the header.
async fn fill(database: &TestDatabase) {
    let pool = database.superuser().await;
    sqlx::raw_sql(
        "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at)
         select 1, n, gen_random_uuid(), 'active', 'epoch', 1, 'epoch', 'epoch' from generate_series(1, 20000) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_an_empty_database() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    fill(&database).await;
    let file = back_up(&database, folder.path());
    let target = TestDatabase::blank().await;
    let mut child = begin(on(&target, folder.path(), &["restore", "-"]), &file);
    // It has made tables and copies into one of them.
    let copying = "select count(*) from pg_stat_activity
        where application_name = 'steward-restore' and query ilike 'copy%' and datname = current_database()";
    let any = "select count(*) from pg_stat_activity
        where application_name = 'steward-restore' and datname = current_database()";
    until("the copy", async || {
        (target.number(copying).await > 0).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    until("the end of its session", async || {
        (target.number(any).await == 0).then_some(())
    })
    .await;
    assert_eq!(tables(&target).await, 0);
    let whole = file.to_str().unwrap();
    succeeds(on(&target, folder.path(), &["restore", whole]));
    assert_eq!(target.number("select count(*) from account").await, 20_000);
    // The statistics of the planner are there.
    let estimate = "select reltuples::bigint from pg_class where relname = 'account'";
    assert_eq!(target.number(estimate).await, 20_000);
    let other = restore(&file, folder.path()).await;
    assert!(unpack(&back_up(&other, folder.path())).contains("\"table\":\"account\""));
}

#[test]
fn a_killed_restore_of_the_embedded_database_can_be_run_again() {
    let folder = folder();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    succeed(&old, &["migrate"]);
    succeed(&old, &["reseller", "create", "--name", "Acme"]);
    let file = folder.path().join("steward.gz");
    let name = file.to_str().unwrap();
    succeed(&old, &["backup", name]);
    let mut command = steward(&new);
    command.args(["restore", "-"]);
    let mut child = begin(command, &file);
    eventually("the new cluster", || {
        new.join("postgres/data/postmaster.pid")
            .exists()
            .then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // What is left is no database.
    let listed = run(&new, ["reseller", "list"]);
    assert!(
        String::from_utf8_lossy(&listed.stderr).contains("there is no database"),
        "{listed:?}"
    );
    succeed(&new, &["restore", name]);
    assert!(succeed(&new, &["reseller", "list"]).contains("Acme"));
}

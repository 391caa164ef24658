//! What a backup has: every row of every table, as they were at one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};

use super::{back_up, on, reseller, restore, serve, succeeds, unpack};
use crate::harness::TestDatabase;
use crate::harness::process::{Served, eventually, folder, succeed};

/// A checksum of the rows of each table. Transaction ids are another cluster's, and `restoration` is
/// what a restore itself adds.
async fn checksums(database: &TestDatabase) -> BTreeMap<String, Option<String>> {
    let pool = database.superuser().await;
    let names = sqlx::query(
        "select c.relname::text, array(select a.attname::text from pg_attribute a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'xid'
           order by a.attname)
         from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
           and not c.relispartition and c.relname not in ('_sqlx_migrations', 'restoration')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut checksums = BTreeMap::new();
    for row in names {
        let (name, columns): (String, Vec<String>) = (row.get(0), row.get(1));
        let columns: Vec<_> = columns.iter().map(|it| format!("\"{it}\"")).collect();
        let query = format!(
            "select md5(string_agg(t::text, E'\\n' order by t::text)) from (select {} from {name}) t",
            columns.join(", ")
        );
        let checksum = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&pool)
            .await
            .unwrap();
        checksums.insert(name, checksum);
    }
    pool.close().await;
    checksums
}

/// The last number that each sequence gave. That of the journal begins an epoch with a restore.
async fn sequences(database: &TestDatabase) -> BTreeMap<String, Option<i64>> {
    let pool = database.superuser().await;
    let rows = sqlx::query_as(
        "select sequencename::text, last_value from pg_sequences
         where schemaname = 'public' and sequencename <> 'journal_id_seq'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    pool.close().await;
    rows.into_iter().collect()
}

async fn run(database: &TestDatabase, statements: &str) {
    let pool = database.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

/// Creates accounts, numbered from 1 on.
fn accounts(database: &TestDatabase, folder: &std::path::Path, count: &str) {
    let mut create = on(
        database,
        folder,
        &["account", "create", "--reseller", "Acme"],
    );
    create.args(["--email", "a@example.com", "--count", count]);
    succeeds(create);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_every_table_comes_back_as_it_was() {
    let (database, folder) = (TestDatabase::new().await, folder());
    let token = reseller(&database, folder.path(), "Acme");
    let served = serve(&database, folder.path());
    accounts(&database, folder.path(), "4");
    let reason = "tab\t, line\nend, \\. and \\N, 'quote', ünïcode 🙂";
    served.post(
        "suspend",
        &json!({"token": token, "id": 1, "reason": reason}),
    );
    served.post(
        "freeze",
        &json!({"token": token, "id": 2, "frozen_details": {"payment_url": "https://example.com"}}),
    );
    served.post("unfreeze", &json!({"token": token, "id": 2}));
    served.post("delete", &json!({"token": token, "id": 3}));
    assert!(served.stop().success());
    for verb in ["suspend", "unsuspend"] {
        succeeds(on(&database, folder.path(), &["reseller", verb, "Acme"]));
    }
    // Values that copy must escape, an empty text beside a missing one, and a day without partition.
    run(
        &database,
        r"update account set profile = json_build_object('name', E'\\.', 'title', '', 'company', null, 'region', E'a\tb\nc\\\\N\r'), holds = '[]' where id = 4;
          insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect,
            request_id, before, after)
          select 1, 4, '2020-01-01', 9, 'suspend', 'applied', '{account.suspended}', 'reseller', E'\\.\n', 'v3', '', '{}',
            '{}';
          select prepare_journal('2021-05-01', 2);
          insert into journal (reseller_id, account_id, at, action, outcome, events, authority, actor, dialect, request_id,
            before, after)
          select 1, 4, '2021-05-02', 'suspend', 'unchanged', '{}', 'system', 'x', 'v3', '', '{}', '{}'",
    )
    .await;
    let file = back_up(&database, folder.path());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let restored = restore(&file, folder.path()).await;

    let (before, after) = (checksums(&database).await, checksums(&restored).await);
    assert_eq!(before, after);
    // A restore leaves out what may have been given after the backup.
    let (given, later) = (sequences(&database).await, sequences(&restored).await);
    assert!(given["reseller_suspension_id_seq"].is_some(), "{given:?}");
    let is_later = |(name, last): (&String, &Option<i64>)| last.is_none() || later[name] > *last;
    assert!(given.iter().all(is_later), "{given:?} {later:?}");
    assert!(
        before.values().filter(|it| it.is_some()).count() >= 6,
        "{before:?}"
    );
    // A table of a later migration that is not granted to the service would be missing here.
    let lines = unpack(&file);
    for name in before.keys() {
        // The texts for searches are made anew from the accounts.
        if name == "account_text" {
            continue;
        }
        assert!(lines.contains(&format!("{{\"table\":\"{name}\"")), "{name}");
    }
    let partition = "select count(*) from journal_20210502";
    assert_eq!(restored.number(partition).await, 1);
    assert_eq!(
        restored
            .number("select count(*) from journal_default")
            .await,
        database
            .number("select count(*) from journal_default")
            .await
    );
    // The service and the checks accept the restored database.
    let doctor = on(&restored, folder.path(), &["doctor"]).output().unwrap();
    let doctor = super::text(&doctor);
    for check in ["ok     schema", "ok     login", "ok     policies"] {
        assert!(doctor.contains(check), "{doctor}");
    }
    let served = serve(&restored, folder.path());
    let (status, account) = served.post("get", &json!({"token": token, "id": 1}));
    assert_eq!(status, 200);
    assert!(account.contains("🙂"), "{account}");
    assert!(served.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_while_the_service_writes_is_of_one_instant() {
    const WRITERS: usize = 4;
    let (database, folder) = (TestDatabase::new().await, folder());
    let token = reseller(&database, folder.path(), "Acme");
    let served = serve(&database, folder.path());
    accounts(&database, folder.path(), &WRITERS.to_string());
    let (is_over, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let file = std::thread::scope(|scope| {
        for writer in 1..=WRITERS {
            let (served, token, is_over, changes) = (&served, &token, &is_over, &changes);
            scope.spawn(move || {
                for call in ["suspend", "unsuspend"].iter().cycle() {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let (status, body) = served.post(call, &json!({"token": token, "id": writer}));
                    assert_eq!(status, 200, "{body}");
                    changes.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        eventually("changes", || {
            (changes.load(Ordering::SeqCst) > 50).then_some(())
        });
        let before = changes.load(Ordering::SeqCst);
        let file = back_up(&database, folder.path());
        assert!(
            changes.load(Ordering::SeqCst) > before,
            "nothing was written meanwhile"
        );
        is_over.store(true, Ordering::SeqCst);
        file
    });
    assert!(served.stop().success());
    let restored = restore(&file, folder.path()).await;

    // An account's version counts its changes: each in the journal, and each in a hold or its end.
    let differing = "select count(*) from account a where a.version <> (
        select count(*) from journal j where j.reseller_id = a.reseller_id and j.account_id = a.id and j.outcome = 'applied')";
    assert_eq!(restored.number(differing).await, 0);
    let suspended = "select count(*) from account a where (a.version % 2 = 0) <> exists (
        select from held h where h.account_id = a.id)";
    assert_eq!(restored.number(suspended).await, 0);
    // The journal is the beginning of the original's.
    let ids = |pool: sqlx::PgPool| async move {
        let ids: Vec<i64> = sqlx::query_scalar("select id from journal order by id")
            .fetch_all(&pool)
            .await
            .unwrap();
        pool.close().await;
        ids
    };
    let (all, first) = (
        ids(database.superuser().await).await,
        ids(restored.superuser().await).await,
    );
    assert!(first.len() > 50 && first.len() < all.len());
    let beginning: BTreeSet<_> = all.iter().take(first.len()).collect();
    assert_eq!(first.iter().collect::<BTreeSet<_>>(), beginning);
}

#[test]
fn an_embedded_database_is_restored_into_a_new_folder_only() {
    let folder = folder();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let file = folder.path().join("steward.gz");
    let name = file.to_str().unwrap();
    let served = Served::start(&old);
    succeed(&old, &["reseller", "create", "--name", "Acme"]);
    // While the service runs.
    succeed(&old, &["backup", name]);
    assert!(served.stop().success());
    // And while it does not.
    succeed(&old, &["backup", "--force", name]);
    assert!(succeed(&new, &["restore", "--check", name]).contains("complete: 1 reseller, "));
    assert!(!new.exists());
    assert!(succeed(&new, &["restore", name]).contains("restored 1 reseller, 0 accounts"));
    assert!(succeed(&new, &["reseller", "list"]).contains("Acme"));
    assert!(succeed(&new, &["doctor"]).contains("ok     policies"));
    let again = super::steward(&new)
        .args(["restore", name])
        .output()
        .unwrap();
    let again = super::text(&again);
    assert!(
        again.contains(new.to_str().unwrap())
            && again.contains("database.data_dir")
            && again.contains("new folder"),
        "{again}"
    );
    let served = Served::start(&new);
    assert!(served.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_through_pipes() {
    let (database, folder) = (TestDatabase::new().await, folder());
    reseller(&database, folder.path(), "Acme");
    let made = on(&database, folder.path(), &["backup", "-"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = folder.path().join("piped.gz");
    std::fs::write(&file, &made.stdout).unwrap();
    let restored = TestDatabase::blank().await;
    let mut command = on(&restored, folder.path(), &["restore", "-"]);
    command.stdin(std::fs::File::open(&file).unwrap());
    assert!(succeeds(command).contains("restored 1 reseller"));
}

//! Imports that are interrupted and run again.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::{Imported, Place};
use crate::harness::process::until;

/// Lets the insertion of an account fail or wait, by its address.
const FAULTS: &str = "
  create schema faults;
  create table faults.account (email text, what text);
  create function faults.act() returns trigger language plpgsql security definer as $$
  begin
    if exists (select from faults.account f where f.email = new.profile ->> 'email' and f.what = 'die') then
      perform pg_terminate_backend(pg_backend_pid());
    end if;
    if exists (select from faults.account f where f.email = new.profile ->> 'email' and f.what = 'wait') then
      perform pg_advisory_xact_lock_shared(4242);
    end if;
    return new;
  end $$;
  create trigger act before insert on account for each row execute function faults.act();";

/// The number of sessions that wait for the lock.
const WAITING: &str =
    "select count(*) from pg_locks where locktype = 'advisory' and objid = 4242 and not granted";

async fn run(superuser: &PgPool, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into()))
        .execute(superuser)
        .await
        .unwrap();
}

/// Starts an import of seven rows, two at a time, that waits in its second batch.
async fn waiting(place: &Place, superuser: &PgPool) -> (String, Child) {
    run(superuser, FAULTS).await;
    run(
        superuser,
        "insert into faults.account values ('u4@example.com', 'wait')",
    )
    .await;
    run(superuser, "select pg_advisory_lock(4242)").await;
    let file = place.file("in.csv", super::addresses(7));
    let child = place
        .command(&[&file, "--batch", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let database = &place.app.database;
    until("the import waits", async || {
        (database.number(WAITING).await == 1).then_some(())
    })
    .await;
    (file, child)
}

/// A pool with one connection, which keeps the lock.
async fn one_connection(place: &Place) -> PgPool {
    sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect_with(place.app.database.superuser_options())
        .await
        .unwrap()
}

#[tokio::test]
async fn ctrl_c_finishes_the_batch_and_says_which_lines_are_in() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new().await;
        let superuser = one_connection(&place).await;
        let (file, child) = waiting(&place, &superuser).await;
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        run(&superuser, "select pg_advisory_unlock(4242)").await;
        let stopped = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
        Imported::from(stopped.await.unwrap()).fails(&[
            "interrupted. Lines 2 to 5 are done: 4 rows, 4 created. No later row is in",
            "Run the same command again: rows that are in count as already there",
        ]);
        assert_eq!(place.accounts().await, 4);
        place
            .import(&[&file])
            .ok("7 rows, 3 created, 4 already there");
    }
}

#[tokio::test]
async fn a_killed_import_is_run_again() {
    let place = Place::new().await;
    let superuser = one_connection(&place).await;
    let (file, mut child) = waiting(&place, &superuser).await;
    child.kill().unwrap();
    child.wait().unwrap();
    run(&superuser, "select pg_advisory_unlock(4242)").await;
    let database = &place.app.database;
    until("its transaction is gone", async || {
        let open = "select count(*) from pg_stat_activity
                    where application_name = 'steward' and xact_start is not null
                      and query like '%insert into account%'";
        (database.number(open).await == 0).then_some(())
    })
    .await;
    assert_eq!(place.accounts().await, 2);
    place
        .import(&[&file])
        .ok("7 rows, 5 created, 2 already there");
}

/// A row of a random file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Valid,
    /// Its status is wrong.
    Invalid,
    /// It has the address of an earlier row.
    Repeats(usize),
    /// An account has its address, with another name.
    Exists,
}

#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
#[derive(Debug, Clone)]
struct RandomRow {
    kind: Kind,
    has_number: bool,
    has_uid: bool,
    has_hold: bool,
    metadata: String,
    /// Whether the database fails at it once.
    is_fatal: bool,
}

impl RandomRow {
    fn email(position: usize) -> String {
        format!("e{position}@example.com")
    }

    fn text(&self, position: usize, name: &str) -> String {
        let number = if self.has_number {
            (100 + position).to_string()
        } else {
            String::new()
        };
        let uid = if self.has_uid {
            format!("00000000-0000-4000-8000-{position:012}")
        } else {
            String::new()
        };
        let (email, status) = match self.kind {
            Kind::Repeats(earlier) => (Self::email(earlier), "active"),
            Kind::Invalid => (Self::email(position), "on"),
            Kind::Valid | Kind::Exists => (Self::email(position), "inactive"),
        };
        let hold = if self.has_hold {
            "unpaid,2025-01-01"
        } else {
            ","
        };
        let metadata = &self.metadata;
        // A name may have a line end in quotation marks, so lines and rows differ.
        format!("{number},{uid},{email},{name},{status},2019-01-01,{metadata},{hold}\n")
    }
}

fn rows() -> impl Strategy<Value = Vec<RandomRow>> {
    let kind = prop_oneof![
        6 => Just(Kind::Valid), 1 => Just(Kind::Invalid), 2 => Just(Kind::Exists),
        1 => (0..8_usize).prop_map(Kind::Repeats),
    ];
    let row = (
        kind,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        "[a-c]{0,2}",
        0..8_u8,
    );
    proptest::collection::vec(row, 6..30).prop_map(|rows| {
        let mut all: Vec<RandomRow> = Vec::new();
        for (mut kind, has_number, has_uid, has_hold, metadata, dice) in rows {
            if let Kind::Repeats(earlier) = kind {
                let named = all.get(earlier).map(|row| row.kind);
                if !matches!(named, Some(Kind::Valid | Kind::Exists)) {
                    kind = Kind::Valid;
                }
            }
            all.push(RandomRow {
                kind,
                has_number,
                has_uid,
                has_hold,
                metadata,
                is_fatal: dice == 0 && kind == Kind::Valid,
            });
        }
        all
    })
}

const HEADER: &str =
    "number,uid,email,name,status,created_at,metadata.k,freeze_reason,freeze_since\n";

/// Everything about the accounts that the file determines.
async fn accounts(superuser: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws('|', a.profile ->> 'email', a.profile ->> 'name', a.status, a.created_at, a.version,
           case when a.id between 100 and 200 then a.id end,
           case when a.uid::text like '00000000-%' then a.uid end, a.profile ->> 'metadata',
           (select string_agg(concat(m.key, m.value), ',') from account_metadata m
            where m.account_id = a.id),
           (select string_agg(concat(h ->> 'kind', h ->> 'authority', h ->> 'reason_code', h ->> 'opened_at'), ',')
            from json_array_elements(a.holds) as h),
           (select string_agg(concat(h.kind, h.authority), ',') from held h where h.account_id = a.id),
           (select string_agg(concat(j.action, j.events), ',' order by j.id) from journal j
            where j.account_id = a.id))
         from account a order by a.email_key",
    )
    .fetch_all(superuser)
    .await
    .unwrap()
}

/// The file, the accounts that exist before, and the line of each row.
fn files(rows: &[RandomRow]) -> (String, String, Vec<u64>) {
    let (mut file, mut existing) = (HEADER.to_owned(), HEADER.to_owned());
    let (mut lines, mut line) = (Vec::new(), 2);
    for (position, row) in rows.iter().enumerate() {
        let name = if position % 5 == 0 {
            "\"a,\"\"b\"\"\""
        } else {
            "n"
        };
        file.push_str(&row.text(position, name));
        if row.kind == Kind::Exists {
            existing.push_str(&row.text(position, "old"));
        }
        lines.push(line);
        line += 1;
        if position % 4 == 0 {
            file.push('\n');
            line += 1;
        }
    }
    (file, existing, lines)
}

/// Imports the file and runs the import again while it fails. Answers the accounts, and the counts
/// of the runs added up.
async fn imported(
    rows: &[RandomRow],
    mode: &str,
    batch: usize,
    is_interrupted: bool,
) -> (Vec<String>, Vec<(&'static str, u64)>) {
    let place = Place::new().await;
    let superuser = place.app.database.superuser().await;
    let (file, existing, lines) = files(rows);
    let existing = place.file("existing.csv", existing);
    place.import(&[&existing]).ok("rows");
    run(&superuser, FAULTS).await;
    let mut left = 0;
    for (position, row) in rows.iter().enumerate() {
        if row.is_fatal && is_interrupted {
            left += 1;
            let email = RandomRow::email(position);
            run(
                &superuser,
                format!("insert into faults.account values ('{email}', 'die')"),
            )
            .await;
        }
    }
    let file = place.file("in.csv", file);
    let report = place.path("report.jsonl");
    let arguments = [
        file.as_str(),
        "--on-existing",
        mode,
        "--skip-invalid",
        "--json",
        "--batch",
        &batch.to_string(),
        "--report",
        report.to_str().unwrap(),
    ];
    let names = ["created", "updated", "already_there", "skipped", "refused"];
    let mut sums = names.map(|name| (name, 0)).to_vec();
    let mut before = place.accounts().await;
    loop {
        let done = place.import(&arguments);
        let summary = done.json();
        let count = |name: &str| summary[name].as_u64().unwrap();
        let rows_done: u64 = names.iter().map(|name| count(name)).sum();
        assert_eq!(rows_done, count("rows"), "{summary}");
        let after = place.accounts().await;
        assert_eq!(u64::try_from(after - before).unwrap(), count("created"));
        before = after;
        sums[0].1 += count("created");
        sums[1].1 += count("updated");
        if done.code == Some(0) {
            assert_eq!(count("rows"), u64::try_from(rows.len()).unwrap());
            // What earlier runs imported is there now, and nothing else is.
            let new = count("created") + count("updated");
            let already = sums[0].1 + sums[1].1 - new;
            assert_eq!(count("already_there"), already, "{summary}");
            sums[3].1 = count("skipped");
            sums[4].1 = count("refused");
            break;
        }
        done.fails(&["database unavailable", "Run the same command again"]);
        assert!(left > 0, "it failed without a fault");
        left -= 1;
        run(
            &superuser,
            "delete from faults.account where ctid = (select ctid from faults.account
             order by substr(email, 2, strpos(email, '@') - 2)::integer limit 1)",
        )
        .await;
    }
    assert_eq!(left, 0, "every fault stops the import once");
    let refused: BTreeSet<u64> = std::fs::read_to_string(&report)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["line"]
                .as_u64()
                .unwrap()
        })
        .collect();
    let is_refused = |row: &RandomRow| match row.kind {
        Kind::Invalid | Kind::Repeats(_) => true,
        Kind::Exists => mode == "fail",
        Kind::Valid => false,
    };
    let expected: BTreeSet<u64> = rows
        .iter()
        .zip(lines)
        .filter(|(row, _)| is_refused(row))
        .map(|(_, line)| line)
        .collect();
    assert_eq!(refused, expected);
    (accounts(&superuser).await, sums)
}

#[test]
fn an_interrupted_import_ends_as_an_uninterrupted_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 6,
        max_shrink_iters: 8,
        failure_persistence: None,
        ..Config::default()
    });
    let mode = prop_oneof![Just("fail"), Just("skip"), Just("update")];
    runner
        .run(&(rows(), mode, 1..7_usize), |(rows, mode, batch)| {
            let whole = runtime.block_on(imported(&rows, mode, batch, false));
            let resumed = runtime.block_on(imported(&rows, mode, batch, true));
            prop_assert_eq!(whole, resumed);
            Ok(())
        })
        .unwrap();
}

//! The plans of the product's own statements: each reads its tables through an index.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use steward::store::{KEYED, SEARCHING};

use crate::harness::App;

/// The only checked query that contains all of these texts.
fn statement(with: &[&str]) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let texts = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let queries = texts.map(|text| {
        serde_json::from_str::<Value>(&text).unwrap()["query"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let found: Vec<String> = queries
        .filter(|query| with.iter().all(|part| query.contains(part)))
        .collect();
    assert_eq!(found.len(), 1, "{with:?}: {found:#?}");
    found.into_iter().next().unwrap()
}

/// How the plan reads each table: the name of an index, or the kind of scan.
fn scans(plan: &Value, into: &mut BTreeMap<String, Vec<String>>) {
    if let Some(table) = plan["Relation Name"].as_str() {
        // The index of a bitmap scan is in the node below it.
        let below = plan["Plans"][0]["Index Name"]
            .as_str()
            .filter(|_| plan["Node Type"] == "Bitmap Heap Scan");
        let how = plan["Index Name"]
            .as_str()
            .or(below)
            .or(plan["Node Type"].as_str())
            .unwrap();
        // A table that is only written is not read.
        if plan["Node Type"] != "ModifyTable" {
            into.entry(
                table
                    .trim_end_matches(|c: char| c.is_ascii_digit() || c == '_')
                    .to_owned(),
            )
            .or_default()
            .push(how.to_owned());
        }
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scans(child, into);
    }
}

/// One case: the planner settings, the statement, its arguments, and the indexes that it may use.
struct Case {
    planning: &'static str,
    with: &'static [&'static str],
    arguments: String,
    table: &'static str,
    indexes: &'static [&'static str],
}

impl Case {
    async fn check(&self, connection: &mut PgConnection) {
        let mut tx = connection.begin().await.unwrap();
        let admit = "set role steward_service; select set_config('steward.resellers', '1', true)";
        let script = format!(
            "{}; {admit}; prepare it as {}",
            self.planning,
            statement(self.with)
        );
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut *tx)
            .await
            .unwrap();
        let explain = AssertSqlSafe(format!(
            "explain (format json) execute it ({})",
            self.arguments
        ));
        let row = sqlx::raw_sql(explain).fetch_one(&mut *tx).await.unwrap();
        let plan: Value = row.get(0);
        sqlx::raw_sql("deallocate it")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.rollback().await.unwrap();
        let mut found = BTreeMap::new();
        scans(&plan[0]["Plan"], &mut found);
        let used = found
            .get(self.table)
            .unwrap_or_else(|| panic!("{:?} does not read {}: {found:?}", self.with, self.table));
        let fits = |index: &String| self.indexes.iter().any(|wanted| index.ends_with(wanted));
        assert!(
            used.iter().all(fits),
            "{:?} with {}: {found:?}\n{plan:#}",
            self.with,
            self.arguments
        );
    }
}

const BY_KEY: &[&str] = &["account_id_ix"];
const LIST: &[&str] = &[
    "select a.reseller_id, a.id, a.uid",
    "from account a where a.reseller_id = $1",
];

/// Look-ups and changes by key.
fn keyed() -> Vec<Case> {
    let look_up = |table, indexes| Case {
        planning: KEYED,
        with: &["from account a\n          where a.id = any($1)"],
        arguments: "'{7}', null".to_owned(),
        table,
        indexes,
    };
    let nothing = |arrays| vec!["'{}'"; arrays].join(", ");
    let (changes, and_more) = (
        format!("{}, 0", nothing(45)),
        format!("{}, 0, {}", nothing(45), nothing(15)),
    );
    vec![
        look_up("account", BY_KEY),
        look_up("hold", &["hold_open_uq", "hold_pkey"]),
        look_up("reseller", &["reseller_suspended_ix"]),
        Case {
            planning: KEYED,
            with: &["with written as"],
            arguments: changes,
            table: "account",
            indexes: BY_KEY,
        },
        Case {
            planning: KEYED,
            with: &["with seen as"],
            arguments: and_more,
            table: "account",
            indexes: BY_KEY,
        },
        Case {
            planning: KEYED,
            with: &["from idempotency i\n         join unnest"],
            arguments: "'{1}', '{POST}', '{/v3/accounts}', '{k}', now(), null".to_owned(),
            table: "idempotency",
            indexes: &["idempotency_pkey"],
        },
    ]
}

/// Lists and scans.
fn searching() -> Vec<Case> {
    let list = |with, state: &str, window: &str, table, indexes| {
        let arguments = format!("1, now(), {state}, null, {window}, null, 1000, 50");
        Case {
            planning: SEARCHING,
            with,
            arguments,
            table,
            indexes,
        }
    };
    let held: &[&str] = &[
        "select a.reseller_id, a.id, a.uid",
        "where h.reseller_id = $1 and h.account_id >= $8",
    ];
    let other = |with, arguments: &str, table, indexes| Case {
        planning: SEARCHING,
        with,
        arguments: arguments.to_owned(),
        table,
        indexes,
    };
    vec![
        // This reseller owns a fifth of all accounts, so the index over all accounts is as good.
        list(
            LIST,
            "null",
            "null, null",
            "account",
            &["account_pkey", "account_id_ix"],
        ),
        list(
            LIST,
            "'active'",
            "null, null",
            "account",
            &["account_pkey", "account_id_ix"],
        ),
        list(
            LIST,
            "'deleted'",
            "null, null",
            "account",
            &["account_deleted_ix", "account_pkey"],
        ),
        list(
            LIST,
            "'expired'",
            "null, null",
            "account",
            &[
                "account_expiry_of_reseller_ix",
                "account_pkey",
                "account_id_ix",
            ],
        ),
        list(
            LIST,
            "null",
            "now() + interval '1 hour', now()",
            "account",
            &["account_expiry_of_reseller_ix"],
        ),
        list(held, "'frozen'", "null, null", "hold", &["hold_open_uq"]),
        other(
            &["where email_key = $1 and deleted_at is null"],
            "'user7@example7.test', 2",
            "account",
            &["account_email_ix"],
        ),
        other(
            &["from journal where reseller_id = $1 and id > $2 and outcome"],
            "1, 100, 50",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        other(
            &["where announce_at is not null"],
            "'2026-01-01', 256",
            "account",
            &["account_announce_ix", "account_warn_ix"],
        ),
        other(
            &["from account where reseller_id = $1 and purge_due_at <= $2 order by"],
            "1, now(), 256",
            "account",
            &["account_purge_ix"],
        ),
        other(
            &["a.expires_at <= $3::timestamptz - make_interval"],
            "1, now(), now(), 30, 0, 256",
            "account",
            &["account_expiry_of_reseller_ix", "account_deleted_ix"],
        ),
        other(
            &["from journal where reseller_id = $1 and account_id = $2 and id < $3"],
            "1, 10, 1000, 50",
            "journal",
            &["_pkey"],
        ),
    ]
}

#[tokio::test]
async fn every_query_uses_an_index() {
    let app = App::new().await;
    app.service.prepare_journal(1).await.unwrap();
    let superuser = app.database.superuser().await;
    let mut connection = superuser.acquire().await.unwrap();
    // With the statistics of empty tables the planner must choose the indexes too.
    for case in keyed() {
        case.check(&mut connection).await;
    }
    let day = app.clock.now().to_rfc3339();
    let load = format!(
        "insert into reseller (id, name, name_key, created_at, updated_at) select n, 'r' || n, 'r' || n, '{day}', '{day}' from generate_series(1, 200) n;
         insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, email, email_key)
           select case when n % 5 = 0 then 1 else n % 200 + 1 end, n, gen_random_uuid(), 'active', '{day}', now() + (n * 7919 % 31536000 - 2592000) * interval '1 second',
             '{day}', 1, '{day}', '{day}', 'user' || n || '@example7.test', 'user' || n || '@example7.test' from generate_series(1, 20000) n;
         insert into hold (reseller_id, account_id, id, kind, authority, revision, opened_at, opened_by, closed_at, closed_by, close_reason)
           select reseller_id, id, gen_random_uuid(), 'freeze', 'reseller', 1, '{day}', 'test', '{day}', 'test', 'lifted' from account;
         insert into hold (reseller_id, account_id, id, kind, authority, revision, opened_at, opened_by)
           select reseller_id, id, gen_random_uuid(), 'freeze', 'reseller', 1, '{day}', 'test' from account where id % 50 = 0;
         insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect, request_id, before, after)
           select reseller_id, id, '{day}', 1, 'create', 'applied', '{{}}', 'reseller', 'test', 'cli', 'r', '{{}}', '{{}}' from account;
         analyze"
    );
    sqlx::raw_sql(AssertSqlSafe(load))
        .execute(&mut *connection)
        .await
        .unwrap();
    for case in keyed().into_iter().chain(searching()) {
        case.check(&mut connection).await;
    }
    let scan = "explain (format json) select reseller_id, id from account where expires_at >= now() order by expires_at, id limit 500";
    let plan: Value = sqlx::raw_sql(scan)
        .fetch_one(&mut *connection)
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        plan[0]["Plan"]["Plans"][0]["Index Name"], "account_expiry_ix",
        "{plan:#}"
    );
}

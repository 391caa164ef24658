//! The plans of the product's own statements: each reads its tables through an index.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, Execute as _, PgConnection, Postgres, QueryBuilder, Row as _,
};
use steward::domain::{AccountFilter, Block, ComingKind, Metadata, ResellerId, StateFilter, Time};
use steward::store::{
    ComingFilter, KEYED, SEARCHING, coming_statements, list_statement, snapshot_statement,
};

use crate::harness::App;

/// The only checked query that contains all of these texts. Line breaks count as spaces.
pub fn statement(with: &[&str]) -> String {
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
        .filter(|query| {
            let words: Vec<_> = query.split_whitespace().collect();
            with.iter().all(|part| words.join(" ").contains(part))
        })
        .collect();
    assert_eq!(found.len(), 1, "{with:?}: {found:#?}");
    found.into_iter().next().unwrap()
}

/// How each table is read: the index, or the kind of scan.
pub fn scans(plan: &Value, into: &mut BTreeMap<String, Vec<String>>) {
    if let Some(table) = plan["Relation Name"].as_str() {
        // A bitmap's index stands below it.
        let below = plan["Plans"][0]["Index Name"]
            .as_str()
            .filter(|_| plan["Node Type"] == "Bitmap Heap Scan");
        let how = plan["Index Name"]
            .as_str()
            .or(below)
            .or(plan["Node Type"].as_str())
            .unwrap();
        // What is written is not read.
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

/// A statement with the settings and arguments it runs with, and the indexes that it may read.
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
        let script = format!(
            "{}; {TENANCY}; prepare it as {}",
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
        let name = format!("{:?} with {}", self.with, self.arguments);
        assert_reads(&plan, &name, self.table, self.indexes);
    }
}

/// Asserts that a plan reads a table through these indexes only.
fn assert_reads(plan: &Value, name: &str, table: &str, indexes: &[&str]) {
    let mut found = BTreeMap::new();
    scans(&plan[0]["Plan"], &mut found);
    let used = found
        .get(table)
        .unwrap_or_else(|| panic!("{name} does not read {table}: {found:?}"));
    let fits = |index: &String| indexes.iter().any(|wanted| index.ends_with(wanted));
    assert!(used.iter().all(fits), "{name}: {found:?}\n{plan:#}");
}

/// Lists of a reseller's accounts, and the indexes that may answer each.
async fn check_lists(connection: &mut PgConnection, now: Time) {
    let by_state = |state| AccountFilter {
        state: Some(state),
        ..AccountFilter::default()
    };
    let next_hour = AccountFilter {
        expires_before: Some(now + chrono::TimeDelta::hours(1)),
        expires_after: Some(now),
        ..AccountFilter::default()
    };
    // A reseller with many accounts finds enough of its own in the order of all accounts.
    let all: &[&str] = &["account_pkey", "account_number_uq"];
    let by_metadata = AccountFilter {
        metadata: Metadata([("plan".to_owned(), "gold".to_owned())].into()),
        ..AccountFilter::default()
    };
    let lists: [(AccountFilter, &str, &[&str]); 7] = [
        (
            by_metadata,
            "account_metadata",
            &["account_metadata_value_ix"],
        ),
        (AccountFilter::default(), "account", all),
        (by_state(StateFilter::Active), "account", all),
        (
            by_state(StateFilter::BlockedBy(Block::Deleted)),
            "account",
            &["account_deleted_ix", "account_pkey"],
        ),
        (
            by_state(StateFilter::BlockedBy(Block::Expired)),
            "account",
            &[
                "account_expiry_of_reseller_ix",
                "account_pkey",
                "account_number_uq",
            ],
        ),
        (next_hour, "account", &["account_expiry_of_reseller_ix"]),
        (
            by_state(StateFilter::BlockedBy(Block::Frozen)),
            "held",
            &["held_pkey"],
        ),
    ];
    for (filter, table, indexes) in lists {
        let mut statement = list_statement(Some(ResellerId(1)), &filter, &[], 1_000, 50, now);
        let plan = plan_of(connection, &mut statement).await;
        // The keys of the page are found in a subquery. Then the account of each is measured.
        let parts = plan[0]["Plan"]["Plans"].as_array().unwrap();
        let (keys, sizes): (Vec<_>, Vec<_>) = parts
            .iter()
            .partition(|part| part["Parent Relationship"] == "Subquery");
        assert_eq!((keys.len(), sizes.len()), (1, 1), "{plan:#}");
        let below = |part: &Value| serde_json::json!([{ "Plan": part }]);
        let name = format!("{filter:?}");
        assert_reads(&below(keys[0]), &name, table, indexes);
        assert_reads(
            &below(sizes[0]),
            &name,
            "account",
            &["account_pkey", "account_number_uq"],
        );
    }
}

/// The list of what time will do, of one reseller and of all, and the pages of a snapshot.
async fn check_by_time(connection: &mut PgConnection, now: Time) {
    // The few rows of one reseller may be found among those of all.
    let (begins, ends): (&[&str], &[&str]) = (
        &["held_begins_of_reseller_ix", "held_begins_ix"],
        &["held_ends_of_reseller_ix", "held_ends_ix"],
    );
    let expiries = &[
        "account_expiry_of_reseller_ix",
        "account_exempt_of_reseller_ix",
        "account_exempt_ix",
    ];
    let purges = &["account_purge_ix", "account_purge_due_ix"];
    let of_reseller = Some(ResellerId(1));
    let lists: [(ComingKind, Option<ResellerId>, &str, &[&str]); 8] = [
        (ComingKind::HoldStarts, of_reseller, "held", begins),
        (ComingKind::HoldStarts, None, "held", begins),
        (ComingKind::HoldEnds, of_reseller, "held", ends),
        (ComingKind::HoldEnds, None, "held", ends),
        (ComingKind::Expires, of_reseller, "account", expiries),
        (
            ComingKind::Expires,
            None,
            "account",
            &["account_expiry_ix", "account_exempt_ix"],
        ),
        (ComingKind::Purge, of_reseller, "account", purges),
        (ComingKind::Purge, None, "account", purges),
    ];
    for (kind, reseller, table, indexes) in lists {
        let filter = ComingFilter {
            reseller,
            kinds: vec![kind],
            until: None,
        };
        for mut statement in coming_statements(&filter, (now, 0), 11) {
            let plan = plan_of(connection, &mut statement).await;
            assert_reads(&plan, &format!("{filter:?}"), table, indexes);
        }
    }
    let mut statement = snapshot_statement(ResellerId(1), 1_000, 100);
    let plan = plan_of(connection, &mut statement).await;
    let by_number = &["account_pkey", "account_number_uq"];
    assert_reads(&plan, "a snapshot", "account", by_number);
}

/// The plan of a statement with the settings of the general pool.
async fn plan_of(connection: &mut PgConnection, statement: &mut QueryBuilder<Postgres>) -> Value {
    let mut query = statement.build();
    let arguments = query.take_arguments().unwrap().unwrap();
    let explain = format!("explain (format json) {}", query.sql().as_str());
    let mut tx = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("{SEARCHING}; {TENANCY}")))
        .execute(&mut *tx)
        .await
        .unwrap();
    let row = sqlx::query_with(AssertSqlSafe(explain), arguments)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    row.get(0)
}

const BY_KEY: &[&str] = &["account_number_uq"];
/// Sets the role and the tenancy that the service's statements run with.
const TENANCY: &str = "set role steward_service; select set_config('steward.resellers', '1', true)";

/// Look-ups and changes by key.
fn keyed() -> Vec<Case> {
    let look_up = |table, indexes| Case {
        planning: KEYED,
        with: &["where a.id = any($1) and"],
        arguments: "'{7}', null, true".to_owned(),
        table,
        indexes,
    };
    let nothing = |arrays| vec!["'{}'"; arrays].join(", ");
    let changes = format!("{}, 0", nothing(6));
    let and_more = format!("{changes}, {}", nothing(3));
    let one = format!("1, 7, 1, {}, '{{}}'", vec!["null"; 33].join(", "));
    vec![
        look_up("account", BY_KEY),
        look_up("reseller", &["reseller_suspended_ix"]),
        Case {
            planning: KEYED,
            with: &["with written as", "unnest($1::account_change[])"],
            arguments: changes.clone(),
            table: "account",
            indexes: BY_KEY,
        },
        Case {
            planning: KEYED,
            with: &["with written as", "unnest($1::account_change[])"],
            arguments: changes,
            table: "held",
            indexes: &["held_pkey", "held_kind_ix"],
        },
        Case {
            planning: KEYED,
            with: &["with written as", "set version = $4"],
            arguments: one.clone(),
            table: "account",
            indexes: BY_KEY,
        },
        Case {
            planning: KEYED,
            with: &["with written as", "set version = $4"],
            arguments: one,
            table: "held",
            indexes: &["held_pkey", "held_kind_ix"],
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
            with: &["from idempotency i join unnest"],
            arguments: "'{1}', '{POST}', '{/v3/accounts}', '{k}', now(), null".to_owned(),
            table: "idempotency",
            indexes: &["idempotency_pkey"],
        },
    ]
}

/// Lists and scans of the general pool.
fn searching() -> Vec<Case> {
    let other = |with, arguments: &str, table, indexes| Case {
        planning: SEARCHING,
        with,
        arguments: arguments.to_owned(),
        table,
        indexes,
    };
    vec![
        other(
            &["where email_key = wanted.key and deleted_at is null"],
            "array['user7@example7.test'], 2",
            "account",
            &["account_email_ix"],
        ),
        other(
            &[
                "from journal where reseller_id = $1 and id > $2 and outcome",
                "up_to_here",
            ],
            "1, 100, 50, 1048576",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        other(
            &["from (select at, events from journal where reseller_id = $1 and id > $2"],
            "1, 100, '{account.updated}'",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        // A text is looked for from the id on that these two find.
        other(
            &[
                "select id from journal where reseller_id = $1 and outcome = 'applied' order by id desc",
            ],
            "1, 99",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        other(
            &["select id from webhook_attempt where reseller_id = $1 order by id desc"],
            "1, 99",
            "webhook_attempt",
            &["webhook_attempt_pkey"],
        ),
        other(
            &[
                "(select from journal where reseller_id = $1",
                "$4::text is null",
            ],
            "1, 19000, 9223372036854775807, 'x', 100001",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        other(
            &[
                "from journal where reseller_id = $1 and outcome",
                "limit $5 offset $6",
            ],
            "1, 19000, 9223372036854775807, 'x', 100, 0, 1048576",
            "journal",
            &["_reseller_id_id_idx"],
        ),
        other(
            &["(select from webhook_attempt where reseller_id = $1"],
            "1, null, null, null, 'f0000000-0000-4000-8000-000000000000', 'x', 100001",
            "webhook_attempt",
            &["webhook_attempt_pkey"],
        ),
        other(
            &[
                "from webhook_attempt where reseller_id = $1",
                "limit $7 offset $8",
            ],
            "1, null, null, null, 'f0000000-0000-4000-8000-000000000000', 'x', 100, 0",
            "webhook_attempt",
            &["webhook_attempt_pkey"],
        ),
        other(
            &["where announce_at is not null"],
            "'2026-01-01', 256, '{}'",
            "account",
            &["account_announce_ix", "account_warn_ix"],
        ),
        other(
            &["where announce_at is not null"],
            "'2026-01-01', 256, '{}'",
            "held",
            &["held_begins_ix", "held_ends_ix"],
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
            "1, 10, 1000, 50, 1048576",
            "journal",
            &["_pkey"],
        ),
        other(
            &["jsonb_object_keys(later.before) as fact"],
            "'{1}', '{10}', '2026-01-01'",
            "journal",
            &["_pkey"],
        ),
        other(
            &["j.before -> w.fact"],
            "'{1}', '{10}', '{100}', '{status}'",
            "journal",
            &["_pkey"],
        ),
        other(
            &["and j.at <= $3", "as next on true"],
            "'{1}', '{10}', '2026-01-01'",
            "journal",
            &["_pkey"],
        ),
    ]
}

#[tokio::test]
async fn every_question_is_answered_from_an_index() {
    let app = App::new().await;
    app.service.prepare_journal(1).await.unwrap();
    let superuser = app.database.superuser().await;
    let mut connection = superuser.acquire().await.unwrap();
    // What is known of empty tables must not lead astray.
    for question in keyed() {
        question.check(&mut connection).await;
    }
    let day = app.clock.now().to_rfc3339();
    let load = format!(
        "insert into reseller (id, name, name_key, created_at, updated_at) select n, 'r' || n, 'r' || n, '{day}', '{day}' from generate_series(1, 200) n;
         insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, profile, email_key)
           select case when n % 5 = 0 then 1 else n % 200 + 1 end, n, gen_random_uuid(), 'active', '{day}', now() + (n * 7919 % 31536000 - 2592000) * interval '1 second',
             '{day}', 1, '{day}', '{day}', json_build_object('email', 'user' || n || '@example7.test'), 'user' || n || '@example7.test' from generate_series(1, 20000) n;
         insert into held (reseller_id, account_id, kind, authority, owner, level, has_begun)
           select reseller_id, id, 'freeze', 'reseller', '', 'block', true from account where id % 50 = 0;
         insert into held (reseller_id, account_id, kind, authority, owner, level, starts_at, ends_at, has_begun)
           select reseller_id, id, 'suspend', 'reseller', '', 'warn', now() + id * interval '1 minute', now() + id * interval '2 minutes', id % 100 = 1
           from account where id % 50 = 1;
         insert into account_metadata (reseller_id, account_id, key, value)
           select reseller_id, id, 'plan', case when id % 7 = 0 then 'gold' else 'silver' end from account;
         insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect, request_id, before, after)
           select reseller_id, id, '{day}', 1, 'create', 'applied', '{{}}', 'reseller', 'test', 'cli', 'r', '{{}}', '{{}}' from account;
         insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, duration_ms)
           select reseller_id, gen_random_uuid(), gen_random_uuid(), id, 'account.updated', id, '{day}', 1, '{day}', true, 1 from account;
         analyze"
    );
    sqlx::raw_sql(AssertSqlSafe(load))
        .execute(&mut *connection)
        .await
        .unwrap();
    for question in keyed().into_iter().chain(searching()) {
        question.check(&mut connection).await;
    }
    let now = sqlx::query_scalar("select now()")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    check_lists(&mut connection, now).await;
    check_by_time(&mut connection, now).await;
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

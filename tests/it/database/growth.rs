//! What a creation costs does not depend on how many accounts there are: not before the tables were
//! ever analyzed, and not with plans that were made while they were empty.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use steward::domain::{Patch, ResellerId};
use steward::service::ResellerPatch;
use steward::store::{KEYED, Store, Tenancy};

use super::query_plans::statement;
use crate::harness::App;
use crate::harness::app::pool_settings;
use crate::harness::v3::V3;
use crate::lifecycle::pass_days;

/// How many accounts the large table has.
const MANY: i64 = 20_000;
/// How many blocks a statement may touch that finds or writes one or two accounts by key. Reading
/// all of the accounts, or all entries of one index, is many more.
const BLOCKS: i64 = 60;

/// A statement of a batch that creates or changes accounts.
struct Case {
    with: &'static [&'static str],
    arguments: String,
    /// The indexes that it finds accounts by, with the condition. None if it only inserts.
    found_by: Vec<(&'static str, &'static str)>,
}

fn cases() -> Vec<Case> {
    let nulls = |count| vec!["'{null}'"; count].join(", ");
    let case = |with, arguments: String, found_by| Case {
        with,
        arguments,
        found_by: vec![found_by],
    };
    let by_id = ("account_number_uq", "id = ");
    vec![
        case(
            &["where a.email_key = w.email_key and a.deleted_at is null"],
            "'{1,1}', '{user7@example.com,nobody@example.com}'".to_owned(),
            ("account_email_ix", "email_key = "),
        ),
        case(
            &["select r.counted_accounts + ("],
            "1".to_owned(),
            ("account_miscounted_ix", "reseller_id = "),
        ),
        case(
            &["where a.id = any($1) and"],
            "'{7}', null, true".to_owned(),
            by_id,
        ),
        case(
            &[
                "from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id) cross join lateral ( select from account a",
            ],
            "'{1}', '{7}'".to_owned(),
            by_id,
        ),
        Case {
            with: &["where uid = w.uid and reseller_id is not distinct"],
            arguments: "1, '{7}', '{00000000-0000-4000-8000-000000000001}'".to_owned(),
            found_by: vec![by_id, ("account_uuid_uq", "uid = ")],
        },
        case(
            &["update account a set email_key = n.email_key"],
            format!("'{{1}}', '{{7}}', {}, '{{\"{{}}\"}}'", nulls(2)),
            by_id,
        ),
        case(
            &["update account a set exempt_until = n.exempt_until"],
            format!("'{{1}}', '{{7}}', {}", nulls(4)),
            by_id,
        ),
        case(
            &["with written as", "unnest($1::account_change[])"],
            format!("{}, 0", ["'{}'"; 6].join(", ")),
            by_id,
        ),
        Case {
            with: &["insert into account (reseller_id, id, uid"],
            arguments: format!(
                "'{{1}}', '{{30000}}', '{{00000000-0000-4000-8000-000000000001}}', '{{active}}',
                 '{{2026-03-01}}', {}, '{{1}}', '{{2026-03-01}}', '{{2026-03-01}}',
                 '{{a@b.example}}', '{{null}}', '{{\"{{}}\"}}', '{{null}}'",
                nulls(5),
            ),
            found_by: Vec::new(),
        },
    ]
}

/// Prepares the statements on a connection that has the settings of the keyed pool.
async fn prepare(connection: &mut PgConnection) {
    let settings = format!(
        "{KEYED}; set role steward_service; select set_config('steward.resellers', '1', false)"
    );
    sqlx::raw_sql(AssertSqlSafe(settings))
        .execute(&mut *connection)
        .await
        .unwrap();
    for (number, case) in cases().iter().enumerate() {
        let prepare = format!("prepare s{number} as {}", statement(case.with));
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

/// How the plan reads the accounts: index and condition of each scan.
fn scans(plan: &Value, into: &mut Vec<(String, String)>) {
    let reads_accounts = plan["Relation Name"] == "account" && plan["Node Type"] != "ModifyTable";
    if reads_accounts {
        let word = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
        into.push((word("Index Name"), word("Index Cond")));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scans(child, into);
    }
}

/// Executes the statements, and undoes what they wrote. Returns the scans of each and its blocks.
async fn execute(connection: &mut PgConnection) -> Vec<(Vec<(String, String)>, i64)> {
    let mut found = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let explain = format!(
            "begin; explain (analyze, buffers, format json) execute s{number}({}); rollback",
            case.arguments
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let plan: Value = rows[0].get(0);
        let plan = &plan[0]["Plan"];
        let blocks = ["Shared Hit Blocks", "Shared Read Blocks"]
            .iter()
            .map(|name| plan[*name].as_i64().unwrap())
            .sum();
        let mut read = Vec::new();
        scans(plan, &mut read);
        found.push((read, blocks));
    }
    found
}

#[tokio::test]
async fn statements_by_key_cost_the_same_with_no_accounts_and_with_many() {
    let app = App::new().await;
    app.reseller("Acme").await;
    app.service.prepare_journal(1).await.unwrap();
    let superuser = app.database.superuser().await;
    sqlx::raw_sql("alter table account set (autovacuum_enabled = off)")
        .execute(&superuser)
        .await
        .unwrap();
    let pools = [(); 2].map(|()| app.database.superuser());
    let [early, late] = pools.map(|pool| async { pool.await.acquire().await.unwrap() });
    let (mut early, mut late) = (early.await, late.await);
    prepare(&mut early).await;
    let empty = execute(&mut early).await;
    let load = format!(
        "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at, profile, email_key, counted)
           select 1, n, gen_random_uuid(), 'active', '2026-03-01', 1, '2026-03-01', '2026-03-01', json_build_object('email', 'user' || n || '@example.com'), 'user' || n || '@example.com', true
           from generate_series(1, {MANY}) n;
         update reseller set counted_accounts = {MANY} where id = 1"
    );
    sqlx::raw_sql(AssertSqlSafe(load))
        .execute(&superuser)
        .await
        .unwrap();
    prepare(&mut late).await;
    let plans = [execute(&mut early).await, execute(&mut late).await];
    for (number, case) in cases().iter().enumerate() {
        let name = case.with;
        for found in [&empty, &plans[0], &plans[1]] {
            let (read, blocks) = &found[number];
            assert_eq!(read, &empty[number].0, "{name:?}: another plan");
            assert_eq!(read.is_empty(), case.found_by.is_empty(), "{name:?}");
            let fits = |scan: &(String, String)| {
                let mut known = case.found_by.iter();
                known.any(|(index, condition)| scan.0 == *index && scan.1.contains(condition))
            };
            assert!(read.iter().all(fits), "{name:?}: {read:?}");
            assert!(*blocks <= BLOCKS, "{name:?}: {blocks} blocks, {read:?}");
        }
    }
}

/// What may happen to the accounts of a reseller.
#[derive(Debug, Clone)]
enum Step {
    Create,
    Delete(usize),
    Restore(usize),
    Settle,
    /// A build from before the count was kept creates an account, or purges one.
    OldCreate,
    OldPurge(usize),
}

async fn kept_count(app: &App) -> i64 {
    let store = Store::new(app.database.options(), &pool_settings());
    let tenancy = Tenancy::of(ResellerId(1));
    let mut tx = store.begin_reading(&tenancy).await.unwrap();
    let count = tx.count_live_accounts(ResellerId(1)).await.unwrap();
    tx.commit().await.unwrap();
    count
}

const LIVE: &str = "select count(*) from account where deleted_at is null";
const MISCOUNTED: &str = "select count(*) from account where counted <> (deleted_at is null)";

#[tokio::test]
async fn the_kept_number_of_accounts_is_right_whatever_happens() {
    let app = App::new().await;
    let limit = ResellerPatch {
        account_limit: Patch::Set(40),
        ..ResellerPatch::default()
    };
    let reseller = app.reseller_with("Acme", limit).await;
    let client = app.client(&app.token(Some(reseller), None).await);
    let superuser = app.database.superuser().await;
    let step = prop_oneof![
        3 => Just(Step::Create),
        3 => (0..40_usize).prop_map(Step::Delete),
        2 => (0..40_usize).prop_map(Step::Restore),
        1 => Just(Step::Settle),
        1 => Just(Step::OldCreate),
        1 => (0..40_usize).prop_map(Step::OldPurge),
    ];
    let steps = proptest::collection::vec(step, 60..61)
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current();
    let mut ids = vec![client.account("first").await];
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Create => ids.push(client.account(&format!("a{number}")).await),
            Step::Delete(which) => {
                let id = ids[which % ids.len()];
                client.call("delete", json!({ "id": id })).await;
            }
            Step::Restore(which) => {
                let id = ids[which % ids.len()];
                client.call("restore", json!({ "id": id })).await;
            }
            Step::Settle => {
                app.service.settle_account_counts().await.unwrap();
                assert_eq!(app.database.number(MISCOUNTED).await, 0);
            }
            Step::OldCreate => {
                let insert = "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at)
                    select 1, nextval('account_id_seq'), gen_random_uuid(), 'active', '2026-03-01', 1, '2026-03-01', '2026-03-01'";
                sqlx::raw_sql(insert).execute(&superuser).await.unwrap();
            }
            Step::OldPurge(which) => {
                let id = ids[which % ids.len()];
                let delete = format!("delete from account where id = {id}");
                sqlx::raw_sql(AssertSqlSafe(delete))
                    .execute(&superuser)
                    .await
                    .unwrap();
                app.service.recount_accounts().await.unwrap();
            }
        }
        assert_eq!(
            kept_count(&app).await,
            app.database.number(LIVE).await,
            "{number}: {step:?}"
        );
    }
    // A purge of live and of deleted accounts, counted and miscounted.
    let operator = V3::of(&app.operator().await);
    operator
        .call("PATCH", "/v3/resellers/1", &json!({"purges": true}))
        .await
        .ok();
    for id in client_ids(&app).await.into_iter().take(4) {
        client
            .call(
                "expiry_date",
                json!({"id": id, "expiry_date": "2026-03-02T00:00:00Z"}),
            )
            .await
            .ok();
    }
    let before = app.database.number("select count(*) from account").await;
    pass_days(&app, 60).await;
    let after = app.database.number("select count(*) from account").await;
    assert!(after < before, "something was purged");
    assert_eq!(kept_count(&app).await, app.database.number(LIVE).await);
    app.service.settle_account_counts().await.unwrap();
    app.service.recount_accounts().await.unwrap();
    assert_eq!(kept_count(&app).await, app.database.number(LIVE).await);

    // The limit is exactly reached.
    for number in kept_count(&app).await..40 {
        client.account(&format!("b{number}")).await;
    }
    let members = json!({"name": "c", "title": "c", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": "c@example.com"});
    client
        .call("save", members)
        .await
        .is_error(402, "Tariff limit reached");
}

async fn client_ids(app: &App) -> Vec<i64> {
    let superuser = app.database.superuser().await;
    sqlx::query_scalar::<_, i32>(
        "select id from account where deleted_at is null and email_key is not null order by id",
    )
    .fetch_all(&superuser)
    .await
    .unwrap()
    .into_iter()
    .map(i64::from)
    .collect()
}

//! Text search of accounts by the index: it finds what reading all accounts finds.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Execute as _, PgConnection, PgPool, Row as _};
use steward::domain::{AccountFilter, ResellerId, Search, SearchField, Start};
use steward::store::{SEARCHING, Store, Tenancy, among_statement};

use crate::harness::app::{pool_settings, start_of_time};
use crate::harness::{App, TestDatabase};

/// So many accounts that a search for a rare text goes to the index.
const ACCOUNTS: i32 = 9_000;
/// The resellers of these accounts: most belong to the first one.
const RESELLERS: i64 = 3;

/// The text that the lists of `admin` look at, and that of the search of `v3`.
const LISTED: &str = "lower(concat_ws(' ', profile ->> 'name', profile ->> 'title', profile ->> 'email', profile ->> 'company'))";
const SEARCHED: &str =
    "lower(concat_ws(' ', profile ->> 'email', profile ->> 'company', profile ->> 'company_id',
    profile ->> 'account_alias'))";

/// Characters that mean something to SQL, to a text search query or to the rules for case, and a
/// few letters, so that random texts have parts in common.
const CHARACTERS: &str = "[abcABC019 .@'\"\\\\%_&|!:*()<>-\u{130}\u{131}\u{df}\u{1e9e}\u{3a3}\u{3c3}\u{3c2}\
    \u{e9}\u{c9}\u{301}\u{307}\u{fb01}\u{4e2d}\u{6587}\u{1f600}\u{1d5d4}]{0,12}";

fn texts(count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let strategy = CHARACTERS.prop_map(|text: String| text);
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(strategy.new_tree(&mut runner).unwrap().current());
    }
    texts
}

/// Writes accounts as a build from before the index does: it knows the table `account` only.
async fn write_accounts(database: &TestDatabase, first: i32, count: i32, texts: &[String]) {
    let superuser = database.superuser().await;
    sqlx::query(
        "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at, profile)
         select case when n % 10 = 0 then n % 30 / 10 + 1 else 1 end, n, gen_random_uuid(), 'active', now(), 1, now(), now(),
           json_strip_nulls(json_build_object('name', t[1 + n % l], 'title', case when n % 3 > 0 then t[1 + n * 7 % l] end,
             'email', case when n % 2 > 0 then 'mail' || n || '@example.com' end, 'company', t[1 + n * 11 % l],
             'company_id', case when n % 5 = 0 then t[1 + n * 13 % l] end, 'account_alias', 'alias ' || n))
         from generate_series($1, $2) as n, (select $3::text[] as t, cardinality($3::text[]) as l) as texts",
    )
    .bind(first)
    .bind(first + count - 1)
    .bind(texts)
    .execute(&superuser)
    .await
    .unwrap();
    superuser.close().await;
}

async fn write_resellers(database: &TestDatabase) {
    let superuser = database.superuser().await;
    sqlx::query(
        "insert into reseller (id, name, name_key, created_at, updated_at)
         select n, 'Reseller ' || n, 'reseller ' || n, now(), now() from generate_series(1, $1) as n",
    )
    .bind(RESELLERS)
    .execute(&superuser)
    .await
    .unwrap();
    superuser.close().await;
}

/// The ids that reading all accounts finds.
async fn scan(
    pool: &PgPool,
    text: &str,
    needle: &str,
    reseller: Option<ResellerId>,
    after: i32,
) -> Vec<i32> {
    let query = format!(
        "select id from account where strpos({text}, $1) > 0 and deleted_at is null
           and ($2::bigint is null or reseller_id = $2) and id > $3 order by id"
    );
    sqlx::query_scalar(AssertSqlSafe(query))
        .bind(needle)
        .bind(reseller.map(|it| it.0))
        .bind(after)
        .fetch_all(pool)
        .await
        .unwrap()
}

fn search(text: &str, start: Start, limit: i64) -> Search {
    Search {
        conditions: Vec::new(),
        metadata: steward::domain::Metadata::default(),
        owner: None,
        level: None,
        text: Some(text.to_owned()),
        by_zone: Vec::new(),
        start,
        limit,
    }
}

/// Compares every kind of text search with reading all accounts.
async fn compare(store: &Store, pool: &PgPool, needles: &[String]) {
    let now = start_of_time();
    for needle in needles.iter().filter(|needle| !needle.is_empty()) {
        // Lists take the lower case of the process, v3 that of the database.
        let lower: String = sqlx::query_scalar("select lower($1)")
            .bind(needle)
            .fetch_one(pool)
            .await
            .unwrap();
        for reseller in [None, Some(ResellerId(1)), Some(ResellerId(2))] {
            let tenancy = reseller.map_or(Tenancy::Platform, Tenancy::of);
            let mut tx = store.begin_reading(&tenancy).await.unwrap();
            let filter = AccountFilter {
                text: Some(needle.clone()),
                ..AccountFilter::default()
            };
            for (from, limit) in [(1, 50), (4_321, 20_000)] {
                let slice = tx
                    .list_accounts(reseller, &filter, &[], from, limit, now)
                    .await
                    .unwrap();
                let found: Vec<i32> = slice.rows.iter().map(|it| it.id.as_i32()).collect();
                let needle = needle.to_lowercase();
                let mut expected = scan(pool, LISTED, &needle, reseller, from - 1).await;
                // A page of many accounts ends when it has a mebibyte.
                let fitting = if slice.has_more {
                    found.len()
                } else {
                    expected.len()
                };
                expected.truncate(fitting.min(usize::try_from(limit).unwrap()));
                assert_eq!(found, expected, "{needle:?} {reseller:?}");
            }
            let all = scan(pool, SEARCHED, &lower, reseller, 0).await;
            let count = tx
                .count_found(
                    reseller,
                    &search(needle, Start::After(None), 1),
                    i64::MAX,
                    now,
                )
                .await
                .unwrap();
            assert_eq!(
                usize::try_from(count).unwrap(),
                all.len(),
                "{needle:?} {reseller:?}"
            );
            let offset = Start::Offset {
                skip: 3,
                by: SearchField::CreatedAt,
                descending: true,
            };
            for (start, expected) in [
                (
                    Start::After(None),
                    all.iter().take(20).copied().collect::<Vec<_>>(),
                ),
                (offset, all.iter().rev().skip(3).take(20).copied().collect()),
            ] {
                let slice = tx
                    .search_accounts(reseller, &search(needle, start, 20), now)
                    .await;
                let rows = slice.unwrap().rows;
                let found: Vec<i32> = rows.iter().map(|it| it.id.as_i32()).collect();
                assert_eq!(found, expected, "{needle:?} {reseller:?}");
            }
            tx.rollback().await;
        }
    }
}

/// Parts of the texts, of one to seven characters, and texts that no account has.
fn needles(texts: &[String]) -> Vec<String> {
    let part = |(n, text): (usize, &String)| {
        let letters: Vec<char> = text.chars().collect();
        let first = n % letters.len().max(1);
        letters.iter().skip(first).take(1 + n % 7).collect()
    };
    let parts = texts.iter().enumerate().map(part);
    let others = [
        "mail4321@",
        "alias 77",
        "no such text",
        "'",
        "\\",
        "%",
        "_",
        "a b",
        "zq",
        " ",
        "\u{7}",
        "''\\':*",
    ];
    parts.chain(others.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_search_by_the_index_finds_what_reading_all_accounts_finds() {
    let database = TestDatabase::new().await;
    check_searches(&database).await;
}

#[tokio::test]
async fn so_it_does_where_the_database_knows_the_case_of_all_letters() {
    let database = TestDatabase::with_letters().await;
    Store::migrate(&database.options()).await.unwrap();
    let lower = "select ascii(lower(chr(201)))::bigint";
    assert_eq!(database.number(lower).await, 233, "É has a lower case");
    check_searches(&database).await;
}

async fn check_searches(database: &TestDatabase) {
    let texts = texts(16);
    write_resellers(database).await;
    write_accounts(database, 1, ACCOUNTS, &texts).await;
    // Accounts of a later block.
    write_accounts(database, 600_000, 500, &texts[..5]).await;
    let (pool, store) = (
        database.superuser().await,
        Store::new(database.options(), &pool_settings()),
    );
    compare(&store, &pool, &needles(&texts)).await;
    assert!(index_scans(&pool).await > 0, "the index was used");
    // After the list of pending entries was emptied, and some accounts were deleted and changed.
    sqlx::raw_sql(
        "select flush_account_texts(); update account set deleted_at = now(), purge_at = now() where id % 97 = 0;
         update account set profile = json_build_object('name', 'mail4321@ zq' || id) where id % 89 = 0;
         delete from account where id % 83 = 0",
    )
    .execute(&pool)
    .await
    .unwrap();
    compare(&store, &pool, &needles(&texts[..4])).await;
    assert_eq!(wrong(&pool).await, 0);
    store.close().await;
    pool.close().await;
}

async fn wrong(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select accounts from wrong_account_texts()")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// How often the index was used.
async fn index_scans(pool: &PgPool) -> i64 {
    let query = "select coalesce(idx_scan, 0) from pg_stat_user_indexes where indexrelname = 'account_text_grams_ix'";
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// A connection of the service's role, in a transaction.
async fn as_service(connection: &mut PgConnection, setting: &str) {
    let script = format!("begin; set local role steward_service; {setting}");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_search_for_a_rare_text_reads_few_rows() {
    let database = TestDatabase::new().await;
    write_resellers(&database).await;
    write_accounts(&database, 1, 60_000, &["Jane".to_owned(), "Doe".to_owned()]).await;
    let mut connection = PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    // Without statistics, with them, and with a plan that was made while the plans were young.
    for (round, before) in ["", "analyze account_text; analyze account;", ""]
        .into_iter()
        .enumerate()
    {
        sqlx::raw_sql(AssertSqlSafe(before.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
        // A rare text: 250 and 1,000 accounts in their order, and then those of the index. A
        // text that every account has: no more than the first 250.
        for (reseller, text, expected, at_most) in [
            ("1", "mail54321@", 1, 2_000),
            ("1", "absent", 0, 2_000),
            ("1", "zq", 0, 2_000),
            ("null", "mail54321@", 1, 2_000),
            ("null", "zq", 0, 2_000),
            ("1", "jane", 50, 250),
            ("null", "jane", 50, 250),
        ] {
            as_service(&mut connection, "set local steward.scope = 'platform'").await;
            let (_, before) = reads(&mut connection).await;
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
                "select count(*) from find_account_texts({reseller}, '{text}', 0, 50)"
            )))
            .fetch_one(&mut connection)
            .await
            .unwrap();
            let (whole, after) = reads(&mut connection).await;
            let name = format!("{reseller} {text} in round {round}");
            assert_eq!((found, whole), (expected, 0), "{name}");
            assert!(after - before <= at_most, "{name} read {}", after - before);
            sqlx::raw_sql("rollback")
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
}

/// How often the texts were read as a whole in this session, and how many of them by an index.
async fn reads(connection: &mut PgConnection) -> (i64, i64) {
    let query = "select coalesce(sum(seq_scan), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
         from pg_stat_xact_user_tables where relname = 'account_text'";
    sqlx::query_as(query).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn the_candidates_are_found_by_their_numbers() {
    let database = TestDatabase::new().await;
    write_resellers(&database).await;
    write_accounts(&database, 1, 20_000, &["Jane".to_owned()]).await;
    let pool = database.superuser().await;
    sqlx::raw_sql("analyze account")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let filter = AccountFilter {
        text: Some("jane".to_owned()),
        ..AccountFilter::default()
    };
    let ids: Vec<i32> = (1..50).map(|it| it * 397).collect();
    let mut connection = PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    for (reseller, tenancy) in [
        (Some(ResellerId(1)), "set local steward.resellers = '1'"),
        (None, "set local steward.scope = 'platform'"),
    ] {
        as_service(&mut connection, &format!("{tenancy}; {SEARCHING}")).await;
        let list = (reseller, &filter, &[][..]);
        let mut statement = among_statement(list, 1, &ids, 50, start_of_time());
        let mut query = statement.build();
        let arguments = query.take_arguments().unwrap().unwrap();
        let explain = format!("explain {}", query.sql().as_str());
        let rows = sqlx::query_with(AssertSqlSafe(explain), arguments)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = lines.join("\n");
        let is_by_number = lines
            .iter()
            .any(|line| line.contains("Index Cond") && line.contains("id = ANY"));
        assert!(is_by_number && !plan.contains("Seq Scan"), "{plan}");
        sqlx::raw_sql("rollback")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_texts_leak_to_no_other_reseller() {
    let database = TestDatabase::new().await;
    write_resellers(&database).await;
    write_accounts(&database, 1, 6_000, &["Jane".to_owned()]).await;
    let mut connection = PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    let find = async |connection: &mut PgConnection, setting: &str, reseller: &str, text: &str| {
        as_service(connection, setting).await;
        let query = format!(
            "select count(*), count(*) filter (where a.reseller_id = 2) from find_account_texts({reseller}, '{text}', 0, 100000) as f
             left join account a on a.id = f"
        );
        let row = sqlx::query(AssertSqlSafe(query))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        sqlx::raw_sql("rollback")
            .execute(&mut *connection)
            .await
            .unwrap();
        (row.get::<i64, _>(0), row.get::<i64, _>(1))
    };
    let second = "set local steward.resellers = '2'";
    // The texts are common, then so rare that the index is asked. Account 1010 is of reseller 2.
    for (setting, reseller, text, expected) in [
        ("", "1", "jane", 0),
        ("", "null", "jane", 0),
        ("", "null", "alias 1010", 0),
        ("set local steward.resellers = ''", "null", "jane", 0),
        (second, "1", "jane", 0),
        (second, "1", "alias 5999", 0),
        (second, "2", "jane", 200),
        (second, "null", "jane", 200),
        (second, "null", "alias 5999", 0),
        (second, "null", "alias 5980", 1),
        (second, "2", "alias 5980", 1),
    ] {
        let found = find(&mut connection, setting, reseller, text).await;
        assert_eq!(found, (expected, expected), "{setting} {reseller} {text}");
    }
    for query in [
        "select * from account_text",
        "select account_text_of('{}')",
        "select fill_account_texts()",
        "delete from account_text",
    ] {
        as_service(&mut connection, "set local steward.scope = 'platform'").await;
        let refused = sqlx::raw_sql(query)
            .execute(&mut connection)
            .await
            .unwrap_err();
        let code = refused
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{query}: {refused}");
        sqlx::raw_sql("rollback")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_change_of_the_state_leaves_the_text_alone_and_a_change_of_the_name_replaces_it() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("Jane").await;
    let pool = app.database.superuser().await;
    let row = async || -> (String, String) {
        let query = "select ctid::text, text from account_text";
        sqlx::query_as(query).fetch_one(&pool).await.unwrap()
    };
    let made = row().await;
    assert_eq!(made.1, "jane jane jane@example.com");
    client
        .call_once("freeze", "k", json!({"id": id}))
        .await
        .ok();
    assert_eq!(row().await, made);
    client
        .call(
            "save",
            json!({"id": id, "name": "Jane", "timezone": "Europe/Berlin"}),
        )
        .await;
    assert_eq!(row().await, made, "a member that nobody searches");
    client
        .call("save", json!({"id": id, "name": "Joan"}))
        .await
        .ok();
    let (_, text) = row().await;
    assert_eq!(text, "joan jane jane@example.com");
    assert_eq!(wrong(&pool).await, 0);
}

#[tokio::test]
async fn the_doctor_notices_texts_that_were_changed_without_the_triggers() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (first, second) = (client.account("a").await, client.account("b").await);
    let store = Store::new(app.database.options(), &pool_settings());
    let problem = async || {
        let report = store.examine(start_of_time).await.unwrap();
        report.text_finding.map(|finding| finding.problem)
    };
    assert_eq!(problem().await, None);
    let pool = app.database.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "update account_text set text = 'x' where account_id = {first}; delete from account_text where account_id = {second}"
    )))
    .execute(&pool)
    .await
    .unwrap();
    let expected =
        format!("text searches look at outdated texts of 2 accounts; the first is account {first}");
    assert_eq!(problem().await, Some(expected));
    let mut owner = PgConnection::connect_with(&app.database.options())
        .await
        .unwrap();
    sqlx::raw_sql("select fill_account_texts()")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(problem().await, None);
}

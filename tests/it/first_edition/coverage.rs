//! What the fixture must have: rows of every table; of every column that may be null both a value
//! and none; every word that a constraint admits.

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use steward::domain::{EVENTS, UPDATED};

use super::fixture::{restore, tables, texts};

/// Columns of which a value or null does not occur, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

async fn holds(connection: &mut PgConnection, condition: &str) -> bool {
    sqlx::query_scalar(AssertSqlSafe(format!("select {condition}")))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{condition}: {error}"))
}

/// The columns of a table that may be null.
async fn nullable(connection: &mut PgConnection, table: &str) -> Vec<String> {
    let query = format!(
        "select column_name::text from information_schema.columns
         where table_schema = 'public' and table_name = '{table}' and is_nullable = 'YES' order by 1"
    );
    texts(connection, &query).await
}

/// Column and word, for each word that a check of one column admits.
async fn words(connection: &mut PgConnection, table: &str) -> Vec<String> {
    let query = format!(
        "select a.attname || ' = ' || m[1] from pg_constraint c
         join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1],
         regexp_matches(pg_get_constraintdef(c.oid), '(''[^'']*''::text)', 'g') as m
         where c.conrelid = '{table}'::regclass and c.contype = 'c' and cardinality(c.conkey) = 1 order by 1"
    );
    texts(connection, &query).await
}

#[tokio::test]
async fn the_fixture_has_every_kind_of_row() {
    let database = restore().await;
    let mut connection = database.superuser_options().connect().await.unwrap();
    let mut missing = Vec::new();
    for table in tables(&mut connection).await {
        let mut wanted = vec![(table.clone(), "true".to_owned())];
        for column in nullable(&mut connection, &table).await {
            let named = format!("{table}.{column}");
            wanted.push((format!("{named} is null"), format!("\"{column}\" is null")));
            let given = format!("\"{column}\" is not null");
            wanted.push((format!("{named} is not null"), given));
        }
        for word in words(&mut connection, &table).await {
            wanted.push((format!("{table}.{word}"), word));
        }
        for (name, condition) in wanted {
            let query = format!("exists (select from \"{table}\" where {condition})");
            let is_exception = EXCEPTIONS.iter().any(|(it, _)| *it == name);
            if holds(&mut connection, &query).await == is_exception {
                missing.push(name);
            }
        }
    }
    let mentioned = texts(
        &mut connection,
        "select distinct unnest(events) from journal",
    )
    .await;
    let events = EVENTS.iter().filter(|it| **it != UPDATED).copied();
    missing.extend(
        events
            .filter(|it| !mentioned.iter().any(|one| one == it))
            .map(str::to_owned),
    );
    connection.close().await.unwrap();
    assert_eq!(missing, [""; 0], "missing, or no exception any more");
}

//! The rows of the fixture: written by the maker, and restored into a database at migration 25.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};
use steward::store::{MIGRATOR, Store};

use crate::harness::TestDatabase;

/// The newest migration of the first edition.
pub(super) const NEWEST: i64 = 25;
const ROWS: &str = "rows.sql.gz";

/// A file of the fixture.
pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/first_edition")
        .join(name)
}

pub(super) fn read_packed(name: &str) -> String {
    let packed = std::fs::File::open(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

pub(super) fn write_packed(name: &str, text: &str) {
    let file = std::fs::File::create(path(name)).unwrap();
    let mut packed = GzEncoder::new(file, Compression::best());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap();
}

/// The database of the first edition, not migrated yet.
pub(super) async fn restore() -> TestDatabase {
    let database = TestDatabase::blank().await;
    let mut owner = database.options().connect().await.unwrap();
    MIGRATOR.run_to(NEWEST, &mut owner).await.unwrap();
    owner.close().await.unwrap();
    run(&database, &read_packed(ROWS)).await;
    database
}

/// Brings the database to the present schema, as `steward migrate` does.
pub(super) async fn migrate(database: &TestDatabase) {
    let missing = MIGRATOR.iter().filter(|it| it.version > NEWEST).count();
    let applied = Store::migrate(&database.options()).await;
    assert_eq!(
        applied,
        Ok(missing),
        "the migrations after the first edition"
    );
}

/// Statements as superuser.
pub(super) async fn run(database: &TestDatabase, statements: &str) {
    let mut superuser = database.superuser_options().connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut superuser)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    superuser.close().await.unwrap();
}

/// Writes all rows as statements that restore them.
pub(super) async fn dump(database: &TestDatabase) {
    let mut superuser = database.superuser_options().connect().await.unwrap();
    let mut text = String::from("set steward.scope = 'platform';\ndelete from reseller;\n");
    let days = "select substring(relname from 9) from pg_class where relispartition and relkind = 'r' and relname ~ '^journal_[0-9]{8}$' order by 1";
    for day in texts(&mut superuser, days).await {
        writeln!(text, "select prepare_journal('{day}', 1);").unwrap();
    }
    for table in tables(&mut superuser).await {
        let columns = columns(&mut superuser, &table).await;
        let names: Vec<String> = columns.iter().map(|it| format!("\"{it}\"")).collect();
        let values: Vec<String> = names
            .iter()
            .map(|it| format!("quote_nullable({it}::text)"))
            .collect();
        let query = format!(
            "select 'insert into \"{table}\" ({}) values (' || concat_ws(', ', {}) || ');' from \"{table}\" order by {}",
            names.join(", "),
            values.join(", "),
            if table == "journal" { "id" } else { "1" },
        );
        for statement in texts(&mut superuser, &query).await {
            text.push_str(&statement);
            text.push('\n');
        }
    }
    let sequences = "select format('select setval(%L, %s);', sequencename, last_value) from pg_sequences where schemaname = 'public' and last_value is not null order by 1";
    for statement in texts(&mut superuser, sequences).await {
        text.push_str(&statement);
        text.push('\n');
    }
    superuser.close().await.unwrap();
    write_packed(ROWS, &text);
}

/// The tables whose rows are kept: those that others refer to first.
pub(super) async fn tables(connection: &mut PgConnection) -> Vec<String> {
    texts(
        connection,
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
           and c.relname <> '_sqlx_migrations'
         order by coalesce(array_position(array['reseller', 'plan', 'account', 'webhook_endpoint'], c.relname::text), 99), 1",
    )
    .await
}

/// The columns of a table but `xid`: a transaction's id of another server is never restored.
async fn columns(connection: &mut PgConnection, table: &str) -> Vec<String> {
    let query = format!(
        "select attname::text from pg_attribute where attrelid = '{table}'::regclass and attnum > 0
           and not attisdropped and attname <> 'xid' order by attnum"
    );
    texts(connection, &query).await
}

/// The first column of the rows of a query.
pub(super) async fn texts(connection: &mut PgConnection, query: &str) -> Vec<String> {
    let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| row.get(0)).collect()
}

//! The tables and sequences of the service, from PostgreSQL's catalogue.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use super::archive::Sequence;

/// A table of the service.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// Whether row level security is enabled.
    pub(super) is_secured: bool,
    /// Whether the scope of the platform sees all rows.
    pub(super) is_readable: bool,
    /// The tables that its foreign keys point to.
    parents: Vec<String>,
    /// The partitions, if it has any.
    pub(super) partitions: Vec<String>,
}

impl Table {
    /// The columns, quoted and separated by commas.
    pub(super) fn columns(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| quote(column)).collect();
        columns.join(", ")
    }
}

/// A name as an identifier in a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Prepares a connection to read or write the rows of all resellers, in forms that do not depend on
/// the settings of the server or the login. The time limits of the login do not apply.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    run(
        connection,
        "set client_min_messages = warning; set steward.scope = 'platform'; set statement_timeout = 0;
         set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; set search_path = public;
         set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set timezone = 'UTC';
         set bytea_output = 'hex'; set extra_float_digits = 3",
    )
    .await
}

pub(super) async fn run(
    connection: &mut PgConnection,
    statements: &str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}

/// The tables of the service. A table comes after those that its foreign keys point to.
pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    let mut left = sqlx::query_file_as!(Table, "src/store/backup/sql/list_tables.sql")
        .fetch_all(connection)
        .await?;
    let mut sorted: Vec<Table> = Vec::with_capacity(left.len());
    let mut placed = BTreeSet::new();
    loop {
        let (ready, rest): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|table| table.parents.iter().all(|it| placed.contains(it)));
        if ready.is_empty() {
            // Nothing is left, or the keys form a circle: then no order helps.
            sorted.extend(rest);
            return Ok(sorted);
        }
        placed.extend(ready.iter().map(|table| table.name.clone()));
        sorted.extend(ready);
        left = rest;
    }
}

/// The sequences of the service and the last numbers that they gave.
pub(super) async fn sequences(connection: &mut PgConnection) -> Result<Vec<Sequence>, sqlx::Error> {
    sqlx::query_as!(
        Sequence,
        r#"select s.sequencename::text as "name!", s.last_value as last from pg_sequences s
           join pg_class c
             on c.relnamespace = 'public'::regnamespace and c.relname = s.sequencename
           where s.schemaname = 'public' and (
             exists (select from aclexplode(c.relacl) g join pg_roles r on r.oid = g.grantee
               where r.rolname = 'steward_service')
             -- That of an identity column, which needs no grant.
             or exists (select from pg_depend d
               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i'))
           order by 1"#
    )
    .fetch_all(connection)
    .await
}

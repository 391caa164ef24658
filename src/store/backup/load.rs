//! Makes a database from a backup, in one transaction.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgCopyIn};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::mpsc;

use super::archive::{Header, Record};
use super::tables::{self, Table, quote, run};
use super::{Failure, restorations};
use crate::domain::Time;
use crate::store::Store;
use crate::store::checks::restored;

/// How many locks a partition of the journal takes until the transaction ends: the table, its two
/// indexes, and the table for long values with its index.
const LOCKS_OF_A_DAY: i64 = 5;
/// The migration that made the texts of accounts, which are in no backup. It fills them itself.
const ACCOUNT_TEXTS: i64 = 28;
/// Locks for everything else.
const OTHER_LOCKS: i64 = 500;

/// How a backup is restored.
#[derive(Debug, Clone, Copy)]
pub struct Restore {
    /// The time of the restore.
    pub now: Time,
    /// How many numbers of each sequence are left out after those of the backup: numbers of
    /// accounts, resellers and tokens that were given after the backup was made must not name
    /// others.
    pub skip: i64,
}

/// What a restore did.
#[derive(Debug)]
pub struct Report {
    /// The number of rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// How many migrations later than the backup were applied.
    pub migrated: usize,
    /// The id that the first event after the restore gets at least.
    pub first_event: i64,
}

/// Checks that this build knows the migrations of a backup.
///
/// # Errors
/// [`Failure::Newer`], or [`Failure::Unfit`] if a migration has the number of another one.
pub fn check_known(header: &Header) -> Result<(), Failure> {
    let mut migrations = header.migrations.iter();
    let Some(unknown) = migrations.find(|it| !restored::knows(it.number, &it.checksum)) else {
        return Ok(());
    };
    let known = restored::newest_known();
    if header.schema() > known {
        return Err(Failure::Newer {
            version: header.version.clone(),
            schema: header.schema(),
            known,
        });
    }
    Err(Failure::Unfit(format!(
        "migration {} of the backup, which Steward {} made, is not the one of this build: restore \
         it with the Steward that made it",
        unknown.number, header.version
    )))
}

impl Store {
    /// Makes the tables and fills them with the rows of a backup. Either everything is restored, or
    /// nothing.
    ///
    /// # Errors
    /// [`Failure::NotEmpty`] with the name of the database if it has tables already,
    /// [`Failure::Interrupted`] if the records end too early, and [`Failure::Unfit`] if the tables do
    /// not fit the backup.
    pub async fn restore(
        owner: &PgConnectOptions,
        header: &Header,
        restore: Restore,
        records: mpsc::Receiver<Record>,
    ) -> Result<Report, Failure> {
        let options = owner.clone().application_name("steward-restore");
        // Slow statements are expected here.
        let options = options.disable_statement_logging();
        let mut connection = options.connect().await?;
        tables::prepare(&mut connection).await?;
        restored::lock(&mut connection)
            .await
            .map_err(Failure::Migration)?;
        check_empty(&mut connection).await?;
        restored::prepare_role(&mut connection)
            .await
            .map_err(Failure::Migration)?;
        let mut transaction = connection.begin().await?;
        let report = load(&mut transaction, header, restore, records).await?;
        transaction.commit().await?;
        restored::finish(&mut connection)
            .await
            .map_err(Failure::Migration)?;
        // Without this, the planner would know nothing of the new rows until autovacuum comes round.
        let tables = tables::list(&mut connection).await?;
        let names: Vec<_> = tables.iter().map(|table| quote(&table.name)).collect();
        run(&mut connection, &format!("analyze {}", names.join(", "))).await?;
        connection.close().await?;
        Ok(report)
    }
}

async fn check_empty(connection: &mut PgConnection) -> Result<(), Failure> {
    let name = sqlx::query_scalar!(r#"select current_database()::text as "name!""#)
        .fetch_one(&mut *connection)
        .await?;
    let tables = sqlx::query_scalar!(
        r#"select count(*) as "count!" from pg_class
           where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
             and relname in ('_sqlx_migrations', 'reseller', 'account', 'journal')"#
    )
    .fetch_one(connection)
    .await?;
    if tables > 0 {
        return Err(Failure::NotEmpty(name));
    }
    Ok(())
}

async fn load(
    connection: &mut PgConnection,
    header: &Header,
    restore: Restore,
    mut records: mpsc::Receiver<Record>,
) -> Result<Report, Failure> {
    let numbers: Vec<_> = header.migrations.iter().map(|it| it.number).collect();
    restored::apply(connection, &numbers)
        .await
        .map_err(Failure::Migration)?;
    make_days(connection, &header.journal_days).await?;
    let tables = tables::list(connection).await?;
    // The migrations have inserted the platform itself.
    let names: Vec<_> = tables.iter().map(|table| quote(&table.name)).collect();
    run(connection, &format!("truncate {}", names.join(", "))).await?;
    let mut sequences = Vec::new();
    let rows = loop {
        match records.recv().await {
            Some(Record::Table { name, columns }) => {
                let table = find(&tables, &name, &columns, header)?;
                fill(connection, table, &columns, &mut records).await?;
            }
            Some(Record::Sequences(found)) => sequences = found,
            Some(Record::End { rows }) => break rows,
            Some(Record::Rows(_) | Record::TableEnd { .. }) | None => {
                return Err(Failure::Interrupted);
            }
        }
    };
    set_sequences(connection, &sequences, restore.skip).await?;
    if header.schema() >= ACCOUNT_TEXTS {
        run(connection, "select fill_account_texts()").await?;
    }
    let migrated = restored::migrate(connection)
        .await
        .map_err(Failure::Migration)?;
    let first_event = restorations::begin(connection, header.created_at, restore.now).await?;
    restored::check(connection).await.map_err(Failure::Unfit)?;
    Ok(Report {
        rows,
        migrated,
        first_event,
    })
}

/// Makes the partitions that the journal had.
async fn make_days(connection: &mut PgConnection, days: &[String]) -> Result<(), Failure> {
    let needed = i64::try_from(days.len()).unwrap_or(i64::MAX / 10) * LOCKS_OF_A_DAY + OTHER_LOCKS;
    let available = sqlx::query_scalar!(
        r#"select current_setting('max_locks_per_transaction')::bigint
             * (current_setting('max_connections')::bigint
                + current_setting('max_prepared_transactions')::bigint) as "locks!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if needed > available {
        return Err(Failure::Unfit(format!(
            "the journal of the backup has {} days, and a restore takes about {needed} locks: raise \
             max_locks_per_transaction of the server so that it has as many (it has {available}), \
             restart it, and restore again",
            days.len()
        )));
    }
    sqlx::query!(
        "select prepare_journal(to_date(day, 'YYYYMMDD'), 1) from unnest($1::text[]) day",
        days
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// The table of a name, if it has the columns of the backup.
fn find<'a>(
    tables: &'a [Table],
    name: &str,
    columns: &[String],
    header: &Header,
) -> Result<&'a Table, Failure> {
    let found = tables.iter().find(|table| table.name == name);
    found
        .filter(|table| columns.iter().all(|column| table.columns.contains(column)))
        .ok_or_else(|| {
            Failure::Unfit(format!(
                "the backup has a table {name} with columns that the migrations up to {} do not \
                 make: {}",
                header.schema(),
                columns.join(", ")
            ))
        })
}

/// Copies the rows of one table into it. Row level security must not apply to `copy`, so it is not
/// forced on the owner meanwhile; nobody else sees this before the commit.
async fn fill(
    connection: &mut PgConnection,
    table: &Table,
    columns: &[String],
    records: &mut mpsc::Receiver<Record>,
) -> Result<(), Failure> {
    let name = quote(&table.name);
    if table.is_secured {
        let open = format!("alter table {name} no force row level security");
        run(connection, &open).await?;
    }
    // What triggers would write is made for all rows at once afterwards, which is faster.
    run(
        connection,
        &format!("alter table {name} disable trigger user"),
    )
    .await?;
    let columns: Vec<_> = columns.iter().map(|column| quote(column)).collect();
    let statement = format!("copy {name} ({}) from stdin", columns.join(", "));
    let mut copy = connection.copy_in_raw(&statement).await?;
    let expected = match send_rows(&mut copy, records).await {
        Ok(rows) => rows,
        Err(failure) => {
            // The server ends the transaction; the first failure is the one to report.
            let _ended = copy.abort("the backup ended").await;
            return Err(failure);
        }
    };
    let copied = copy.finish().await?;
    if copied != expected {
        return Err(Failure::Unfit(format!(
            "table {}: copied {copied} of {expected} rows",
            table.name
        )));
    }
    run(
        connection,
        &format!("alter table {name} enable trigger user"),
    )
    .await?;
    if table.is_secured {
        let close = format!("alter table {name} force row level security");
        run(connection, &close).await?;
    }
    Ok(())
}

/// Sends the rows of one table. Returns how many the file had.
async fn send_rows(
    copy: &mut PgCopyIn<&mut PgConnection>,
    records: &mut mpsc::Receiver<Record>,
) -> Result<u64, Failure> {
    loop {
        match records.recv().await {
            Some(Record::Rows(rows)) => {
                copy.send(rows).await?;
            }
            Some(Record::TableEnd { rows }) => return Ok(rows),
            Some(Record::Table { .. } | Record::Sequences(_) | Record::End { .. }) | None => {
                return Err(Failure::Interrupted);
            }
        }
    }
}

/// Sets the sequences to the last numbers that they gave, and leaves out `skip` more. That of the
/// journal has its own rule, see `restorations.rs`.
async fn set_sequences(
    connection: &mut PgConnection,
    sequences: &[(String, Option<i64>)],
    skip: i64,
) -> Result<(), sqlx::Error> {
    for (name, last) in sequences {
        let skip = if name == restorations::SEQUENCE {
            0
        } else {
            skip
        };
        sqlx::query!(
            "select setval(s.seqrelid::regclass, least(s.seqmax, coalesce($2, s.seqstart - 1) + $3))
             from pg_sequence s join pg_class c on c.oid = s.seqrelid
             where c.relnamespace = 'public'::regnamespace and c.relname = $1
               and coalesce($2, s.seqstart - 1) + $3 >= s.seqmin",
            name,
            *last,
            skip
        )
        .fetch_all(&mut *connection)
        .await?;
    }
    Ok(())
}

//! Reads all rows in one snapshot.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::mpsc;

use super::Failure;
use super::archive::{AppliedMigration, CHUNK, Header, Part, TableStart, line, sequences};
use super::tables::{self, Table, quote, run};
use crate::domain::Time;
use crate::store::Store;
use crate::store::checks::restored;

/// The name of a partition of the journal before its day.
const DAY_PREFIX: &str = "journal_";

impl Store {
    /// Reads all rows of the database and sends them to `parts`, in one snapshot. The service may
    /// go on writing meanwhile. A migration waits until the backup is complete. Returns the header
    /// and the number of rows of each table.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if the receiver has ended.
    pub async fn back_up(
        owner: &PgConnectOptions,
        version: &str,
        now: impl Fn() -> Time,
        parts: mpsc::Sender<Part>,
    ) -> Result<(Header, BTreeMap<String, u64>), Failure> {
        let options = owner.clone().application_name("steward-backup");
        // Slow statements are expected here.
        let options = options.disable_statement_logging();
        let mut connection = options.connect().await?;
        tables::prepare(&mut connection).await?;
        // The lock of the migrations. Without it, a migration could wait for a table that is read
        // here, and the service for the migration.
        restored::lock(&mut connection)
            .await
            .map_err(Failure::Migration)?;
        let mut dump = Dump {
            connection,
            parts,
            buffer: Vec::with_capacity(2 * CHUNK),
            rows: BTreeMap::new(),
        };
        let header = dump.everything(version, now).await?;
        // Closing ends the snapshot and frees the locks.
        dump.connection.close().await?;
        Ok((header, dump.rows))
    }
}

struct Dump {
    connection: PgConnection,
    parts: mpsc::Sender<Part>,
    buffer: Vec<u8>,
    rows: BTreeMap<String, u64>,
}

impl Dump {
    async fn everything(
        &mut self,
        version: &str,
        now: impl Fn() -> Time,
    ) -> Result<Header, Failure> {
        let tables = tables::list(&mut self.connection).await?;
        if let Some(table) = tables.iter().find(|it| it.is_secured && !it.is_readable) {
            return Err(Failure::Unfit(format!(
                "the policies of table {} are not those of the migrations, and would hide rows from \
                 the backup: `steward doctor` says how to mend them",
                table.name
            )));
        }
        if tables.is_empty() {
            let problem = "the database has no tables of Steward: check database.url \
                           (DATABASE_URL), or run `steward migrate`";
            return Err(Failure::Unfit(problem.to_owned()));
        }
        self.begin(&tables).await?;
        // Once more, in the snapshot: the service may have made a partition meanwhile.
        let tables = tables::list(&mut self.connection).await?;
        let header = Header::new(version, now(), self.migrations().await?, days(&tables));
        self.append(&line(&header)).await?;
        for table in &tables {
            self.table(table).await?;
        }
        // The sequences are no part of the snapshot. Read last, none is behind the rows.
        let state = tables::sequences(&mut self.connection).await?;
        self.append(&sequences(state)).await?;
        self.flush().await?;
        let end = Part::End(self.rows.clone());
        self.parts
            .send(end)
            .await
            .map_err(|_| Failure::Interrupted)?;
        Ok(header)
    }

    /// Begins the transaction, and takes its snapshot.
    ///
    /// The tables stay locked against changes of their form until it ends. The journal does not: the
    /// service makes and drops its partitions, and everybody who writes would wait behind it.
    async fn begin(&mut self, tables: &[Table]) -> Result<(), sqlx::Error> {
        let whole = tables.iter().filter(|table| table.partitions.is_empty());
        let names: Vec<_> = whole.map(|table| quote(&table.name)).collect();
        let lock = format!(
            "begin isolation level repeatable read read only;
             lock table only {} in access share mode; select pg_current_snapshot()",
            names.join(", only ")
        );
        run(&mut self.connection, &lock).await
    }

    async fn migrations(&mut self) -> Result<Vec<AppliedMigration>, sqlx::Error> {
        let rows = sqlx::query_as::<_, (i64, Vec<u8>)>(
            "select version, checksum from _sqlx_migrations where success order by version",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let applied = rows.into_iter().map(|(number, checksum)| AppliedMigration {
            number,
            checksum: data_encoding::HEXLOWER.encode(&checksum),
        });
        Ok(applied.collect())
    }

    async fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let start = TableStart {
            table: table.name.clone(),
            columns: table.columns.clone(),
        };
        self.append(&line(&start)).await?;
        let mut rows = 0;
        if table.partitions.is_empty() {
            rows += self.copy(&table.name, &table.columns()).await?;
        }
        for partition in &table.partitions {
            rows += self.partition(partition, &table.columns()).await?;
        }
        self.append(b"\\.\n").await?;
        self.rows.insert(table.name.clone(), rows);
        Ok(())
    }

    /// Copies a partition, and frees its lock at once. One that has been dropped since the snapshot
    /// was taken was too old to keep, and is left out.
    async fn partition(&mut self, name: &str, columns: &str) -> Result<u64, Failure> {
        run(&mut self.connection, "savepoint before_partition").await?;
        let lock = format!("lock table only {} in access share mode", quote(name));
        let rows = match run(&mut self.connection, &lock).await {
            Ok(()) => self.copy(name, columns).await?,
            Err(error) if is_missing(&error) => 0,
            Err(error) => return Err(error.into()),
        };
        run(
            &mut self.connection,
            "rollback to savepoint before_partition",
        )
        .await?;
        Ok(rows)
    }

    /// Copies the rows of one table or partition.
    async fn copy(&mut self, name: &str, columns: &str) -> Result<u64, Failure> {
        let statement = format!(
            "copy (select {columns} from only {}) to stdout",
            quote(name)
        );
        let mut rows: u64 = 0;
        let mut stream = self.connection.copy_out_raw(&statement).await?;
        while let Some(data) = stream.try_next().await? {
            rows += data.iter().map(|it| u64::from(*it == b'\n')).sum::<u64>();
            self.buffer.extend_from_slice(&data);
            if self.buffer.len() >= CHUNK {
                send(&self.parts, &mut self.buffer).await?;
            }
        }
        drop(stream);
        Ok(rows)
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        send(&self.parts, &mut self.buffer).await
    }
}

async fn send(parts: &mpsc::Sender<Part>, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    let bytes = std::mem::replace(buffer, Vec::with_capacity(2 * CHUNK));
    parts
        .send(Part::Lines(bytes))
        .await
        .map_err(|_| Failure::Interrupted)
}

/// The days for which the journal has partitions.
fn days(tables: &[Table]) -> Vec<String> {
    let partitions = tables.iter().flat_map(|table| &table.partitions);
    let days = partitions.filter_map(|name| name.strip_prefix(DAY_PREFIX));
    days.filter(|day| day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// Whether the error is that a table does not exist.
fn is_missing(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "42P01")
}

//! The database server that is measured: its CPU time, its WAL, and statements of an administrator.

use std::cell::RefCell;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, ConnectOptions as _, FromRow, PgConnection};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::machine::cpu_of_tree;
use crate::world::{STEWARD, World};

pub struct Server<'a> {
    pid: u32,
    runtime: &'a Runtime,
    /// A superuser's connection to the service's database.
    connection: RefCell<PgConnection>,
}

impl<'a> Server<'a> {
    pub fn connect(world: &World, runtime: &'a Runtime) -> Result<Self, Failure> {
        let options = world.cluster.superuser_options(STEWARD);
        Ok(Self {
            pid: world.cluster.pid().unwrap_or_default(),
            runtime,
            connection: RefCell::new(runtime.block_on(options.connect())?),
        })
    }

    /// The CPU seconds that all its processes have used.
    pub fn cpu(&self) -> f64 {
        cpu_of_tree(self.pid)
    }

    /// How many bytes of WAL it has written, with full-page images.
    pub fn wal(&self) -> Result<f64, Failure> {
        let (bytes,): (f64,) =
            self.fetch_one("select (pg_current_wal_insert_lsn() - '0/0')::float8")?;
        Ok(bytes)
    }

    /// How many bytes the WAL has between two positions without full-page images. Needs the
    /// extension `pg_walinspect`, and that no checkpoint has ended since the first position.
    pub fn wal_records(&self, (from, to): (f64, f64)) -> Result<f64, Failure> {
        self.run("create extension if not exists pg_walinspect")?;
        let (bytes,): (f64,) = self.fetch_one(&format!(
            "select sum(record_size)::float8
             from pg_get_wal_stats('0/0'::pg_lsn + {from:.0}, '0/0'::pg_lsn + {to:.0})"
        ))?;
        self.run("drop extension pg_walinspect")?;
        Ok(bytes)
    }

    /// Sets a parameter of the server while it runs.
    pub fn set(&self, parameter: &str, value: &str) -> Result<(), Failure> {
        self.run(&format!("alter system set {parameter} = {value}"))?;
        self.run("select pg_reload_conf()")
    }

    pub fn run(&self, statement: &str) -> Result<(), Failure> {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        let mut connection = self.connection.borrow_mut();
        self.runtime.block_on(statement.execute(&mut *connection))?;
        Ok(())
    }

    pub fn fetch_one<T>(&self, query: &str) -> Result<T, Failure>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut connection = self.connection.borrow_mut();
        let query = sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_one(&mut *connection);
        Ok(self.runtime.block_on(query)?)
    }

    pub fn fetch_all<T>(&self, query: &str) -> Result<Vec<T>, Failure>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut connection = self.connection.borrow_mut();
        let query = sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_all(&mut *connection);
        Ok(self.runtime.block_on(query)?)
    }
}

//! The world that is measured: a PostgreSQL of its own with durability on, the accounts, and the service as a process.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use steward::domain::ResellerId;
use steward::service::{Clock, Principal, Service, Settings, TokenRequest};
use steward::store::embedded::{Cluster, Search, Settings as ClusterSettings};
use steward::store::{PoolSettings, Store};
use tempfile::TempDir;

use crate::Failure;

/// The database of the service, and that of the yardsticks.
pub const STEWARD: &str = "steward";
pub const YARDSTICK: &str = "yardstick";

pub struct World {
    pub cluster: Cluster,
    pub tokens: Vec<String>,
    pub folder: TempDir,
}

impl World {
    /// Starts PostgreSQL and loads the same accounts into both databases.
    /// `owner` is who owns account n, as SQL says it.
    pub async fn make(
        accounts: u64,
        resellers: u64,
        owner: &str,
        folder: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        let folder = builder
            .prefix("steward-bench-")
            .tempdir_in(folder.unwrap_or_else(|| Path::new("/tmp")))?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let settings = ClusterSettings {
            data_dir: folder.path().to_owned(),
            search: Search::usual(None),
            fetch: true,
            durable: true,
            max_connections: 700,
        };
        let cluster = Cluster::start(&settings).await?;
        cluster.ensure_database(STEWARD).await?;
        Store::migrate(&cluster.options(STEWARD)).await?;
        let tokens = load(&cluster.options(STEWARD), accounts, resellers, owner).await?;
        Ok(Self {
            cluster,
            tokens,
            folder,
        })
    }

    /// Loads the yardsticks' database.
    pub async fn load_yardstick(&self, accounts: u64, resellers: u64) -> Result<(), Failure> {
        self.cluster.ensure_database(YARDSTICK).await?;
        let script = include_str!("yardstick/schema.sql")
            .replace(":accounts", &accounts.to_string())
            .replace(":resellers", &resellers.to_string());
        run(&self.cluster.options(YARDSTICK), &script).await
    }

    /// What the tables of the hot path take, with their indexes, and how they were updated.
    pub async fn sizes(&self) -> Result<Vec<Size>, Failure> {
        let mut connection = self.cluster.options(STEWARD).connect().await?;
        let rows: Vec<(String, f64, i64, i64)> = sqlx::query_as(
            "select kind, sum(pg_total_relation_size(relid)) / 1048576.0::float8, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint
             from (select regexp_replace(relname, '_[0-9]{8}$', '') as kind, * from pg_stat_user_tables) as s
             where kind in ('account', 'hold', 'journal') group by kind order by kind",
        )
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        Ok(rows
            .into_iter()
            .map(|(table, mib, updates, hot)| Size {
                table,
                mib,
                updates,
                hot,
            })
            .collect())
    }

    pub fn database_pid(&self) -> u32 {
        self.cluster.pid().unwrap_or_default()
    }

    /// The folder of the server's socket.
    pub fn sockets(&self) -> PathBuf {
        self.cluster
            .options(STEWARD)
            .get_socket()
            .cloned()
            .unwrap_or_default()
    }

    /// Starts the service as a process, and says how long it took until it was ready.
    pub fn serve(&self, settings: &[(&str, &str)]) -> Result<Serving, Failure> {
        let ready = self.folder.path().join("ready.json");
        let _not_there = std::fs::remove_file(&ready);
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_steward"))
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .env(
                "DATABASE_URL",
                self.cluster.options(STEWARD).to_url_lossy().as_str(),
            )
            .env("STEWARD_SERVER__LISTEN", "127.0.0.1:0")
            .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
            .env("STEWARD_LOG__LEVEL", "warn")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .spawn()?;
        let mut serving = Serving {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            took: Duration::ZERO,
        };
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                serving.took = started.elapsed();
                let value: serde_json::Value = serde_json::from_str(&text)?;
                serving.address = value
                    .get("listen")
                    .and_then(serde_json::Value::as_str)
                    .ok_or("no address")?
                    .parse()?;
                return Ok(serving);
            }
            if serving.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(30) {
                return Err("the service did not start".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A table: its size with its indexes, and its updates so far.
pub struct Size {
    pub table: String,
    pub mib: f64,
    pub updates: i64,
    pub hot: i64,
}

/// The service's process; ended when dropped.
pub struct Serving {
    child: Child,
    pub address: SocketAddr,
    /// From its start until it was ready.
    pub took: Duration,
}

impl Serving {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _status = self.child.wait();
    }
}

/// Runs a script, as the owner of the tables.
pub async fn run(options: &PgConnectOptions, script: &str) -> Result<(), Failure> {
    let mut connection = options.connect().await?;
    // One after the other: a vacuum must not stand in a transaction with others.
    for statement in script
        .split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

/// Resellers and accounts, as they would stand after years: by the owner of the tables, which is quicker than the service.
async fn load(
    options: &PgConnectOptions,
    accounts: u64,
    resellers: u64,
    owner: &str,
) -> Result<Vec<String>, Failure> {
    let script = include_str!("accounts.sql")
        .replace(":owner", owner)
        .replace(":accounts", &accounts.to_string())
        .replace(":resellers", &resellers.to_string());
    run(options, &script).await?;
    let pool = PoolSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_mins(1),
    };
    let service = Arc::new(Service::start(
        Store::new(options.clone(), &pool),
        Clock::System,
        Settings::default(),
    ));
    service.prepare_journal(2).await?;
    let mut tokens = Vec::new();
    let by = Principal::command_line();
    for some in (1..=i64::try_from(resellers)?)
        .collect::<Vec<_>>()
        .chunks(64)
    {
        let made = some.iter().map(|reseller| {
            let request = TokenRequest {
                reseller: Some(ResellerId(*reseller)),
                ..TokenRequest::default()
            };
            service.create_token(&by, request, None)
        });
        for token in join_all(made).await {
            tokens.push(token?.done()?.token.expose_secret().to_owned());
        }
    }
    service.stop().await;
    run(options, "vacuum analyze;\ncheckpoint").await?;
    Ok(tokens)
}

//! The environment of a benchmark: its own PostgreSQL with durability on, the accounts, and the
//! service as a separate process.

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

/// The database of the service.
pub const STEWARD: &str = "steward";
/// The database of the hand-written code that the service is compared with.
pub const YARDSTICK: &str = "yardstick";

pub struct World {
    pub cluster: Cluster,
    /// One token for each reseller, in order.
    pub tokens: Vec<String>,
    pub folder: TempDir,
}

impl World {
    /// Starts PostgreSQL and loads the accounts into the service's database. `owner` is an SQL
    /// expression for the reseller that owns account n.
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
        let tokens = load(
            &cluster.superuser_options(STEWARD),
            accounts,
            resellers,
            owner,
        )
        .await?;
        Ok(Self {
            cluster,
            tokens,
            folder,
        })
    }

    /// Loads the same accounts into the yardsticks' database.
    pub async fn load_yardstick(&self, accounts: u64, resellers: u64) -> Result<(), Failure> {
        self.cluster.ensure_database(YARDSTICK).await?;
        let script = include_str!("yardstick/schema.sql")
            .replace(":accounts", &accounts.to_string())
            .replace(":resellers", &resellers.to_string());
        run(&self.cluster.options(YARDSTICK), &script).await?;
        run(&self.cluster.superuser_options(YARDSTICK), "checkpoint").await
    }

    /// The sizes of the tables that a change writes to, and the numbers of their updates.
    pub async fn sizes(&self) -> Result<Vec<Size>, Failure> {
        let mut connection = self.cluster.superuser_options(STEWARD).connect().await?;
        let rows: Vec<(String, f64, i64, i64)> = sqlx::query_as(
            "select kind, sum(pg_total_relation_size(relid)) / 1048576.0::float8, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint
             from (select regexp_replace(relname, '_[0-9]{8}$', '') as kind, * from pg_stat_user_tables) as s
             where kind in ('account', 'held', 'journal') group by kind order by kind",
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

    /// The folder of the database's Unix socket.
    pub fn sockets(&self) -> PathBuf {
        self.cluster
            .options(STEWARD)
            .get_socket()
            .cloned()
            .unwrap_or_default()
    }

    /// Starts the service as a process and waits until it is ready.
    pub fn serve(&self, settings: &[(&str, &str)]) -> Result<Serving, Failure> {
        let ready = self.folder.path().join("ready.json");
        let _absent = std::fs::remove_file(&ready);
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

/// The size of a table with its indexes, and the number of its updates so far.
pub struct Size {
    pub table: String,
    pub mib: f64,
    pub updates: i64,
    /// The updates that changed no index (heap-only tuples).
    pub hot: i64,
}

/// The process of the service. Dropping it ends the process.
pub struct Serving {
    child: Child,
    pub address: SocketAddr,
    /// The time from its start until it was ready.
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

/// Runs an SQL script as the owner of the tables.
pub async fn run(options: &PgConnectOptions, script: &str) -> Result<(), Failure> {
    let mut connection = options.connect().await?;
    // Statements are sent one by one, because VACUUM cannot run in a transaction with others.
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

/// Loads resellers and accounts with SQL, which is faster than through the service, and makes a
/// token for each reseller.
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
    for chunk in (1..=i64::try_from(resellers)?)
        .collect::<Vec<_>>()
        .chunks(64)
    {
        let made = chunk.iter().map(|reseller| {
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

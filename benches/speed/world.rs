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
/// The database of the hand-written code that does the same work as the service.
pub const SAME: &str = "same";
/// An SQL expression: whether account n is frozen at first. It spreads the frozen accounts evenly
/// over the resellers and over the pages of the table.
const FROZEN: &str = "((n - 1) / :resellers + (n - 1) % :resellers) % :every = 0";

pub struct World {
    pub cluster: Cluster,
    /// One token for each reseller, in order.
    pub tokens: Vec<String>,
    /// A token of the operator.
    pub operator: String,
    pub folder: TempDir,
}

/// What the service's database is loaded with.
struct Data<'a> {
    accounts: u64,
    resellers: u64,
    /// SQL expressions: the reseller that owns account n, and whether it is frozen.
    owner: &'a str,
    frozen: &'a str,
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
        let data = Data {
            accounts,
            resellers,
            owner,
            frozen: "false",
        };
        Self::load(&data, folder).await
    }

    /// As [`World::make`], with equally many accounts for each reseller, of which one of `every` is
    /// frozen.
    pub async fn with_frozen(
        accounts: u64,
        resellers: u64,
        every: u64,
        folder: Option<&Path>,
    ) -> Result<Self, Failure> {
        let data = Data {
            accounts,
            resellers,
            owner: "(n - 1) % :resellers + 1",
            frozen: &FROZEN.replace(":every", &every.to_string()),
        };
        Self::load(&data, folder).await
    }

    async fn load(data: &Data<'_>, folder: Option<&Path>) -> Result<Self, Failure> {
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
        let mut tokens = load(&cluster.superuser_options(STEWARD), data).await?;
        Ok(Self {
            cluster,
            operator: tokens.pop().unwrap_or_default(),
            tokens,
            folder,
        })
    }

    /// Loads the same accounts into the databases of the hand-written code.
    pub async fn load_yardsticks(
        &self,
        accounts: u64,
        resellers: u64,
        every: u64,
    ) -> Result<(), Failure> {
        for (database, schema) in [
            (YARDSTICK, include_str!("yardstick/schema.sql")),
            (SAME, include_str!("yardstick/same_schema.sql")),
        ] {
            self.cluster.ensure_database(database).await?;
            let script = schema
                .replace(":frozen", FROZEN)
                .replace(":every", &every.to_string())
                .replace(":accounts", &accounts.to_string())
                .replace(":resellers", &resellers.to_string());
            run(&self.cluster.options(database), &script).await?;
        }
        run(&self.cluster.superuser_options(YARDSTICK), "checkpoint").await
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
/// token for each reseller, and one for the operator, which is the last.
async fn load(options: &PgConnectOptions, data: &Data<'_>) -> Result<Vec<String>, Failure> {
    let script = include_str!("accounts.sql")
        .replace(":owner", data.owner)
        .replace(":frozen", data.frozen)
        .replace(":accounts", &data.accounts.to_string())
        .replace(":resellers", &data.resellers.to_string());
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
    let owners: Vec<Option<ResellerId>> = (1..=i64::try_from(data.resellers)?)
        .map(|reseller| Some(ResellerId(reseller)))
        .chain([None])
        .collect();
    for chunk in owners.chunks(64) {
        let made = chunk.iter().map(|reseller| {
            let request = TokenRequest {
                reseller: *reseller,
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

//! The environment: a PostgreSQL with durability on, a database for each scenario, and the service
//! as a separate process.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use steward::store::embedded::{Cluster, Search, Settings};
use tempfile::TempDir;

use crate::Failure;

/// The accounts of the bad neighbour.
pub const FIRST_ACCOUNTS: i64 = 60_000;
/// The accounts of the second reseller, and of the third.
pub const OTHER_ACCOUNTS: i64 = 3_000;
/// The first account of the second reseller.
pub const SECOND_FROM: i64 = FIRST_ACCOUNTS + 1;
/// The first account of the third reseller.
pub const THIRD_FROM: i64 = SECOND_FROM + OTHER_ACCOUNTS;
/// The first accounts of the two helpers of the bad neighbour, which have 50 accounts each.
pub const HELPERS_FROM: [i64; 2] = [
    THIRD_FROM + OTHER_ACCOUNTS,
    THIRD_FROM + OTHER_ACCOUNTS + 50,
];
/// The number of resellers.
const RESELLERS: usize = 5;
/// The database that the others are copies of.
const TEMPLATE: &str = "template_of_all";

/// A reseller as a caller: its address and its token.
#[derive(Debug, Clone)]
pub struct Party {
    pub source: Ipv4Addr,
    pub token: String,
}

/// The callers. Each has a loopback address of its own.
#[derive(Debug, Clone)]
pub struct Parties {
    /// The bad neighbour.
    pub first: Party,
    /// The one that is measured.
    pub second: Party,
    /// The harmless one that the bad neighbour is compared with.
    pub third: Party,
    /// Two resellers that help the bad neighbour where one reseller may not have enough endpoints.
    pub helpers: Vec<Party>,
}

#[derive(Debug)]
pub struct World {
    cluster: Cluster,
    binary: PathBuf,
    pub parties: Parties,
    folder: TempDir,
}

impl World {
    /// Starts PostgreSQL and makes the database that each scenario gets a copy of.
    pub async fn make(binary: &Path, folder: Option<&Path>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("steward-bench-")
            .tempdir_in(folder.unwrap_or_else(|| Path::new("/tmp")))?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let settings = Settings {
            data_dir: folder.path().to_owned(),
            search: Search::usual(None),
            fetch: true,
            durable: true,
            max_connections: 200,
        };
        let cluster = Cluster::start(&settings).await?;
        let nobody = Party {
            source: Ipv4Addr::LOCALHOST,
            token: String::new(),
        };
        let mut world = Self {
            cluster,
            binary: binary.to_owned(),
            parties: Parties {
                first: nobody.clone(),
                second: nobody.clone(),
                third: nobody,
                helpers: Vec::new(),
            },
            folder,
        };
        let tokens = world.fill(TEMPLATE).await?;
        world.parties = parties(tokens)?;
        Ok(world)
    }

    /// Migrates and loads a database. Returns a token for each reseller.
    async fn fill(&self, database: &str) -> Result<Vec<String>, Failure> {
        self.cluster.ensure_database(database).await?;
        self.steward(database, &["migrate"])?;
        let script = include_str!("load.sql")
            .replace(":first", &FIRST_ACCOUNTS.to_string())
            .replace(":others", &OTHER_ACCOUNTS.to_string());
        run(&self.cluster.superuser_options(database), &script).await?;
        (1..=RESELLERS)
            .map(|reseller| {
                let reseller = reseller.to_string();
                let made = self.steward(
                    database,
                    &["token", "create", "--reseller", &reseller, "--json"],
                )?;
                let made: serde_json::Value = serde_json::from_str(&made)?;
                let token = made.get("token").and_then(serde_json::Value::as_str);
                Ok(token.ok_or("no token")?.to_owned())
            })
            .collect()
    }

    /// Runs a command of the measured program and returns what it printed.
    fn steward(&self, database: &str, arguments: &[&str]) -> Result<String, Failure> {
        let output = self
            .command(database)
            .args(arguments)
            .stderr(Stdio::piped())
            .output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("steward {}: {why}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn command(&self, database: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env(
                "DATABASE_URL",
                self.cluster.options(database).to_url_lossy().as_str(),
            )
            .env("STEWARD_LOG__LEVEL", "error");
        command
    }

    /// Makes a database like all others. `name` must be new.
    pub async fn database(&mut self, name: &str) -> Result<(), Failure> {
        let copy = format!("create database \"{name}\" template \"{TEMPLATE}\" owner steward");
        if run(&self.cluster.superuser_options("postgres"), &copy)
            .await
            .is_err()
        {
            // The cluster's login may not be allowed to copy databases. The tokens are then new.
            let tokens = self.fill(name).await?;
            self.parties = parties(tokens)?;
        }
        Ok(())
    }

    /// Removes a database, so that what a scenario left behind does not slow down the next one.
    pub async fn remove(&self, name: &str) {
        let drop = format!("drop database if exists \"{name}\" with (force)");
        if let Err(error) = run(&self.cluster.superuser_options("postgres"), &drop).await {
            eprintln!("the database {name} stays: {error}");
        }
    }

    /// A number that a statement returns.
    pub async fn number(&self, database: &str, statement: &str) -> Result<i64, Failure> {
        let mut connection = self.cluster.superuser_options(database).connect().await?;
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let number: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(number)
    }

    /// Starts the service on a database and waits until it is ready.
    pub async fn serve(&self, database: &str, connections: u64) -> Result<Serving, Failure> {
        let ready = self.folder.path().join(format!("{database}.json"));
        let started = Instant::now();
        let child = self
            .command(database)
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .env("STEWARD_SERVER__LISTEN", "127.0.0.1:0")
            .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
            .env("STEWARD_WEBHOOKS__ALLOW_HTTP", "true")
            .env("STEWARD_WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]")
            .env("STEWARD_LIMITS__CONNECTIONS", connections.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving = Serving {
            child,
            api: none,
            management: none,
        };
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let value: serde_json::Value = serde_json::from_str(&text)?;
                let address = |name: &str| -> Result<SocketAddr, Failure> {
                    let text = value.get(name).and_then(serde_json::Value::as_str);
                    Ok(text.ok_or("no address")?.parse()?)
                };
                (serving.api, serving.management) = (address("listen")?, address("management")?);
                return Ok(serving);
            }
            if serving.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(30) {
                return Err("the service did not start".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

fn parties(tokens: Vec<String>) -> Result<Parties, Failure> {
    let mut tokens = tokens.into_iter();
    let mut party = |last: u8| {
        let token = tokens.next().ok_or("a token is missing")?;
        let source = Ipv4Addr::new(127, 0, 0, last);
        Ok::<_, Failure>(Party { source, token })
    };
    Ok(Parties {
        first: party(66)?,
        second: party(2)?,
        third: party(3)?,
        helpers: vec![party(67)?, party(68)?],
    })
}

/// The process of the service. Dropping it ends the process.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    pub api: SocketAddr,
    pub management: SocketAddr,
}

impl Serving {
    /// Makes the kernel forget the largest memory use so far.
    pub fn forget_peak(&self) -> Result<(), Failure> {
        Ok(std::fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
    }

    /// The largest resident memory since [`Self::forget_peak`], in MiB. `None` if the process is
    /// gone.
    pub fn peak(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Kills the process. A shutdown in order would wait for the connections of an attack, and the
    /// database is thrown away.
    pub fn end(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs an SQL script, statement by statement, because VACUUM cannot run in a transaction.
async fn run(options: &PgConnectOptions, script: &str) -> Result<(), Failure> {
    let mut connection = options.connect().await?;
    for statement in script.split(";\n").map(str::trim) {
        if !statement.is_empty() {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
                .execute(&mut connection)
                .await?;
        }
    }
    connection.close().await?;
    Ok(())
}

/// The limit on open files of this process, raised to what the system allows. The service has the
/// same.
pub fn open_files() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1_024;
    };
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard)
}

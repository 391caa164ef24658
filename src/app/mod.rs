//! The composition root: opens the database, starts the service, the listeners and the workers, and
//! stops them in order.

mod database;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::{Config, Problem};
use crate::dialects::{admin, soap, v3};
use crate::domain::Error;
use crate::service::{Clock, Service};
use crate::store::embedded;
use crate::store::{Finding, Store};
use crate::webhooks::Dispatcher;
use crate::{files, http, jobs};

pub use database::{Database, EMBEDDED_DATABASE};

/// How long sent bytes may stay unacknowledged by a client before its connection is closed.
const UNREAD: Duration = Duration::from_secs(30);
/// The maximum number of connections to the management listener.
const MANAGEMENT_CONNECTIONS: usize = 256;
/// Open files reserved for everything but client connections: the database, webhooks, the
/// listeners.
const RESERVED_FILES: usize = 512;

/// Why the service could not start, or why it stopped. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is invalid.
    #[error("configuration: {0}")]
    Configuration(#[from] Problem),
    /// The embedded cluster cannot be started.
    #[error(transparent)]
    Embedded(#[from] embedded::Failure),
    /// The data folder has no database, and this command does not make one.
    #[error(
        "there is no database in {folder}, the folder that the key database.data_dir \
         (STEWARD_DATABASE__DATA_DIR) names: correct the key, or set database.url (DATABASE_URL) \
         for a PostgreSQL server. A new database is made only by `steward serve`, `steward demo`, \
         `steward migrate` and `steward restore`"
    )]
    NoDatabase {
        /// The folder.
        folder: PathBuf,
    },
    /// The database URL cannot be parsed.
    #[error("database.url: {0}")]
    Url(String),
    /// Two things are wrong at once.
    #[error("{0}\n  {1}")]
    Both(Box<Self>, Box<Self>),
    /// A migration failed.
    #[error("migration: {0}")]
    Migration(String),
    /// The start-up checks of the database found problems.
    #[error("the database cannot be used:\n{0}")]
    Unfit(String),
    /// The service refused a command, or failed.
    #[error("{0}")]
    Service(#[from] Error),
    /// A listener cannot be bound.
    #[error(
        "cannot listen on {address}: {}; set {key} ({flag}) to another address; port 0 picks a \
         free one", reason(.source)
    )]
    Listen {
        /// The key of the address.
        key: &'static str,
        /// The variable and the flag that set it.
        flag: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The webhook dispatcher cannot be started.
    #[error("webhooks: {0}")]
    Dispatcher(String),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The embedded PostgreSQL stopped while the service was running, and cannot be restarted.
    #[error(
        "the embedded PostgreSQL stopped and cannot be restarted; see its log in the data directory"
    )]
    DatabaseDied,
}

/// Why an address cannot be listened on.
fn reason(error: &std::io::Error) -> String {
    let kind = error.kind();
    if kind == std::io::ErrorKind::AddrInUse {
        "another program listens there".to_owned()
    } else if kind == std::io::ErrorKind::AddrNotAvailable {
        "this machine has no such address".to_owned()
    } else if kind == std::io::ErrorKind::PermissionDenied {
        "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
    } else {
        error.to_string()
    }
}

/// Whether missing migrations are applied at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Apply them, also to a new database.
    Apply,
    /// Apply them to an embedded database, which only this service uses. Check any other database.
    /// Refuse to start if there is none.
    ApplyIfEmbedded,
    /// Refuse to start if any is missing, or if there is no database.
    Check,
}

/// The service with its database, but without listeners. The commands use it directly.
#[derive(Debug)]
pub struct Running {
    /// The service.
    pub service: Arc<Service>,
    database: Database,
    /// What is wrong with the login of the database URL, although the service can run.
    login_finding: Option<Finding>,
}

impl Running {
    /// Opens the database, checks it, and starts the service.
    ///
    /// # Errors
    /// [`Failure`]. The embedded cluster is stopped again.
    pub async fn start(config: &Config, migrations: Migrations) -> Result<Self, Failure> {
        let database = match migrations {
            Migrations::Apply => Database::open_or_create(config).await?,
            Migrations::ApplyIfEmbedded | Migrations::Check => Database::open(config).await?,
        };
        match Self::start_service(config, migrations, &database).await {
            Ok((service, login_finding)) => Ok(Self {
                service: Arc::new(service),
                database,
                login_finding,
            }),
            Err(failure) => {
                database.close().await;
                Err(failure)
            }
        }
    }

    async fn start_service(
        config: &Config,
        migrations: Migrations,
        database: &Database,
    ) -> Result<(Service, Option<Finding>), Failure> {
        let apply = match migrations {
            Migrations::Apply => true,
            Migrations::ApplyIfEmbedded => database.cluster.is_some(),
            Migrations::Check => false,
        };
        if apply {
            let applied = database.migrate().await?;
            if applied > 0 {
                info!(applied, "applied migrations");
            }
        }
        let store = Store::new(database.options.clone(), &config.pool());
        let report = store.check_schema().await?;
        let findings = [report.schema_findings, report.access_findings].concat();
        if !findings.is_empty() {
            let lines: Vec<_> = findings
                .iter()
                .map(|finding| format!("  {}: {}", finding.problem, finding.remedy))
                .collect();
            return Err(Failure::Unfit(lines.join("\n")));
        }
        let service = Service::start(store, Clock::System, config.service());
        let service = match config.verifier()? {
            Some(verifier) => service.trusting(verifier),
            None => service,
        };
        if apply {
            // Create the partitions before the first entry is written. A day that already has
            // entries cannot leave the default partition.
            service.prepare_journal(jobs::JOURNAL_DAYS).await?;
        }
        Ok((service, report.login_finding))
    }

    /// Finishes the work in progress, then stops the embedded database if this process started it.
    pub async fn stop(self) {
        self.service.stop().await;
        self.database.close().await;
    }

    async fn database_died(&self) {
        match &self.database.cluster {
            Some(cluster) => cluster.died().await,
            None => std::future::pending().await,
        }
    }
}

/// Which parts of the service run in this process.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Whether the API is served.
    pub listeners: bool,
    /// Whether the background jobs and the webhook dispatcher run.
    pub workers: bool,
    /// A file to write when the service is ready: `{"listen": "...", "management": "..."}`.
    /// `None` means that no file is written.
    pub ready_file: Option<PathBuf>,
}

/// The addresses that the service listens on.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The address of the API. `None` means that this process does not serve it.
    pub listen: Option<SocketAddr>,
    /// The address of the management endpoints.
    pub management: SocketAddr,
}

/// Serves until `stop` resolves. Then `/readyz` answers 503, new connections are refused, and
/// requests in flight and queued changes are finished, for at most
/// `server.shutdown_timeout_seconds`. Last, the embedded database is stopped if this process
/// started it.
///
/// # Errors
/// [`Failure`].
pub async fn serve(
    running: Running,
    config: &Config,
    options: &ServeOptions,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Bound),
) -> Result<(), Failure> {
    if let Some(finding) = &running.login_finding {
        warn!(problem = %finding.problem, remedy = %finding.remedy, "the database login has too many rights");
    }
    let readiness = http::Readiness::default();
    let stopping = CancellationToken::new();
    // The management listener stops last, so that /readyz and /metrics answer during the shutdown.
    let ended = CancellationToken::new();

    let outcome = async {
        let management =
            start_management(&running, config, readiness.clone(), ended.clone()).await?;
        // These tasks finish their work in progress after `stopping` is cancelled.
        let draining = TaskTracker::new();
        let listen = if options.listeners {
            Some(start_api(&running, config, &draining, stopping.clone()).await?)
        } else {
            None
        };
        running.service.prepare_signing_key().await?;
        running.service.load_restorations().await?;
        running.service.remember_credentials();
        if options.workers {
            start_workers(&running, config, &draining, &stopping)?;
        }
        let bound = Bound { listen, management };
        if let Some(path) = &options.ready_file {
            write_ready_file(path, bound)?;
        }
        info!(listen = listen.map(tracing::field::display), %management, "listening");
        ready(bound);

        let outcome = tokio::select! {
            () = stop => Ok(()),
            () = running.database_died() => Err(Failure::DatabaseDied),
        };
        info!("stopping");
        readiness.withdraw();
        stopping.cancel();
        running.service.begin_stopping();
        draining.close();
        let timeout = Duration::from_secs(config.server.shutdown_timeout_seconds);
        if tokio::time::timeout(timeout, draining.wait())
            .await
            .is_err()
        {
            warn!(
                "the shutdown timeout ended while requests or deliveries were still in flight; \
                 raise server.shutdown_timeout_seconds to wait longer"
            );
        }
        outcome
    }
    .await;

    stopping.cancel();
    ended.cancel();
    running.stop().await;
    if let Err(failure) = &outcome {
        error!(%failure, "stopped");
    } else {
        info!("stopped");
    }
    outcome
}

/// Starts the management listener, and returns its address.
async fn start_management(
    running: &Running,
    config: &Config,
    readiness: http::Readiness,
    stop: CancellationToken,
) -> Result<SocketAddr, Failure> {
    let (listener, address) = bind_management(config).await?;
    let limits = http::Limits {
        connections: MANAGEMENT_CONNECTIONS,
        connections_per_address: MANAGEMENT_CONNECTIONS,
        ..limits(config)
    };
    let router = http::management(Arc::clone(&running.service), readiness);
    // Its connections go into a registry that nobody reads: the metrics count API clients only.
    tokio::spawn(http::serve(listener, router, limits, Arc::default(), stop));
    Ok(address)
}

/// Starts the API listener, and returns its address.
async fn start_api(
    running: &Running,
    config: &Config,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<SocketAddr, Failure> {
    let (listener, address) = bind_api(config).await?;
    let service = &running.service;
    let apis = http::Apis {
        admin: admin::Api {
            service: Arc::clone(service),
            settings: Arc::new(config.admin()),
        },
        v3: v3::Api {
            service: Arc::clone(service),
            settings: Arc::new(config.v3()),
        },
        soap: soap::Api {
            service: Arc::clone(service),
            settings: Arc::new(config.soap()),
        },
    };
    let router = http::router(apis, &config.http());
    let metrics = Arc::clone(service.metrics());
    tasks.spawn(http::serve(listener, router, limits(config), metrics, stop));
    Ok(address)
}

/// Starts the background jobs and the webhook dispatcher.
fn start_workers(
    running: &Running,
    config: &Config,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let service = &running.service;
    tokio::spawn(jobs::run(Arc::clone(service), config.jobs(), stop.clone()));
    let dispatcher =
        Dispatcher::new(Arc::clone(service), config.dispatcher()).map_err(Failure::Dispatcher)?;
    tasks.spawn(dispatcher.run(stop.clone()));
    Ok(())
}

/// Checks that both configured addresses are free.
///
/// # Errors
/// [`Failure::Listen`].
pub async fn check_addresses(config: &Config) -> Result<(), Failure> {
    match (bind_api(config).await, bind_management(config).await) {
        (Err(one), Err(other)) => Err(Failure::Both(Box::new(one), Box::new(other))),
        (one, other) => one.and(other).map(drop),
    }
}

async fn bind_api(config: &Config) -> Result<(TcpListener, SocketAddr), Failure> {
    bind(
        config.server.listen,
        "server.listen",
        "STEWARD_SERVER__LISTEN, --listen",
    )
    .await
}

async fn bind_management(config: &Config) -> Result<(TcpListener, SocketAddr), Failure> {
    bind(
        config.server.management_listen,
        "server.management_listen",
        "STEWARD_SERVER__MANAGEMENT_LISTEN, --management-listen",
    )
    .await
}

/// Binds an address. The returned address has the port that the system chose for port 0.
async fn bind(
    wanted: SocketAddr,
    key: &'static str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(wanted)
        .await
        .map_err(|source| Failure::Listen {
            key,
            flag,
            address: wanted,
            source,
        })?;
    let address = listener.local_addr().unwrap_or(wanted);
    Ok((listener, address))
}

/// The limits of the API listener; connections at most what the limit on open files allows.
fn limits(config: &Config) -> http::Limits {
    let files = usize::try_from(http::raise_file_limit()).unwrap_or(usize::MAX);
    let wanted = config.limits.connections;
    let connections = wanted.min(files.saturating_sub(RESERVED_FILES).max(1));
    if connections < wanted {
        warn!(
            wanted,
            connections,
            "lowered the connection limit: limits.connections is above the limit on open files (ulimit -n)"
        );
    }
    http::Limits {
        connections,
        connections_per_address: config.shares.connections_per_address,
        trusted_proxies: config.server.trusted_proxies.clone().into(),
        head: Duration::from_secs(config.server.idle_timeout_seconds),
        unread: UNREAD,
    }
}

fn write_ready_file(path: &Path, bound: Bound) -> Result<(), Failure> {
    let content =
        serde_json::json!({ "listen": bound.listen, "management": bound.management }).to_string();
    files::replace(path, 0o666, content.as_bytes()).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })
}

/// Resolves on SIGTERM or Ctrl-C.
pub async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        error!("cannot install signal handlers; only SIGKILL stops this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

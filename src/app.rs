//! The composition root: from a configuration to a running service, and back to nothing.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::{Config, Problem};
use crate::dialects::{admin, soap, v3};
use crate::domain::Error;
use crate::service::{Clock, Service};
use crate::store::Store;
use crate::store::embedded::{self, Cluster};
use crate::webhooks::Dispatcher;
use crate::{http, jobs};

/// The database's name in the embedded cluster.
pub const EMBEDDED_DATABASE: &str = "steward";

/// How long bytes that were sent to a caller may go without being taken.
const UNREAD: Duration = Duration::from_secs(30);
/// Connections to the management listener.
const MANAGEMENT_CONNECTIONS: usize = 256;
/// Files that are not callers' connections: the database, webhooks, the listeners.
const FILES_OF_OUR_OWN: usize = 512;

/// Why the service does not run. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error("configuration: {0}")]
    Configuration(#[from] Problem),
    /// The embedded cluster.
    #[error(transparent)]
    Embedded(#[from] embedded::Failure),
    /// The database's address.
    #[error("database.url: {0}")]
    Url(String),
    /// The migrations.
    #[error("migration: {0}")]
    Migration(String),
    /// The database is not as it must be.
    #[error("the database is not fit:\n{0}")]
    Unfit(String),
    /// The service refused or failed.
    #[error("{0}")]
    Service(#[from] Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Deliveries cannot be made.
    #[error("webhooks: {0}")]
    Dispatcher(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The embedded server died for good while the service ran.
    #[error(
        "the embedded PostgreSQL died and does not come back; its log is in the data directory"
    )]
    DatabaseDied,
}

/// Whether the migrations are applied on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Applied.
    Apply,
    /// Applied on the embedded database, which has no other user; elsewhere only checked.
    ApplyIfEmbedded,
    /// Only checked.
    Check,
}

/// The database: an address, and the cluster behind it where it is ours.
#[derive(Debug)]
pub struct Database {
    options: PgConnectOptions,
    cluster: Option<Cluster>,
}

impl Database {
    /// Finds the configured database, or starts (or joins) the embedded one.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        if let Some(url) = config.database_url() {
            let options = PgConnectOptions::from_str(url.expose_secret())
                .map_err(|error| Failure::Url(error.to_string()))?;
            return Ok(Self {
                options,
                cluster: None,
            });
        }
        let cluster = Cluster::start(&config.embedded()?).await?;
        cluster.ensure_database(EMBEDDED_DATABASE).await?;
        Ok(Self {
            options: cluster.options(EMBEDDED_DATABASE),
            cluster: Some(cluster),
        })
    }

    /// How it is reached.
    #[must_use]
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Applies the migrations; says how many were missing.
    ///
    /// # Errors
    /// [`Failure::Migration`].
    pub async fn migrate(&self) -> Result<usize, Failure> {
        Store::migrate(&self.options)
            .await
            .map_err(Failure::Migration)
    }

    /// Stops the cluster, if it is ours.
    pub async fn close(self) {
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// The service on its database, without listeners: what the commands work with.
#[derive(Debug)]
pub struct Running {
    /// The service.
    pub service: Arc<Service>,
    database: Database,
}

impl Running {
    /// Starts the service on a database that was checked to be fit.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(config: &Config, migrations: Migrations) -> Result<Self, Failure> {
        let database = Database::open(config).await?;
        match Self::on(config, migrations, &database).await {
            Ok(service) => Ok(Self {
                service: Arc::new(service),
                database,
            }),
            Err(failure) => {
                database.close().await;
                Err(failure)
            }
        }
    }

    async fn on(
        config: &Config,
        migrations: Migrations,
        database: &Database,
    ) -> Result<Service, Failure> {
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
        let findings = store.check().await?;
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
            // Before the first entry is written: a day that has entries already stays in the default partition.
            service.prepare_journal(jobs::JOURNAL_DAYS).await?;
        }
        Ok(service)
    }

    /// Finishes what is under way, then stops the database if it is ours.
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

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Whether requests are answered.
    pub listeners: bool,
    /// Whether the jobs run.
    pub workers: bool,
    /// Written once requests are answered: `{"listen": "...", "management": "..."}`.
    pub ready_file: Option<PathBuf>,
}

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The API.
    pub listen: Option<SocketAddr>,
    /// The management endpoints.
    pub management: SocketAddr,
}

/// Serves until `stop` resolves: `/readyz` then answers 503, no new connections are taken, requests in flight and
/// what is queued are finished within the configured time, and the database is stopped if it is ours.
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
    let readiness = http::Readiness::default();
    let (stopping, gone) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();

    let outcome = async {
        let management = bind(config.server.management_listen).await?;
        let mut bound = Bound { listen: None, management: address(&management, config.server.management_listen) };
        let metrics = Arc::clone(running.service.metrics());
        let few = http::Limits { connections: MANAGEMENT_CONNECTIONS, ..limits(config) };
        let management_router = http::management(Arc::clone(&running.service), readiness.clone());
        // What it takes is not what callers take: it is counted apart, which is nowhere.
        tasks.spawn(http::serve(management, management_router, few, Arc::default(), gone.clone()));
        let api = TaskTracker::new();
        if options.listeners {
            let listener = bind(config.server.listen).await?;
            bound.listen = Some(address(&listener, config.server.listen));
            let apis = http::Apis {
                admin: admin::Api { service: Arc::clone(&running.service), settings: Arc::new(config.admin()) },
                v3: v3::Api { service: Arc::clone(&running.service), settings: Arc::new(config.v3()) },
                soap: soap::Api { service: Arc::clone(&running.service), settings: Arc::new(config.soap()) },
            };
            let router = http::router(apis, &config.http());
            api.spawn(http::serve(listener, router, limits(config), metrics, stopping.clone()));
        }
        running.service.remember_credentials();
        if options.workers {
            tasks.spawn(jobs::run(Arc::clone(&running.service), config.jobs(), stopping.clone()));
            let dispatcher = Dispatcher::new(Arc::clone(&running.service), config.dispatcher()).map_err(Failure::Dispatcher)?;
            api.spawn(dispatcher.run(stopping.clone()));
        }
        if let Some(path) = &options.ready_file {
            write_ready_file(path, bound)?;
        }
        info!(listen = bound.listen.map(tracing::field::display), management = %bound.management, "listening");
        ready(bound);

        let outcome = tokio::select! {
            () = stop => Ok(()),
            () = running.database_died() => Err(Failure::DatabaseDied),
        };
        info!("stopping");
        readiness.withdraw();
        stopping.cancel();
        running.service.begin_stopping();
        api.close();
        let patience = Duration::from_secs(config.server.shutdown_timeout_seconds);
        if tokio::time::timeout(patience, api.wait()).await.is_err() {
            warn!("requests were still in flight when the time to stop ran out");
        }
        outcome
    }
    .await;

    stopping.cancel();
    gone.cancel();
    tasks.close();
    running.stop().await;
    if let Err(failure) = &outcome {
        error!(%failure, "stopped");
    } else {
        info!("stopped");
    }
    outcome
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen { address, source })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// What callers' connections may take, and no more than there are files for.
fn limits(config: &Config) -> http::Limits {
    let files = usize::try_from(http::raise_file_limit()).unwrap_or(usize::MAX);
    let wanted = config.limits.connections;
    let connections = wanted.min(files.saturating_sub(FILES_OF_OUR_OWN).max(1));
    if connections < wanted {
        warn!(
            wanted,
            connections,
            "limits.connections is more than this process may have files open (ulimit -n)"
        );
    }
    http::Limits {
        connections,
        head: Duration::from_secs(config.server.idle_timeout_seconds),
        unread: UNREAD,
    }
}

/// Written beside and renamed, so that nobody reads half of it.
fn write_ready_file(path: &Path, bound: Bound) -> Result<(), Failure> {
    let content =
        serde_json::json!({ "listen": bound.listen, "management": bound.management }).to_string();
    let beside = path.with_extension("new");
    let failure = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    fs::write(&beside, content).map_err(failure)?;
    fs::rename(&beside, path).map_err(failure)
}

/// Resolves on SIGTERM or Ctrl-C.
pub async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        error!("signals cannot be listened to");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

//! The database that the configuration names, or the embedded one.

use std::str::FromStr as _;

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use tracing::warn;
use url::Url;

use super::Failure;
use crate::config::Config;
use crate::store::Store;
use crate::store::embedded::Cluster;

/// The name of the database in the embedded cluster.
pub const EMBEDDED_DATABASE: &str = "steward";

/// The parameters in the query of a database URL that the driver knows.
const URL_PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// The database: how to connect, and the cluster if it is the embedded one.
pub struct Database {
    pub(super) options: PgConnectOptions,
    pub(super) cluster: Option<Cluster>,
}

/// Leaves out the connection options, because they have the password in clear.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Reads a database URL. The driver logs the values of parameters that it does not know, and one of
/// them may be a misspelt password, so they are left out here.
fn connect_options(url: &str) -> Result<PgConnectOptions, Failure> {
    let invalid = |error: String| Failure::Url(error);
    let mut parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    let is_known = |name: &str| URL_PARAMETERS.contains(&name) || name.starts_with("options");
    let (known, unknown): (Vec<_>, Vec<_>) = parsed
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| is_known(name));
    for (name, _) in &unknown {
        warn!(
            parameter = name,
            "database.url: ignoring an unknown parameter"
        );
    }
    if !unknown.is_empty() {
        parsed.query_pairs_mut().clear().extend_pairs(known);
    }
    PgConnectOptions::from_str(parsed.as_str()).map_err(|error| invalid(error.to_string()))
}

impl Database {
    /// Uses the configured database URL; without one, starts the embedded cluster, or joins the
    /// cluster of a running service. The database may have no tables yet.
    ///
    /// # Errors
    /// [`Failure::Url`], [`Failure::Configuration`] or [`Failure::Embedded`].
    pub async fn open_or_create(config: &Config) -> Result<Self, Failure> {
        if let Some(url) = config.database_url() {
            return Ok(Self {
                options: connect_options(url.expose_secret())?,
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

    /// As [`Database::open_or_create`], but makes no new embedded database: a mistyped data folder
    /// must not look like a service that has lost its data.
    ///
    /// # Errors
    /// [`Failure::NoDatabase`] too.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        if config.database_url().is_some() {
            return Self::open_or_create(config).await;
        }
        let folder = config.data_dir()?;
        if !Cluster::exists(&folder) {
            return Err(Failure::NoDatabase { folder });
        }
        let database = Self::open_or_create(config).await?;
        match database.has_tables().await {
            Ok(true) => Ok(database),
            outcome => {
                database.close().await;
                outcome?;
                Err(Failure::NoDatabase { folder })
            }
        }
    }

    /// Whether the migrations have been applied to the database, at least the first one.
    ///
    /// # Errors
    /// [`Failure::Migration`] if the connection fails.
    pub async fn has_tables(&self) -> Result<bool, Failure> {
        Store::has_tables(&self.options)
            .await
            .map_err(Failure::Migration)
    }

    /// The configured database, or the embedded cluster if another process runs it now. Starts and
    /// creates nothing.
    ///
    /// # Errors
    /// [`Failure::Url`] or [`Failure::Configuration`].
    pub async fn find(config: &Config) -> Result<Option<Self>, Failure> {
        if config.database_url().is_some() {
            return Self::open(config).await.map(Some);
        }
        let cluster = Cluster::running(&config.data_dir()?);
        Ok(cluster.map(|cluster| Self {
            options: cluster.options(EMBEDDED_DATABASE),
            cluster: Some(cluster),
        }))
    }

    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Applies the missing migrations. Returns the number of applied migrations.
    ///
    /// # Errors
    /// [`Failure::Migration`].
    pub async fn migrate(&self) -> Result<usize, Failure> {
        Store::migrate(&self.options)
            .await
            .map_err(Failure::Migration)
    }

    /// Stops the embedded cluster if this process started it.
    pub async fn close(self) {
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

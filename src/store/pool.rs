//! The pools of connections to one database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::SERVICE_ROLE;
use super::tenancy::Tenancy;
use super::transaction::Tx;
use crate::domain::Error;

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The most connections, at least 3; 2 to 4 per core of the database is best.
    pub max_connections: u32,
    /// How long a transaction waits for a connection before it fails as unavailable.
    pub acquire_timeout: Duration,
    /// The longest that one statement may run on the server.
    pub statement_timeout: Duration,
}

/// How the connections plan that search and list: anew each time, for the tables as they are and the values that are
/// asked for.
pub const SEARCHING: &str = "set plan_cache_mode = force_custom_plan";
/// How the connections plan on which everything is looked up by its key: once, whatever the tables' sizes, because there is
/// one right way: from the keys, row by row, through the index. Planning anew cost more than executing. A cost that counts
/// rows alone says so to the planner even while the tables are empty and nothing is known of them.
pub const KEYED: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; \
  set enable_mergejoin = off; set seq_page_cost = 0; set random_page_cost = 0; set cpu_tuple_cost = 1; set cpu_index_tuple_cost = 1; set jit = off";

/// How many there are at most: one for each that works on many keys at a time (two lanes of changes; look-ups of accounts and of
/// credentials, which are short, share one). More would take turns, each with caches of its own on the server that the others'
/// work drives out of the processor's.
const MOST_KEYED: u32 = 3;

/// For how long: a table that was nearly empty when a statement was planned may have a million rows now.
const KEEP_PLANS: Duration = Duration::from_mins(2);

/// The connections to one database: a few for look-ups and changes by key, which are made many at a time, and the others for
/// everything else.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) pool: PgPool,
    pub(super) keyed: PgPool,
}

impl Store {
    /// Makes the pool; connects to nothing yet.
    #[must_use]
    pub fn new(options: PgConnectOptions, settings: &PoolSettings) -> Self {
        let options = options.application_name("steward");
        let keyed = (settings.max_connections / 2).clamp(1, MOST_KEYED);
        let others = settings.max_connections.saturating_sub(keyed).max(2);
        Self {
            pool: pool(
                options.clone(),
                settings,
                others,
                SEARCHING,
                Duration::from_mins(10),
            ),
            keyed: pool(options, settings, keyed, KEYED, KEEP_PLANS),
        }
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached in time.
    pub async fn begin(&self, tenancy: &Tenancy) -> Result<Tx, Error> {
        Tx::begin(&self.pool, "begin", tenancy).await
    }

    /// Begins a transaction that reads, all its statements from one snapshot.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached in time.
    pub async fn begin_reading(&self, tenancy: &Tenancy) -> Result<Tx, Error> {
        Tx::begin(
            &self.pool,
            "begin isolation level repeatable read read only",
            tenancy,
        )
        .await
    }

    /// Begins a transaction that writes, every row of it looked up by its key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached in time.
    pub async fn begin_keyed(&self, tenancy: &Tenancy) -> Result<Tx, Error> {
        Tx::begin(&self.keyed, "begin", tenancy).await
    }

    /// How the pools are now.
    #[must_use]
    pub fn pools(&self) -> [PoolState; 2] {
        [("general", &self.pool), ("keyed", &self.keyed)].map(|(name, pool)| {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            PoolState {
                name,
                idle,
                used: pool.size().saturating_sub(idle),
            }
        })
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
        self.keyed.close().await;
    }
}

/// How many connections a pool has.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// `general` or `keyed`.
    pub name: &'static str,
    /// Those that do nothing.
    pub idle: u32,
    /// Those at work.
    pub used: u32,
}

fn pool(
    options: PgConnectOptions,
    settings: &PoolSettings,
    connections: u32,
    planning: &str,
    lifetime: Duration,
) -> PgPool {
    let prepare: Arc<str> = format!(
        "set role {SERVICE_ROLE}; set statement_timeout = {}; set idle_in_transaction_session_timeout = '10s'; set timezone = 'UTC'; {planning}",
        settings.statement_timeout.as_millis()
    )
    .into();
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(lifetime)
        // A ping before every use costs up to a tenth of the throughput; Tx::begin tries another connection instead.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let prepare = Arc::clone(&prepare);
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(prepare.as_ref().to_owned()))
                    .execute(connection)
                    .await
                    .map(drop)
            })
        })
        .connect_lazy_with(options)
}

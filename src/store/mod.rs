//! What is kept: the only SQL of the product.
//!
//! Everything goes through a [`Tx`], a transaction that was begun *for somebody*: its [`Tenancy`] is written into
//! the transaction, row level security reads it there, and no statement of this folder can reach a row outside
//! it. The service's role owns nothing; [`Store::check`] refuses to start where it does.
//!
//! Errors of the driver become [`domain::Error`](crate::domain::Error) here, by SQLSTATE and constraint name
//! (`errors.rs`); causes go to the log, never further up.

#[expect(clippy::as_conversions, reason = "in `query!` it names the type of a nullable array and converts nothing")]
mod accounts;
#[expect(clippy::as_conversions, reason = "in `query!` it names the type of a nullable array and converts nothing")]
mod attempts;
#[expect(clippy::as_conversions, reason = "in `query!` it names the type of a nullable array and converts nothing")]
mod deliveries;
pub mod embedded;
mod errors;
#[expect(clippy::as_conversions, reason = "in `query!` it names the type of a nullable array and converts nothing")]
mod holds;
mod idempotency;
#[expect(clippy::as_conversions, reason = "in `query!` it names the type of a nullable array and converts nothing")]
mod journal;
mod lists;
mod news;
mod plans;
mod resellers;
mod schema;
mod search;
mod tokens;
mod tx;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::domain::Error;

pub use attempts::Attempt;
pub use deliveries::{DeliveryKey, Pending, Progress};
pub use holds::HoldWrites;
pub use idempotency::{IdempotencyKey, KeptAnswer, StoredAnswer};
pub use journal::{JournalEntry, NewJournalEntry};
pub use news::{News, Told};
pub use resellers::{Preferences, Reseller, ResellerTerms};
pub use schema::{Finding, MIGRATOR};
pub use tokens::{Credential, NewToken, TokenKind};
pub use tx::{Tenancy, Tx};

/// The role that the service works as; made by the migrations.
pub const SERVICE_ROLE: &str = "steward_service";

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The most connections; 2 to 4 per core of the database is best.
    pub max_connections: u32,
    /// How long a transaction waits for a connection before it fails as unavailable.
    pub acquire_timeout: Duration,
    /// The longest that one statement may run on the server.
    pub statement_timeout: Duration,
}

/// How every connection plans: anew each time, for the tables as they are. A plan that is kept from when they were
/// empty takes any index for as good as the right one, and reads a whole reseller for one account until the next
/// ANALYZE: loading 20,000 accounts into a new database took 15 s instead of 2.
const PLANS: &str = "set plan_cache_mode = force_custom_plan";

/// The pool of connections to one database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Makes the pool; connects to nothing yet.
    #[must_use]
    pub fn new(options: PgConnectOptions, settings: &PoolSettings) -> Self {
        let prepare: Arc<str> = format!(
            "set role {SERVICE_ROLE}; set statement_timeout = {}; set idle_in_transaction_session_timeout = '10s'; set timezone = 'UTC'; {PLANS}",
            settings.statement_timeout.as_millis()
        )
        .into();
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .max_lifetime(Duration::from_mins(10))
            // A ping before every use costs up to a tenth of the throughput; Tx::begin tries another connection instead.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let prepare = Arc::clone(&prepare);
                Box::pin(async move { sqlx::raw_sql(sqlx::AssertSqlSafe(prepare.as_ref().to_owned())).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options.application_name("steward"));
        Self { pool }
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
        Tx::begin(&self.pool, "begin isolation level repeatable read read only", tenancy).await
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

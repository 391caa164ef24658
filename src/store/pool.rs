//! The connection pools.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::SERVICE_ROLE;
use super::connections::Connections;
use super::tenancy::Tenancy;
use super::transaction::Tx;
use crate::domain::Error;

/// Limits of the pools.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The most connections of all pools together. Best are 2 to 4 for each core of the database.
    /// With fewer than 6, every pool still has one.
    pub max_connections: u32,
    /// How long a transaction waits for a connection before it fails as unavailable.
    pub acquire_timeout: Duration,
    /// How long the server lets one statement run.
    pub statement_timeout: Duration,
}

/// Settings of the general pool: PostgreSQL plans each statement anew, for the values bound to it.
pub const SEARCHING: &str = "set plan_cache_mode = force_custom_plan";
/// Settings of the keyed pool: PostgreSQL plans each statement once. Every statement there finds
/// its rows by key, and the right plan is always the same: from each key through the index to the
/// row. Planning anew took longer than executing. With costs that count only rows the planner
/// chooses this plan even while the tables are empty and have no statistics.
pub const KEYED: &str = "set plan_cache_mode = force_generic_plan; set jit = off; \
  set enable_seqscan = off; set enable_bitmapscan = off; \
  set enable_hashjoin = off; set enable_mergejoin = off; \
  set seq_page_cost = 0; set random_page_cost = 0; \
  set cpu_tuple_cost = 1; set cpu_index_tuple_cost = 1";

/// Settings of the listing pool: PostgreSQL plans each statement once, and each list walks an index in
/// the order of the list and stops when its page is full. A sort would have to read all rows first.
/// Costs that count only rows make the planner choose the same plan whatever the size of the tables.
pub const LISTING: &str = "set plan_cache_mode = force_generic_plan; set jit = off; \
  set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; \
  set enable_hashjoin = off; set enable_mergejoin = off; \
  set enable_material = off; set enable_memoize = off; \
  set max_parallel_workers_per_gather = 0; \
  set seq_page_cost = 0; set random_page_cost = 0; \
  set cpu_tuple_cost = 1; set cpu_index_tuple_cost = 1";

/// The most connections of the keyed pool: one for each of the two lanes of changes, and one for
/// the short look-ups of accounts, credentials and stored answers. More connections would only wait
/// for each other, and each has caches of its own on the server, which push one another out of the
/// processor's caches.
const MAX_KEYED: u32 = 3;

/// The most connections of the listing pool. A page takes a fraction of a millisecond, so more would
/// only wait for the processor.
const MAX_LISTING: u32 = 2;

/// The connections of the background jobs and the webhook dispatcher's searches. They are their
/// own, so that requests never delay the jobs.
const BACKGROUND: u32 = 2;

/// The connection of `/readyz`. It is its own, so that a flood of requests is not mistaken for a
/// database that is down.
const HEALTH: u32 = 1;

/// How long a connection of the keyed pool keeps its plans before it is replaced. A table that was
/// nearly empty when a statement was planned may have a million rows now.
const PLAN_LIFETIME: Duration = Duration::from_mins(2);

/// After how many accounts that this process created its keyed connections are replaced for the
/// first time. Then they are replaced whenever the number is four times as large.
const FIRST_GROWTH: u64 = 256;

/// Notices when the accounts have become many since the keyed connections made their plans.
///
/// A plan that was made for a few accounts may read all accounts, and [`PLAN_LIFETIME`] is long: an
/// import creates a million accounts meanwhile. So the connections are replaced after 256, 1,024,
/// 4,096 ... accounts. Plans for more than about a thousand accounts find each by its key.
#[derive(Debug)]
struct Growth {
    created: u64,
    next: u64,
    /// Connections that were opened before are replaced. `None` until the first growth.
    renewed_at: Option<Instant>,
}

impl Growth {
    fn new() -> Self {
        Self {
            created: 0,
            next: FIRST_GROWTH,
            renewed_at: None,
        }
    }

    /// Returns whether the connections that are open now have become too old.
    fn add(&mut self, accounts: u64, now: Instant) -> bool {
        self.created = self.created.saturating_add(accounts);
        let has_grown = self.created >= self.next;
        while self.created >= self.next {
            self.next = self.next.saturating_mul(4);
            self.renewed_at = Some(now);
        }
        has_grown
    }

    /// Whether a connection of this age has plans that are too old.
    fn is_outgrown(&self, age: Duration, now: Instant) -> bool {
        self.renewed_at
            .is_some_and(|at| age > now.saturating_duration_since(at))
    }
}

/// The connections to one database: the keyed pool for look-ups and batches of changes by key, the
/// listing pool for lists of accounts by id, the general pool for all other requests, the background
/// pool for jobs, and one for `/readyz`.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) pool: Connections,
    pub(super) keyed: Connections,
    pub(super) listing: Connections,
    pub(super) background: Connections,
    health: Connections,
    growth: Arc<Mutex<Growth>>,
}

impl Store {
    /// Creates the pools. They open connections when they are needed.
    #[must_use]
    pub fn new(options: PgConnectOptions, settings: &PoolSettings) -> Self {
        let options = options.application_name("steward");
        let keyed = (settings.max_connections / 3).clamp(1, MAX_KEYED);
        let listing = (settings.max_connections / 6).clamp(1, MAX_LISTING);
        let background = (settings.max_connections / 5).clamp(1, BACKGROUND);
        let general = settings
            .max_connections
            .saturating_sub(keyed + listing + background + HEALTH)
            .max(1);
        let growth = Arc::new(Mutex::new(Growth::new()));
        let searching = |connections| {
            let lifetime = Duration::from_mins(10);
            let pool = pool_options(settings, connections, SEARCHING, lifetime);
            Connections::new(pool.connect_lazy_with(options.clone()))
        };
        let planned_once = |connections, planning| {
            let pool = pool_options(settings, connections, planning, PLAN_LIFETIME);
            Connections::new(keyed_pool(pool, &growth).connect_lazy_with(options.clone()))
        };
        Self {
            pool: searching(general),
            background: searching(background),
            health: searching(HEALTH),
            keyed: planned_once(keyed, KEYED),
            listing: planned_once(listing, LISTING),
            growth,
        }
    }

    /// Takes into account that accounts were created, so that the statements that find them by
    /// their keys are planned anew when there are many more than before.
    pub fn note_created(&self, accounts: usize) {
        let accounts = u64::try_from(accounts).unwrap_or(u64::MAX);
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let has_grown = growth.add(accounts, Instant::now());
        drop(growth);
        if has_grown {
            self.keyed.renew();
            self.listing.renew();
        }
    }

    /// The same store for background jobs: what uses the general pool uses their own connections.
    #[must_use]
    pub fn for_background(&self) -> Self {
        Self {
            pool: self.background.clone(),
            ..self.clone()
        }
    }

    /// How many connections the general pool has at most.
    #[must_use]
    pub fn general_connections(&self) -> usize {
        usize::try_from(self.pool.options().get_max_connections()).unwrap_or(usize::MAX)
    }

    /// How many connections the listing pool has at most.
    #[must_use]
    pub fn listing_connections(&self) -> usize {
        usize::try_from(self.listing.options().get_max_connections()).unwrap_or(usize::MAX)
    }

    /// How many connections this process opens at most.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        let pools = [
            &self.pool,
            &self.keyed,
            &self.listing,
            &self.background,
            &self.health,
        ];
        pools
            .map(|pool| pool.options().get_max_connections())
            .iter()
            .sum()
    }

    /// Checks that the database answers, on the connection for `/readyz`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        let begin = "begin read only";
        let tx = Tx::begin(&self.health, begin, &Tenancy::Platform).await?;
        tx.commit().await
    }

    /// Begins a transaction that writes, on the general pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached in time.
    pub async fn begin(&self, tenancy: &Tenancy) -> Result<Tx, Error> {
        Tx::begin(&self.pool, "begin", tenancy).await
    }

    /// Begins a transaction that only reads, on the general pool. All its statements see the same
    /// snapshot.
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

    /// Begins a transaction that writes, on the keyed pool. Its statements must find every row by
    /// key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached in time.
    pub async fn begin_keyed(&self, tenancy: &Tenancy) -> Result<Tx, Error> {
        Tx::begin(&self.keyed, "begin", tenancy).await
    }

    /// The state of the pools.
    #[must_use]
    pub fn pools(&self) -> [PoolState; 5] {
        let pools = [
            ("general", &self.pool),
            ("keyed", &self.keyed),
            ("listing", &self.listing),
            ("background", &self.background),
            ("health", &self.health),
        ];
        pools.map(|(name, pool)| {
            let (size, idle) = pool.size();
            PoolState {
                name,
                idle,
                used: size.saturating_sub(idle),
            }
        })
    }

    /// Closes every connection, after waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
        self.keyed.close().await;
        self.listing.close().await;
        self.background.close().await;
        self.health.close().await;
    }
}

/// The connections of one pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// `general`, `keyed`, `listing`, `background` or `health`.
    pub name: &'static str,
    /// Connections that wait in the pool.
    pub idle: u32,
    /// Connections in use.
    pub used: u32,
}

/// A pool whose connections are replaced when their plans are outgrown.
fn keyed_pool(options: PgPoolOptions, growth: &Arc<Mutex<Growth>>) -> PgPoolOptions {
    let growth = Arc::clone(growth);
    options.before_acquire(move |_, connection| {
        let is_outgrown = growth
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_outgrown(connection.age, Instant::now());
        Box::pin(async move { Ok(!is_outgrown) })
    })
}

fn pool_options(
    settings: &PoolSettings,
    connections: u32,
    planning: &str,
    lifetime: Duration,
) -> PgPoolOptions {
    let prepare: Arc<str> = format!(
        "set role {SERVICE_ROLE}; set statement_timeout = {}; \
         set idle_in_transaction_session_timeout = '10s'; set timezone = 'UTC'; {planning}",
        settings.statement_timeout.as_millis()
    )
    .into();
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(settings.acquire_timeout)
        .max_lifetime(lifetime)
        // A ping before every use takes up to a tenth of the throughput; Tx::begin tries another
        // connection instead.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_outgrown_after_256_1024_and_4096_accounts() {
        let (mut growth, start) = (Growth::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let age = Duration::from_secs(10);
        growth.add(255, at(10));
        assert!(!growth.is_outgrown(age, at(10)));
        growth.add(1, at(11));
        assert!(growth.is_outgrown(age, at(11)), "opened before");
        assert!(!growth.is_outgrown(age, at(30)), "opened since");
        growth.add(767, at(40));
        assert!(!growth.is_outgrown(age, at(40)));
        growth.add(100_000, at(41));
        assert!(growth.is_outgrown(age, at(42)));
        growth.add(100_000, at(60));
        assert!(!growth.is_outgrown(age, at(61)), "the next step is 262,144");
    }
}

//! Connections that go from one transaction to the next without a round trip.
//!
//! sqlx sends a `Sync` and waits for the answer whenever a connection is given back to its pool, in
//! case a statement was abandoned half-way. A transaction of this room knows that it was not: it
//! finished. So its connection is kept for the next transaction, for a second at most. Then it is
//! given back to sqlx's pool after all, which closes connections that are broken, too old or no
//! longer needed.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Error, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// How long a connection stays away from sqlx's pool.
const KEPT: Duration = Duration::from_secs(1);

/// A pool of connections, and those of it that are kept for the next transaction.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    pool: PgPool,
    kept: Arc<std::sync::Mutex<Kept>>,
    /// One permit for each connection of the pool. So nobody waits for the pool while a kept
    /// connection is idle.
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    idle: Vec<Slot>,
    /// Connections that were taken from the pool before are not kept any more.
    renewed_at: Option<Instant>,
    /// Whether a task waits to give the idle connections back.
    is_swept: bool,
}

/// A connection that is kept, and when it was taken from the pool.
#[derive(Debug)]
struct Slot {
    connection: Arc<Mutex<PoolConnection<Postgres>>>,
    taken_at: Instant,
}

impl Slot {
    fn is_young(&self, now: Instant, renewed_at: Option<Instant>) -> bool {
        now.saturating_duration_since(self.taken_at) < KEPT
            && renewed_at.is_none_or(|at| self.taken_at > at)
    }
}

impl Connections {
    pub(super) fn new(pool: PgPool) -> Self {
        let turns = usize::try_from(pool.options().get_max_connections()).unwrap_or(1);
        Self {
            pool,
            kept: Arc::new(std::sync::Mutex::new(Kept {
                idle: Vec::new(),
                renewed_at: None,
                is_swept: false,
            })),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// Takes a connection; waits for one if all are in use.
    pub(super) async fn acquire(&self) -> Result<Lent, Error> {
        let turn = if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            turn
        } else {
            let turn = Arc::clone(&self.turns).acquire_owned();
            tokio::time::timeout(self.options().get_acquire_timeout(), turn)
                .await
                .map_err(|_elapsed| Error::PoolTimedOut)?
                .map_err(|_closed| Error::PoolClosed)?
        };
        let kept = self.kept().idle.pop();
        let slot = match kept {
            Some(slot) => slot,
            None => Slot {
                connection: Arc::new(Mutex::new(self.pool.acquire().await?)),
                taken_at: Instant::now(),
            },
        };
        // Its last user may still be dropping its hold of it.
        let connection = Arc::clone(&slot.connection).lock_owned().await;
        Ok(Lent {
            connection,
            slot: Some(slot),
            home: self.clone(),
            is_finished: false,
            _turn: turn,
        })
    }

    /// Gives all kept connections back to the pool, and keeps none of those that are in use now.
    /// The pool decides whether they are still good.
    pub(super) fn renew(&self) {
        let mut kept = self.kept();
        kept.renewed_at = Some(Instant::now());
        let idle = std::mem::take(&mut kept.idle);
        drop(kept);
        drop(idle);
    }

    pub(super) fn options(&self) -> &PoolOptions<Postgres> {
        self.pool.options()
    }

    pub(super) fn connect_options(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// How many connections are open, and how many of them are idle.
    pub(super) fn size(&self) -> (u32, u32) {
        let idle = self.pool.num_idle() + self.kept().idle.len();
        (self.pool.size(), u32::try_from(idle).unwrap_or(u32::MAX))
    }

    /// Closes every connection, after waiting for those in use.
    pub(super) async fn close(&self) {
        // From here on, no connection is kept.
        let closed = self.pool.close();
        self.renew();
        closed.await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the connection of a finished transaction, unless it is to go back to the pool.
    fn keep(&self, slot: Slot) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut kept = self.kept();
        if self.pool.is_closed() || !slot.is_young(Instant::now(), kept.renewed_at) {
            return;
        }
        kept.idle.push(slot);
        let is_swept = std::mem::replace(&mut kept.is_swept, true);
        drop(kept);
        if !is_swept {
            runtime.spawn(self.clone().sweep());
        }
    }

    /// Gives idle connections back to the pool when they have been kept long enough.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(KEPT).await;
            let now = Instant::now();
            let mut kept = self.kept();
            let renewed_at = kept.renewed_at;
            let old: Vec<Slot> = kept
                .idle
                .extract_if(.., |slot| !slot.is_young(now, renewed_at))
                .collect();
            kept.is_swept = !kept.idle.is_empty();
            let is_done = !kept.is_swept;
            drop(kept);
            drop(old);
            if is_done {
                return;
            }
        }
    }
}

/// A connection in use. If it is dropped without [`Lent::finish`], it is closed: a dropped future
/// may have left the protocol in any state.
#[derive(Debug)]
pub(super) struct Lent {
    connection: OwnedMutexGuard<PoolConnection<Postgres>>,
    slot: Option<Slot>,
    home: Connections,
    is_finished: bool,
    _turn: OwnedSemaphorePermit,
}

impl Lent {
    /// Notes that every statement on the connection has ended and no transaction is open.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_finished {
            self.connection.close_on_drop();
        } else if let Some(slot) = self.slot.take() {
            self.home.keep(slot);
        }
    }
}

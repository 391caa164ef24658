//! What happens: one use case is one transaction.
//!
//! Every dialect, and the command line, comes through here with a [`Context`] that says who asks. Changes of
//! accounts go through one door, the write lane ([`lane`]), which commits what is waiting together; everything
//! else runs in a task of its own. **No database work ever runs inside a request's own future**: a client that
//! hangs up drops that future, and a driver dropped in the middle of a transaction leaves it open for the next user.

mod accounts;
mod batch;
mod clock;
mod context;
mod credential;
mod lane;
mod resellers;

use std::future::Future;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, error};
use uuid::Uuid;

use crate::domain::Error;
use crate::store::Store;

pub use crate::store::{Credential, IdempotencyKey, JournalEntry, Preferences, Reseller, StoredAnswer};
pub use accounts::{Answered, Done, Naming, Page};
pub use clock::{Clock, ManualClock};
pub use context::{Context, Principal};
pub use credential::{IssuedToken, TokenRequest};
use lane::Lane;
pub use lane::Once;

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long after a deletion an account may be purged.
    pub purge_window: Duration,
    /// How long answers to requests with an idempotency key are kept.
    pub idempotency_window: Duration,
    /// How many commands may wait for the lane; one more is refused as overloaded.
    pub queue: usize,
    /// The most commands that are committed together.
    pub batch: usize,
    /// The longest that one transaction may take, its wait for a connection included.
    pub transaction_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self { purge_window: day * 30, idempotency_window: day, queue: 4_096, batch: 256, transaction_timeout: Duration::from_secs(10) }
    }
}

/// The account service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    clock: Clock,
    settings: Settings,
    lane: Lane,
    tasks: TaskTracker,
}

impl Service {
    /// Starts the service: its lane runs as a task until [`Service::stop`].
    #[must_use]
    pub fn start(store: Store, clock: Clock, settings: Settings) -> Self {
        let tasks = TaskTracker::new();
        let lane = Lane::start(store.clone(), clock.clone(), &settings, &tasks);
        Self { store, clock, settings, lane, tasks }
    }

    /// Finishes what is queued and under way, then closes the pool. Later commands are refused as unavailable.
    pub async fn stop(&self) {
        self.lane.close();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }

    /// The time, as everything here sees it.
    #[must_use]
    pub fn now(&self) -> crate::domain::Time {
        self.clock.now()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        let store = self.store.clone();
        self.detached(async move { store.begin_reading(&crate::store::Tenancy::Platform).await?.commit().await }).await
    }

    /// Runs database work in a task of its own, which goes on when the caller is dropped, and within the time that
    /// one transaction may take.
    async fn detached<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
        let limited = tokio::time::timeout(self.settings.transaction_timeout, work);
        match self.tasks.spawn(limited.instrument(Span::current())).await {
            Ok(Ok(result)) => result,
            Ok(Err(_elapsed)) => Err(Error::Unavailable),
            Err(panic) => Err(panicked(&panic)),
        }
    }
}

/// The error of a task that panicked; the panic itself is in the log already.
fn panicked(panic: &tokio::task::JoinError) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %panic, "a task of the service panicked");
    Error::Internal { incident }
}

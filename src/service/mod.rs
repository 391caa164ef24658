//! What happens: one use case is one transaction.
//!
//! Every dialect, and the command line, comes through here with a [`Context`] that says who asks. Changes of
//! accounts go through one door, the write lane ([`lane`]), which commits what is waiting together; look-ups by key wait
//! for a lane too; everything else runs in a task of its own. **No database work ever runs inside a request's own future**: a client that
//! hangs up drops that future, and a driver dropped in the middle of a transaction leaves it open for the next user.

mod accounts;
mod bulk;
mod bulk_jobs;
mod clock;
mod context;
mod credentials;
mod group_commit;
mod idempotency;
mod list_totals;
mod notifier;
mod plans;
mod purge;
mod rate_limit;
mod release_tickets;
mod resellers;
mod settings;
mod shares;
mod transaction;
mod webhooks;

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::{Account, AccountKey, Error, ResellerId};
use crate::jwt::Verifier;
use crate::metrics::Metrics;
use crate::store::{Store, Tenancy};
use credentials::CredentialCache;
use group_commit::{Lane, Lanes, Request};
use list_totals::ListTotals;
use notifier::Notifier;
use rate_limit::Limiter;

pub use crate::store::{
    Attempt, BulkItem, BulkJob, Credential, DeliveryKey, IdempotencyKey, JobState, JournalEntry,
    Pending, Progress, PurgeSettings, Reseller, StoredAnswer, TokenKind,
};
pub use accounts::{AccountRef, Page};
pub use bulk::{Item, MAX_OPERATIONS};
pub use bulk_jobs::Preview;
pub use clock::{Clock, ManualClock};
pub use context::{Context, Principal};
pub use credentials::{IssuedToken, TokenRequest};
pub use idempotency::{CommandOutcome, Completion, IdempotentRequest};
pub use plans::NewPlan;
pub use purge::{PlannedPurge, Purged};
pub use rate_limit::{Limits, Rate};
pub use release_tickets::TicketMaker;
pub use resellers::{NewReseller, ResellerPatch};
pub use settings::{CommitScope, Settings};
pub use shares::{Cost, Permit};
pub use webhooks::{AttemptFilter, Due, EndpointView, EventRead, NewEndpoint, PendingRead};

/// How many pieces of news a receiver may be behind.
const NEWS: usize = 1_024;

/// The lanes that carry out changes: one cannot keep two cores of the database busy.
const LANES: [&str; 2] = ["write-0", "write-1"];

/// The account service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    clock: Clock,
    settings: Settings,
    writes: Lanes<Request, Completion>,
    reads: Lane<AccountKey, Option<Account>>,
    credentials: Lane<[u8; 32], Option<credentials::Found>>,
    memory: CredentialCache,
    limiter: Limiter,
    /// Permits for heavy requests.
    heavy: tokio::sync::Semaphore,
    totals: Arc<ListTotals>,
    verifier: Option<Verifier>,
    metrics: Arc<Metrics>,
    /// Which resellers have new events: none named means any.
    events: broadcast::Sender<Vec<ResellerId>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// Which of the processes on this database this is.
    process: Uuid,
}

impl Service {
    /// Starts the service: its lane runs as a task until [`Service::stop`].
    #[must_use]
    pub fn start(store: Store, clock: Clock, settings: Settings) -> Self {
        let tasks = TaskTracker::new();
        let (process, events) = (Uuid::new_v4(), broadcast::channel(NEWS).0);
        let notifier = Notifier::start(store.clone(), process, events.clone(), &tasks);
        let writer = group_commit::Writer {
            store: store.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            notifier,
        };
        let metrics = Arc::new(Metrics::new());
        metrics.set_started(unix_seconds(clock.now()));
        let lanes = Lanes::start(&LANES, &settings, &metrics, &tasks, move |requests| {
            writer.clone().carry_out(requests)
        });
        let reader = group_commit::Reader {
            store: store.clone(),
            limit: settings.transaction_timeout,
        };
        let reads = Lane::start("read", &settings, &metrics, &tasks, move |keys| {
            reader.clone().look_up(keys)
        });
        let (finding, limit) = (store.clone(), settings.transaction_timeout);
        let credentials = Lane::start("credential", &settings, &metrics, &tasks, move |hashes| {
            credentials::find(finding.clone(), limit, hashes)
        });
        let limiter = Limiter::new(settings.limits);
        Self {
            store,
            clock,
            settings,
            writes: lanes,
            reads,
            credentials,
            memory: CredentialCache::new(),
            limiter,
            heavy: shares::heavy(),
            totals: Arc::new(ListTotals::new()),
            verifier: None,
            metrics,
            events,
            stopping: CancellationToken::new(),
            tasks,
            process,
        }
    }

    /// Trusts the JSON Web Tokens of others.
    #[must_use]
    pub fn trusting(self, verifier: Verifier) -> Self {
        Self {
            verifier: Some(verifier),
            ..self
        }
    }

    /// Says that the service will stop soon: what waits for something to happen (streams of events) ends now, requests are
    /// still answered.
    pub fn begin_stopping(&self) {
        self.stopping.cancel();
    }

    /// Finishes what is queued and under way, then closes the pool. Later commands are refused as unavailable.
    pub async fn stop(&self) {
        self.writes.close();
        self.reads.close();
        self.credentials.close();
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }

    /// The time in Unix seconds, as metrics have it.
    #[must_use]
    pub fn unix_now(&self) -> f64 {
        unix_seconds(self.now())
    }

    /// What is counted here.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What was counted, and how everything is now, as OpenMetrics text.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        self.writes.record_queue_depth();
        self.reads.record_queue_depth();
        self.credentials.record_queue_depth();
        for pool in self.store.pools() {
            self.metrics.set_pool(pool.name, pool.idle, pool.used);
        }
        self.metrics.encode()
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
        self.detached(async move {
            store
                .begin_reading(&Tenancy::Platform)
                .await?
                .commit()
                .await
        })
        .await
    }

    /// Resolves when the service begins to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Tells from now on which resellers have new events, as far as this process hears of them; none named: any may. A
    /// receiver that falls behind has missed some, and should look at all.
    #[must_use]
    pub fn news_of_events(&self) -> broadcast::Receiver<Vec<ResellerId>> {
        self.events.subscribe()
    }
}

fn unix_seconds(at: crate::domain::Time) -> f64 {
    (at - crate::domain::Time::UNIX_EPOCH).as_seconds_f64()
}

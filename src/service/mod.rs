//! The use cases. Most run in one transaction.
//!
//! Every dialect, the command line and the background jobs call the methods of [`Service`]. Most
//! take a [`Context`] or a [`Principal`], which names the caller. A method checks the caller's
//! rights, decides in the domain, and reads or writes through the store.
//!
//! # Two ways to the database
//!
//! - **Lanes** (`group_commit/`) carry out the frequent requests: changes of accounts, and look-ups
//!   of accounts, credentials and stored answers by their keys. A lane is a queue. Requests that
//!   wait in it at the same time are carried out together, in one transaction.
//! - **Transactions of their own** (`transaction.rs`) carry out everything else: `read`, `write`,
//!   and `write_once` for requests with an idempotency key.
//!
//! # Why no database work runs in the request's own future
//!
//! When a client hangs up, the HTTP server drops the request's future in the middle of whatever it
//! awaits. If that is a statement, the driver returns the connection to the pool with the
//! transaction still open, and the next user of the connection works inside it. In a prototype,
//! changes were acknowledged that way and never committed. So lanes and all other transactions run
//! in spawned tasks. A dropped request only stops waiting for the outcome. As a second safeguard,
//! the store closes the connection of a transaction that is dropped unfinished.
//!
//! # How every method fails
//!
//! Any method that reaches the database may return these errors, which the methods' own
//! documentation does not repeat:
//!
//! - [`Error::Unavailable`]: the database cannot be reached, or did not answer in time. A write may
//!   have been committed nevertheless.
//! - [`Error::Overloaded`]: the queue of a lane is full. Nothing was done.
//! - [`Error::Internal`]: a fault of ours. The log has the cause under the incident's id.
//! - [`Error::InsufficientScope`]: the caller lacks the right that the method requires.
//! - [`Error::OperatorRequired`]: only an operator may call the method.
#![expect(
    clippy::missing_errors_doc,
    reason = "the module's documentation lists the errors that every method has"
)]

mod account_counts;
mod account_numbers;
mod accounts;
mod answer_space;
mod bulk;
mod bulk_jobs;
mod clock;
mod context;
mod credentials;
mod group_commit;
mod idempotency;
mod import;
mod journal;
mod list_totals;
mod log_page;
mod notifier;
mod plans;
mod purge;
mod rate_limit;
mod release_tickets;
mod resellers;
mod seal;
mod settings;
mod shares;
mod time_zones;
mod transaction;
mod webhooks;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::{Account, AccountKey, Error, Time};
use crate::jwt::Verifier;
use crate::metrics::Metrics;
use crate::shares::Shares;
use crate::store::backup::Restoration;
use crate::store::{Store, StoredRequest};
use answer_space::AnswerSpace;
use credentials::CredentialCache;
use group_commit::{Lane, Lanes, Request};
use list_totals::ListTotals;
use notifier::Notifier;
use rate_limit::Limiter;
use shares::ServiceShares;

pub use crate::domain::WebhookTargets;
pub use crate::store::{
    Attempt, AttemptFilter, BulkItem, BulkJob, CommandHash, Credential, DeliveryKey, Fingerprint,
    IdempotencyKey, JobState, JournalEntry, Pending, Preview, Progress, PurgeSettings, Reseller,
    ResultHeaders, Slice, StoredAnswer, Suspension, TokenKind,
};
pub use accounts::{
    AccountRef, ComingChange, ComingQuery, Explained, Page, SnapshotPage, SnapshotPlace,
};
pub use bulk::{Item, MAX_OPERATIONS};
pub use clock::{Clock, ManualClock};
pub use context::{Context, Principal};
pub use credentials::{IssuedToken, TokenRequest};
pub use group_commit::Rehearsed;
pub use group_commit::{ImportBatch, ImportOutcome, ImportProblem, OnExisting, OwnBlocks};
pub use idempotency::{
    CommandOutcome, Completion, Encoder, IdempotentRequest, OtherKey, Written, is_lasting_refusal,
};
pub use journal::{EventLog, EventLogQuery};
pub use log_page::{LogPage, MAX_LOGGED};
pub use notifier::News;
pub use plans::NewPlan;
pub use purge::{PlannedPurge, Purged};
pub use rate_limit::{Limits, Rate};
pub use release_tickets::{ReleaseTicket, TicketMaker};
pub use resellers::{NewReseller, ResellerPatch};
pub use seal::Seal;
pub use settings::{CommitScope, Settings};
pub use shares::{Cost, ShareSettings, SnapshotPermit, StreamPermit};
pub use webhooks::{Due, EndpointView, EventRead, FeedPage, NewEndpoint, PendingRead};

/// How many notifications of events a receiver may be behind before it misses some.
const EVENT_BACKLOG: usize = 1_024;

/// The names of the lanes for changes of accounts. A single lane cannot keep two cores of the
/// database busy.
const WRITE_LANES: [&str; 2] = ["write-0", "write-1"];

/// The account service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    clock: Clock,
    settings: Settings,
    /// The lanes for changes of accounts.
    writes: Lanes<Request, Completion>,
    /// The lane for look-ups of accounts.
    reads: Lane<AccountKey, Option<Account>>,
    /// The lane for look-ups of credentials by their SHA-256.
    credentials: Lane<[u8; 32], Option<credentials::Found>>,
    /// The lane for look-ups of answers to idempotent requests.
    answers: Lane<IdempotencyKey, Option<StoredRequest>>,
    answer_space: Arc<AnswerSpace>,
    notifier: Notifier,
    credential_cache: CredentialCache,
    limiter: Limiter,
    shares: Arc<ServiceShares>,
    totals: Arc<ListTotals>,
    /// The restores of backups that the events went through.
    restorations: OnceLock<Vec<Restoration>>,
    /// Verifies the JSON Web Tokens of other issuers. `None` means that none is trusted.
    verifier: Option<Verifier>,
    metrics: Arc<Metrics>,
    /// Shares of other rooms that are included in the metrics.
    watched: Mutex<Vec<Shares>>,
    events: broadcast::Sender<News>,
    /// Read the events of the resellers that have event streams.
    feeds: webhooks::Feeds,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// Distinguishes this process from the others on the same database.
    process: Uuid,
}

impl Service {
    /// Starts the service. Its lanes run as tasks until [`Service::stop`].
    #[must_use]
    pub fn start(store: Store, clock: Clock, settings: Settings) -> Self {
        let tasks = TaskTracker::new();
        let (process, events) = (Uuid::new_v4(), broadcast::channel(EVENT_BACKLOG).0);
        let metrics = Arc::new(Metrics::new());
        metrics.set_started(unix_seconds(clock.now()));

        let answer_space = Arc::new(AnswerSpace::new(
            settings.max_answer_bytes,
            settings.idempotency_window,
        ));
        let notifier = Notifier::start(store.clone(), process, events.clone());
        let change_writer = group_commit::Writer {
            answer_space: Arc::clone(&answer_space),
            store: store.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            notifier: notifier.clone(),
        };
        let writes = Lanes::start(&WRITE_LANES, &settings, &metrics, &tasks, move |requests| {
            change_writer.clone().carry_out(requests)
        });

        let limit = settings.transaction_timeout;
        let of_accounts = store.clone();
        let reads = Lane::start("read", &settings, &metrics, &tasks, move |keys| {
            group_commit::find_accounts(of_accounts.clone(), limit, keys)
        });
        let of_credentials = store.clone();
        let credentials = Lane::start("credential", &settings, &metrics, &tasks, move |hashes| {
            credentials::find_credentials(of_credentials.clone(), limit, hashes)
        });
        let of_answers = (store.clone(), clock.clone());
        let answers = Lane::start("answer", &settings, &metrics, &tasks, move |keys| {
            let (store, clock) = of_answers.clone();
            group_commit::find_answers(store, clock, limit, keys)
        });

        let shares = ShareSettings {
            transactions: store.general_connections(),
            lists: store.listing_connections(),
            ..settings.shares
        };
        Self {
            limiter: Limiter::new(settings.limits),
            store,
            clock,
            settings,
            writes,
            reads,
            credentials,
            answers,
            answer_space,
            notifier,
            credential_cache: CredentialCache::new(),
            shares: Arc::new(ServiceShares::new(&shares, &metrics)),
            totals: Arc::new(ListTotals::new()),
            restorations: OnceLock::new(),
            verifier: None,
            metrics,
            watched: Mutex::default(),
            events,
            feeds: webhooks::Feeds::default(),
            stopping: CancellationToken::new(),
            tasks,
            process,
        }
    }

    /// The same service, which also accepts the JSON Web Tokens that `verifier` accepts.
    #[must_use]
    pub fn trusting(self, verifier: Verifier) -> Self {
        Self {
            verifier: Some(verifier),
            ..self
        }
    }

    /// Announces that the service stops soon. Whatever waits for something to happen, such as a
    /// stream of events, ends now. Requests are still carried out.
    pub fn begin_stopping(&self) {
        self.stopping.cancel();
    }

    /// Finishes everything that is queued or under way, then closes the connections. Later requests
    /// are refused as unavailable.
    pub async fn stop(&self) {
        self.writes.close();
        self.reads.close();
        self.credentials.close();
        self.answers.close();
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.notifier.stop().await;
        self.store.close().await;
    }

    /// Resolves when the service begins to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// The time, by the service's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The time in seconds since 1970, as metrics have it.
    #[must_use]
    pub fn unix_now(&self) -> f64 {
        unix_seconds(self.now())
    }

    /// The metrics of this process.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The metrics as OpenMetrics text, with the present depths of the queues and sizes of the
    /// pools.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        self.writes.record_queue_depth();
        self.reads.record_queue_depth();
        self.credentials.record_queue_depth();
        self.answers.record_queue_depth();
        self.metrics.begin_shares();
        self.shares.record();
        for pool in self.store.pools() {
            self.metrics.set_pool(pool.name, pool.idle, pool.used);
        }
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().for_each(Shares::record);
        self.metrics.encode()
    }

    /// Includes these shares in the metrics from now on.
    pub fn watch_shares(&self, shares: impl IntoIterator<Item = Shares>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.extend(shares);
    }

    /// Checks that the database answers, on a connection that nothing else uses.
    pub async fn ping(&self) -> Result<(), Error> {
        let store = self.store.clone();
        self.detached(async move { store.ping().await }).await
    }

    /// Receives, from now on, whose events and endpoints are new. A receiver that falls behind has
    /// missed some news, and must look at all resellers.
    #[must_use]
    pub fn news_of_events(&self) -> broadcast::Receiver<News> {
        self.events.subscribe()
    }
}

fn unix_seconds(at: Time) -> f64 {
    (at - Time::UNIX_EPOCH).as_seconds_f64()
}

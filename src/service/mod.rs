//! What happens: one use case is one transaction.
//!
//! Every dialect, and the command line, comes through here with a [`Context`] that says who asks. Changes of
//! accounts go through one door, the write lane ([`lane`]), which commits what is waiting together; look-ups by key wait
//! for a lane too; everything else runs in a task of its own. **No database work ever runs inside a request's own future**: a client that
//! hangs up drops that future, and a driver dropped in the middle of a transaction leaves it open for the next user.

mod accounts;
mod announcer;
mod batch;
mod bulk;
mod bulk_jobs;
mod clock;
mod context;
mod credentials;
mod deliveries;
mod lane;
mod lanes;
mod limits;
mod plans;
mod request;
mod resellers;
mod schedules;
mod tickets;
mod totals;
mod webhooks;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, debug_span, error};
use uuid::Uuid;

use crate::domain::{Account, Error, ResellerId};
use crate::jwt::Verifier;
use crate::metrics::Metrics;
use crate::store::{KeptAnswer, Store, Tenancy, Tx};
use crate::telemetry;

pub use crate::store::{
    Attempt, BulkItem, BulkJob, Credential, DeliveryKey, IdempotencyKey, JobState, JournalEntry,
    Pending, Progress, PurgeSettings, Reseller, StoredAnswer, TokenKind,
};
pub use accounts::{Answered, Done, Naming, Page};
use announcer::Announcer;
use batch::Key;
pub use bulk::{Item, MAX_OPERATIONS, Named};
pub use bulk_jobs::Preview;
pub use clock::{Clock, ManualClock};
pub use context::{Context, Principal};
use credentials::Memory;
pub use credentials::{IssuedToken, TokenRequest};
pub use deliveries::{Due, PendingRead};
use lane::Lane;
pub use lane::Once;
use lanes::Lanes;
use limits::Limiter;
pub use limits::{Limits, Rate};
pub use plans::NewPlan;
use request::Request;
pub use resellers::{NewReseller, ResellerPatch};
pub use schedules::{PlannedPurge, Purged};
pub use tickets::TicketMaker;
use totals::Totals;
pub use webhooks::{AttemptFilter, EndpointView, EventRead, NewEndpoint};

/// How many pieces of news a receiver may be behind.
const NEWS: usize = 1_024;

/// The lanes that carry out changes: one cannot keep two cores of the database busy.
const LANES: [&str; 2] = ["write-0", "write-1"];

/// Which commands may be committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitScope {
    /// All that wait.
    All,
    /// Those of one reseller: a transaction then touches one reseller's rows, wherever those are.
    Reseller,
}

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
    /// Which commands may be.
    pub scope: CommitScope,
    /// The longest that one transaction may take, its wait for a connection included.
    pub transaction_timeout: Duration,
    /// How often one may ask.
    pub limits: Limits,
    /// Whether webhook endpoints may have http URLs.
    pub webhooks_allow_http: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            purge_window: day * 30,
            idempotency_window: day,
            queue: 4_096,
            batch: 256,
            scope: CommitScope::All,
            transaction_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            webhooks_allow_http: false,
        }
    }
}

/// The account service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    clock: Clock,
    settings: Settings,
    writes: Lanes<Request, Answered>,
    reads: Lane<Key, Option<Account>>,
    credentials: Lane<[u8; 32], Option<credentials::Found>>,
    memory: Memory,
    limiter: Limiter,
    totals: Arc<Totals>,
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
        let announcer = Announcer::start(store.clone(), process, events.clone(), &tasks);
        let writer = lane::Writer {
            store: store.clone(),
            clock: clock.clone(),
            settings: settings.clone(),
            announcer,
        };
        let metrics = Arc::new(Metrics::new());
        metrics.set_started(unix_seconds(clock.now()));
        let lanes = Lanes::start(&LANES, &settings, &metrics, &tasks, move |requests| {
            writer.clone().carry_out(requests)
        });
        let reader = lane::Reader {
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
            memory: Memory::new(),
            limiter,
            totals: Arc::new(Totals::new()),
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
    pub fn expose(&self) -> String {
        self.writes.look();
        self.reads.look();
        self.credentials.look();
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

    /// Carries out a change that is not of an account, in a transaction of its own. With `once`, a repeat is answered with
    /// the stored answer; one that failed is tried anew.
    async fn write<T, F>(
        &self,
        tenancy: Tenancy,
        once: Option<Once<T>>,
        work: F,
    ) -> Result<Answered<T>, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let (store, now, window) = (
            self.store.clone(),
            self.now(),
            self.settings.idempotency_window,
        );
        self.detached(async move {
            let mut tx = store.begin(&tenancy).await?;
            if let Some(once) = &once {
                tx.lock_answer(&once.key).await?;
                if let Some(kept) = tx
                    .fetch_answers(std::slice::from_ref(&once.key), now)
                    .await?
                    .pop()
                {
                    tx.rollback().await;
                    return if kept.fingerprint == once.fingerprint {
                        Ok(Answered::Replayed(kept.answer))
                    } else {
                        Err(Error::IdempotencyKeyReused)
                    };
                }
            }
            let done = match work(&mut tx).await {
                Ok(done) => Ok(done),
                Err(error) => {
                    tx.give_up(&error).await;
                    return Err(error);
                }
            };
            if let Some(once) = once {
                let answer = (once.encode)(&done);
                tx.insert_answers(
                    &[KeptAnswer {
                        key: once.key,
                        fingerprint: once.fingerprint,
                        answer,
                    }],
                    now,
                    now + window,
                )
                .await?;
            }
            tx.commit().await?;
            done.map(|done| Answered::Done(Box::new(done)))
        })
        .await
    }

    /// Reads in a transaction of its own, all from one snapshot.
    async fn read<T, F>(&self, tenancy: Tenancy, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    {
        let store = self.store.clone();
        self.detached(async move {
            let mut tx = store.begin_reading(&tenancy).await?;
            match work(&mut tx).await {
                Ok(found) => tx.commit().await.map(|()| found),
                Err(error) => {
                    tx.give_up(&error).await;
                    Err(error)
                }
            }
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

    /// Runs database work in a task of its own, which goes on when the caller is dropped, and within the time that
    /// one transaction may take. The task is started at once: what the work needs, many kilobytes, is never part of the future
    /// of the request that asks for it.
    fn detached<T, W>(&self, work: W) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let limited = tokio::time::timeout(self.settings.transaction_timeout, work);
        // The request's own span too, so that what is logged here has its id.
        let inside = limited
            .instrument(debug_span!(target: telemetry::SPANS, "detached"))
            .instrument(Span::current());
        let task = self.tasks.spawn(inside);
        async move {
            match task.await {
                Ok(Ok(result)) => result,
                Ok(Err(_elapsed)) => Err(Error::Unavailable),
                Err(panic) => Err(panicked(&panic)),
            }
        }
    }
}

fn unix_seconds(at: crate::domain::Time) -> f64 {
    (at - crate::domain::Time::UNIX_EPOCH).as_seconds_f64()
}

/// The error of a task that panicked; the panic itself is in the log already.
fn panicked(panic: &tokio::task::JoinError) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %panic, "a task of the service panicked");
    Error::Internal { incident }
}

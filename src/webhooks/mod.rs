//! Webhooks: journal entries delivered as signed HTTP requests.
//!
//! Every change writes its journal entry in its own transaction, so the journal already holds every
//! event. Delivering means reading the journal and sending what each endpoint subscribed to.
//!
//! # Lease
//!
//! Several replicas may run a [`Dispatcher`], but only one of them delivers to an endpoint at a
//! time: the one that holds the endpoint's *lease*. A lease is stored with the endpoint: the
//! dispatcher's id and the end of the lease, some seconds in the future. The endpoint's runner
//! (`runner/`) extends the lease with every write. If a process dies, the lease runs out and
//! another dispatcher takes the endpoint over.
//!
//! # Position
//!
//! An endpoint's *position* is the id of a journal entry. Everything up to it is either delivered
//! or stored as pending. The runner reads the journal from the position on, sends, and stores the
//! new position. After a crash the next runner starts from the stored position, so no event is
//! lost. Deliveries that succeeded after the last write are sent again, with the same message id.
//!
//! # Pending deliveries
//!
//! A delivery that fails is *parked*: it is stored in the table of pending deliveries, with the
//! time of its next attempt. Later deliveries for the same account are parked behind it, because a
//! receiver must get the events of one account in order. The position moves on past parked
//! deliveries, so an account whose deliveries fail holds up no other account (`account_queues.rs`).
//!
//! # Limits and shares
//!
//! Every endpoint with something to deliver has a runner, but the runners of a process share what
//! is scarce (`limits.rs`):
//!
//! - *Turns.* A runner leases, reads and writes in turns, `turns` at a time, of which one reseller
//!   has `reseller_turns` at most. The resellers that wait are served in turn.
//! - *Slots.* `concurrency` limits the attempts that a process makes at a time,
//!   `reseller_concurrency` those to the endpoints of one reseller, and `endpoint_concurrency` those
//!   to one endpoint. A slow receiver therefore cannot use up all attempts. Failing endpoints have
//!   slots of their own, a quarter as many.
//! - *Memory.* The more endpoints have runners, the less each of them reads ahead.
//!
//! So an event of a reseller with little to deliver is sent within 2 s, whatever the endpoints of
//! the others do.
//!
//! # Order and repetition
//!
//! Receivers get each event at least once, and the events of one account in order. A dispatcher
//! that lost its lease without noticing can repeat deliveries that another one makes too. Even then
//! each of them keeps the order within an account.

mod account_queues;
mod attempts;
mod http_client;
mod limits;
mod message;
mod runner;
mod schedule;
mod sign;
mod wake;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use uuid::Uuid;

use crate::domain::{Error, ResellerId};
use crate::service::{News, Service};
use http_client::Sender;
pub use http_client::{Unreachable, probe};
use limits::Limits;
pub use message::Writer;
use runner::RunnerContext;
pub use sign::headers as signature;
use wake::{Reason, Wake};

/// How often the dispatcher polls for endpoints with work, besides listening to notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// When a process has this many runners, it starts others only for resellers that have none.
const MAX_RUNNERS: usize = 1_024;

/// Settings for deliveries.
#[derive(Clone)]
pub struct Settings {
    /// The maximum duration of one attempt.
    pub timeout: Duration,
    /// The delays before each retry of a failed delivery. The last one applies to all further
    /// retries.
    pub retries: Vec<Duration>,
    /// An endpoint is suspended when every attempt has failed for this long.
    pub suspend_after: chrono::TimeDelta,
    /// The duration of a lease. A dispatcher that does not extend its lease loses the endpoint
    /// after this time.
    pub lease: Duration,
    /// The maximum number of attempts that the process makes at a time.
    pub concurrency: usize,
    /// The maximum number of attempts to the endpoints of one reseller at a time.
    pub reseller_concurrency: usize,
    /// The maximum number of attempts to one endpoint at a time.
    pub endpoint_concurrency: usize,
    /// How many endpoints of the process may read or write the database at a time.
    pub turns: usize,
    /// How many endpoints of one reseller may do so at a time.
    pub reseller_turns: usize,
    /// Networks that are not public but that receivers may be in nevertheless.
    pub allowed_networks: Vec<IpNet>,
    /// Writes the bodies of the requests.
    pub writer: Writer,
}

/// An endpoint with a runner in this process.
struct RunningEndpoint {
    reseller: ResellerId,
    wake: Arc<Wake>,
}

/// Removes an endpoint from the map of running ones when its runner ends, even by a panic.
struct RunningGuard {
    running: Arc<Mutex<HashMap<Uuid, RunningEndpoint>>>,
    id: Uuid,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

/// The resellers whose endpoints may have work.
enum WorkHint {
    /// Any reseller: the poll interval is over, or notifications were missed.
    AnyReseller,
    /// The resellers named by notifications.
    Resellers {
        /// Those with new events.
        events: HashSet<ResellerId>,
        /// Those whose endpoints have changed, or have due deliveries.
        endpoints: HashSet<ResellerId>,
    },
}

impl WorkHint {
    /// The hint in a notification. A notification without resellers means any reseller. `None` if
    /// the channel is closed.
    fn of_notification(notification: Result<News, broadcast::error::RecvError>) -> Option<Self> {
        match notification {
            Ok(News::Events(resellers)) if !resellers.is_empty() => Some(Self::Resellers {
                events: resellers.into_iter().collect(),
                endpoints: HashSet::new(),
            }),
            Ok(News::Endpoints(reseller)) => Some(Self::Resellers {
                events: HashSet::new(),
                endpoints: HashSet::from([reseller]),
            }),
            Ok(News::Events(_)) | Err(broadcast::error::RecvError::Lagged(_)) => {
                Some(Self::AnyReseller)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The hint in a notification that has arrived already. `None` if none has.
    fn of_waiting(notifications: &mut broadcast::Receiver<News>) -> Option<Self> {
        match notifications.try_recv() {
            Ok(news) => Self::of_notification(Ok(news)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Self::AnyReseller),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Resellers {
                    mut events,
                    mut endpoints,
                },
                Self::Resellers {
                    events: more_events,
                    endpoints: more_endpoints,
                },
            ) => {
                events.extend(more_events);
                endpoints.extend(more_endpoints);
                Self::Resellers { events, endpoints }
            }
            _ => Self::AnyReseller,
        }
    }
}

/// Finds endpoints that no other dispatcher delivers to, and starts a runner for each.
pub struct Dispatcher {
    service: Arc<Service>,
    settings: Arc<Settings>,
    sender: Sender,
    limits: Arc<Limits>,
    /// The id of this dispatcher in its leases.
    owner: Uuid,
    running: Arc<Mutex<HashMap<Uuid, RunningEndpoint>>>,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(service: Arc<Service>, settings: Settings) -> Result<Self, String> {
        let limits = Arc::new(Limits::new(&settings, service.metrics()));
        service.watch_shares(limits.shares());
        Ok(Self {
            sender: Sender::new(settings.timeout, &settings.allowed_networks)?,
            limits,
            owner: Uuid::new_v4(),
            running: Arc::default(),
            tasks: TaskTracker::new(),
            settings: Arc::new(settings),
            service,
        })
    }

    /// Delivers until `stop` is cancelled. Then it waits for the attempts under way and releases
    /// all leases.
    pub async fn run(self, stop: CancellationToken) {
        let mut notifications = self.service.news_of_events();
        let mut ticks = tokio::time::interval(POLL_INTERVAL.min(self.settings.lease / 2));
        let mut endpoint_counts = HashMap::new();
        loop {
            let hint = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => WorkHint::AnyReseller,
                received = notifications.recv() => match WorkHint::of_notification(received) {
                    // One search serves all notifications that have arrived meanwhile.
                    Some(first) => std::iter::from_fn(|| WorkHint::of_waiting(&mut notifications))
                        .fold(first, WorkHint::merge),
                    None => break,
                },
            };
            if let Err(error) = self.wake_and_start(hint, &mut endpoint_counts, &stop).await {
                warn!(
                    %error,
                    "cannot look for webhook endpoints with work; trying again at the next poll"
                );
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Wakes the runners of the hinted resellers, and starts a runner for each of their endpoints
    /// that has work and no lease of another dispatcher.
    ///
    /// `endpoint_counts` is the number of endpoints of each reseller, as of the latest poll. The
    /// search leaves out resellers without endpoints, and those whose endpoints all have runners
    /// here.
    async fn wake_and_start(
        &self,
        hint: WorkHint,
        endpoint_counts: &mut HashMap<ResellerId, usize>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let resellers = match hint {
            WorkHint::AnyReseller => {
                self.running()
                    .values()
                    .for_each(|running| running.wake.call(Reason::Anything));
                *endpoint_counts = self.service.count_endpoints().await?;
                None
            }
            WorkHint::Resellers {
                events: mut resellers,
                endpoints,
            } => {
                // The next poll counts them.
                endpoint_counts.extend(endpoints.iter().map(|reseller| (*reseller, usize::MAX)));
                resellers.extend(&endpoints);
                let mut running_counts: HashMap<ResellerId, usize> = HashMap::new();
                for running in self
                    .running()
                    .values()
                    .filter(|running| resellers.contains(&running.reseller))
                {
                    let reason = if endpoints.contains(&running.reseller) {
                        Reason::Anything
                    } else {
                        Reason::Events
                    };
                    running.wake.call(reason);
                    *running_counts.entry(running.reseller).or_default() += 1;
                }
                resellers.retain(|reseller| {
                    endpoint_counts.get(reseller).is_some_and(|count| {
                        running_counts
                            .get(reseller)
                            .is_none_or(|running| running < count)
                    })
                });
                Some(resellers.into_iter().collect::<Vec<_>>())
            }
        };
        if resellers
            .as_ref()
            .map_or(endpoint_counts.is_empty(), Vec::is_empty)
        {
            return Ok(());
        }
        let running = self.running().keys().copied().collect();
        let limit = i64::try_from(MAX_RUNNERS).unwrap_or(i64::MAX);
        let found = self
            .service
            .find_deliveries(resellers, self.owner, running, limit)
            .await?;
        for (reseller, id) in found {
            self.start(reseller, id, stop);
        }
        Ok(())
    }

    /// Starts the runner of an endpoint, unless there are enough. It leases the endpoint when it
    /// has its first turn.
    fn start(&self, reseller: ResellerId, id: Uuid, stop: &CancellationToken) {
        let wake = Arc::new(Wake::default());
        {
            let mut running = self.running();
            let is_first = || !running.values().any(|other| other.reseller == reseller);
            if running.contains_key(&id) || (running.len() >= MAX_RUNNERS && !is_first()) {
                return;
            }
            running.insert(
                id,
                RunningEndpoint {
                    reseller,
                    wake: Arc::clone(&wake),
                },
            );
        }
        let context = RunnerContext {
            service: Arc::clone(&self.service),
            settings: Arc::clone(&self.settings),
            sender: self.sender.clone(),
            limits: Arc::clone(&self.limits),
            owner: self.owner,
            reseller,
            id,
            wake,
            stop: stop.clone(),
        };
        let guard = RunningGuard {
            running: Arc::clone(&self.running),
            id,
        };
        self.tasks.spawn(async move {
            let _guard = guard;
            runner::run(context).await;
        });
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, RunningEndpoint>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

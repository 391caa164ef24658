//! What is told: the journal, as signed HTTP requests to those who asked for it.
//!
//! The journal already holds every event, in the transaction of its change. An endpoint has a *position* in it; whoever
//! holds the endpoint's *lease* reads on from there ([`runner`]) and sends what the endpoint wants to be told. The position
//! moves on when what it passes is delivered, or written down as pending: so nothing is lost whenever a process dies, and
//! what was not written is delivered again. Within an account ([`account_queues`]) everything is in order; no account holds up
//! another, and no endpoint takes more than its share of the attempts that may be under way.
//!
//! Several replicas may run a dispatcher: each endpoint is delivered to by one of them at a time. One that was thought
//! dead and is not can deliver something twice, never something in another order: it, too, sends each account's events in
//! order from a place that was delivered.

mod account_queues;
mod http_client;
mod message;
mod runner;
mod schedule;
mod sign;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use uuid::Uuid;

use crate::domain::{Error, ResellerId};
use crate::service::Service;
use http_client::Sender;
pub use http_client::probe;
pub use message::Writer;
use runner::{Given, Runner};

/// How often endpoints with work are looked for, whatever is heard.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// To how many endpoints one process delivers at a time.
const MAX_RUNNERS: usize = 128;

/// How deliveries are made.
#[derive(Clone)]
pub struct Settings {
    /// The longest that one attempt may take.
    pub timeout: Duration,
    /// How long after each failure it is tried again.
    pub retries: Vec<Duration>,
    /// After how long of failures only an endpoint is suspended.
    pub suspend_after: chrono::TimeDelta,
    /// For how long a dispatcher that says nothing keeps its endpoints.
    pub lease: Duration,
    /// How many attempts may be under way, in all.
    pub concurrency: usize,
    /// How many of them to one endpoint.
    pub endpoint_concurrency: usize,
    /// Networks that are not for everybody and that may be connected to nevertheless.
    pub allowed_networks: Vec<IpNet>,
    /// How messages are written.
    pub writer: Writer,
}

/// An endpoint that is delivered to here.
struct Running {
    reseller: ResellerId,
    /// Has it look for something new.
    poke: Arc<Notify>,
}

/// Gives an endpoint's place among the running ones back, however its runner ends.
struct Place {
    runners: Arc<Mutex<HashMap<Uuid, Running>>>,
    id: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

/// Whose endpoints there is something for.
enum Whose {
    /// Maybe anybody's.
    Anybodys,
    /// Those of these resellers.
    Of(HashSet<ResellerId>),
}

impl Whose {
    /// None: nothing will be told any more.
    fn from(told: Result<Vec<ResellerId>, broadcast::error::RecvError>) -> Option<Self> {
        match told {
            Ok(resellers) if !resellers.is_empty() => {
                Some(Self::Of(resellers.into_iter().collect()))
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => Some(Self::Anybodys),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// What was told already.
    fn waiting(news: &mut broadcast::Receiver<Vec<ResellerId>>) -> Option<Self> {
        match news.try_recv() {
            Ok(resellers) => Self::from(Ok(resellers)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Self::Anybodys),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Of(mut resellers), Self::Of(more)) => {
                resellers.extend(more);
                Self::Of(resellers)
            }
            _ => Self::Anybodys,
        }
    }
}

/// Delivers to all endpoints that nobody else delivers to.
pub struct Dispatcher {
    service: Arc<Service>,
    settings: Arc<Settings>,
    sender: Sender,
    slots: Arc<Semaphore>,
    owner: Uuid,
    runners: Arc<Mutex<HashMap<Uuid, Running>>>,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// # Errors
    /// That TLS cannot be set up.
    pub fn new(service: Arc<Service>, settings: Settings) -> Result<Self, String> {
        Ok(Self {
            sender: Sender::new(settings.timeout, &settings.allowed_networks)?,
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            owner: Uuid::new_v4(),
            runners: Arc::default(),
            tasks: TaskTracker::new(),
            settings: Arc::new(settings),
            service,
        })
    }

    /// Delivers until told to stop; then finishes what is under way and gives all leases back.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.service.news_of_events();
        let mut ticks = tokio::time::interval(LOOK_EVERY.min(self.settings.lease / 2));
        let mut endpoints = HashMap::new();
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => Whose::Anybodys,
                told = news.recv() => match Whose::from(told) {
                    // Everything that was told meanwhile is looked after together.
                    Some(first) => std::iter::from_fn(|| Whose::waiting(&mut news)).fold(first, Whose::and),
                    None => break,
                },
            };
            if let Err(error) = self.look(told, &mut endpoints, &stop).await {
                warn!(%error, "endpoints with work cannot be looked for");
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Pokes the runners of these resellers, and starts one for each of their endpoints that nobody delivers to. Resellers
    /// without endpoints, and those whose endpoints are all delivered to here, cost nothing.
    async fn look(
        &self,
        whose: Whose,
        endpoints: &mut HashMap<ResellerId, usize>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let resellers = match whose {
            Whose::Anybodys => {
                self.running()
                    .values()
                    .for_each(|running| running.poke.notify_one());
                *endpoints = self.service.count_endpoints().await?;
                None
            }
            Whose::Of(mut resellers) => {
                let mut here: HashMap<ResellerId, usize> = HashMap::new();
                for running in self
                    .running()
                    .values()
                    .filter(|running| resellers.contains(&running.reseller))
                {
                    running.poke.notify_one();
                    *here.entry(running.reseller).or_default() += 1;
                }
                resellers.retain(|reseller| {
                    endpoints
                        .get(reseller)
                        .is_some_and(|count| here.get(reseller).is_none_or(|here| here < count))
                });
                Some(resellers.into_iter().collect::<Vec<_>>())
            }
        };
        let room = MAX_RUNNERS.saturating_sub(self.running().len());
        if room == 0
            || resellers
                .as_ref()
                .map_or(endpoints.is_empty(), Vec::is_empty)
        {
            return Ok(());
        }
        let found = self
            .service
            .find_deliveries(resellers, i64::try_from(room).unwrap_or_default())
            .await?;
        for (reseller, id) in found {
            self.start(reseller, id, stop).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        reseller: ResellerId,
        id: Uuid,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        if self.running().contains_key(&id) {
            return Ok(());
        }
        let until = self.service.now() + self.settings.lease;
        let Some((endpoint, secrets, shut)) = self
            .service
            .lease_endpoint(reseller, id, self.owner, until)
            .await?
        else {
            return Ok(());
        };
        let poke = Arc::new(Notify::new());
        self.running().insert(
            id,
            Running {
                reseller,
                poke: Arc::clone(&poke),
            },
        );
        let given = Given {
            service: Arc::clone(&self.service),
            settings: Arc::clone(&self.settings),
            sender: self.sender.clone(),
            slots: Arc::clone(&self.slots),
            owner: self.owner,
            endpoint,
            secrets,
            poke,
            stop: stop.clone(),
        };
        let runner = Runner::new(given, shut);
        let place = Place {
            runners: Arc::clone(&self.runners),
            id,
        };
        self.tasks.spawn(async move {
            let _kept = place;
            runner.run().await;
        });
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Running>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The lanes: group commit, and look-ups together.
//!
//! One task takes every command that queued while the previous transaction was under way, and commits them
//! together. There is no waiting window: an idle service commits at once, a busy one commits many at a time. The
//! queue is bounded; when it is full the caller is told so.
//!
//! Look-ups of accounts by their key, and of credentials, go the same way, each on a lane of its own: many at a time.
//!
//! A batch that fails before its commit is tried again one by one, so that one caller's bad luck is its own; what
//! another replica did meanwhile is seen then. A batch whose commit was not answered is not tried again: it may have been committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, debug_span, warn};

use super::announcer::Announcer;
use super::batch::{self, Failed, Key};
use super::request::Request;
use super::{Answered, Clock, CommitScope, Done, IdempotencyKey, Settings, StoredAnswer, panicked};
use crate::domain::{Account, Error, ResellerId};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::telemetry;

/// Writes an outcome as the dialect would, so that a repeat can be answered with the same bytes. An answer of 500 or
/// more is not kept.
type Encoder<T> = Arc<dyn Fn(&Result<T, Error>) -> StoredAnswer + Send + Sync>;

/// Asks for a request to be carried out once, however often it is sent.
pub struct Once<T = Done> {
    /// What makes it the same request.
    pub key: IdempotencyKey,
    /// SHA-256 of its body: another body under the same key is refused.
    pub fingerprint: [u8; 32],
    /// How its answer is written.
    pub encode: Encoder<T>,
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            fingerprint: self.fingerprint,
            encode: Arc::clone(&self.encode),
        }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A request that waits, whom to tell, and what it is part of.
type Waiting<Q, A> = (Q, oneshot::Sender<Result<A, Error>>, Span);

/// A queue whose requests are carried out together: whatever waits, as soon as what was under way is done.
#[derive(Debug)]
pub(super) struct Lane<Q, A> {
    name: &'static str,
    metrics: Arc<Metrics>,
    queue: mpsc::Sender<Waiting<Q, A>>,
    closing: CancellationToken,
}

impl<Q: Send + 'static, A: Send + 'static> Lane<Q, A> {
    /// `carry_out` gives one outcome for each request, in their order.
    pub(super) fn start<F, W>(
        name: &'static str,
        settings: &Settings,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        carry_out: F,
    ) -> Self
    where
        F: Fn(Vec<Q>) -> W + Send + 'static,
        W: Future<Output = Vec<Result<A, Error>>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(settings.queue);
        let closing = CancellationToken::new();
        let metrics = Arc::clone(metrics);
        let counted = Arc::clone(&metrics);
        let carry_out = move |requests: Vec<Q>| {
            let (metrics, size, started) = (Arc::clone(&counted), requests.len(), Instant::now());
            let work = carry_out(requests);
            async move {
                let outcomes = work.await;
                metrics.batch(name, size, started.elapsed());
                outcomes
            }
        };
        tasks.spawn(run(waiting, settings.batch, closing.clone(), carry_out));
        Self {
            name,
            metrics,
            queue,
            closing,
        }
    }

    /// Queues a request and waits for its outcome. If the caller is dropped meanwhile, the request goes on.
    pub(super) async fn submit(&self, request: Q) -> Result<A, Error> {
        let (reply, outcome) = oneshot::channel();
        self.queue
            .try_send((request, reply, Span::current()))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => {
                    self.metrics.refused(self.name);
                    Error::Overloaded
                }
                mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
            })?;
        outcome.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Says how many requests wait now.
    pub(super) fn look(&self) {
        self.metrics
            .set_waiting(self.name, self.queue.max_capacity() - self.queue.capacity());
    }

    /// Takes no more; what is queued is still carried out.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

async fn run<Q, A, F, W>(
    mut waiting: mpsc::Receiver<Waiting<Q, A>>,
    most: usize,
    closing: CancellationToken,
    carry_out: F,
) where
    F: Fn(Vec<Q>) -> W,
    W: Future<Output = Vec<Result<A, Error>>>,
{
    let mut taken = Vec::with_capacity(most);
    let mut is_open = true;
    loop {
        let count = tokio::select! {
            count = waiting.recv_many(&mut taken, most) => count,
            () = closing.cancelled(), if is_open => {
                is_open = false;
                waiting.close();
                continue;
            }
        };
        if count == 0 {
            return;
        }
        // It belongs to no request alone, and comes after all of them.
        let batch = debug_span!(target: telemetry::SPANS, parent: None, "batch", requests = count);
        let (mut requests, mut replies) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (request, reply, span) in taken.drain(..) {
            batch.follows_from(&span);
            requests.push(request);
            replies.push(reply);
        }
        let outcomes = carry_out(requests).instrument(batch).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that hung up is not there to be told.
            let _unheard = reply.send(outcome);
        }
    }
}

/// What carries out changes.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) announcer: Announcer,
}

impl Writer {
    pub(super) async fn carry_out(self, requests: Vec<Request>) -> Vec<Result<Answered, Error>> {
        if self.settings.scope == CommitScope::All {
            return self.carry_out_together(requests).await;
        }
        // Each reseller's in turn; the outcomes go back to their places.
        let mut groups: BTreeMap<ResellerId, (Vec<usize>, Vec<Request>)> = BTreeMap::new();
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(Error::Unavailable)).collect();
        for (place, request) in requests.into_iter().enumerate() {
            let group = groups.entry(request.reseller).or_default();
            group.0.push(place);
            group.1.push(request);
        }
        for (places, requests) in groups.into_values() {
            for (place, outcome) in places
                .into_iter()
                .zip(self.carry_out_together(requests).await)
            {
                if let Some(kept) = outcomes.get_mut(place) {
                    *kept = outcome;
                }
            }
        }
        outcomes
    }

    async fn carry_out_together(&self, requests: Vec<Request>) -> Vec<Result<Answered, Error>> {
        let requests: Arc<[Request]> = requests.into();
        let failed = match self.commit(Arc::clone(&requests)).await {
            Ok(outcomes) => return outcomes,
            Err(failed) => failed,
        };
        if !failed.is_worth_trying_alone {
            return requests.iter().map(|_| Err(failed.error.clone())).collect();
        }
        warn!(cause = %failed.error, requests = requests.len(), "a batch failed; trying its requests one by one");
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in &*requests {
            let alone = self.commit(Arc::from(vec![request.clone()])).await;
            let outcome = alone.map_or_else(
                |failed| Err(failed.error),
                |mut outcomes| outcomes.pop().unwrap_or(Err(Error::Unavailable)),
            );
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits requests in one transaction, in a task of its own, so that not even a panic ends the lane.
    async fn commit(
        &self,
        requests: Arc<[Request]>,
    ) -> Result<Vec<Result<Answered, Error>>, Failed> {
        let (store, now, settings) = (self.store.clone(), self.clock.now(), self.settings.clone());
        let limit: Duration = settings.transaction_timeout;
        let work =
            async move { batch::commit(&store, &requests, now, settings.idempotency_window).await };
        match tokio::spawn(tokio::time::timeout(limit, work).instrument(Span::current())).await {
            Ok(Ok(result)) => result.map(|committed| {
                self.announcer.tell(committed.told);
                committed.outcomes
            }),
            Ok(Err(_elapsed)) => Err(Failed {
                error: Error::Unavailable,
                is_worth_trying_alone: false,
            }),
            Err(panic) => Err(Failed {
                error: panicked(&panic),
                is_worth_trying_alone: true,
            }),
        }
    }
}

/// What looks up accounts.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) limit: Duration,
}

impl Reader {
    /// The accounts with these keys, deleted ones included, with one statement; each key is one that its caller may see.
    pub(super) async fn look_up(self, keys: Vec<Key>) -> Vec<Result<Option<Account>, Error>> {
        let wanted: BTreeSet<Key> = keys.iter().copied().collect();
        let work = async move {
            let resellers = wanted.iter().map(|(reseller, _)| *reseller).collect();
            let (tx, found) = self
                .store
                .look_up(&resellers, &wanted.into_iter().collect::<Vec<_>>())
                .await?;
            tx.commit().await?;
            Ok(found
                .into_iter()
                .map(|account| ((account.reseller_id, account.id), account))
                .collect())
        };
        find_each(keys, self.limit, work).await
    }
}

/// What `work` finds, told to each who asked; in a task of its own, started at once, so that not even a panic ends a lane.
pub(super) fn find_each<K, T, W>(
    keys: Vec<K>,
    limit: Duration,
    work: W,
) -> impl Future<Output = Vec<Result<Option<T>, Error>>> + Send + use<K, T, W>
where
    K: Eq + Hash + Send + 'static,
    T: Clone + Send + 'static,
    W: Future<Output = Result<HashMap<K, T>, Error>> + Send + 'static,
{
    let task = tokio::spawn(tokio::time::timeout(limit, work).instrument(Span::current()));
    async move {
        let found = match task.await {
            Ok(Ok(found)) => found,
            Ok(Err(_elapsed)) => Err(Error::Unavailable),
            Err(panic) => Err(panicked(&panic)),
        };
        match found {
            Ok(found) => keys.iter().map(|key| Ok(found.get(key).cloned())).collect(),
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

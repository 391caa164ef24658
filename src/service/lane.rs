//! The write lane: group commit.
//!
//! One task takes every command that queued while the previous transaction was under way, and commits them
//! together. There is no waiting window: an idle service commits at once, a busy one commits many at a time. The
//! queue is bounded; when it is full the caller is told so.
//!
//! A batch that fails before its commit is tried again one by one, so that one caller's bad luck is its own; what
//! another replica did meanwhile is seen then. A batch whose commit was not answered is not tried again: it may have been committed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::batch::{self, Failed, Request};
use super::{Answered, Clock, Done, IdempotencyKey, Settings, StoredAnswer, panicked};
use crate::domain::Error;
use crate::store::Store;

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
        Self { key: self.key.clone(), fingerprint: self.fingerprint, encode: Arc::clone(&self.encode) }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("key", &self.key).finish_non_exhaustive()
    }
}

type Reply = oneshot::Sender<Result<Answered, Error>>;

/// The door of the lane.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<(Request, Reply)>,
    closing: CancellationToken,
}

impl Lane {
    pub(super) fn start(store: Store, clock: Clock, settings: &Settings, tasks: &TaskTracker) -> Self {
        let (queue, waiting) = mpsc::channel(settings.queue);
        let closing = CancellationToken::new();
        let worker = Worker { store, clock, settings: settings.clone() };
        tasks.spawn(worker.run(waiting, closing.clone()));
        Self { queue, closing }
    }

    /// Queues a request and waits for its outcome. If the caller is dropped meanwhile, the request goes on.
    pub(super) async fn submit(&self, request: Request) -> Result<Answered, Error> {
        let (reply, outcome) = oneshot::channel();
        self.queue.try_send((request, reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        outcome.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Takes no more; what is queued is still carried out.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

struct Worker {
    store: Store,
    clock: Clock,
    settings: Settings,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<(Request, Reply)>, closing: CancellationToken) {
        let mut taken = Vec::with_capacity(self.settings.batch);
        let mut is_open = true;
        loop {
            let count = tokio::select! {
                count = waiting.recv_many(&mut taken, self.settings.batch) => count,
                () = closing.cancelled(), if is_open => {
                    is_open = false;
                    waiting.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            let (requests, replies): (Vec<_>, Vec<_>) = taken.drain(..).unzip();
            let outcomes = self.carry_out(requests).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // A caller that hung up is not there to be told.
                let _unheard = reply.send(outcome);
            }
        }
    }

    async fn carry_out(&self, requests: Vec<Request>) -> Vec<Result<Answered, Error>> {
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
            let outcome = alone.map_or_else(|failed| Err(failed.error), |mut outcomes| outcomes.pop().unwrap_or(Err(Error::Unavailable)));
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits requests in one transaction, in a task of its own, so that not even a panic ends the lane.
    async fn commit(&self, requests: Arc<[Request]>) -> Result<Vec<Result<Answered, Error>>, Failed> {
        let (store, now, settings) = (self.store.clone(), self.clock.now(), self.settings.clone());
        let limit: Duration = settings.transaction_timeout;
        let work = async move { batch::commit(&store, &requests, now, settings.idempotency_window).await };
        match tokio::spawn(tokio::time::timeout(limit, work)).await {
            Ok(Ok(result)) => result,
            Ok(Err(_elapsed)) => Err(Failed { error: Error::Unavailable, is_worth_trying_alone: false }),
            Err(panic) => Err(Failed { error: panicked(&panic), is_worth_trying_alone: true }),
        }
    }
}

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

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, debug_span};

use crate::domain::Error;
use crate::metrics::Metrics;
use crate::service::settings::Settings;
use crate::telemetry;

/// A request that waits, whom to tell, and what it is part of.
type Waiting<Q, A> = (Q, oneshot::Sender<Result<A, Error>>, Span);

/// A queue whose requests are carried out together: whatever waits, as soon as what was under way is done.
#[derive(Debug)]
pub(in crate::service) struct Lane<Q, A> {
    name: &'static str,
    metrics: Arc<Metrics>,
    queue: mpsc::Sender<Waiting<Q, A>>,
    closing: CancellationToken,
}

impl<Q: Send + 'static, A: Send + 'static> Lane<Q, A> {
    /// `carry_out` gives one outcome for each request, in their order.
    pub(in crate::service) fn start<F, W>(
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
    pub(in crate::service) async fn submit(&self, request: Q) -> Result<A, Error> {
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
    pub(in crate::service) fn record_queue_depth(&self) {
        self.metrics
            .set_waiting(self.name, self.queue.max_capacity() - self.queue.capacity());
    }

    /// Takes no more; what is queued is still carried out.
    pub(in crate::service) fn close(&self) {
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

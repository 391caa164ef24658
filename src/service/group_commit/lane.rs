//! A lane: a bounded queue whose requests are carried out together.

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

/// A queued request, where its outcome is sent, and the span that it belongs to.
type Queued<Q, A> = (Q, oneshot::Sender<Result<A, Error>>, Span);

/// A queue whose requests are carried out together. The requests that are queued when a batch ends
/// form the next batch.
#[derive(Debug)]
pub(in crate::service) struct Lane<Q, A> {
    name: &'static str,
    metrics: Arc<Metrics>,
    queue: mpsc::Sender<Queued<Q, A>>,
    closing: CancellationToken,
}

impl<Q: Send + 'static, A: Send + 'static> Lane<Q, A> {
    /// Starts the task that empties the queue. `carry_out` must return one outcome for each
    /// request, in the order of the requests. `name` is the lane's label in the metrics.
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
        let (queue, queued) = mpsc::channel(settings.queue);
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
        tasks.spawn(run(queued, settings.batch, closing.clone(), carry_out));
        Self {
            name,
            metrics,
            queue,
            closing,
        }
    }

    /// Queues a request and waits for its outcome. If the caller is dropped meanwhile, the request
    /// is carried out all the same.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the queue is full, [`Error::Unavailable`] if the lane is closed.
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

    /// Records in the metrics how many requests are queued now.
    pub(in crate::service) fn record_queue_depth(&self) {
        self.metrics
            .set_waiting(self.name, self.queue.max_capacity() - self.queue.capacity());
    }

    /// Accepts no more requests. Those that are queued are still carried out.
    pub(in crate::service) fn close(&self) {
        self.closing.cancel();
    }
}

async fn run<Q, A, F, W>(
    mut queued: mpsc::Receiver<Queued<Q, A>>,
    max: usize,
    closing: CancellationToken,
    carry_out: F,
) where
    F: Fn(Vec<Q>) -> W,
    W: Future<Output = Vec<Result<A, Error>>>,
{
    let mut taken = Vec::with_capacity(max);
    let mut is_open = true;
    loop {
        let count = tokio::select! {
            count = queued.recv_many(&mut taken, max) => count,
            () = closing.cancelled(), if is_open => {
                is_open = false;
                queued.close();
                continue;
            }
        };
        if count == 0 {
            return;
        }
        // The batch belongs to many requests, so its span has no parent and follows from all of
        // them.
        let batch = debug_span!(target: telemetry::SPANS, parent: None, "batch", requests = count);
        let (mut requests, mut replies) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (request, reply, span) in taken.drain(..) {
            batch.follows_from(&span);
            requests.push(request);
            replies.push(reply);
        }
        let outcomes = carry_out(requests).instrument(batch).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Fails when the caller was dropped, because its client hung up.
            let _hung_up = reply.send(outcome);
        }
    }
}

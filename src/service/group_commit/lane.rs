//! A lane: a bounded queue whose requests are carried out together.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, debug_span};

use crate::domain::Error;
use crate::metrics::Metrics;
use crate::service::settings::Settings;
use crate::service::transaction::caught;
use crate::telemetry;

/// A queued request, where its outcome is sent, and the span that it belongs to. There is a span
/// only while traces are sent.
type Queued<Q, A> = (Q, oneshot::Sender<Result<A, Error>>, Option<Span>);

/// A queue whose requests are carried out together. The requests that are queued when a batch ends
/// form the next batch.
///
/// The queue is emptied by a task that ends with it: the first request for an idle lane spawns it.
/// So an idle lane hands a request to one task and back, and wakes no other. The task is not part
/// of the request's own future, so a client that hangs up cancels nothing.
#[derive(Debug)]
pub(in crate::service) struct Lane<Q, A> {
    shared: Arc<Shared<Q, A>>,
    tasks: TaskTracker,
}

/// What a lane and the task that empties it share.
struct Shared<Q, A> {
    name: &'static str,
    metrics: Arc<Metrics>,
    /// How many requests the queue holds.
    capacity: usize,
    /// How many requests a batch has at most.
    batch: usize,
    state: Mutex<State<Q, A>>,
    carry_out: CarryOut<Q, A>,
}

type CarryOut<Q, A> =
    Box<dyn Fn(Vec<Q>) -> BoxFuture<'static, Vec<Result<A, Error>>> + Send + Sync>;

struct State<Q, A> {
    queued: VecDeque<Queued<Q, A>>,
    /// Whether a task empties the queue. It is true while the queue has requests.
    is_running: bool,
    is_closed: bool,
}

impl<Q, A> std::fmt::Debug for Shared<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Lane<Q, A> {
    /// Makes an idle lane, whose tasks run on `tasks`. `carry_out` must return one outcome for each
    /// request, in the order of the requests. `name` is the lane's label in the metrics.
    pub(in crate::service) fn start<F, W>(
        name: &'static str,
        settings: &Settings,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        carry_out: F,
    ) -> Self
    where
        F: Fn(Vec<Q>) -> W + Send + Sync + 'static,
        W: Future<Output = Vec<Result<A, Error>>> + Send + 'static,
    {
        let shared = Shared {
            name,
            metrics: Arc::clone(metrics),
            capacity: settings.queue,
            batch: settings.batch,
            state: Mutex::new(State {
                queued: VecDeque::new(),
                is_running: false,
                is_closed: false,
            }),
            carry_out: Box::new(move |requests| Box::pin(carry_out(requests))),
        };
        Self {
            shared: Arc::new(shared),
            tasks: tasks.clone(),
        }
    }

    /// Queues a request and waits for its outcome. If the caller is dropped meanwhile, the request
    /// is carried out all the same.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the queue is full, [`Error::Unavailable`] if the lane is closed.
    pub(in crate::service) async fn submit(&self, request: Q) -> Result<A, Error> {
        let (reply, outcome) = oneshot::channel();
        let span = telemetry::is_tracing().then(Span::current);
        if self.queue((request, reply, span))? {
            self.tasks.spawn(Arc::clone(&self.shared).empty());
        }
        outcome.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Queues a request. Returns whether the caller must spawn the task that empties the queue.
    fn queue(&self, request: Queued<Q, A>) -> Result<bool, Error> {
        let mut state = self.shared.state();
        if state.is_closed {
            return Err(Error::Unavailable);
        }
        if state.queued.len() >= self.shared.capacity {
            drop(state);
            self.shared.metrics.refused(self.shared.name);
            return Err(Error::Overloaded);
        }
        state.queued.push_back(request);
        Ok(!std::mem::replace(&mut state.is_running, true))
    }

    /// Records in the metrics how many requests are queued now.
    pub(in crate::service) fn record_queue_depth(&self) {
        let waiting = self.shared.state().queued.len();
        self.shared.metrics.set_waiting(self.shared.name, waiting);
    }

    /// Accepts no more requests. Those that are queued are still carried out.
    pub(in crate::service) fn close(&self) {
        self.shared.state().is_closed = true;
    }
}

impl<Q, A> Shared<Q, A> {
    fn state(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests of the next batch. `None` if there are none; the lane is then idle.
    fn next(&self) -> Option<Vec<Queued<Q, A>>> {
        let mut state = self.state();
        let count = state.queued.len().min(self.batch);
        state.is_running = count > 0;
        (count > 0).then(|| state.queued.drain(..count).collect())
    }

    /// Carries out everything that is queued, and what is queued meanwhile.
    async fn empty(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            self.carry_out(batch).await;
        }
    }

    /// Carries out a batch and sends each caller its outcome. A panic is an outcome too.
    async fn carry_out(&self, batch: Vec<Queued<Q, A>>) {
        let (count, started) = (batch.len(), Instant::now());
        // The batch belongs to many requests, so its span has no parent and follows from all of
        // them.
        let span = debug_span!(target: telemetry::SPANS, parent: None, "batch", requests = count);
        let (mut requests, mut replies) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (request, reply, of_request) in batch {
            if let Some(of_request) = of_request {
                span.follows_from(&of_request);
            }
            requests.push(request);
            replies.push(reply);
        }
        let work = async { (self.carry_out)(requests).await };
        let done = AssertUnwindSafe(work.instrument(span)).catch_unwind().await;
        self.metrics.batch(self.name, count, started.elapsed());
        let outcomes = done.unwrap_or_else(|panic| {
            let error = caught(&*panic);
            replies.iter().map(|_| Err(error.clone())).collect()
        });
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Fails when the caller was dropped, because its client hung up.
            let _hung_up = reply.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    /// A lane that answers each number with the size of its batch. 13 panics, and 0 waits for
    /// `release` first.
    fn lane(tasks: &TaskTracker, release: &Arc<Notify>) -> Lane<u32, usize> {
        let settings = Settings {
            queue: 3,
            batch: 2,
            ..Settings::default()
        };
        let release = Arc::clone(release);
        let metrics = Arc::new(Metrics::new());
        Lane::start(
            "test",
            &settings,
            &metrics,
            tasks,
            move |batch: Vec<u32>| {
                let release = Arc::clone(&release);
                async move {
                    if batch.contains(&0) {
                        release.notified().await;
                    }
                    assert!(!batch.contains(&13), "a bad number");
                    batch.iter().map(|_| Ok(batch.len())).collect()
                }
            },
        )
    }

    #[tokio::test]
    async fn a_panic_fails_its_batch_and_the_lane_goes_on() {
        let lane = lane(&TaskTracker::new(), &Arc::default());
        let failed = lane.submit(13).await;
        assert!(matches!(failed, Err(Error::Internal { .. })), "{failed:?}");
        assert_eq!(lane.submit(1).await, Ok(1));
    }

    #[tokio::test]
    async fn what_waits_for_a_batch_forms_the_next_ones_and_a_full_queue_refuses() {
        let (tasks, release) = (TaskTracker::new(), Arc::default());
        let lane = lane(&tasks, &release);
        let (mut first, mut waiting) = (Box::pin(lane.submit(0)), Vec::new());
        assert!(first.as_mut().now_or_never().is_none());
        // The task that the first request has spawned takes it.
        tokio::task::yield_now().await;
        for number in 1..=3 {
            let mut submitted = Box::pin(lane.submit(number));
            assert!(submitted.as_mut().now_or_never().is_none());
            waiting.push(submitted);
        }
        assert_eq!(lane.submit(4).await, Err(Error::Overloaded));
        release.notify_one();
        assert_eq!(first.await, Ok(1));
        let sizes = futures_util::future::join_all(waiting).await;
        assert_eq!(sizes, [Ok(2), Ok(2), Ok(1)]);
    }

    #[tokio::test]
    async fn a_closed_lane_carries_out_what_is_queued_though_its_caller_is_gone() {
        let (tasks, release) = (TaskTracker::new(), Arc::default());
        let lane = lane(&tasks, &release);
        assert!(lane.submit(0).now_or_never().is_none(), "it waits");
        lane.close();
        assert_eq!(lane.submit(1).await, Err(Error::Unavailable));
        release.notify_one();
        tasks.close();
        tasks.wait().await;
        let last = lane.shared.state();
        assert!(last.queued.is_empty() && !last.is_running);
    }
}

//! Notifies those who wait for events: this process at once by a channel, the others by NOTIFY.
//!
//! The NOTIFY is sent after the commit, not in the transaction of the change, because there it
//! would make every commit slower. A listener that misses a notification polls anyway.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use uuid::Uuid;

use crate::domain::ResellerId;
use crate::store::Store;

/// The pause after each NOTIFY. Everything that is queued meanwhile goes into the next one.
const PAUSE: Duration = Duration::from_millis(10);

/// What those who wait for events are notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These resellers have new events. An empty list means any reseller.
    Events(Vec<ResellerId>),
    /// This reseller's webhook endpoints have changed, or have due deliveries.
    Endpoints(ResellerId),
}

/// Sends notifications of new events. Its task runs until [`Notifier::stop`].
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    here: broadcast::Sender<News>,
    elsewhere: mpsc::UnboundedSender<BTreeSet<ResellerId>>,
    stopping: CancellationToken,
    task: TaskTracker,
}

impl Notifier {
    /// Starts the task that notifies other processes. `process` is sent along, so that this process
    /// can ignore its own notifications.
    pub(super) fn start(store: Store, process: Uuid, here: broadcast::Sender<News>) -> Self {
        let (elsewhere, queue) = mpsc::unbounded_channel();
        let (stopping, task) = (CancellationToken::new(), TaskTracker::new());
        task.spawn(run(store, process, queue, stopping.clone()));
        Self {
            here,
            elsewhere,
            stopping,
            task,
        }
    }

    /// Sends what is queued, and ends the task. Later notifications reach this process only.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.task.close();
        self.task.wait().await;
    }

    /// Notifies everyone that these resellers have new events.
    pub(super) fn notify(&self, resellers: BTreeSet<ResellerId>) {
        if resellers.is_empty() {
            return;
        }
        // Fails when nobody in this process waits for events.
        let _no_receiver = self
            .here
            .send(News::Events(resellers.iter().copied().collect()));
        // Fails when the task has ended, because the service stops.
        let _stopped = self.elsewhere.send(resellers);
    }
}

async fn run(
    store: Store,
    process: Uuid,
    mut queue: mpsc::UnboundedReceiver<BTreeSet<ResellerId>>,
    stopping: CancellationToken,
) {
    loop {
        let received = tokio::select! {
            received = queue.recv() => received,
            () = stopping.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        let Some(mut resellers) = received else {
            return;
        };
        while let Ok(more) = queue.try_recv() {
            resellers.extend(more);
        }
        if let Err(error) = store.announce_events(process, &resellers).await {
            debug!(%error, "could not notify other processes of new events; they find them when they poll");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

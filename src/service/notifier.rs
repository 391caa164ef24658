//! Tells who waits for events that there are new ones: this process at once, the others a moment later and together.
//!
//! Not in the transaction of the change: a NOTIFY there costs every commit, and who hears nothing looks of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio_util::task::TaskTracker;
use tracing::debug;
use uuid::Uuid;

use crate::domain::ResellerId;
use crate::store::Store;

/// How long what is told to other processes is collected.
const PAUSE: Duration = Duration::from_millis(10);

/// Where new events are announced. The announcer ends when all of these are gone.
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    here: broadcast::Sender<Vec<ResellerId>>,
    elsewhere: mpsc::UnboundedSender<BTreeSet<ResellerId>>,
}

impl Notifier {
    pub(super) fn start(
        store: Store,
        process: Uuid,
        here: broadcast::Sender<Vec<ResellerId>>,
        tasks: &TaskTracker,
    ) -> Self {
        let (elsewhere, told) = mpsc::unbounded_channel();
        tasks.spawn(run(store, process, told));
        Self { here, elsewhere }
    }

    /// These resellers have new events.
    pub(super) fn notify(&self, resellers: BTreeSet<ResellerId>) {
        if resellers.is_empty() {
            return;
        }
        // Nobody may be there to be told.
        let _unheard = self.here.send(resellers.iter().copied().collect());
        let _stopping = self.elsewhere.send(resellers);
    }
}

async fn run(store: Store, process: Uuid, mut told: mpsc::UnboundedReceiver<BTreeSet<ResellerId>>) {
    while let Some(mut resellers) = told.recv().await {
        while let Ok(more) = told.try_recv() {
            resellers.extend(more);
        }
        if let Err(error) = store.announce_events(process, &resellers).await {
            debug!(%error, "other processes were not told of new events");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

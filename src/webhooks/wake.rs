//! How the dispatcher wakes a runner.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What a runner has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The journal has new entries.
    Events,
    /// Anything may have changed: the journal, the endpoint, or its pending deliveries.
    Anything,
}

/// Wakes one runner. A call before the runner waits is not lost.
#[derive(Debug, Default)]
pub(super) struct Wake {
    notify: Notify,
    is_anything: AtomicBool,
}

impl Wake {
    pub(super) fn call(&self, reason: Reason) {
        if reason == Reason::Anything {
            self.is_anything.store(true, Ordering::Release);
        }
        self.notify.notify_one();
    }

    /// Waits for a call. If there were several, one reason covers all of them.
    pub(super) async fn called(&self) -> Reason {
        self.notify.notified().await;
        if self.is_anything.swap(false, Ordering::AcqRel) {
            Reason::Anything
        } else {
            Reason::Events
        }
    }
}

//! What the endpoints of a process share: turns at the database, attempts, and memory.
//!
//! A runner takes a *turn* to lease its endpoint, to read and to write, and gives it back before it
//! waits for receivers. A turn reads a bounded number of journal entries, so turns are short, and
//! the resellers that wait for one are served in turn ([`Shares`]). A reseller with many busy
//! endpoints therefore delays an endpoint of another reseller by one turn, not by one for each of
//! its endpoints.
//!
//! An attempt needs a *slot* for as long as the receiver takes to answer. Attempts to failing
//! endpoints have slots of their own: a receiver that never answers holds slots that working
//! receivers need only until its first attempts have timed out.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Settings;
use crate::domain::ResellerId;
use crate::metrics::Metrics;
use crate::shares::{self, Holder, Permit, Shares};

/// How many deliveries of all endpoints of a process are in memory, roughly, at most.
const MAX_IN_MEMORY: usize = 32_000;
/// How many deliveries of one endpoint are in memory. With many endpoints it is less for each.
const MAX_UNSETTLED: usize = 500;
/// How many deliveries an endpoint may have in memory however many endpoints there are.
const MIN_UNSETTLED: usize = 32;
/// Slots of failing endpoints: one for this many slots of the others.
const SLOTS_FOR_FAILING: usize = 4;
/// A runner that waits longer asks again. Nothing depends on this time.
const WAIT: Duration = Duration::from_hours(1);

/// What the endpoints of a process share.
#[derive(Debug)]
pub(super) struct Limits {
    turns: Shares,
    slots: Shares,
    slots_for_failing: Shares,
    /// How many runners hold a lease.
    leased: AtomicUsize,
}

impl Limits {
    pub(super) fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Self {
        let shares = |name, total: usize, each: usize| {
            let limits = shares::Limits {
                total: total.max(1),
                each: each.max(1),
                // A runner waits for one turn and one slot at most, so the runners are the bound.
                queue: usize::MAX,
                wait: WAIT,
            };
            Shares::new(name, limits, Arc::clone(metrics))
        };
        let (all, each) = (settings.concurrency, settings.reseller_concurrency);
        Self {
            turns: shares("webhook_turns", settings.turns, settings.reseller_turns),
            slots: shares("webhook_attempts", all, each),
            slots_for_failing: shares(
                "webhook_attempts_to_failing",
                all / SLOTS_FOR_FAILING,
                each / SLOTS_FOR_FAILING,
            ),
            leased: AtomicUsize::new(0),
        }
    }

    /// All shares, for the metrics.
    pub(super) fn shares(&self) -> [Shares; 3] {
        [
            self.turns.clone(),
            self.slots.clone(),
            self.slots_for_failing.clone(),
        ]
    }

    /// Asks for a turn of a reseller's endpoint.
    pub(super) fn turn(&self, reseller: ResellerId) -> Request {
        Request::new(&self.turns, reseller)
    }

    /// Asks for a slot for an attempt to a reseller's endpoint.
    pub(super) fn slot(&self, reseller: ResellerId, is_failing: bool) -> Request {
        let slots = if is_failing {
            &self.slots_for_failing
        } else {
            &self.slots
        };
        Request::new(slots, reseller)
    }

    /// How many deliveries from the journal an endpoint may have in memory now.
    pub(super) fn max_unsettled(&self) -> usize {
        let runners = self.leased.load(Ordering::Relaxed).max(1);
        (MAX_IN_MEMORY / runners).clamp(MIN_UNSETTLED, MAX_UNSETTLED)
    }

    /// Counts a runner that holds a lease, until the result is dropped.
    pub(super) fn count_leased(self: &Arc<Self>) -> Leased {
        self.leased.fetch_add(1, Ordering::Relaxed);
        Leased(Arc::clone(self))
    }
}

/// A runner that holds a lease.
#[derive(Debug)]
pub(super) struct Leased(Arc<Limits>);

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.leased.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request for a permit. It keeps its place in the queue until it is dropped.
pub(super) struct Request(BoxFuture<'static, Permit>);

impl Request {
    fn new(shares: &Shares, reseller: ResellerId) -> Self {
        let (shares, holder) = (shares.clone(), Holder::Reseller(reseller));
        Self(Box::pin(async move {
            loop {
                if let Ok(permit) = shares.take(holder, 1).await {
                    return permit;
                }
            }
        }))
    }

    /// Waits for the permit. May be called again if it was cancelled.
    pub(super) async fn granted(&mut self) -> Permit {
        self.0.as_mut().await
    }

    /// The permit, if it can be had now.
    pub(super) async fn if_granted(&mut self) -> Option<Permit> {
        poll_fn(|context| match self.0.as_mut().poll(context) {
            Poll::Ready(permit) => Poll::Ready(Some(permit)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

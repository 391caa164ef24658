//! Webhooks: endpoints and their secrets, pending deliveries, and the log of attempts.
//!
//! An endpoint has a position: all events up to it in the journal are delivered, or have a row in
//! `webhook_pending`. One process at a time delivers to an endpoint; it holds a lease that it must
//! renew.

mod attempts;
mod backlog;
mod deliveries;
mod endpoints;

use crate::domain::{SuspendedBy, Time};

pub use attempts::{Attempt, AttemptFilter};

/// Identifies a delivery among those to one endpoint: an event under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The account. Its events are delivered in order.
    pub account: i32,
    /// The id of the journal entry.
    pub event_id: i64,
    /// The event name that the endpoint subscribes to, such as `account.updated`.
    pub event: String,
}

/// A delivery that is not made yet although the endpoint's position has passed its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The delivery.
    pub key: DeliveryKey,
    /// When the event happened.
    pub at: Time,
    /// How many attempts were made.
    pub attempts: i32,
    /// When the next attempt is due; `None` if an earlier delivery of the same account comes first.
    pub next_attempt_at: Option<Time>,
}

/// The progress of an endpoint's deliveries since the last one that was written.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The instant at which it is written.
    pub at: Time,
    /// The id of the last journal entry that is delivered or pending.
    pub position: i64,
    /// Since when every attempt has failed; `None` if the last one succeeded.
    pub failing_since: Option<Time>,
    /// When an attempt last succeeded; `None` leaves the stored instant.
    pub last_success_at: Option<Time>,
    /// Who suspends the endpoint now; `None` leaves the stored suspension.
    pub suspended_by: Option<SuspendedBy>,
    /// The attempts.
    pub attempts: Vec<Attempt>,
    /// Deliveries that are no longer pending.
    pub settled: Vec<DeliveryKey>,
    /// Deliveries that are pending now, or have a new time.
    pub parked: Vec<Pending>,
    /// Until when the lease lasts; `None` gives it back.
    pub lease_until: Option<Time>,
}

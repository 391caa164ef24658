//! Webhooks: endpoints with their secrets, what is to be delivered to them, and the log of attempts.

#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of a nullable array and converts nothing"
)]
mod attempts;
#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of a nullable array and converts nothing"
)]
mod deliveries;
mod endpoints;

use crate::domain::{SuspendedBy, Time};

pub use attempts::Attempt;

/// One thing to be delivered to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// Whose events these are, in order.
    pub account: i32,
    /// The entry of the journal.
    pub event_id: i64,
    /// The name that it is told by.
    pub event: String,
}

/// Something that is not delivered although the endpoint's position has passed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What.
    pub key: DeliveryKey,
    /// When it happened.
    pub at: Time,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is to be tried; none: behind the first of its account.
    pub next_attempt_at: Option<Time>,
}

/// What became of an endpoint's deliveries since this was last written.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// When it is written.
    pub at: Time,
    /// Up to where the journal is delivered or pending.
    pub position: i64,
    /// Since when nothing has succeeded.
    pub failing_since: Option<Time>,
    /// When something last did.
    pub last_success_at: Option<Time>,
    /// Whether it gets nothing more.
    pub suspended_by: Option<SuspendedBy>,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// What is no longer pending.
    pub settled: Vec<DeliveryKey>,
    /// What is pending now, or anew.
    pub parked: Vec<Pending>,
    /// Until when the lease is kept; none: given back.
    pub lease_until: Option<Time>,
}

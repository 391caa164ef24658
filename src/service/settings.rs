//! The settings of the service.

use std::time::Duration;

use super::{Limits, ShareSettings};
use crate::domain::WebhookTargets;

/// Which commands may share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitScope {
    /// All that are queued.
    All,
    /// Only those of the same reseller. A transaction then needs the rows of one reseller only, so
    /// resellers may be spread over several servers.
    Reseller,
}

/// The settings of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a deleted account is kept before it may be purged.
    pub purge_window: Duration,
    /// How long the answer to a request with an idempotency key is stored.
    pub idempotency_window: Duration,
    /// How long a request waits for an earlier one with the same idempotency key to finish. Then it
    /// is refused as in conflict.
    pub idempotency_wait: Duration,
    /// How many bytes of answers to requests with an idempotency key each process stores for one
    /// reseller within `idempotency_window`. `None` means any number.
    pub max_answer_bytes: Option<u64>,
    /// How many requests a lane queues. A request beyond that is refused as overloaded.
    pub queue: usize,
    /// How many requests a lane carries out together, at most.
    pub batch: usize,
    /// Which commands may share a transaction.
    pub scope: CommitScope,
    /// The longest that a transaction may take, the wait for a connection included.
    pub transaction_timeout: Duration,
    /// The rate limits.
    pub limits: Limits,
    /// What resellers share.
    pub shares: ShareSettings,
    /// Where webhook endpoints may be.
    pub webhook_targets: WebhookTargets,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            purge_window: day * 30,
            idempotency_window: day,
            idempotency_wait: Duration::from_secs(5),
            max_answer_bytes: Some(4 << 30),
            queue: 4_096,
            batch: 256,
            scope: CommitScope::All,
            transaction_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            shares: ShareSettings::default(),
            webhook_targets: WebhookTargets::default(),
        }
    }
}

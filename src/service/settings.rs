//! How the service behaves.

use std::time::Duration;

use super::Limits;

/// Which commands may be committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitScope {
    /// All that wait.
    All,
    /// Those of one reseller: a transaction then touches one reseller's rows, wherever those are.
    Reseller,
}

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long after a deletion an account may be purged.
    pub purge_window: Duration,
    /// How long answers to requests with an idempotency key are kept.
    pub idempotency_window: Duration,
    /// How many commands may wait for the lane; one more is refused as overloaded.
    pub queue: usize,
    /// The most commands that are committed together.
    pub batch: usize,
    /// Which commands may be.
    pub scope: CommitScope,
    /// The longest that one transaction may take, its wait for a connection included.
    pub transaction_timeout: Duration,
    /// How often one may ask.
    pub limits: Limits,
    /// Whether webhook endpoints may have http URLs.
    pub webhooks_allow_http: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            purge_window: day * 30,
            idempotency_window: day,
            queue: 4_096,
            batch: 256,
            scope: CommitScope::All,
            transaction_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            webhooks_allow_http: false,
        }
    }
}

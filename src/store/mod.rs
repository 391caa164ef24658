//! What is kept: the only SQL of the product.
//!
//! Everything goes through a [`Tx`], a transaction that was begun *for somebody*: its [`Tenancy`] is written into
//! the transaction, row level security reads it there, and no statement of this folder can reach a row outside
//! it. The service's role owns nothing; [`Store::check`] refuses to start where it does.
//!
//! Errors of the driver become [`domain::Error`](crate::domain::Error) here, by SQLSTATE and constraint name
//! (`errors.rs`); causes go to the log, never further up.

mod accounts;
#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of a nullable array and converts nothing"
)]
mod bulk_jobs;
mod checks;
mod columns;
pub mod embedded;
mod errors;
mod idempotency;
mod journal;
mod notifications;
mod plans;
mod pool;
mod resellers;
mod tenancy;
mod tokens;
mod transaction;
mod webhooks;

pub use accounts::{Changes, HoldWrites, PurgingReseller};
pub use bulk_jobs::{BulkItem, BulkJob, JobState};
pub use checks::{Finding, MIGRATOR, ServerReport};
pub use idempotency::{IdempotencyKey, StoredAnswer, StoredRequest};
pub use journal::{JournalEntry, NewJournalEntry};
pub use notifications::{News, Notification};
pub use pool::{KEYED, PoolSettings, PoolState, SEARCHING, Store};
pub use resellers::{Preferences, PurgeSettings, Reseller, ResellerTerms};
pub use tenancy::Tenancy;
pub use tokens::{Credential, NewToken, TokenKind};
pub use transaction::Tx;
pub use webhooks::{Attempt, DeliveryKey, Pending, Progress};

/// The role that the service works as; made by the migrations.
pub const SERVICE_ROLE: &str = "steward_service";

//! PostgreSQL: every statement of the product, and the embedded server.
//!
//! Statements run in a [`Tx`]. A transaction begins with a [`Tenancy`], the resellers that it may
//! touch, which is written into a setting of the transaction. Row level security reads the setting,
//! so no statement reaches a row of another reseller. The service's role owns no table;
//! [`Store::check`] finds a role that does, and the service then refuses to start.
//!
//! # How statements fail
//!
//! Every method that runs a statement returns the same two errors, so only others are documented:
//!
//! - [`Error::Unavailable`](crate::domain::Error::Unavailable) if the database cannot be reached or
//!   gives up; a later attempt may succeed.
//! - [`Error::Internal`](crate::domain::Error::Internal) for everything else. The log has the cause
//!   under the incident's id.
//!
//! `errors.rs` translates the driver's errors by SQLSTATE and by the name of the violated
//! constraint.

#![expect(
    clippy::missing_errors_doc,
    reason = "the module's documentation has the errors of every statement"
)]

mod accounts;
pub mod backup;
mod bulk_jobs;
mod checks;
mod columns;
mod connections;
pub mod embedded;
mod erase;
mod errors;
mod idempotency;
mod journal;
mod notifications;
mod plans;
mod pool;
mod resellers;
mod slice;
mod suspensions;
mod tenancy;
mod tokens;
mod transaction;
mod webhooks;

pub use accounts::{
    ACCOUNT_NUMBERS, ACCOUNT_NUMBERS_ALARM, Changes, ComingFilter, HeldChanges, HeldRows,
    KeysetList, KeysetPage, Past, PastFact, PurgingReseller, StateTotal, among_statement,
    coming_statements, list_statement, snapshot_statement,
};
pub use bulk_jobs::{
    AppliedChange, BulkItem, BulkJob, ItemOutcome, JobState, LaterChange, NewBulkJob, Preview,
    check_bulk_command,
};
pub use checks::{Finding, MIGRATOR, SchemaReport, ServerReport};
pub use erase::{ErasedReseller, erase_resellers};
pub use idempotency::{
    CommandHash, Fingerprint, IdempotencyKey, ResultHeaders, StoredAnswer, StoredRequest,
};
pub use journal::{ChangeFilter, JournalEntry, NewJournalEntry};
pub use notifications::{Listener, Notification};
pub use pool::{KEYED, LISTING, PoolSettings, PoolState, SEARCHING, Store};
pub use resellers::{Preferences, PurgeSettings, Reseller, ResellerTerms};
pub use slice::{READ_AT_ONCE, Slice};
pub use suspensions::Suspension;
pub use tenancy::Tenancy;
pub use tokens::{Credential, NewToken, TokenKind};
pub use transaction::Tx;
pub use webhooks::{Attempt, AttemptFilter, DeliveryKey, Pending, Progress};

/// The database role of the service. The migrations create it.
pub const SERVICE_ROLE: &str = "steward_service";

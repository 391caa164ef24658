//! What is true: the lifecycle of an account, without any I/O.
//!
//! The mistake that almost every system of this kind makes is one status column with one reason: the
//! second block overwrites the first, and the first "un-" clears everything. Here an account keeps
//! independent *facts* (a switch, an expiry date, a deletion, and holds that are opened and closed), and the
//! state is *computed* from them and the time, by one function, everywhere ([`state`]).
//!
//! A command is decided by a pure function of the account, the command, who asks and the time
//! ([`Account::decide`]); it answers a [`Change`] that says the new facts, the events, and whether anything
//! changed at all. That a repeat changes nothing falls out of comparing facts: no rule is written twice.
//!
//! Nothing in this folder knows of a database, of HTTP, of JSON, or of a wall clock. That is what lets the
//! property tests run a hundred thousand histories in a few seconds.

mod account;
mod actor;
mod change;
mod command;
mod decide;
mod diff;
mod error;
mod expiry;
mod explain;
mod hold;
mod ids;
mod plan;
mod profile;
mod purge;
mod revert;
mod search;
mod simulate;
mod state;
mod text;
mod webhook;

pub use account::{Account, NewAccount, Status};
pub use actor::{Actor, Authority, Dialect, Scope, Scopes};
pub use change::{Change, Event, Fact, FieldChange, HoldChange, Outcome};
pub use command::{Command, Revision};
pub use error::{Conflict, Error, Resource};
pub use expiry::NOTICE_DAYS;
pub use explain::{BlockDetail, Explanation, Lift};
pub use hold::{Hold, HoldDetails, HoldKind, HoldPatch, Patch, PaymentUrl, TICKET_PREFIX};
pub use ids::{AccountId, AccountKey, HoldId, ResellerId, TokenId};
pub(crate) use plan::plan_members;
pub use plan::{Plan, PlanTerms};
pub use profile::{Email, Extra, Profile, ProfilePatch};
pub use purge::{PURGE_GRACE, PURGE_NOTICE, PurgePolicy, PurgeRule, PurgeStop};
pub use revert::Revertible;
pub use search::{Comparison, Condition, Search, SearchField, SearchValues, Start};
pub use simulate::{Coming, Simulated, Upcoming};
pub use state::{AccountFilter, Block, Remedy, State, StateFilter};
pub use text::{MAX_LONG_TEXT, MAX_TEXT};
pub use webhook::{
    EVENTS, Endpoint, EndpointPatch, MAX_ENDPOINTS, SignatureStyle, SuspendedBy, TEST, UPDATED,
    check_secret, message_id,
};

/// An instant in UTC, with the microsecond resolution of PostgreSQL's `timestamptz`.
pub type Time = chrono::DateTime<chrono::Utc>;

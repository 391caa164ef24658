//! The lifecycle of an account: facts, holds, the computed state and the rules, without any I/O.
//!
//! # Facts
//!
//! Most systems of this kind have one status column with one reason. A second block then overwrites
//! the first, and the first "unblock" clears both. Here an [`Account`] stores independent facts:
//!
//! - `status`, the switch that activate and deactivate set;
//! - `expires_at`, the expiry date;
//! - `deleted_at`, set while the account is deleted and can still be restored;
//! - its open [`Hold`]s.
//!
//! Each fact has its own command. Changing one fact never changes another.
//!
//! # Holds
//!
//! A hold is a standing reason to block an account: a freeze (payment is due), a suspension, or a
//! retention hold (which blocks deletion and purge only). A hold is opened, possibly revised, and
//! closed; the store keeps every revision. A hold belongs to the [`Authority`] that placed it and to
//! an [`Owner`] within it (the billing robot, the abuse desk; by default to none in particular), and
//! only the same authority and owner can lift it. An account has at most one open hold for each
//! kind, authority and owner, so that a reseller's suspension and the operator's stand side by side.
//! Its [`Level`] says how far it restricts the account: only a [`Level::Block`] blocks.
//!
//! # The computed state
//!
//! [`Account::state`] computes from the facts and the current time which [`Block`]s stand. The APIs
//! and the background jobs all call this one function. It compares the expiry date and the start
//! and end of every hold with the time, so the state is right at every instant, even if no
//! background job runs. Jobs only announce what happened and clean up.
//!
//! # Decisions
//!
//! [`Account::decide`] takes a [`Command`], the [`Actor`] and the time. It returns a [`Change`]
//! (the facts afterwards, the holds opened, revised or closed, and the events) or an [`Error`].
//! Each rule edits a copy of the account; comparing the copy with the original tells whether
//! anything changed. Therefore a repeated command is a success that changes nothing, without a rule
//! of its own.
//!
//! # Where the rest is
//!
//! [`Account::explain`] lists each block with the operation that lifts it. [`Account::upcoming`]
//! lists what will happen without a command. `expiry` and `purge` hold the rules that depend on
//! dates. `webhook` and `plan` describe endpoints and plans.
//!
//! Nothing in this folder knows of a database, HTTP, JSON or the wall clock. The property tests can
//! therefore run a hundred thousand histories in a few seconds.

mod account;
mod actor;
mod address;
mod authority;
mod change;
mod command;
mod decide;
mod diff;
mod email;
mod error;
mod expiry;
mod explain;
mod fact;
mod hold;
mod ids;
mod import;
mod metadata;
mod own_members;
mod owner;
mod plan;
mod profile;
mod purge;
mod quoted;
mod revert;
mod search;
mod state;
mod text;
mod upcoming;
mod webhook;

pub use account::{Account, NewAccount, PurgedAccount, Status};
pub use actor::{Actor, Dialect};
pub use address::is_public;
pub use authority::{Authority, Scope, Scopes};
pub use change::{Change, Event, FieldChange, HoldChange, Outcome};
pub use command::{Command, Revision};
pub use email::{Email, email_key};
pub use error::{Conflict, Error, Resource};
pub use expiry::NOTICE_DAYS;
pub use explain::{BlockDetail, EXTENSION, Explanation, Lift};
pub use fact::Fact;
pub use hold::{
    Hold, HoldDetails, HoldKind, HoldPatch, Level, MAX_OWNERS, Patch, PaymentUrl, TICKET_PREFIX,
};
pub use ids::{AccountId, AccountKey, HoldId, ResellerId, TokenId};
pub use import::{ImportedAccount, ImportedHold};
pub use metadata::{
    MAX_METADATA, MAX_METADATA_CONDITIONS, Metadata, check_key as check_metadata_key,
};
pub use own_members::{Extra, MAX_OWN_MEMBERS};
pub use owner::{MAX_OWNER, Owner};
pub(crate) use plan::plan_members;
pub use plan::{Plan, PlanTerms};
pub use profile::{Profile, ProfilePatch};
pub use purge::{PURGE_GRACE, PURGE_NOTICE, PurgePolicy, PurgeRule, PurgeStop};
pub(crate) use quoted::quoted;
pub use revert::{NotReverted, Revertible};
pub use search::{
    Comparison, Condition, Search, SearchField, SearchValues, Span, Start, ZoneConditions,
};
pub use state::{AccountFilter, Block, Remedy, State, StateFilter};
pub use text::{MAX_LONG_TEXT, MAX_TEXT, check as check_text, check_time_zone};
pub use upcoming::{Announcement, Coming, ComingKind, ComingPlace, HoldName, Upcoming};
pub use webhook::{
    ChosenSecret, EVENTS, Endpoint, EndpointPatch, MAX_ENDPOINTS, SignatureStyle, SuspendedBy,
    TEST, UPDATED, WebhookTargets, message_id,
};

/// An instant in UTC, with the microsecond resolution of PostgreSQL's `timestamptz`.
pub type Time = chrono::DateTime<chrono::Utc>;

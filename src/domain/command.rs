//! What can be asked of an account that exists.

use std::time::Duration;

use super::{HoldId, HoldKind, HoldPatch, ProfilePatch, PurgePolicy, Status, Time};

/// One request to change an account. Creation is [`super::Account::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Freeze, suspend or retain: open the caller's hold of this kind, or revise its details.
    Place {
        /// Which kind.
        kind: HoldKind,
        /// The identity of the hold, should one be opened.
        fresh: HoldId,
        /// Its details.
        details: HoldPatch,
    },
    /// Unfreeze, unsuspend or release: close the caller's hold of this kind.
    Lift {
        /// Which kind.
        kind: HoldKind,
        /// Only if this is the one: guards against lifting a newer hold by a late request.
        only: Option<HoldId>,
    },
    /// Activate or deactivate.
    SetStatus(Status),
    /// Move the expiry date; none: never expires.
    SetExpiry(Option<Time>),
    /// Have automation leave the account alone until an instant; none: no longer.
    SetExemption(Option<Time>),
    /// Change descriptive fields, and the switch and the expiry with them where named.
    Revise(Box<Revision>),
    /// Delete; it can be restored until it is purged.
    Delete {
        /// How long until it may be purged.
        purge_after: Duration,
    },
    /// Take a deletion back.
    Restore,
    /// Announce what is due to be announced of the expiry and of the purge: one thing at a time.
    Announce,
    /// Take the account into the plan of the purge, or out of it.
    PlanPurge(PurgePolicy),
    /// Remove it for good, as planned.
    Purge(PurgePolicy),
}

/// The change of several fields in one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revision {
    /// The descriptive fields.
    pub profile: ProfilePatch,
    /// The switch, if named.
    pub status: Option<Status>,
    /// The expiry date, if named; `Some(None)`: never expires.
    pub expires_at: Option<Option<Time>>,
}

impl Command {
    /// The verb in the journal.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Place {
                kind: HoldKind::Freeze,
                ..
            } => "freeze",
            Self::Place {
                kind: HoldKind::Suspend,
                ..
            } => "suspend",
            Self::Place {
                kind: HoldKind::Retention,
                ..
            } => "retain",
            Self::Lift {
                kind: HoldKind::Freeze,
                ..
            } => "unfreeze",
            Self::Lift {
                kind: HoldKind::Suspend,
                ..
            } => "unsuspend",
            Self::Lift {
                kind: HoldKind::Retention,
                ..
            } => "release",
            Self::SetStatus(Status::Active) => "activate",
            Self::SetStatus(Status::Inactive) => "deactivate",
            Self::SetExpiry(_) => "set_expiry",
            Self::SetExemption(_) => "exempt",
            Self::Revise(_) => "revise",
            Self::Delete { .. } => "delete",
            Self::Restore => "restore",
            Self::Announce => "announce",
            Self::PlanPurge(_) => "plan_purge",
            Self::Purge(_) => "purge",
        }
    }
}

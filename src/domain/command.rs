//! The commands that change an existing account.

use std::time::Duration;

use super::{Actor, HoldId, HoldKind, HoldPatch, Owner, ProfilePatch, PurgePolicy, Status, Time};

/// One request to change an account. Creation is [`super::Account::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Freeze, suspend or retain: opens the caller's hold of this kind, or revises it if it is
    /// open.
    Place {
        /// Which kind.
        kind: HoldKind,
        /// For which owner. `None`: for that of the credential, else for none in particular.
        owner: Option<Owner>,
        /// The identity for the hold, if the command opens one.
        fresh: HoldId,
        /// Its details.
        details: HoldPatch,
    },
    /// Unfreeze, unsuspend or release: closes the caller's hold of this kind.
    Lift {
        /// Which kind.
        kind: HoldKind,
        /// Whose hold. `None`: that of the credential's owner, else that of none in particular.
        owner: Option<Owner>,
        /// The hold that the caller expects to be open. If it is not, or if it is not the caller's,
        /// the command is refused, so that a late request cannot lift a newer hold. `None` lifts
        /// whichever hold of the owner is open.
        only: Option<HoldId>,
    },
    /// Closes the caller's freeze as [`Command::Lift`] does, for somebody who paid for one revision
    /// of it. A later revision may be another debt.
    Redeem {
        /// The freeze that must be open.
        hold: HoldId,
        /// The revision that it must have.
        revision: i32,
    },
    /// Activate or deactivate: sets the switch.
    SetStatus(Status),
    /// Set the expiry date. `None` means never.
    SetExpiry(Option<Time>),
    /// Exempt the account from automation until an instant. `None` ends the exemption.
    SetExemption(Option<Time>),
    /// Change descriptive fields, the switch and the expiry date in one step.
    Revise(Box<Revision>),
    /// Delete. The account can be restored until it is purged.
    Delete {
        /// How long after the deletion it may be purged.
        purge_after: Duration,
    },
    /// Undo a deletion.
    Restore,
    /// Make the earliest announcement that is due: of the begin or the lapse of a hold, of the
    /// expiry or of the purge.
    Announce,
    /// Put the account into the purge plan or take it out, as its facts require.
    PlanPurge(PurgePolicy),
    /// Remove the account for good, if its plan is due.
    Purge(PurgePolicy),
}

/// A change of several fields in one step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revision {
    /// The descriptive fields.
    pub profile: ProfilePatch,
    /// The switch. `None` leaves it as it is.
    pub status: Option<Status>,
    /// The expiry date. `None` leaves it as it is, `Some(None)` removes it.
    pub expires_at: Option<Option<Time>>,
}

impl Command {
    /// The owner whose hold the command places or lifts. `None` if it names none, or if it is about
    /// no hold of an owner.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        if let Self::Place { owner, .. } | Self::Lift { owner, .. } = self {
            owner.as_ref()
        } else {
            None
        }
    }

    /// The same command, which names the owner for whom the actor acts.
    #[must_use]
    pub fn for_owner_of(mut self, actor: &Actor) -> Self {
        if let Self::Place { owner, .. } | Self::Lift { owner, .. } = &mut self {
            *owner = actor.owner(owner.as_ref()).cloned();
        }
        self
    }

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
            }
            | Self::Redeem { .. } => "unfreeze",
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

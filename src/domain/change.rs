//! A decision's result: the facts afterwards, the changed holds, the journal fields and the events.

use std::borrow::Cow;

use super::{Account, Fact, Hold, HoldKind, Time};

/// The decision on one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The account afterwards. Equal to the account before if nothing changed.
    pub after: Account,
    /// The holds opened, revised or closed, in order.
    pub holds: Vec<HoldChange>,
    /// Every fact that differs, for the journal entry.
    pub fields: Vec<FieldChange>,
    /// The specific events. `account.updated` is not among them: every change has it.
    pub events: Vec<Event>,
}

impl Change {
    /// Applied if any field differs, else unchanged. An unchanged account keeps its version and
    /// gets no event. Never refused: a refusal is an [`super::Error`].
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.fields.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Applied
        }
    }
}

/// How a command ended, as recorded in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// The account was already as the command wants it.
    Unchanged,
    /// The facts of the account forbade it.
    Refused,
}

impl Outcome {
    /// The word in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// How one hold changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldChange {
    /// The hold was opened.
    Opened(Hold),
    /// The hold got new details.
    Revised {
        /// The hold with the new details.
        hold: Hold,
        /// The hold as it was before.
        replaced: Box<Hold>,
    },
    /// The begin of a hold that was scheduled was announced.
    Begun(Hold),
    /// The hold was closed.
    Closed {
        /// The hold as it was before.
        hold: Hold,
        /// When it stopped blocking.
        at: Time,
        /// Whether its own end had passed. If not, somebody lifted it.
        lapsed: bool,
    },
}

/// One fact before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The name of the fact. Holds are named by kind, authority and owner, such as
    /// `freeze:reseller` or `suspend:reseller:abuse-desk`.
    pub field: Cow<'static, str>,
    /// The value before.
    pub before: Fact,
    /// The value after.
    pub after: Fact,
}

/// A specific event. Each comes besides `account.updated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Created,
    Deleted,
    Restored,
    Frozen,
    Unfrozen,
    Suspended,
    Unsuspended,
    HoldScheduled,
    Activated,
    Deactivated,
    ExpiryChanged,
    Expiring,
    Expired,
    Purging,
    Purged,
}

impl Event {
    /// The event of a hold that blocked the use of the account before, and does or does not
    /// afterwards. `None` for a hold that does not block use, because of its kind or its level.
    pub(super) fn of_hold(kind: HoldKind, before: bool, after: bool) -> Option<Self> {
        match (kind, before, after) {
            (HoldKind::Freeze, _, true) => Some(Self::Frozen),
            (HoldKind::Suspend, _, true) => Some(Self::Suspended),
            (HoldKind::Freeze, true, false) => Some(Self::Unfrozen),
            (HoldKind::Suspend, true, false) => Some(Self::Unsuspended),
            (HoldKind::Retention, _, _) | (HoldKind::Freeze | HoldKind::Suspend, false, false) => {
                None
            }
        }
    }

    /// The name that webhook endpoints subscribe to.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "account.created",
            Self::Deleted => "account.deleted",
            Self::Restored => "account.restored",
            Self::Frozen => "account.frozen",
            Self::Unfrozen => "account.unfrozen",
            Self::Suspended => "account.suspended",
            Self::Unsuspended => "account.unsuspended",
            Self::HoldScheduled => "account.hold_scheduled",
            Self::Activated => "account.activated",
            Self::Deactivated => "account.deactivated",
            Self::ExpiryChanged => "account.expiry_changed",
            Self::Expiring => "account.expiring",
            Self::Expired => "account.expired",
            Self::Purging => "account.purging",
            Self::Purged => "account.purged",
        }
    }
}

//! What a decision says: the new facts, what became of which hold, and what to tell.

use uuid::Uuid;

use super::{Account, Email, Extra, Hold, HoldDetails, Time};

/// The decision on one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The account after it; equal to the account before it where nothing changed.
    pub after: Account,
    /// What became of which hold, in order.
    pub holds: Vec<HoldChange>,
    /// Every fact that differs, for the journal.
    pub fields: Vec<FieldChange>,
    /// The finer events; `account.updated` goes without saying where anything changed.
    pub events: Vec<Event>,
}

impl Change {
    /// Whether anything changed; if not, no version step and no event.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.fields.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Applied
        }
    }
}

/// What became of a command, as the journal says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something changed.
    Applied,
    /// It was so already.
    Unchanged,
    /// The facts forbade it.
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

/// What became of one hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldChange {
    /// A new one.
    Opened(Hold),
    /// New details.
    Revised {
        /// The hold as it is now.
        hold: Hold,
        /// The details that were replaced.
        replaced: HoldDetails,
    },
    /// Closed: the hold as it was.
    Closed {
        /// The hold as it was.
        hold: Hold,
        /// When it ended.
        at: Time,
        /// Whether its own end had passed, rather than somebody lifting it.
        lapsed: bool,
    },
}

/// One fact before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name; a hold is `freeze:reseller` and the like.
    pub field: &'static str,
    /// The value before.
    pub before: Fact,
    /// The value after.
    pub after: Fact,
}

/// The value of a fact, in a form that a journal can keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// None.
    Null,
    /// A switch.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// An instant.
    Time(Time),
    /// Several named facts.
    Object(Vec<(&'static str, Fact)>),
}

impl From<&String> for Fact {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Email> for Fact {
    fn from(email: &Email) -> Self {
        Self::Text(email.as_str().to_owned())
    }
}

impl From<&Extra> for Fact {
    fn from(extra: &Extra) -> Self {
        Self::Text(extra.to_string())
    }
}

impl From<&Uuid> for Fact {
    fn from(id: &Uuid) -> Self {
        Self::Text(id.to_string())
    }
}

impl From<&i32> for Fact {
    fn from(number: &i32) -> Self {
        Self::Number(i64::from(*number))
    }
}

impl From<&bool> for Fact {
    fn from(on: &bool) -> Self {
        Self::Bool(*on)
    }
}

impl From<&Time> for Fact {
    fn from(time: &Time) -> Self {
        Self::Time(*time)
    }
}

/// An event finer than `account.updated`.
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
    Activated,
    Deactivated,
    ExpiryChanged,
    Expiring,
    Expired,
    Purging,
    Purged,
}

impl Event {
    /// The name that subscribers know.
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

//! Searching accounts by their stored fields: conditions, order, and the start of the page.

use chrono::TimeDelta;

use super::{AccountId, Level, Metadata, Owner, Time};

/// A field that a search can filter and sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SearchField {
    CreatedAt,
    UpdatedAt,
    ExpiresAt,
    Email,
    Company,
    Status,
}

impl SearchField {
    /// Whether its values are instants. All others are texts.
    #[must_use]
    pub fn is_time(self) -> bool {
        match self {
            Self::CreatedAt | Self::UpdatedAt | Self::ExpiresAt => true,
            Self::Email | Self::Company | Self::Status => false,
        }
    }
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    In,
}

/// A span of time that a filter names: one instant, or a whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub first: Time,
    /// The first instant after it.
    pub next: Time,
}

impl Span {
    /// One instant. Instants have microseconds.
    #[must_use]
    pub fn of(at: Time) -> Self {
        Self {
            first: at,
            next: at + TimeDelta::microseconds(1),
        }
    }

    /// Its last instant. Instants have microseconds.
    #[must_use]
    pub fn last(self) -> Time {
        self.next - TimeDelta::microseconds(1)
    }
}

/// The values that a field is compared with. E-mail addresses are compared by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchValues {
    /// For fields that are instants. Equal means within the span, less before it, and greater after
    /// it.
    Times(Vec<Span>),
    /// For all others.
    Texts(Vec<String>),
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The field.
    pub field: SearchField,
    /// The operator.
    pub comparison: Comparison,
    /// One value, or any number of values for [`Comparison::In`].
    pub values: SearchValues,
}

/// Where a page of results begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After a number of accounts, in the order of a field. Slow for large numbers, because the
    /// database reads and drops what it skips.
    Offset {
        /// How many accounts to skip.
        skip: i64,
        /// The field to sort by.
        by: SearchField,
        /// Whether the greatest value comes first.
        descending: bool,
    },
    /// After this account, in the order of account numbers. Fast at any depth. `None` starts at the
    /// first account.
    After(Option<AccountId>),
}

/// Conditions for the accounts of the resellers in one time zone: those on dates that name no zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneConditions {
    /// The name of the time zone.
    pub zone: String,
    /// The conditions. An account must meet all of them.
    pub conditions: Vec<Condition>,
}

/// A search among the accounts that are not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The conditions. An account must meet all of them.
    pub conditions: Vec<Condition>,
    /// The members of the metadata that an account must have, with these values.
    pub metadata: Metadata,
    /// Only accounts with a hold of this owner that is in force now, at any level.
    pub owner: Option<Owner>,
    /// Only accounts whose strongest hold in force now has this level; of the holds of `owner` alone,
    /// if that is present.
    pub level: Option<Level>,
    /// A text that the e-mail address, the company, its id or the alias must contain, in any case.
    pub text: Option<String>,
    /// Further conditions, which depend on the time zone of the account's reseller. If there are
    /// any, accounts of resellers in other time zones are not found.
    pub by_zone: Vec<ZoneConditions>,
    /// Where the page begins.
    pub start: Start,
    /// The largest number of accounts on the page.
    pub limit: i64,
}

impl Search {
    /// Whether it has no condition, so that it finds every account that is not deleted.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.conditions.is_empty()
            && self.metadata.0.is_empty()
            && self.owner.is_none()
            && self.level.is_none()
            && self.text.is_none()
            && self.by_zone.is_empty()
    }
}

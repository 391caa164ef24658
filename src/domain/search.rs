//! Searching accounts by their stored fields: conditions, an order, and where to begin.

use super::{AccountId, Time};

/// A field that can be searched and sorted by.
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
    /// Whether its values are instants rather than texts.
    #[must_use]
    pub fn is_time(self) -> bool {
        match self {
            Self::CreatedAt | Self::UpdatedAt | Self::ExpiresAt => true,
            Self::Email | Self::Company | Self::Status => false,
        }
    }
}

/// How a field is compared.
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

/// What a field is compared with. E-mail addresses are compared ignoring case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchValues {
    /// For fields that are instants.
    Times(Vec<Time>),
    /// For all others.
    Texts(Vec<String>),
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which field.
    pub field: SearchField,
    /// How.
    pub comparison: Comparison,
    /// With what: one value, or for [`Comparison::In`] any number.
    pub values: SearchValues,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// So many accounts into the order; slow when deep.
    Offset {
        /// How many are skipped.
        skip: i64,
        /// Sorted by this field ...
        by: SearchField,
        /// ... the greatest first.
        descending: bool,
    },
    /// Behind this account in the order of identities; fast at any depth. None: at the beginning.
    After(Option<AccountId>),
}

/// A search among the accounts that are not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// Where the page begins.
    pub start: Start,
    /// The most accounts that are answered.
    pub limit: i64,
}

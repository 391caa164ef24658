//! Accounts that an import brings along from another system.

use uuid::Uuid;

use super::{AccountId, Error, HoldId, HoldPatch, Owner, Revision, Time};

/// An account as a row of an import gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportedAccount {
    /// Its number. `None`: a new account gets the next free one.
    pub number: Option<AccountId>,
    /// Its UUID. `None`: a new account gets a random one.
    pub uid: Option<Uuid>,
    /// When it was created in the other system. `None`: a new account is created now. Of an account
    /// that exists it is never changed.
    pub created_at: Option<Time>,
    /// Its descriptive fields, its switch and its expiry date.
    pub revision: Revision,
    /// The reseller's freeze. `None`: the row names none, and one that exists stays.
    pub freeze: Option<ImportedHold>,
    /// The reseller's suspension. `None`: the row names none, and one that exists stays.
    pub suspension: Option<ImportedHold>,
}

/// A hold as a row of an import gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedHold {
    /// The identity for the hold, if it has to be opened.
    pub fresh: HoldId,
    /// Its owner.
    pub owner: Option<Owner>,
    /// Its details. A start in the past is when it was opened.
    pub details: HoldPatch,
}

/// The names of the columns of the details of a freeze.
pub(super) const FREEZE_COLUMNS: &[(&str, &str)] = &[
    ("reason_code", "freeze_reason"),
    ("payment_url", "freeze_payment_url"),
    ("starts_at", "freeze_since"),
];

/// The names of the columns of the details of a suspension.
pub(super) const SUSPEND_COLUMNS: &[(&str, &str)] = &[
    ("reason_code", "suspend_reason"),
    ("public_message", "suspend_message"),
    ("starts_at", "suspend_since"),
];

/// The same error, with the name of the column instead of that of the field.
pub(super) fn in_column(error: Error, columns: &[(&str, &'static str)]) -> Error {
    let Error::InvalidField { field, problem } = error else {
        return error;
    };
    let column = columns.iter().find(|(known, _)| *known == field);
    Error::InvalidField {
        field: column.map_or(field, |(_, column)| column),
        problem,
    }
}

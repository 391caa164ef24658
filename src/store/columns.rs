//! Turns rows into columns for `unnest`, and columns into keys of accounts.

use crate::domain::{AccountId, AccountKey, Error, ResellerId};

/// Rows for `unnest`, which takes one array for each column.
pub(super) struct Columns<'a, T>(pub(super) &'a [T]);

impl<'a, T> Columns<'a, T> {
    /// One column of all rows.
    pub(super) fn of<C>(&self, column: impl Fn(&'a T) -> C) -> Vec<C> {
        self.0.iter().map(column).collect()
    }
}

/// The key of an account, from its two columns.
pub(super) fn account_key(reseller: i64, account: i32) -> Result<AccountKey, Error> {
    Ok((ResellerId(reseller), account_id(account)?))
}

/// The id of an account, from its column.
pub(super) fn account_id(account: i32) -> Result<AccountId, Error> {
    AccountId::new(i64::from(account))
}

/// Names the composite type in the database that has the fields of a struct, in their order, so that
/// many values are one array. Borrowed values are only written, and `sqlx::Type` would read them too.
macro_rules! composite_type {
    ($type:ident, $name:literal) => {
        impl sqlx::Type<sqlx::Postgres> for $type<'_> {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::with_name($name)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $type<'_> {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::array_of($name)
            }
        }
    };
}
pub(super) use composite_type;

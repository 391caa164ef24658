//! Identifiers. Each has its own type, so that the compiler rejects one in place of another.

use std::fmt;

use uuid::Uuid;

use super::Error;

/// The number of an account, 1 ..= 2^31-1. It is unique over all resellers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(i32);

impl AccountId {
    /// # Errors
    /// [`Error::InvalidField`] for `id` when the number is outside 1 ..= 2^31-1.
    pub fn new(id: i64) -> Result<Self, Error> {
        match i32::try_from(id) {
            Ok(id) if id >= 1 => Ok(Self(id)),
            _ => Err(Error::invalid("id", "must be between 1 and 2147483647")),
        }
    }

    /// The number itself.
    #[must_use]
    pub fn as_i32(self) -> i32 {
        self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key of an account in every table: its reseller and its number.
pub type AccountKey = (ResellerId, AccountId);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// The number of a reseller. Resellers are the tenants.
    ResellerId
);
number_id!(
    /// The number of a credential.
    TokenId
);

impl ResellerId {
    /// The platform itself, which owns the operator's credentials. It never owns an account.
    pub const PLATFORM: Self = Self(0);
}

/// The identity of a hold. It is a UUID, so that it does not reveal how many holds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub Uuid);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Identifiers, each its own type so that one cannot stand where another belongs.

use std::fmt;

use uuid::Uuid;

use super::Error;

/// The integer identity of an account, 1 ..= 2^31-1, unique over all resellers.
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

/// The key of an account: its reseller and its number, as the tables lead their keys.
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
    /// The identity of a reseller, which is the tenant.
    ResellerId
);
number_id!(
    /// The identity of a credential.
    TokenId
);

impl ResellerId {
    /// The platform itself: the owner of the operator's credentials. It never owns an account.
    pub const PLATFORM: Self = Self(0);
}

/// The identity of a hold; random, so that it says nothing about how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub Uuid);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

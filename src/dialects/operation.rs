//! The attributes of an operation that all dialects' tables share. The dispatchers enforce them.
//! The OpenAPI document, the access matrix of the tests, the isolation doctor and the metrics read
//! the same rows.

use crate::domain::{Error, Scope};
use crate::service::Principal;

pub use crate::service::Cost;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Credentials with this scope.
    Scope(Scope),
    /// Operators' credentials with this scope. A reseller's credential is refused, whatever its
    /// scopes.
    Operator(Scope),
    /// Every credential, whatever its scopes.
    AnyToken,
    /// Everybody: the operation needs no token.
    Public,
}

impl Access {
    /// Checks that a principal may call the operation.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`] or [`Error::OperatorRequired`] if it may not.
    pub(crate) fn check(self, principal: &Principal) -> Result<(), Error> {
        match self {
            Self::Scope(scope) => principal.require(scope),
            Self::Operator(scope) => principal.require_operator(scope),
            Self::AnyToken | Self::Public => Ok(()),
        }
    }

    /// The scope that a credential needs. `None` if it needs none, or if no credential is needed.
    #[must_use]
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Scope(scope) | Self::Operator(scope) => Some(scope),
            Self::AnyToken | Self::Public => None,
        }
    }

    /// A sentence for the OpenAPI document.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Scope(scope) => format!("Needs a token with the scope `{scope}`."),
            Self::Operator(scope) => format!("Needs an operator's token with the scope `{scope}`."),
            Self::AnyToken => "Needs a token, with any scope.".to_owned(),
            Self::Public => "Needs no token.".to_owned(),
        }
    }
}

/// Whether the credentials of a suspended reseller may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhileSuspended {
    /// They may: it changes nothing, or it only makes the reseller safer.
    Admitted,
    /// They may not: it changes something, and lifting the suspension must find everything as it
    /// was.
    Refused,
}

impl WhileSuspended {
    /// Checks that a principal may call the operation now.
    ///
    /// # Errors
    /// [`Error::ResellerSuspended`].
    pub(crate) fn check(self, principal: &Principal) -> Result<(), Error> {
        match self {
            Self::Admitted => Ok(()),
            Self::Refused => principal.require_unsuspended(),
        }
    }
}

/// The largest body that an operation accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLimit {
    /// The configured limit, the dialect's `max_body_bytes`.
    Configured,
    /// A multiple of the configured limit, for requests that carry many operations.
    Times(usize),
}

impl BodyLimit {
    /// The limit in bytes. `configured` is the configured limit.
    pub(super) fn bytes(self, configured: usize) -> usize {
        match self {
            Self::Configured => configured,
            Self::Times(factor) => configured.saturating_mul(factor),
        }
    }
}

//! What a row of a dialect's table of operations says. The dispatchers enforce every attribute; the OpenAPI document, the access
//! matrix of the tests, the isolation doctor and the metrics read the same rows.

use crate::domain::{Error, Scope};
use crate::service::Principal;

pub use crate::service::Cost;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A credential with this scope.
    Scope(Scope),
    /// An operator's credential with this scope. A reseller's is refused whatever scopes it carries.
    Operator(Scope),
    /// Everybody: the operation takes no token.
    Public,
}

impl Access {
    /// Refuses a principal that may not call the operation.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`].
    pub(crate) fn check(self, principal: &Principal) -> Result<(), Error> {
        match self {
            Self::Scope(scope) => principal.require(scope),
            Self::Operator(scope) if principal.reseller.is_some() => {
                Err(Error::InsufficientScope(scope))
            }
            Self::Operator(scope) => principal.require(scope),
            Self::Public => Ok(()),
        }
    }

    /// The scope that a credential needs, if one is needed.
    #[must_use]
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Scope(scope) | Self::Operator(scope) => Some(scope),
            Self::Public => None,
        }
    }

    /// One sentence for the OpenAPI document.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Scope(scope) => format!("Takes the right `{scope}`."),
            Self::Operator(scope) => format!("Takes an operator's token with the right `{scope}`."),
            Self::Public => "Takes no token.".to_owned(),
        }
    }
}

/// What becomes of members of the body that the request does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMembers {
    /// They are ignored.
    Ignore,
    /// The request is refused, with the path of the first one.
    Refuse,
}

/// The largest body that an operation accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLimit {
    /// The configured limit, `server.max_body_bytes`.
    Configured,
    /// So many times the configured limit: for requests that carry many operations.
    Times(usize),
}

impl BodyLimit {
    /// The limit in bytes, where `configured` is the configured one.
    pub(super) fn bytes(self, configured: usize) -> usize {
        match self {
            Self::Configured => configured,
            Self::Times(factor) => configured.saturating_mul(factor),
        }
    }
}

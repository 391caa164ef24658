//! Authorities, and the rights of credentials.

use std::fmt;

/// The side that a caller acts for. A hold records the authority that placed it, and only the same
/// authority can lift it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// The operator, who runs the platform.
    Operator,
    /// The reseller (tenant) that owns the account.
    Reseller,
    /// The platform's own automation.
    System,
}

impl Authority {
    /// Every authority, in the order in which people see them listed.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Reseller, Self::System];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reseller => "reseller",
            Self::System => "system",
        }
    }

    /// Parses a word of [`Authority::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// A right that a credential may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read accounts.
    AccountRead,
    /// Change accounts.
    AccountWrite,
    /// Read webhook endpoints and events.
    WebhookRead,
    /// Change webhook endpoints.
    WebhookWrite,
    /// Manage the reseller's own credentials.
    TokenWrite,
    /// Manage resellers. Only an operator's credential can use it.
    ResellerWrite,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [
        Self::AccountRead,
        Self::AccountWrite,
        Self::WebhookRead,
        Self::WebhookWrite,
        Self::TokenWrite,
        Self::ResellerWrite,
    ];

    /// The word in requests, claims and the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountRead => "account:read",
            Self::AccountWrite => "account:write",
            Self::WebhookRead => "webhook:read",
            Self::WebhookWrite => "webhook:write",
            Self::TokenWrite => "token:write",
            Self::ResellerWrite => "reseller:write",
        }
    }

    /// Parses a word of [`Scope::as_str`]. `None` for any other word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// Whether a credential of this authority may have the scope.
    #[must_use]
    pub fn is_possible_for(self, authority: Authority) -> bool {
        match authority {
            Authority::Operator | Authority::System => true,
            Authority::Reseller => self != Self::ResellerWrite,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The rights of one credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// The rights of a credential for which none are named: all that its owner may have.
    #[must_use]
    pub fn all_for(authority: Authority) -> Self {
        Self(Scope::ALL.to_vec()).cut_to(authority)
    }

    /// The same rights without those that a credential of this authority cannot have. A token may
    /// name any scope; what its owner is decides which of them count.
    #[must_use]
    pub fn cut_to(self, authority: Authority) -> Self {
        self.0
            .into_iter()
            .filter(|scope| scope.is_possible_for(authority))
            .collect()
    }

    /// The first right of `other` that these do not include. `None` if they include all.
    #[must_use]
    pub fn first_missing(&self, other: &Self) -> Option<Scope> {
        other.iter().find(|scope| !self.contains(*scope))
    }

    /// Whether the credential has this right.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// The rights in the order of [`Scope::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }
}

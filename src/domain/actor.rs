//! Who acts, with what right, and through which door.

use std::fmt;

/// On whose authority something is asked. A hold remembers the authority that placed it, and only the same
/// authority lifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// Who runs the platform.
    Operator,
    /// The tenant that owns the account.
    Reseller,
    /// Automation of the platform itself.
    System,
}

impl Authority {
    /// Every authority, in the order in which they are listed to people.
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

    /// The authority of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// Who acts: the authority, and a name for people and the journal such as `reseller 3, token 12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// On whose authority.
    pub authority: Authority,
    /// For the journal and `explain`; never a secret.
    pub name: String,
}

/// The door that a command came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /api/v1.1/admin/...`
    Admin,
    /// `/Services/Reseller/Service.asmx`
    Soap,
    /// `/v3/...`
    V3,
    /// The commands of the `steward` program.
    Cli,
    /// Nobody asked: time passed.
    Job,
}

impl Dialect {
    /// The word in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Soap => "soap",
            Self::V3 => "v3",
            Self::Cli => "cli",
            Self::Job => "job",
        }
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
    /// Manage resellers; only an operator's credential can use it.
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

    /// The scope of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
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
    /// The rights that a credential gets when none are named: all that its owner may have.
    #[must_use]
    pub fn all_for(authority: Authority) -> Self {
        let wanted = |scope: &Scope| match authority {
            Authority::Operator | Authority::System => true,
            Authority::Reseller => *scope != Scope::ResellerWrite,
        };
        Self(Scope::ALL.into_iter().filter(wanted).collect())
    }

    /// Whether the right is among them.
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

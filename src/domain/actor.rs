//! Who acts, and through which API.

use super::{Authority, Owner};

/// Who acts: the authority, and a name for people and the journal such as `reseller 3, token 12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The authority that the caller acts under.
    pub authority: Authority,
    /// The owner to which the credential is bound. Whatever owner a command names, a bound caller
    /// places and lifts the holds of its own owner only. `None`: not bound; a command may name any
    /// owner.
    pub bound_to: Option<Owner>,
    /// The name in the journal and in `explain`. It never contains a secret.
    pub name: String,
}

impl Actor {
    /// The owner for whom a command acts: that of the credential, else the one that it names.
    #[must_use]
    pub fn owner<'a>(&'a self, named: Option<&'a Owner>) -> Option<&'a Owner> {
        self.bound_to.as_ref().or(named)
    }
}

/// The API (dialect) through which a command arrived.
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
    /// A background job.
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

//! Who asks, and in which request.

use chrono_tz::Tz;

use crate::domain::{Actor, Authority, Dialect, Error, ResellerId, Scope, Scopes, TokenId};
use crate::store::Tenancy;

/// Whom a credential stands for. The reseller comes from here and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The reseller whose accounts it may reach; none: an operator, who reaches all.
    pub reseller: Option<ResellerId>,
    /// The credential, if it is one of ours.
    pub token: Option<TokenId>,
    /// Who the JSON Web Token of another issuer says it is, if it is one.
    pub subject: Option<String>,
    /// Its rights.
    pub scopes: Scopes,
    /// The time zone of dates that name none.
    pub timezone: Tz,
    /// Whether the `soap` dialect answers it with numbers instead of words.
    pub soap_numbers: bool,
    /// For what is no person: on whose authority it acts, and its name in the journal.
    pub agent: Option<Actor>,
}

impl Principal {
    /// The operator at the command line.
    #[must_use]
    pub fn command_line() -> Self {
        Self {
            reseller: None,
            token: None,
            subject: None,
            scopes: Scopes::all_for(Authority::Operator),
            timezone: Tz::UTC,
            soap_numbers: false,
            agent: None,
        }
    }

    /// Automation of the platform, at the accounts of a reseller.
    #[must_use]
    pub fn automation(reseller: ResellerId) -> Self {
        let agent = Actor {
            authority: Authority::System,
            name: "steward".to_owned(),
        };
        Self {
            reseller: Some(reseller),
            scopes: Scopes::all_for(Authority::System),
            agent: Some(agent),
            ..Self::command_line()
        }
    }

    /// # Errors
    /// [`Error::InsufficientScope`] if the right is missing.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.contains(scope) {
            Ok(())
        } else {
            Err(Error::InsufficientScope(scope))
        }
    }

    /// The reseller that a request is about: the caller's own, which it may name; an operator must.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `reseller_id`, or [`Error::ResellerNotFound`] for another's.
    pub fn resolve_reseller(&self, named: Option<ResellerId>) -> Result<ResellerId, Error> {
        match (self.reseller, named) {
            (Some(own), Some(named)) if own != named => Err(Error::ResellerNotFound),
            (Some(own), _) => Ok(own),
            (None, named) => named.ok_or_else(|| {
                Error::invalid("reseller_id", "is required with an operator's token")
            }),
        }
    }

    /// On whose authority it acts.
    #[must_use]
    pub fn authority(&self) -> Authority {
        let person = if self.reseller.is_some() {
            Authority::Reseller
        } else {
            Authority::Operator
        };
        self.agent.as_ref().map_or(person, |agent| agent.authority)
    }

    /// How the journal names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        if let Some(agent) = &self.agent {
            return agent.clone();
        }
        let who = self.reseller.map_or_else(
            || "operator".to_owned(),
            |reseller| format!("reseller {reseller}"),
        );
        let with = match (self.token, &self.subject) {
            (Some(token), _) => format!("token {token}"),
            (None, Some(subject)) => format!("subject {subject}"),
            (None, None) => "command line".to_owned(),
        };
        Actor {
            authority: self.authority(),
            name: format!("{who}, {with}"),
        }
    }

    /// The rows it may read.
    #[must_use]
    pub fn tenancy(&self) -> Tenancy {
        self.reseller.map_or(Tenancy::Platform, Tenancy::of)
    }

    /// The reseller that its own rows (credentials, idempotency keys) are kept under.
    #[must_use]
    pub fn storage_reseller(&self) -> ResellerId {
        self.reseller.unwrap_or(ResellerId::PLATFORM)
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who asks.
    pub principal: Principal,
    /// Through which door.
    pub dialect: Dialect,
    /// The request's identity, for logs and the journal.
    pub request_id: String,
}

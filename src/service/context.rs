//! The caller of the service, and the request that the call belongs to.

use chrono_tz::Tz;

use crate::domain::{
    Actor, Authority, Dialect, Error, Owner, ResellerId, Scope, Scopes, Time, TokenId,
};
use crate::store::Tenancy;

/// The caller that a credential belongs to. Only the credential determines which accounts a request
/// may reach. No part of the request itself can change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The reseller whose accounts the caller may reach. `None` means an operator, who reaches all.
    pub reseller: Option<ResellerId>,
    /// The caller's credential. `None` means a JSON Web Token of another issuer, or no credential.
    pub token: Option<TokenId>,
    /// The subject of a JSON Web Token of another issuer.
    pub subject: Option<String>,
    /// The rights of the credential, without those that its authority cannot have. Only
    /// [`Principal::new`] and [`Principal::acting_as`] set them, so no principal has more.
    scopes: Scopes,
    /// When the credential expires. `None` means never.
    pub expires_at: Option<Time>,
    /// The time zone of dates that the caller sends without one.
    pub timezone: Tz,
    /// Whether the `soap` dialect answers the caller with numbers instead of words.
    pub soap_numbers: bool,
    /// Set when the caller is not a person: the authority it acts under, and its name in the
    /// journal.
    pub agent: Option<Actor>,
    /// The owner to which the credential is bound: it places and lifts this owner's holds only.
    /// `None`: it is not bound.
    pub bound_to: Option<Owner>,
    /// Whether the caller may change nothing while its reseller is suspended: a reseller's
    /// credentials and bulk jobs. The operator, the background jobs and release tickets may.
    pub(super) heeds_suspension: bool,
    /// Whether the caller's reseller was suspended when its credential was last looked up.
    pub(super) is_suspended: bool,
}

impl Principal {
    /// A principal with the rights of `scopes` that it may have: a reseller's, or an operator's
    /// without a reseller.
    #[must_use]
    pub fn new(reseller: Option<ResellerId>, scopes: Scopes) -> Self {
        let principal = Self {
            reseller,
            token: None,
            subject: None,
            scopes: Scopes::default(),
            expires_at: None,
            timezone: Tz::UTC,
            soap_numbers: false,
            agent: None,
            bound_to: None,
            heeds_suspension: false,
            is_suspended: false,
        };
        Self {
            scopes: scopes.cut_to(principal.authority()),
            ..principal
        }
    }

    /// The operator who uses the command line.
    #[must_use]
    pub fn command_line() -> Self {
        Self::new(None, Scopes::all_for(Authority::Operator))
    }

    /// A reseller, acted for on the command line.
    #[must_use]
    pub fn of_reseller(reseller: ResellerId) -> Self {
        Self::new(Some(reseller), Scopes::all_for(Authority::Reseller))
    }

    /// The same principal, acting under the authority and name of `agent`, with the rights that it
    /// had and this authority may have.
    #[must_use]
    pub fn acting_as(self, agent: Actor) -> Self {
        Self {
            scopes: self.scopes.cut_to(agent.authority),
            agent: Some(agent),
            ..self
        }
    }

    /// The platform's own background jobs, for the accounts of one reseller.
    #[must_use]
    pub fn automation(reseller: ResellerId) -> Self {
        let agent = Actor {
            authority: Authority::System,
            bound_to: None,
            name: "steward".to_owned(),
        };
        Self::of_reseller(reseller).acting_as(agent)
    }

    /// The same principal, which may change nothing while its reseller is suspended.
    pub(super) fn heeding_suspension(self) -> Self {
        Self {
            heeds_suspension: true,
            ..self
        }
    }

    /// The rights of the credential.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Checks that the caller has a right.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`].
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.contains(scope) {
            Ok(())
        } else {
            Err(Error::InsufficientScope(scope))
        }
    }

    /// Checks that the caller's reseller is not suspended. The caller may have been looked up up to
    /// a second ago in another process, so writes are checked once more in their transaction.
    ///
    /// # Errors
    /// [`Error::ResellerSuspended`].
    pub fn require_unsuspended(&self) -> Result<(), Error> {
        if self.heeds_suspension && self.is_suspended {
            Err(Error::ResellerSuspended)
        } else {
            Ok(())
        }
    }

    /// Checks that the caller may change accounts, as the dispatchers do before they read a call.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`] or [`Error::ResellerSuspended`].
    pub fn require_account_changes(&self) -> Result<(), Error> {
        self.require(Scope::AccountWrite)?;
        self.require_unsuspended()
    }

    /// Checks that the caller is an operator and has a right.
    ///
    /// # Errors
    /// [`Error::OperatorRequired`] or [`Error::InsufficientScope`].
    pub fn require_operator(&self, scope: Scope) -> Result<(), Error> {
        if self.reseller.is_some() {
            return Err(Error::OperatorRequired);
        }
        self.require(scope)
    }

    /// Checks that the caller has every right in `scopes`, so that it may act on a credential that
    /// has them.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`] names the first one that is missing.
    pub fn require_all(&self, scopes: &Scopes) -> Result<(), Error> {
        self.scopes
            .first_missing(scopes)
            .map_or(Ok(()), |scope| Err(Error::InsufficientScope(scope)))
    }

    /// The reseller that a request is for. A reseller may name only itself; an operator must name a
    /// reseller.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`] if a reseller names another one; [`Error::InvalidField`] for
    /// `reseller_id` if an operator names none.
    pub fn resolve_reseller(&self, named: Option<ResellerId>) -> Result<ResellerId, Error> {
        match (self.reseller, named) {
            (Some(own), Some(named)) if own != named => Err(Error::ResellerNotFound),
            (Some(own), _) => Ok(own),
            (None, named) => named.ok_or_else(|| {
                Error::invalid("reseller_id", "is required with an operator's token")
            }),
        }
    }

    /// The authority that the caller acts under.
    #[must_use]
    pub fn authority(&self) -> Authority {
        let default = if self.reseller.is_some() {
            Authority::Reseller
        } else {
            Authority::Operator
        };
        self.agent.as_ref().map_or(default, |agent| agent.authority)
    }

    /// The caller as the journal names it.
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
            // In quotes, a comma is none of those between the parts of the name.
            (None, Some(subject)) if subject.contains(',') => format!("subject {subject:?}"),
            (None, Some(subject)) => format!("subject {subject}"),
            (None, None) => "command line".to_owned(),
        };
        Actor {
            authority: self.authority(),
            bound_to: self.bound_to.clone(),
            name: format!("{who}, {with}"),
        }
    }

    /// The rows that the caller's transactions may touch: its reseller's, or all for an operator.
    #[must_use]
    pub fn tenancy(&self) -> Tenancy {
        self.reseller.map_or(Tenancy::Platform, Tenancy::of)
    }

    /// The reseller that the caller's own rows (credentials, idempotency keys) are stored under.
    #[must_use]
    pub fn storage_reseller(&self) -> ResellerId {
        self.reseller.unwrap_or(ResellerId::PLATFORM)
    }
}

/// What every call of the service carries: the caller and its request.
#[derive(Debug, Clone)]
pub struct Context {
    /// The caller.
    pub principal: Principal,
    /// The API that the request arrived through.
    pub dialect: Dialect,
    /// The id of the request, for logs and the journal.
    pub request_id: String,
}

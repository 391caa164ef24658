//! The request bodies for accounts, and their conversion to the service's types.

use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::dialects::dates::Role;
use crate::dialects::metadata::{self, MetadataMembers};
use crate::dialects::patches::{
    Reading, level, none_if_empty, only_hold, owner, parsed, plain, required_time, text_or_none,
    time,
};
use crate::domain::{
    Command, Email, Error, HoldKind, HoldPatch, Owner, Patch, PaymentUrl, ProfilePatch, Revision,
    Status, Time,
};
use crate::wire::Field;

/// The body of `PUT .../status`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StatusRequest)]
pub(in crate::dialects::v3) struct SetStatus {
    /// `active` or `inactive`; case matters.
    #[schema(pattern = "^(active|inactive)$")]
    pub(in crate::dialects::v3) status: String,
}

impl SetStatus {
    pub(in crate::dialects::v3) fn status(&self) -> Result<Status, Error> {
        Status::parse(&self.status)
            .ok_or_else(|| Error::must_be("status", "active or inactive", &self.status))
    }
}

/// The body of `PUT .../expires-at`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExpiryRequest)]
pub(in crate::dialects::v3) struct SetExpiry {
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = DateTime, min_length = 1)]
    pub(in crate::dialects::v3) expires_at: Field<String>,
}

impl SetExpiry {
    pub(in crate::dialects::v3) fn expires_at(self, read: Reading) -> Result<Option<Time>, Error> {
        required_time("expires_at", self.expires_at, read, "never")
    }
}

/// The body of `POST .../freeze`, `.../suspend` and `.../retain`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HoldRequest)]
pub(in crate::dialects::v3) struct Place {
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#\\\\@]+([/?#][^\\s\\\\]*)?$")]
    pub(in crate::dialects::v3) payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub(in crate::dialects::v3) reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    pub(in crate::dialects::v3) reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    pub(in crate::dialects::v3) public_message: Field<String>,
    /// For whom the hold is placed, such as `billing`. Holds of different owners stand side by side,
    /// and only the same owner lifts its own. A token that is bound to an owner always acts for it.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    pub(in crate::dialects::v3) owner: Field<String>,
    /// `block` (the default) blocks the account; `limit` asks the product to let it only read;
    /// `warn` closes nothing; the product shows its user a warning.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(block|limit|warn)$")]
    pub(in crate::dialects::v3) level: Field<String>,
    /// A date (its first second) or a date and time. If absent, at once; a hold that blocks already
    /// keeps its begin.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    pub(in crate::dialects::v3) starts_at: Field<String>,
    /// A date (its last second) or a date and time. If absent, the hold stays until it is lifted,
    /// also if an earlier call gave it an end.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    pub(in crate::dialects::v3) ends_at: Field<String>,
    /// For a freeze: whether the answer includes a release ticket, with which a payment service can
    /// lift the freeze without a token.
    #[serde(default)]
    #[schema(required = false)]
    pub(in crate::dialects::v3) release_ticket: bool,
}

impl Place {
    /// The owner and the details.
    pub(in crate::dialects::v3) fn details(
        self,
        read: Reading,
    ) -> Result<(Option<Owner>, HoldPatch), Error> {
        let details = HoldPatch {
            level: level(self.level, read)?,
            payment_url: parsed(self.payment_url, read, |url| PaymentUrl::parse(&url))?,
            reason_code: plain(self.reason_code),
            reason: plain(self.reason),
            public_message: plain(self.public_message),
            starts_at: time("starts_at", Role::Begin, self.starts_at, read)?,
            ends_at: time("ends_at", Role::End, self.ends_at, read)?,
        };
        Ok((owner(self.owner, read)?, details))
    }
}

/// The body of `POST .../unfreeze`, `.../unsuspend` and `.../release`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LiftRequest)]
pub(in crate::dialects::v3) struct Lift {
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub(in crate::dialects::v3) hold_id: Field<String>,
    /// Lift the hold of this owner. If absent, the hold of no owner in particular. A token that is
    /// bound to an owner always lifts its own.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    pub(in crate::dialects::v3) owner: Field<String>,
}

impl Lift {
    /// The command that lifts the hold.
    pub(in crate::dialects::v3) fn command(
        self,
        kind: HoldKind,
        read: Reading,
    ) -> Result<Command, Error> {
        Ok(Command::Lift {
            kind,
            owner: owner(self.owner, read)?,
            only: only_hold(self.hold_id, read)?,
        })
    }
}

/// The body of `PUT .../exempt-until`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExemptionRequest)]
pub(in crate::dialects::v3) struct SetExemption {
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = DateTime, min_length = 1)]
    pub(in crate::dialects::v3) exempt_until: Field<String>,
}

impl SetExemption {
    pub(in crate::dialects::v3) fn exempt_until(
        self,
        read: Reading,
    ) -> Result<Option<Time>, Error> {
        required_time("exempt_until", self.exempt_until, read, "no longer")
    }
}

/// The body of `PUT .../plan`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssignPlanRequest)]
pub(in crate::dialects::v3) struct AssignPlan {
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = Uuid)]
    plan_id: Field<String>,
}

impl AssignPlan {
    pub(in crate::dialects::v3) fn revision(self, read: Reading) -> Result<Revision, Error> {
        let plan_id = plan_id(self.plan_id, read)?;
        if plan_id == Patch::Keep {
            return Err(Error::invalid("plan_id", "is required; null for none"));
        }
        Ok(Revision {
            profile: ProfilePatch {
                plan_id,
                ..ProfilePatch::default()
            },
            ..Revision::default()
        })
    }
}

/// The nil UUID is the id of the plan `none`, which an account has without a plan.
fn plan_id(written: Field<String>, read: Reading) -> Result<Patch<Uuid>, Error> {
    let id = parsed(none_if_empty(written), read, |id| {
        Uuid::parse_str(&id)
            .map_err(|_| Error::must_be("plan_id", "a UUID, or null or the nil UUID for none", &id))
    })?;
    Ok(if id == Patch::Set(Uuid::nil()) {
        Patch::Clear
    } else {
        id
    })
}

/// The body of `POST /v3/accounts` and `PATCH /v3/accounts/{id}`. Absent members keep their values.
/// An empty text is none. Computed members are ignored, so a caller may send back an account as it
/// was read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountRequest)]
pub(in crate::dialects::v3) struct AccountRequest {
    /// The reseller that will own the account. Only with an operator's token.
    pub(in crate::dialects::v3) reseller_id: Option<i64>,
    /// `active` or `inactive`.
    #[schema(pattern = "^(active|inactive)$")]
    status: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expires_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    plan_id: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    company: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    admin_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    customer_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    reseller_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    website: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    logo_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    favicon_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    google_client_id: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    trial_expires_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    company_id: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    account_alias: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    region: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    payment_method: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    psp: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    total_trial_extensions: Field<i32>,
    /// Texts for your own programs, by name: at most 50, with names of 1 to 40 characters and values
    /// of up to 500. Members that are absent stay; null removes a member, and null instead of the
    /// object removes all.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::HashMap<String, Option<String>>>)]
    metadata: Field<MetadataMembers>,
}

impl AccountRequest {
    pub(in crate::dialects::v3) fn revision(self, read: Reading) -> Result<Revision, Error> {
        let profile = ProfilePatch {
            company: text_or_none(self.company),
            email: parsed(none_if_empty(self.email), read, |email| {
                Email::parse(&email)
            })?,
            admin_portal_domain: text_or_none(self.admin_portal_domain),
            customer_portal_domain: text_or_none(self.customer_portal_domain),
            reseller_portal_domain: text_or_none(self.reseller_portal_domain),
            website: text_or_none(self.website),
            logo_url: text_or_none(self.logo_url),
            favicon_url: text_or_none(self.favicon_url),
            google_client_id: text_or_none(self.google_client_id),
            trial_expires_at: time(
                "trial_expires_at",
                Role::End,
                none_if_empty(self.trial_expires_at),
                read,
            )?,
            company_id: text_or_none(self.company_id),
            account_alias: text_or_none(self.account_alias),
            region: text_or_none(self.region),
            payment_method: text_or_none(self.payment_method),
            psp: text_or_none(self.psp),
            total_trial_extensions: plain(self.total_trial_extensions),
            plan_id: plan_id(self.plan_id, read)?,
            metadata: metadata::patch(self.metadata),
            ..ProfilePatch::default()
        };
        let status = self.status.map(|word| {
            Status::parse(&word)
                .ok_or_else(|| Error::must_be("status", "active or inactive", &word))
        });
        let expires_at = match time("expires_at", Role::End, self.expires_at, read)? {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(at) => Some(Some(at)),
        };
        Ok(Revision {
            profile,
            status: status.transpose()?,
            expires_at,
        })
    }
}

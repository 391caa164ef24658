//! The bodies of this dialect's requests, and what they ask of the service.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::dialects::patches::{Reading, mentioned_time, only_hold, parsed, plain, text, time};
use crate::domain::{
    AccountId, Command, Email, Error, HoldId, HoldKind, HoldPatch, Patch, PaymentUrl, ProfilePatch,
    Revision, Status, Time,
};
use crate::service::{AccountRef, MAX_OPERATIONS};
use crate::wire::{Field, number_or_text};

/// `PUT .../status`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StatusRequest)]
pub(in crate::dialects::v3) struct SetStatus {
    /// `active` or `inactive`; case matters.
    #[schema(pattern = "^(active|inactive)$")]
    status: String,
}

impl SetStatus {
    pub(in crate::dialects::v3) fn status(&self) -> Result<Status, Error> {
        Status::parse(&self.status)
            .ok_or_else(|| Error::invalid("status", "must be active or inactive"))
    }
}

/// `PUT .../expires-at`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExpiryRequest)]
pub(in crate::dialects::v3) struct SetExpiry {
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = DateTime, min_length = 1)]
    expires_at: Field<String>,
}

impl SetExpiry {
    pub(in crate::dialects::v3) fn expires_at(self, read: Reading) -> Result<Option<Time>, Error> {
        mentioned_time("expires_at", self.expires_at, read, "never")
    }
}

/// `POST .../freeze` and `.../suspend`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HoldRequest)]
pub(in crate::dialects::v3) struct Place {
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^https?://[A-Za-z][A-Za-z0-9]*([.-][A-Za-z0-9]+)*(:[0-9]{1,4})?(/[A-Za-z0-9._~-]*)*$")]
    payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    public_message: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
    /// Of a freeze: whether the answer has a ticket with which whoever collects the payment lifts it.
    #[serde(default)]
    #[schema(required = false)]
    pub(in crate::dialects::v3) release_ticket: bool,
}

/// `POST /v3/release-tickets/redeem`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RedeemRequest)]
pub(in crate::dialects::v3) struct Redeem {
    /// As it was answered to the freeze.
    #[schema(value_type = String, max_length = 255)]
    pub(in crate::dialects::v3) ticket: secrecy::SecretString,
}

impl Place {
    pub(in crate::dialects::v3) fn details(self, read: Reading) -> Result<HoldPatch, Error> {
        Ok(HoldPatch {
            payment_url: parsed(self.payment_url, read, |url| PaymentUrl::parse(&url))?,
            reason_code: text(self.reason_code, read),
            reason: text(self.reason, read),
            public_message: text(self.public_message, read),
            starts_at: time("starts_at", self.starts_at, read)?,
            ends_at: time("ends_at", self.ends_at, read)?,
        })
    }
}

/// `POST .../unfreeze` and `.../unsuspend`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LiftRequest)]
pub(in crate::dialects::v3) struct Lift {
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Field<String>,
}

impl Lift {
    pub(in crate::dialects::v3) fn only(self, read: Reading) -> Result<Option<HoldId>, Error> {
        only_hold(self.hold_id, read)
    }
}

/// `PUT .../exempt-until`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExemptionRequest)]
pub(in crate::dialects::v3) struct SetExemption {
    #[serde(default)]
    #[schema(required = true, value_type = Option<String>, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
}

impl SetExemption {
    pub(in crate::dialects::v3) fn exempt_until(
        self,
        read: Reading,
    ) -> Result<Option<Time>, Error> {
        mentioned_time("exempt_until", self.exempt_until, read, "no longer")
    }
}

/// One operation of several: which, and what it takes; what the operation does not take is ignored.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OperationRequest)]
pub(in crate::dialects::v3) struct OperationRequest {
    /// As the last part of the operation's own path; `delete` to delete.
    #[schema(
        pattern = "^(freeze|unfreeze|suspend|unsuspend|retain|release|status|expires-at|exempt-until|delete|restore)$"
    )]
    pub(in crate::dialects::v3) operation: String,
    /// At which account, by number or UUID; in `bulk` only, where it is required.
    #[schema(value_type = Option<String>)]
    pub(in crate::dialects::v3) account: Option<AccountName>,
    status: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expires_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    public_message: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Field<String>,
}

/// An account by its number or its UUID, as it was written.
#[derive(Debug, Clone)]
pub(in crate::dialects::v3) struct AccountName(String);

impl<'de> Deserialize<'de> for AccountName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer).map(Self)
    }
}

impl AccountName {
    /// What is neither a number nor a UUID is not found.
    pub(in crate::dialects::v3) fn named(&self) -> Result<AccountRef, Error> {
        let unknown = Error::AccountNotFound;
        match self.0.parse() {
            Ok(number) => AccountId::new(number)
                .map(AccountRef::Id)
                .map_err(|_| unknown),
            Err(_) => Uuid::try_parse(&self.0)
                .map(AccountRef::Uid)
                .map_err(|_| unknown),
        }
    }

    /// As it was written.
    pub(in crate::dialects::v3) fn written(&self) -> String {
        self.0.clone()
    }
}

impl OperationRequest {
    /// `deletion` is the command that deletes.
    pub(in crate::dialects::v3) fn command(
        self,
        read: Reading,
        deletion: Command,
    ) -> Result<Command, Error> {
        let kind = match self.operation.as_str() {
            "freeze" | "unfreeze" => HoldKind::Freeze,
            "suspend" | "unsuspend" => HoldKind::Suspend,
            _ => HoldKind::Retention,
        };
        let place = Place {
            payment_url: self.payment_url,
            reason_code: self.reason_code,
            reason: self.reason,
            public_message: self.public_message,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            release_ticket: false,
        };
        match self.operation.as_str() {
            "freeze" | "suspend" | "retain" => Ok(Command::Place {
                kind,
                fresh: HoldId(Uuid::now_v7()),
                details: place.details(read)?,
            }),
            "unfreeze" | "unsuspend" | "release" => Ok(Command::Lift {
                kind,
                only: Lift {
                    hold_id: self.hold_id,
                }
                .only(read)?,
            }),
            "status" => {
                let status = self
                    .status
                    .ok_or_else(|| Error::invalid("status", "is required"))?;
                Ok(Command::SetStatus(SetStatus { status }.status()?))
            }
            "expires-at" => Ok(Command::SetExpiry(
                SetExpiry {
                    expires_at: self.expires_at,
                }
                .expires_at(read)?,
            )),
            "exempt-until" => Ok(Command::SetExemption(
                SetExemption {
                    exempt_until: self.exempt_until,
                }
                .exempt_until(read)?,
            )),
            "delete" => Ok(deletion),
            "restore" => Ok(Command::Restore),
            _ => Err(Error::invalid(
                "operation",
                format!("must be one of {OPERATIONS}"),
            )),
        }
    }
}

/// The words of [`OperationRequest::operation`].
const OPERATIONS: &str = "freeze, unfreeze, suspend, unsuspend, retain, release, status, expires-at, exempt-until, delete, restore";

/// `POST .../simulate` and `POST /v3/bulk`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OperationsRequest)]
pub(in crate::dialects::v3) struct Operations {
    /// In order; 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    operations: Vec<OperationRequest>,
}

impl Operations {
    pub(in crate::dialects::v3) fn checked(self) -> Result<Vec<OperationRequest>, Error> {
        let count = self.operations.len();
        if (1..=MAX_OPERATIONS).contains(&count) {
            Ok(self.operations)
        } else {
            Err(Error::invalid("operations", "must be 1 to 1000"))
        }
    }
}

/// `PUT .../plan`
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

fn plan_id(written: Field<String>, read: Reading) -> Result<Patch<Uuid>, Error> {
    parsed(written, read, |id| {
        Uuid::parse_str(&id).map_err(|_| Error::invalid("plan_id", "must be a UUID"))
    })
}

/// A request without members of its own.
#[derive(Debug, Deserialize)]
pub(in crate::dialects::v3) struct Nothing {}

/// `POST /v3/accounts` and `PATCH /v3/accounts/{id}`: what is absent stays; what is computed is ignored, so that an
/// account may be written back as it was read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the original's names")]
#[schema(as = AccountRequest)]
pub(in crate::dialects::v3) struct Account {
    /// Of which reseller; with an operator's token only.
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
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    company: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    admin_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    customer_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    reseller_portal_domain: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    website: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    logo_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2048)]
    favicon_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    google_client_id: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    trial_expires_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    company_id: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    account_alias: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    region: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    payment_method: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    psp: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    total_trial_extensions: Field<i32>,
}

impl Account {
    pub(in crate::dialects::v3) fn revision(self, read: Reading) -> Result<Revision, Error> {
        let text = |field| text(field, read);
        let profile = ProfilePatch {
            company: text(self.company),
            email: parsed(self.email, read, |email| Email::parse(&email))?,
            admin_portal_domain: text(self.admin_portal_domain),
            customer_portal_domain: text(self.customer_portal_domain),
            reseller_portal_domain: text(self.reseller_portal_domain),
            website: text(self.website),
            logo_url: text(self.logo_url),
            favicon_url: text(self.favicon_url),
            google_client_id: text(self.google_client_id),
            trial_expires_at: time("trial_expires_at", self.trial_expires_at, read)?,
            company_id: text(self.company_id),
            account_alias: text(self.account_alias),
            region: text(self.region),
            payment_method: text(self.payment_method),
            psp: text(self.psp),
            total_trial_extensions: plain(self.total_trial_extensions),
            plan_id: plan_id(self.plan_id, read)?,
            ..ProfilePatch::default()
        };
        let status = self.status.map(|word| {
            Status::parse(&word)
                .ok_or_else(|| Error::invalid("status", "must be active or inactive"))
        });
        let expires_at = match time("expires_at", self.expires_at, read)? {
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

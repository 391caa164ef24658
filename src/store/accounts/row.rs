//! The row of an account, and how it becomes an [`Account`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::holds::open_holds;
use crate::domain::{Account, Email, Error, Extra, Metadata, Profile, ResellerId, Status, Time};
use crate::store::columns::account_id;
use crate::store::errors::internal;
use crate::store::plans::plan_from_json;

pub(super) struct AccountRow {
    pub(super) reseller_id: i64,
    pub(super) id: i32,
    pub(super) uid: Uuid,
    pub(super) reseller_suspended_at: Option<Time>,
    pub(super) status: String,
    pub(super) status_set_at: Time,
    pub(super) expires_at: Option<Time>,
    pub(super) expiry_set_at: Option<Time>,
    pub(super) exempt_until: Option<Time>,
    pub(super) announce_at: Option<Time>,
    pub(super) deleted_at: Option<Time>,
    pub(super) purge_at: Option<Time>,
    pub(super) purge_due_at: Option<Time>,
    pub(super) warn_at: Option<Time>,
    pub(super) operator_released_at: Option<Time>,
    pub(super) version: i64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) email: Option<String>,
    pub(super) email_key: Option<String>,
    pub(super) company: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) tariff_id: Option<i32>,
    pub(super) reports_day: Option<i32>,
    pub(super) reports_hour: Option<i32>,
    pub(super) is_smart: Option<bool>,
    pub(super) is_subscribers_suspend_all: Option<bool>,
    pub(super) is_tariff_exceed: Option<bool>,
    pub(super) pixels_enabled: Option<bool>,
    pub(super) pushes_enabled: Option<bool>,
    pub(super) extra: Option<String>,
    pub(super) admin_portal_domain: Option<String>,
    pub(super) customer_portal_domain: Option<String>,
    pub(super) reseller_portal_domain: Option<String>,
    pub(super) website: Option<String>,
    pub(super) logo_url: Option<String>,
    pub(super) favicon_url: Option<String>,
    pub(super) google_client_id: Option<String>,
    pub(super) trial_expires_at: Option<Time>,
    pub(super) plan_id: Option<Uuid>,
    pub(super) company_id: Option<String>,
    pub(super) account_alias: Option<String>,
    pub(super) region: Option<String>,
    pub(super) payment_method: Option<String>,
    pub(super) psp: Option<String>,
    pub(super) total_trial_extensions: Option<i32>,
    /// An object of texts; `None` if the account has no metadata.
    pub(super) metadata: Option<String>,
    /// The open holds as a JSON array; `None` if the account has none.
    pub(super) holds: Option<String>,
    /// The plan as a JSON object; `None` if the account has none, or plans are not read.
    pub(super) plan: Option<String>,
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self, Error> {
        let mut profile = Profile {
            name: row.name,
            title: row.title,
            email: row.email.map(|email| Email::stored(&email, row.email_key)),
            company: row.company,
            timezone: row.timezone,
            tariff_id: row.tariff_id,
            reports_day: row.reports_day,
            reports_hour: row.reports_hour,
            is_smart: row.is_smart,
            is_subscribers_suspend_all: row.is_subscribers_suspend_all,
            is_tariff_exceed: row.is_tariff_exceed,
            pixels_enabled: row.pixels_enabled,
            pushes_enabled: row.pushes_enabled,
            extra: row.extra.map(|text| extra_of(&text)).transpose()?,
            admin_portal_domain: row.admin_portal_domain,
            customer_portal_domain: row.customer_portal_domain,
            reseller_portal_domain: row.reseller_portal_domain,
            website: row.website,
            logo_url: row.logo_url,
            favicon_url: row.favicon_url,
            google_client_id: row.google_client_id,
            trial_expires_at: row.trial_expires_at,
            plan_id: row.plan_id,
            company_id: row.company_id,
            account_alias: row.account_alias,
            region: row.region,
            payment_method: row.payment_method,
            psp: row.psp,
            total_trial_extensions: row.total_trial_extensions,
            metadata: row.metadata.map(|text| metadata_of(&text)).transpose()?,
        };
        profile.adopt_renamed_flags();
        Ok(Self {
            id: account_id(row.id)?,
            uid: row.uid,
            reseller_id: ResellerId(row.reseller_id),
            reseller_suspended_at: row.reseller_suspended_at,
            profile: Arc::new(profile),
            plan: row.plan.map(|json| plan_from_json(&json)).transpose()?,
            status: Status::parse(&row.status)
                .ok_or_else(|| internal("account has an unknown status"))?,
            status_set_at: row.status_set_at,
            expires_at: row.expires_at,
            expiry_set_at: row.expiry_set_at,
            exempt_until: row.exempt_until,
            announce_at: row.announce_at,
            deleted_at: row.deleted_at,
            purge_at: row.purge_at,
            purge_due_at: row.purge_due_at,
            warn_at: row.warn_at,
            operator_released_at: row.operator_released_at,
            holds: row
                .holds
                .map_or_else(|| Ok(Vec::new()), |json| open_holds(&json))?,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The metadata of an account as a JSON object.
pub(super) fn json_of_metadata(metadata: &Metadata) -> String {
    serde_json::to_string(&metadata.0).unwrap_or_default()
}

fn metadata_of(text: &str) -> Result<Metadata, Error> {
    serde_json::from_str(text)
        .map(Metadata)
        .map_err(|_| internal("account has unusable metadata"))
}

/// The members of a profile that this product does not know and stores as they came.
pub(super) fn extra_of(text: &str) -> Result<Extra, Error> {
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|_| internal("account has unusable extra members"))?;
    Ok(Extra(
        members
            .into_iter()
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
    ))
}

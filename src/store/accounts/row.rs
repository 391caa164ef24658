//! An account as the database returns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::holds::open_holds;
use crate::domain::{Account, AccountId, Email, Error, Extra, Profile, ResellerId, Status, Time};
use crate::store::errors::internal;
use crate::store::plans;

pub(in crate::store) struct AccountRow {
    pub(in crate::store) reseller_id: i64,
    pub(in crate::store) id: i32,
    pub(in crate::store) uid: Uuid,
    pub(in crate::store) reseller_suspended_at: Option<Time>,
    pub(in crate::store) status: String,
    pub(in crate::store) status_set_at: Time,
    pub(in crate::store) expires_at: Option<Time>,
    pub(in crate::store) expiry_set_at: Option<Time>,
    pub(in crate::store) exempt_until: Option<Time>,
    pub(in crate::store) announce_at: Option<Time>,
    pub(in crate::store) deleted_at: Option<Time>,
    pub(in crate::store) purge_at: Option<Time>,
    pub(in crate::store) purge_due_at: Option<Time>,
    pub(in crate::store) warn_at: Option<Time>,
    pub(in crate::store) operator_released_at: Option<Time>,
    pub(in crate::store) version: i64,
    pub(in crate::store) created_at: Time,
    pub(in crate::store) updated_at: Time,
    pub(in crate::store) name: Option<String>,
    pub(in crate::store) title: Option<String>,
    pub(in crate::store) email: Option<String>,
    pub(in crate::store) company: Option<String>,
    pub(in crate::store) timezone: Option<String>,
    pub(in crate::store) tariff_id: Option<i32>,
    pub(in crate::store) reports_day: Option<i32>,
    pub(in crate::store) reports_hour: Option<i32>,
    pub(in crate::store) is_smart: Option<bool>,
    pub(in crate::store) is_subscribers_suspend_all: Option<bool>,
    pub(in crate::store) is_tariff_exceed: Option<bool>,
    pub(in crate::store) pixels_enabled: Option<bool>,
    pub(in crate::store) pushes_enabled: Option<bool>,
    pub(in crate::store) extra: Option<String>,
    pub(in crate::store) admin_portal_domain: Option<String>,
    pub(in crate::store) customer_portal_domain: Option<String>,
    pub(in crate::store) reseller_portal_domain: Option<String>,
    pub(in crate::store) website: Option<String>,
    pub(in crate::store) logo_url: Option<String>,
    pub(in crate::store) favicon_url: Option<String>,
    pub(in crate::store) google_client_id: Option<String>,
    pub(in crate::store) trial_expires_at: Option<Time>,
    pub(in crate::store) plan_id: Option<Uuid>,
    pub(in crate::store) company_id: Option<String>,
    pub(in crate::store) account_alias: Option<String>,
    pub(in crate::store) region: Option<String>,
    pub(in crate::store) payment_method: Option<String>,
    pub(in crate::store) psp: Option<String>,
    pub(in crate::store) total_trial_extensions: Option<i32>,
    /// The open holds as JSON, none where there are none.
    pub(in crate::store) holds: Option<String>,
    /// The plan as JSON, where it is read along.
    pub(in crate::store) plan: Option<String>,
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self, Error> {
        let profile = Profile {
            name: row.name,
            title: row.title,
            email: row
                .email
                .map(|email| Email::parse(&email))
                .transpose()
                .map_err(|_| internal("account has an unusable email"))?,
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
        };
        Ok(Self {
            id: AccountId::new(i64::from(row.id))?,
            uid: row.uid,
            reseller_id: ResellerId(row.reseller_id),
            reseller_suspended_at: row.reseller_suspended_at,
            profile: Arc::new(profile),
            plan: row.plan.map(|json| plans::read(&json)).transpose()?,
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

pub(in crate::store) fn extra_of(text: &str) -> Result<Extra, Error> {
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|_| internal("account has unusable extra members"))?;
    Ok(Extra(
        members
            .into_iter()
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
    ))
}

/// `query_as!` of accounts: the columns, written once, what brings the plan along if anything, and what follows `from`.
macro_rules! select_accounts {
    ($plan:tt, [$($part:tt)+]; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            AccountRow,
            "select a.reseller_id, a.id, a.uid,
               (select r.suspended_at from reseller r where r.id = a.reseller_id and r.suspended_at is not null) as reseller_suspended_at,
               a.status, a.status_set_at, a.expires_at, a.expiry_set_at, a.exempt_until, a.announce_at, a.deleted_at, a.purge_at,
               a.purge_due_at, a.warn_at, a.operator_released_at, a.version,
               a.created_at, a.updated_at, a.name, a.title, a.email, a.company, a.timezone, a.tariff_id, a.reports_day, a.reports_hour, a.is_smart,
               a.is_subscribers_suspend_all, a.is_tariff_exceed, a.pixels_enabled, a.pushes_enabled, a.extra::text as extra, a.admin_portal_domain,
               a.customer_portal_domain, a.reseller_portal_domain, a.website, a.logo_url, a.favicon_url, a.google_client_id, a.trial_expires_at,
               a.plan_id, a.company_id, a.account_alias, a.region, a.payment_method, a.psp, a.total_trial_extensions,
               (select json_agg(open) from (
                 select h.id, h.kind, h.authority, h.reason_code, h.reason, h.public_message, h.payment_url, h.starts_at, h.ends_at, h.revision,
                   h.opened_at, h.opened_by
                 from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null) as open)::text as holds,
               " + $plan + " as plan
             from " + $($part)+,
            $($argument),*
        )
    };
}

pub(in crate::store) use select_accounts;

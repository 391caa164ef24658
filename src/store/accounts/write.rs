//! Whole accounts and their descriptive fields, written.

use uuid::Uuid;

use crate::domain::{Account, Email, Error, Profile, Time};
use crate::store::columns::Columns;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// `query!` whose last arguments are the descriptive fields of accounts, a column each, in the order of the table.
macro_rules! query_of_profiles {
    ($accounts:expr, $statement:tt, $($first:expr),* $(,)?) => {{
        let column = Columns($accounts);
        let texts = |of: fn(&Profile) -> &Option<String>| column.of(|it| of(&it.profile).clone());
        let numbers = |of: fn(&Profile) -> Option<i32>| column.of(|it| of(&it.profile));
        let flags = |of: fn(&Profile) -> Option<bool>| column.of(|it| of(&it.profile));
        sqlx::query!(
            $statement,
            $($first,)*
            &texts(|it| &it.name) as &[Option<String>],
            &texts(|it| &it.title) as &[Option<String>],
            &column.of(|it| it.profile.email.as_ref().map(|email| email.as_str().to_owned())) as &[Option<String>],
            &column.of(|it| it.profile.email.as_ref().map(Email::key)) as &[Option<String>],
            &texts(|it| &it.company) as &[Option<String>],
            &texts(|it| &it.timezone) as &[Option<String>],
            &numbers(|it| it.tariff_id) as &[Option<i32>],
            &numbers(|it| it.reports_day) as &[Option<i32>],
            &numbers(|it| it.reports_hour) as &[Option<i32>],
            &flags(|it| it.is_smart) as &[Option<bool>],
            &flags(|it| it.is_subscribers_suspend_all) as &[Option<bool>],
            &flags(|it| it.is_tariff_exceed) as &[Option<bool>],
            &flags(|it| it.pixels_enabled) as &[Option<bool>],
            &flags(|it| it.pushes_enabled) as &[Option<bool>],
            &column.of(|it| it.profile.extra.as_ref().map(ToString::to_string)) as &[Option<String>],
            &texts(|it| &it.admin_portal_domain) as &[Option<String>],
            &texts(|it| &it.customer_portal_domain) as &[Option<String>],
            &texts(|it| &it.reseller_portal_domain) as &[Option<String>],
            &texts(|it| &it.website) as &[Option<String>],
            &texts(|it| &it.logo_url) as &[Option<String>],
            &texts(|it| &it.favicon_url) as &[Option<String>],
            &texts(|it| &it.google_client_id) as &[Option<String>],
            &column.of(|it| it.profile.trial_expires_at) as &[Option<Time>],
            &column.of(|it| it.profile.plan_id) as &[Option<Uuid>],
            &texts(|it| &it.company_id) as &[Option<String>],
            &texts(|it| &it.account_alias) as &[Option<String>],
            &texts(|it| &it.region) as &[Option<String>],
            &texts(|it| &it.payment_method) as &[Option<String>],
            &texts(|it| &it.psp) as &[Option<String>],
            &numbers(|it| it.total_trial_extensions) as &[Option<i32>],
        )
    }};
}

impl Tx {
    /// Writes new accounts, without their holds.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an address was taken by another transaction meanwhile.
    pub async fn insert_accounts(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        query_of_profiles!(
            accounts,
            "insert into account (
               reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at, operator_released_at, version, created_at,
               updated_at, name, title, email, email_key, company, timezone, tariff_id, reports_day, reports_hour, is_smart, is_subscribers_suspend_all,
               is_tariff_exceed, pixels_enabled, pushes_enabled, extra, admin_portal_domain, customer_portal_domain, reseller_portal_domain, website,
               logo_url, favicon_url, google_client_id, trial_expires_at, plan_id, company_id, account_alias, region, payment_method, psp,
               total_trial_extensions)
             select
               n.reseller_id, n.id, n.uid, n.status, n.status_set_at, n.expires_at, n.expiry_set_at, n.deleted_at, n.purge_at, n.operator_released_at,
               n.version, n.created_at, n.updated_at, n.name, n.title, n.email, n.email_key, n.company, n.timezone, n.tariff_id, n.reports_day,
               n.reports_hour, n.is_smart, n.is_subscribers_suspend_all, n.is_tariff_exceed, n.pixels_enabled, n.pushes_enabled, n.extra::json,
               n.admin_portal_domain, n.customer_portal_domain, n.reseller_portal_domain, n.website, n.logo_url, n.favicon_url, n.google_client_id,
               n.trial_expires_at, n.plan_id, n.company_id, n.account_alias, n.region, n.payment_method, n.psp, n.total_trial_extensions
             from unnest(
               $1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
               $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::text[],
               $17::text[], $18::text[], $19::text[], $20::integer[], $21::integer[], $22::integer[], $23::boolean[], $24::boolean[], $25::boolean[],
               $26::boolean[], $27::boolean[], $28::text[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[],
               $36::timestamptz[], $37::uuid[], $38::text[], $39::text[], $40::text[], $41::text[], $42::text[], $43::integer[])
             as n(
               reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at, operator_released_at, version, created_at,
               updated_at, name, title, email, email_key, company, timezone, tariff_id, reports_day, reports_hour, is_smart, is_subscribers_suspend_all,
               is_tariff_exceed, pixels_enabled, pushes_enabled, extra, admin_portal_domain, customer_portal_domain, reseller_portal_domain, website,
               logo_url, favicon_url, google_client_id, trial_expires_at, plan_id, company_id, account_alias, region, payment_method, psp,
               total_trial_extensions)",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.uid),
            &column.of(|it| it.status.as_str()) as &[&str],
            &column.of(|it| it.status_set_at),
            &column.of(|it| it.expires_at) as &[Option<Time>],
            &column.of(|it| it.expiry_set_at) as &[Option<Time>],
            &column.of(|it| it.deleted_at) as &[Option<Time>],
            &column.of(|it| it.purge_at) as &[Option<Time>],
            &column.of(|it| it.operator_released_at) as &[Option<Time>],
            &column.of(|it| it.version),
            &column.of(|it| it.created_at),
            &column.of(|it| it.updated_at),
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the descriptive fields of accounts.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an address was taken by another transaction meanwhile.
    pub async fn update_profiles(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        query_of_profiles!(
            accounts,
            "update account a set name = n.name, title = n.title, email = n.email, email_key = n.email_key, company = n.company, timezone = n.timezone,
               tariff_id = n.tariff_id, reports_day = n.reports_day, reports_hour = n.reports_hour, is_smart = n.is_smart,
               is_subscribers_suspend_all = n.is_subscribers_suspend_all, is_tariff_exceed = n.is_tariff_exceed, pixels_enabled = n.pixels_enabled,
               pushes_enabled = n.pushes_enabled, extra = n.extra::json, admin_portal_domain = n.admin_portal_domain,
               customer_portal_domain = n.customer_portal_domain, reseller_portal_domain = n.reseller_portal_domain, website = n.website,
               logo_url = n.logo_url, favicon_url = n.favicon_url, google_client_id = n.google_client_id, trial_expires_at = n.trial_expires_at,
               plan_id = n.plan_id, company_id = n.company_id, account_alias = n.account_alias, region = n.region, payment_method = n.payment_method,
               psp = n.psp, total_trial_extensions = n.total_trial_extensions
             from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[],
               $10::integer[], $11::integer[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[], $16::boolean[], $17::text[], $18::text[],
               $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::timestamptz[], $26::uuid[], $27::text[], $28::text[],
               $29::text[], $30::text[], $31::text[], $32::integer[])
               as n(reseller_id, id, name, title, email, email_key, company, timezone, tariff_id, reports_day, reports_hour, is_smart,
                 is_subscribers_suspend_all, is_tariff_exceed, pixels_enabled, pushes_enabled, extra, admin_portal_domain, customer_portal_domain,
                 reseller_portal_domain, website, logo_url, favicon_url, google_client_id, trial_expires_at, plan_id, company_id, account_alias, region,
                 payment_method, psp, total_trial_extensions)
             where a.reseller_id = n.reseller_id and a.id = n.id",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

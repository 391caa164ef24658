//! Accounts: locked for a batch, read for an answer, listed by key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::errors::{domain_error, internal};
use super::holds::{Columns, Key};
use super::tx::Tx;
use crate::domain::{Account, AccountId, Email, Error, Extra, Profile, ResellerId, Status, Time};

pub(super) struct Row {
    pub(super) reseller_id: i64,
    pub(super) id: i32,
    pub(super) uid: Uuid,
    pub(super) reseller_suspended_at: Option<Time>,
    pub(super) status: String,
    pub(super) status_set_at: Time,
    pub(super) expires_at: Option<Time>,
    pub(super) expiry_set_at: Option<Time>,
    pub(super) deleted_at: Option<Time>,
    pub(super) purge_at: Option<Time>,
    pub(super) operator_released_at: Option<Time>,
    pub(super) version: i64,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) email: Option<String>,
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
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let profile = Profile {
            name: row.name,
            title: row.title,
            email: row.email.map(|email| Email::parse(&email)).transpose().map_err(|_| internal("account has an unusable email"))?,
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
            profile,
            plan: None,
            status: Status::parse(&row.status).ok_or_else(|| internal("account has an unknown status"))?,
            status_set_at: row.status_set_at,
            expires_at: row.expires_at,
            expiry_set_at: row.expiry_set_at,
            deleted_at: row.deleted_at,
            purge_at: row.purge_at,
            operator_released_at: row.operator_released_at,
            holds: Vec::new(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn extra_of(text: &str) -> Result<Extra, Error> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|_| internal("account has unusable extra members"))?;
    Ok(Extra(members.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()))
}

/// `query_as!` of accounts: the columns, written once, and what follows `from account a`.
macro_rules! select_accounts {
    ([$($part:tt)+]; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select a.reseller_id, a.id, a.uid,
               (select r.suspended_at from reseller r where r.id = a.reseller_id) as reseller_suspended_at,
               a.status, a.status_set_at, a.expires_at, a.expiry_set_at, a.deleted_at, a.purge_at, a.operator_released_at, a.version,
               a.created_at, a.updated_at, a.name, a.title, a.email, a.company, a.timezone, a.tariff_id, a.reports_day, a.reports_hour, a.is_smart,
               a.is_subscribers_suspend_all, a.is_tariff_exceed, a.pixels_enabled, a.pushes_enabled, a.extra::text as extra, a.admin_portal_domain,
               a.customer_portal_domain, a.reseller_portal_domain, a.website, a.logo_url, a.favicon_url, a.google_client_id, a.trial_expires_at,
               a.plan_id, a.company_id, a.account_alias, a.region, a.payment_method, a.psp, a.total_trial_extensions
             from account a " + $($part)+,
            $($argument),*
        )
    };
}

pub(super) use select_accounts;

impl Tx {
    /// Locks accounts in the order of their keys and reads them with their open holds.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_accounts(&mut self, keys: &[(ResellerId, AccountId)]) -> Result<Vec<Account>, Error> {
        let resellers: Vec<_> = keys.iter().map(|(reseller, _)| reseller.0).collect();
        let accounts: Vec<_> = keys.iter().map(|(_, account)| account.as_i32()).collect();
        let rows = select_accounts!(
            ["where (a.reseller_id, a.id) in (select * from unnest($1::bigint[], $2::integer[])) order by a.reseller_id, a.id for no key update of a"];
            &resellers,
            &accounts
        )
        .fetch_all(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        self.with_holds(rows).await
    }

    /// One account, deleted ones included.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_account(&mut self, reseller: ResellerId, account: AccountId) -> Result<Option<Account>, Error> {
        let rows = select_accounts!(["where a.reseller_id = $1 and a.id = $2"]; reseller.0, account.as_i32())
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(self.with_holds(rows).await?.pop())
    }

    /// Whose account this is, within the transaction's tenancy.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_account(&mut self, account: AccountId) -> Result<Option<ResellerId>, Error> {
        let reseller = sqlx::query_scalar!("select reseller_id from account where id = $1", account.as_i32())
            .fetch_optional(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(reseller.map(ResellerId))
    }

    /// The number of the account with this outside identity, within the transaction's tenancy.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_uid(&mut self, uid: Uuid) -> Result<Option<AccountId>, Error> {
        let id = sqlx::query_scalar!("select id from account where uid = $1", uid)
            .fetch_optional(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        id.map(|id| AccountId::new(i64::from(id))).transpose()
    }

    /// Whose live accounts have this address, within the transaction's tenancy, by identity; at most `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_email(&mut self, key: &str, limit: i64) -> Result<Vec<(ResellerId, AccountId)>, Error> {
        let rows = sqlx::query!("select reseller_id, id from account where email_key = $1 and deleted_at is null order by id limit $2", key, limit)
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        rows.into_iter().map(|row| Ok((ResellerId(row.reseller_id), AccountId::new(i64::from(row.id))?))).collect()
    }

    /// The live account of a reseller that has this address.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_account_id(&mut self, reseller: ResellerId, key: &str) -> Result<Option<AccountId>, Error> {
        let owned = self.fetch_emails(&[(reseller, key.to_owned())]).await?;
        Ok(owned.into_values().next())
    }

    /// How many accounts a reseller has that are not deleted, counted up to `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn count_live_accounts(&mut self, reseller: ResellerId, limit: i32) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from account where reseller_id = $1 and deleted_at is null limit $2) as few"#,
            reseller.0,
            i64::from(limit)
        )
        .fetch_one(self.connection())
        .await
        .map_err(|error| domain_error(&error))
    }

    /// Which live accounts have these addresses.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_emails(&mut self, emails: &[(ResellerId, String)]) -> Result<HashMap<(ResellerId, String), AccountId>, Error> {
        let resellers: Vec<_> = emails.iter().map(|(reseller, _)| reseller.0).collect();
        let keys: Vec<_> = emails.iter().map(|(_, key)| key.clone()).collect();
        let rows = sqlx::query!(
            r#"select a.reseller_id, a.email_key as "email_key!", a.id
               from account a join unnest($1::bigint[], $2::text[]) as wanted(reseller_id, email_key) using (reseller_id, email_key)
               where a.deleted_at is null"#,
            &resellers,
            &keys
        )
        .fetch_all(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        rows.into_iter().map(|row| Ok(((ResellerId(row.reseller_id), row.email_key), AccountId::new(i64::from(row.id))?))).collect()
    }

    /// Identities for new accounts.
    ///
    /// # Errors
    /// [`Error::Internal`] when all 2^31-1 are used up.
    pub async fn next_account_ids(&mut self, count: i32) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(r#"select nextval('account_id_seq')::integer as "id!" from generate_series(1, $1)"#, count)
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        ids.into_iter().map(|id| AccountId::new(i64::from(id))).collect()
    }

    /// Writes new accounts, without their holds.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an address was taken by another transaction meanwhile.
    pub async fn insert_accounts(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        sqlx::query!(
            "insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at, version, created_at, updated_at)
             select * from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
               $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::timestamptz[], $12::timestamptz[])",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.uid),
            &column.of(|it| it.status.as_str().to_owned()),
            &column.of(|it| it.status_set_at),
            &column.of(|it| it.expires_at) as &[Option<Time>],
            &column.of(|it| it.expiry_set_at) as &[Option<Time>],
            &column.of(|it| it.deleted_at) as &[Option<Time>],
            &column.of(|it| it.purge_at) as &[Option<Time>],
            &column.of(|it| it.version),
            &column.of(|it| it.created_at),
            &column.of(|it| it.updated_at),
        )
        .execute(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        self.update_profiles(accounts).await
    }

    /// Writes the lifecycle facts of accounts that were locked before.
    ///
    /// # Errors
    /// As every statement.
    pub async fn update_accounts(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        sqlx::query!(
            "update account a set status = n.status, status_set_at = n.status_set_at, expires_at = n.expires_at, expiry_set_at = n.expiry_set_at,
               deleted_at = n.deleted_at, purge_at = n.purge_at, operator_released_at = n.operator_released_at, version = n.version, updated_at = n.updated_at
             from unnest($1::bigint[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
               $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::timestamptz[])
               as n(reseller_id, id, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at, operator_released_at, version, updated_at)
             where a.reseller_id = n.reseller_id and a.id = n.id",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.status.as_str().to_owned()),
            &column.of(|it| it.status_set_at),
            &column.of(|it| it.expires_at) as &[Option<Time>],
            &column.of(|it| it.expiry_set_at) as &[Option<Time>],
            &column.of(|it| it.deleted_at) as &[Option<Time>],
            &column.of(|it| it.purge_at) as &[Option<Time>],
            &column.of(|it| it.operator_released_at) as &[Option<Time>],
            &column.of(|it| it.version),
            &column.of(|it| it.updated_at),
        )
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }

    /// Writes the descriptive fields of accounts.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an address was taken by another transaction meanwhile.
    pub async fn update_profiles(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        let texts = |of: fn(&Profile) -> &Option<String>| column.of(|it| of(&it.profile).clone());
        let numbers = |of: fn(&Profile) -> Option<i32>| column.of(|it| of(&it.profile));
        let flags = |of: fn(&Profile) -> Option<bool>| column.of(|it| of(&it.profile));
        sqlx::query!(
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
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }

    /// Rows with their open holds and their plans, in the order of the rows.
    pub(super) async fn with_holds(&mut self, rows: Vec<Row>) -> Result<Vec<Account>, Error> {
        let mut accounts: Vec<Account> = rows.into_iter().map(Account::try_from).collect::<Result<_, _>>()?;
        if accounts.is_empty() {
            return Ok(accounts);
        }
        let keys: Vec<Key> = accounts.iter().map(|account| (account.reseller_id, account.id)).collect();
        let mut holds: HashMap<Key, Vec<_>> = HashMap::new();
        for (key, hold) in self.fetch_open_holds(&keys).await? {
            holds.entry(key).or_default().push(hold);
        }
        let sold: BTreeSet<_> = accounts.iter().filter_map(|account| Some((account.reseller_id, account.profile.plan_id?))).collect();
        let plans = self.fetch_plans(&sold).await?;
        for account in &mut accounts {
            account.holds = holds.remove(&(account.reseller_id, account.id)).unwrap_or_default();
            account.plan = account.profile.plan_id.and_then(|plan| plans.get(&(account.reseller_id, plan)).cloned());
        }
        Ok(accounts)
    }
}

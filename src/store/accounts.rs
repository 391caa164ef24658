//! Accounts: locked for a batch, read for an answer, listed by key.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

use super::errors::{domain_error, internal, is_connection_loss};
use super::holds::{Key, open_holds};
use super::tx::{Tx, list_of};
use super::{Store, plans};
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
    /// The open holds as JSON, none where there are none.
    pub(super) holds: Option<String>,
    /// The plan as JSON, where it is read along.
    pub(super) plan: Option<String>,
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
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

/// `query_as!` of accounts: the columns, written once, what brings the plan along if anything, and what follows `from`.
macro_rules! select_accounts {
    ($plan:tt, [$($part:tt)+]; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
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

pub(super) use select_accounts;

impl Tx {
    /// Locks accounts in the order of their keys.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_accounts(&mut self, keys: &[Key]) -> Result<(), Error> {
        let (resellers, accounts): (Vec<i64>, Vec<i32>) = keys
            .iter()
            .map(|(reseller, account)| (reseller.0, account.as_i32()))
            .unzip();
        sqlx::query!(
            "select from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
             cross join lateral (
               select from account a where a.id = w.id and a.reseller_id is not distinct from w.reseller_id for no key update) as locked",
            &resellers,
            &accounts
        )
        .execute(self.connection())
        .await
        .map(drop)
        .map_err(|error| domain_error(&error))
    }

    /// The accounts with these keys, deleted ones included, as one snapshot has them.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_accounts(&mut self, keys: &[Key]) -> Result<Vec<Account>, Error> {
        let rows = fetch_keyed(self.connection(), None, keys)
            .await
            .map_err(|error| domain_error(&error))?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// One account, deleted ones included.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_account(
        &mut self,
        reseller: ResellerId,
        account: AccountId,
    ) -> Result<Option<Account>, Error> {
        Ok(self.fetch_accounts(&[(reseller, account)]).await?.pop())
    }

    /// Whose account this is, within the transaction's tenancy.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_account(
        &mut self,
        account: AccountId,
    ) -> Result<Option<ResellerId>, Error> {
        let reseller = sqlx::query_scalar!(
            "select reseller_id from account where id = $1",
            account.as_i32()
        )
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

    /// The accounts with these numbers or outside identities, within the transaction's tenancy: whose, and both names.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_accounts(
        &mut self,
        of: Option<ResellerId>,
        ids: &[i32],
        uids: &[Uuid],
    ) -> Result<Vec<(ResellerId, AccountId, Uuid)>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id as "reseller_id!", id as "id!", uid as "uid!" from account where id = any($1) and ($3::bigint is null or reseller_id = $3)
               union select reseller_id, id, uid from account where uid = any($2) and ($3::bigint is null or reseller_id = $3)"#,
            ids,
            uids,
            of.map(|reseller| reseller.0)
        )
        .fetch_all(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                    row.uid,
                ))
            })
            .collect()
    }

    /// Whose live accounts have this address, within the transaction's tenancy, by identity; at most `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn locate_email(
        &mut self,
        key: &str,
        limit: i64,
    ) -> Result<Vec<(ResellerId, AccountId)>, Error> {
        let rows = sqlx::query!("select reseller_id, id from account where email_key = $1 and deleted_at is null order by id limit $2", key, limit)
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// The live account of a reseller that has this address.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_account_id(
        &mut self,
        reseller: ResellerId,
        key: &str,
    ) -> Result<Option<AccountId>, Error> {
        let owned = self.fetch_emails(&[(reseller, key.to_owned())]).await?;
        Ok(owned.into_values().next())
    }

    /// How many accounts a reseller has that are not deleted, counted up to `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn count_live_accounts(
        &mut self,
        reseller: ResellerId,
        limit: i32,
    ) -> Result<i64, Error> {
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
    pub async fn fetch_emails(
        &mut self,
        emails: &[(ResellerId, String)],
    ) -> Result<HashMap<(ResellerId, String), AccountId>, Error> {
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
        rows.into_iter()
            .map(|row| {
                Ok((
                    (ResellerId(row.reseller_id), row.email_key),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// Identities for new accounts.
    ///
    /// # Errors
    /// [`Error::Internal`] when all 2^31-1 are used up.
    pub async fn next_account_ids(&mut self, count: i32) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(
            r#"select nextval('account_id_seq')::integer as "id!" from generate_series(1, $1)"#,
            count
        )
        .fetch_all(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        ids.into_iter()
            .map(|id| AccountId::new(i64::from(id)))
            .collect()
    }

    /// Rows with their plans, in the order of the rows.
    pub(super) async fn with_plans(&mut self, rows: Vec<Row>) -> Result<Vec<Account>, Error> {
        let mut accounts: Vec<Account> = rows
            .into_iter()
            .map(Account::try_from)
            .collect::<Result<_, _>>()?;
        let sold: BTreeSet<_> = accounts
            .iter()
            .filter_map(|account| Some((account.reseller_id, account.profile.plan_id?)))
            .collect();
        if sold.is_empty() {
            return Ok(accounts);
        }
        let plans = self.fetch_plans(&sold).await?;
        for account in &mut accounts {
            account.plan = account
                .profile
                .plan_id
                .and_then(|plan| plans.get(&(account.reseller_id, plan)).cloned());
        }
        Ok(accounts)
    }
}

impl Store {
    /// The accounts with these keys, deleted ones included, and the connection that they were read on: what is written on it
    /// next is a transaction of its own, for these resellers.
    ///
    /// # Errors
    /// As every statement.
    pub async fn look_up(
        &self,
        resellers: &BTreeSet<ResellerId>,
        keys: &[Key],
    ) -> Result<(Tx, Vec<Account>), Error> {
        let admitted = list_of(resellers);
        let mut stale_left = self.keyed.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.keyed).await?;
            match fetch_keyed(tx.connection(), Some(&admitted), keys).await {
                Ok(rows) => {
                    return Ok((
                        tx,
                        rows.into_iter()
                            .map(Account::try_from)
                            .collect::<Result<_, _>>()?,
                    ));
                }
                Err(error) if stale_left > 0 && is_connection_loss(&error) => stale_left -= 1,
                Err(error) => return Err(domain_error(&error)),
            }
        }
    }
}

/// Accounts by their keys; with `admitted`, whose rows the connection may touch from now on is said along the way.
async fn fetch_keyed(
    connection: &mut PgConnection,
    admitted: Option<&str>,
    keys: &[Key],
) -> Result<Vec<Row>, sqlx::Error> {
    let accounts: Vec<i32> = keys.iter().map(|(_, account)| account.as_i32()).collect();
    // The admission depends on no row, and so is asked for before any is read. The resellers are compared afterwards: no two
    // have accounts of the same number, and of an empty table any index that begins with a reseller would seem right.
    let found = select_accounts!(
        // Most accounts have none: then the table is not asked.
        "case when a.plan_id is not null then (select to_json(p)::text from plan p where p.reseller_id = a.reseller_id and p.id = a.plan_id) end",
        ["account a
          where a.id = any($1) and (select case when $2::text is null then true else set_config('steward.resellers', $2, false) is not null end)"];
        &accounts,
        admitted
    )
    .fetch_all(connection)
    .await?;
    let wanted: HashSet<(i64, i32)> = keys
        .iter()
        .map(|(reseller, account)| (reseller.0, account.as_i32()))
        .collect();
    Ok(found
        .into_iter()
        .filter(|row| wanted.contains(&(row.reseller_id, row.id)))
        .collect())
}

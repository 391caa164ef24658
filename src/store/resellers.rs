//! Resellers, which are the tenants.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::errors::OrDomain as _;
use super::transaction::Tx;
use crate::domain::{Error, PurgePolicy, ResellerId, Resource, Time};

/// A reseller, which is the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseller {
    /// Its id.
    pub id: ResellerId,
    /// Its name, unique ignoring case.
    pub name: String,
    /// The name of its time zone. Dates without a time zone are in this one.
    pub timezone: String,
    /// Whether the `soap` dialect answers with numbers instead of words.
    pub soap_numbers: bool,
    /// The most accounts it may have; `None` means no limit.
    pub account_limit: Option<i32>,
    /// When it was suspended; `None` if it is not.
    pub suspended_at: Option<Time>,
    /// When its suspension was last lifted; `None` if it never was.
    pub suspension_lifted_at: Option<Time>,
    /// Its purge settings.
    pub purge: PurgeSettings,
    /// When it was created.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

struct ResellerRow {
    id: i64,
    name: String,
    timezone: String,
    soap_numbers: bool,
    account_limit: Option<i32>,
    suspended_at: Option<Time>,
    suspension_lifted_at: Option<Time>,
    purges: bool,
    purge_grace_days: i32,
    purge_limit: i32,
    purge_held_at: Option<Time>,
    purge_held_count: Option<i32>,
    created_at: Time,
    updated_at: Time,
}

impl From<ResellerRow> for Reseller {
    fn from(row: ResellerRow) -> Self {
        let purge = PurgeSettings {
            is_on: row.purges,
            grace_days: row.purge_grace_days,
            limit: row.purge_limit,
            held: row.purge_held_at.zip(row.purge_held_count),
        };
        Self {
            id: ResellerId(row.id),
            name: row.name,
            timezone: row.timezone,
            soap_numbers: row.soap_numbers,
            account_limit: row.account_limit,
            suspended_at: row.suspended_at,
            suspension_lifted_at: row.suspension_lifted_at,
            purge,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// How the accounts of a reseller are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeSettings {
    /// Whether the purge is on.
    pub is_on: bool,
    /// How many days after its expiry an account is due: 1 ..= 3,650.
    pub grace_days: i32,
    /// The most accounts that one run purges, at least 1. If more are due, the run waits until an
    /// operator approves it.
    pub limit: i32,
    /// Since when a run waits for an approval, and how many accounts are due; `None` if no run
    /// waits.
    pub held: Option<(Time, i32)>,
}

/// What every request of a reseller needs to know of it: display preferences, and whether it is
/// suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The name of its time zone. Dates without a time zone are in this one.
    pub timezone: String,
    /// Whether the `soap` dialect answers with numbers instead of words.
    pub soap_numbers: bool,
    /// Whether the operator has suspended it.
    pub is_suspended: bool,
}

/// The facts of a reseller that decisions about its accounts depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResellerTerms {
    /// The reseller.
    pub id: ResellerId,
    /// When it was suspended; `None` if it is not.
    pub suspended_at: Option<Time>,
    /// The most accounts it may have; `None` means no limit.
    pub account_limit: Option<i32>,
    /// When its accounts may be purged.
    pub purge: PurgePolicy,
}

impl Tx {
    /// Inserts a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name` if another reseller has it.
    pub async fn insert_reseller(&mut self, name: &str, now: Time) -> Result<ResellerId, Error> {
        sqlx::query_scalar!(
            "insert into reseller (name, name_key, created_at, updated_at) values ($1, $2, $3, $3)
             returning id",
            name,
            name.to_lowercase(),
            now
        )
        .fetch_one(self.connection())
        .await
        .map(ResellerId)
        .or_domain()
    }

    /// The resellers of the transaction by id after `after`. With `only`, this one reseller.
    pub async fn list_resellers(
        &mut self,
        only: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Reseller>, Error> {
        let rows = sqlx::query_as!(
            ResellerRow,
            "select id, name, timezone, soap_numbers, account_limit, suspended_at,
               suspension_lifted_at, purges, purge_grace_days, purge_limit,
               purge_held_at, purge_held_count, created_at, updated_at
             from reseller
             where id > 0 and ($1::bigint is null or id = $1) and id > $2 order by id limit $3",
            only.map(|it| it.0),
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows.into_iter().map(Reseller::from).collect())
    }

    /// The reseller with this name, ignoring case.
    pub async fn fetch_reseller_named(&mut self, name: &str) -> Result<Option<ResellerId>, Error> {
        let id = sqlx::query_scalar!(
            "select id from reseller where name_key = $1 and id > 0",
            name.to_lowercase()
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        Ok(id.map(ResellerId))
    }

    /// Locks a reseller until the transaction ends.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn lock_reseller(&mut self, reseller: ResellerId) -> Result<(), Error> {
        sqlx::query!(
            "select id from reseller where id = $1 and id > 0 for no key update",
            reseller.0
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?
        .map(drop)
        .ok_or(Error::NotFound(Resource::Reseller))
    }

    /// The names of the time zones of resellers.
    pub async fn fetch_time_zones(
        &mut self,
        resellers: &[i64],
    ) -> Result<HashMap<ResellerId, String>, Error> {
        let rows = sqlx::query!(
            "select id, timezone from reseller where id = any($1)",
            resellers
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let zones = rows.into_iter();
        Ok(zones
            .map(|row| (ResellerId(row.id), row.timezone))
            .collect())
    }

    /// The names of the time zones that resellers have.
    pub async fn list_time_zones(&mut self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar!("select distinct timezone from reseller where id > 0 order by timezone")
            .fetch_all(self.connection())
            .await
            .or_domain()
    }

    /// Writes the name, the preferences, the limit and the purge settings of an existing reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name` if another reseller has it.
    pub async fn update_reseller(&mut self, reseller: &Reseller) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set name = $2, name_key = $3, timezone = $4, soap_numbers = $5,
               account_limit = $6, purges = $7, purge_grace_days = $8,
               purge_limit = $9, purge_held_at = case when $7 then purge_held_at end,
                 purge_held_count = case when $7 then purge_held_count end,
               updated_at = $10
             where id = $1 and id > 0",
            reseller.id.0,
            reseller.name,
            reseller.name.to_lowercase(),
            reseller.timezone,
            reseller.soap_numbers,
            reseller.account_limit,
            reseller.purge.is_on,
            reseller.purge.grace_days,
            reseller.purge.limit,
            reseller.updated_at
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The terms of these resellers. `lock` is for batches that insert or purge accounts: it locks
    /// the resellers, so that two replicas cannot both use the last place, and so that the number
    /// of accounts that is kept with the reseller stays right.
    pub async fn fetch_reseller_terms(
        &mut self,
        resellers: &[i64],
        lock: bool,
    ) -> Result<Vec<ResellerTerms>, Error> {
        if lock {
            sqlx::query!(
                "select id from reseller where id = any($1) order by id for no key update",
                resellers
            )
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        }
        let rows = sqlx::query!(
            "select id, suspended_at, suspension_lifted_at, account_limit, purges, purge_grace_days
             from reseller where id = any($1)",
            resellers
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| ResellerTerms {
                id: ResellerId(row.id),
                suspended_at: row.suspended_at,
                account_limit: row.account_limit,
                purge: PurgePolicy {
                    is_on: row.purges,
                    grace: TimeDelta::days(i64::from(row.purge_grace_days)),
                    reseller_released_at: row.suspension_lifted_at,
                },
            })
            .collect())
    }
}

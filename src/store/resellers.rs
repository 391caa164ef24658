//! Resellers.

use chrono::TimeDelta;

use super::errors::OrDomain as _;
use super::transaction::Tx;
use crate::domain::{Error, PurgePolicy, ResellerId, Resource, Time};

/// A reseller, which is the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseller {
    /// Its identity.
    pub id: ResellerId,
    /// Its name, unique ignoring case.
    pub name: String,
    /// The name of its time zone: dates without one are read in it.
    pub timezone: String,
    /// Whether the `soap` dialect answers with numbers instead of words.
    pub soap_numbers: bool,
    /// The most accounts it may have; none: no limit.
    pub account_limit: Option<i32>,
    /// Since when it is suspended as a whole, if it is.
    pub suspended_at: Option<Time>,
    /// When a suspension was last lifted, if ever.
    pub suspension_lifted_at: Option<Time>,
    /// What it says of the purge.
    pub purge: PurgeSettings,
    /// When it was made.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

struct Row {
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

impl From<Row> for Reseller {
    fn from(row: Row) -> Self {
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

/// What a reseller says of the purge of its accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeSettings {
    /// Whether any are purged.
    pub is_on: bool,
    /// How long an expired account is left alone, in days: 1 ..= 3,650.
    pub grace_days: i32,
    /// How many may be purged in one run, from 1 on; more wait until an operator approves.
    pub limit: i32,
    /// Since when a run is held back because so many accounts are due, if one is.
    pub held: Option<(Time, i32)>,
}

/// How a reseller wants to be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The name of its time zone: dates without one are read in it.
    pub timezone: String,
    /// Whether the `soap` dialect answers with numbers instead of words.
    pub soap_numbers: bool,
}

/// What a batch of commands needs to know of a reseller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResellerTerms {
    /// Which.
    pub id: ResellerId,
    /// Since when it is suspended, if it is.
    pub suspended_at: Option<Time>,
    /// The most accounts it may have; none: no limit.
    pub account_limit: Option<i32>,
    /// When its accounts may be purged.
    pub purge: PurgePolicy,
}

impl Tx {
    /// Makes a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name` if another has it.
    pub async fn insert_reseller(&mut self, name: &str, now: Time) -> Result<ResellerId, Error> {
        sqlx::query_scalar!(
            "insert into reseller (name, name_key, created_at, updated_at) values ($1, $2, $3, $3) returning id",
            name,
            name.to_lowercase(),
            now
        )
        .fetch_one(self.connection())
        .await
        .map(ResellerId)
        .or_domain()
    }

    /// Resellers of this transaction's tenancy by identity, behind `after`; those in `only` if it is not none.
    pub async fn list_resellers(
        &mut self,
        only: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Reseller>, Error> {
        let rows = sqlx::query_as!(
            Row,
            "select id, name, timezone, soap_numbers, account_limit, suspended_at, suspension_lifted_at, purges, purge_grace_days, purge_limit,
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

    /// Suspends a reseller as a whole, or lifts that; nothing where it is so already.
    pub async fn suspend_reseller(
        &mut self,
        reseller: ResellerId,
        suspend: bool,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set suspended_at = case when $2 then $3::timestamptz end,
               suspension_lifted_at = case when $2 then suspension_lifted_at else $3 end, updated_at = $3
             where id = $1 and (suspended_at is not null) <> $2",
            reseller.0,
            suspend,
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the name, the preferences and the limit of a reseller that exists.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name` if another has it.
    pub async fn update_reseller(&mut self, reseller: &Reseller) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set name = $2, name_key = $3, timezone = $4, soap_numbers = $5, account_limit = $6, purges = $7, purge_grace_days = $8,
               purge_limit = $9, purge_held_at = case when $7 then purge_held_at end, purge_held_count = case when $7 then purge_held_count end,
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

    /// What a batch needs to know of these resellers. Those with a limit are locked where accounts will be made,
    /// so that two replicas cannot both take the last place.
    pub async fn fetch_reseller_terms(
        &mut self,
        resellers: &[i64],
        lock: bool,
    ) -> Result<Vec<ResellerTerms>, Error> {
        if lock {
            sqlx::query!("select id from reseller where id = any($1) and account_limit is not null order by id for no key update", resellers)
                .fetch_all(self.connection())
                .await
                .or_domain()?;
        }
        let rows = sqlx::query!(
            "select id, suspended_at, suspension_lifted_at, account_limit, purges, purge_grace_days from reseller where id = any($1)",
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

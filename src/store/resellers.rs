//! Resellers.

use super::errors::domain_error;
use super::tx::Tx;
use crate::domain::{Error, ResellerId, Time};

/// A reseller, which is the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseller {
    /// Its identity.
    pub id: ResellerId,
    /// Its name, unique ignoring case.
    pub name: String,
    /// Since when it is suspended as a whole, if it is.
    pub suspended_at: Option<Time>,
    /// When a suspension was last lifted, if ever.
    pub suspension_lifted_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
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
}

impl Tx {
    /// Makes a reseller.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `name` if another has it.
    pub async fn insert_reseller(&mut self, name: &str, account_limit: Option<i32>, now: Time) -> Result<Reseller, Error> {
        let row = sqlx::query!(
            "insert into reseller (name, name_key, account_limit, created_at, updated_at) values ($1, $2, $3, $4, $4) returning id",
            name,
            name.to_lowercase(),
            account_limit,
            now
        )
        .fetch_one(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        Ok(Reseller { id: ResellerId(row.id), name: name.to_owned(), suspended_at: None, suspension_lifted_at: None, created_at: now })
    }

    /// Every reseller of this transaction's tenancy, by identity.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list_resellers(&mut self) -> Result<Vec<Reseller>, Error> {
        let rows = sqlx::query!("select id, name, suspended_at, suspension_lifted_at, created_at from reseller where id > 0 order by id")
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(rows
            .into_iter()
            .map(|row| Reseller {
                id: ResellerId(row.id),
                name: row.name,
                suspended_at: row.suspended_at,
                suspension_lifted_at: row.suspension_lifted_at,
                created_at: row.created_at,
            })
            .collect())
    }

    /// The reseller with this name, ignoring case.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_reseller_named(&mut self, name: &str) -> Result<Option<ResellerId>, Error> {
        let id = sqlx::query_scalar!("select id from reseller where name_key = $1 and id > 0", name.to_lowercase())
            .fetch_optional(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(id.map(ResellerId))
    }

    /// Suspends a reseller as a whole, or lifts that; says whether anything changed.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn suspend_reseller(&mut self, reseller: ResellerId, suspend: bool, now: Time) -> Result<bool, Error> {
        let row = sqlx::query!("select suspended_at from reseller where id = $1 and id > 0 for no key update", reseller.0)
            .fetch_optional(self.connection())
            .await
            .map_err(|error| domain_error(&error))?
            .ok_or(Error::ResellerNotFound)?;
        if row.suspended_at.is_some() == suspend {
            return Ok(false);
        }
        sqlx::query!(
            "update reseller set suspended_at = case when $2 then $3::timestamptz end,
               suspension_lifted_at = case when $2 then suspension_lifted_at else $3 end, updated_at = $3
             where id = $1",
            reseller.0,
            suspend,
            now
        )
        .execute(self.connection())
        .await
        .map(|_| true)
        .map_err(|error| domain_error(&error))
    }

    /// Changes what a reseller prefers; what is none stays.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn update_preferences(
        &mut self,
        reseller: ResellerId,
        timezone: Option<&str>,
        soap_numbers: Option<bool>,
        now: Time,
    ) -> Result<Preferences, Error> {
        sqlx::query_as!(
            Preferences,
            "update reseller set timezone = coalesce($2, timezone), soap_numbers = coalesce($3, soap_numbers), updated_at = $4
             where id = $1 and id > 0 returning timezone, soap_numbers",
            reseller.0,
            timezone,
            soap_numbers,
            now
        )
        .fetch_optional(self.connection())
        .await
        .map_err(|error| domain_error(&error))?
        .ok_or(Error::ResellerNotFound)
    }

    /// What a batch needs to know of these resellers. Those with a limit are locked where accounts will be made,
    /// so that two replicas cannot both take the last place.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_reseller_terms(&mut self, resellers: &[i64], lock: bool) -> Result<Vec<ResellerTerms>, Error> {
        if lock {
            sqlx::query!("select id from reseller where id = any($1) and account_limit is not null order by id for no key update", resellers)
                .fetch_all(self.connection())
                .await
                .map_err(|error| domain_error(&error))?;
        }
        let rows = sqlx::query!("select id, suspended_at, account_limit from reseller where id = any($1)", resellers)
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(rows
            .into_iter()
            .map(|row| ResellerTerms { id: ResellerId(row.id), suspended_at: row.suspended_at, account_limit: row.account_limit })
            .collect())
    }
}

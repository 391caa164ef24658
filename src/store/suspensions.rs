//! Suspensions of resellers: begun, lifted, and remembered.
//!
//! `reseller.suspended_at` says whether a reseller is suspended now. The table
//! `reseller_suspension` has every suspension, also the present one.

use std::collections::HashMap;

use super::errors::OrDomain as _;
use super::transaction::Tx;
use crate::domain::{Error, ResellerId, Time};

/// A suspension of a reseller, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Its number. Later suspensions of a reseller have greater ones.
    pub id: i64,
    /// When the reseller was suspended.
    pub suspended_at: Time,
    /// The name of the actor that suspended it; `None` if an earlier version did, which did not
    /// record it.
    pub suspended_by: Option<String>,
    /// When the suspension was lifted; `None` if it stands.
    pub lifted_at: Option<Time>,
    /// The name of the actor that lifted it; `None` if it stands, or an earlier version lifted it.
    pub lifted_by: Option<String>,
}

impl Tx {
    /// Suspends a reseller that [`Tx::lock_reseller`] has locked, or lifts its suspension, and
    /// records it in the history of its suspensions. Returns whether that changed anything.
    ///
    /// It waits for the batches that have the reseller's lock on the journal. A batch that takes the
    /// lock later sees the suspension.
    pub async fn suspend_reseller(
        &mut self,
        reseller: ResellerId,
        suspend: bool,
        by: &str,
        now: Time,
    ) -> Result<bool, Error> {
        sqlx::query!(
            "select count(pg_advisory_xact_lock(id)) from reseller where id = $1",
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()?;
        let before = sqlx::query!(
            "select suspended_at, suspension_lifted_at from reseller where id = $1",
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()?;
        if before.suspended_at.is_some() == suspend {
            return Ok(false);
        }
        if suspend {
            // An earlier version may have lifted the last one, and has not closed its row.
            self.close_suspension(reseller, before.suspension_lifted_at, None, now)
                .await?;
            self.open_suspension(reseller, now, Some(by)).await?;
        } else {
            // An earlier version may have suspended it, and has made no row.
            let since = before.suspended_at.unwrap_or(now);
            self.open_suspension(reseller, since, None).await?;
            self.close_suspension(reseller, Some(now), Some(by), now)
                .await?;
        }
        sqlx::query!(
            "update reseller set suspended_at = case when $2 then $3::timestamptz end,
               suspension_lifted_at = case when $2 then suspension_lifted_at else $3 end,
                 updated_at = $3
             where id = $1",
            reseller.0,
            suspend,
            now
        )
        .execute(self.connection())
        .await
        .map(|_| true)
        .or_domain()
    }

    /// Locks a reseller, and checks that it is not suspended. Waits for a suspension under way, and
    /// keeps any from beginning until the transaction ends.
    ///
    /// The lock is that of [`Tx::lock_reseller`], so that work which takes it too need not wait for
    /// another transaction in the same place.
    ///
    /// # Errors
    /// [`Error::ResellerSuspended`].
    pub async fn require_unsuspended(&mut self, reseller: ResellerId) -> Result<(), Error> {
        let is_suspended = sqlx::query_scalar!(
            r#"select suspended_at is not null as "is_suspended!" from reseller where id = $1
               for no key update"#,
            reseller.0
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        if is_suspended == Some(true) {
            Err(Error::ResellerSuspended)
        } else {
            Ok(())
        }
    }

    /// Opens a suspension in the history, unless one is open.
    async fn open_suspension(
        &mut self,
        reseller: ResellerId,
        since: Time,
        by: Option<&str>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into reseller_suspension (reseller_id, suspended_at, suspended_by)
             values ($1, $2, $3)
             on conflict (reseller_id) where lifted_at is null do nothing",
            reseller.0,
            since,
            by
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Closes the open suspension in the history, if there is one.
    async fn close_suspension(
        &mut self,
        reseller: ResellerId,
        lifted_at: Option<Time>,
        by: Option<&str>,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update reseller_suspension
             set lifted_at = greatest(suspended_at, coalesce($2::timestamptz, $4)), lifted_by = $3
             where reseller_id = $1 and lifted_at is null",
            reseller.0,
            lifted_at,
            by,
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The suspensions of a reseller, newest first: those with an id below `before` that stood at
    /// `since` or later, at most `limit`.
    pub async fn list_suspensions(
        &mut self,
        reseller: ResellerId,
        since: Option<Time>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Suspension>, Error> {
        sqlx::query_file_as!(
            Suspension,
            "src/store/sql/list_suspensions.sql",
            reseller.0,
            since,
            before,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// Since when these resellers were suspended at an instant. Those that were not are missing.
    pub(super) async fn suspensions_at(
        &mut self,
        resellers: &[i64],
        at: Time,
    ) -> Result<HashMap<ResellerId, Time>, Error> {
        let rows = sqlx::query!(
            r#"select s.reseller_id, max(s.suspended_at) as "suspended_at!"
               from reseller_suspension s join reseller r on r.id = s.reseller_id
               where s.reseller_id = any($1) and s.suspended_at <= $2
                 and (s.lifted_at > $2 or s.lifted_at is null
                   and (r.suspended_at is not null or r.suspension_lifted_at > $2))
               group by s.reseller_id"#,
            resellers,
            at
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.suspended_at))
            .collect())
    }
}

//! Scheduled work on accounts: announcements that are due, the plan of the purge, and the purge.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use crate::domain::{
    Account, AccountId, AccountKey, Error, PURGE_NOTICE, PurgedAccount, ResellerId, Time,
};
use crate::store::columns::{Columns, account_id, account_key};
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::transaction::Tx;

/// A reseller that has the purge switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgingReseller {
    /// The reseller.
    pub id: ResellerId,
    /// How many days after its expiry an account is due.
    pub grace_days: i32,
    /// The most accounts that one run purges; if more are due, the run waits for an approval.
    pub limit: i64,
    /// When an operator approved a run of any size; it covers what was due at that instant.
    pub approved_at: Option<Time>,
}

impl Tx {
    /// Writes the scheduled instants of accounts: exemption, announcement, purge and warning.
    pub async fn update_schedules(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        sqlx::query!(
            "update account a set exempt_until = n.exempt_until, announce_at = n.announce_at,
               purge_due_at = n.purge_due_at, warn_at = n.warn_at
             from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::timestamptz[],
               $5::timestamptz[], $6::timestamptz[])
               as n(reseller_id, id, exempt_until, announce_at, purge_due_at, warn_at)
             where a.id = n.id and a.reseller_id is not distinct from n.reseller_id",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.exempt_until) as &[Option<Time>],
            &column.of(|it| it.announce_at) as &[Option<Time>],
            &column.of(|it| it.purge_due_at) as &[Option<Time>],
            &column.of(|it| it.warn_at) as &[Option<Time>],
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Accounts with an announcement that is due, of a hold, the expiry or the purge, the longest overdue first, without
    /// those of the resellers in `skipped`.
    pub async fn list_due_announcements(
        &mut self,
        now: Time,
        limit: i64,
        skipped: &[i64],
    ) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id as "reseller_id!", id as "id!" from (
                 (select reseller_id, id, announce_at as at from account
                  where announce_at is not null and deleted_at is null and announce_at <= $1
                    and reseller_id <> all($3)
                  order by announce_at limit $2)
                 union all
                 (select reseller_id, id, warn_at as at from account
                  where warn_at is not null and warn_at <= $1
                    and reseller_id <> all($3)
                  order by warn_at limit $2)
                 union all
                 (select reseller_id, account_id, starts_at as at from held
                  where not has_begun and starts_at <= $1
                    and reseller_id <> all($3)
                  order by starts_at limit $2)
                 union all
                 (select reseller_id, account_id, ends_at as at from held
                  where has_begun and ends_at <= $1
                    and reseller_id <> all($3)
                  order by ends_at limit $2)) as due
               group by reseller_id, id order by min(at), reseller_id, id limit $2"#,
            now,
            limit,
            skipped
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| account_key(row.reseller_id, row.id))
            .collect()
    }

    /// The resellers that have the purge switched on, and whose last run was at `before` or
    /// earlier.
    pub async fn list_purging_resellers(
        &mut self,
        before: Time,
    ) -> Result<Vec<PurgingReseller>, Error> {
        let rows = sqlx::query!(
            "select id, purge_grace_days, purge_limit, purge_approved_at from reseller
             where purges and suspended_at is null and (purge_ran_at is null or purge_ran_at <= $1)
             order by id",
            before
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| PurgingReseller {
                id: ResellerId(row.id),
                grace_days: row.purge_grace_days,
                limit: i64::from(row.purge_limit),
                approved_at: row.purge_approved_at,
            })
            .collect())
    }

    /// Claims the next run of the purge for a reseller. If several replicas try, one gets `true`.
    pub async fn claim_purge(
        &mut self,
        reseller: ResellerId,
        before: Time,
        now: Time,
    ) -> Result<bool, Error> {
        sqlx::query!(
            "update reseller set purge_ran_at = $3
             where id = $1 and (purge_ran_at is null or purge_ran_at <= $2)",
            reseller.0,
            before,
            now
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Records since when a run waits for an approval, and how many accounts are due; `None` clears
    /// both.
    pub async fn hold_purge(
        &mut self,
        reseller: ResellerId,
        held: Option<(Time, i32)>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set
               purge_held_at =
                 case when $2::timestamptz is null then null else coalesce(purge_held_at, $2) end,
               purge_held_count = $3, purge_approved_at = null
             where id = $1",
            reseller.0,
            held.map(|(at, _)| at),
            held.map(|(_, count)| count)
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Approves the run that waits, for everything due now. Returns `false` if none waits.
    pub async fn approve_purge(&mut self, reseller: ResellerId, now: Time) -> Result<bool, Error> {
        sqlx::query!(
            "update reseller set purge_approved_at = $2, purge_ran_at = null
             where id = $1 and purge_held_at is not null",
            reseller.0,
            now
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Accounts that may have to join the plan, by id after `after`. The domain decides about each.
    pub async fn list_purge_candidates(
        &mut self,
        reseller: &PurgingReseller,
        after: i32,
        limit: i64,
        now: Time,
    ) -> Result<Vec<AccountId>, Error> {
        let soon = now + PURGE_NOTICE;
        let ids = sqlx::query_file_scalar!(
            "src/store/accounts/sql/list_purge_candidates.sql",
            reseller.id.0,
            now,
            soon,
            reseller.grace_days,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        ids.into_iter().map(account_id).collect()
    }

    /// Planned accounts whose plan no longer applies: the reseller has switched the purge off, is
    /// suspended, or has a grace period that ends after the planned instant. Leaves out those of the
    /// resellers in `skipped`.
    pub async fn list_outdated_purge_plans(
        &mut self,
        limit: i64,
        skipped: &[i64],
    ) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            "select a.reseller_id, a.id from reseller r join account a on a.reseller_id = r.id
             where a.purge_due_at is not null and a.reseller_id <> all($2) and (not r.purges or r.suspended_at is not null
               or a.deleted_at is null
                 and r.suspension_lifted_at + make_interval(days => r.purge_grace_days)
                   > a.purge_due_at
               or a.deleted_at is null
                 and a.expires_at + make_interval(days => r.purge_grace_days) > a.purge_due_at)
             order by a.reseller_id, a.id limit $1",
            limit,
            skipped
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| account_key(row.reseller_id, row.id))
            .collect()
    }

    /// How many accounts of a reseller are due to be purged at an instant.
    pub async fn count_due_purges(&mut self, reseller: ResellerId, by: Time) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from account
               where reseller_id = $1 and purge_due_at <= $2"#,
            reseller.0,
            by
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The accounts of a reseller that are due to be purged at an instant, the longest overdue
    /// first.
    pub async fn list_due_purges(
        &mut self,
        reseller: ResellerId,
        by: Time,
        limit: i64,
    ) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(
            "select id from account where reseller_id = $1 and purge_due_at <= $2
             order by purge_due_at, id limit $3",
            reseller.0,
            by,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        ids.into_iter().map(account_id).collect()
    }

    /// What is left of those of these accounts that were purged.
    pub async fn fetch_purged(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
    ) -> Result<Vec<PurgedAccount>, Error> {
        let rows = sqlx::query!(
            "select account_id, uid, created_at, deleted_at, purged_at from tombstone
             where reseller_id = $1 and account_id = any($2)",
            reseller.0,
            accounts
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let purged = rows.into_iter().map(|row| {
            Ok(PurgedAccount {
                id: account_id(row.account_id)?,
                uid: row.uid,
                reseller_id: reseller,
                created_at: row.created_at,
                deleted_at: row.deleted_at,
                purged_at: row.purged_at,
            })
        });
        purged.collect()
    }

    /// Deletes accounts and their holds for good, and writes a tombstone for each. Returns `false`
    /// if an account has another version, is not due, or must be kept: then the transaction must be
    /// rolled back.
    pub async fn purge_accounts(
        &mut self,
        accounts: &[&Account],
        now: Time,
    ) -> Result<bool, Error> {
        let column = Columns(accounts);
        let purged = sqlx::query_file_scalar!(
            "src/store/accounts/sql/purge_accounts.sql",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.version),
            now,
            i64::try_from(accounts.len()).unwrap_or(i64::MAX),
        )
        .fetch_one(self.connection())
        .await;
        match purged {
            Ok(_) => Ok(true),
            Err(error) if is_stale(&error) => Ok(false),
            Err(error) => Err(error).or_domain(),
        }
    }
}

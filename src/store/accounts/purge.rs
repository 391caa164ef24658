//! What time does to accounts: announcements that are due, the plan of the purge, and the purge itself.

use super::row::{AccountRow, select_accounts};
use crate::domain::AccountKey;
use crate::domain::{Account, AccountId, Error, PURGE_NOTICE, ResellerId, Time};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::transaction::Tx;

/// A reseller whose accounts are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgingReseller {
    /// Which.
    pub id: ResellerId,
    /// How long an expired account is left alone, in days.
    pub grace_days: i32,
    /// How many accounts may be purged in one run.
    pub limit: i64,
    /// What was due then may be purged, however many there are.
    pub approved_at: Option<Time>,
}

impl Tx {
    /// Writes what is planned for accounts.
    pub async fn update_schedules(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        sqlx::query!(
            "update account a set exempt_until = n.exempt_until, announce_at = n.announce_at, purge_due_at = n.purge_due_at, warn_at = n.warn_at
             from unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
               as n(reseller_id, id, exempt_until, announce_at, purge_due_at, warn_at)
             where a.reseller_id = n.reseller_id and a.id = n.id",
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

    /// Accounts of which something is to be announced by now, the most overdue first.
    pub async fn list_due_announcements(
        &mut self,
        now: Time,
        limit: i64,
    ) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id as "reseller_id!", id as "id!" from (
                 (select reseller_id, id, announce_at as at from account
                  where announce_at is not null and deleted_at is null and announce_at <= $1 order by announce_at limit $2)
                 union all
                 (select reseller_id, id, warn_at as at from account where warn_at is not null and warn_at <= $1 order by warn_at limit $2)) as due
               group by reseller_id, id order by min(at), reseller_id, id limit $2"#,
            now,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// The resellers whose accounts are purged, and whose last run was before `before`.
    pub async fn list_purging_resellers(
        &mut self,
        before: Time,
    ) -> Result<Vec<PurgingReseller>, Error> {
        let rows = sqlx::query!(
            "select id, purge_grace_days, purge_limit, purge_approved_at from reseller
             where purges and suspended_at is null and (purge_ran_at is null or purge_ran_at <= $1) order by id",
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

    /// Takes a run of the purge for a reseller: of several replicas that ask, one gets it.
    pub async fn claim_purge(
        &mut self,
        reseller: ResellerId,
        before: Time,
        now: Time,
    ) -> Result<bool, Error> {
        sqlx::query!("update reseller set purge_ran_at = $3 where id = $1 and (purge_ran_at is null or purge_ran_at <= $2)", reseller.0, before, now)
            .execute(self.connection())
            .await
            .map(|done| done.rows_affected() > 0)
            .or_domain()
    }

    /// Notes that more accounts are due than may be purged at once, or that this is settled.
    pub async fn hold_purge(
        &mut self,
        reseller: ResellerId,
        held: Option<(Time, i32)>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set purge_held_at = case when $2::timestamptz is null then null else coalesce(purge_held_at, $2) end, purge_held_count = $3,
               purge_approved_at = null
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

    /// Lets the next run purge what is due by now, however many there are; says whether one was held back.
    pub async fn approve_purge(&mut self, reseller: ResellerId, now: Time) -> Result<bool, Error> {
        sqlx::query!("update reseller set purge_approved_at = $2, purge_ran_at = null where id = $1 and purge_held_at is not null", reseller.0, now)
            .execute(self.connection())
            .await
            .map(|done| done.rows_affected() > 0)
            .or_domain()
    }

    /// Accounts that may have to be taken into the plan, by identity behind `after`. The domain decides.
    pub async fn list_purge_candidates(
        &mut self,
        reseller: &PurgingReseller,
        after: i32,
        limit: i64,
        now: Time,
    ) -> Result<Vec<AccountId>, Error> {
        let soon = now + PURGE_NOTICE;
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from (
                 select a.id, a.reseller_id from account a
                 where a.reseller_id = $1 and a.deleted_at is null and a.expires_at <= $2 and a.expires_at <= $3::timestamptz - make_interval(days => $4)
                   and (a.exempt_until is null or a.exempt_until <= $2)
                   and greatest(a.exempt_until, a.expiry_set_at, a.operator_released_at) <= $3::timestamptz - make_interval(days => $4)
                   and a.purge_due_at is null
                 union all
                 select a.id, a.reseller_id from account a
                 where a.reseller_id = $1 and a.deleted_at is not null and a.purge_at <= $3 and (a.exempt_until is null or a.exempt_until <= $2)
                   and a.purge_due_at is null) as a
               where a.id > $5 and not exists (
                 select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                   and (h.kind = 'retention' or h.authority = 'operator') and (h.ends_at is null or h.ends_at > $2))
               order by a.id limit $6"#,
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
        ids.into_iter()
            .map(|id| AccountId::new(i64::from(id)))
            .collect()
    }

    /// Planned accounts whose reseller has changed its mind, or cannot have them purged now.
    pub async fn list_overtaken_plans(&mut self, limit: i64) -> Result<Vec<AccountKey>, Error> {
        let rows = sqlx::query!(
            "select a.reseller_id, a.id from reseller r join account a on a.reseller_id = r.id
             where a.purge_due_at is not null and (not r.purges or r.suspended_at is not null
               or a.deleted_at is null and r.suspension_lifted_at + make_interval(days => r.purge_grace_days) > a.purge_due_at
               or a.deleted_at is null and a.expires_at + make_interval(days => r.purge_grace_days) > a.purge_due_at)
             order by a.reseller_id, a.id limit $1",
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// How many accounts of a reseller are to be purged by an instant.
    pub async fn count_due_purges(&mut self, reseller: ResellerId, by: Time) -> Result<i64, Error> {
        sqlx::query_scalar!(r#"select count(*) as "count!" from account where reseller_id = $1 and purge_due_at <= $2"#, reseller.0, by)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }

    /// Accounts of a reseller that are to be purged by an instant, the most overdue first.
    pub async fn list_due_purges(
        &mut self,
        reseller: ResellerId,
        by: Time,
        limit: i64,
    ) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(
            "select id from account where reseller_id = $1 and purge_due_at <= $2 order by purge_due_at, id limit $3",
            reseller.0,
            by,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        ids.into_iter()
            .map(|id| AccountId::new(i64::from(id)))
            .collect()
    }

    /// The plan: the accounts that are going to be purged, by identity behind `after`, of one reseller or of all within the
    /// transaction's tenancy.
    pub async fn list_purge_plan(
        &mut self,
        reseller: Option<ResellerId>,
        after: i32,
        limit: i64,
    ) -> Result<Vec<Account>, Error> {
        let rows = select_accounts!(
            "null::text",
            ["account a where a.purge_due_at is not null and ($1::bigint is null or a.reseller_id = $1) and a.id > $2 order by a.id limit $3"];
            reseller.map(|it| it.0),
            after,
            limit
        );
        let rows = rows.fetch_all(self.connection()).await.or_domain()?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// Removes accounts for good, each at the version given and as its plan says, with their holds; a tombstone stays. Says
    /// whether all of them could be: if not, the transaction must be rolled back.
    pub async fn purge_accounts(
        &mut self,
        accounts: &[&Account],
        now: Time,
    ) -> Result<bool, Error> {
        let column = Columns(accounts);
        let purged = sqlx::query_scalar!(
            r#"with gone as (
                 delete from account a using unnest($1::bigint[], $2::integer[], $3::bigint[]) as n(reseller_id, id, version), reseller r
                 where a.reseller_id = n.reseller_id and a.id = n.id and a.version = n.version and a.purge_due_at <= $4
                   and r.id = a.reseller_id and r.purges and r.suspended_at is null
                   and (a.deleted_at is not null or greatest(a.expires_at, a.exempt_until) + make_interval(days => r.purge_grace_days) <= $4)
                   and not exists (
                     select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null and h.kind = 'retention'
                       and (h.ends_at is null or h.ends_at > $4))
                 returning a.reseller_id, a.id, a.uid, a.created_at, a.expires_at, a.deleted_at, a.purge_due_at
               ), without_holds as (
                 delete from hold h using gone g where h.reseller_id = g.reseller_id and h.account_id = g.id
               ), without_revisions as (
                 delete from hold_revision h using gone g where h.reseller_id = g.reseller_id and h.account_id = g.id
               ), buried as (
                 insert into tombstone (reseller_id, account_id, uid, created_at, expired_at, deleted_at, purge_due_at, purged_at)
                 select g.reseller_id, g.id, g.uid, g.created_at, g.expires_at, g.deleted_at, g.purge_due_at, $4 from gone g
               )
               select require_rows((select count(*) from gone), $5) as "done!""#,
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

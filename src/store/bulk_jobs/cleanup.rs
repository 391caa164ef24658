//! What is kept of bulk jobs: a limit on open jobs, and the deletion of planned jobs and of items.

use uuid::Uuid;

use super::{JobState, stored_words};
use crate::domain::{Authority, Error, ResellerId, Time};
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

impl Tx {
    /// How many jobs of a reseller are planned or under way, of those with this authority.
    pub async fn count_open_bulk_jobs(
        &mut self,
        reseller: ResellerId,
        authority: Authority,
    ) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from bulk_job
               where reseller_id = $1 and authority = $2
                 and state not in ('applied', 'reverted')"#,
            reseller.0,
            authority.as_str()
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Locks the planning of jobs of a reseller until the transaction ends, so that two plans
    /// cannot exceed the limit together.
    pub async fn lock_bulk_planning(&mut self, reseller: ResellerId) -> Result<(), Error> {
        sqlx::query!(
            "select pg_advisory_xact_lock(hashtextextended('bulk jobs of reseller ' || $1, 0))",
            reseller.0.to_string()
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Deletes a job that is planned or finished, and its items. Returns `false` if it is in no
    /// such state.
    pub async fn delete_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        states: &[JobState],
    ) -> Result<bool, Error> {
        let deleted = sqlx::query!(
            "delete from bulk_job where reseller_id = $1 and id = $2 and state = any($3)",
            reseller.0,
            id,
            &stored_words(states)
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        let is_deleted = deleted.rows_affected() > 0;
        if is_deleted {
            self.delete_items(reseller, id).await?;
        }
        Ok(is_deleted)
    }

    /// Planned jobs from before an instant, oldest first.
    pub async fn list_stale_bulk_jobs(
        &mut self,
        before: Time,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from bulk_job
             where state in ('planned', 'listed') and created_at <= $1
             order by created_at limit $2",
            before,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id))
            .collect())
    }

    /// Finished jobs of which the reseller has `keep` newer ones of the same authority, oldest
    /// first.
    pub async fn list_surplus_bulk_jobs(
        &mut self,
        keep: i64,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from (
               select reseller_id, id, row_number() over (
                 partition by reseller_id, authority order by id desc) as place
               from bulk_job where state in ('applied', 'reverted')) as ranked
             where place > $1 order by id limit $2",
            keep,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id))
            .collect())
    }

    /// Finished jobs that have items and have not changed since an instant, oldest first.
    pub async fn list_untrimmed_bulk_jobs(
        &mut self,
        before: Time,
        limit: i64,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from bulk_job
             where state in ('applied', 'reverted') and trimmed_at is null and updated_at <= $1
             order by updated_at limit $2",
            before,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id))
            .collect())
    }

    /// Deletes the items of a finished job that has not changed since `before`, and keeps their
    /// counts.
    pub async fn trim_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        before: Time,
        now: Time,
    ) -> Result<bool, Error> {
        // A job that an earlier version finished has no counts yet.
        let trimmed = sqlx::query!(
            "update bulk_job j set trimmed_at = $4, accounts = null,
               counts = json_build_object('state', j.state, 'items', coalesce((
                 select json_object_agg(c.state, c.count) from (
                   select i.state, count(*) as count from bulk_item i
                   where i.reseller_id = $1 and i.job_id = $2 group by i.state) as c), '{}'))
             where j.reseller_id = $1 and j.id = $2 and j.state in ('applied', 'reverted')
               and j.trimmed_at is null and j.updated_at <= $3",
            reseller.0,
            id,
            before,
            now
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        let is_trimmed = trimmed.rows_affected() > 0;
        if is_trimmed {
            self.delete_items(reseller, id).await?;
        }
        Ok(is_trimmed)
    }

    async fn delete_items(&mut self, reseller: ResellerId, job: Uuid) -> Result<(), Error> {
        sqlx::query!(
            "delete from bulk_item where reseller_id = $1 and job_id = $2",
            reseller.0,
            job
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

//! The items of bulk jobs: one account of a job, and the outcome at it.

use uuid::Uuid;

use super::{BulkJob, JobState};
use crate::domain::{AccountId, Error, HoldId};
use crate::store::columns::account_id;
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// One account of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem {
    /// The account.
    pub account: AccountId,
    /// The id that a hold gets if the command opens one.
    pub hold: HoldId,
    /// `pending`, `changed`, `unchanged`, `failed`, `skipped`, `reverted` or `kept`.
    pub state: String,
    /// Why the command failed or was not given, or why the revert left the account alone.
    pub problem: Option<String>,
}

/// The new state of an item.
#[derive(Debug, Clone)]
pub struct ItemOutcome {
    /// The account.
    pub account: AccountId,
    /// The id for a hold.
    pub hold: HoldId,
    /// The state, as in [`BulkItem::state`].
    pub state: &'static str,
    /// The problem, as in [`BulkItem::problem`].
    pub problem: Option<String>,
}

impl Tx {
    /// The accounts of a job by id after `after`; in one state, or in any. Accounts that are still
    /// in the job's array are pending.
    pub async fn list_bulk_items(
        &mut self,
        job: &BulkJob,
        state: Option<&str>,
        after: i32,
        limit: i64,
    ) -> Result<Vec<BulkItem>, Error> {
        let rows = sqlx::query!(
            "select account_id, hold_id, state, problem from bulk_item
             where reseller_id = $1 and job_id = $2 and ($3::text is null or state = $3)
               and account_id > $4 order by account_id limit $5",
            job.reseller.0,
            job.id,
            state,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let mut items = rows
            .into_iter()
            .map(|row| {
                Ok(BulkItem {
                    account: account_id(row.account_id)?,
                    hold: HoldId(row.hold_id),
                    state: row.state,
                    problem: row.problem,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let missing = limit - i64::try_from(items.len()).unwrap_or(i64::MAX);
        let has_waiting = matches!(job.state, JobState::Planned | JobState::Applying)
            && state.is_none_or(|state| state == "pending");
        if let Some(filled) = job.filled.filter(|_| has_waiting && missing > 0) {
            items.extend(self.list_waiting(job, filled, after, missing).await?);
        }
        Ok(items)
    }

    /// The accounts of the job's array that are no items yet, by id after `after`. All of them come
    /// after the accounts that are items.
    async fn list_waiting(
        &mut self,
        job: &BulkJob,
        filled: i32,
        after: i32,
        limit: i64,
    ) -> Result<Vec<BulkItem>, Error> {
        let accounts = sqlx::query_scalar!(
            r#"select n.id as "id!" from bulk_job j,
                 unnest(j.accounts[$3::integer + 1 : j.total]) as n(id)
               where j.reseller_id = $1 and j.id = $2 and n.id > $4 order by n.id limit $5"#,
            job.reseller.0,
            job.id,
            filled,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        accounts.into_iter().map(pending).collect()
    }

    /// The next accounts of the job's array, at most `limit`.
    pub async fn next_bulk_accounts(
        &mut self,
        job: &BulkJob,
        filled: i32,
        limit: i32,
    ) -> Result<Vec<BulkItem>, Error> {
        let accounts = sqlx::query_scalar!(
            r#"select accounts[$3::integer + 1 : $3::integer + $4::integer] as "accounts!"
               from bulk_job where reseller_id = $1 and id = $2"#,
            job.reseller.0,
            job.id,
            filled,
            limit
        )
        .fetch_one(self.connection())
        .await
        .or_domain()?;
        accounts.into_iter().map(pending).collect()
    }

    /// Writes the outcomes at some accounts of a job. With `filled`, they are the next accounts of
    /// its array and become items now.
    pub async fn record_bulk_items(
        &mut self,
        job: &BulkJob,
        filled: Option<i32>,
        outcomes: &[ItemOutcome],
    ) -> Result<(), Error> {
        let accounts: Vec<i32> = outcomes.iter().map(|it| it.account.as_i32()).collect();
        let states: Vec<String> = outcomes.iter().map(|it| it.state.to_owned()).collect();
        let problems: Vec<Option<String>> = outcomes.iter().map(|it| it.problem.clone()).collect();
        let Some(filled) = filled else {
            return sqlx::query!(
                "update bulk_item i set state = n.state, problem = n.problem
                 from unnest($3::integer[], $4::text[], $5::text[])
                   as n(account_id, state, problem)
                 where i.reseller_id = $1 and i.job_id = $2 and i.account_id = n.account_id",
                job.reseller.0,
                job.id,
                &accounts,
                &states,
                &problems as &[Option<String>]
            )
            .execute(self.connection())
            .await
            .map(drop)
            .or_domain();
        };
        let holds: Vec<Uuid> = outcomes.iter().map(|it| it.hold.0).collect();
        let then = filled.saturating_add(i32::try_from(outcomes.len()).unwrap_or(i32::MAX));
        sqlx::query_file!(
            "src/store/bulk_jobs/sql/record_bulk_items.sql",
            job.reseller.0,
            job.id,
            filled,
            then,
            &accounts,
            &holds,
            &states,
            &problems as &[Option<String>]
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

/// An account that has not been processed.
fn pending(account: i32) -> Result<BulkItem, Error> {
    Ok(BulkItem {
        account: account_id(account)?,
        hold: HoldId(Uuid::now_v7()),
        state: "pending".to_owned(),
        problem: None,
    })
}

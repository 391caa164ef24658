//! Bulk jobs: one command for many accounts, and the outcome at each.
//!
//! `command.rs` has the stored form of the command. `revertible.rs` reads from the journal what a
//! job did to an account, and so what a revert has to undo.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

mod command;
mod revertible;

use chrono::TimeDelta;
use uuid::Uuid;

use super::columns::account_id;
use super::errors::{OrDomain as _, internal};
use super::transaction::Tx;
use crate::domain::{AccountId, Authority, Command, Error, HoldId, ResellerId, Resource, Time};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JobState {
    Planned,
    Applying,
    Applied,
    Reverting,
    Reverted,
}

impl JobState {
    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [
            Self::Planned,
            Self::Applying,
            Self::Applied,
            Self::Reverting,
            Self::Reverted,
        ]
        .into_iter()
        .find(|it| it.as_str() == word)
    }
}

/// A job and the number of its accounts in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkJob {
    /// The reseller of the accounts.
    pub reseller: ResellerId,
    /// Its id, a UUID that grows with time.
    pub id: Uuid,
    /// The command for each account.
    pub command: Command,
    /// How the accounts were chosen, as a text for people.
    pub selector: String,
    /// The state of the job.
    pub state: JobState,
    /// When it was planned.
    pub created_at: Time,
    /// The name of the actor who planned it.
    pub created_by: String,
    /// The authority that the command is given with.
    pub authority: Authority,
    /// When its state or its claim last changed.
    pub updated_at: Time,
    /// The number of accounts in each state, by state.
    pub counts: Vec<(String, i64)>,
}

/// One account of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem {
    /// The account.
    pub account: AccountId,
    /// The id that a hold gets if the command opens one.
    pub hold: HoldId,
    /// `pending`, `changed`, `unchanged`, `failed`, `reverted` or `kept`.
    pub state: String,
    /// Why the command failed, or why the revert left the account alone.
    pub problem: Option<String>,
}

impl Tx {
    /// Inserts a job that has no accounts yet.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a command that no bulk job carries out.
    pub async fn insert_bulk_job(&mut self, job: &BulkJob) -> Result<(), Error> {
        let command = command::to_json(&job.command)
            .ok_or_else(|| Error::invalid("operation", "cannot be done in bulk"))?;
        sqlx::query!(
            "insert into bulk_job (reseller_id, id, command, selector, state, created_at,
               created_by, authority, updated_at)
             values ($1, $2, $3::text::json, $4, $5, $6, $7, $8, $6)",
            job.reseller.0,
            job.id,
            command,
            job.selector,
            job.state.as_str(),
            job.created_at,
            job.created_by,
            job.authority.as_str()
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Adds accounts to a job, each with the id for a hold that the command may open.
    pub async fn insert_bulk_items(
        &mut self,
        reseller: ResellerId,
        job: Uuid,
        accounts: &[i32],
        holds: &[Uuid],
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into bulk_item (reseller_id, job_id, account_id, hold_id, state)
             select $1, $2, n.account_id, n.hold_id, 'pending'
             from unnest($3::integer[], $4::uuid[]) as n(account_id, hold_id)",
            reseller.0,
            job,
            accounts,
            holds
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// A job. Without a reseller it looks at all resellers of the transaction.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn fetch_bulk_job(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        let row = sqlx::query!(
            r#"select reseller_id, command::text as "command!", selector, state, created_at,
                 created_by, authority, updated_at from bulk_job
               where id = $1 and ($2::bigint is null or reseller_id = $2)"#,
            id,
            reseller.map(|it| it.0)
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?
        .ok_or(Error::NotFound(Resource::BulkJob))?;
        let counts = sqlx::query!(
            r#"select state, count(*) as "count!" from bulk_item
               where reseller_id = $1 and job_id = $2 group by state order by state"#,
            row.reseller_id,
            id
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(BulkJob {
            reseller: ResellerId(row.reseller_id),
            id,
            command: command::from_json(&row.command)?,
            selector: row.selector,
            state: JobState::parse(&row.state)
                .ok_or_else(|| internal("bulk_job has an unknown state"))?,
            created_at: row.created_at,
            created_by: row.created_by,
            authority: Authority::parse(&row.authority)
                .ok_or_else(|| internal("bulk_job has an unknown authority"))?,
            updated_at: row.updated_at,
            counts: counts
                .into_iter()
                .map(|row| (row.state, row.count))
                .collect(),
        })
    }

    /// The accounts of a job by id after `after`; in one state, or in any.
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
        rows.into_iter()
            .map(|row| {
                Ok(BulkItem {
                    account: account_id(row.account_id)?,
                    hold: HoldId(row.hold_id),
                    state: row.state,
                    problem: row.problem,
                })
            })
            .collect()
    }

    /// Moves a job from one of the states in `from` to `to`. Returns `false` if it was in none of
    /// them.
    pub async fn move_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        from: &[JobState],
        to: JobState,
        now: Time,
    ) -> Result<bool, Error> {
        let from: Vec<String> = from.iter().map(|state| state.as_str().to_owned()).collect();
        sqlx::query!(
            "update bulk_job set state = $4, updated_at = $5, claimed_until = null
             where reseller_id = $1 and id = $2 and state = any($3)",
            reseller.0,
            id,
            &from,
            to.as_str(),
            now
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Claims a job that is under way, until `now + lease`. Returns the end of the claim, or `None`
    /// if another worker has it. A worker that passes the end of its own claim as `held` extends
    /// it.
    pub async fn claim_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        held: Option<Time>,
        now: Time,
        lease: TimeDelta,
    ) -> Result<Option<Time>, Error> {
        sqlx::query_scalar!(
            r#"update bulk_job set claimed_until = $5, updated_at = $4
               where reseller_id = $1 and id = $2 and state in ('applying', 'reverting')
                 and (claimed_until is null or claimed_until <= $4 or claimed_until = $3)
               returning claimed_until as "claimed_until!""#,
            reseller.0,
            id,
            held,
            now,
            now + lease
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()
    }

    /// Jobs that are under way, and that no worker has claimed.
    pub async fn list_open_bulk_jobs(
        &mut self,
        now: Time,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from bulk_job
             where state in ('applying', 'reverting')
               and (claimed_until is null or claimed_until <= $1) order by id",
            now
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id))
            .collect())
    }

    /// Writes the outcomes at some accounts of a job.
    pub async fn record_bulk_items(
        &mut self,
        job: &BulkJob,
        outcomes: &[(AccountId, &'static str, Option<String>)],
    ) -> Result<(), Error> {
        let accounts: Vec<i32> = outcomes
            .iter()
            .map(|(account, ..)| account.as_i32())
            .collect();
        let states: Vec<String> = outcomes
            .iter()
            .map(|(_, state, _)| (*state).to_owned())
            .collect();
        let problems: Vec<Option<String>> = outcomes
            .iter()
            .map(|(.., problem)| problem.clone())
            .collect();
        sqlx::query!(
            "update bulk_item i set state = n.state, problem = n.problem
             from unnest($3::integer[], $4::text[], $5::text[]) as n(account_id, state, problem)
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
        .or_domain()
    }
}

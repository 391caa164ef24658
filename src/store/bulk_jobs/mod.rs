//! Bulk jobs: one command for many accounts, and the outcome at each.
//!
//! A planned job has its accounts in one array. The worker takes them from there page by page, and
//! inserts an item for each account with its outcome (`items.rs`). Jobs that an earlier version
//! planned have no array: their items were inserted when they were planned. `cleanup.rs` limits
//! what is kept. `command.rs` and `selector.rs` have the stored forms of the command and of the
//! selector. `revertible.rs` reads from the journal what a job did to an account, and so what a
//! revert has to undo.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

mod cleanup;
mod command;
mod items;
mod revertible;
mod selector;

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::errors::{OrDomain as _, internal};
use super::transaction::Tx;
use crate::domain::{
    AccountFilter, AccountId, Authority, Command, Error, ResellerId, Resource, Time,
};

pub use items::{BulkItem, ItemOutcome};
pub use revertible::{AppliedChange, LaterChange};

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
    /// The word on the wire.
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

    /// The words in the database. Where there are two, the second one is for a job whose accounts
    /// are in its array. Earlier versions do not know that word, so they leave such a job alone.
    fn stored(self) -> &'static [&'static str] {
        match self {
            Self::Planned => &["planned", "listed"],
            Self::Applying => &["applying", "filling"],
            Self::Applied => &["applied"],
            Self::Reverting => &["reverting"],
            Self::Reverted => &["reverted"],
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
        .find(|it| it.stored().contains(&word))
    }
}

fn stored_words(states: &[JobState]) -> Vec<String> {
    states
        .iter()
        .flat_map(|state| state.stored())
        .map(|word| (*word).to_owned())
        .collect()
}

/// What a job would do, judged by the accounts as they are when the job is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preview {
    /// How many accounts the command would change.
    pub changes: i64,
    /// How many accounts would stay as they are.
    pub unchanged: i64,
    /// How many accounts would refuse the command.
    pub refused: i64,
}

/// A job to plan.
#[derive(Debug, Clone)]
pub struct NewBulkJob {
    /// The reseller of the accounts.
    pub reseller: ResellerId,
    /// Its id, a UUID that grows with time.
    pub id: Uuid,
    /// The command for each account.
    pub command: Command,
    /// How the accounts were chosen, as a text for people.
    pub selector: String,
    /// How the accounts were chosen.
    pub filter: AccountFilter,
    /// The accounts, in the order of their ids.
    pub accounts: Vec<AccountId>,
    /// What the job would do.
    pub preview: Preview,
    /// When it was planned.
    pub created_at: Time,
    /// The name of the actor who planned it.
    pub created_by: String,
    /// The authority that the command is given with.
    pub authority: Authority,
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
    /// How the accounts were chosen. `None` for a job that an earlier version planned.
    pub filter: Option<AccountFilter>,
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
    /// What it would have done when it was planned. `None` for a job that an earlier version
    /// planned.
    pub preview: Option<Preview>,
    /// Whether its accounts are in its array, and how many of them have become items.
    pub filled: Option<i32>,
    /// Whether its items were deleted, so that it cannot be reverted any more.
    pub is_trimmed: bool,
    /// The number of accounts in each state, by state.
    pub counts: Vec<(String, i64)>,
}

/// The counts of a finished job.
#[derive(Deserialize)]
struct StoredCounts {
    /// The state of the job that they belong to.
    state: String,
    items: BTreeMap<String, i64>,
}

struct JobRow {
    reseller_id: i64,
    id: Uuid,
    command: String,
    selector: String,
    state: String,
    created_at: Time,
    created_by: String,
    authority: String,
    updated_at: Time,
    filter: Option<String>,
    preview: Option<String>,
    counts: Option<String>,
    total: Option<i32>,
    filled: i32,
    is_trimmed: bool,
}

impl JobRow {
    /// The counts that were kept when the job was finished. `None` if the items have to be counted.
    fn kept_counts(&self) -> Option<BTreeMap<String, i64>> {
        let counts: StoredCounts = serde_json::from_str(self.counts.as_deref()?).ok()?;
        (counts.state == self.state).then_some(counts.items)
    }

    fn job(self, mut counts: BTreeMap<String, i64>) -> Result<BulkJob, Error> {
        let unreadable = |what: &str| internal(&format!("bulk_job has an unreadable {what}"));
        let state = JobState::parse(&self.state).ok_or_else(|| unreadable("state"))?;
        let is_listed = self.total.is_some() && !self.is_trimmed;
        let waiting = i64::from(self.total.unwrap_or_default() - self.filled);
        if matches!(state, JobState::Planned | JobState::Applying) && is_listed && waiting > 0 {
            *counts.entry("pending".to_owned()).or_default() += waiting;
        }
        Ok(BulkJob {
            reseller: ResellerId(self.reseller_id),
            id: self.id,
            command: command::from_json(&self.command)?,
            selector: self.selector,
            filter: self
                .filter
                .as_deref()
                .map(selector::from_json)
                .transpose()?,
            state,
            created_at: self.created_at,
            created_by: self.created_by,
            authority: Authority::parse(&self.authority).ok_or_else(|| unreadable("authority"))?,
            updated_at: self.updated_at,
            preview: self
                .preview
                .and_then(|preview| serde_json::from_str(&preview).ok()),
            filled: is_listed.then_some(self.filled),
            is_trimmed: self.is_trimmed,
            counts: counts.into_iter().collect(),
        })
    }
}

impl Tx {
    /// Inserts a planned job.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a command that no bulk job carries out.
    pub async fn insert_bulk_job(&mut self, job: &NewBulkJob) -> Result<(), Error> {
        let command = check_bulk_command(&job.command)?;
        let accounts: Vec<i32> = job.accounts.iter().map(|id| id.as_i32()).collect();
        sqlx::query!(
            "insert into bulk_job (reseller_id, id, command, selector, state, created_at,
               created_by, authority, updated_at, filter, preview, accounts, total)
             values ($1, $2, $3::text::json, $4, 'listed', $5, $6, $7, $5, $8::text::json,
               $9::text::json, $10::integer[], cardinality($10::integer[]))",
            job.reseller.0,
            job.id,
            command,
            job.selector,
            job.created_at,
            job.created_by,
            job.authority.as_str(),
            selector::to_json(&job.filter),
            serde_json::to_string(&job.preview).ok(),
            &accounts
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// A job with its counts. Without a reseller it looks at all resellers of the transaction.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn fetch_bulk_job(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        let rows = self.fetch_rows(reseller, Some(id), None, 1).await?;
        let jobs = self.with_counts(rows).await?;
        jobs.into_iter()
            .next()
            .ok_or(Error::NotFound(Resource::BulkJob))
    }

    /// A job without its counts, which take a while for a large job.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn fetch_bulk_job_uncounted(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        let rows = self.fetch_rows(Some(reseller), Some(id), None, 1).await?;
        let row = rows.into_iter().next();
        row.ok_or(Error::NotFound(Resource::BulkJob))?
            .job(BTreeMap::new())
    }

    /// The jobs of a reseller, newest first, from before the id `before` on.
    pub async fn list_bulk_jobs(
        &mut self,
        reseller: ResellerId,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<BulkJob>, Error> {
        let rows = self.fetch_rows(Some(reseller), None, before, limit).await?;
        self.with_counts(rows).await
    }

    async fn fetch_rows(
        &mut self,
        reseller: Option<ResellerId>,
        id: Option<Uuid>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<JobRow>, Error> {
        sqlx::query_file_as!(
            JobRow,
            "src/store/bulk_jobs/sql/fetch_bulk_jobs.sql",
            reseller.map(|it| it.0),
            id,
            before,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// The jobs of rows. Counts the items of those that are not finished.
    async fn with_counts(&mut self, rows: Vec<JobRow>) -> Result<Vec<BulkJob>, Error> {
        let counted: Vec<(Uuid, i64)> = rows
            .iter()
            .filter(|row| row.kept_counts().is_none())
            .map(|row| (row.id, row.reseller_id))
            .collect();
        let mut live: HashMap<Uuid, BTreeMap<String, i64>> = HashMap::new();
        if !counted.is_empty() {
            let (ids, resellers): (Vec<Uuid>, Vec<i64>) = counted.into_iter().unzip();
            let counts = sqlx::query!(
                r#"select i.job_id, i.state, count(*) as "count!" from bulk_item i
                   join unnest($1::bigint[], $2::uuid[]) as n(reseller_id, job_id)
                     using (reseller_id, job_id)
                   group by i.job_id, i.state"#,
                &resellers,
                &ids
            )
            .fetch_all(self.connection())
            .await
            .or_domain()?;
            for row in counts {
                let counts = live.entry(row.job_id).or_default();
                counts.insert(row.state, row.count);
            }
        }
        rows.into_iter()
            .map(|row| {
                let counts = row
                    .kept_counts()
                    .or_else(|| live.remove(&row.id))
                    .unwrap_or_default();
                row.job(counts)
            })
            .collect()
    }

    /// Moves a job from one of the states in `from` to `to`. Returns `false` if it was in none of
    /// them, or if its items were deleted and `to` needs them.
    pub async fn move_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        from: &[JobState],
        to: JobState,
        now: Time,
    ) -> Result<bool, Error> {
        sqlx::query!(
            "update bulk_job set updated_at = $5, claimed_until = null,
               state = case when $4 = 'applying' and total is not null then 'filling' else $4 end
             where reseller_id = $1 and id = $2 and state = any($3)
               and ($4 <> 'reverting' or trimmed_at is null)",
            reseller.0,
            id,
            &stored_words(from),
            to.as_str(),
            now
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Moves a job from `from` to `to`, which is a state that is final for the worker, and keeps
    /// its counts.
    pub async fn finish_bulk_job(
        &mut self,
        reseller: ResellerId,
        id: Uuid,
        from: JobState,
        to: JobState,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query_file!(
            "src/store/bulk_jobs/sql/finish_bulk_job.sql",
            reseller.0,
            id,
            &stored_words(&[from]),
            to.as_str(),
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Claims a job that is under way, until `now + lease`. Returns the end of the claim, or `None`
    /// if another worker has it, or if it is a reseller's and the reseller is suspended. A worker
    /// that passes the end of its own claim as `held` extends it.
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
               where reseller_id = $1 and id = $2 and state in ('filling', 'applying', 'reverting')
                 and (claimed_until is null or claimed_until <= $4 or claimed_until = $3)
                 and (authority = 'operator' or not exists (
                   select from reseller r where r.id = $1 and r.suspended_at is not null))
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

    /// Jobs that are under way, and that no worker has claimed. Leaves out those that are paused,
    /// because their reseller is suspended.
    pub async fn list_open_bulk_jobs(
        &mut self,
        now: Time,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select j.reseller_id, j.id from bulk_job j join reseller r on r.id = j.reseller_id
             where j.state in ('filling', 'applying', 'reverting')
               and (j.claimed_until is null or j.claimed_until <= $1)
               and (j.authority = 'operator' or r.suspended_at is null) order by j.id",
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
}

/// The stored form of the command of a job.
///
/// # Errors
/// [`Error::InvalidField`] for a command that no bulk job carries out.
pub fn check_bulk_command(command: &Command) -> Result<String, Error> {
    command::to_json(command).ok_or_else(|| Error::invalid("operation", "cannot be done in bulk"))
}

//! Bulk jobs: what is to be done at which accounts, and what became of each.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::accounts::details_of;
use super::errors::{OrDomain as _, internal};
use super::transaction::Tx;
use crate::domain::{
    AccountId, Authority, Command, Error, HoldId, HoldKind, HoldPatch, Patch, PaymentUrl,
    ResellerId, Resource, Revertible, Status, Time,
};

/// How far a job is.
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

/// A job, with how many of its accounts are in which state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkJob {
    /// Whose accounts.
    pub reseller: ResellerId,
    /// Its identity; grows with time.
    pub id: Uuid,
    /// What is done at each.
    pub command: Command,
    /// How they were chosen, for people.
    pub selector: String,
    /// How far it is.
    pub state: JobState,
    /// When it was planned.
    pub created_at: Time,
    /// By whom.
    pub created_by: String,
    /// On whose authority it is done.
    pub authority: Authority,
    /// When it last moved on.
    pub updated_at: Time,
    /// How many accounts are in which state.
    pub counts: Vec<(String, i64)>,
}

/// One account of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkItem {
    /// Which.
    pub account: AccountId,
    /// The identity of the hold that is opened at it, should one be.
    pub hold: HoldId,
    /// `pending`, `changed`, `unchanged`, `failed`, `reverted` or `kept`.
    pub state: String,
    /// Why it failed or was kept.
    pub problem: Option<String>,
}

/// A command as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Place {
        kind: String,
        details: Box<StoredHoldDetails>,
    },
    Lift {
        kind: String,
    },
    Status {
        status: String,
    },
    Expiry {
        at: Option<Time>,
    },
    Exemption {
        until: Option<Time>,
    },
    Delete {
        purge_after_seconds: u64,
    },
    Restore,
}

/// What a command says of one detail of a hold.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPatch {
    Keep,
    Clear,
    Set(String),
}

#[derive(Serialize, Deserialize)]
struct StoredHoldDetails {
    reason_code: StoredPatch,
    reason: StoredPatch,
    public_message: StoredPatch,
    payment_url: StoredPatch,
    starts_at: StoredPatch,
    ends_at: StoredPatch,
}

fn keep<T>(patch: &Patch<T>, write: impl Fn(&T) -> String) -> StoredPatch {
    match patch {
        Patch::Keep => StoredPatch::Keep,
        Patch::Clear => StoredPatch::Clear,
        Patch::Set(value) => StoredPatch::Set(write(value)),
    }
}

fn unkeep<T>(kept: StoredPatch, read: impl Fn(String) -> Option<T>) -> Option<Patch<T>> {
    Some(match kept {
        StoredPatch::Keep => Patch::Keep,
        StoredPatch::Clear => Patch::Clear,
        StoredPatch::Set(text) => Patch::Set(read(text)?),
    })
}

/// A command in the form in which it is kept; none of those that no job does.
fn written(command: &Command) -> Option<String> {
    let kept = match command {
        Command::Place { kind, details, .. } => {
            let text = |text: &String| text.clone();
            let time = |at: &Time| at.to_rfc3339();
            let details = StoredHoldDetails {
                reason_code: keep(&details.reason_code, text),
                reason: keep(&details.reason, text),
                public_message: keep(&details.public_message, text),
                payment_url: keep(&details.payment_url, |url| url.as_str().to_owned()),
                starts_at: keep(&details.starts_at, time),
                ends_at: keep(&details.ends_at, time),
            };
            Kept::Place {
                kind: kind.as_str().to_owned(),
                details: Box::new(details),
            }
        }
        Command::Lift { kind, only: None } => Kept::Lift {
            kind: kind.as_str().to_owned(),
        },
        Command::SetStatus(status) => Kept::Status {
            status: status.as_str().to_owned(),
        },
        Command::SetExpiry(at) => Kept::Expiry { at: *at },
        Command::SetExemption(until) => Kept::Exemption { until: *until },
        Command::Delete { purge_after } => Kept::Delete {
            purge_after_seconds: purge_after.as_secs(),
        },
        Command::Restore => Kept::Restore,
        Command::Lift { .. }
        | Command::Revise(_)
        | Command::Announce
        | Command::PlanPurge(_)
        | Command::Purge(_) => return None,
    };
    serde_json::to_string(&kept).ok()
}

fn read(json: &str) -> Result<Command, Error> {
    let unreadable = || internal("a bulk job has an unreadable command");
    let command = || {
        Some(match serde_json::from_str(json).ok()? {
            Kept::Place { kind, details } => {
                let time = |text: String| text.parse().ok();
                let details = HoldPatch {
                    reason_code: unkeep(details.reason_code, Some)?,
                    reason: unkeep(details.reason, Some)?,
                    public_message: unkeep(details.public_message, Some)?,
                    payment_url: unkeep(details.payment_url, |url| Some(PaymentUrl::kept(url)))?,
                    starts_at: unkeep(details.starts_at, time)?,
                    ends_at: unkeep(details.ends_at, time)?,
                };
                Command::Place {
                    kind: HoldKind::parse(&kind)?,
                    fresh: HoldId(Uuid::nil()),
                    details,
                }
            }
            Kept::Lift { kind } => Command::Lift {
                kind: HoldKind::parse(&kind)?,
                only: None,
            },
            Kept::Status { status } => Command::SetStatus(Status::parse(&status)?),
            Kept::Expiry { at } => Command::SetExpiry(at),
            Kept::Exemption { until } => Command::SetExemption(until),
            Kept::Delete {
                purge_after_seconds,
            } => Command::Delete {
                purge_after: Duration::from_secs(purge_after_seconds),
            },
            Kept::Restore => Command::Restore,
        })
    };
    command().ok_or_else(unreadable)
}

/// What an entry of the journal says was done on an authority; none where it was none of the things that a job does.
fn deed_of(before: &Value, after: &Value, authority: &str) -> Option<Revertible> {
    let names = before.as_object()?.keys().chain(after.as_object()?.keys());
    let is_own = |name: &&String| name.split_once(':').is_some_and(|(_, by)| by == authority);
    let time = |side: &Value, name: &str| {
        side.get(name)
            .and_then(Value::as_str)
            .map(str::parse)
            .transpose()
            .ok()
    };
    let id = |hold: &Value| {
        hold.get("id")
            .and_then(Value::as_str)
            .and_then(|id| Uuid::parse_str(id).ok())
            .map(HoldId)
    };
    if let Some(name) = names.clone().find(is_own) {
        let kind = HoldKind::parse(name.split_once(':')?.0)?;
        let side = |side: &Value| side.get(name).filter(|hold| !hold.is_null()).cloned();
        return match (side(before), side(after)) {
            (Some(was), Some(is)) if id(&was) == id(&is) => Some(Revertible::Revised(
                kind,
                id(&is)?,
                Box::new(details_of(&was).ok()?),
            )),
            (_, Some(opened)) => Some(Revertible::Opened(kind, id(&opened)?)),
            (Some(was), None) => Some(Revertible::Closed(kind, Box::new(details_of(&was).ok()?))),
            (None, None) => None,
        };
    }
    let has = |name: &str| names.clone().any(|known| known == name);
    let status = |side: &Value| {
        side.get("status")
            .and_then(Value::as_str)
            .and_then(Status::parse)
    };
    if has("status") {
        return Some(Revertible::Status(status(before)?, status(after)?));
    }
    if has("deleted_at") {
        return Some(if time(after, "deleted_at")?.is_some() {
            Revertible::Deleted
        } else {
            Revertible::Restored
        });
    }
    if has("expires_at") {
        return Some(Revertible::Expiry(
            time(before, "expires_at")?,
            time(after, "expires_at")?,
        ));
    }
    has("exempt_until").then(|| {
        Some(Revertible::Exemption(
            time(before, "exempt_until")?,
            time(after, "exempt_until")?,
        ))
    })?
}

impl Tx {
    /// Makes a job of no accounts yet.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a command that no job does.
    pub async fn insert_bulk_job(&mut self, job: &BulkJob) -> Result<(), Error> {
        let command = written(&job.command)
            .ok_or_else(|| Error::invalid("operation", "cannot be done in bulk"))?;
        sqlx::query!(
            "insert into bulk_job (reseller_id, id, command, selector, state, created_at, created_by, authority, updated_at)
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

    /// Adds accounts to a job, each with the identity of the hold that may be opened at it.
    pub async fn insert_bulk_items(
        &mut self,
        reseller: ResellerId,
        job: Uuid,
        accounts: &[i32],
        holds: &[Uuid],
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into bulk_item (reseller_id, job_id, account_id, hold_id, state)
             select $1, $2, n.account_id, n.hold_id, 'pending' from unnest($3::integer[], $4::uuid[]) as n(account_id, hold_id)",
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

    /// A job within the transaction's tenancy, of this reseller if one is named.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn fetch_bulk_job(
        &mut self,
        of: Option<ResellerId>,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        let row = sqlx::query!(
            r#"select reseller_id, command::text as "command!", selector, state, created_at, created_by, authority, updated_at from bulk_job
               where id = $1 and ($2::bigint is null or reseller_id = $2)"#,
            id,
            of.map(|reseller| reseller.0)
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?
        .ok_or(Error::NotFound(Resource::BulkJob))?;
        let counts = sqlx::query!(
            r#"select state, count(*) as "count!" from bulk_item where reseller_id = $1 and job_id = $2 group by state order by state"#,
            row.reseller_id,
            id
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(BulkJob {
            reseller: ResellerId(row.reseller_id),
            id,
            command: read(&row.command)?,
            selector: row.selector,
            state: JobState::parse(&row.state)
                .ok_or_else(|| internal("a bulk job has an unknown state"))?,
            created_at: row.created_at,
            created_by: row.created_by,
            authority: Authority::parse(&row.authority)
                .ok_or_else(|| internal("a bulk job has an unknown authority"))?,
            updated_at: row.updated_at,
            counts: counts
                .into_iter()
                .map(|row| (row.state, row.count))
                .collect(),
        })
    }

    /// The accounts of a job by number behind `after`; those in one state, if one is named.
    pub async fn list_bulk_items(
        &mut self,
        job: &BulkJob,
        state: Option<&str>,
        after: i32,
        limit: i64,
    ) -> Result<Vec<BulkItem>, Error> {
        let rows = sqlx::query!(
            "select account_id, hold_id, state, problem from bulk_item
             where reseller_id = $1 and job_id = $2 and ($3::text is null or state = $3) and account_id > $4 order by account_id limit $5",
            job.reseller.0,
            job.id,
            state,
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let item = |id: i32| AccountId::new(i64::from(id));
        rows.into_iter()
            .map(|row| {
                Ok(BulkItem {
                    account: item(row.account_id)?,
                    hold: HoldId(row.hold_id),
                    state: row.state,
                    problem: row.problem,
                })
            })
            .collect()
    }

    /// Moves a job on from one of some states; says whether it was in one.
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
            "update bulk_job set state = $4, updated_at = $5, claimed_until = null where reseller_id = $1 and id = $2 and state = any($3)",
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

    /// Takes a job to work on it for a while: of several that ask, one gets it. Asked again by the one that has it, for longer.
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

    /// Jobs that are under way, and nobody's.
    pub async fn list_open_bulk_jobs(
        &mut self,
        now: Time,
    ) -> Result<Vec<(ResellerId, Uuid)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id from bulk_job where state in ('applying', 'reverting') and (claimed_until is null or claimed_until <= $1) order by id",
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

    /// What became of accounts of a job.
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

    /// What requests of this name did at accounts, as the journal has it: none where it changed nothing.
    pub async fn find_deeds(
        &mut self,
        reseller: ResellerId,
        accounts: &[i32],
        request: &str,
    ) -> Result<Vec<(AccountId, Option<Revertible>)>, Error> {
        let rows = sqlx::query!(
            r#"select j.account_id, j.before, j.after, j.authority
               from unnest($2::integer[]) as w(id) join journal j on j.reseller_id = $1 and j.account_id = w.id
               where j.request_id = $3 and j.outcome = 'applied' order by j.id"#,
            reseller.0,
            accounts,
            request
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    AccountId::new(i64::from(row.account_id))?,
                    deed_of(&row.before, &row.after, &row.authority),
                ))
            })
            .collect()
    }
}

//! Bulk jobs: one command for every account that a filter matches.
//!
//! A job is planned first, then applied in the background, and it can be reverted. The journal
//! records every change under the job's own request id. So a worker that takes over from a dead one
//! reads there which accounts are done, and a revert reads there which changes it has to undo.
//!
//! A job changes no account that was not shown when it was planned. Each of those is compared with
//! the selector once more in the transaction that changes it, and skipped if it no longer matches.

mod cleanup;
mod worker;

use std::sync::Arc;

use tracing::warn;
use uuid::Uuid;

use super::group_commit::{ChangeKind, Rehearsal, Rehearsed, Request};
use super::{Completion, Context, IdempotentRequest, Principal, Service, Written};
use crate::domain::{
    AccountFilter, AccountId, Command, Conflict, Error, Outcome, ResellerId, Resource, Scope, Time,
};
use crate::store::{BulkItem, BulkJob, JobState, NewBulkJob, Preview, Tenancy, check_bulk_command};

/// How many accounts a job may have at most.
const MAX_ACCOUNTS: usize = 100_000;
/// How many jobs of a reseller may be planned or under way at a time. An operator's jobs for it are
/// counted apart.
const MAX_OPEN_JOBS: i64 = 20;
/// How many accounts are read at a time when a job is planned. Each page has a transaction of its
/// own, so that planning a large job leaves the connection to others in between.
const PLANNING_PAGE: i64 = 250;
/// How many accounts are changed at a time.
const PAGE: i32 = 256;

/// Counts what commands would do.
fn count(preview: &mut Preview, results: Vec<Result<Rehearsed, Error>>) {
    for result in results {
        match result.map(|it| it.outcome) {
            Ok(Outcome::Applied) => preview.changes += 1,
            Ok(_) => preview.unchanged += 1,
            Err(_) => preview.refused += 1,
        }
    }
}

impl Service {
    /// Plans a job. The accounts that the filter matches now are the job's accounts. The command is
    /// not carried out before the job is applied. A job that is not applied within 24 hours is
    /// deleted.
    ///
    /// # Errors
    /// [`Error::InvalidField`] if the filter matches no account or more than 100,000, or if the
    /// command cannot be part of a job; [`Error::Conflict`] if the reseller has 20 open jobs.
    pub async fn plan_bulk_job(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        filter: AccountFilter,
        selector: String,
        command: Command,
        idempotency: Option<IdempotentRequest<BulkJob>>,
    ) -> Result<Completion<BulkJob>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        check_bulk_command(&command)?;
        let (actor, now) = (context.principal.actor(), self.now());
        let command = command.for_owner_of(&actor);
        // Checked before the work, and once more in the transaction that inserts the job.
        let authority = actor.authority;
        let open = self.read(Tenancy::of(reseller), move |tx| {
            Box::pin(tx.count_open_bulk_jobs(reseller, authority))
        });
        check_open(open.await?)?;
        let _permit = self.shares.planning(reseller).await?;
        let (accounts, preview) = self
            .select_accounts(context, reseller, &filter, &command, now)
            .await?;
        let job = NewBulkJob {
            reseller,
            id: Uuid::now_v7(),
            command,
            selector,
            filter,
            accounts,
            preview,
            created_at: now,
            created_by: actor.name,
            authority,
        };
        let tenancy = tenancy(reseller, idempotency.as_ref());
        self.write_once(&context.principal, tenancy, idempotency, move |tx| {
            Box::pin(async move {
                tx.lock_bulk_planning(reseller).await?;
                check_open(tx.count_open_bulk_jobs(reseller, authority).await?)?;
                tx.insert_bulk_job(&job).await?;
                tx.fetch_bulk_job(Some(reseller), job.id).await
            })
        })
        .await
    }

    /// The accounts that a filter matches, in the order of their ids, and what a command would do
    /// to them.
    async fn select_accounts(
        &self,
        context: &Context,
        reseller: ResellerId,
        filter: &AccountFilter,
        command: &Command,
        now: Time,
    ) -> Result<(Vec<AccountId>, Preview), Error> {
        let (mut preview, mut accounts, mut from) = (Preview::default(), Vec::new(), Some(1));
        let mut rehearsal = Rehearsal::at(now);
        while let Some(first) = from {
            let (filter, command, context) = (filter.clone(), command.clone(), context.clone());
            let page = self.read(Tenancy::of(reseller), move |tx| {
                Box::pin(async move {
                    let page = tx
                        .list_accounts(Some(reseller), &filter, &[], first, PLANNING_PAGE, now)
                        .await?;
                    let ids: Vec<AccountId> = page.rows.iter().map(|it| it.id).collect();
                    let request = |account: &AccountId| Request {
                        context: context.clone(),
                        reseller,
                        kind: ChangeKind::Command {
                            account: *account,
                            command: command.clone(),
                            expected_versions: None,
                            filter: None,
                        },
                        idempotency: None,
                    };
                    let requests: Vec<Request> = ids.iter().map(request).collect();
                    let results = rehearsal.decide(tx, page.rows, &requests).await?;
                    Ok((ids, results, rehearsal))
                })
            });
            let (page, results, after) = page.await?;
            rehearsal = after;
            let Some(last) = page.last() else { break };
            from = last.as_i32().checked_add(1);
            count(&mut preview, results);
            accounts.extend(page);
            if accounts.len() > MAX_ACCOUNTS {
                let problem = format!("finds more than {MAX_ACCOUNTS} accounts");
                return Err(Error::invalid("selector", problem));
            }
        }
        if accounts.is_empty() {
            return Err(Error::invalid("selector", "finds no account"));
        }
        Ok((accounts, preview))
    }

    /// The jobs of a reseller, newest first, from before the id `before` on. An operator must name
    /// the reseller.
    pub async fn bulk_jobs(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<BulkJob>, Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(tx.list_bulk_jobs(reseller, before, limit))
        })
        .await
    }

    /// A job, with the number of its accounts in each state.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bulk_job(&self, context: &Context, id: Uuid) -> Result<BulkJob, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.find_bulk_job(&context.principal, id).await
    }

    async fn find_bulk_job(&self, caller: &Principal, id: Uuid) -> Result<BulkJob, Error> {
        let reseller = caller.reseller;
        self.read(caller.tenancy(), move |tx| {
            Box::pin(tx.fetch_bulk_job(reseller, id))
        })
        .await
    }

    /// The accounts of a job with a number above `after`, each with its state in the job. With
    /// `state`, only those in that state.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bulk_items(
        &self,
        context: &Context,
        id: Uuid,
        state: Option<String>,
        after: i32,
        limit: i64,
    ) -> Result<Vec<BulkItem>, Error> {
        let job = self.bulk_job(context, id).await?;
        self.read(Tenancy::of(job.reseller), move |tx| {
            Box::pin(async move {
                // Once more, so that the job and its items are of the same moment.
                let job = tx.fetch_bulk_job(Some(job.reseller), id).await?;
                tx.list_bulk_items(&job, state.as_deref(), after, limit)
                    .await
            })
        })
        .await
    }

    /// Starts to apply a planned job, in the background. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if the job is being reverted or was reverted.
    pub async fn apply_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
        idempotency: Option<IdempotentRequest<Written<BulkJob>>>,
    ) -> Result<Completion<Written<BulkJob>>, Error> {
        let states = [JobState::Planned, JobState::Applying, JobState::Applied];
        self.start_bulk_job(context, id, states, idempotency).await
    }

    /// Starts to revert an applied job, in the background. Accounts that were changed since the job
    /// was applied are left alone. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if the job was not applied to all its accounts
    /// yet, or was finished so long ago that the list of its accounts was deleted.
    pub async fn revert_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
        idempotency: Option<IdempotentRequest<Written<BulkJob>>>,
    ) -> Result<Completion<Written<BulkJob>>, Error> {
        let states = [JobState::Applied, JobState::Reverting, JobState::Reverted];
        self.start_bulk_job(context, id, states, idempotency).await
    }

    /// Moves a job from the first of the states to the second, and works on it in a spawned task. A
    /// job that has reached the second or third state is not moved.
    async fn start_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
        [from, working, done]: [JobState; 3],
        idempotency: Option<IdempotentRequest<Written<BulkJob>>>,
    ) -> Result<Completion<Written<BulkJob>>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let now = self.now();
        let job = self.find_bulk_job(&context.principal, id).await?;
        if job.authority != context.principal.authority() {
            return Err(Error::NotFound(Resource::BulkJob));
        }
        check_owner(&context.principal, &job)?;
        let reseller = job.reseller;
        let tenancy = tenancy(reseller, idempotency.as_ref());
        let completion = self
            .write_once(&context.principal, tenancy, idempotency, move |tx| {
                Box::pin(async move {
                    let is_changed = tx
                        .move_bulk_job(reseller, id, &[from], working, now)
                        .await?;
                    let job = tx.fetch_bulk_job(Some(reseller), id).await?;
                    if is_changed || job.state == working || job.state == done {
                        Ok(Written {
                            value: job,
                            is_changed,
                        })
                    } else if job.state == from && job.is_trimmed {
                        Err(Error::Conflict(Conflict::BulkJobTrimmed))
                    } else {
                        Err(Error::Conflict(Conflict::BulkJob {
                            state: job.state.as_str(),
                            accepted: if from == JobState::Planned {
                                "a planned job can be applied"
                            } else {
                                "an applied job can be reverted"
                            },
                        }))
                    }
                })
            })
            .await?;
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = service.work_on_bulk_job(reseller, id).await {
                warn!(job = %id, %error, "a bulk job was interrupted; it is resumed within a minute");
            }
        });
        Ok(completion)
    }
}

/// Refuses a caller that is bound to an owner and not to that of the job: the job places and lifts
/// the holds of its own owner.
fn check_owner(caller: &Principal, job: &BulkJob) -> Result<(), Error> {
    let is_about_holds = matches!(job.command, Command::Place { .. } | Command::Lift { .. });
    if is_about_holds
        && caller.bound_to.is_some()
        && caller.bound_to.as_ref() != job.command.owner()
    {
        let authority = job.authority.as_str();
        return Err(Error::NotYourHold {
            holder: match job.command.owner() {
                Some(owner) => format!("{owner} of the {authority}"),
                None => format!("the {authority}"),
            },
        });
    }
    Ok(())
}

/// The rows that a write on the jobs of a reseller reaches: the reseller's, and those of whoever
/// stores the answer.
fn tenancy<T>(reseller: ResellerId, idempotency: Option<&IdempotentRequest<T>>) -> Tenancy {
    let storage = idempotency.map(|request| request.key.reseller);
    Tenancy::Resellers(storage.into_iter().chain([reseller]).collect())
}

/// Refuses another job if this many are open.
fn check_open(open: i64) -> Result<(), Error> {
    if open < MAX_OPEN_JOBS {
        Ok(())
    } else {
        Err(Error::Conflict(Conflict::TooManyBulkJobs))
    }
}

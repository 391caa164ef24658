//! Bulk jobs: one command at every account that a filter admits; planned, applied in the background, and reverted.
//!
//! What a job did at an account is found in the journal, under the job's own request: so a worker that dies leaves nothing in
//! doubt, and what is reverted is what was done.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::warn;
use uuid::Uuid;

use super::group_commit::{ChangeKind, Request};
use super::{Completion, Context, Principal, Service};
use crate::domain::{
    Account, AccountFilter, AccountId, Actor, Command, Conflict, Dialect, Error, HoldId, Outcome,
    ResellerId, Resource, Scope,
};
use crate::store::{BulkItem, BulkJob, JobState, Tenancy};

/// The most accounts of one job.
const MAX_ACCOUNTS: usize = 100_000;
/// How many accounts are looked up, and changed together.
const PAGE: i64 = 256;
/// How long a worker has a job without saying that it is still at it, in seconds.
const LEASE: i64 = 30;

/// What a job would do, as far as that is known when it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preview {
    /// At how many accounts something would change.
    pub changes: i64,
    /// How many are so already.
    pub unchanged: i64,
    /// At how many it would be refused.
    pub refused: i64,
}

/// What became of an account in a page of work: nothing, if it is to be tried again.
type Outcomes = Vec<(AccountId, &'static str, Option<String>)>;

impl Service {
    /// Plans a job: which accounts of a reseller it is about is settled now. Nothing is done before it is applied.
    ///
    /// # Errors
    /// [`Error::InvalidField`] where there are none, or more than 100,000, or the command cannot be done in bulk.
    pub async fn plan_bulk_job(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        filter: AccountFilter,
        selector: String,
        command: Command,
    ) -> Result<(BulkJob, Preview), Error> {
        context.principal.require(Scope::AccountWrite)?;
        let (reseller, by, now) = (
            context.principal.resolve_reseller(of)?,
            context.principal.actor(),
            self.now(),
        );
        let job = BulkJob {
            reseller,
            id: Uuid::now_v7(),
            command,
            selector,
            state: JobState::Planned,
            created_at: now,
            created_by: by.name.clone(),
            authority: by.authority,
            updated_at: now,
            counts: Vec::new(),
        };
        let work = self.write(Tenancy::of(reseller), None, move |tx| {
            Box::pin(async move {
                tx.insert_bulk_job(&job).await?;
                let (mut preview, mut count, mut from) = (Preview::default(), 0, 1);
                loop {
                    let page = tx
                        .list_accounts(Some(reseller), &filter, from, PAGE, now)
                        .await?;
                    let Some(last) = page.last() else { break };
                    count += page.len();
                    if count > MAX_ACCOUNTS {
                        return Err(Error::invalid(
                            "selector",
                            format!("finds more than {MAX_ACCOUNTS} accounts"),
                        ));
                    }
                    let next = last.id.as_i32().checked_add(1);
                    for account in &page {
                        match account
                            .decide(&job.command, &by, now)
                            .map(|change| change.outcome())
                        {
                            Ok(Outcome::Applied) => preview.changes += 1,
                            Ok(_) => preview.unchanged += 1,
                            Err(_) => preview.refused += 1,
                        }
                    }
                    let accounts: Vec<i32> =
                        page.iter().map(|account| account.id.as_i32()).collect();
                    let holds: Vec<Uuid> = page.iter().map(|_| Uuid::now_v7()).collect();
                    tx.insert_bulk_items(reseller, job.id, &accounts, &holds)
                        .await?;
                    let Some(next) = next else { break };
                    from = next;
                }
                if count == 0 {
                    return Err(Error::invalid("selector", "finds no account"));
                }
                Ok((tx.fetch_bulk_job(Some(reseller), job.id).await?, preview))
            })
        });
        work.await?.done()
    }

    /// A job, with how far it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn bulk_job(&self, context: &Context, id: Uuid) -> Result<BulkJob, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.find_bulk_job(&context.principal, id).await
    }

    async fn find_bulk_job(&self, by: &Principal, id: Uuid) -> Result<BulkJob, Error> {
        let of = by.reseller;
        self.read(by.tenancy(), move |tx| {
            Box::pin(async move { tx.fetch_bulk_job(of, id).await })
        })
        .await
    }

    /// The accounts of a job by number behind `after`, and what became of them; those in one state, if one is named.
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
        let tenancy = Tenancy::of(job.reseller);
        self.read(tenancy, move |tx| {
            Box::pin(async move {
                tx.list_bulk_items(&job, state.as_deref(), after, limit)
                    .await
            })
        })
        .await
    }

    /// Has a job that is planned applied, in the background; one that is or was applied stays as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a conflict where it is reverted.
    pub async fn apply_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        self.set_going(
            context,
            id,
            JobState::Planned,
            JobState::Applying,
            JobState::Applied,
        )
        .await
    }

    /// Has a job that was applied reverted, in the background: at each account as far as what it did is what still is.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a conflict where it was not applied yet.
    pub async fn revert_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        self.set_going(
            context,
            id,
            JobState::Applied,
            JobState::Reverting,
            JobState::Reverted,
        )
        .await
    }

    async fn set_going(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
        from: JobState,
        to: JobState,
        done: JobState,
    ) -> Result<BulkJob, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let (job, now) = (
            self.find_bulk_job(&context.principal, id).await?,
            self.now(),
        );
        if job.authority != context.principal.authority() {
            return Err(Error::NotFound(Resource::BulkJob));
        }
        let reseller = job.reseller;
        let work = self.write(Tenancy::of(reseller), None, move |tx| {
            Box::pin(async move {
                let moved = tx.move_bulk_job(reseller, id, &[from], to, now).await?;
                let job = tx.fetch_bulk_job(Some(reseller), id).await?;
                if moved || job.state == to || job.state == done {
                    Ok(job)
                } else {
                    Err(Error::Conflict(Conflict::BulkJob))
                }
            })
        });
        let job = work.await?.done()?;
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = service.work_on_bulk_job(reseller, id).await {
                warn!(job = %id, %error, "a bulk job was interrupted; it goes on in a minute");
            }
        });
        Ok(job)
    }

    /// Goes on with the jobs that nobody is at.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn resume_bulk_jobs(&self) -> Result<(), Error> {
        let now = self.now();
        let open = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.list_open_bulk_jobs(now).await })
            })
            .await?;
        for (reseller, id) in open {
            self.work_on_bulk_job(reseller, id).await?;
        }
        Ok(())
    }

    /// Works on a job until it is done, another has it, or the service stops.
    async fn work_on_bulk_job(&self, reseller: ResellerId, id: Uuid) -> Result<(), Error> {
        let mut held = None;
        while !self.stopping.is_cancelled() {
            let now = self.now();
            let claimed = self.write(Tenancy::of(reseller), None, move |tx| {
                Box::pin(async move {
                    let Some(held) = tx
                        .claim_bulk_job(reseller, id, held, now, TimeDelta::seconds(LEASE))
                        .await?
                    else {
                        return Ok(None);
                    };
                    let job = tx.fetch_bulk_job(Some(reseller), id).await?;
                    let wanted = if job.state == JobState::Applying {
                        "pending"
                    } else {
                        "changed"
                    };
                    let items = tx.list_bulk_items(&job, Some(wanted), 0, PAGE).await?;
                    let accounts: Vec<i32> =
                        items.iter().map(|item| item.account.as_i32()).collect();
                    let (apply, revert) = (
                        requested(id, JobState::Applying),
                        requested(id, JobState::Reverting),
                    );
                    let done = tx.fetch_revertible(reseller, &accounts, &apply).await?;
                    let undone = if job.state == JobState::Reverting {
                        tx.fetch_revertible(reseller, &accounts, &revert).await?
                    } else {
                        Vec::new()
                    };
                    let keys: Vec<_> = items.iter().map(|item| (reseller, item.account)).collect();
                    let now_there = if job.state == JobState::Reverting {
                        tx.fetch_accounts(&keys).await?
                    } else {
                        Vec::new()
                    };
                    Ok(Some((held, job, items, done, undone, now_there)))
                })
            });
            let Some((until, job, items, done, undone, now_there)) = claimed.await?.done()? else {
                return Ok(());
            };
            held = Some(until);
            if items.is_empty() {
                let to = if job.state == JobState::Applying {
                    JobState::Applied
                } else {
                    JobState::Reverted
                };
                let moving = self.write(Tenancy::of(reseller), None, move |tx| {
                    Box::pin(
                        async move { tx.move_bulk_job(reseller, id, &[job.state], to, now).await },
                    )
                });
                return moving.await.map(drop);
            }
            let outcomes = if job.state == JobState::Applying {
                let done: Vec<AccountId> = done.into_iter().map(|(account, _)| account).collect();
                self.apply_page(&job, &items, &done).await?
            } else {
                let undone: Vec<AccountId> =
                    undone.into_iter().map(|(account, _)| account).collect();
                let deeds: HashMap<_, _> = done.into_iter().collect();
                let there: HashMap<AccountId, Account> = now_there
                    .into_iter()
                    .map(|account| (account.id, account))
                    .collect();
                let undo = |item: &BulkItem| {
                    let (account, deed) = (
                        there.get(&item.account)?,
                        deeds.get(&item.account)?.as_ref()?,
                    );
                    let command = account.undo(
                        deed,
                        job.authority,
                        HoldId(Uuid::now_v7()),
                        self.settings.purge_window,
                    )?;
                    Some((command, account.version))
                };
                self.revert_page(&job, &items, &undone, undo).await?
            };
            let recorded = self.write(Tenancy::of(reseller), None, move |tx| {
                Box::pin(async move { tx.record_bulk_items(&job, &outcomes).await })
            });
            recorded.await?;
        }
        Ok(())
    }

    async fn apply_page(
        &self,
        job: &BulkJob,
        items: &[BulkItem],
        done: &[AccountId],
    ) -> Result<Outcomes, Error> {
        let command = |item: &BulkItem| {
            let mut command = job.command.clone();
            if let Command::Place { fresh, .. } = &mut command {
                *fresh = item.hold;
            }
            command
        };
        let left = items.iter().filter(|item| !done.contains(&item.account));
        let asked = left
            .map(|item| (item.account, command(item), None))
            .collect();
        let mut outcomes: Outcomes = done
            .iter()
            .map(|account| (*account, "changed", None))
            .collect();
        for (account, outcome) in self.ask(job, JobState::Applying, asked).await {
            match outcome {
                Ok(Outcome::Applied) => outcomes.push((account, "changed", None)),
                Ok(_) => outcomes.push((account, "unchanged", None)),
                Err(error @ (Error::Unavailable | Error::Overloaded | Error::Internal { .. })) => {
                    return Err(error);
                }
                Err(error) => outcomes.push((account, "failed", Some(error.to_string()))),
            }
        }
        Ok(outcomes)
    }

    async fn revert_page(
        &self,
        job: &BulkJob,
        items: &[BulkItem],
        undone: &[AccountId],
        undo: impl Fn(&BulkItem) -> Option<(Command, i64)>,
    ) -> Result<Outcomes, Error> {
        let kept = || Some("it was changed since".to_owned());
        let mut outcomes: Outcomes = undone
            .iter()
            .map(|account| (*account, "reverted", None))
            .collect();
        let mut asked = Vec::new();
        for item in items.iter().filter(|item| !undone.contains(&item.account)) {
            match undo(item) {
                Some((command, version)) => asked.push((item.account, command, Some(version))),
                None => outcomes.push((item.account, "kept", kept())),
            }
        }
        for (account, outcome) in self.ask(job, JobState::Reverting, asked).await {
            match outcome {
                Ok(Outcome::Applied) => outcomes.push((account, "reverted", None)),
                Ok(_) => outcomes.push((account, "kept", kept())),
                // Changed in this very moment: it is looked at once more.
                Err(Error::PreconditionFailed) => {}
                Err(error @ (Error::Unavailable | Error::Overloaded | Error::Internal { .. })) => {
                    return Err(error);
                }
                Err(error) => outcomes.push((account, "kept", Some(error.to_string()))),
            }
        }
        Ok(outcomes)
    }

    async fn ask(
        &self,
        job: &BulkJob,
        state: JobState,
        commands: Vec<(AccountId, Command, Option<i64>)>,
    ) -> Vec<(AccountId, Result<Outcome, Error>)> {
        let agent = Actor {
            authority: job.authority,
            name: format!("{}, bulk job {}", job.created_by, job.id),
        };
        let context = Context {
            principal: Principal {
                agent: Some(agent),
                ..Principal::automation(job.reseller)
            },
            dialect: Dialect::V3,
            request_id: requested(job.id, state),
        };
        let ask = |(account, command, only_at): (AccountId, Command, Option<i64>)| {
            let what = ChangeKind::Command {
                account,
                command,
                only_at,
            };
            let request = Request {
                context: context.clone(),
                reseller: job.reseller,
                what,
                once: None,
            };
            async move {
                (
                    account,
                    self.change(request)
                        .await
                        .and_then(Completion::done)
                        .map(|done| done.outcome),
                )
            }
        };
        join_all(commands.into_iter().map(ask)).await
    }
}

/// The name under which the journal has what a job does.
fn requested(job: Uuid, state: JobState) -> String {
    let is_revert = state == JobState::Reverting;
    format!(
        "bulk job {job}{}",
        if is_revert { ", reverted" } else { "" }
    )
}

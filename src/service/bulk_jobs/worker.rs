//! The worker of bulk jobs. It takes a lease on a job, and then carries out page after page of it.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use futures_util::future::join_all;
use uuid::Uuid;

use super::PAGE;
use crate::domain::{
    Account, AccountId, Actor, Command, Dialect, Error, HoldId, Outcome, ResellerId, Revertible,
    Time,
};
use crate::service::group_commit::{ChangeKind, Request};
use crate::service::{Completion, Context, Principal, Service};
use crate::store::{BulkItem, BulkJob, JobState, Tenancy, Tx};

/// How long the lease of a job lasts, in seconds. The worker renews it with each page.
const LEASE: i64 = 30;
/// Why an item is not reverted.
const CHANGED_SINCE: &str = "it was changed since";

/// The new states of items, each with the problem if there was one. An account that is missing
/// stays in its state, and the next page contains it again.
type ItemStates = Vec<(AccountId, &'static str, Option<String>)>;

/// What the worker reads before it works on a page.
struct Page {
    /// When the lease ends.
    leased_until: Time,
    job: BulkJob,
    /// The items that are not finished. If there are none, the job is done.
    items: Vec<BulkItem>,
    /// What the job did to these accounts. `None` means a change that cannot be reverted.
    applied: HashMap<AccountId, Option<Revertible>>,
    /// The accounts that the job's revert has changed already.
    reverted: HashSet<AccountId>,
    /// The accounts as they are, if the job is being reverted.
    accounts: HashMap<AccountId, Account>,
}

impl Service {
    /// Resumes the jobs whose worker has died.
    pub async fn resume_bulk_jobs(&self) -> Result<(), Error> {
        let now = self.now();
        let open = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(tx.list_open_bulk_jobs(now))
            })
            .await?;
        for (reseller, id) in open {
            self.work_on_bulk_job(reseller, id).await?;
        }
        Ok(())
    }

    /// Works on a job until it is done, another worker has its lease, or the service stops.
    pub(super) async fn work_on_bulk_job(
        &self,
        reseller: ResellerId,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut leased_until = None;
        while !self.stopping.is_cancelled() {
            let now = self.now();
            let claimed = self.write(Tenancy::of(reseller), move |tx| {
                Box::pin(claim_page(tx, reseller, id, leased_until, now))
            });
            let Some(page) = claimed.await? else {
                return Ok(());
            };
            leased_until = Some(page.leased_until);
            let is_applying = page.job.state == JobState::Applying;
            if page.items.is_empty() {
                let done = if is_applying {
                    JobState::Applied
                } else {
                    JobState::Reverted
                };
                let finished = self.write(Tenancy::of(reseller), move |tx| {
                    Box::pin(async move {
                        tx.move_bulk_job(reseller, id, &[page.job.state], done, now)
                            .await
                    })
                });
                return finished.await.map(drop);
            }
            let states = if is_applying {
                self.apply_page(&page).await?
            } else {
                self.revert_page(&page).await?
            };
            self.write(Tenancy::of(reseller), move |tx| {
                Box::pin(async move { tx.record_bulk_items(&page.job, &states).await })
            })
            .await?;
        }
        Ok(())
    }

    async fn apply_page(&self, page: &Page) -> Result<ItemStates, Error> {
        let mut states = ItemStates::new();
        let mut commands = Vec::new();
        for item in &page.items {
            if page.applied.contains_key(&item.account) {
                states.push((item.account, "changed", None));
                continue;
            }
            let mut command = page.job.command.clone();
            if let Command::Place { fresh, .. } = &mut command {
                *fresh = item.hold;
            }
            commands.push((item.account, command, None));
        }
        for (account, outcome) in self.carry_out(&page.job, commands).await {
            match outcome {
                Ok(Outcome::Applied) => states.push((account, "changed", None)),
                Ok(_) => states.push((account, "unchanged", None)),
                Err(error) if is_temporary(&error) => return Err(error),
                Err(error) => states.push((account, "failed", Some(error.to_string()))),
            }
        }
        Ok(states)
    }

    async fn revert_page(&self, page: &Page) -> Result<ItemStates, Error> {
        let kept = |account| (account, "kept", Some(CHANGED_SINCE.to_owned()));
        let mut states = ItemStates::new();
        let mut commands = Vec::new();
        for item in &page.items {
            if page.reverted.contains(&item.account) {
                states.push((item.account, "reverted", None));
            } else if let Some((command, version)) = self.reverting_command(page, item.account) {
                commands.push((item.account, command, Some(version)));
            } else {
                states.push(kept(item.account));
            }
        }
        for (account, outcome) in self.carry_out(&page.job, commands).await {
            match outcome {
                Ok(Outcome::Applied) => states.push((account, "reverted", None)),
                Ok(_) => states.push(kept(account)),
                // The account was changed after it was read: the next page looks at it again.
                Err(Error::PreconditionFailed) => {}
                Err(error) if is_temporary(&error) => return Err(error),
                Err(error) => states.push((account, "kept", Some(error.to_string()))),
            }
        }
        Ok(states)
    }

    /// The command that reverts what the job did to an account, and the account version that it is
    /// for. `None` if the account was changed since.
    fn reverting_command(&self, page: &Page, account: AccountId) -> Option<(Command, i64)> {
        let applied = page.applied.get(&account)?.as_ref()?;
        let account = page.accounts.get(&account)?;
        let command = account.revert(
            applied,
            page.job.authority,
            HoldId(Uuid::now_v7()),
            self.settings.purge_window,
        )?;
        Some((command, account.version))
    }

    /// Carries out commands, each with the account version that it is for, if any.
    async fn carry_out(
        &self,
        job: &BulkJob,
        commands: Vec<(AccountId, Command, Option<i64>)>,
    ) -> Vec<(AccountId, Result<Outcome, Error>)> {
        let agent = Actor {
            authority: job.authority,
            name: format!("{}, bulk job {}", job.created_by, job.id),
        };
        let context = Context {
            principal: Principal::of_reseller(job.reseller).acting_as(agent),
            dialect: Dialect::V3,
            request_id: request_id(job.id, job.state),
        };
        join_all(
            commands
                .into_iter()
                .map(async |(account, command, expected_version)| {
                    let request = Request {
                        context: context.clone(),
                        reseller: job.reseller,
                        kind: ChangeKind::Command {
                            account,
                            command,
                            expected_version,
                        },
                        idempotency: None,
                    };
                    let completion = self.change(request).await;
                    let outcome = completion
                        .and_then(Completion::done)
                        .map(|done| done.outcome);
                    (account, outcome)
                }),
        )
        .await
    }
}

/// Takes or renews the lease of a job and reads its next page. `None` if another worker has the
/// lease, or the job is neither being applied nor reverted.
async fn claim_page(
    tx: &mut Tx,
    reseller: ResellerId,
    id: Uuid,
    leased_until: Option<Time>,
    now: Time,
) -> Result<Option<Page>, Error> {
    let lease = TimeDelta::seconds(LEASE);
    let claimed = tx
        .claim_bulk_job(reseller, id, leased_until, now, lease)
        .await?;
    let Some(leased_until) = claimed else {
        return Ok(None);
    };
    let job = tx.fetch_bulk_job(Some(reseller), id).await?;
    let is_reverting = job.state == JobState::Reverting;
    let unfinished = if is_reverting { "changed" } else { "pending" };
    let items = tx.list_bulk_items(&job, Some(unfinished), 0, PAGE).await?;
    let ids: Vec<i32> = items.iter().map(|item| item.account.as_i32()).collect();
    let applied = tx
        .fetch_revertible(reseller, &ids, &request_id(id, JobState::Applying))
        .await?;
    let (mut reverted, mut accounts) = (Vec::new(), Vec::new());
    if is_reverting {
        reverted = tx
            .fetch_revertible(reseller, &ids, &request_id(id, JobState::Reverting))
            .await?;
        let keys: Vec<_> = items.iter().map(|item| (reseller, item.account)).collect();
        accounts = tx.fetch_accounts(&keys).await?;
    }
    Ok(Some(Page {
        leased_until,
        job,
        items,
        applied: applied.into_iter().collect(),
        reverted: reverted.into_iter().map(|(account, _)| account).collect(),
        accounts: accounts
            .into_iter()
            .map(|account| (account.id, account))
            .collect(),
    }))
}

/// Whether an error may disappear by itself. Then the page is tried again later, unchanged.
fn is_temporary(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable | Error::Overloaded | Error::ShareUsedUp { .. } | Error::Internal { .. }
    )
}

/// The request id under which the journal records a job's changes.
fn request_id(job: Uuid, state: JobState) -> String {
    if state == JobState::Reverting {
        format!("bulk job {job}, reverted")
    } else {
        format!("bulk job {job}")
    }
}

//! The worker of bulk jobs. It takes a lease on a job, and then carries out page after page of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{SecondsFormat, TimeDelta};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use tracing::warn;
use uuid::Uuid;

use super::PAGE;
use crate::domain::{
    Account, AccountFilter, AccountId, Actor, Authority, Command, Conflict, Dialect, Error, HoldId,
    NotReverted, Outcome, ResellerId, Time,
};
use crate::service::group_commit::{ChangeKind, Request};
use crate::service::{Completion, Context, Principal, Service};
use crate::store::{
    AppliedChange, BulkItem, BulkJob, ItemOutcome, JobState, LaterChange, Tenancy, Tx,
};

/// How long the lease of a job lasts, in seconds. The worker renews it with each page.
const LEASE: i64 = 30;
/// How many jobs are resumed at a time, so that a large one does not delay all others.
const RESUMED: usize = 4;

/// What the worker reads before it works on a page.
struct Page {
    /// When the lease ends.
    leased_until: Time,
    job: BulkJob,
    /// The items that are not finished. If there are none, the job is done.
    items: Vec<BulkItem>,
    /// What the job did to these accounts.
    applied: HashMap<AccountId, AppliedChange>,
    /// What touched the same facts and holds since, if the job is being reverted.
    later: HashMap<AccountId, LaterChange>,
    /// The accounts that the job's revert has changed already.
    reverted: HashSet<AccountId>,
    /// The accounts as they are, if the job is being reverted.
    accounts: HashMap<AccountId, Account>,
}

impl Page {
    /// How many accounts of the job's array were items before this page. `None` if the items of the
    /// page are in the database already.
    fn filled(&self) -> Option<i32> {
        self.job
            .filled
            .filter(|_| self.job.state == JobState::Applying)
    }
}

/// A command for one account, with the account version that it is for, if any.
type AccountCommand = (BulkItem, Command, Option<i64>);

fn outcome(item: &BulkItem, state: &'static str, problem: Option<String>) -> ItemOutcome {
    ItemOutcome {
        account: item.account,
        hold: item.hold,
        state,
        problem,
    }
}

impl Service {
    /// Resumes the jobs whose worker has died, and those that were paused.
    ///
    /// # Errors
    /// The error of the first job that was interrupted again. All were tried.
    pub async fn resume_bulk_jobs(&self) -> Result<(), Error> {
        let now = self.now();
        let open = self
            .background_read(Tenancy::Platform, move |tx| {
                Box::pin(tx.list_open_bulk_jobs(now))
            })
            .await?;
        let work = async |(reseller, id)| {
            let result = self.work_on_bulk_job(reseller, id).await;
            if let Err(error) = &result {
                warn!(%reseller, job = %id, %error, "a bulk job was interrupted; it is resumed within a minute");
            }
            result
        };
        let works = open.into_iter().map(work);
        let results: Vec<_> = stream::iter(works)
            .buffer_unordered(RESUMED)
            .collect()
            .await;
        results.into_iter().fold(Ok(()), Result::and)
    }

    /// Works on a job until it is done or paused, another worker has its lease, or the service
    /// stops.
    pub(super) async fn work_on_bulk_job(
        &self,
        reseller: ResellerId,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut leased_until = None;
        while !self.stopping.is_cancelled() {
            let now = self.now();
            let claimed = self.background_write(Tenancy::of(reseller), move |tx| {
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
                let finished = self.background_write(Tenancy::of(reseller), move |tx| {
                    Box::pin(async move {
                        tx.finish_bulk_job(reseller, id, page.job.state, done, now)
                            .await
                    })
                });
                return finished.await;
            }
            let outcomes = if is_applying {
                self.apply_page(&page).await?
            } else {
                self.revert_page(&page).await?
            };
            self.background_write(Tenancy::of(reseller), move |tx| {
                Box::pin(record_page(tx, page, outcomes))
            })
            .await?;
        }
        Ok(())
    }

    async fn apply_page(&self, page: &Page) -> Result<Vec<ItemOutcome>, Error> {
        let (mut outcomes, mut commands) = (Vec::new(), Vec::new());
        for item in &page.items {
            if page.applied.contains_key(&item.account) {
                outcomes.push(outcome(item, "changed", None));
                continue;
            }
            let mut command = page.job.command.clone();
            if let Command::Place { fresh, .. } = &mut command {
                *fresh = item.hold;
            }
            commands.push((item.clone(), command, None));
        }
        let filter = page.job.filter.clone().map(Arc::new);
        for (item, result) in self.carry_out(&page.job, filter, commands).await {
            let (state, problem) = match result {
                Ok(Outcome::Applied) => ("changed", None),
                Ok(_) => ("unchanged", None),
                Err(error) if is_temporary(&error) => return Err(error),
                Err(Error::Conflict(Conflict::NotSelected)) => {
                    let selector = &page.job.selector;
                    let problem = format!("it no longer matches the selector: {selector}");
                    ("skipped", Some(problem))
                }
                Err(error) => ("failed", Some(error.to_string())),
            };
            outcomes.push(outcome(&item, state, problem));
        }
        Ok(outcomes)
    }

    /// The outcomes of a page of a revert. An account that is missing stays in its state, and the
    /// next page contains it again.
    async fn revert_page(&self, page: &Page) -> Result<Vec<ItemOutcome>, Error> {
        let kept = |item: &BulkItem, why: String| outcome(item, "kept", Some(why));
        let (mut outcomes, mut commands) = (Vec::new(), Vec::new());
        for item in &page.items {
            if page.reverted.contains(&item.account) {
                outcomes.push(outcome(item, "reverted", None));
                continue;
            }
            match self.reverting_command(page, item.account) {
                Ok((command, version)) => commands.push((item.clone(), command, Some(version))),
                Err(why) => outcomes.push(kept(item, why)),
            }
        }
        for (item, result) in self.carry_out(&page.job, None, commands).await {
            match result {
                Ok(Outcome::Applied) => outcomes.push(outcome(&item, "reverted", None)),
                Ok(_) => outcomes.push(kept(&item, NotReverted::Changed.to_string())),
                // The account was changed after it was read: the next page looks at it again.
                Err(Error::PreconditionFailed) => {}
                Err(error) if is_temporary(&error) => return Err(error),
                Err(error) => outcomes.push(kept(&item, error.to_string())),
            }
        }
        Ok(outcomes)
    }

    /// The command that reverts what the job did to an account, and the account version that it is
    /// for. Or the reason why the account is left alone.
    fn reverting_command(&self, page: &Page, account: AccountId) -> Result<(Command, i64), String> {
        let applied = page.applied.get(&account);
        let Some((fact, change)) = applied.and_then(|applied| applied.change.as_ref()) else {
            return Err("the journal has no longer what the job changed".to_owned());
        };
        if let Some(later) = page.later.get(&account) {
            return Err(changed_since(fact, later));
        }
        let Some(account) = page.accounts.get(&account) else {
            return Err("the account was purged since".to_owned());
        };
        let command = account.revert(
            change,
            page.job.authority,
            HoldId(Uuid::now_v7()),
            self.settings.purge_window,
            self.now(),
        );
        command
            .map(|command| (command, account.version))
            .map_err(|why| why.to_string())
    }

    /// Carries out commands, each only if the account still matches the filter, if there is one.
    async fn carry_out(
        &self,
        job: &BulkJob,
        filter: Option<Arc<AccountFilter>>,
        commands: Vec<AccountCommand>,
    ) -> Vec<(BulkItem, Result<Outcome, Error>)> {
        let agent = Actor {
            authority: job.authority,
            // The command that is stored with the job names the owner of the job's creator.
            bound_to: None,
            name: format!("{}, bulk job {}", job.created_by, job.id),
        };
        let principal = Principal::of_reseller(job.reseller).acting_as(agent);
        let context = Context {
            principal: if job.authority == Authority::Reseller {
                principal.heeding_suspension()
            } else {
                principal
            },
            dialect: Dialect::V3,
            request_id: request_id(job.id, job.state),
        };
        join_all(
            commands
                .into_iter()
                .map(async |(item, command, expected_version)| {
                    let request = Request {
                        context: context.clone(),
                        reseller: job.reseller,
                        kind: ChangeKind::Command {
                            account: item.account,
                            command,
                            expected_versions: expected_version.map(|version| Arc::from([version])),
                            filter: filter.clone(),
                        },
                        idempotency: None,
                    };
                    let completion = self.change(request).await;
                    let outcome = completion
                        .and_then(Completion::done)
                        .map(|done| done.outcome);
                    (item, outcome)
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
    let job = tx.fetch_bulk_job_uncounted(reseller, id).await?;
    let is_reverting = job.state == JobState::Reverting;
    let items = match job.filled {
        Some(filled) if !is_reverting => tx.next_bulk_accounts(&job, filled, PAGE).await?,
        _ => {
            let unfinished = if is_reverting { "changed" } else { "pending" };
            tx.list_bulk_items(&job, Some(unfinished), 0, i64::from(PAGE))
                .await?
        }
    };
    let ids: Vec<i32> = items.iter().map(|item| item.account.as_i32()).collect();
    // The accounts are read before the journal. So a change that comes in between is found in the
    // journal, and one that comes later makes the version that was read a wrong one.
    let accounts = if is_reverting {
        let keys: Vec<_> = items.iter().map(|item| (reseller, item.account)).collect();
        tx.fetch_accounts(&keys).await?
    } else {
        Vec::new()
    };
    let applied = tx
        .fetch_revertible(reseller, &ids, &request_id(id, JobState::Applying))
        .await?;
    let (mut reverted, mut later) = (Vec::new(), Vec::new());
    if is_reverting {
        reverted = tx
            .fetch_revertible(reseller, &ids, &request_id(id, JobState::Reverting))
            .await?;
        later = tx.fetch_later_changes(reseller, &applied).await?;
    }
    Ok(Some(Page {
        leased_until,
        job,
        items,
        applied: applied.into_iter().map(|it| (it.account, it)).collect(),
        later: later.into_iter().map(|it| (it.account, it)).collect(),
        reverted: reverted.into_iter().map(|it| it.account).collect(),
        accounts: accounts
            .into_iter()
            .map(|account| (account.id, account))
            .collect(),
    }))
}

/// Records the outcomes of a page.
///
/// A page can take longer than the lease. Then another worker carries it out too, and finds an
/// account unchanged, or not selected any more, because this worker has changed it. So the journal
/// has the last word on what the job changed.
async fn record_page(tx: &mut Tx, page: Page, mut outcomes: Vec<ItemOutcome>) -> Result<(), Error> {
    if page.job.state == JobState::Applying {
        let doubtful = outcomes.iter().filter(|it| it.state != "changed");
        let accounts: Vec<i32> = doubtful.map(|it| it.account.as_i32()).collect();
        let applied = tx
            .fetch_revertible(
                page.job.reseller,
                &accounts,
                &request_id(page.job.id, JobState::Applying),
            )
            .await?;
        let applied: HashSet<AccountId> = applied.into_iter().map(|it| it.account).collect();
        for outcome in &mut outcomes {
            if applied.contains(&outcome.account) {
                (outcome.state, outcome.problem) = ("changed", None);
            }
        }
    }
    tx.record_bulk_items(&page.job, page.filled(), &outcomes)
        .await
}

/// Why an account is left alone whose fact or hold was touched since the job.
fn changed_since(fact: &str, later: &LaterChange) -> String {
    let name = match fact.split_once(':').map_or(fact, |(kind, _)| kind) {
        "freeze" => "freeze",
        "suspend" => "suspension",
        "retention" => "retention",
        "expires_at" => "expiry date",
        "exempt_until" => "exemption",
        "deleted_at" => "deletion",
        other => other,
    };
    let LaterChange {
        action, actor, at, ..
    } = later;
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("its {name} was changed since: {action} by {actor} at {at}")
}

/// Whether an error may disappear by itself. Then the page is tried again later, unchanged.
fn is_temporary(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable
            | Error::Overloaded
            | Error::ShareUsedUp { .. }
            | Error::Internal { .. }
            | Error::ResellerSuspended
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

//! Announcements of expiries, the plan of the purge, and the purge itself. The background jobs call
//! these; the accounts are changed through the write lanes like every other change.

use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::{info, warn};

use super::group_commit::{ChangeKind, Request};
use super::{Completion, Context, IdempotentRequest, Principal, Service};
use crate::domain::{
    Account, AccountId, Command, Conflict, Dialect, Error, Outcome, PurgePolicy, PurgeStop,
    ResellerId, Resource, Scope, Time,
};
use crate::store::{PurgingReseller, Slice, Tenancy};

/// How many accounts are read, and then changed, at a time.
const PAGE: i64 = 256;
/// How many pages one run reads, so that it ends.
const MAX_PAGES: usize = 200;
/// The time between two runs of the purge for the same reseller.
const PURGE_EVERY: TimeDelta = TimeDelta::hours(1);

/// An account in the plan of the purge.
#[derive(Debug, Clone)]
pub struct PlannedPurge {
    /// The account. It is purged at its [`Account::purge_due_at`], or somewhat later.
    pub account: Account,
    /// Why the account would not be purged if it were due now. `None` means that nothing stops the
    /// purge.
    pub stop: Option<PurgeStop>,
}

/// The result of one run of the purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// How many accounts were removed.
    pub accounts: usize,
    /// How many resellers have more accounts due than their limit, and wait for approval.
    pub held: usize,
}

impl Service {
    /// Announces the expiries and the purges that are due, by an event for each account. Returns
    /// the number of announcements. Each is announced once, even if several replicas call this or
    /// it is called late.
    ///
    /// One run makes at most 51,200 announcements; the next run makes the others.
    ///
    /// # Errors
    /// The error of the first reseller for which it failed. The other resellers' announcements were
    /// made.
    pub async fn announce_due(&self) -> Result<usize, Error> {
        let (mut announced, mut failures) = (0, Failures::default());
        for _ in 0..MAX_PAGES {
            let (now, skipped) = (self.now(), failures.resellers());
            let due = self
                .background_read(Tenancy::Platform, move |tx| {
                    Box::pin(async move { tx.list_due_announcements(now, PAGE, &skipped).await })
                })
                .await?;
            let before = failures.len();
            let done = self.automate(&due, &Command::Announce, &mut failures).await;
            announced += done;
            if done == 0 && failures.len() == before {
                break;
            }
        }
        failures.result().map(|()| announced)
    }

    /// Adds accounts to the plan of the purge, and removes those that must not be purged any more.
    /// Returns the number of changed accounts.
    ///
    /// # Errors
    /// The error of the first reseller for which it failed. The other resellers' plans are up to
    /// date.
    pub async fn plan_purges(&self) -> Result<usize, Error> {
        let plan = Command::PlanPurge(NO_PURGE);
        let (mut changed, mut failures) = (0, Failures::default());
        for _ in 0..MAX_PAGES {
            let skipped = failures.resellers();
            let overtaken = self
                .background_read(Tenancy::Platform, move |tx| {
                    Box::pin(async move { tx.list_outdated_purge_plans(PAGE, &skipped).await })
                })
                .await?;
            let before = failures.len();
            let done = self.automate(&overtaken, &plan, &mut failures).await;
            changed += done;
            if done == 0 && failures.len() == before {
                break;
            }
        }
        for reseller in self.purging_resellers(Time::MAX_UTC).await? {
            match self.plan_purges_of(reseller, &mut failures).await {
                Ok(done) => changed += done,
                Err(error) => failures.add(reseller.id, error),
            }
        }
        failures.result().map(|()| changed)
    }

    /// Adds the accounts of one reseller to the plan of the purge.
    async fn plan_purges_of(
        &self,
        reseller: PurgingReseller,
        failures: &mut Failures,
    ) -> Result<usize, Error> {
        let (mut changed, mut after) = (0, 0);
        loop {
            let now = self.now();
            let read = self.background_read(Tenancy::of(reseller.id), move |tx| {
                Box::pin(async move { tx.list_purge_candidates(&reseller, after, PAGE, now).await })
            });
            let candidates = read.await?;
            let Some(last) = candidates.last() else {
                return Ok(changed);
            };
            after = last.as_i32();
            let keys: Vec<_> = candidates.into_iter().map(|id| (reseller.id, id)).collect();
            changed += self
                .automate(&keys, &Command::PlanPurge(NO_PURGE), failures)
                .await;
        }
    }

    /// Purges the accounts that are due by the plan. If a reseller has more accounts due than its
    /// limit, none of them is purged until an operator approves.
    ///
    /// # Errors
    /// The error of the first reseller for which it failed. The other resellers' accounts were
    /// purged.
    pub async fn purge_due(&self) -> Result<Purged, Error> {
        let (mut purged, mut failures) = (Purged::default(), Failures::default());
        let before = self
            .now()
            .checked_sub_signed(PURGE_EVERY)
            .unwrap_or_default();
        for reseller in self.purging_resellers(before).await? {
            match self.run_purge(&reseller, before, &mut failures).await {
                Ok(done) => {
                    purged.accounts += done.accounts;
                    purged.held += done.held;
                }
                Err(error) => failures.add(reseller.id, error),
            }
        }
        failures.result().map(|()| purged)
    }

    /// The run of the purge for one reseller, unless another replica has claimed it.
    async fn run_purge(
        &self,
        reseller: &PurgingReseller,
        before: Time,
        failures: &mut Failures,
    ) -> Result<Purged, Error> {
        let (now, id, limit) = (self.now(), reseller.id, reseller.limit);
        // An approval covers the accounts that were due when the operator gave it.
        let (due_by, is_approved) = (
            reseller.approved_at.unwrap_or(now),
            reseller.approved_at.is_some(),
        );
        let claimed = self.background_write(Tenancy::Platform, move |tx| {
            Box::pin(async move {
                if !tx.claim_purge(id, before, now).await? {
                    return Ok(None);
                }
                let due = tx.count_due_purges(id, due_by).await?;
                let is_held = due > limit && !is_approved;
                let held = is_held.then(|| (now, i32::try_from(due).unwrap_or(i32::MAX)));
                tx.hold_purge(id, held).await?;
                Ok(Some((due, is_held)))
            })
        });
        match claimed.await? {
            None | Some((0, _)) => Ok(Purged::default()),
            Some((due, true)) => {
                warn!(reseller = %id, due, limit, "more accounts are due for the purge than the reseller's limit; an operator must run `steward purge approve`");
                Ok(Purged {
                    accounts: 0,
                    held: 1,
                })
            }
            Some((due, false)) => {
                let accounts = self.purge_of(id, due_by, due, failures).await?;
                info!(reseller = %id, done = accounts, "purged accounts");
                Ok(Purged { accounts, held: 0 })
            }
        }
    }

    /// Purges the accounts of a reseller that are due by an instant, at most `max` of them. Stops
    /// after a page in which an account failed.
    async fn purge_of(
        &self,
        id: ResellerId,
        due_by: Time,
        max: i64,
        failures: &mut Failures,
    ) -> Result<usize, Error> {
        let (mut purged, mut left) = (0, max);
        while left > 0 {
            let due = self
                .background_read(Tenancy::of(id), move |tx| {
                    Box::pin(tx.list_due_purges(id, due_by, PAGE.min(left)))
                })
                .await?;
            if due.is_empty() {
                break;
            }
            left -= PAGE;
            let (keys, before): (Vec<_>, _) = (
                due.into_iter().map(|account| (id, account)).collect(),
                failures.len(),
            );
            purged += self
                .automate(&keys, &Command::Purge(NO_PURGE), failures)
                .await;
            // An account that was due but could not be purged leaves the plan, or gets a new date.
            self.automate(&keys, &Command::PlanPurge(NO_PURGE), failures)
                .await;
            if failures.len() > before {
                break;
            }
        }
        Ok(purged)
    }

    /// The plan of the purge: accounts with a number above `after`. Returns the accounts in the
    /// order of their numbers, and the time of reading. An operator who names no reseller gets the
    /// accounts of all resellers.
    pub async fn purge_plan(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        after: i32,
        limit: i64,
    ) -> Result<(Slice<PlannedPurge>, Time), Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = match context.principal.reseller {
            Some(_) => Some(context.principal.resolve_reseller(reseller)?),
            None => reseller,
        };
        let now = self.now();
        let read = self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let planned = tx.list_purge_plan(reseller, after, limit).await?;
                let owners: Vec<i64> = planned
                    .rows
                    .iter()
                    .map(|account| account.reseller_id.0)
                    .collect();
                let terms = tx.fetch_reseller_terms(&owners, false).await?;
                let stop = |account: &Account| {
                    let policy = terms
                        .iter()
                        .find(|terms| terms.id == account.reseller_id)
                        .map_or(NO_PURGE, |terms| terms.purge);
                    account.purge_stop(
                        &policy,
                        account.purge_due_at.map_or(now, |due| due.max(now)),
                    )
                };
                Ok(planned.map(|account| PlannedPurge {
                    stop: stop(&account),
                    account,
                }))
            })
        });
        Ok((read.await?, now))
    }

    /// Approves the purge of all accounts of a reseller that are due now; the next run purges them.
    /// Returns whether the purge was waiting for approval.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn approve_purge(
        &self,
        caller: &Principal,
        reseller: ResellerId,
        idempotency: Option<IdempotentRequest<bool>>,
    ) -> Result<Completion<bool>, Error> {
        caller.require_operator(Scope::ResellerWrite)?;
        let now = self.now();
        let work = self.write_once(caller, Tenancy::Platform, idempotency, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(reseller)
                    .await
                    .map_err(|_| Error::NotFound(Resource::Reseller))?;
                tx.approve_purge(reseller, now).await
            })
        });
        work.await
    }

    async fn purging_resellers(&self, before: Time) -> Result<Vec<PurgingReseller>, Error> {
        self.background_read(Tenancy::Platform, move |tx| {
            Box::pin(tx.list_purging_resellers(before))
        })
        .await
    }

    /// Carries out a command of the platform on accounts. Returns the number of changed accounts.
    /// An account that is gone meanwhile, or that is not in the plan any more, is skipped. Other
    /// errors are added to `failures`, and stop no other account.
    async fn automate(
        &self,
        accounts: &[(ResellerId, AccountId)],
        command: &Command,
        failures: &mut Failures,
    ) -> usize {
        let request = |(reseller, account): &(ResellerId, AccountId)| Request {
            context: Context {
                principal: Principal::automation(*reseller),
                dialect: Dialect::Job,
                request_id: "job".to_owned(),
            },
            reseller: *reseller,
            kind: ChangeKind::Command {
                account: *account,
                command: command.clone(),
                expected_versions: None,
                filter: None,
            },
            idempotency: None,
        };
        let outcomes = join_all(
            accounts
                .iter()
                .map(request)
                .map(|request| self.change(request)),
        )
        .await;
        let mut changed = 0;
        for ((reseller, _), outcome) in accounts.iter().zip(outcomes) {
            match outcome.and_then(Completion::done) {
                Ok(done) => changed += usize::from(done.outcome == Outcome::Applied),
                Err(
                    Error::AccountNotFound
                    | Error::AccountDeleted
                    | Error::Conflict(Conflict::NotPlanned),
                ) => {}
                Err(error) => failures.add(*reseller, error),
            }
        }
        changed
    }
}

/// The resellers for which a job failed, each with its first error. The job goes on with the
/// others.
#[derive(Debug, Default)]
struct Failures(Vec<(ResellerId, Error)>);

impl Failures {
    fn add(&mut self, reseller: ResellerId, error: Error) {
        if self.0.iter().all(|(known, _)| *known != reseller) {
            warn!(%reseller, %error, "a background job failed for a reseller; it goes on with the others");
            self.0.push((reseller, error));
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn resellers(&self) -> Vec<i64> {
        self.0.iter().map(|(reseller, _)| reseller.0).collect()
    }

    /// The first error, so that the run counts as failed.
    fn result(self) -> Result<(), Error> {
        self.0
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// A placeholder. The write lane reads the reseller's own policy and puts it into the command.
const NO_PURGE: PurgePolicy = PurgePolicy {
    is_on: false,
    grace: TimeDelta::days(30),
    reseller_released_at: None,
};

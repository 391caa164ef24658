//! Announcements of expiries, the plan of the purge, and the purge itself. The background jobs call
//! these; the accounts are changed through the write lanes like every other change.

use chrono::TimeDelta;
use futures_util::future::join_all;
use tracing::{info, warn};

use super::group_commit::{ChangeKind, Request};
use super::{Completion, Context, Principal, Service};
use crate::domain::{
    Account, AccountId, Command, Conflict, Dialect, Error, Outcome, PurgePolicy, PurgeStop,
    ResellerId, Resource, Scope, Time,
};
use crate::store::{PurgingReseller, Tenancy};

/// How many accounts are read, and then changed, at a time.
const PAGE: i64 = 256;
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
    pub async fn announce_due(&self) -> Result<usize, Error> {
        let mut announced = 0;
        loop {
            let now = self.now();
            let due = self
                .read(Tenancy::Platform, move |tx| {
                    Box::pin(tx.list_due_announcements(now, PAGE))
                })
                .await?;
            let done = self.automate(&due, &Command::Announce).await?;
            announced += done;
            if done == 0 {
                return Ok(announced);
            }
        }
    }

    /// Adds accounts to the plan of the purge, and removes those that must not be purged any more.
    /// Returns the number of changed accounts.
    pub async fn plan_purges(&self) -> Result<usize, Error> {
        let plan = Command::PlanPurge(NO_PURGE);
        let mut changed = 0;
        loop {
            let overtaken = self
                .read(Tenancy::Platform, |tx| {
                    Box::pin(tx.list_outdated_purge_plans(PAGE))
                })
                .await?;
            let done = self.automate(&overtaken, &plan).await?;
            changed += done;
            if done == 0 {
                break;
            }
        }
        for reseller in self.purging_resellers(Time::MAX_UTC).await? {
            let mut after = 0;
            loop {
                let now = self.now();
                let read = self.read(Tenancy::of(reseller.id), move |tx| {
                    Box::pin(
                        async move { tx.list_purge_candidates(&reseller, after, PAGE, now).await },
                    )
                });
                let candidates = read.await?;
                let Some(last) = candidates.last() else { break };
                after = last.as_i32();
                let keys: Vec<_> = candidates.into_iter().map(|id| (reseller.id, id)).collect();
                changed += self.automate(&keys, &plan).await?;
            }
        }
        Ok(changed)
    }

    /// Purges the accounts that are due by the plan. If a reseller has more accounts due than its
    /// limit, none of them is purged until an operator approves.
    pub async fn purge_due(&self) -> Result<Purged, Error> {
        let mut purged = Purged::default();
        let before = self
            .now()
            .checked_sub_signed(PURGE_EVERY)
            .unwrap_or_default();
        for reseller in self.purging_resellers(before).await? {
            let now = self.now();
            // An approval covers the accounts that were due when the operator gave it.
            let due_by = reseller.approved_at.unwrap_or(now);
            let claimed = self.write(Tenancy::Platform, move |tx| {
                Box::pin(async move {
                    if !tx.claim_purge(reseller.id, before, now).await? {
                        return Ok(None);
                    }
                    let due = tx.count_due_purges(reseller.id, due_by).await?;
                    let is_held = due > reseller.limit && reseller.approved_at.is_none();
                    tx.hold_purge(
                        reseller.id,
                        is_held.then(|| (now, i32::try_from(due).unwrap_or(i32::MAX))),
                    )
                    .await?;
                    Ok(Some((due, is_held)))
                })
            });
            match claimed.await? {
                None | Some((0, _)) => {}
                Some((due, true)) => {
                    warn!(reseller = %reseller.id, due, limit = reseller.limit, "more accounts are due for the purge than the reseller's limit; an operator must run `steward purge approve`");
                    purged.held += 1;
                }
                Some((due, false)) => {
                    let done = self.purge_of(&reseller, due_by, due).await?;
                    info!(reseller = %reseller.id, done, "purged accounts");
                    purged.accounts += done;
                }
            }
        }
        Ok(purged)
    }

    /// Purges the accounts of a reseller that are due by an instant, at most `max` of them.
    async fn purge_of(
        &self,
        reseller: &PurgingReseller,
        due_by: Time,
        max: i64,
    ) -> Result<usize, Error> {
        let (id, mut purged, mut left) = (reseller.id, 0, max);
        while left > 0 {
            let due = self
                .read(Tenancy::of(id), move |tx| {
                    Box::pin(tx.list_due_purges(id, due_by, PAGE.min(left)))
                })
                .await?;
            if due.is_empty() {
                break;
            }
            left -= PAGE;
            let keys: Vec<_> = due.into_iter().map(|account| (id, account)).collect();
            purged += self.automate(&keys, &Command::Purge(NO_PURGE)).await?;
            // An account that was due but could not be purged leaves the plan, or gets a new date.
            self.automate(&keys, &Command::PlanPurge(NO_PURGE)).await?;
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
    ) -> Result<(Vec<PlannedPurge>, Time), Error> {
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
                Ok(planned
                    .into_iter()
                    .map(|account| PlannedPurge {
                        stop: stop(&account),
                        account,
                    })
                    .collect())
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
    ) -> Result<bool, Error> {
        caller.require_operator(Scope::ResellerWrite)?;
        let now = self.now();
        let work = self.write(Tenancy::Platform, move |tx| {
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
        self.read(Tenancy::Platform, move |tx| {
            Box::pin(tx.list_purging_resellers(before))
        })
        .await
    }

    /// Carries out a command of the platform on accounts. Returns the number of changed accounts.
    /// An account that is gone meanwhile, or that is not in the plan any more, is skipped.
    async fn automate(
        &self,
        accounts: &[(ResellerId, AccountId)],
        command: &Command,
    ) -> Result<usize, Error> {
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
                expected_version: None,
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
        for outcome in outcomes {
            match outcome.and_then(Completion::done) {
                Ok(done) => changed += usize::from(done.outcome == Outcome::Applied),
                Err(
                    Error::AccountNotFound
                    | Error::AccountDeleted
                    | Error::Conflict(Conflict::NotPlanned),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }
}

/// A placeholder. The write lane reads the reseller's own policy and puts it into the command.
const NO_PURGE: PurgePolicy = PurgePolicy {
    is_on: false,
    grace: TimeDelta::days(30),
    reseller_released_at: None,
};

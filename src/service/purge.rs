//! What time does to accounts: announcements, the plan of the purge, and the purge.

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

/// How many accounts are looked up, and changed together.
const PAGE: i64 = 256;
/// How long lies between two runs of the purge for a reseller.
const PURGE_EVERY: TimeDelta = TimeDelta::hours(1);

/// An account in the plan of the purge.
#[derive(Debug, Clone)]
pub struct PlannedPurge {
    /// The account; [`Account::purge_due_at`] says when.
    pub account: Account,
    /// What stops it now, if anything does besides that it is not due yet.
    pub stop: Option<PurgeStop>,
}

/// What a run of the purge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// How many accounts were removed.
    pub accounts: usize,
    /// How many resellers have more due than may be purged at once.
    pub held: usize,
}

impl Service {
    /// Announces what is due of expiries and of purges, each once however many replicas ask and however late; says how many
    /// announcements there were.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn announce_due(&self) -> Result<usize, Error> {
        let mut announced = 0;
        loop {
            let now = self.now();
            let due = self
                .read(Tenancy::Platform, move |tx| {
                    Box::pin(async move { tx.list_due_announcements(now, PAGE).await })
                })
                .await?;
            let done = self.automate(&due, &Command::Announce).await?;
            announced += done;
            if done == 0 {
                return Ok(announced);
            }
        }
    }

    /// Takes accounts into the plan of the purge, and those out of it that have been overtaken; says how many changed.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn plan_purges(&self) -> Result<usize, Error> {
        let plan = Command::PlanPurge(NO_PURGE);
        let mut changed = 0;
        loop {
            let overtaken = self
                .read(Tenancy::Platform, |tx| {
                    Box::pin(async move { tx.list_outdated_purge_plans(PAGE).await })
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

    /// Removes the accounts whose time has come, as planned. Where more of a reseller are due than may be purged at once, none
    /// of them is, until an operator approves.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn purge_due(&self) -> Result<Purged, Error> {
        let mut purged = Purged::default();
        let before = self
            .now()
            .checked_sub_signed(PURGE_EVERY)
            .unwrap_or_default();
        for reseller in self.purging_resellers(before).await? {
            let now = self.now();
            // Approved is what an operator could see in the plan.
            let by = reseller.approved_at.unwrap_or(now);
            let claimed = self.write(Tenancy::Platform, None, move |tx| {
                Box::pin(async move {
                    if !tx.claim_purge(reseller.id, before, now).await? {
                        return Ok(None);
                    }
                    let due = tx.count_due_purges(reseller.id, by).await?;
                    let is_held = due > reseller.limit && reseller.approved_at.is_none();
                    tx.hold_purge(
                        reseller.id,
                        is_held.then(|| (now, i32::try_from(due).unwrap_or(i32::MAX))),
                    )
                    .await?;
                    Ok(Some((due, is_held)))
                })
            });
            match claimed.await?.done()? {
                None | Some((0, _)) => {}
                Some((due, true)) => {
                    warn!(reseller = %reseller.id, due, limit = reseller.limit, "more accounts are to be purged than may be at once; an operator has to approve");
                    purged.held += 1;
                }
                Some((due, false)) => {
                    let done = self.purge_of(&reseller, by, due).await?;
                    info!(reseller = %reseller.id, done, "purged accounts");
                    purged.accounts += done;
                }
            }
        }
        Ok(purged)
    }

    async fn purge_of(
        &self,
        reseller: &PurgingReseller,
        by: Time,
        most: i64,
    ) -> Result<usize, Error> {
        let (id, mut purged, mut left) = (reseller.id, 0, most);
        while left > 0 {
            let due = self
                .read(Tenancy::of(id), move |tx| {
                    Box::pin(async move { tx.list_due_purges(id, by, PAGE.min(left)).await })
                })
                .await?;
            if due.is_empty() {
                break;
            }
            left -= PAGE;
            let keys: Vec<_> = due.into_iter().map(|account| (id, account)).collect();
            purged += self.automate(&keys, &Command::Purge(NO_PURGE)).await?;
            // What could not be purged although it was due leaves the plan, or is planned anew.
            self.automate(&keys, &Command::PlanPurge(NO_PURGE)).await?;
        }
        Ok(purged)
    }

    /// The plan of the purge by identity behind `after`, of the caller's reseller or the one that an operator names; none
    /// named: of all.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`] or that the database cannot be asked.
    pub async fn purge_plan(
        &self,
        context: &Context,
        of: Option<ResellerId>,
        after: i32,
        limit: i64,
    ) -> Result<(Vec<PlannedPurge>, Time), Error> {
        context.principal.require(Scope::AccountRead)?;
        let reseller = match (context.principal.reseller, of) {
            (Some(_), named) => Some(context.principal.resolve_reseller(named)?),
            (None, named) => named,
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

    /// Approves that everything of a reseller that is due now is purged in the next run, however much it is; says whether a run
    /// was held back.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`] or [`Error::NotFound`].
    pub async fn approve_purge(&self, by: &Principal, reseller: ResellerId) -> Result<bool, Error> {
        by.require(Scope::ResellerWrite)?;
        let now = self.now();
        let work = self.write(Tenancy::Platform, None, move |tx| {
            Box::pin(async move {
                tx.lock_reseller(reseller)
                    .await
                    .map_err(|_| Error::NotFound(Resource::Reseller))?;
                tx.approve_purge(reseller, now).await
            })
        });
        work.await?.done()
    }

    async fn purging_resellers(&self, before: Time) -> Result<Vec<PurgingReseller>, Error> {
        self.read(Tenancy::Platform, move |tx| {
            Box::pin(async move { tx.list_purging_resellers(before).await })
        })
        .await
    }

    /// Carries out a command of automation on accounts; says at how many something changed. That one is gone meanwhile, or that
    /// the facts forbid it, is no failure.
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
            what: ChangeKind::Command {
                account: *account,
                command: command.clone(),
                only_at: None,
            },
            once: None,
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

/// Stands where the reseller's own settings are filled in when the command is decided.
const NO_PURGE: PurgePolicy = PurgePolicy {
    is_on: false,
    grace: TimeDelta::days(30),
    reseller_released_at: None,
};

//! Bulk jobs: one command for every account that a filter matches.
//!
//! A job is planned first, then applied in the background, and it can be reverted. The journal
//! records every change under the job's own request id. So a worker that takes over from a dead one
//! reads there which accounts are done, and a revert reads there which changes it has to undo.

mod worker;

use std::sync::Arc;

use tracing::warn;
use uuid::Uuid;

use super::{Context, Principal, Service};
use crate::domain::{
    Account, AccountFilter, Actor, Command, Conflict, Error, Outcome, ResellerId, Resource, Scope,
    Time,
};
use crate::store::{BulkItem, BulkJob, JobState, Tenancy, Tx};

/// How many accounts a job may have at most.
const MAX_ACCOUNTS: usize = 100_000;
/// How many accounts are read, or changed, at a time.
const PAGE: i64 = 256;

/// What a job would do, judged by the accounts as they are when the job is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preview {
    /// How many accounts the command would change.
    pub changes: i64,
    /// How many accounts would stay as they are.
    pub unchanged: i64,
    /// How many accounts would refuse the command.
    pub refused: i64,
}

impl Preview {
    fn count(&mut self, account: &Account, command: &Command, actor: &Actor, now: Time) {
        let change = account.decide(command, actor, now);
        match change.map(|change| change.outcome()) {
            Ok(Outcome::Applied) => self.changes += 1,
            Ok(_) => self.unchanged += 1,
            Err(_) => self.refused += 1,
        }
    }
}

impl Service {
    /// Plans a job. The accounts that the filter matches now are the job's accounts. The command is
    /// not carried out before the job is applied.
    ///
    /// # Errors
    /// [`Error::InvalidField`] if the filter matches no account or more than 100,000, or if the
    /// command cannot be part of a job.
    pub async fn plan_bulk_job(
        &self,
        context: &Context,
        reseller: Option<ResellerId>,
        filter: AccountFilter,
        selector: String,
        command: Command,
    ) -> Result<(BulkJob, Preview), Error> {
        context.principal.require(Scope::AccountWrite)?;
        let reseller = context.principal.resolve_reseller(reseller)?;
        let (actor, now) = (context.principal.actor(), self.now());
        let job = BulkJob {
            reseller,
            id: Uuid::now_v7(),
            command,
            selector,
            state: JobState::Planned,
            created_at: now,
            created_by: actor.name.clone(),
            authority: actor.authority,
            updated_at: now,
            counts: Vec::new(),
        };
        self.write(Tenancy::of(reseller), move |tx| {
            Box::pin(async move {
                tx.insert_bulk_job(&job).await?;
                let preview = insert_items(tx, &job, &filter, &actor, now).await?;
                Ok((tx.fetch_bulk_job(Some(reseller), job.id).await?, preview))
            })
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
    ) -> Result<BulkJob, Error> {
        let states = [JobState::Planned, JobState::Applying, JobState::Applied];
        self.start_bulk_job(context, id, states).await
    }

    /// Starts to revert an applied job, in the background. Accounts that were changed since the job
    /// was applied are left alone. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if the job was not applied to all its accounts
    /// yet.
    pub async fn revert_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
    ) -> Result<BulkJob, Error> {
        let states = [JobState::Applied, JobState::Reverting, JobState::Reverted];
        self.start_bulk_job(context, id, states).await
    }

    /// Moves a job from the first of the states to the second, and works on it in a spawned task. A
    /// job that has reached the second or third state is not moved.
    async fn start_bulk_job(
        self: &Arc<Self>,
        context: &Context,
        id: Uuid,
        [from, working, done]: [JobState; 3],
    ) -> Result<BulkJob, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let now = self.now();
        let job = self.find_bulk_job(&context.principal, id).await?;
        if job.authority != context.principal.authority() {
            return Err(Error::NotFound(Resource::BulkJob));
        }
        let reseller = job.reseller;
        let job = self
            .write(Tenancy::of(reseller), move |tx| {
                Box::pin(async move {
                    let is_moved = tx
                        .move_bulk_job(reseller, id, &[from], working, now)
                        .await?;
                    let job = tx.fetch_bulk_job(Some(reseller), id).await?;
                    if is_moved || job.state == working || job.state == done {
                        Ok(job)
                    } else {
                        Err(Error::Conflict(Conflict::BulkJob))
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
        Ok(job)
    }
}

/// Inserts the accounts that a filter matches as the items of a job, and counts what it would do.
async fn insert_items(
    tx: &mut Tx,
    job: &BulkJob,
    filter: &AccountFilter,
    actor: &Actor,
    now: Time,
) -> Result<Preview, Error> {
    let (mut preview, mut count, mut from) = (Preview::default(), 0, Some(1));
    while let Some(first) = from {
        let page = tx
            .list_accounts(Some(job.reseller), filter, first, PAGE, now)
            .await?
            .rows;
        let Some(last) = page.last() else { break };
        from = last.id.as_i32().checked_add(1);
        count += page.len();
        if count > MAX_ACCOUNTS {
            let problem = format!("finds more than {MAX_ACCOUNTS} accounts");
            return Err(Error::invalid("selector", problem));
        }
        for account in &page {
            preview.count(account, &job.command, actor, now);
        }
        let accounts: Vec<i32> = page.iter().map(|account| account.id.as_i32()).collect();
        let holds: Vec<Uuid> = page.iter().map(|_| Uuid::now_v7()).collect();
        tx.insert_bulk_items(job.reseller, job.id, &accounts, &holds)
            .await?;
    }
    if count == 0 {
        return Err(Error::invalid("selector", "finds no account"));
    }
    Ok(preview)
}

//! Deletes bulk jobs and the lists of their accounts.

use std::iter::repeat;
use std::time::Duration;

use chrono::TimeDelta;
use tracing::warn;
use uuid::Uuid;

use crate::domain::{Conflict, Error, ResellerId, Resource, Scope};
use crate::service::{Completion, Context, IdempotentRequest, Service};
use crate::store::{JobState, Tenancy};

/// How long a planned job waits to be applied.
const PLANNED_FOR: TimeDelta = TimeDelta::hours(24);
/// How many finished jobs of a reseller are kept, the newest ones. An operator's jobs for it are
/// counted apart.
const FINISHED: i64 = 1_000;
/// How many jobs one run deletes or trims at most. Each can have 100,000 items.
const JOBS: i64 = 500;

impl Service {
    /// Deletes a planned or finished job. The changes that it made stay.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if the job is under way.
    pub async fn delete_bulk_job(
        &self,
        context: &Context,
        id: Uuid,
        idempotency: Option<IdempotentRequest<()>>,
    ) -> Result<Completion<()>, Error> {
        context.principal.require(Scope::AccountWrite)?;
        let job = self.find_bulk_job(&context.principal, id).await?;
        if job.authority != context.principal.authority() {
            return Err(Error::NotFound(Resource::BulkJob));
        }
        super::check_owner(&context.principal, &job)?;
        let states = [JobState::Planned, JobState::Applied, JobState::Reverted];
        let tenancy = super::tenancy(job.reseller, idempotency.as_ref());
        self.write_once(&context.principal, tenancy, idempotency, move |tx| {
            Box::pin(async move {
                if tx.delete_bulk_job(job.reseller, id, &states).await? {
                    Ok(())
                } else {
                    Err(Error::Conflict(Conflict::BulkJob {
                        state: job.state.as_str(),
                        accepted: "a planned or finished job can be deleted",
                    }))
                }
            })
        })
        .await
    }

    /// Deletes jobs that were planned more than 24 hours ago and not applied since, and finished
    /// jobs beyond the newest 1,000 of a reseller. Returns how many.
    ///
    /// # Errors
    /// The error of the first job that could not be deleted. All were tried.
    pub async fn delete_stale_bulk_jobs(&self) -> Result<usize, Error> {
        let before = self
            .now()
            .checked_sub_signed(PLANNED_FOR)
            .unwrap_or_default();
        let stale = self
            .background_read(Tenancy::Platform, move |tx| {
                Box::pin(tx.list_stale_bulk_jobs(before, JOBS))
            })
            .await?;
        let surplus = self
            .background_read(Tenancy::Platform, |tx| {
                Box::pin(tx.list_surplus_bulk_jobs(FINISHED, JOBS))
            })
            .await?;
        let finished = &[JobState::Applied, JobState::Reverted][..];
        let stale = stale.into_iter().zip(repeat(&[JobState::Planned][..]));
        let surplus = surplus.into_iter().zip(repeat(finished));
        let mut tally = Tally::default();
        for ((reseller, id), states) in stale.chain(surplus) {
            let deleted = self.background_write(Tenancy::of(reseller), move |tx| {
                Box::pin(async move { tx.delete_bulk_job(reseller, id, states).await })
            });
            tally.add(reseller, id, deleted.await);
        }
        tally.result()
    }

    /// Deletes the list of accounts of jobs that were finished longer than `keep` ago. Their counts
    /// stay. Returns how many jobs were trimmed.
    ///
    /// # Errors
    /// The error of the first job that could not be trimmed. All were tried.
    pub async fn trim_bulk_jobs(&self, keep: Duration) -> Result<usize, Error> {
        let now = self.now();
        let before = TimeDelta::from_std(keep)
            .ok()
            .and_then(|keep| now.checked_sub_signed(keep))
            .unwrap_or_default();
        let finished = self
            .background_read(Tenancy::Platform, move |tx| {
                Box::pin(tx.list_untrimmed_bulk_jobs(before, JOBS))
            })
            .await?;
        let mut tally = Tally::default();
        for (reseller, id) in finished {
            let trimmed = self.background_write(Tenancy::of(reseller), move |tx| {
                Box::pin(tx.trim_bulk_job(reseller, id, before, now))
            });
            tally.add(reseller, id, trimmed.await);
        }
        tally.result()
    }
}

/// Counts the jobs that were cleaned up. One that failed stops no other.
#[derive(Default)]
struct Tally {
    done: usize,
    failed: Option<Error>,
}

impl Tally {
    fn add(&mut self, reseller: ResellerId, id: Uuid, result: Result<bool, Error>) {
        match result {
            Ok(is_done) => self.done += usize::from(is_done),
            Err(error) => {
                warn!(%reseller, job = %id, %error, "could not clean up a bulk job");
                self.failed.get_or_insert(error);
            }
        }
    }

    fn result(self) -> Result<usize, Error> {
        self.failed.map_or(Ok(self.done), Err)
    }
}

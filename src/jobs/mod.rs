//! Background jobs: work that no request triggers.
//!
//! No account's state waits for a job: expiry and the ends of holds are computed when an account is
//! read. Jobs only announce, prepare and clean up. [`run`] calls them again and again; tests call
//! the single functions.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::domain::Error;
use crate::service::Service;

const MOMENT: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// The number of days, today included, for which journal partitions exist in advance. It is larger
/// than necessary, so that the jobs may be down for days.
pub const JOURNAL_DAYS: i32 = 8;
/// How many times one run of a clean-up deletes. Each time deletes up to 10,000 rows; what is left
/// is deleted by the next run.
const MAX_ROUNDS: usize = 100;

/// The settings of the jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long attempts to deliver webhooks are kept in the log.
    pub keep_attempts: Duration,
    /// How long the journal is kept. `None` means for ever.
    pub keep_journal: Option<Duration>,
    /// How long the lists of accounts of finished bulk jobs are kept.
    pub keep_bulk_items: Duration,
}

/// A job. Its name is its label in the metrics.
struct Job {
    name: &'static str,
    /// The time from the end of a run to the next run, at least.
    every: Duration,
    run: for<'a> fn(&'a Service, &'a Settings) -> BoxFuture<'a, Result<(), Error>>,
}

/// All jobs. `steward_job_failures_total` counts the failed runs of each.
const JOBS: &[Job] = &[
    Job {
        name: "journal",
        every: HOUR,
        run: |service, _| Box::pin(prepare_journal(service)),
    },
    Job {
        name: "journal_retention",
        every: HOUR,
        run: |service, settings| Box::pin(drop_journal(service, settings)),
    },
    Job {
        name: "idempotency",
        every: HOUR,
        run: |service, _| Box::pin(forget_answers(service)),
    },
    Job {
        name: "webhook_log",
        every: HOUR,
        run: |service, settings| Box::pin(trim_attempts(service, settings)),
    },
    Job {
        name: "bulk_cleanup",
        every: HOUR,
        run: |service, settings| Box::pin(clean_up_bulk_jobs(service, settings)),
    },
    Job {
        name: "account_numbers",
        every: HOUR,
        run: |service, _| Box::pin(service.observe_account_numbers()),
    },
    Job {
        name: "account_recount",
        every: HOUR,
        run: |service, _| Box::pin(service.recount_accounts()),
    },
    Job {
        name: "account_counts",
        every: MINUTE,
        run: |service, _| Box::pin(service.settle_account_counts()),
    },
    Job {
        name: "account_texts",
        every: MOMENT,
        run: |service, _| Box::pin(service.flush_account_texts()),
    },
    Job {
        name: "list_totals",
        every: MINUTE,
        run: |service, _| Box::pin(service.fold_totals()),
    },
    Job {
        name: "purge_plan",
        every: HOUR,
        run: |service, _| Box::pin(plan_purges(service)),
    },
    Job {
        name: "announce",
        every: MINUTE,
        run: |service, _| Box::pin(announce(service)),
    },
    Job {
        name: "purge",
        every: MINUTE,
        run: |service, _| Box::pin(purge(service)),
    },
    Job {
        name: "bulk",
        every: MINUTE,
        run: |service, _| Box::pin(service.resume_bulk_jobs()),
    },
    Job {
        name: "observe",
        every: MINUTE,
        run: |service, _| Box::pin(service.observe_endpoints()),
    },
];

/// Runs each job at once and then periodically, until `stop` is cancelled. Each job has a loop of
/// its own, so one that is slow or fails delays no other. A job that fails is logged, and runs
/// again at its next time.
pub async fn run(service: Arc<Service>, settings: Settings, stop: CancellationToken) {
    let (service, settings) = (&*service, &settings);
    let loops = JOBS.iter().map(|job| run_job(job, service, settings));
    tokio::select! {
        _ = join_all(loops) => {}
        () = stop.cancelled() => {}
    }
}

async fn run_job(job: &Job, service: &Service, settings: &Settings) {
    let mut ticks = tokio::time::interval(job.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The failure is logged and counted; the job runs again at its next time.
        let _failed = run_reported(job, service, settings).await;
    }
}

/// Runs a job once, counts the run in the metrics, and logs a failure or a panic.
async fn run_reported(job: &Job, service: &Service, settings: &Settings) -> Result<(), Error> {
    let run = AssertUnwindSafe((job.run)(service, settings)).catch_unwind();
    let result = run.await.unwrap_or_else(|_panic| {
        // The panic hook has logged where.
        error!(job = job.name, "a background job panicked");
        Err(Error::Unavailable)
    });
    let (metrics, now) = (service.metrics(), service.unix_now());
    metrics.job(job.name, result.is_ok(), now);
    if let Err(error) = &result {
        warn!(%error, job = job.name, "a background job failed; it runs again in {} s", job.every.as_secs());
    }
    result
}

/// Announces due expiries and purges, and purges the accounts that are due. With `is_planning`, it
/// first brings the plan of the purge up to date.
///
/// # Errors
/// The error of the first step that failed. All steps were tried.
pub async fn announce_and_purge(service: &Service, is_planning: bool) -> Result<(), Error> {
    let planned = if is_planning {
        plan_purges(service).await
    } else {
        Ok(())
    };
    let announced = announce(service).await;
    let purged = purge(service).await;
    planned.and(announced).and(purged)
}

/// Runs each hourly job once.
///
/// # Errors
/// The error of the first job that failed. All jobs were tried.
pub async fn run_once(service: &Service, settings: &Settings) -> Result<(), Error> {
    let mut result = Ok(());
    for job in JOBS.iter().filter(|job| job.every == HOUR) {
        result = result.and(run_reported(job, service, settings).await);
    }
    result
}

async fn prepare_journal(service: &Service) -> Result<(), Error> {
    let created = service.prepare_journal(JOURNAL_DAYS).await?;
    if created > 0 {
        info!(created, "created partitions of the journal");
    }
    Ok(())
}

async fn drop_journal(service: &Service, settings: &Settings) -> Result<(), Error> {
    let Some(keep) = settings.keep_journal else {
        return Ok(());
    };
    let dropped = service.drop_journal(keep).await?;
    if dropped > 0 {
        info!(dropped, "dropped days of the journal");
    }
    Ok(())
}

async fn forget_answers(service: &Service) -> Result<(), Error> {
    for _ in 0..MAX_ROUNDS {
        let deleted = service.forget_expired_answers().await?;
        if deleted == 0 {
            break;
        }
        info!(
            deleted,
            "deleted expired answers to requests with an idempotency key"
        );
    }
    Ok(())
}

async fn trim_attempts(service: &Service, settings: &Settings) -> Result<(), Error> {
    for _ in 0..MAX_ROUNDS {
        let deleted = service.trim_attempts(settings.keep_attempts).await?;
        if deleted == 0 {
            break;
        }
        info!(deleted, "trimmed the log of webhook deliveries");
    }
    Ok(())
}

async fn clean_up_bulk_jobs(service: &Service, settings: &Settings) -> Result<(), Error> {
    let deleted = service.delete_stale_bulk_jobs().await;
    let trimmed = service.trim_bulk_jobs(settings.keep_bulk_items).await;
    let (deleted, trimmed) = (deleted?, trimmed?);
    if deleted + trimmed > 0 {
        info!(
            deleted,
            trimmed, "deleted planned bulk jobs, and trimmed finished ones"
        );
    }
    Ok(())
}

async fn plan_purges(service: &Service) -> Result<(), Error> {
    service.plan_purges().await.map(drop)
}

async fn announce(service: &Service) -> Result<(), Error> {
    let announced = service.announce_due().await?;
    if announced > 0 {
        info!(announced, "announced expiries and purges");
    }
    Ok(())
}

async fn purge(service: &Service) -> Result<(), Error> {
    service.purge_due().await.map(drop)
}

//! Background jobs: work that no request triggers.
//!
//! No account's state waits for a job: expiry and the ends of holds are computed when an account is
//! read. Jobs only announce, prepare and clean up. [`run`] calls them again and again; tests call
//! the single functions.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::Error;
use crate::service::Service;

/// How often the frequent jobs run.
const INTERVAL: Duration = Duration::from_mins(1);
/// The hourly jobs run once in this many intervals.
const HOUR: u32 = 60;
/// The number of days, today included, for which journal partitions exist in advance. It is larger
/// than necessary, so that the jobs may be down for days.
pub const JOURNAL_DAYS: i32 = 8;

/// The settings of the jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long attempts to deliver webhooks are kept in the log.
    pub keep_attempts: Duration,
    /// How long the journal is kept. `None` means for ever.
    pub keep_journal: Option<Duration>,
}

/// Runs the jobs at once and then periodically, until `stop` is cancelled. A job that fails is
/// logged, and runs again at its next time.
pub async fn run(service: Arc<Service>, settings: Settings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for minute in (0..HOUR).cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let is_hourly = minute == 0;
        if is_hourly {
            let result = run_once(&service, &settings).await;
            report(
                &service,
                "housekeeping",
                result,
                "the hourly jobs failed; they run again in an hour",
            );
        }
        let result = service.resume_bulk_jobs().await;
        report(
            &service,
            "bulk",
            result,
            "could not finish the open bulk jobs; they are resumed in a minute",
        );
        let result = announce_and_purge(&service, is_hourly).await;
        report(
            &service,
            "announce_and_purge",
            result,
            "could not announce expiries or purge accounts; trying again in a minute",
        );
        let result = service.observe_endpoints().await;
        report(
            &service,
            "observe",
            result,
            "could not read the state of the webhook endpoints for the metrics; trying again in a minute",
        );
    }
}

/// Counts a run of a job in the metrics, and logs it if it failed.
fn report(service: &Service, job: &'static str, result: Result<(), Error>, failure: &str) {
    service
        .metrics()
        .job(job, result.is_ok(), service.unix_now());
    if let Err(error) = result {
        warn!(%error, job, "{failure}");
    }
}

/// Announces due expiries and purges, and purges the accounts that are due. With `is_planning`, it
/// first brings the plan of the purge up to date.
///
/// # Errors
/// The error of the first step that failed. The steps after it did not run.
pub async fn announce_and_purge(service: &Service, is_planning: bool) -> Result<(), Error> {
    if is_planning {
        service.plan_purges().await?;
    }
    let announced = service.announce_due().await?;
    if announced > 0 {
        info!(announced, "announced expiries and purges");
    }
    service.purge_due().await.map(drop)
}

/// Runs each hourly job once. Creates journal partitions and deletes expired data.
///
/// # Errors
/// The error of the first job that failed. The jobs after it did not run.
pub async fn run_once(service: &Service, settings: &Settings) -> Result<(), Error> {
    let created = service.prepare_journal(JOURNAL_DAYS).await?;
    if created > 0 {
        info!(created, "created partitions of the journal");
    }
    if let Some(keep) = settings.keep_journal {
        let dropped = service.drop_journal(keep).await?;
        if dropped > 0 {
            info!(dropped, "dropped days of the journal");
        }
    }
    loop {
        let deleted = service.forget_expired_answers().await?;
        if deleted == 0 {
            break;
        }
        info!(
            deleted,
            "deleted expired answers to requests with an idempotency key"
        );
    }
    loop {
        let deleted = service.trim_attempts(settings.keep_attempts).await?;
        if deleted == 0 {
            return Ok(());
        }
        info!(deleted, "trimmed the log of webhook deliveries");
    }
}

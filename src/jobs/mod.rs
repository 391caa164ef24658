//! What time does: the work that no request asks for.
//!
//! No state waits for a job: expiry and the ends of holds are computed when an account is read. Jobs only announce, prepare
//! and clean up. Each has a `run_once` that tests call; [`run`] calls it again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::Error;
use crate::service::Service;

/// How often it is looked whether something is to be announced.
const EVERY: Duration = Duration::from_mins(1);
/// Every so many times the other jobs run too: once an hour.
const ROUNDS: u32 = 60;
/// How many days of the journal have their partition ahead of time, today included. Far more than the jobs need, so
/// that they may be down for days.
pub const JOURNAL_DAYS: i32 = 8;

/// How the jobs run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long attempts to deliver are kept in the log.
    pub keep_attempts: Duration,
    /// How long the journal is kept; none: for ever.
    pub keep_journal: Option<Duration>,
}

/// Runs the jobs at once, and then again and again, until told to stop. A failure is logged and tried again next time.
pub async fn run(service: Arc<Service>, settings: Settings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in (0..ROUNDS).cycle() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if round == 0 {
            let done = run_once(&service, &settings).await;
            tell(
                &service,
                "housekeeping",
                done,
                "the hourly jobs failed; they run again in an hour",
            );
        }
        let done = service.resume_bulk_jobs().await;
        tell(
            &service,
            "bulk",
            done,
            "bulk jobs were interrupted; they go on in a minute",
        );
        let done = announce_and_purge(&service, round == 0).await;
        tell(
            &service,
            "announce_and_purge",
            done,
            "announcing and purging failed; it is tried again in a minute",
        );
        let done = service.observe_endpoints().await;
        tell(
            &service,
            "observe",
            done,
            "webhook endpoints were not looked at; it is tried again in a minute",
        );
    }
}

/// Counts a run, and logs one that failed.
fn tell(service: &Service, job: &'static str, done: Result<(), Error>, failed: &str) {
    service.metrics().job(job, done.is_ok(), service.unix_now());
    if let Err(error) = done {
        warn!(%error, job, "{failed}");
    }
}

/// Announces what is due and purges what was planned for now; makes the plan beforehand, if asked.
///
/// # Errors
/// The first one that failed.
pub async fn announce_and_purge(service: &Service, plans: bool) -> Result<(), Error> {
    if plans {
        service.plan_purges().await?;
    }
    let announced = service.announce_due().await?;
    if announced > 0 {
        info!(announced, "announced expiries and purges");
    }
    service.purge_due().await.map(drop)
}

/// Runs each job once.
///
/// # Errors
/// The first one that failed.
pub async fn run_once(service: &Service, settings: &Settings) -> Result<(), Error> {
    let made = service.prepare_journal(JOURNAL_DAYS).await?;
    if made > 0 {
        info!(made, "made partitions of the journal");
    }
    if let Some(keep) = settings.keep_journal {
        let dropped = service.drop_journal(keep).await?;
        if dropped > 0 {
            info!(dropped, "dropped days of the journal");
        }
    }
    loop {
        let forgotten = service.forget_expired_answers().await?;
        if forgotten == 0 {
            break;
        }
        info!(
            forgotten,
            "forgot answers to requests with an idempotency key"
        );
    }
    loop {
        let trimmed = service.trim_attempts(settings.keep_attempts).await?;
        if trimmed == 0 {
            return Ok(());
        }
        info!(trimmed, "trimmed the log of webhook deliveries");
    }
}

//! The rules of an account's life: holds, expiry, exemption, retention, purge.

mod equivalence;
mod exemption;
mod foreseen;
mod jobs;
mod jobs_for_400_days;
mod model;
mod notices;
mod owners;
mod owners_repeats;
mod predictions;
mod purge;
mod quota;
mod random_histories;
mod sequences;
mod simulation;
mod suspended_resellers;

use chrono::TimeDelta;
use steward::jobs as background;

use crate::harness::App;

/// Lets days pass, with the jobs running twice a day.
pub async fn pass_days(app: &App, days: u32) {
    for _ in 0..days * 2 {
        app.clock.advance(TimeDelta::hours(12));
        background::announce_and_purge(&app.service, true)
            .await
            .unwrap();
    }
}

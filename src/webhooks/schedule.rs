//! The retry schedule: when a failed delivery is tried again.

use std::time::Duration;

use super::http_client::RetryAfter;
use crate::domain::Time;

/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The delay after failure number `failed`, counted from 0. It is the schedule's delay plus or
/// minus a fifth at random, so that deliveries that failed together are not retried together. If
/// the receiver's `Retry-After` is later, the delay is until then.
pub(super) fn delay(
    schedule: &[Duration],
    failed: i32,
    retry_after: Option<RetryAfter>,
    now: Time,
) -> Duration {
    let index = usize::try_from(failed)
        .unwrap_or_default()
        .min(schedule.len().saturating_sub(1));
    let delay = schedule.get(index).copied().unwrap_or_default();
    let requested = match retry_after {
        None => Duration::ZERO,
        Some(RetryAfter::Seconds(seconds)) => Duration::from_secs(seconds),
        Some(RetryAfter::At(at)) => (at - now).to_std().unwrap_or_default(),
    };
    let requested = requested.min(MAX_RETRY_AFTER);
    delay.mul_f64(0.8 + 0.4 * random()).max(requested)
}

/// A random number from 0 to 1; 0 if the system's random source fails, which does no harm here.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    let _failed = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn now() -> Time {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn delays_follow_the_schedule_and_respect_retry_after() {
        let schedule = [5, 300, 1_800].map(Duration::from_secs);
        for (failed, about) in [
            (0, 5.0),
            (1, 300.0),
            (2, 1_800.0),
            (3, 1_800.0),
            (99, 1_800.0),
        ] {
            for _ in 0..50 {
                let delay = delay(&schedule, failed, None, now()).as_secs_f64();
                assert!((0.8..=1.2).contains(&(delay / about)), "{failed}: {delay}");
            }
        }
        let after = |failed, seconds| {
            let at = TimeDelta::try_seconds(seconds).map(|it| RetryAfter::At(now() + it));
            let seconds = u64::try_from(seconds).ok().map(RetryAfter::Seconds);
            [seconds, at].map(|retry_after| delay(&schedule, failed, retry_after, now()))
        };
        assert_eq!(after(0, 60), [Duration::from_mins(1); 2]);
        assert!(after(1, 1).iter().all(|delay| delay.as_secs() >= 240));
        assert_eq!(after(0, 1_000_000), [Duration::from_hours(24); 2]);
        // A date in the past delays nothing.
        assert!(after(0, -60)[1].as_secs() <= 6);
    }
}

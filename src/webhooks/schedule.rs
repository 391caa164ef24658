//! The retry schedule: when a failed delivery is tried again.

use std::time::Duration;

/// The longest `Retry-After` that is respected, in seconds.
const MAX_RETRY_AFTER: u64 = 24 * 3_600;

/// The delay after failure number `failed`, counted from 0. It is the schedule's delay plus or
/// minus a fifth at random, so that deliveries that failed together are not retried together. If
/// the receiver's `Retry-After` (in seconds) is longer, the delay is that.
pub(super) fn delay(schedule: &[Duration], failed: i32, retry_after: Option<u64>) -> Duration {
    let index = usize::try_from(failed)
        .unwrap_or_default()
        .min(schedule.len().saturating_sub(1));
    let delay = schedule.get(index).copied().unwrap_or_default();
    let requested = Duration::from_secs(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
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
    use super::*;

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
                let delay = delay(&schedule, failed, None).as_secs_f64();
                assert!((0.8..=1.2).contains(&(delay / about)), "{failed}: {delay}");
            }
        }
        assert_eq!(delay(&schedule, 0, Some(60)), Duration::from_mins(1));
        assert!(delay(&schedule, 1, Some(1)).as_secs() >= 240);
        assert_eq!(
            delay(&schedule, 0, Some(u64::MAX)),
            Duration::from_hours(24)
        );
    }
}

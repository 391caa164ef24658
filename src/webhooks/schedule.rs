//! When what failed is tried again.

use std::time::Duration;

/// A receiver's wish is heard up to here.
const MAX_RETRY_AFTER: u64 = 24 * 3_600;

/// How long after failure number `failed` (from 0) it is tried again: the schedule's delay, give or take a fifth, so that
/// what failed together does not come back together; later if the receiver wishes it.
pub(super) fn delay(schedule: &[Duration], failed: i32, retry_after: Option<u64>) -> Duration {
    let place = usize::try_from(failed)
        .unwrap_or_default()
        .min(schedule.len().saturating_sub(1));
    let delay = schedule.get(place).copied().unwrap_or_default();
    let wish = Duration::from_secs(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
    delay.mul_f64(0.8 + 0.4 * random()).max(wish)
}

/// From 0 to 1. If the system has no randomness, none is needed badly.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    let _unlucky = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_the_receivers_wish_counts() {
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

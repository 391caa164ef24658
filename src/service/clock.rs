//! The clock. Only this file reads the time that is stored or compared (a clippy lint bans the
//! machine's clock elsewhere), so that tests can set the time. UUIDs of version 7 contain the
//! machine's time as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use crate::domain::Time;

/// The source of the time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until a test moves it.
    Manual(ManualClock),
}

impl Clock {
    /// The time now, in whole microseconds, as the database stores it.
    #[must_use]
    pub fn now(&self) -> Time {
        match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the only place where the machine's time is read"
            )]
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// A clock for tests. All its clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at an instant.
    #[must_use]
    pub fn at(time: Time) -> Self {
        Self(Arc::new(AtomicI64::new(time.timestamp_micros())))
    }

    /// The instant at which the clock stands.
    #[must_use]
    pub fn now(&self) -> Time {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }

    /// Moves the clock forward, or back if `by` is negative.
    pub fn advance(&self, by: TimeDelta) {
        self.0
            .fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::SeqCst);
    }
}

//! Rate limits per credential and per client address, kept in this process.
//!
//! The algorithm is GCRA, a leaky bucket whose state is one instant per caller. Each request moves
//! the instant forward by its share of a minute: with a limit of 60, by one second. A request that
//! would move it more than a minute ahead of now is refused. So a caller may send a whole minute's
//! requests at once, and gets them back one by one as time passes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quick_cache::sync::Cache;

use super::{Principal, Service};
use crate::domain::{Error, ResellerId, Time, TokenId};
use crate::shares::Holder;

/// How many callers are tracked. Beyond that the cache evicts some, which then have their whole
/// limit again.
const CAPACITY: usize = 100_000;
/// The period of a limit, in microseconds.
const MINUTE: i64 = 60_000_000;

/// How many requests a minute are accepted. `None` means any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// From one credential.
    pub per_token: Option<u32>,
    /// From one client address. IPv6 addresses of the same /64 count as one.
    pub per_address: Option<u32>,
}

/// How many requests a caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The limit, in requests a minute.
    pub limit: u32,
    /// How many requests are left now.
    pub remaining: u32,
    /// When all requests are available again, if the caller sends none until then.
    pub reset_at: Time,
}

/// Requests with the same key share a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RateKey {
    /// A credential of ours.
    Token(TokenId),
    /// The subject of another issuer's JSON Web Token, with its reseller.
    Subject(Option<ResellerId>, Arc<str>),
    /// A client address; of IPv6, the /64.
    Address(Holder),
}

#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    /// For each caller, the instant that its requests move forward, in microseconds since 1970.
    used_until: Cache<RateKey, Arc<AtomicI64>>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            used_until: Cache::new(CAPACITY),
        }
    }

    /// Counts one request. If it is over the limit, also returns the seconds until the next one is
    /// accepted.
    fn take(&self, key: &RateKey, limit: u32, now: Time) -> (Rate, Option<u32>) {
        let used_until = self
            .used_until
            .get_or_insert_with::<_, std::convert::Infallible>(key, || Ok(Arc::default()));
        let used_until = used_until.unwrap_or_default();
        let now = now.timestamp_micros();
        let step = MINUTE / i64::from(limit.max(1));
        let burst = step * i64::from(limit.max(1));
        // More than a minute ahead means that the clock was set back since: those requests are
        // ignored.
        let at_least_now = |until: i64| {
            if until > now + burst {
                now
            } else {
                until.max(now)
            }
        };
        let mut retry_after = None;
        let taken = used_until.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |until| {
            let until = at_least_now(until);
            (until + step <= now + burst).then_some(until + step)
        });
        let until = match taken {
            Ok(before) => at_least_now(before) + step,
            Err(full) => {
                let wait = full + step - now - burst;
                retry_after = Some(
                    u32::try_from((wait + 999_999) / 1_000_000)
                        .unwrap_or(u32::MAX)
                        .max(1),
                );
                full
            }
        };
        let remaining = u32::try_from((now + burst - until) / step).unwrap_or_default();
        (
            Rate {
                limit,
                remaining,
                reset_at: Time::from_timestamp_micros(until).unwrap_or_default(),
            },
            retry_after,
        )
    }
}

impl Service {
    /// Counts a request of a credential. The rate is `None` if credentials have no limit.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; the rate is returned then too.
    pub fn count_caller(&self, principal: &Principal) -> (Option<Rate>, Result<(), Error>) {
        let key = match (principal.token, &principal.subject) {
            (Some(token), _) => RateKey::Token(token),
            (None, Some(subject)) => {
                RateKey::Subject(principal.reseller, Arc::from(subject.as_str()))
            }
            (None, None) => return (None, Ok(())),
        };
        self.count(&key, self.limiter.limits.per_token)
    }

    /// Counts a request from a client address. The rate is `None` if addresses have no limit.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; the rate is returned then too.
    pub fn count_address(&self, address: IpAddr) -> (Option<Rate>, Result<(), Error>) {
        let key = RateKey::Address(Holder::address(address));
        self.count(&key, self.limiter.limits.per_address)
    }

    fn count(&self, key: &RateKey, limit: Option<u32>) -> (Option<Rate>, Result<(), Error>) {
        let Some(limit) = limit else {
            return (None, Ok(()));
        };
        let (rate, wait) = self.limiter.take(key, limit, self.now());
        (
            Some(rate),
            wait.map_or(Ok(()), |retry_after| {
                Err(Error::RateLimited { retry_after })
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_available_again_evenly_over_the_minute() {
        let limiter = Limiter::new(Limits::default());
        let start: Time = "2026-03-01T12:00:00Z".parse().unwrap();
        let take = |seconds: i64| {
            let (rate, wait) = limiter.take(
                &RateKey::Token(TokenId(1)),
                3,
                start + chrono::TimeDelta::seconds(seconds),
            );
            (rate.remaining, (rate.reset_at - start).num_seconds(), wait)
        };
        assert_eq!(
            [take(0), take(0), take(0)],
            [(2, 20, None), (1, 40, None), (0, 60, None)]
        );
        assert_eq!(take(0), (0, 60, Some(20)));
        assert_eq!(take(15), (0, 60, Some(5)));
        assert_eq!(
            take(20),
            (0, 80, None),
            "after a third of the minute one of three requests is available"
        );
        assert_eq!(take(21), (0, 80, Some(19)));
        assert_eq!(
            take(500),
            (2, 520, None),
            "after a pause the whole limit is available"
        );
        assert_eq!(
            [take(-9_000), take(-9_000)],
            [(2, -8_980, None), (1, -8_960, None)],
            "a clock that is set back blocks no caller"
        );
        let (other, _) = limiter.take(&RateKey::Token(TokenId(2)), 3, start);
        assert_eq!(other.remaining, 2, "each caller has its own limit");
    }
}

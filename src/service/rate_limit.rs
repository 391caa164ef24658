//! How often one may ask: per credential and per client address, in this process.
//!
//! A leaky bucket of one number: the instant at which all that was asked so far would have been spread evenly. Whoever
//! pauses has the whole minute's allowance again, and nobody gets more than that in any burst.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quick_cache::sync::Cache;

use super::{Principal, Service};
use crate::domain::{Error, ResellerId, Time, TokenId};

/// How many askers are remembered; of more, those that ask least are forgotten, which allows them more, not less.
const CAPACITY: usize = 100_000;
/// The span that an allowance is for, in microseconds.
const MINUTE: i64 = 60_000_000;

/// How many requests a minute are taken; none: as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of one credential.
    pub per_token: Option<u32>,
    /// Of one client address; of IPv6, of one /64.
    pub per_address: Option<u32>,
}

/// What one may ask yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a minute.
    pub limit: u32,
    /// How many of them are left now.
    pub remaining: u32,
    /// When all of them are there again, if no more are made.
    pub reset_at: Time,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asker {
    Token(TokenId),
    Subject(Option<ResellerId>, Arc<str>),
    Address(IpAddr),
}

#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    /// For each, the instant up to which its requests are spread, in microseconds.
    spread: Cache<Asker, Arc<AtomicI64>>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            spread: Cache::new(CAPACITY),
        }
    }

    /// Takes one request, or says after how many seconds it would.
    fn take(&self, asker: &Asker, limit: u32, now: Time) -> (Rate, Option<u32>) {
        let spread = self
            .spread
            .get_or_insert_with::<_, std::convert::Infallible>(asker, || Ok(Arc::default()));
        let spread = spread.unwrap_or_default();
        let now = now.timestamp_micros();
        let one = MINUTE / i64::from(limit.max(1));
        let whole = one * i64::from(limit.max(1));
        // What lies further ahead than a minute was asked before the clock was set back: it is forgotten.
        let spread_to = |until: i64| {
            if until > now + whole {
                now
            } else {
                until.max(now)
            }
        };
        let mut retry_after = None;
        let taken = spread.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |until| {
            let until = spread_to(until);
            (until + one <= now + whole).then_some(until + one)
        });
        let until = match taken {
            Ok(before) => spread_to(before) + one,
            Err(full) => {
                let wait = full + one - now - whole;
                retry_after = Some(
                    u32::try_from((wait + 999_999) / 1_000_000)
                        .unwrap_or(u32::MAX)
                        .max(1),
                );
                full
            }
        };
        let remaining = u32::try_from((now + whole - until) / one).unwrap_or_default();
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
    /// Counts a request of a credential; what it may ask yet, if there is a limit, and [`Error::RateLimited`] if that is nothing.
    ///
    /// # Errors
    /// [`Error::RateLimited`], with what is left as well.
    pub fn count_caller(&self, principal: &Principal) -> (Option<Rate>, Result<(), Error>) {
        let asker = match (principal.token, &principal.subject) {
            (Some(token), _) => Asker::Token(token),
            (None, Some(subject)) => {
                Asker::Subject(principal.reseller, Arc::from(subject.as_str()))
            }
            (None, None) => return (None, Ok(())),
        };
        self.count(&asker, self.limiter.limits.per_token)
    }

    /// Counts a request from a client's address, before anything else is known of it.
    ///
    /// # Errors
    /// [`Error::RateLimited`], with what is left as well.
    pub fn count_address(&self, address: IpAddr) -> (Option<Rate>, Result<(), Error>) {
        let asker = match address.to_canonical() {
            IpAddr::V4(address) => Asker::Address(address.into()),
            IpAddr::V6(address) => Asker::Address(
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            ),
        };
        self.count(&asker, self.limiter.limits.per_address)
    }

    fn count(&self, asker: &Asker, limit: Option<u32>) -> (Option<Rate>, Result<(), Error>) {
        let Some(limit) = limit else {
            return (None, Ok(()));
        };
        let (rate, wait) = self.limiter.take(asker, limit, self.now());
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
    fn an_allowance_is_used_up_and_comes_back_evenly() {
        let limiter = Limiter::new(Limits::default());
        let start: Time = "2026-03-01T12:00:00Z".parse().unwrap();
        let ask = |seconds: i64| {
            let (rate, wait) = limiter.take(
                &Asker::Token(TokenId(1)),
                3,
                start + chrono::TimeDelta::seconds(seconds),
            );
            (rate.remaining, (rate.reset_at - start).num_seconds(), wait)
        };
        assert_eq!(
            [ask(0), ask(0), ask(0)],
            [(2, 20, None), (1, 40, None), (0, 60, None)]
        );
        assert_eq!(ask(0), (0, 60, Some(20)));
        assert_eq!(ask(15), (0, 60, Some(5)));
        assert_eq!(
            ask(20),
            (0, 80, None),
            "a third of the minute gives one of three"
        );
        assert_eq!(ask(21), (0, 80, Some(19)));
        assert_eq!(ask(500), (2, 520, None), "after a pause all of it is there");
        assert_eq!(
            [ask(-9_000), ask(-9_000)],
            [(2, -8_980, None), (1, -8_960, None)],
            "a clock that is set back locks nobody out"
        );
        let (other, _) = limiter.take(&Asker::Token(TokenId(2)), 3, start);
        assert_eq!(other.remaining, 2, "askers do not share");
    }
}

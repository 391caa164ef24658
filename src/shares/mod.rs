//! Fair shares of what is scarce: database connections, memory for bodies, webhook attempts.
//!
//! A [`Shares`] has a number of permits in all, and a number that one holder may have at a time. A
//! holder is usually a reseller. A holder that has its share waits until one of its own permits is
//! free; when no permit is free at all, everybody waits. Waiting holders are served in turn, one
//! request each. So a holder with a thousand waiting requests delays another holder's request by
//! one request, not by a thousand.
//!
//! Waiting is bounded, in time and in number. A request that cannot wait any longer is refused, and
//! [`Refused`] says whether the holder's own share was used up or all permits were.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::{ResellerId, TokenId};
use crate::metrics::Metrics;

/// Who holds permits or waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// A reseller. [`ResellerId::PLATFORM`] is the operator.
    Reseller(ResellerId),
    /// A credential.
    Token(TokenId),
    /// A client address. IPv6 addresses of the same /64 are one holder.
    Address(IpAddr),
    /// The webhook dispatcher. It divides its share among the resellers by turns of its own.
    Webhooks,
}

impl Holder {
    /// The holder for a client address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
            }
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reseller(ResellerId::PLATFORM) => f.write_str("operator"),
            Self::Reseller(reseller) => write!(f, "reseller {reseller}"),
            Self::Token(token) => write!(f, "token {token}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Webhooks => f.write_str("webhooks"),
        }
    }
}

/// How many permits there are, and how long a request waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The permits in all, at least 1.
    pub total: usize,
    /// The permits that one holder may have at a time, at least 1.
    pub each: usize,
    /// How many requests of one holder may wait. A further one is refused at once.
    pub queue: usize,
    /// How long a request waits.
    pub wait: Duration,
}

/// Why a request got no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The holder's own requests use up its share.
    OwnShare,
    /// As many requests of the holder wait as may wait.
    QueueFull,
    /// All permits are in use, most of them by others.
    AllShares,
}

impl Refused {
    /// The label in the metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::OwnShare => "own_share",
            Self::QueueFull => "queue_full",
            Self::AllShares => "all_shares",
        }
    }
}

/// Permits that several holders share. Clones are handles of the same permits.
#[derive(Debug, Clone)]
pub struct Shares {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    limits: Limits,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The permits in use.
    used: usize,
    /// Those who hold permits or wait for some.
    holders: HashMap<Holder, Standing>,
    /// The holders with waiting requests; the first one has the next turn.
    turns: VecDeque<Holder>,
    /// The number of the last request that waited.
    last_waiter: u64,
}

/// What a holder has, and what it waits for.
#[derive(Debug, Default)]
struct Standing {
    used: usize,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    amount: usize,
    sender: oneshot::Sender<Permit>,
}

/// Permission to use something, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    shares: Shares,
    holder: Holder,
    amount: usize,
}

/// Removes a request from the queue when its caller stops waiting.
struct Waiting<'a> {
    shares: &'a Shares,
    holder: Holder,
    number: u64,
}

impl Shares {
    /// `name` is the label in the metrics.
    #[must_use]
    pub fn new(name: &'static str, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let limits = Limits {
            total: limits.total.max(1),
            each: limits.each.clamp(1, limits.total.max(1)),
            ..limits
        };
        Self {
            inner: Arc::new(Inner {
                name,
                limits,
                metrics,
                state: Mutex::default(),
            }),
        }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Takes `amount` permits if they are free now and nobody waits for them.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn try_take(&self, holder: Holder, amount: usize) -> Result<Permit, Refused> {
        self.take_now(&mut self.lock(), holder, amount)
            .inspect_err(|refused| self.count(*refused))
    }

    /// Takes `amount` permits if they are free now, even above the holder's own share. For a holder
    /// that stands for many, such as a proxy.
    ///
    /// # Errors
    /// [`Refused::AllShares`].
    pub fn try_take_unlimited(&self, holder: Holder, amount: usize) -> Result<Permit, Refused> {
        let mut state = self.lock();
        if state.used.saturating_add(amount) > self.inner.limits.total {
            drop(state);
            self.count(Refused::AllShares);
            return Err(Refused::AllShares);
        }
        Ok(self.grant(&mut state, holder, amount))
    }

    /// Takes `amount` permits, and waits for them if they are not free. An amount above a holder's
    /// share is taken as the whole share.
    ///
    /// # Errors
    /// [`Refused`] if as many requests of the holder wait as may wait, or if the wait took too
    /// long.
    pub async fn take(&self, holder: Holder, amount: usize) -> Result<Permit, Refused> {
        let amount = amount.min(self.inner.limits.each);
        let (number, receiver) = {
            let mut state = self.lock();
            if let Ok(permit) = self.take_now(&mut state, holder, amount) {
                return Ok(permit);
            }
            let standing = state.holders.entry(holder).or_default();
            if standing.waiting.len() >= self.inner.limits.queue {
                state.forget_if_idle(holder);
                self.count(Refused::QueueFull);
                return Err(Refused::QueueFull);
            }
            state.enqueue(holder, amount)
        };
        let waiting = Waiting {
            shares: self,
            holder,
            number,
        };
        let granted = tokio::time::timeout(self.inner.limits.wait, receiver).await;
        if let Ok(Ok(permit)) = granted {
            return Ok(permit);
        }
        let refused = self.reason(&self.lock(), holder, amount);
        drop(waiting);
        self.count(refused);
        Err(refused)
    }

    /// How many permits are in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// How many permits a holder has.
    #[must_use]
    pub fn used_by(&self, holder: Holder) -> usize {
        self.lock().used_by(holder)
    }

    /// Writes the use of the permits, and who waits for them, into the metrics.
    pub fn record(&self) {
        let (used, mut waiting) = {
            let state = self.lock();
            let waiting: Vec<_> = state
                .turns
                .iter()
                .filter_map(|holder| Some((*holder, state.holders.get(holder)?.waiting.len())))
                .collect();
            (state.used, waiting)
        };
        waiting.sort_by_key(|(holder, count)| (usize::MAX - count, *holder));
        let waiting = waiting
            .into_iter()
            .map(|(holder, count)| (holder.to_string(), count));
        self.inner.metrics.set_share(self.inner.name, used, waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, refused: Refused) {
        self.inner
            .metrics
            .share_refused(self.inner.name, refused.as_str());
    }

    /// Takes permits if they are free and nobody who could have them waits.
    fn take_now(
        &self,
        state: &mut State,
        holder: Holder,
        amount: usize,
    ) -> Result<Permit, Refused> {
        let is_others_turn = state.turns.iter().any(|waiting| {
            *waiting == holder || state.own_share_fits(*waiting, self.inner.limits.each)
        });
        let refused = self.reason(state, holder, amount);
        let fits = state.fits(holder, amount, self.inner.limits);
        if is_others_turn || !fits {
            return Err(refused);
        }
        Ok(self.grant(state, holder, amount))
    }

    /// Why a request of this holder does not get its permits now.
    fn reason(&self, state: &State, holder: Holder, amount: usize) -> Refused {
        let (used, limits) = (state.used_by(holder), self.inner.limits);
        let would_fit = state.used.saturating_add(amount) <= limits.total;
        if would_fit && used + amount > limits.each {
            Refused::OwnShare
        } else {
            Refused::AllShares
        }
    }

    fn grant(&self, state: &mut State, holder: Holder, amount: usize) -> Permit {
        state.used += amount;
        state.holders.entry(holder).or_default().used += amount;
        Permit {
            shares: self.clone(),
            holder,
            amount,
        }
    }

    fn give_back(&self, holder: Holder, amount: usize) {
        let mut state = self.lock();
        state.used -= amount;
        if let Some(standing) = state.holders.get_mut(&holder) {
            standing.used -= amount;
        }
        state.forget_if_idle(holder);
        let unclaimed = self.serve(&mut state);
        drop(state);
        // Dropped without the lock, because dropping a permit takes it.
        drop(unclaimed);
    }

    /// Gives free permits to those who wait, in turn. Returns permits whose requests have stopped
    /// waiting.
    fn serve(&self, state: &mut State) -> Vec<Permit> {
        let mut unclaimed = Vec::new();
        let mut passed_over = 0;
        while passed_over < state.turns.len() {
            let Some(holder) = state.turns.pop_front() else {
                break;
            };
            let front = state
                .holders
                .get(&holder)
                .and_then(|standing| standing.waiting.front());
            let Some(amount) = front.map(|waiter| waiter.amount) else {
                continue;
            };
            if !state.own_share_fits(holder, self.inner.limits.each) {
                state.turns.push_back(holder);
                passed_over += 1;
                continue;
            }
            if state.used + amount > self.inner.limits.total {
                // The next turn is this holder's. Smaller requests of others do not overtake it.
                state.turns.push_front(holder);
                break;
            }
            passed_over = 0;
            let waiter = state
                .holders
                .get_mut(&holder)
                .and_then(|standing| standing.waiting.pop_front());
            if let Some(waiter) = waiter {
                let permit = self.grant(state, holder, waiter.amount);
                unclaimed.extend(waiter.sender.send(permit).err());
            }
            if state
                .holders
                .get(&holder)
                .is_some_and(|standing| !standing.waiting.is_empty())
            {
                state.turns.push_back(holder);
            }
        }
        unclaimed
    }
}

impl State {
    fn used_by(&self, holder: Holder) -> usize {
        self.holders.get(&holder).map_or(0, |it| it.used)
    }

    fn fits(&self, holder: Holder, amount: usize, limits: Limits) -> bool {
        self.used_by(holder) + amount <= limits.each
            && self.used.saturating_add(amount) <= limits.total
    }

    /// Whether the first waiting request of a holder fits into the holder's own share.
    fn own_share_fits(&self, holder: Holder, each: usize) -> bool {
        self.holders.get(&holder).is_some_and(|standing| {
            standing
                .waiting
                .front()
                .is_some_and(|waiter| standing.used + waiter.amount <= each)
        })
    }

    fn forget_if_idle(&mut self, holder: Holder) {
        if self
            .holders
            .get(&holder)
            .is_some_and(|standing| standing.used == 0 && standing.waiting.is_empty())
        {
            self.holders.remove(&holder);
        }
    }

    fn enqueue(&mut self, holder: Holder, amount: usize) -> (u64, oneshot::Receiver<Permit>) {
        let (sender, receiver) = oneshot::channel();
        self.last_waiter += 1;
        let number = self.last_waiter;
        let standing = self.holders.entry(holder).or_default();
        standing.waiting.push_back(Waiter {
            number,
            amount,
            sender,
        });
        if standing.waiting.len() == 1 {
            self.turns.push_back(holder);
        }
        (number, receiver)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shares.give_back(self.holder, self.amount);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.shares.lock();
        let Some(standing) = state.holders.get_mut(&self.holder) else {
            return;
        };
        standing
            .waiting
            .retain(|waiter| waiter.number != self.number);
        if standing.waiting.is_empty() {
            let holder = self.holder;
            state.turns.retain(|waiting| *waiting != holder);
            state.forget_if_idle(holder);
        }
        // The request may have been the one that the others had to wait for.
        let unclaimed = self.shares.serve(&mut state);
        drop(state);
        drop(unclaimed);
    }
}

#[cfg(test)]
mod tests;

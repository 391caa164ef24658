//! Several lanes for one kind of work, of which the next is used when those before it are crowded.
//!
//! To begin a batch costs the database as much as dozens of its rows, so one lane with large batches does more than two with
//! small ones; but it leaves the database idle while it decides, and with many requests under way that is what is lost. All
//! that is under way for one reseller is on one lane, so no two lanes ever want the same rows.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use super::Settings;
use super::lane::Lane;
use crate::domain::{Error, ResellerId};
use crate::metrics::Metrics;

/// With so many requests under way a lane is crowded. Measured with 2 lanes and 2 cores: below, one lane does more.
const CROWD: usize = 48;

/// The lanes, in the order in which they are used.
#[derive(Debug)]
pub(super) struct Lanes<Q, A> {
    lanes: Vec<Lane<(Q, Seat), A>>,
    seats: Arc<Seats>,
}

impl<Q: Send + 'static, A: Send + 'static> Lanes<Q, A> {
    /// `carry_out` gives one outcome for each request, in their order.
    pub(super) fn start<F, W>(names: &[&'static str], settings: &Settings, metrics: &Arc<Metrics>, tasks: &TaskTracker, carry_out: F) -> Self
    where
        F: Fn(Vec<Q>) -> W + Clone + Send + 'static,
        W: Future<Output = Vec<Result<A, Error>>> + Send + 'static,
    {
        let start = |name: &&'static str| {
            let carry_out = carry_out.clone();
            Lane::start(name, settings, metrics, tasks, move |seated: Vec<(Q, Seat)>| {
                let (requests, seats): (Vec<Q>, Vec<Seat>) = seated.into_iter().unzip();
                let work = carry_out(requests);
                async move {
                    let outcomes = work.await;
                    drop(seats);
                    outcomes
                }
            })
        };
        Self { lanes: names.iter().map(start).collect(), seats: Arc::new(Seats::new(names.len())) }
    }

    /// Queues a request of a reseller and waits for its outcome. If the caller is dropped meanwhile, the request goes on.
    pub(super) async fn submit(&self, reseller: ResellerId, request: Q) -> Result<A, Error> {
        let seat = Seats::take(&self.seats, reseller);
        self.lanes.get(seat.lane).ok_or(Error::Unavailable)?.submit((request, seat)).await
    }

    /// Says how many requests wait now.
    pub(super) fn look(&self) {
        self.lanes.iter().for_each(Lane::look);
    }

    /// Takes no more; what is queued is still carried out.
    pub(super) fn close(&self) {
        self.lanes.iter().for_each(Lane::close);
    }
}

/// Who is under way where.
#[derive(Debug)]
struct Seats(Mutex<Taken>);

#[derive(Debug)]
struct Taken {
    /// The lane of each reseller that has anything under way, and how much.
    resellers: HashMap<ResellerId, (usize, usize)>,
    /// How much is under way in each lane.
    lanes: Vec<usize>,
}

impl Seats {
    fn new(lanes: usize) -> Self {
        Self(Mutex::new(Taken { resellers: HashMap::new(), lanes: vec![0; lanes] }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the reseller is already, or else the first lane that is not crowded, or else the least crowded one.
    fn take(seats: &Arc<Self>, reseller: ResellerId) -> Seat {
        let mut taken = seats.taken();
        let Taken { resellers, lanes } = &mut *taken;
        let (lane, count) = resellers.entry(reseller).or_insert_with(|| {
            let free = lanes.iter().position(|count| *count < CROWD);
            let least = || lanes.iter().enumerate().min_by_key(|(_, count)| **count).map(|(lane, _)| lane);
            (free.or_else(least).unwrap_or_default(), 0)
        });
        *count += 1;
        let lane = *lane;
        if let Some(count) = lanes.get_mut(lane) {
            *count += 1;
        }
        drop(taken);
        Seat { seats: Arc::clone(seats), reseller, lane }
    }
}

/// A request's place in a lane, from when it is queued until it is carried out.
#[derive(Debug)]
struct Seat {
    seats: Arc<Seats>,
    reseller: ResellerId,
    lane: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.lanes.get_mut(self.lane) {
            *count -= 1;
        }
        if let Some((_, count)) = taken.resellers.get_mut(&self.reseller) {
            *count -= 1;
            if *count == 0 {
                taken.resellers.remove(&self.reseller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_crowded_before_the_next_is_used() {
        let seats = Arc::new(Seats::new(2));
        let crowd = i64::try_from(CROWD).unwrap_or_default();
        let mut taken: Vec<Seat> = (0..crowd).map(|reseller| Seats::take(&seats, ResellerId(reseller))).collect();
        assert!(taken.iter().all(|seat| seat.lane == 0));
        taken.extend((crowd..3 * crowd).map(|reseller| Seats::take(&seats, ResellerId(reseller))));
        let lane = |lane| taken.iter().filter(|seat| seat.lane == lane).count();
        assert_eq!([lane(0), lane(1)], [CROWD + CROWD / 2, CROWD + CROWD / 2]);
    }

    #[test]
    fn a_reseller_is_on_one_lane_until_nothing_of_it_is_under_way() {
        let seats = Arc::new(Seats::new(2));
        let others: Vec<Seat> = (0..CROWD).map(|_| Seats::take(&seats, ResellerId(1))).collect();
        let first = Seats::take(&seats, ResellerId(2));
        assert_eq!(first.lane, 1);
        drop(others);
        let second = Seats::take(&seats, ResellerId(2));
        assert_eq!(second.lane, 1, "although the first lane is empty");
        drop((first, second));
        assert_eq!(Seats::take(&seats, ResellerId(2)).lane, 0);
    }
}

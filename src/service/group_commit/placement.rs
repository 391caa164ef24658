//! Several lanes for one kind of work, of which the next is used when those before it are crowded.
//!
//! To begin a batch costs the database as much as dozens of its rows, so one lane with large batches does more than two with
//! small ones; but it leaves the database idle while it decides, and with many requests under way that is what is lost. All
//! that is under way for one reseller is on one lane, so no two lanes ever want the same rows. A lane that is held up, by rows
//! that somebody else has locked, is left to those who are on it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::lane::Lane;
use crate::domain::{Error, ResellerId};
use crate::metrics::Metrics;
use crate::service::settings::{CommitScope, Settings};

/// With so many requests under way a lane is crowded. Measured with 2 lanes and 2 cores: below, one lane does more. Nobody is
/// refused by a full queue while another lane has room; and where nothing is committed together but what is one reseller's, there is
/// nothing to gain.
fn crowd(settings: &Settings) -> usize {
    match settings.scope {
        CommitScope::All => settings.queue.min(48),
        CommitScope::Reseller => 1,
    }
}

/// A lane with requests under way that has finished none for so long is held up: batches take a few milliseconds.
const HELD_UP: Duration = Duration::from_millis(100);

/// The lanes, in the order in which they are used.
#[derive(Debug)]
pub(in crate::service) struct Lanes<Q, A> {
    lanes: Vec<Lane<(Q, Placement), A>>,
    seats: Arc<Seats>,
}

impl<Q: Send + 'static, A: Send + 'static> Lanes<Q, A> {
    /// `carry_out` gives one outcome for each request, in their order.
    pub(in crate::service) fn start<F, W>(
        names: &[&'static str],
        settings: &Settings,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        carry_out: F,
    ) -> Self
    where
        F: Fn(Vec<Q>) -> W + Clone + Send + 'static,
        W: Future<Output = Vec<Result<A, Error>>> + Send + 'static,
    {
        let start = |name: &&'static str| {
            let carry_out = carry_out.clone();
            Lane::start(
                name,
                settings,
                metrics,
                tasks,
                move |seated: Vec<(Q, Placement)>| {
                    let (requests, seats): (Vec<Q>, Vec<Placement>) = seated.into_iter().unzip();
                    let work = carry_out(requests);
                    async move {
                        let outcomes = work.await;
                        drop(seats);
                        outcomes
                    }
                },
            )
        };
        Self {
            lanes: names.iter().map(start).collect(),
            seats: Arc::new(Seats::new(names.len(), crowd(settings))),
        }
    }

    /// Queues a request of a reseller and waits for its outcome. If the caller is dropped meanwhile, the request goes on.
    pub(in crate::service) async fn submit(
        &self,
        reseller: ResellerId,
        request: Q,
    ) -> Result<A, Error> {
        let seat = Seats::take(&self.seats, reseller, Instant::now());
        self.lanes
            .get(seat.lane)
            .ok_or(Error::Unavailable)?
            .submit((request, seat))
            .await
    }

    /// Says how many requests wait now.
    pub(in crate::service) fn record_queue_depth(&self) {
        self.lanes.iter().for_each(Lane::record_queue_depth);
    }

    /// Takes no more; what is queued is still carried out.
    pub(in crate::service) fn close(&self) {
        self.lanes.iter().for_each(Lane::close);
    }
}

/// Who is under way where.
#[derive(Debug)]
struct Seats {
    crowd: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// The lane of each reseller that has anything under way, and how much.
    resellers: HashMap<ResellerId, (usize, usize)>,
    lanes: Vec<Load>,
}

/// What is under way in a lane.
#[derive(Debug, Clone, Default)]
struct Load {
    count: usize,
    /// When something was last finished, or the first came.
    moved_at: Option<Instant>,
}

impl Seats {
    fn new(lanes: usize, crowd: usize) -> Self {
        Self {
            crowd,
            taken: Mutex::new(Taken {
                resellers: HashMap::new(),
                lanes: vec![Load::default(); lanes],
            }),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the reseller is already, or else the first lane that is neither crowded nor held up, or else the one with the
    /// least under way of those that are not held up, or of all.
    fn take(seats: &Arc<Self>, reseller: ResellerId, now: Instant) -> Placement {
        let mut taken = seats.taken();
        let Taken { resellers, lanes } = &mut *taken;
        let (lane, count) = resellers.entry(reseller).or_insert_with(|| {
            let moves = |load: &Load| {
                load.count == 0
                    || load
                        .moved_at
                        .is_none_or(|at| now.saturating_duration_since(at) < HELD_UP)
            };
            let free = lanes
                .iter()
                .position(|load| load.count < seats.crowd && moves(load));
            let least = || {
                lanes
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, load)| (!moves(load), load.count))
                    .map(|(lane, _)| lane)
            };
            (free.or_else(least).unwrap_or_default(), 0)
        });
        *count += 1;
        let lane = *lane;
        if let Some(load) = lanes.get_mut(lane) {
            if load.count == 0 {
                load.moved_at = Some(now);
            }
            load.count += 1;
        }
        drop(taken);
        Placement {
            seats: Arc::clone(seats),
            reseller,
            lane,
        }
    }
}

/// A request's place in a lane, from when it is queued until it is carried out.
#[derive(Debug)]
struct Placement {
    seats: Arc<Seats>,
    reseller: ResellerId,
    lane: usize,
}

impl Drop for Placement {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(load) = taken.lanes.get_mut(self.lane) {
            load.count -= 1;
            load.moved_at = Some(Instant::now());
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

    const CROWD: usize = 4;

    fn take(seats: &Arc<Seats>, resellers: std::ops::Range<i64>, now: Instant) -> Vec<Placement> {
        resellers
            .map(|reseller| Seats::take(seats, ResellerId(reseller), now))
            .collect()
    }

    fn lanes(taken: &[Placement]) -> Vec<usize> {
        taken.iter().map(|seat| seat.lane).collect()
    }

    #[test]
    fn a_lane_is_crowded_before_the_next_is_used() {
        let seats = Arc::new(Seats::new(2, CROWD));
        let taken = take(&seats, 0..12, Instant::now());
        assert_eq!(lanes(&taken), [0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_reseller_is_on_one_lane_until_nothing_of_it_is_under_way() {
        let (seats, now) = (Arc::new(Seats::new(2, CROWD)), Instant::now());
        let others = take(&seats, 0..4, now);
        let first = Seats::take(&seats, ResellerId(7), now);
        assert_eq!(first.lane, 1);
        drop(others);
        let second = Seats::take(&seats, ResellerId(7), now);
        assert_eq!(second.lane, 1, "although the first lane is empty");
        drop((first, second));
        assert_eq!(Seats::take(&seats, ResellerId(7), now).lane, 0);
    }

    #[test]
    fn a_lane_that_is_held_up_is_left_to_those_who_are_on_it() {
        let (seats, now) = (Arc::new(Seats::new(2, CROWD)), Instant::now());
        let stuck = take(&seats, 1..2, now);
        let later = take(&seats, 1..3, now + HELD_UP);
        assert_eq!(
            lanes(&later),
            [0, 1],
            "the one that is there stays, another goes elsewhere"
        );
        let crowd = take(&seats, 3..8, now + HELD_UP);
        assert_eq!(lanes(&crowd), [1; 5], "even where it is crowded");
        drop((stuck, later, crowd));
        assert_eq!(
            lanes(&take(&seats, 2..3, now + 3 * HELD_UP)),
            [0],
            "it moves again"
        );
    }
}

//! Several lanes for one kind of work, and the choice of the lane for each request.
//!
//! Starting a batch costs the database as much as dozens of rows, so one lane with large batches
//! does more than two lanes with small ones. But while a single lane decides, the database is idle;
//! with many requests that is the greater loss. So the next lane is used only when those before it
//! are crowded.
//!
//! All requests of a reseller that are under way are on the same lane, so two lanes never wait for
//! each other's rows. A lane may be blocked all the same, by rows that another replica has locked.
//! A blocked lane gets no new resellers until it moves again.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::lane::Lane;
use crate::domain::{Error, ResellerId};
use crate::metrics::Metrics;
use crate::service::settings::{CommitScope, Settings};

/// A lane with this many requests under way is crowded. 48 was measured with 2 lanes on 2 cores:
/// with fewer requests, one lane does more than two. It is never more than the queue holds, so that
/// a full queue refuses no request while another lane has room. Where resellers do not share
/// transactions, large batches gain nothing, and a lane is crowded by its first request.
fn crowd(settings: &Settings) -> usize {
    match settings.scope {
        CommitScope::All => settings.queue.min(48),
        CommitScope::Reseller => 1,
    }
}

/// How many requests of one reseller may be under way: half of what a lane's queue holds. So its
/// changes never fill a queue for others.
fn share(settings: &Settings) -> usize {
    settings.queue.div_ceil(2)
}

/// A lane that has requests under way and has finished none for this long is blocked. A batch
/// normally takes a few milliseconds.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// The lanes, in the order in which they are used.
#[derive(Debug)]
pub(in crate::service) struct Lanes<Q, A> {
    lanes: Vec<Lane<(Q, Placement), A>>,
    placements: Arc<Placements>,
}

impl<Q: Send + 'static, A: Send + 'static> Lanes<Q, A> {
    /// Makes a lane for each name. `carry_out` must return one outcome for each request, in the
    /// order of the requests.
    pub(in crate::service) fn start<F, W>(
        names: &[&'static str],
        settings: &Settings,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        carry_out: F,
    ) -> Self
    where
        F: Fn(Vec<Q>) -> W + Clone + Send + Sync + 'static,
        W: Future<Output = Vec<Result<A, Error>>> + Send + 'static,
    {
        let start = |name: &&'static str| {
            let carry_out = carry_out.clone();
            Lane::start(
                name,
                settings,
                metrics,
                tasks,
                move |placed: Vec<(Q, Placement)>| {
                    let (requests, placements): (Vec<Q>, Vec<Placement>) =
                        placed.into_iter().unzip();
                    let work = carry_out(requests);
                    async move {
                        let outcomes = work.await;
                        drop(placements);
                        outcomes
                    }
                },
            )
        };
        Self {
            lanes: names.iter().map(start).collect(),
            placements: Arc::new(Placements::new(
                names.len(),
                crowd(settings),
                share(settings),
            )),
        }
    }

    /// Queues a request of a reseller and waits for its outcome, as [`Lane::submit`] does.
    pub(in crate::service) async fn submit(
        &self,
        reseller: ResellerId,
        request: Q,
    ) -> Result<A, Error> {
        let placement = Placements::place(&self.placements, reseller, Instant::now())?;
        self.lanes
            .get(placement.lane)
            .ok_or(Error::Unavailable)?
            .submit((request, placement))
            .await
    }

    /// Records in the metrics how many requests are queued on each lane now.
    pub(in crate::service) fn record_queue_depth(&self) {
        self.lanes.iter().for_each(Lane::record_queue_depth);
    }

    /// Accepts no more requests. Those that are queued are still carried out.
    pub(in crate::service) fn close(&self) {
        self.lanes.iter().for_each(Lane::close);
    }
}

/// The requests that are under way, that is, queued or being carried out.
#[derive(Debug)]
struct Placements {
    crowd: usize,
    /// How many requests of one reseller may be under way.
    share: usize,
    loads: Mutex<Loads>,
}

#[derive(Debug)]
struct Loads {
    /// The lane of each reseller that has requests under way, and how many.
    resellers: HashMap<ResellerId, (usize, usize)>,
    lanes: Vec<LaneLoad>,
}

/// The requests that are under way on one lane.
#[derive(Debug, Clone, Default)]
struct LaneLoad {
    count: usize,
    /// When a request was last finished, or when the first one came to the idle lane.
    moved_at: Option<Instant>,
}

impl LaneLoad {
    fn is_blocked(&self, now: Instant) -> bool {
        self.count > 0
            && self
                .moved_at
                .is_some_and(|at| now.saturating_duration_since(at) >= BLOCKED_AFTER)
    }
}

impl Placements {
    fn new(lanes: usize, crowd: usize, share: usize) -> Self {
        Self {
            crowd,
            share,
            loads: Mutex::new(Loads {
                resellers: HashMap::new(),
                lanes: vec![LaneLoad::default(); lanes],
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the lane for a request. Uses the lane on which the reseller has requests under way;
    /// otherwise the first lane that is neither crowded nor blocked; otherwise the lane with the
    /// fewest requests among those that are not blocked, or among all.
    ///
    /// # Errors
    /// [`Error::ShareUsedUp`] if too many requests of the reseller are under way.
    fn place(
        placements: &Arc<Self>,
        reseller: ResellerId,
        now: Instant,
    ) -> Result<Placement, Error> {
        let mut loads = placements.lock();
        let Loads { resellers, lanes } = &mut *loads;
        let (lane, count) = resellers.entry(reseller).or_insert_with(|| {
            let free = lanes
                .iter()
                .position(|load| load.count < placements.crowd && !load.is_blocked(now));
            let least = || {
                lanes
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, load)| (load.is_blocked(now), load.count))
                    .map(|(lane, _)| lane)
            };
            (free.or_else(least).unwrap_or_default(), 0)
        });
        if *count >= placements.share {
            return Err(Error::ShareUsedUp { what: "changes" });
        }
        *count += 1;
        let lane = *lane;
        if let Some(load) = lanes.get_mut(lane) {
            if load.count == 0 {
                load.moved_at = Some(now);
            }
            load.count += 1;
        }
        drop(loads);
        Ok(Placement {
            placements: Arc::clone(placements),
            reseller,
            lane,
        })
    }
}

/// The place of a request on a lane. It is dropped when the request has been carried out, and is
/// not under way any more.
#[derive(Debug)]
struct Placement {
    placements: Arc<Placements>,
    reseller: ResellerId,
    lane: usize,
}

impl Drop for Placement {
    fn drop(&mut self) {
        let mut loads = self.placements.lock();
        if let Some(load) = loads.lanes.get_mut(self.lane) {
            load.count -= 1;
            load.moved_at = Some(Instant::now());
        }
        if let Some((_, count)) = loads.resellers.get_mut(&self.reseller) {
            *count -= 1;
            if *count == 0 {
                loads.resellers.remove(&self.reseller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: usize = 4;
    const SHARE: usize = 6;

    fn place(
        placements: &Arc<Placements>,
        resellers: std::ops::Range<i64>,
        now: Instant,
    ) -> Vec<Placement> {
        resellers
            .map(|reseller| Placements::place(placements, ResellerId(reseller), now).unwrap())
            .collect()
    }

    fn lanes(placed: &[Placement]) -> Vec<usize> {
        placed.iter().map(|placement| placement.lane).collect()
    }

    #[test]
    fn the_next_lane_is_used_when_the_first_is_crowded() {
        let placements = Arc::new(Placements::new(2, CROWD, SHARE));
        let placed = place(&placements, 0..12, Instant::now());
        assert_eq!(lanes(&placed), [0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_reseller_stays_on_its_lane_while_it_has_requests_under_way() {
        let (placements, now) = (Arc::new(Placements::new(2, CROWD, SHARE)), Instant::now());
        let others = place(&placements, 0..4, now);
        let first = Placements::place(&placements, ResellerId(7), now).unwrap();
        assert_eq!(first.lane, 1);
        drop(others);
        let second = Placements::place(&placements, ResellerId(7), now).unwrap();
        assert_eq!(second.lane, 1, "although the first lane is empty");
        drop((first, second));
        assert_eq!(
            Placements::place(&placements, ResellerId(7), now)
                .unwrap()
                .lane,
            0,
            "nothing of the reseller is under way any more"
        );
    }

    #[test]
    fn a_blocked_lane_gets_no_new_resellers_until_it_moves_again() {
        let (placements, now) = (Arc::new(Placements::new(2, CROWD, SHARE)), Instant::now());
        let stuck = place(&placements, 1..2, now);
        let later = place(&placements, 1..3, now + BLOCKED_AFTER);
        assert_eq!(
            lanes(&later),
            [0, 1],
            "the reseller on the blocked lane stays there, a new one does not join it"
        );
        let crowd = place(&placements, 3..8, now + BLOCKED_AFTER);
        assert_eq!(lanes(&crowd), [1; 5], "even when the other lane is crowded");
        drop((stuck, later, crowd));
        assert_eq!(
            lanes(&place(&placements, 2..3, now + 3 * BLOCKED_AFTER)),
            [0],
            "the lane moves again"
        );
    }

    #[test]
    fn a_reseller_has_no_more_requests_under_way_than_its_share() {
        let (placements, now) = (Arc::new(Placements::new(1, CROWD, SHARE)), Instant::now());
        let place = |reseller| Placements::place(&placements, ResellerId(reseller), now);
        let mut under_way: Vec<_> = (0..SHARE).map(|_| place(1).unwrap()).collect();
        let refused = Some(Error::ShareUsedUp { what: "changes" });
        assert_eq!(place(1).err(), refused);
        assert!(place(2).is_ok(), "another reseller has its own share");
        under_way.pop();
        assert!(place(1).is_ok());
    }
}

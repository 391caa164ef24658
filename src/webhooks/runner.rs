//! Delivers to one endpoint for as long as the lease is held: reads the journal from the endpoint's position on, sends
//! what it wants to be told, lane by lane, and writes what became of it, everything since the last time in one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, debug_span, info, warn};
use uuid::Uuid;

use super::account_queues::Lanes;
use super::http_client::{Answered, Sender};
use super::message::Item;
use super::{Settings, schedule, sign};
use crate::domain::{Endpoint, Error, SuspendedBy, Time};
use crate::service::{Attempt, Progress, Service};
use crate::telemetry;

/// How many events are read at once, and how many may be neither delivered nor parked.
const PAGE: i64 = 250;
const WINDOW: usize = 500;
/// How many attempts are written together at most, and after how long at the latest.
const BATCH: usize = 250;
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long the lease is kept when there is nothing to do.
const LINGER: Duration = Duration::from_secs(5);
/// With so many accounts shut nothing more is read: an endpoint that takes nothing is not worth a table full of its events.
const MAX_SHUT: usize = 1_000;
/// How many shut lanes are loaded at once, and how much of each.
const DUE_LANES: i64 = 64;
const DUE_DEPTH: i64 = 16;

/// What came of an attempt.
struct Finished {
    item: Item,
    began_at: Time,
    took: Duration,
    answered: Answered,
}

pub(super) struct Runner {
    given: Given,
    lanes: Lanes,
    read_to: i64,
    is_caught_up: bool,
    next_due: Option<Time>,
    attempts: Vec<Attempt>,
    failing_since: Option<Time>,
    last_success_at: Option<Time>,
    suspend: Option<SuspendedBy>,
    /// Shut lanes of which all that was loaded is delivered.
    done: Vec<i32>,
    /// The lease is lost, or the endpoint is gone.
    is_over: bool,
}

/// What a runner is given.
pub(super) struct Given {
    pub(super) service: Arc<Service>,
    pub(super) settings: Arc<Settings>,
    pub(super) sender: Sender,
    /// All attempts of this process.
    pub(super) slots: Arc<Semaphore>,
    /// Who holds the lease.
    pub(super) owner: Uuid,
    pub(super) endpoint: Endpoint,
    pub(super) secrets: Vec<String>,
    /// Somebody says that there is something new.
    pub(super) poke: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

impl Runner {
    /// `shut`: the accounts of which something is pending.
    pub(super) fn new(given: Given, shut: Vec<i32>) -> Self {
        Self {
            lanes: Lanes::new(shut),
            read_to: given.endpoint.position,
            failing_since: given.endpoint.failing_since,
            given,
            is_caught_up: false,
            next_due: None,
            attempts: Vec::new(),
            last_success_at: None,
            suspend: None,
            done: Vec::new(),
            is_over: false,
        }
    }

    /// Delivers until there has been nothing to do for a while, the endpoint is suspended, the lease is lost, or it is told
    /// to stop.
    pub(super) async fn run(mut self) {
        let mut under_way = JoinSet::new();
        if let Err(error) = self.work(&mut under_way).await {
            // Whatever is not written is delivered again: by us or by another, when the lease has run out.
            warn!(%error, endpoint = %self.given.endpoint.id, "delivering stopped");
        }
        under_way.shutdown().await;
    }

    async fn work(&mut self, under_way: &mut JoinSet<Finished>) -> Result<(), Error> {
        let (mut written, mut active) = (Instant::now(), Instant::now());
        let (mut look_for_due, mut must_write) = (true, false);
        loop {
            if std::mem::take(&mut look_for_due) && !self.is_over {
                self.load_due().await?;
            }
            if !self.is_over {
                self.read_journal().await?;
                self.start(under_way);
            }
            look_for_due |= !self.done.is_empty();
            let is_idle = under_way.is_empty() && self.lanes.is_empty();
            let unwritten =
                self.attempts.len() + self.lanes.parked.len() + self.lanes.settled.len();
            let is_behind = self.lanes.position(self.read_to) > self.given.endpoint.position;
            let is_due = unwritten >= BATCH
                || written.elapsed()
                    >= if unwritten > 0 || is_behind || must_write {
                        WRITE_EVERY
                    } else {
                        self.given.settings.lease / 4
                    };
            if is_due || (is_idle && (unwritten > 0 || is_behind)) || self.suspend.is_some() {
                self.write(Some(self.lease_until())).await?;
                written = Instant::now();
                must_write = false;
            }
            if self.is_over {
                return self.give_back().await;
            }
            if !is_idle {
                active = Instant::now();
            }
            if self.given.stop.is_cancelled() || (is_idle && active.elapsed() >= LINGER) {
                self.drain(under_way).await;
                return self.give_back().await;
            }
            let now = self.given.service.now();
            let until_due = match self.next_due {
                // Something was written, and so there is room again.
                _ if self.has_room() => Duration::ZERO,
                Some(due) => (due - now).to_std().unwrap_or_default(),
                None => LINGER,
            };
            let wait = until_due.min(if is_idle && !must_write {
                LINGER
                    .saturating_sub(active.elapsed())
                    .min(self.given.settings.lease / 4)
            } else {
                WRITE_EVERY
            });
            tokio::select! {
                Some(finished) = under_way.join_next() => {
                    if let Ok(finished) = finished {
                        look_for_due |= self.take(finished);
                    }
                }
                () = self.given.poke.notified() => {
                    self.is_caught_up = false;
                    look_for_due = true;
                    // What is new may be that its owner changed the endpoint, or removed it: writing tells.
                    must_write = true;
                }
                () = self.given.stop.cancelled() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {
                    look_for_due |= self.next_due.is_some_and(|due| due <= self.given.service.now());
                }
            }
            // What else is there already.
            while let Some(Ok(finished)) = under_way.try_join_next() {
                look_for_due |= self.take(finished);
            }
        }
    }

    fn lease_until(&self) -> Time {
        self.given.service.now() + self.given.settings.lease
    }

    /// Reads on in the journal while there is room.
    async fn read_journal(&mut self) -> Result<(), Error> {
        while self.has_room() {
            let events = self
                .given
                .service
                .read_events(self.given.endpoint.reseller_id, self.read_to, PAGE)
                .await?;
            self.is_caught_up = i64::try_from(events.len()).unwrap_or(PAGE) < PAGE;
            let now = self.given.service.now();
            for event in events {
                self.read_to = event.entry.id;
                let names = self.given.endpoint.wants(&event.entry.events);
                self.lanes.push_new(Item::of_event(
                    event,
                    names,
                    self.given.settings.writer,
                    now,
                ));
            }
        }
        Ok(())
    }

    /// Whether there is more to be read now. What is parked counts: an endpoint of which nearly every account is shut would
    /// otherwise have all its events read before any of it is written, and lose its lease over that.
    fn has_room(&self) -> bool {
        let has_place = self.lanes.open() < WINDOW
            && self.lanes.parked.len() < WINDOW
            && self.lanes.shut_lanes() < MAX_SHUT;
        has_place && !self.is_caught_up && self.suspend.is_none()
    }

    /// Loads the shut lanes that are due.
    async fn load_due(&mut self) -> Result<(), Error> {
        // What was settled or parked meanwhile must be written first: the table is what is read.
        if !(self.lanes.settled.is_empty() && self.lanes.parked.is_empty()) {
            self.write(Some(self.lease_until())).await?;
        }
        if self.is_over {
            return Ok(());
        }
        let (id, reseller) = (self.given.endpoint.id, self.given.endpoint.reseller_id);
        let done = std::mem::take(&mut self.done);
        let due = self
            .given
            .service
            .read_due(
                reseller,
                id,
                self.lanes.loaded(),
                done,
                DUE_LANES,
                DUE_DEPTH,
            )
            .await?;
        let now = self.given.service.now();
        due.clear
            .into_iter()
            .for_each(|account| self.lanes.reopen(account));
        for lane in due.lanes {
            let items: Vec<Item> = lane
                .into_iter()
                .map(|one| {
                    Item::of_pending(one.pending, one.event, self.given.settings.writer, now)
                })
                .collect();
            if let Some(first) = items.first() {
                self.lanes.shut(first.key.account);
            }
            self.lanes.push_parked(items);
        }
        self.next_due = due.next;
        Ok(())
    }

    fn start(&mut self, under_way: &mut JoinSet<Finished>) {
        while under_way.len() < self.given.settings.endpoint_concurrency {
            let Ok(slot) = Arc::clone(&self.given.slots).try_acquire_owned() else {
                return;
            };
            let Some(item) = self.lanes.next() else {
                return;
            };
            let began_at = self.given.service.now();
            let Some(body) = item.body.clone() else {
                // An event that is kept no longer: there is nothing to be told.
                if self.lanes.delivered(item.key.account) {
                    self.done.push(item.key.account);
                }
                continue;
            };
            let headers = sign::headers(
                self.given.endpoint.style,
                &self.given.secrets,
                &item.message_id,
                began_at.timestamp(),
                &body,
            );
            let (sender, url) = (self.given.sender.clone(), self.given.endpoint.url.clone());
            let span = debug_span!(target: telemetry::SPANS, "delivery", endpoint = %self.given.endpoint.id, message = item.message_id);
            let delivery = async move {
                let started = Instant::now();
                let answered = sender.send(&url, headers, body).await;
                drop(slot);
                Finished {
                    item,
                    began_at,
                    took: started.elapsed(),
                    answered,
                }
            };
            under_way.spawn(delivery.instrument(span));
        }
    }

    /// Takes what came of an attempt; says whether shut lanes should be looked at.
    fn take(&mut self, finished: Finished) -> bool {
        let Finished {
            item,
            began_at,
            took,
            answered,
        } = finished;
        let now = self.given.service.now();
        self.attempts.push(Attempt {
            id: Uuid::now_v7(),
            endpoint_id: self.given.endpoint.id,
            key: item.key.clone(),
            event_at: item.at,
            number: item.attempts + 1,
            at: began_at,
            succeeded: answered.succeeded(),
            status: answered
                .status
                .and_then(|status| i16::try_from(status).ok()),
            problem: answered.problem.clone(),
            answer: answered.answer.clone(),
            duration_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
        });
        let age = answered
            .succeeded()
            .then(|| (now - item.at).to_std().unwrap_or_default());
        self.given.service.metrics().attempt(age);
        if answered.succeeded() {
            self.failing_since = None;
            self.last_success_at = Some(now);
            let is_done = self.lanes.delivered(item.key.account);
            if is_done {
                self.done.push(item.key.account);
            }
            return is_done;
        }
        debug!(endpoint = %self.given.endpoint.id, problem = answered.problem, "a delivery failed");
        let since = *self.failing_since.get_or_insert(now);
        if answered.status == Some(410) {
            self.suspend = Some(SuspendedBy::Gone);
        } else if now - since >= self.given.settings.suspend_after {
            self.suspend = Some(SuspendedBy::Failures);
        }
        let delay = schedule::delay(
            &self.given.settings.retries,
            item.attempts,
            answered.retry_after,
        );
        let next = now + delay;
        self.lanes.failed(item.key.account, next);
        self.next_due = Some(self.next_due.map_or(next, |due| due.min(next)));
        false
    }

    /// Writes what came of everything since the last time, and notices whether the lease is still ours and the endpoint
    /// wants more.
    async fn write(&mut self, lease_until: Option<Time>) -> Result<(), Error> {
        // Said once: its owner may have switched it on again meanwhile.
        let suspended_by = self.suspend.take();
        self.is_over |= suspended_by.is_some();
        let progress = Progress {
            at: self.given.service.now(),
            position: self.lanes.position(self.read_to),
            failing_since: self.failing_since,
            last_success_at: self.last_success_at.take(),
            suspended_by,
            attempts: std::mem::take(&mut self.attempts),
            settled: std::mem::take(&mut self.lanes.settled),
            parked: std::mem::take(&mut self.lanes.parked),
            lease_until,
        };
        let position = progress.position;
        let (reseller, id) = (self.given.endpoint.reseller_id, self.given.endpoint.id);
        let Some((revision, is_suspended)) = self
            .given
            .service
            .record_deliveries(reseller, id, self.given.owner, progress)
            .await?
        else {
            // Somebody else goes on from what was written last.
            self.is_over = true;
            return Ok(());
        };
        self.given.endpoint.position = position;
        if let Some(by) = suspended_by {
            info!(endpoint = %id, by = by.as_str(), "an endpoint is suspended");
        }
        if revision != self.given.endpoint.revision && !is_suspended {
            match self.given.service.endpoint_as_it_is(reseller, id).await? {
                Some((endpoint, secrets)) => {
                    self.given.endpoint = Endpoint {
                        position,
                        ..endpoint
                    };
                    self.given.secrets = secrets;
                }
                None => self.is_over = true,
            }
        }
        self.is_over |= is_suspended;
        Ok(())
    }

    /// Waits for what is under way, without starting anything.
    async fn drain(&mut self, under_way: &mut JoinSet<Finished>) {
        while let Some(finished) = under_way.join_next().await {
            if let Ok(finished) = finished {
                self.take(finished);
            }
        }
    }

    async fn give_back(&mut self) -> Result<(), Error> {
        self.write(None).await
    }
}

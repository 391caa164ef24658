//! The runner of one endpoint: delivers while it holds the endpoint's lease.
//!
//! It reads the journal from the endpoint's position on, sends the subscribed events account by
//! account, and writes the results. One transaction writes everything since the previous write,
//! moves the position and extends the lease. If the lease is lost, this write fails and the runner
//! ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, debug_span, info, warn};
use uuid::Uuid;

use super::account_queues::AccountQueues;
use super::http_client::{Response, Sender};
use super::message::Delivery;
use super::{Settings, schedule, sign};
use crate::domain::{Endpoint, Error, SuspendedBy, Time};
use crate::service::{Attempt, Progress, Service};
use crate::telemetry;

/// How many journal entries one read returns at most.
const READ_PAGE: i64 = 250;
/// No more is read while this many deliveries are unsettled, or wait to be written as parked.
const MAX_UNSETTLED: usize = 500;
/// The results of this many attempts are written at once.
const WRITE_BATCH: usize = 250;
/// Fewer results are written after this time.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);
/// How long an idle runner keeps the lease.
const MAX_IDLE: Duration = Duration::from_secs(5);
/// No more is read while this many accounts have parked deliveries. An endpoint that accepts
/// nothing must not fill the table with all its events.
const MAX_PARKED_ACCOUNTS: usize = 1_000;
/// How many due accounts are loaded from the table of pending deliveries at once.
const DUE_ACCOUNTS: i64 = 64;
/// How many pending deliveries of each due account are loaded at once.
const DUE_PER_ACCOUNT: i64 = 16;

/// An attempt that has ended.
struct FinishedAttempt {
    delivery: Delivery,
    began_at: Time,
    duration: Duration,
    response: Response,
}

pub(super) struct Runner {
    context: RunnerContext,
    queues: AccountQueues,
    /// The last journal entry that was read.
    read_to: i64,
    /// Whether the latest read reached the end of the journal.
    is_caught_up: bool,
    /// When the next pending delivery is due. `None` if none is known.
    next_due: Option<Time>,
    /// Attempts to write to the log of attempts.
    attempts: Vec<Attempt>,
    failing_since: Option<Time>,
    /// Set by a success since the last write.
    last_success_at: Option<Time>,
    /// Set when the endpoint has to be suspended; the next write does it.
    suspend: Option<SuspendedBy>,
    /// Parked accounts whose loaded deliveries are all made.
    emptied: Vec<i32>,
    /// Whether the runner has to end: the lease is lost, or the endpoint is suspended or removed.
    is_over: bool,
}

/// The endpoint of a runner, and what it needs to deliver.
pub(super) struct RunnerContext {
    pub(super) service: Arc<Service>,
    pub(super) settings: Arc<Settings>,
    pub(super) sender: Sender,
    /// One permit for each attempt that the process may make at a time.
    pub(super) slots: Arc<Semaphore>,
    /// The id of the dispatcher, which holds the lease.
    pub(super) owner: Uuid,
    pub(super) endpoint: Endpoint,
    /// The newest first.
    pub(super) secrets: Vec<String>,
    /// Notified when the journal has new entries or the endpoint has changed.
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

impl Runner {
    /// `parked_accounts` are the accounts with pending deliveries.
    pub(super) fn new(context: RunnerContext, parked_accounts: Vec<i32>) -> Self {
        Self {
            queues: AccountQueues::new(parked_accounts),
            read_to: context.endpoint.position,
            failing_since: context.endpoint.failing_since,
            context,
            is_caught_up: false,
            next_due: None,
            attempts: Vec::new(),
            last_success_at: None,
            suspend: None,
            emptied: Vec::new(),
            is_over: false,
        }
    }

    /// Delivers until the runner has been idle for [`MAX_IDLE`], the endpoint is suspended or
    /// removed, the lease is lost, or `stop` is cancelled.
    pub(super) async fn run(mut self) {
        let mut under_way = JoinSet::new();
        if let Err(error) = self.work(&mut under_way).await {
            warn!(
                %error,
                endpoint = %self.context.endpoint.id,
                "delivering to a webhook endpoint failed; delivery continues from the stored \
                 position after the lease expires"
            );
        }
        under_way.shutdown().await;
    }

    /// One round of this loop loads, reads and starts what it can, writes if a write is due, and
    /// waits for the next thing to happen.
    async fn work(&mut self, under_way: &mut JoinSet<FinishedAttempt>) -> Result<(), Error> {
        let (mut written, mut active) = (Instant::now(), Instant::now());
        let (mut check_due, mut must_write) = (true, false);
        loop {
            if std::mem::take(&mut check_due) && !self.is_over {
                self.load_due().await?;
            }
            if !self.is_over {
                self.read_journal().await?;
                self.start(under_way);
            }
            check_due |= !self.emptied.is_empty();
            let is_idle = under_way.is_empty() && self.queues.is_empty();
            let unwritten =
                self.attempts.len() + self.queues.parked.len() + self.queues.settled.len();
            let is_behind = self.queues.position(self.read_to) > self.context.endpoint.position;
            let is_write_due = unwritten >= WRITE_BATCH
                || written.elapsed()
                    >= if unwritten > 0 || is_behind || must_write {
                        WRITE_INTERVAL
                    } else {
                        self.context.settings.lease / 4
                    };
            if is_write_due || (is_idle && (unwritten > 0 || is_behind)) || self.suspend.is_some() {
                self.write(Some(self.lease_until())).await?;
                written = Instant::now();
                must_write = false;
            }
            if self.is_over {
                return self.release_lease().await;
            }
            if !is_idle {
                active = Instant::now();
            }
            if self.context.stop.is_cancelled() || (is_idle && active.elapsed() >= MAX_IDLE) {
                self.drain(under_way).await;
                return self.release_lease().await;
            }
            let now = self.context.service.now();
            let until_due = match self.next_due {
                // A write has just made room for reading more.
                _ if self.has_room() => Duration::ZERO,
                Some(due) => (due - now).to_std().unwrap_or_default(),
                None => MAX_IDLE,
            };
            let wait = until_due.min(if is_idle && !must_write {
                MAX_IDLE
                    .saturating_sub(active.elapsed())
                    .min(self.context.settings.lease / 4)
            } else {
                WRITE_INTERVAL
            });
            tokio::select! {
                Some(finished) = under_way.join_next() => {
                    if let Ok(finished) = finished {
                        check_due |= self.record(finished);
                    }
                }
                () = self.context.wake.notified() => {
                    self.is_caught_up = false;
                    check_due = true;
                    // Its owner may have changed or removed the endpoint; a write finds out.
                    must_write = true;
                }
                () = self.context.stop.cancelled() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {
                    check_due |= self.next_due.is_some_and(|due| due <= self.context.service.now());
                }
            }
            // Record everything else that has finished, before the next write.
            while let Some(Ok(finished)) = under_way.try_join_next() {
                check_due |= self.record(finished);
            }
        }
    }

    fn lease_until(&self) -> Time {
        self.context.service.now() + self.context.settings.lease
    }

    /// Reads the journal up to its end, or until there is no room for more.
    async fn read_journal(&mut self) -> Result<(), Error> {
        while self.has_room() {
            let events = self
                .context
                .service
                .read_events(self.context.endpoint.reseller_id, self.read_to, READ_PAGE)
                .await?;
            self.is_caught_up = !events.has_more;
            let now = self.context.service.now();
            for event in events.rows {
                self.read_to = event.entry.id;
                let subscribed = self.context.endpoint.wants(&event.entry.events);
                self.queues.push_new(Delivery::of_event(
                    event,
                    subscribed,
                    self.context.settings.writer,
                    now,
                ));
            }
        }
        Ok(())
    }

    /// Whether the journal should be read further now.
    ///
    /// Deliveries that wait to be written as parked count, too. Otherwise an endpoint with nearly
    /// all accounts parked would read the whole journal before it writes anything, and lose its
    /// lease.
    fn has_room(&self) -> bool {
        let is_below_limits = self.queues.unsettled() < MAX_UNSETTLED
            && self.queues.parked.len() < MAX_UNSETTLED
            && self.queues.parked_accounts() < MAX_PARKED_ACCOUNTS;
        is_below_limits && !self.is_caught_up && self.suspend.is_none()
    }

    /// Loads pending deliveries that are due, and notes which parked accounts have none left.
    async fn load_due(&mut self) -> Result<(), Error> {
        // The table must contain what was settled or parked meanwhile, because it is read next.
        if !(self.queues.settled.is_empty() && self.queues.parked.is_empty()) {
            self.write(Some(self.lease_until())).await?;
        }
        if self.is_over {
            return Ok(());
        }
        let (id, reseller) = (self.context.endpoint.id, self.context.endpoint.reseller_id);
        let emptied = std::mem::take(&mut self.emptied);
        let due = self
            .context
            .service
            .read_due(
                reseller,
                id,
                self.queues.accounts(),
                emptied,
                DUE_ACCOUNTS,
                DUE_PER_ACCOUNT,
            )
            .await?;
        let now = self.context.service.now();
        due.clear
            .into_iter()
            .for_each(|account| self.queues.mark_unparked(account));
        for pending in due.accounts {
            let deliveries: Vec<Delivery> = pending
                .into_iter()
                .map(|read| {
                    Delivery::of_pending(
                        read.pending,
                        read.event,
                        self.context.settings.writer,
                        now,
                    )
                })
                .collect();
            if let Some(first) = deliveries.first() {
                self.queues.mark_parked(first.key.account);
            }
            self.queues.push_parked(deliveries);
        }
        self.next_due = due.next;
        Ok(())
    }

    /// Starts attempts while the limits of the process and of the endpoint allow it.
    fn start(&mut self, under_way: &mut JoinSet<FinishedAttempt>) {
        while under_way.len() < self.context.settings.endpoint_concurrency {
            let Ok(slot) = Arc::clone(&self.context.slots).try_acquire_owned() else {
                return;
            };
            let Some(delivery) = self.queues.next() else {
                return;
            };
            let began_at = self.context.service.now();
            let Some(body) = delivery.body.clone() else {
                // Retention removed the event, so there is nothing to send.
                if self.queues.delivered(delivery.key.account) {
                    self.emptied.push(delivery.key.account);
                }
                continue;
            };
            let headers = sign::headers(
                self.context.endpoint.style,
                &self.context.secrets,
                &delivery.message_id,
                began_at.timestamp(),
                &body,
            );
            let (sender, url) = (
                self.context.sender.clone(),
                self.context.endpoint.url.clone(),
            );
            let span = debug_span!(target: telemetry::SPANS, "delivery", endpoint = %self.context.endpoint.id, message = delivery.message_id);
            let attempt = async move {
                let started = Instant::now();
                let response = sender.send(&url, headers, body).await;
                drop(slot);
                FinishedAttempt {
                    delivery,
                    began_at,
                    duration: started.elapsed(),
                    response,
                }
            };
            under_way.spawn(attempt.instrument(span));
        }
    }

    /// Records the result of an attempt. Returns whether the table of pending deliveries should be
    /// checked, because all loaded deliveries of a parked account are made.
    fn record(&mut self, finished: FinishedAttempt) -> bool {
        let FinishedAttempt {
            delivery,
            began_at,
            duration,
            response,
        } = finished;
        let now = self.context.service.now();
        self.attempts.push(Attempt {
            id: Uuid::now_v7(),
            endpoint_id: self.context.endpoint.id,
            key: delivery.key.clone(),
            event_at: delivery.at,
            number: delivery.attempts + 1,
            at: began_at,
            succeeded: response.succeeded(),
            status: response
                .status
                .and_then(|status| i16::try_from(status).ok()),
            problem: response.problem.clone(),
            answer: response.body.clone(),
            duration_ms: i32::try_from(duration.as_millis()).unwrap_or(i32::MAX),
        });
        let age = response
            .succeeded()
            .then(|| (now - delivery.at).to_std().unwrap_or_default());
        self.context.service.metrics().attempt(age);
        if response.succeeded() {
            self.failing_since = None;
            self.last_success_at = Some(now);
            let is_emptied = self.queues.delivered(delivery.key.account);
            if is_emptied {
                self.emptied.push(delivery.key.account);
            }
            return is_emptied;
        }
        debug!(endpoint = %self.context.endpoint.id, problem = response.problem, "a webhook delivery failed; it will be retried");
        let since = *self.failing_since.get_or_insert(now);
        if response.status == Some(410) {
            self.suspend = Some(SuspendedBy::Gone);
        } else if now - since >= self.context.settings.suspend_after {
            self.suspend = Some(SuspendedBy::Failures);
        }
        let delay = schedule::delay(
            &self.context.settings.retries,
            delivery.attempts,
            response.retry_after,
        );
        let next = now + delay;
        self.queues.failed(delivery.key.account, next);
        self.next_due = Some(self.next_due.map_or(next, |due| due.min(next)));
        false
    }

    /// Writes everything since the previous write, and extends the lease to `lease_until`; `None`
    /// ends it. Then finds out whether the lease is still ours, and whether its owner changed the
    /// endpoint.
    async fn write(&mut self, lease_until: Option<Time>) -> Result<(), Error> {
        // Written only once, because its owner may enable the endpoint again meanwhile.
        let suspended_by = self.suspend.take();
        self.is_over |= suspended_by.is_some();
        let progress = Progress {
            at: self.context.service.now(),
            position: self.queues.position(self.read_to),
            failing_since: self.failing_since,
            last_success_at: self.last_success_at.take(),
            suspended_by,
            attempts: std::mem::take(&mut self.attempts),
            settled: std::mem::take(&mut self.queues.settled),
            parked: std::mem::take(&mut self.queues.parked),
            lease_until,
        };
        let position = progress.position;
        let (reseller, id) = (self.context.endpoint.reseller_id, self.context.endpoint.id);
        let Some((revision, is_suspended)) = self
            .context
            .service
            .record_deliveries(reseller, id, self.context.owner, progress)
            .await?
        else {
            // Another dispatcher has the lease and goes on from the previous write.
            self.is_over = true;
            return Ok(());
        };
        self.context.endpoint.position = position;
        if let Some(by) = suspended_by {
            info!(
                endpoint = %id,
                by = by.as_str(),
                "a webhook endpoint is suspended; its deliveries wait until its owner enables it"
            );
        }
        if revision != self.context.endpoint.revision && !is_suspended {
            match self.context.service.endpoint_as_it_is(reseller, id).await? {
                Some((endpoint, secrets)) => {
                    self.context.endpoint = Endpoint {
                        position,
                        ..endpoint
                    };
                    self.context.secrets = secrets;
                }
                None => self.is_over = true,
            }
        }
        self.is_over |= is_suspended;
        Ok(())
    }

    /// Waits for the attempts under way, without starting new ones.
    async fn drain(&mut self, under_way: &mut JoinSet<FinishedAttempt>) {
        while let Some(finished) = under_way.join_next().await {
            if let Ok(finished) = finished {
                self.record(finished);
            }
        }
    }

    /// Writes the rest and ends the lease.
    async fn release_lease(&mut self) -> Result<(), Error> {
        self.write(None).await
    }
}

//! The runner of one endpoint: delivers while it holds the endpoint's lease.
//!
//! It reads the journal from the endpoint's position on, sends the subscribed events account by
//! account, and writes the results. One transaction writes everything since the previous write,
//! moves the position and extends the lease. If the lease is lost, this write fails and the runner
//! ends.
//!
//! The runner reads and writes only in its turns, and each attempt needs a slot (`limits.rs`).

mod reading;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::Settings;
use crate::domain::{Endpoint, Error, ResellerId, SuspendedBy, Time};
use crate::service::{Attempt, Progress, Service};
use crate::shares::Permit;
use crate::webhooks::account_queues::AccountQueues;
use crate::webhooks::http_client::{Response, Sender};
use crate::webhooks::limits::{Leased, Limits, Request};
use crate::webhooks::message::Delivery;
use crate::webhooks::wake::{Reason, Wake};

/// How many journal entries one read returns at most.
const READ_PAGE: usize = 250;
/// How many reads of the journal one turn makes at most. An endpoint that subscribed to few of the
/// events would otherwise read the whole journal in one turn.
const READS_PER_TURN: usize = 2;
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
const DUE_ACCOUNTS: usize = 64;
/// How many pending deliveries of each due account are loaded at once.
const DUE_PER_ACCOUNT: usize = 16;

/// An attempt that has ended.
pub(super) struct FinishedAttempt {
    pub(super) delivery: Delivery,
    pub(super) began_at: Time,
    pub(super) duration: Duration,
    pub(super) response: Response,
}

pub(super) struct Runner {
    pub(super) context: RunnerContext,
    pub(super) endpoint: Endpoint,
    /// The newest first.
    pub(super) secrets: Vec<String>,
    pub(super) queues: AccountQueues,
    /// The last journal entry that was read.
    read_to: i64,
    /// Whether the latest read reached the end of the journal.
    is_caught_up: bool,
    /// Whether the table of pending deliveries has to be checked for due ones.
    check_due: bool,
    /// When the next pending delivery is due. `None` if none is known.
    pub(super) next_due: Option<Time>,
    /// Attempts to write to the log of attempts.
    pub(super) attempts: Vec<Attempt>,
    pub(super) failing_since: Option<Time>,
    /// Set by a success since the last write.
    pub(super) last_success_at: Option<Time>,
    /// Set when the endpoint has to be suspended; the next write does it.
    pub(super) suspend: Option<SuspendedBy>,
    /// Parked accounts whose loaded deliveries are all made.
    pub(super) emptied: Vec<i32>,
    /// Since when the endpoint may have changed. The next write finds out, and is made soon even if
    /// there is nothing to write. `None` if nothing hints at a change.
    unchecked_since: Option<Instant>,
    written: Instant,
    /// When a delivery was last in memory.
    active: Instant,
    /// The end of the lease, as of the latest write.
    lease_until: Time,
    /// Whether the runner has to end: the lease is lost, or the endpoint is suspended or removed.
    pub(super) is_over: bool,
    /// Waits for the next turn.
    turn: Option<Request>,
    /// Waits for a slot, and whether that is one for failing endpoints.
    pub(super) slot: Option<(Request, bool)>,
    _leased: Leased,
}

/// What a runner needs to deliver.
pub(super) struct RunnerContext {
    pub(super) service: Arc<Service>,
    pub(super) settings: Arc<Settings>,
    pub(super) sender: Sender,
    pub(super) limits: Arc<Limits>,
    /// The id of the dispatcher, which holds the lease.
    pub(super) owner: Uuid,
    pub(super) reseller: ResellerId,
    /// The id of the endpoint.
    pub(super) id: Uuid,
    pub(super) wake: Arc<Wake>,
    pub(super) stop: CancellationToken,
}

/// Waits for a turn, leases the endpoint and delivers until the runner has been idle for
/// [`MAX_IDLE`], the endpoint is suspended or removed, the lease is lost, or `stop` is cancelled.
/// Does nothing if another dispatcher has the lease.
pub(super) async fn run(context: RunnerContext) {
    let (id, mut under_way) = (context.id, JoinSet::new());
    if let Err(error) = lease_and_work(context, &mut under_way).await {
        warn!(
            %error,
            endpoint = %id,
            "delivering to a webhook endpoint failed; delivery continues from the stored position \
             at the next poll"
        );
    }
    under_way.shutdown().await;
}

async fn lease_and_work(
    context: RunnerContext,
    under_way: &mut JoinSet<FinishedAttempt>,
) -> Result<(), Error> {
    let mut request = context.limits.turn(context.reseller);
    let turn = tokio::select! {
        () = context.stop.cancelled() => return Ok(()),
        turn = request.granted() => turn,
    };
    let lease_until = context.service.now() + context.settings.lease;
    let leased = context
        .service
        .lease_endpoint(context.reseller, context.id, context.owner, lease_until)
        .await?;
    let Some((endpoint, secrets, parked_accounts)) = leased else {
        return Ok(());
    };
    let mut runner = Runner {
        queues: AccountQueues::new(parked_accounts),
        read_to: endpoint.position,
        failing_since: endpoint.failing_since,
        endpoint,
        secrets,
        is_caught_up: false,
        check_due: true,
        next_due: None,
        attempts: Vec::new(),
        last_success_at: None,
        suspend: None,
        emptied: Vec::new(),
        unchecked_since: None,
        written: Instant::now(),
        active: Instant::now(),
        lease_until,
        is_over: false,
        turn: None,
        slot: None,
        _leased: context.limits.count_leased(),
        context,
    };
    runner.take_turn(turn, under_way).await?;
    runner.work(under_way).await
}

impl Runner {
    /// One round of this loop starts what it can, asks for a turn if there is something to read or
    /// to write, and waits for the next thing to happen.
    async fn work(&mut self, under_way: &mut JoinSet<FinishedAttempt>) -> Result<(), Error> {
        loop {
            self.start(under_way).await;
            let is_idle = under_way.is_empty() && self.queues.is_empty();
            if !is_idle {
                self.active = Instant::now();
            }
            let is_done = is_idle && self.active.elapsed() >= MAX_IDLE;
            if self.is_over || is_done || self.context.stop.is_cancelled() {
                return self.end(under_way).await;
            }
            self.check_due |= !self.emptied.is_empty();
            if !self.needs_turn(is_idle) {
                self.turn = None;
            } else if self.turn.is_none() {
                self.turn = Some(self.context.limits.turn(self.context.reseller));
            }
            let pause = self.pause(is_idle);
            tokio::select! {
                turn = granted(&mut self.turn) => {
                    self.turn = None;
                    self.take_turn(turn, under_way).await?;
                }
                slot = granted_slot(&mut self.slot) => {
                    self.slot = None;
                    self.send_next(slot, under_way);
                }
                Some(finished) = under_way.join_next() => {
                    if let Ok(finished) = finished {
                        self.record(finished);
                    }
                }
                reason = self.context.wake.called() => {
                    self.is_caught_up = false;
                    if reason == Reason::Anything {
                        self.check_due = true;
                        // Its owner may have changed or removed the endpoint; a write finds out.
                        self.unchecked_since = Some(Instant::now());
                    }
                }
                () = self.context.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {
                    self.check_due |= self.next_due.is_some_and(|due| due <= self.context.service.now());
                }
            }
            // Record everything else that has finished, before the next write.
            while let Some(Ok(finished)) = under_way.try_join_next() {
                self.record(finished);
            }
        }
    }

    /// Whether there is something to read or to write.
    fn needs_turn(&self, is_idle: bool) -> bool {
        self.can_load_due() || self.has_room() || self.is_write_due(is_idle)
    }

    /// Loads, reads, starts what it can, and writes if a write is due. The turn ends with it.
    async fn take_turn(
        &mut self,
        turn: Permit,
        under_way: &mut JoinSet<FinishedAttempt>,
    ) -> Result<(), Error> {
        if !self.has_lease() {
            // Another dispatcher may have leased the endpoint meanwhile. The write finds out.
            self.write(Some(self.next_lease_end())).await?;
        }
        if self.can_load_due() && !self.is_over {
            self.check_due = false;
            self.load_due().await?;
        }
        if !self.is_over {
            self.read_journal().await?;
            self.start(under_way).await;
            let is_idle = under_way.is_empty() && self.queues.is_empty();
            if self.is_write_due(is_idle) {
                self.write(Some(self.next_lease_end())).await?;
            }
        }
        drop(turn);
        Ok(())
    }

    fn is_write_due(&self, is_idle: bool) -> bool {
        let unwritten = self.attempts.len() + self.queues.parked.len() + self.queues.settled.len();
        let is_behind = self.queues.position(self.read_to) > self.endpoint.position;
        let interval = if unwritten > 0 || is_behind || self.unchecked_since.is_some() {
            WRITE_INTERVAL
        } else {
            self.context.settings.lease / 4
        };
        unwritten >= WRITE_BATCH
            || self.written.elapsed() >= interval
            || (is_idle && (unwritten > 0 || is_behind))
            || self.suspend.is_some()
            || !self.has_lease()
    }

    /// How long to wait if nothing happens.
    fn pause(&self, is_idle: bool) -> Duration {
        let now = self.context.service.now();
        let until_due = match self.next_due {
            // It is loaded when there is room; an attempt that ends makes room.
            Some(_) if self.check_due => MAX_IDLE,
            Some(due) => (due - now).to_std().unwrap_or_default(),
            None => MAX_IDLE,
        };
        let longest = if is_idle && self.unchecked_since.is_none() {
            MAX_IDLE
                .saturating_sub(self.active.elapsed())
                .min(self.context.settings.lease / 4)
        } else {
            WRITE_INTERVAL
        };
        until_due.min(longest).max(Duration::from_millis(1))
    }

    /// Whether the lease has not run out, by this process's clock.
    pub(super) fn has_lease(&self) -> bool {
        self.context.service.now() < self.lease_until
    }

    fn next_lease_end(&self) -> Time {
        self.context.service.now() + self.context.settings.lease
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
        let (reseller, id) = (self.context.reseller, self.context.id);
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
        self.endpoint.position = position;
        (self.written, self.unchecked_since) = (Instant::now(), None);
        self.lease_until = lease_until.unwrap_or(self.lease_until);
        if let Some(by) = suspended_by {
            info!(
                endpoint = %id,
                by = by.as_str(),
                "a webhook endpoint is suspended; its deliveries wait until its owner enables it"
            );
        }
        if revision != self.endpoint.revision && !is_suspended {
            self.refresh().await?;
        }
        self.is_over |= is_suspended;
        Ok(())
    }

    /// Reads the endpoint and its secrets anew. It is over if the endpoint is suspended or deleted.
    pub(super) async fn refresh(&mut self) -> Result<(), Error> {
        let (reseller, id) = (self.context.reseller, self.context.id);
        match self.context.service.endpoint_as_it_is(reseller, id).await? {
            Some((endpoint, secrets)) => {
                self.is_over |= endpoint.suspended_by.is_some();
                self.endpoint = Endpoint {
                    position: self.endpoint.position,
                    ..endpoint
                };
                self.secrets = secrets;
            }
            None => self.is_over = true,
        }
        Ok(())
    }

    /// Ends: waits for the attempts under way, writes the rest and releases the lease. Attempts are
    /// not waited for if the lease is lost, or the endpoint is suspended or removed.
    async fn end(&mut self, under_way: &mut JoinSet<FinishedAttempt>) -> Result<(), Error> {
        (self.turn, self.slot) = (None, None);
        if !self.is_over {
            while let Some(finished) = under_way.join_next().await {
                if let Ok(finished) = finished {
                    self.record(finished);
                }
            }
        }
        let _turn = self
            .context
            .limits
            .turn(self.context.reseller)
            .granted()
            .await;
        self.write(None).await
    }
}

/// Waits for a turn; forever if none was asked for.
async fn granted(request: &mut Option<Request>) -> Permit {
    match request {
        Some(request) => request.granted().await,
        None => std::future::pending().await,
    }
}

/// Waits for a slot; forever if none was asked for.
async fn granted_slot(request: &mut Option<(Request, bool)>) -> Permit {
    match request {
        Some((request, _)) => request.granted().await,
        None => std::future::pending().await,
    }
}

fn as_limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

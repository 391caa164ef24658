//! What the second reseller gets: steady calls of every kind, each measured from the time at which
//! it was due, so that a stall of the service shows in all calls that were due in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Call, Caller, PATIENCE, locked};
use crate::receiver::{Received, note};
use crate::world::{OTHER_ACCOUNTS, Party, SECOND_FROM, Serving};

/// How long the events of the last changes may take after the last call.
const DRAIN: Duration = Duration::from_secs(5);
/// So many accounts are frozen, then unfrozen.
const BLOCK: u64 = 20;
/// The number of probers so far.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// Reading one account, over a new connection each time.
    Get,
    /// A page of 10 accounts.
    List,
    /// A page of accounts with a text in name, title, e-mail or company.
    Search,
    /// Freezing an account, or unfreezing it.
    Freeze,
    /// From the answer to a change until its webhook has come.
    Webhook,
    /// From the answer to a change until the stream of events has shown it.
    Stream,
}

impl Probe {
    pub const ALL: [Self; 6] = [
        Self::Get,
        Self::List,
        Self::Search,
        Self::Freeze,
        Self::Webhook,
        Self::Stream,
    ];
    const CALLS: [Self; 4] = [Self::Get, Self::List, Self::Search, Self::Freeze];

    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Search => "search",
            Self::Freeze => "freeze",
            Self::Webhook => "webhook",
            Self::Stream => "stream",
        }
    }
}

/// The results of one kind of probe.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    pub latencies: Vec<Duration>,
    /// Statuses that were not expected, and failures, with their numbers.
    pub errors: BTreeMap<String, u64>,
}

impl Samples {
    fn error(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }

    /// Whether no event came at all.
    pub fn is_starved(&self) -> bool {
        let missing = self.errors.get("missing").copied().unwrap_or_default();
        missing > 0 && usize::try_from(missing) == Ok(self.latencies.len())
    }

    /// A percentile in milliseconds: the smallest latency that this share of the samples does not
    /// exceed. `None` without samples.
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted
            .get(rank - 1)
            .map(|latency| latency.as_secs_f64() * 1e3)
    }
}

pub type Observed = BTreeMap<Probe, Samples>;

/// What the probes need.
#[derive(Debug, Clone)]
pub struct Prober {
    /// The number of this prober.
    run: u64,
    party: Party,
    target: std::net::SocketAddr,
    /// The events that the receiver has got.
    delivered: Received,
    /// The events that the stream has shown.
    streamed: Received,
    observed: Arc<Mutex<Observed>>,
    /// When each change was answered, by account and version.
    committed: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Prober {
    pub fn new(party: &Party, serving: &Serving, delivered: Received) -> Self {
        locked(&delivered).clear();
        Self {
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            party: party.clone(),
            target: serving.api,
            delivered,
            streamed: Received::default(),
            observed: Arc::default(),
            committed: Arc::default(),
        }
    }

    fn caller(&self, probe: Probe) -> Caller {
        let make = if probe == Probe::Get {
            Caller::without_keep_alive
        } else {
            Caller::new
        };
        make(self.target, self.party.source, &self.party.token)
    }

    /// Registers the endpoint that the webhook probe listens to.
    pub async fn register(&self, url: &str) -> Result<(), String> {
        let body = serde_json::json!({ "url": url, "events": ["account.updated"] }).to_string();
        let call = Call::post("/v3/webhooks", body);
        match self.caller(Probe::List).call(&call).await? {
            Answer { status: 201, .. } => Ok(()),
            Answer { status, body } => Err(format!(
                "the second's endpoint: {status} {}",
                String::from_utf8_lossy(&body)
            )),
        }
    }

    /// Reads a little, so that connections, caches and statements are warm.
    pub async fn warm_up(&self) -> Result<(), String> {
        for probe in [Probe::Get, Probe::List, Probe::Search] {
            let caller = self.caller(probe);
            for number in 0..20 {
                let call = call(probe, number, self.run);
                let answer = caller.call(&call).await?;
                if answer.status != 200 {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(format!("{}: {} {body}", call.path, answer.status));
                }
            }
        }
        Ok(())
    }

    /// Measures for so long, each kind of call so many times a second.
    pub async fn measure(&self, length: Duration, per_second: u32) -> Observed {
        let stop = CancellationToken::new();
        let stream = tokio::spawn(self.clone().follow(stop.clone()));
        // The stream begins before the first change, else it would have to read the past.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let period = Duration::from_secs(1) / per_second;
        let start = Instant::now();
        let mut probes = JoinSet::new();
        for (place, probe) in (0_u32..).zip(Probe::CALLS) {
            let first = start + period * place / 4;
            probes.spawn(self.clone().repeat(probe, first, start + length, period));
        }
        while probes.join_next().await.is_some() {}
        self.drain().await;
        stop.cancel();
        let _ended = stream.await;
        self.settle();
        std::mem::take(&mut *locked(&self.observed))
    }

    /// Starts a call whenever one is due, whether or not the ones before have been answered.
    async fn repeat(self, probe: Probe, first: Instant, end: Instant, period: Duration) {
        let caller = Arc::new(self.caller(probe));
        let mut calls = JoinSet::new();
        let (mut due, mut number) = (first, 0);
        while due < end {
            sleep_until(due).await;
            let (prober, caller) = (self.clone(), Arc::clone(&caller));
            calls.spawn(async move {
                let answer = caller.call(&call(probe, number, prober.run)).await;
                prober.judge(probe, due, answer);
            });
            (due, number) = (due + period, number + 1);
        }
        while calls.join_next().await.is_some() {}
    }

    fn judge(&self, probe: Probe, due: Instant, answer: Result<Answer, String>) {
        let now = Instant::now();
        let mut observed = locked(&self.observed);
        let samples = observed.entry(probe).or_default();
        // A refusal at once is no short latency.
        match answer {
            Ok(answer) if answer.status == 200 => {
                samples.latencies.push(now - due);
                if probe == Probe::Freeze {
                    locked(&self.committed).extend(change_key(&answer.body).map(|key| (key, now)));
                }
            }
            Ok(answer) => samples.error(answer.status.to_string()),
            Err(problem) => {
                if problem == "timeout" {
                    samples.latencies.push(PATIENCE);
                }
                samples.error(problem);
            }
        }
    }

    /// Waits until every change has been delivered and streamed, at most for [`DRAIN`].
    async fn drain(&self) {
        let end = Instant::now() + DRAIN;
        let is_complete = || {
            let committed = locked(&self.committed);
            [&self.delivered, &self.streamed].iter().all(|received| {
                let received = locked(received);
                committed.keys().all(|key| received.contains_key(key))
            })
        };
        while Instant::now() < end && !is_complete() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Compares the changes with what came. An event that did not come counts with the time that
    /// it has been missing, which is less than it would take.
    fn settle(&self) {
        let now = Instant::now();
        let mut observed = locked(&self.observed);
        for (probe, received) in [
            (Probe::Webhook, &self.delivered),
            (Probe::Stream, &self.streamed),
        ] {
            let samples = observed.entry(probe).or_default();
            let received = locked(received);
            for (key, committed) in locked(&self.committed).iter() {
                let came = received.get(key).copied();
                // The event may come before the answer.
                samples
                    .latencies
                    .push(came.unwrap_or(now).saturating_duration_since(*committed));
                if came.is_none() {
                    samples.error("missing".to_owned());
                }
            }
        }
    }

    /// Follows the stream of events, and reconnects when it ends, as a browser does.
    async fn follow(self, stop: CancellationToken) {
        let caller = self.caller(Probe::Stream);
        // The first connection begins at the last event that there is.
        let mut after = self.last_cursor(&caller).await;
        loop {
            let followed = tokio::select! {
                followed = self.follow_once(&caller, &mut after) => followed,
                () = stop.cancelled() => return,
            };
            if let Err(problem) = followed {
                let mut observed = locked(&self.observed);
                observed.entry(Probe::Stream).or_default().error(problem);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// The cursor of the second's last event; empty if there is none.
    async fn last_cursor(&self, caller: &Caller) -> String {
        let mut after = String::new();
        loop {
            let path = format!("/v3/events?limit=100&after={after}");
            let page = caller.call(&Call::get(path)).await.ok();
            let events = page
                .and_then(|page| serde_json::from_slice::<Vec<Value>>(&page.body).ok())
                .unwrap_or_default();
            let cursor = events
                .last()
                .and_then(|event| event.get("cursor")?.as_str());
            if let Some(cursor) = cursor {
                cursor.clone_into(&mut after);
            }
            // A page may also end early because its events are large; the stream reads the rest.
            if events.len() < 100 {
                return after;
            }
        }
    }

    async fn follow_once(&self, caller: &Caller, after: &mut String) -> Result<(), String> {
        let call = Call::get(format!("/v3/events?after={after}")).accept("text/event-stream");
        let (response, _connection) = timeout(PATIENCE, caller.send(&call))
            .await
            .map_err(|_| "timeout".to_owned())??;
        if response.status() != 200 {
            return Err(response.status().as_u16().to_string());
        }
        let mut body = response.into_body();
        let mut unread = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| "stream broken".to_owned())?;
            unread.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let line = line.trim_ascii();
                if let Some(id) = line.strip_prefix(b"id:") {
                    *after = String::from_utf8_lossy(id.trim_ascii()).into_owned();
                } else if let Some(event) = line.strip_prefix(b"data:") {
                    note(&self.streamed, event);
                }
            }
        }
        Err("stream ended".to_owned())
    }
}

/// The call that is due.
fn call(probe: Probe, number: u64, run: u64) -> Call {
    let others = OTHER_ACCOUNTS.unsigned_abs();
    let account = |place: u64| SECOND_FROM.unsigned_abs() + place;
    match probe {
        Probe::Get => Call::get(format!("/v3/accounts/{}", account(number * 7919 % others))),
        Probe::Search => Call::post(
            "/api/v1.1/admin/accounts/list",
            format!(
                r#"{{"q":"user{}","limit":10}}"#,
                account(number * 31 % others)
            ),
        ),
        Probe::Freeze => {
            // One block of accounts is frozen and unfrozen, then the next one.
            let (block, place) = (number / (2 * BLOCK), number % (2 * BLOCK));
            let path = format!("/v3/accounts/{}", account(block * BLOCK + place % BLOCK));
            if place < BLOCK {
                // An account that an earlier run left frozen gets a new reason, so that each call
                // changes something.
                let reason = format!(r#"{{"reason":"run {run} call {number}"}}"#);
                Call::post(&format!("{path}/freeze"), reason)
            } else {
                Call::post(&format!("{path}/unfreeze"), "{}")
            }
        }
        Probe::List | Probe::Webhook | Probe::Stream => Call::get(format!(
            "/v3/accounts?limit=10&page={}",
            number % (others / 10) + 1
        )),
    }
}

/// The account and its version in the answer to a change.
fn change_key(body: &[u8]) -> Option<String> {
    let account: Value = serde_json::from_slice(body).ok()?;
    Some(format!(
        "{}/{}",
        account.get("id")?.as_str()?,
        account.get("version")?
    ))
}

/// Polls `/readyz` five times a second until it is stopped. Returns how often it was asked and what
/// went wrong. An answer that takes longer than a second, which is how long Kubernetes waits, is
/// wrong too.
pub async fn watch_readiness(
    target: std::net::SocketAddr,
    stop: CancellationToken,
) -> (u64, BTreeMap<String, u64>) {
    let source = std::net::Ipv4Addr::new(127, 0, 0, 9);
    let caller = Caller::without_keep_alive(target, source, "");
    let (mut polls, mut errors) = (0, BTreeMap::<String, u64>::new());
    while !stop.is_cancelled() {
        let asked = Instant::now();
        let due = asked + Duration::from_millis(200);
        polls += 1;
        let problem = match caller.call(&Call::get("/readyz".to_owned())).await {
            Ok(answer) if answer.status != 200 => Some(answer.status.to_string()),
            Ok(_) if asked.elapsed() > Duration::from_secs(1) => Some("late".to_owned()),
            Ok(_) => None,
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            *errors.entry(problem).or_default() += 1;
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = stop.cancelled() => {}
        }
    }
    (polls, errors)
}

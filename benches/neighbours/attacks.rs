//! What the bad neighbour does: as much as one reseller can, at a bounded rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::{Call, Caller, Pacer, Tally, connect};
use crate::world::{HELPERS_FROM, Parties, Party};

/// The size that a half-sent body of `/v3/bulk` announces: the largest accepted by default.
const LARGE_BODY: usize = 1 << 20;
/// The size that one of `admin` announces: the largest accepted by default.
const BODY: usize = 1 << 16;

/// The longest time before the second is measured.
const MAX_RAMP: Duration = Duration::from_secs(10);
/// A part of such a body.
const PART: &[u8] = &[b' '; 16_384];

/// What the bad neighbour does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Eight plannings of a bulk job over 60,000 accounts at a time, again and again.
    BulkPlanning,
    /// Twelve searches at a time for a text that no account has, again and again.
    TextSearch,
    /// 3,000 streams of events with one token, while an account changes every second.
    Streams,
    /// 150 endpoints of three resellers that answer at once, with a change every 1.5 seconds.
    BusyEndpoints,
    /// 50 endpoints that never answer, with 20 changes a second.
    HangingEndpoints,
    /// Saves of 60 KB and reading them back as lists and histories, eight callers each, beside 40
    /// streams that are not read.
    LargeSaves,
    /// 800 connections that announce a large body and do not send its end: half of them 1 MiB with
    /// a token, a quarter 1 MiB without, a quarter 64 KiB to a call that has its token in the body.
    HalfSentBodies,
    /// More idle connections than the service accepts.
    IdleConnections,
    /// Creations that the account limit refuses, sixteen at a time.
    RefusedCreations,
}

/// How much of it at a time, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The calls at a time of the harmless comparison.
    pub parallel: usize,
    /// The largest number of calls a second.
    pub per_second: f64,
    /// How long it goes on at least before the second is measured.
    pub ramp: Duration,
}

impl Attack {
    pub fn bounds(self) -> Bounds {
        let (parallel, per_second, ramp) = match self {
            Self::BulkPlanning => (8, 100.0, 1_500),
            Self::TextSearch => (12, 300.0, 1_000),
            Self::Streams => (16, 1_000.0, 1_000),
            Self::BusyEndpoints => (8, 2.0, 4_000),
            Self::HangingEndpoints => (8, 20.0, 3_000),
            Self::LargeSaves => (16, 200.0, 2_500),
            Self::HalfSentBodies => (16, 400.0, 1_000),
            Self::IdleConnections => (16, 5_000.0, 1_000),
            Self::RefusedCreations => (16, 500.0, 1_000),
        };
        Bounds {
            parallel,
            per_second,
            ramp: Duration::from_millis(ramp),
        }
    }

    /// How many connections it holds open.
    pub fn held(self, idle: u64) -> u64 {
        match self {
            Self::Streams => 3_000,
            Self::HalfSentBodies => 800,
            Self::IdleConnections => idle,
            Self::BulkPlanning
            | Self::TextSearch
            | Self::BusyEndpoints
            | Self::HangingEndpoints
            | Self::LargeSaves
            | Self::RefusedCreations => 0,
        }
    }
}

/// The bad neighbour at work.
#[derive(Debug, Clone)]
pub struct Attacker {
    pub attack: Attack,
    pub target: SocketAddr,
    pub parties: Parties,
    /// The beginning of its receivers' URLs.
    pub receivers: String,
    /// How many connections it holds open, where the attack is to hold connections.
    pub held: u64,
    /// How many connections it has opened so far, where it is to hold them.
    pub opened: Arc<AtomicU64>,
    /// What it got.
    pub tally: Arc<Tally>,
    /// Its calls.
    pub pacer: Arc<Pacer>,
    pub stop: CancellationToken,
}

impl Attacker {
    fn caller(&self, party: &Party) -> Arc<Caller> {
        Arc::new(Caller::new(self.target, party.source, &party.token))
    }

    /// What the bad neighbour does before the clock runs: its endpoints.
    pub async fn prepare(&self) -> Result<(), String> {
        let (parties, path) = match self.attack {
            Attack::BusyEndpoints => {
                let all = std::iter::once(&self.parties.first).chain(&self.parties.helpers);
                (all.collect(), "prompt")
            }
            Attack::HangingEndpoints => (vec![&self.parties.first], "hang"),
            Attack::BulkPlanning
            | Attack::TextSearch
            | Attack::Streams
            | Attack::LargeSaves
            | Attack::HalfSentBodies
            | Attack::IdleConnections
            | Attack::RefusedCreations => return Ok(()),
        };
        for party in parties {
            let caller = self.caller(party);
            for number in 0..50 {
                let url = format!("{}/{path}?{number}", self.receivers);
                let body = json!({ "url": url, "events": ["account.updated"] }).to_string();
                let answer = caller.call(&Call::post("/v3/webhooks", body)).await?;
                if answer.status != 201 {
                    // A limit on endpoints is an answer to the attack; it goes on with fewer.
                    self.tally.add(&format!("endpoint {}", answer.status));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Goes on until it is stopped.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        match self.attack {
            Attack::BulkPlanning => self.loops(&mut tasks, 8, |_| {
                let selector = json!({ "state": "active" });
                let operation = json!({ "operation": "status", "status": "active" });
                let body = json!({ "selector": selector, "operation": operation });
                Call::post("/v3/bulk-jobs", body.to_string())
            }),
            Attack::TextSearch => self.loops(&mut tasks, 12, |number| {
                let body = format!(r#"{{"q":"no such text {number}"}}"#);
                Call::post("/api/v1.1/admin/accounts/list", body)
            }),
            Attack::RefusedCreations => self.loops(&mut tasks, 16, |number| {
                let body = format!(r#"{{"email":"new{number}@example.com","company":"Acme"}}"#);
                Call::post("/v3/accounts", body)
            }),
            Attack::BusyEndpoints => self.change_all(&mut tasks),
            Attack::HangingEndpoints => {
                self.loops(&mut tasks, 8, |number| status(1 + number / 2 % 200, number));
            }
            Attack::LargeSaves => {
                self.loops(&mut tasks, 8, large_save);
                self.loops(&mut tasks, 8, read_back);
                for _ in 0..40 {
                    tasks.spawn(self.clone().unread_stream());
                }
            }
            Attack::Streams => {
                self.hold(&mut tasks);
                tasks.spawn(self.clone().change_now_and_then());
            }
            Attack::HalfSentBodies | Attack::IdleConnections => self.hold(&mut tasks),
        }
        self.stop.cancelled().await;
        tasks.shutdown().await;
    }

    /// So many callers, each with its next call as soon as it has an answer and the pacer allows.
    fn loops(
        &self,
        tasks: &mut JoinSet<()>,
        parallel: usize,
        make: impl Fn(u64) -> Call + Copy + Send + 'static,
    ) {
        let caller = self.caller(&self.parties.first);
        for _ in 0..parallel {
            tasks.spawn(repeat(
                Arc::clone(&caller),
                Arc::clone(&self.pacer),
                Arc::clone(&self.tally),
                make,
            ));
        }
    }

    /// Changes an account of each of the three resellers every 1.5 seconds.
    fn change_all(&self, tasks: &mut JoinSet<()>) {
        let first = (&self.parties.first, 1);
        for (party, account) in
            std::iter::once(first).chain(self.parties.helpers.iter().zip(HELPERS_FROM))
        {
            let (caller, attacker) = (self.caller(party), self.clone());
            tasks.spawn(async move {
                for number in 0.. {
                    attacker.pacer.turn().await;
                    let call = status(account.unsigned_abs(), number);
                    caller.waste(&call, &attacker.tally).await;
                    sleep(Duration::from_millis(1_500)).await;
                }
            });
        }
    }

    async fn change_now_and_then(self) {
        let caller = self.caller(&self.parties.first);
        for number in 0.. {
            sleep(Duration::from_secs(1)).await;
            caller.waste(&status(1, number), &self.tally).await;
        }
    }

    /// Holds connections open, and opens those again that the service refuses or closes.
    fn hold(&self, tasks: &mut JoinSet<()>) {
        // After the first time, less often: else refusals would be an attack of their own.
        let again = Arc::new(Pacer::new(200.0));
        for number in 0..self.held {
            let (attacker, again) = (self.clone(), Arc::clone(&again));
            tasks.spawn(async move {
                loop {
                    attacker.pacer.turn().await;
                    let result = if attacker.attack == Attack::Streams {
                        attacker.stream().await
                    } else if attacker.attack == Attack::HalfSentBodies {
                        attacker.half_sent(number).await
                    } else {
                        attacker.idle().await
                    };
                    attacker
                        .tally
                        .add(&result.unwrap_or_else(|problem| problem));
                    sleep(Duration::from_secs(1)).await;
                    again.turn().await;
                }
            });
        }
    }

    /// Reads a stream of events to its end.
    async fn stream(&self) -> Result<String, String> {
        let first = &self.parties.first;
        let caller = Caller::without_keep_alive(self.target, first.source, &first.token);
        let call = Call::get("/v3/events".to_owned()).accept("text/event-stream");
        let response = caller.send(&call).await;
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (response, _connection) = response?;
        let status = response.status().as_u16().to_string();
        if status != "200" {
            return Ok(status);
        }
        self.tally.add("200");
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let _thrown_away = frame.map_err(|_| "stream broken".to_owned())?;
        }
        Ok("stream ended".to_owned())
    }

    /// Opens a stream and never reads it.
    async fn unread_stream(self) {
        let first = &self.parties.first;
        let head = format!(
            "GET /v3/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {}\r\n\r\n",
            first.token
        );
        if let Ok(mut stream) = connect(first.source, 0, self.target).await
            && stream.write_all(head.as_bytes()).await.is_ok()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Announces a body, sends all of it but the end, and waits.
    async fn half_sent(&self, number: u64) -> Result<String, String> {
        let first = &self.parties.first;
        let token = format!("authorization: Bearer {}\r\n", first.token);
        let (path, token, announced) = match number % 4 {
            0 | 1 => ("/v3/bulk", token, LARGE_BODY),
            2 => ("/v3/bulk", String::new(), LARGE_BODY),
            _ => ("/api/v1.1/admin/accounts/save", String::new(), BODY),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{token}content-length: {announced}\r\n\r\n{{\"operations\":["
        );
        let mut stream = self.connect().await?;
        let (mut reading, mut writing) = stream.split();
        let write = async {
            let mut is_open = writing.write_all(head.as_bytes()).await.is_ok();
            for _ in 1..announced / PART.len() {
                is_open = is_open && writing.write_all(PART).await.is_ok();
            }
            let rest = PART.get(32..).unwrap_or_default();
            let _unanswered = is_open && writing.write_all(rest).await.is_ok();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = status_of(&mut reading) => Ok(status),
            () = write => Ok(String::new()),
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let stream = connect(self.parties.first.source, next_port(), self.target).await;
        self.opened.fetch_add(1, Ordering::Relaxed);
        stream.map_err(|error| format!("connect: {}", error.kind()))
    }

    /// Waits until the attack is at its height: for the time that it takes, and until all
    /// connections that it is to hold have been opened once, at most for 10 s.
    pub async fn at_its_height(&self) {
        let since = Instant::now();
        sleep(self.attack.bounds().ramp).await;
        while self.opened.load(Ordering::Relaxed) < self.held && since.elapsed() < MAX_RAMP {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Opens a connection and sends nothing.
    async fn idle(&self) -> Result<String, String> {
        let mut stream = self.connect().await?;
        Ok(status_of(&mut stream).await)
    }
}

/// The next port of the bad neighbour's address. Searching for a free one takes the kernel long when
/// thousands are in use.
fn next_port() -> u16 {
    static PORTS: AtomicU64 = AtomicU64::new(0);
    let next = PORTS.fetch_add(1, Ordering::Relaxed) % 60_000;
    u16::try_from(next + 4_000).unwrap_or_default()
}

/// The status of the first answer, or "closed" if the service closes the connection without one.
async fn status_of(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = [0_u8; 12];
    match stream.read_exact(&mut head).await {
        Ok(_) => String::from_utf8_lossy(head.get(9..).unwrap_or_default()).into_owned(),
        Err(_) => "closed".to_owned(),
    }
}

/// Makes calls one after the other.
async fn repeat(
    caller: Arc<Caller>,
    pacer: Arc<Pacer>,
    tally: Arc<Tally>,
    make: impl Fn(u64) -> Call + Send,
) {
    loop {
        pacer.turn().await;
        caller.waste(&make(pacer.started()), &tally).await;
    }
}

/// The harmless comparison: as many calls, half of them reading an account and half a short list.
pub async fn harmless(
    caller: Caller,
    parallel: usize,
    pacer: Arc<Pacer>,
    tally: Arc<Tally>,
    from: i64,
) {
    let caller = Arc::new(caller);
    let mut tasks = JoinSet::new();
    for _ in 0..parallel {
        let (caller, pacer, tally) = (Arc::clone(&caller), Arc::clone(&pacer), Arc::clone(&tally));
        tasks.spawn(repeat(caller, pacer, tally, move |number| {
            if number.is_multiple_of(2) {
                Call::get(format!(
                    "/v3/accounts/{}",
                    from.unsigned_abs() + number % 3_000
                ))
            } else {
                Call::get("/v3/accounts?limit=10".to_owned())
            }
        }));
    }
    while tasks.join_next().await.is_some() {}
}

/// Switches an account on or off.
fn status(account: u64, number: u64) -> Call {
    let status = if number.is_multiple_of(2) {
        "inactive"
    } else {
        "active"
    };
    Call {
        method: "PUT",
        ..Call::post(
            &format!("/v3/accounts/{account}/status"),
            format!(r#"{{"status":"{status}"}}"#),
        )
    }
}

/// 60 accounts get 60 KB of numbers, which take 309 digits each when they are written out.
fn large_save(number: u64) -> Call {
    let own = "1e308,".repeat(10_000);
    let body = format!(r#"{{"id":{},"numbers":[{own}{number}]}}"#, 1 + number % 60);
    Call::post("/api/v1.1/admin/accounts/save", body)
}

/// Reads the accounts of [`large_save`] in XML, or the history of one.
fn read_back(number: u64) -> Call {
    if number.is_multiple_of(2) {
        Call::post("/api/v1.1/admin/accounts/list", r#"{"limit":60}"#).accept("application/xml")
    } else {
        Call::get(format!("/v3/accounts/{}/history", 1 + number % 60))
    }
}

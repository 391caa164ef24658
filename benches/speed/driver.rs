//! The load generator: a closed loop over HTTP keep-alive connections. One thread serves all
//! connections with epoll. Each connection sends its next request as soon as it has a response.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Failure;
use crate::machine::cpu_of_tree;
use crate::sample::{Sample, Usage};
use crate::server::Server;

const ADMIN: &str = "/api/v1.1/admin/accounts/";

/// The kind of requests to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Freezes accounts that are not frozen and unfreezes frozen ones, so that each call changes
    /// something.
    Freeze,
    /// Switches an account on or off.
    Status,
    /// Reads an account by its number.
    Read,
    /// Reads 50 accounts of a reseller, from a random one of the lower half of all numbers on, so
    /// that the page is full.
    List,
    /// The same with an operator's token: 50 accounts of all resellers.
    Operator,
    /// Reads a page of a reseller's frozen accounts, from a random one of the lowest tenth on.
    Frozen,
    /// The freeze call of the Fastify service, with tokens of its own.
    Peer,
}

/// The service to measure.
pub struct Target<'a> {
    pub address: SocketAddr,
    /// The process id of the service.
    pub service: u32,
    pub database: &'a Server<'a>,
}

/// The accounts, with the state that the previous requests have left them in.
#[derive(Debug)]
pub struct Accounts {
    /// Accounts are numbered 1 ..= count. Account n uses the token at (n - 1) % resellers.
    pub count: u64,
    pub tokens: Vec<String>,
    pub operator: String,
    pub frozen: Vec<bool>,
    pub inactive: Vec<bool>,
    pub random: u64,
}

impl Accounts {
    pub fn new(count: u64, tokens: Vec<String>, operator: String, every: usize) -> Self {
        let size = usize::try_from(count).unwrap_or_default() + 1;
        let resellers = tokens.len().max(1);
        // As the databases were loaded.
        let frozen = |id: usize| {
            id.checked_sub(1)
                .is_some_and(|it| (it / resellers + it % resellers).is_multiple_of(every))
        };
        Self {
            count,
            frozen: (0..size).map(frozen).collect(),
            tokens,
            operator,
            inactive: vec![false; size],
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn pick(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % self.count + 1
    }
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    /// When the current request was sent.
    sent_at: Instant,
    /// Whether the current request was sent after the warm-up.
    counts: bool,
}

impl Connection {
    fn open(poll: &Poll, address: SocketAddr, index: usize) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(
            &mut stream,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self {
            stream,
            out: Vec::with_capacity(1024),
            written: 0,
            received: Vec::with_capacity(4096),
            sent_at: Instant::now(),
            counts: false,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sends requests for `warm_up` and then for `measured`, over this many connections. At the end it
/// waits for the responses that are still to come.
pub fn drive(
    target: &Target<'_>,
    kind: Kind,
    accounts: &mut Accounts,
    connections: usize,
    warm_up: Duration,
    measured: Duration,
) -> Result<Sample, Failure> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut open = (0..connections)
        .map(|index| Connection::open(&poll, target.address, index))
        .collect::<io::Result<Vec<_>>>()?;
    for connection in &mut open {
        send_next(connection, kind, accounts, target.address);
        connection.write()?;
    }
    let usage = || {
        let (service, database) = (cpu_of_tree(target.service), target.database.cpu());
        // The service and the database are children of this process, so its tree includes their
        // time.
        Ok::<_, Failure>(Usage {
            service,
            database,
            driver: cpu_of_tree(std::process::id()) - service - database,
            wal: target.database.wal()?,
        })
    };
    let begin = Instant::now() + warm_up;
    let end = begin + measured;
    let (mut before, mut result) = (None, None);
    let (mut latencies, mut failed, mut idle) = (Vec::with_capacity(1 << 20), 0_usize, 0);
    let mut buffer = vec![0_u8; 65_536];
    while idle < connections {
        let now = Instant::now();
        if before.is_none() && now >= begin {
            before = Some((now, usage()?));
        }
        if let Some((since, used)) = before
            && result.is_none()
            && now >= end
        {
            result = Some((since.elapsed(), used, usage()?));
        }
        if now > end + Duration::from_secs(30) {
            return Err(format!("{} requests got no response", connections - idle).into());
        }
        poll.poll(&mut events, Some(Duration::from_millis(20)))?;
        for event in &events {
            let Some(connection) = open.get_mut(event.token().0) else {
                continue;
            };
            if event.is_writable() {
                connection.write()?;
            }
            if !event.is_readable() {
                continue;
            }
            loop {
                match connection.stream.read(&mut buffer) {
                    Ok(0) => return Err("the service closed a connection".into()),
                    Ok(count) => connection
                        .received
                        .extend_from_slice(buffer.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
                let Some((length, succeeded)) = parse_response(&connection.received) else {
                    continue;
                };
                connection.received.drain(..length);
                if connection.counts && result.is_none() {
                    latencies.push(
                        u32::try_from(connection.sent_at.elapsed().as_micros()).unwrap_or(u32::MAX),
                    );
                }
                failed += usize::from(!succeeded);
                if result.is_some() {
                    idle += 1;
                    break;
                }
                send_next(connection, kind, accounts, target.address);
                connection.counts = before.is_some();
                connection.write()?;
            }
        }
    }
    let (elapsed, used, after) = result.ok_or("the measurement did not end")?;
    if failed > 0 {
        return Err(format!("{failed} requests failed").into());
    }
    if latencies.is_empty() {
        return Err("no request was answered in time".into());
    }
    Ok(Sample::new(latencies, elapsed, &used, &after))
}

/// Prepares the next request of a connection.
fn send_next(
    connection: &mut Connection,
    kind: Kind,
    accounts: &mut Accounts,
    address: SocketAddr,
) {
    let id = match kind {
        Kind::List | Kind::Operator => accounts.pick() / 2 + 1,
        Kind::Frozen => accounts.pick() / 10 + 1,
        Kind::Freeze | Kind::Status | Kind::Read | Kind::Peer => accounts.pick(),
    };
    let resellers = u64::try_from(accounts.tokens.len()).unwrap_or(1);
    let reseller = (id - 1) % resellers;
    let index = usize::try_from(id).unwrap_or_default();
    let token = accounts
        .tokens
        .get(usize::try_from(reseller).unwrap_or_default())
        .map_or("", String::as_str);
    let toggle = |flags: &mut Vec<bool>| {
        flags
            .get_mut(index)
            .is_some_and(|flag| std::mem::replace(flag, !*flag))
    };
    let (path, body) = match kind {
        Kind::Freeze if toggle(&mut accounts.frozen) => (
            format!("{ADMIN}unfreeze"),
            format!(r#"{{"token":"{token}","id":{id}}}"#),
        ),
        Kind::Freeze => {
            let details = r#"{"payment_url":"https://pay.example.com/i/4711","reason":"suspected fraud, ticket 4711 opened"}"#;
            (
                format!("{ADMIN}freeze"),
                format!(r#"{{"token":"{token}","id":{id},"frozen_details":{details}}}"#),
            )
        }
        Kind::Status => {
            let status = if toggle(&mut accounts.inactive) {
                "active"
            } else {
                "inactive"
            };
            (
                format!("{ADMIN}status"),
                format!(r#"{{"token":"{token}","id":{id},"status":"{status}"}}"#),
            )
        }
        Kind::Read => (
            format!("{ADMIN}get"),
            format!(r#"{{"token":"{token}","id":{id}}}"#),
        ),
        Kind::List => (
            format!("{ADMIN}list"),
            format!(r#"{{"token":"{token}","from_id":{id},"limit":50}}"#),
        ),
        Kind::Operator => {
            let token = &accounts.operator;
            (
                format!("{ADMIN}list"),
                format!(r#"{{"token":"{token}","from_id":{id},"limit":50}}"#),
            )
        }
        Kind::Frozen => (
            format!("{ADMIN}list"),
            format!(r#"{{"token":"{token}","from_id":{id},"limit":50,"state":"frozen"}}"#),
        ),
        Kind::Peer => {
            let token = format!(
                "tk_live_{:012}_0123456789abcdef0123456789abcdef",
                reseller + 1
            );
            (
                "/cte".to_owned(),
                format!(
                    r#"{{"token":"{token}","id":{id},"frozen_details":"suspected fraud, ticket 4711 opened"}}"#
                ),
            )
        }
    };
    connection.out.clear();
    connection.written = 0;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.out.extend_from_slice(head.as_bytes());
    connection.out.extend_from_slice(body.as_bytes());
    connection.sent_at = Instant::now();
}

/// The length of a response, and whether it reports success. `None` while it is incomplete.
fn parse_response(received: &[u8]) -> Option<(usize, bool)> {
    let head_length = find(received, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(received.get(..head_length)?).ok()?;
    let value = |line: &str| {
        line.get(..15)
            .filter(|name| name.eq_ignore_ascii_case("content-length:"))
            .and(line.get(15..)?.trim().parse::<usize>().ok())
    };
    let length = head_length + head.lines().find_map(value).unwrap_or_default();
    let body = received.get(head_length..length)?;
    Some((
        length,
        head.starts_with("HTTP/1.1 200") && find(body, b"\"error\":0").is_some(),
    ))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

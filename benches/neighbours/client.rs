//! A small HTTP client: from a chosen loopback address, over kept or new connections.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};

/// How long a call may take. After it the call counts as an error.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Locks a mutex. No holder panics while it writes, so a poisoned one is still in order.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts answers by status, and failures by kind.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub fn add(&self, result: &str) {
        self.add_many(result, 1);
    }

    pub fn add_many(&self, result: &str, count: u64) {
        *locked(&self.0).entry(result.to_owned()).or_default() += count;
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        locked(&self.0).clone()
    }
}

/// Connects from an address of this machine. Port 0 takes a free port.
pub async fn connect(source: Ipv4Addr, port: u16, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source, port)))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request, from which one is made for each try.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub body: Bytes,
    pub accept: &'static str,
}

impl Call {
    pub fn get(path: String) -> Self {
        Self {
            method: "GET",
            path,
            body: Bytes::new(),
            accept: "application/json",
        }
    }

    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: "POST",
            path: path.to_owned(),
            body: body.into(),
            accept: "application/json",
        }
    }

    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

type Connection = SendRequest<Full<Bytes>>;

/// Sends the calls of one caller: its token and its address.
#[derive(Debug)]
pub struct Caller {
    target: SocketAddr,
    source: Ipv4Addr,
    token: String,
    /// Connections that wait for the next call. `None` makes a new connection for every call.
    idle: Option<Mutex<Vec<Connection>>>,
}

impl Caller {
    pub fn new(target: SocketAddr, source: Ipv4Addr, token: &str) -> Self {
        Self {
            target,
            source,
            token: token.to_owned(),
            idle: Some(Mutex::default()),
        }
    }

    /// A caller that makes a new connection for every call, as a PHP page or curl does.
    pub fn without_keep_alive(target: SocketAddr, source: Ipv4Addr, token: &str) -> Self {
        Self {
            idle: None,
            ..Self::new(target, source, token)
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(&call.path)
            .header("host", self.target.to_string())
            .header("accept", call.accept);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if !call.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        request
            .body(Full::new(call.body.clone()))
            .map_err(|error| format!("request: {error}"))
    }

    async fn open(&self) -> Result<Connection, String> {
        let stream = connect(self.source, 0, self.target)
            .await
            .map_err(|error| format!("connect: {}", error.kind()))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|_| "connection broken".to_owned())?;
        tokio::spawn(async move {
            let _closed = connection.await;
        });
        Ok(sender)
    }

    /// Sends a call and returns the answer with its body unread, and the connection.
    pub async fn send(&self, call: &Call) -> Result<(Response<Incoming>, Connection), String> {
        let kept = || self.idle.as_ref().and_then(|idle| locked(idle).pop());
        while let Some(mut connection) = kept() {
            // The service may have closed it meanwhile; then the request is still whole.
            if connection.ready().await.is_ok()
                && let Ok(response) = connection.send_request(self.request(call)?).await
            {
                return Ok((response, connection));
            }
        }
        let mut connection = self.open().await?;
        let response = connection
            .send_request(self.request(call)?)
            .await
            .map_err(|_| "connection broken".to_owned())?;
        Ok((response, connection))
    }

    /// Sends a call and reads the answer to its end.
    pub async fn call(&self, call: &Call) -> Result<Answer, String> {
        let answered = async {
            let (response, connection) = self.send(call).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            let body = body.map_err(|_| "answer broken".to_owned())?.to_bytes();
            self.keep(connection);
            Ok(Answer { status, body })
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| Err("timeout".to_owned()))
    }

    /// Sends a call, throws the body of the answer away as it comes, and counts the status.
    pub async fn waste(&self, call: &Call, tally: &Tally) {
        let answered = async {
            let (response, connection) = self.send(call).await?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let _thrown_away = frame.map_err(|_| "answer broken".to_owned())?;
            }
            self.keep(connection);
            Ok::<_, String>(status)
        };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(status)) => tally.add(&status.to_string()),
            Ok(Err(problem)) => tally.add(&problem),
            Err(_) => tally.add("timeout"),
        }
    }

    fn keep(&self, connection: Connection) {
        if let Some(idle) = &self.idle
            && !connection.is_closed()
        {
            locked(idle).push(connection);
        }
    }
}

/// Spreads calls evenly: at most so many a second. Lost time is not made up for by a burst.
#[derive(Debug)]
pub struct Pacer {
    period: Duration,
    next: Mutex<Instant>,
    started: Mutex<u64>,
}

impl Pacer {
    pub fn new(per_second: f64) -> Self {
        Self {
            period: Duration::from_secs_f64(1.0 / per_second.max(0.01)),
            next: Mutex::new(Instant::now()),
            started: Mutex::new(0),
        }
    }

    /// Waits for the next turn.
    pub async fn turn(&self) {
        let at = {
            let mut next = locked(&self.next);
            let at = (*next).max(Instant::now());
            *next = at + self.period;
            at
        };
        sleep_until(at).await;
        *locked(&self.started) += 1;
    }

    /// The number of turns that were taken.
    pub fn started(&self) -> u64 {
        *locked(&self.started)
    }
}

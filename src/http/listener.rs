//! The listener: accepts connections, and limits how many there are and how slow they may be.
//!
//! A client may open connections and send nothing, send a byte now and then, or never read the
//! responses. The limits here bound the time and memory that this costs. The time limit for a whole
//! request is in `middleware.rs`.
//!
//! A connection speaks HTTP/2 if it begins with the preface of HTTP/2, else HTTP/1. A request that
//! asks for `Upgrade: h2c` is answered in HTTP/1.1: RFC 9113 has withdrawn that upgrade.

use std::io::{self, Cursor};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;
use tracing::{debug, error, warn};

use super::http2;
use crate::metrics::Metrics;
use crate::shares::{self, Holder, Permit, Refused, Shares};

/// The pause after a connection could not be accepted, usually because the process has too many
/// open files; also the time limit for refusing a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// The idle time before the first TCP keepalive probe, and the time between probes.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// The body of the response to a connection above the limit of its address.
const TOO_MANY_TEXT: &str = "Too many open connections from this address: 429\n";
/// The response to a connection above the limit of its address.
const TOO_MANY_OF_ADDRESS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-type: text/plain\r\ncontent-length: 49\r\nconnection: close\r\n\r\nToo many open connections from this address: 429\n";
/// The response to a connection above the limit.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The largest head of a request, and the most of a body that the HTTP library reads in advance, in
/// bytes. It bounds the memory of a connection.
const READ_BUFFER: u32 = 64 << 10;
/// The first bytes of a connection that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The limits on connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The maximum number of open connections. Further ones are answered with 503 and closed.
    pub connections: usize,
    /// The maximum number of open connections of one address. Further ones are answered with 429
    /// and closed.
    pub connections_per_address: usize,
    /// The networks of proxies. Their connections carry the requests of many clients, so they may
    /// open any number.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How long the head of a request may take. The time starts when the connection is ready for
    /// the request, so idle connections are closed after it too.
    pub head: Duration,
    /// How long sent bytes may stay unacknowledged before the connection is closed; Linux only.
    pub unread: Duration,
}

/// Serves connections until `stop` is cancelled, then finishes the requests in flight.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Permits::new(&limits, &metrics));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The client disconnected before the connection was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) =>
            {
                continue;
            }
            Err(error) => {
                error!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let permit = match permits.admit(address.ip()) {
            Ok(permit) => permit,
            Err(refused) => {
                metrics.connection_refused();
                connections.spawn(refuse(stream, refused));
                continue;
            }
        };
        if let Err(error) = prepare(&stream, limits.unread) {
            debug!(%error, "the client disconnected before its connection was set up");
            continue;
        }
        let (router, metrics, stop) = (router.clone(), Arc::clone(&metrics), stop.clone());
        let permits = Arc::clone(&permits);
        connections.spawn(async move {
            metrics.connection_opens();
            answer(stream, address, router, &permits, stop).await;
            metrics.connection_closes();
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The permits for connections: in all, and of each address that is no trusted proxy.
struct Permits {
    limits: Limits,
    shares: Shares,
    metrics: Arc<Metrics>,
    /// Whether an address has been refused yet. The log says it once.
    has_warned: AtomicBool,
}

impl Permits {
    fn new(limits: &Limits, metrics: &Arc<Metrics>) -> Self {
        let shares = shares::Limits {
            total: limits.connections,
            each: limits.connections_per_address,
            queue: 0,
            wait: Duration::ZERO,
        };
        Self {
            limits: limits.clone(),
            shares: Shares::new("connections", shares, Arc::clone(metrics)),
            metrics: Arc::clone(metrics),
            has_warned: AtomicBool::new(false),
        }
    }

    fn admit(&self, address: IpAddr) -> Result<Permit, Refused> {
        let proxies = &self.limits.trusted_proxies;
        let canonical = address.to_canonical();
        let is_proxy = proxies.iter().any(|network| network.contains(&canonical));
        let admitted = if is_proxy {
            self.shares.try_take_unlimited(Holder::address(address), 1)
        } else {
            self.shares.try_take(Holder::address(address), 1)
        };
        if admitted.as_ref().err() == Some(&Refused::OwnShare)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                %address,
                limit = self.limits.connections_per_address,
                "refused a connection: the address has as many as one address may have \
                 (shares.connections_per_address); if it is your proxy, name it in \
                 server.trusted_proxies"
            );
        }
        admitted
    }
}

/// Answers the requests of a connection.
async fn answer(
    mut stream: TcpStream,
    address: SocketAddr,
    router: Router,
    permits: &Arc<Permits>,
    stop: CancellationToken,
) {
    let limits = &permits.limits;
    let first = tokio::select! {
        biased;
        first = tokio::time::timeout(limits.head, first_bytes(&mut stream)) => first,
        () = stop.cancelled() => return,
    };
    let Ok(Ok(first)) = first else { return };
    let speaks_http2 = first == PREFACE;
    let (reader, writer) = stream.into_split();
    let io = tokio::io::join(Cursor::new(first).chain(reader), writer);
    if !speaks_http2 {
        return answer_http1(io, address, router, limits.head, stop).await;
    }
    let limits = http2::Limits {
        head_bytes: READ_BUFFER,
        idle: limits.head,
        unread: limits.unread,
    };
    let permits = Arc::clone(permits);
    let admit = move || {
        permits.admit(address.ip()).map_err(|refused| {
            permits.metrics.connection_refused();
            Box::new(refusal(refused))
        })
    };
    http2::serve(io, address, router, limits, admit, stop).await;
}

/// Reads the first bytes of a connection, until they are the preface of HTTP/2 or differ from it.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PREFACE.len());
    while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
        let missing = u64::try_from(PREFACE.len() - bytes.len()).unwrap_or(1);
        if (&mut *stream).take(missing).read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    Ok(bytes)
}

async fn answer_http1(
    io: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    router: Router,
    head: Duration,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(usize::try_from(READ_BUFFER).unwrap_or(usize::MAX))
        .half_close(true)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client caused it: it disconnected, sent something that is not HTTP, or was too slow.
        debug!(%error, "a connection ended with an error");
    }
}

/// The response to a request that would need a permit for a connection and gets none.
fn refusal(refused: Refused) -> Response {
    let (status, text) = match refused {
        Refused::OwnShare | Refused::QueueFull => (StatusCode::TOO_MANY_REQUESTS, TOO_MANY_TEXT),
        Refused::AllShares => (StatusCode::SERVICE_UNAVAILABLE, ""),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    let content_type = HeaderValue::from_static("text/plain");
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}

/// Sends small packets without delay, and makes the kernel detect clients that are gone or do not
/// read.
fn prepare(stream: &TcpStream, unread: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unread))?;
    #[cfg(not(target_os = "linux"))]
    let _linux_only = unread;
    Ok(())
}

/// Answers 503, or 429 if the address's own share is used up, and closes the connection; gives up
/// after [`PAUSE`].
async fn refuse(mut stream: TcpStream, refused: Refused) {
    let answer = match refused {
        Refused::OwnShare | Refused::QueueFull => TOO_MANY_OF_ADDRESS,
        Refused::AllShares => TOO_MANY,
    };
    let _ignored = tokio::time::timeout(PAUSE, async {
        stream.write_all(answer).await?;
        stream.shutdown().await
    })
    .await;
}

/// Raises this process's limit on open files to the maximum that the system allows, and returns it.
#[must_use]
pub fn raise_file_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1_024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

//! The listener: connections, how many there may be, and how long they may take.
//!
//! Whoever opens connections and sends nothing, sends a byte now and then, or never reads its answers, is a matter of time
//! and memory that are bounded here; how long a *request* may take is the frame's.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;
use tracing::{debug, error};

use crate::metrics::Metrics;

/// How long to wait after connections could not be accepted, which is so when the process has no more files to open.
const PAUSE: Duration = Duration::from_millis(100);
/// After this long without a byte it is asked whether the caller's machine is still there, and then as often.
const PROBE_EVERY: Duration = Duration::from_mins(1);
/// What a caller is told for whom there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many there may be; one more is answered with 503 and closed.
    pub connections: usize,
    /// How long the head of a request may take, counted from when the connection could take it: so idle connections are
    /// closed after it too.
    pub head: Duration,
    /// How long bytes that were sent to a caller may go without being taken.
    pub unread: Duration,
}

/// Takes connections until told to stop; then finishes the requests that are under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(
        limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // That of a caller who has gone again already.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) =>
            {
                continue;
            }
            Err(error) => {
                error!(%error, "connections cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            metrics.connection_refused();
            connections.spawn(refuse(stream));
            continue;
        };
        if let Err(error) = prepare(&stream, limits.unread) {
            debug!(%error, "a connection is gone before it began");
            continue;
        }
        let (router, metrics, stop) = (router.clone(), Arc::clone(&metrics), stop.clone());
        connections.spawn(async move {
            metrics.connection_opens();
            answer(stream, address, router, limits.head, stop).await;
            metrics.connection_closes();
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn answer(
    stream: TcpStream,
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
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The caller's doing: it went away, it sent what is not HTTP, or it was too slow.
        debug!(%error, "a connection ended early");
    }
}

/// Small packets go out at once; who is gone, or takes nothing, is noticed.
fn prepare(stream: &TcpStream, unread: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(PROBE_EVERY)
            .with_interval(PROBE_EVERY),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unread))?;
    #[cfg(not(target_os = "linux"))]
    let _only_there = unread;
    Ok(())
}

/// Says so, if it can be said without waiting for long.
async fn refuse(mut stream: TcpStream) {
    let _unheard = tokio::time::timeout(PAUSE, async {
        stream.write_all(NO_ROOM).await?;
        stream.shutdown().await
    })
    .await;
}

/// Lets this process open as many files as it may, and says how many that are.
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

//! HTTP/2 without TLS, for clients that begin with its preface (RFC 9113, section 3.3): what one
//! connection may use, and which connections are closed.
//!
//! One connection carries many requests, so the limits on connections alone would not bound them.
//! Each request beside the first therefore takes a permit for a connection too. The client decides
//! when it takes an answer, and the kernel cannot see that it does not; so a [`Watch`] closes
//! connections on which nothing moves, or whose client begins requests and cancels them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use tracing::debug;

use crate::shares::Permit;

/// The requests of one connection at a time; the RFC recommends at least 100.
const STREAMS: u32 = 100;
/// The bytes of one request's body that are read before the service takes them.
const STREAM_WINDOW: u32 = 64 << 10;
/// The same for all requests of a connection together.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// The bytes of one answer that wait for the client, and the largest part of one.
const PART: usize = 16 << 10;
/// How many more requests a client may cancel than it lets be answered. Each costs work that is
/// thrown away, and a connection would allow any number of them ("rapid reset").
const CANCELLED: usize = 100;
/// The time that a client has to close the connection once it was asked to.
const CLOSING: Duration = Duration::from_secs(1);

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest head of a request, in bytes.
    pub(super) head_bytes: u32,
    /// How long a connection without a request stays open.
    pub(super) idle: Duration,
    /// How long a client may leave a part of an answer untaken.
    pub(super) unread: Duration,
}

/// Serves a connection until it ends, `stop` is cancelled and its requests are answered, or it
/// breaks a limit. `admit` gives the permit for a further request, or the answer that refuses it.
pub(super) async fn serve<I, A>(
    io: I,
    address: SocketAddr,
    router: Router,
    limits: Limits,
    admit: A,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    A: Fn() -> Result<Permit, Box<axum::response::Response>>,
    A: Clone + Send + 'static,
{
    let watch = Arc::new(Watch::new(limits));
    let service = {
        let watch = Arc::clone(&watch);
        service_fn(move |request: Request<Incoming>| {
            answer(&watch, &admit, address, router.clone(), request)
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(PART)
        .max_header_list_size(limits.head_bytes)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut is_closing = false;
    let ended = loop {
        let broken = tokio::select! {
            ended = &mut connection => break ended,
            () = stop.cancelled(), if !is_closing => Broken::Idle,
            broken = watch.broken() => broken,
        };
        if broken == Broken::Idle && !is_closing {
            is_closing = true;
            watch.begin_closing();
            connection.as_mut().graceful_shutdown();
        } else {
            debug!(?broken, "closed a connection");
            return;
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended with an error");
    }
}

/// Answers one request, or refuses it if it is one too many.
fn answer<A: Fn() -> Result<Permit, Box<axum::response::Response>>>(
    watch: &Arc<Watch>,
    admit: &A,
    address: SocketAddr,
    mut router: Router,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<A> {
    // The first one has the permit of the connection.
    let permit = if watch.is_idle() {
        Ok(None)
    } else {
        admit().map(Some)
    };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(address));
    let (permit, refused) = match permit {
        Ok(permit) => (permit, None),
        Err(refused) => (None, Some(*refused)),
    };
    let mut stream = Stream::begin(watch, permit);
    async move {
        let response = match refused {
            Some(response) => response,
            None => router.call(request).await?,
        };
        Ok(response.map(|body| {
            stream.is_answered = body.is_end_stream();
            Answer {
                body,
                rest: Bytes::new(),
                stream,
            }
        }))
    }
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// It has had no request for too long.
    Idle,
    /// The client does not take an answer.
    Unread,
    /// The client cancels too many requests.
    Cancelled,
}

/// What a connection is doing.
#[derive(Debug)]
struct Watch {
    limits: Limits,
    state: Mutex<State>,
    /// Wakes [`Watch::broken`] when the state may be broken earlier than it was.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// The requests that are not answered yet.
    open: usize,
    /// When the last of them was answered.
    idle_since: Instant,
    /// The limit on idleness: less when the connection is closing.
    idle: Duration,
    /// The cancelled requests, less the answered ones.
    cancelled: usize,
    /// The number of the last request.
    last: u64,
    /// Since when each answer waits for the client to take a part.
    unread: HashMap<u64, Instant>,
}

impl Watch {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                open: 0,
                idle_since: Instant::now(),
                idle: limits.idle,
                cancelled: 0,
                last: 0,
                unread: HashMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.state().open == 0
    }

    /// From now on the client has only a short time without a request.
    fn begin_closing(&self) {
        let mut state = self.state();
        state.idle = CLOSING;
        state.idle_since = Instant::now();
        drop(state);
        self.changed.notify_one();
    }

    /// Resolves when the connection breaks a limit.
    async fn broken(&self) -> Broken {
        loop {
            let (due, broken) = {
                let state = self.state();
                if state.cancelled > CANCELLED {
                    return Broken::Cancelled;
                }
                let idle = (state.open == 0).then_some(state.idle_since + state.idle);
                let unread = state.unread.values().min();
                let unread = unread.map(|since| *since + self.limits.unread);
                let idle = idle.map(|due| (due, Broken::Idle));
                let unread = unread.map(|due| (due, Broken::Unread));
                // A limit that begins to count later is not due before this.
                let later = Instant::now() + self.limits.unread.min(state.idle);
                let due = idle.into_iter().chain(unread).min_by_key(|(due, _)| *due);
                due.map_or((later, None), |(due, broken)| {
                    (due.min(later), (due <= later).then_some(broken))
                })
            };
            if let Some(broken) = broken.filter(|_| due <= Instant::now()) {
                return broken;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

/// A request that is not answered yet, until it is dropped.
struct Stream {
    watch: Arc<Watch>,
    number: u64,
    /// Whether the client has room for the whole answer.
    is_answered: bool,
    _permit: Option<Permit>,
}

impl Stream {
    fn begin(watch: &Arc<Watch>, permit: Option<Permit>) -> Self {
        let mut state = watch.state();
        state.open += 1;
        state.last += 1;
        Self {
            number: state.last,
            watch: Arc::clone(watch),
            is_answered: false,
            _permit: permit,
        }
    }

    /// Notes that the client has a part to take, or that it has taken it.
    fn set_unread(&self, is_unread: bool) {
        let unread = &mut self.watch.state().unread;
        if is_unread {
            unread.insert(self.number, Instant::now());
        } else {
            unread.remove(&self.number);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        state.open -= 1;
        state.unread.remove(&self.number);
        if state.open == 0 {
            state.idle_since = Instant::now();
        }
        state.cancelled = if self.is_answered {
            state.cancelled.saturating_sub(1)
        } else {
            state.cancelled + 1
        };
        let is_broken = state.cancelled > CANCELLED;
        drop(state);
        if is_broken {
            self.watch.changed.notify_one();
        }
    }
}

/// An answer that is handed to the library in parts. It keeps one part until the client has room for
/// it, and asks for the next one then.
struct Answer {
    body: Body,
    /// What is left of the body's last piece.
    rest: Bytes,
    stream: Stream,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // It asks again when there is room for all of the part before.
        self.stream.set_unread(false);
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.stream.is_answered = true;
                    return Poll::Ready(None);
                }
            }
        }
        // The library hands on a part when there is room for its first byte. So the last byte is a
        // part of its own.
        let length = (self.rest.len() - 1).clamp(1, PART);
        let part = self.rest.split_to(length);
        self.stream.set_unread(true);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    /// Never after the last part, which the library would keep without asking again: it would not
    /// show when the client has room for it.
    fn is_end_stream(&self) -> bool {
        self.stream.is_answered
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(body.lower().saturating_add(rest));
        hint
    }
}

//! What frames every request: its identity, its line in the log, its time limit, and an answer in the right
//! envelope when it runs out of time or into a panic. Bodies, tokens and queries never reach the log.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use ipnet::IpNet;
use tracing::{Instrument as _, debug_span, error, info, info_span};
use uuid::Uuid;

use super::client_address;
use crate::dialects::{Allowance, Ending, Mishap, RequestId, admin, call, soap, v3};
use crate::domain::Error;
use crate::metrics::{Call, Metrics};
use crate::service::{Rate, Service};
use crate::telemetry;

const REQUEST_ID: &str = "x-request-id";
/// The longest request id that is accepted from a caller.
const MAX_REQUEST_ID: usize = 128;

/// What the frame needs to know.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) admin: Arc<admin::Settings>,
    /// Counts requests.
    pub(super) service: Option<Arc<Service>>,
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) request_timeout: Duration,
}

/// Logs what a handler said in its panic; the caller is not told.
fn log_panic(panic: &(dyn Any + Send)) {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("something");
    error!(said, "a handler panicked");
}

pub(super) async fn frame(
    State(frame): State<Frame>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(id.clone());
    let allowance = Allowance::default();
    request.extensions_mut().insert(allowance.clone());
    let mishap = answer_to_mishaps(&request, &frame.admin);
    let address = client_address::address(&request, &frame.trusted_proxies);
    let (of_address, admitted) = match (&frame.service, address) {
        (Some(service), Some(address)) => service.count_address(address),
        _ => (None, Ok(())),
    };
    let call = call(&request);
    let counted = frame
        .service
        .as_ref()
        .map(|service| Counted::begin(service.metrics(), call));
    let span = || info_span!(target: telemetry::SPANS, "request", request_id = %id, method = %request.method(), path = request.uri().path());
    let span = telemetry::in_callers_trace(request.headers(), &id.0, span);
    let handling = debug_span!(target: telemetry::SPANS, parent: &span, "call", dialect = call.dialect, operation = call.operation);

    let started = Instant::now();
    let answer = async {
        match admitted {
            Err(Error::RateLimited { retry_after }) => {
                Ok(Ok(mishap(Mishap::RateLimited { retry_after })))
            }
            _ => {
                tokio::time::timeout(
                    frame.request_timeout,
                    AssertUnwindSafe(next.run(request).instrument(handling)).catch_unwind(),
                )
                .await
            }
        }
    };
    let mut response = match answer.instrument(span.clone()).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            span.in_scope(|| log_panic(&*panic));
            mishap(Mishap::Crashed)
        }
        Err(_elapsed) => mishap(Mishap::TimedOut),
    };
    if let Some(counted) = counted {
        counted.end(&response, started.elapsed());
    }
    span.in_scope(|| {
        info!(
            status = response.status().as_u16(),
            ms = started.elapsed().as_secs_f64() * 1_000.0,
            "answered"
        );
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(rate) = allowance.rate().or(of_address) {
        tell_rate(&mut response, rate);
    }
    response
}

/// A request that is being answered; one that is dropped before its end was abandoned by its caller.
struct Counted {
    metrics: Arc<Metrics>,
    call: Call,
    is_over: bool,
}

impl Counted {
    fn begin(metrics: &Arc<Metrics>, call: Call) -> Self {
        metrics.request_begins();
        Self {
            metrics: Arc::clone(metrics),
            call,
            is_over: false,
        }
    }

    fn end(mut self, response: &Response, took: Duration) {
        self.is_over = true;
        let operation = response
            .extensions()
            .get::<soap::Called>()
            .map_or(self.call.operation, |called| called.0);
        let ending = response
            .extensions()
            .get::<Ending>()
            .copied()
            .unwrap_or_else(|| Ending::of_status(response.status().as_u16()));
        self.metrics.request_ends(
            Call {
                operation,
                ..self.call
            },
            ending.as_str(),
            took,
        );
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.request_abandoned(self.call);
        }
    }
}

/// The credential's allowance where there is one, else the address's.
fn tell_rate(response: &mut Response, rate: Rate) {
    let seconds = rate.reset_at.timestamp() + i64::from(rate.reset_at.timestamp_subsec_nanos() > 0);
    let headers = response.headers_mut();
    headers.insert("x-rate-limit-limit", HeaderValue::from(rate.limit));
    headers.insert("x-rate-limit-remaining", HeaderValue::from(rate.remaining));
    headers.insert("x-rate-limit-reset", HeaderValue::from(seconds));
}

/// How the dialect of a request answers what goes wrong outside its handlers.
fn answer_to_mishaps(
    request: &Request,
    settings: &Arc<admin::Settings>,
) -> impl Fn(Mishap) -> Response + use<> {
    let (is_soap, is_v3) = (
        soap::is_path(request.uri().path()),
        v3::is_path(request.uri().path()),
    );
    let headers = if is_soap || is_v3 {
        request.headers().clone()
    } else {
        HeaderMap::new()
    };
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_default();
    let (codec, settings) = (
        admin::preferred(request.headers(), request.uri()),
        Arc::clone(settings),
    );
    move |mishap| match () {
        () if is_soap => soap::answer_mishap(mishap, &headers),
        () if is_v3 => v3::answer_mishap(mishap, &headers, &id),
        () => admin::answer_mishap(mishap, codec, &settings),
    }
}

/// The caller's own id if it is fit for logs and headers, else a new one.
fn request_id(headers: &HeaderMap) -> RequestId {
    let is_fit = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(is_fit);
    RequestId(given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned))
}

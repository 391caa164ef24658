//! The middleware around every request: it assigns the request's id, writes the log line, enforces
//! the time limit and the rate limit per address, and answers timeouts and panics in the right
//! dialect. It never logs bodies, tokens or queries.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use ipnet::IpNet;
use tracing::{Instrument as _, debug_span, error, info, info_span};
use uuid::Uuid;

use super::{client_address, compression, held_body, rate_headers, request_checks};
use crate::dialects::exchange::{BodyWait, ClientAddress, Handled, RequestId, RequestOutcome};
use crate::dialects::failure::Failure;
use crate::dialects::{Responder, admin, labels};
use crate::domain::Error;
use crate::metrics::{Call, Metrics};
use crate::service::Service;
use crate::telemetry;

const REQUEST_ID: &str = "x-request-id";
/// The longest request id that is accepted from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The settings and services that the middleware needs.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) admin: Arc<admin::Settings>,
    /// Counts requests and their metrics. `None` on routes without the service.
    pub(super) service: Option<Arc<Service>>,
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) request_timeout: Duration,
}

/// Logs the message of a handler's panic. The caller does not get it.
fn log_panic(panic: &(dyn Any + Send)) {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    error!(panic = message, "a handler panicked");
}

pub(super) async fn handle(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(id.clone());
    let responder = Responder::of(&request);
    let respond = |failure| responder.respond(&failure, &shared.admin);
    let address = client_address::address(&request, &shared.trusted_proxies);
    client_address::settle_scheme(&mut request, &shared.trusted_proxies);
    let (address_rate, admitted) = match (&shared.service, address) {
        (Some(service), Some(address)) => service.count_address(address),
        _ => (None, Ok(())),
    };
    if let Some(address) = address {
        request.extensions_mut().insert(ClientAddress(address));
    }
    let body_wait = BodyWait::default();
    request.extensions_mut().insert(body_wait.clone());
    let head = request_checks::check(&mut request);
    let is_head = request.method() == Method::HEAD;
    let wants_gzip = compression::is_wanted(request.headers());
    let labels = labels(&request);
    let metrics = shared.service.as_ref().map(|service| service.metrics());
    let in_flight = metrics.map(|metrics| InFlight::begin(metrics, labels));
    let span = || {
        info_span!(target: telemetry::SPANS, "request", request_id = %id,
            method = %request.method(), path = request.uri().path())
    };
    let span = telemetry::in_callers_trace(request.headers(), &id.0, span);
    let call = debug_span!(target: telemetry::SPANS, parent: &span, "call",
        dialect = labels.dialect, operation = labels.operation);

    let started = Instant::now();
    let answer = async {
        if let Err(Error::RateLimited { retry_after }) = admitted {
            return Ok(Ok(respond(Failure::RateLimited { retry_after })));
        }
        if let Err(failure) = head {
            return Ok(Ok(respond(failure)));
        }
        let handling = AssertUnwindSafe(next.run(request).instrument(call)).catch_unwind();
        tokio::time::timeout(shared.request_timeout, handling).await
    };
    let answer = telemetry::for_request(&id.0, answer.instrument(span.clone()));
    let mut response = match answer.await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            span.in_scope(|| telemetry::in_request(&id.0, || log_panic(&*panic)));
            respond(Failure::Crashed)
        }
        Err(_elapsed) if body_wait.is_waiting() => respond(Failure::BodyTimedOut),
        Err(_elapsed) => respond(Failure::TimedOut),
    };
    let mut handled = response.extensions().get::<Handled>().copied();
    // The router drops the body of an answer to HEAD.
    let holder = handled.and_then(|it| it.holder).filter(|_| !is_head);
    if let (Some(service), Some(holder)) = (&shared.service, holder) {
        response = match held_body::hold(service, holder, response).await {
            Ok(response) => response,
            Err(error) => {
                let response = respond(Failure::Service(error));
                let outcome = RequestOutcome::of_status(response.status().as_u16());
                handled = handled.map(|handled| Handled { outcome, ..handled });
                response
            }
        };
    }
    if !handled.is_some_and(|handled| handled.has_secret) {
        response = compression::apply(response, wants_gzip).await;
    }
    if let Some(in_flight) = in_flight {
        in_flight.end(handled, response.status(), started.elapsed());
    }
    let ms = started.elapsed().as_secs_f64() * 1_000.0;
    span.in_scope(|| info!(status = response.status().as_u16(), ms, "answered"));
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(service) = &shared.service {
        let rates = rate_headers::Rates {
            token: handled.and_then(|handled| handled.rate),
            address: address_rate,
        };
        let is_refused =
            handled.is_some_and(|handled| handled.outcome == RequestOutcome::RateLimited);
        rate_headers::write(headers, rates, is_refused, service.now());
    }
    response
}

/// Counts a request that is being answered. If it is dropped early, the request counts as abandoned
/// by its caller.
struct InFlight {
    metrics: Arc<Metrics>,
    labels: Call,
    is_over: bool,
}

impl InFlight {
    fn begin(metrics: &Arc<Metrics>, labels: Call) -> Self {
        metrics.request_begins();
        Self {
            metrics: Arc::clone(metrics),
            labels,
            is_over: false,
        }
    }

    /// Counts the end of the request, by the dispatcher's record if there is one, else by the HTTP
    /// status.
    fn end(mut self, handled: Option<Handled>, status: StatusCode, took: Duration) {
        self.is_over = true;
        let named = handled.and_then(|handled| handled.operation);
        let operation = named.unwrap_or(self.labels.operation);
        let by_status = || RequestOutcome::of_status(status.as_u16());
        let outcome = handled.map_or_else(by_status, |handled| handled.outcome);
        let labels = Call {
            operation,
            ..self.labels
        };
        self.metrics.request_ends(labels, outcome.as_str(), took);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.request_abandoned(self.labels);
        }
    }
}

/// The caller's own request id if it is short and printable, else a new one.
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

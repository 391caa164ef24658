//! The management endpoints, for the operator's network. API clients should not reach them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::compression;
use crate::dialects::exchange::accept;
use crate::metrics::TextFormat;
use crate::service::Service;
use crate::wire;

/// Whether the service accepts requests. It is set once, when the shutdown begins.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Makes `/readyz` answer 503 from now on.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The router: `/livez` answers 200 while the process runs; `/readyz` answers 200 while the service
/// accepts requests and the database answers; `/metrics` has the metrics for Prometheus, in
/// OpenMetrics for those who ask for it.
pub fn management(service: Arc<Service>, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((service, readiness))
}

async fn metrics(
    State((service, _)): State<(Arc<Service>, Readiness)>,
    headers: HeaderMap,
) -> Response {
    let format = text_format(&headers);
    let content_type = (header::CONTENT_TYPE, format.content_type());
    let vary = (header::VARY, "Accept");
    let text = format.write(service.render_metrics());
    let response = ([content_type, vary], text).into_response();
    compression::apply(response, compression::is_wanted(&headers)).await
}

/// The format that a scraper prefers. The text format of Prometheus, unless `Accept` names
/// OpenMetrics with at least the same quality.
fn text_format(headers: &HeaderMap) -> TextFormat {
    let accept = accept(headers).unwrap_or_default();
    let quality = |names: &[&str]| {
        wire::quality(&accept, |range| {
            names.iter().any(|name| range.eq_ignore_ascii_case(name))
        })
    };
    let text = quality(&["text/plain"]).or_else(|| quality(&["text/*", "*/*"]));
    match quality(&["application/openmetrics-text"]) {
        Some(open_metrics) if open_metrics > 0 && open_metrics >= text.unwrap_or(0) => {
            TextFormat::OpenMetrics
        }
        _ => TextFormat::Prometheus,
    }
}

async fn readyz(
    State((service, readiness)): State<(Arc<Service>, Readiness)>,
) -> (StatusCode, &'static str) {
    if readiness.is_withdrawn() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match service.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        ),
    }
}

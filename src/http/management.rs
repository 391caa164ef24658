//! The management endpoints, for the operator's network. API clients should not reach them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::CONTENT_TYPE;
use crate::service::Service;

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
/// accepts requests and the database answers; `/metrics` has the metrics for Prometheus.
pub fn management(service: Arc<Service>, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((service, readiness))
}

async fn metrics(State((service, _)): State<(Arc<Service>, Readiness)>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        service.render_metrics(),
    )
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

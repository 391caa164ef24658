//! The management listener: for the operator's own network, not for callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::CONTENT_TYPE;
use crate::service::Service;

/// Whether the service takes requests, as far as it knows itself.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says from now on that it is stopping.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// `/livez`: the process runs. `/readyz`: it takes requests, and its database answers. `/metrics`: what is counted.
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

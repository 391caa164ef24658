//! How it arrives: the router, what frames every request, and the management listener.

mod frame;
mod management;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::dialects::admin::{self, Mishap};

pub use management::{Readiness, management};

/// The router of the API. From the outside in: the frame (request id, log, time limit), then the panic catcher,
/// then the dialects.
pub fn router(api: admin::Api, request_timeout: Duration) -> Router {
    let frame = frame::Frame { admin: Arc::clone(&api.settings), request_timeout };
    let settings = Arc::clone(&api.settings);
    let no_such_call = move |headers: HeaderMap, uri: Uri| {
        let settings = Arc::clone(&settings);
        async move { admin::answer_mishap(Mishap::NoSuchCall, admin::preferred(&headers, &uri), &settings) }
    };
    admin::routes(api)
        .fallback(no_such_call)
        .layer(CatchPanicLayer::custom(frame::note_panic))
        .layer(middleware::from_fn_with_state(frame, frame::frame))
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
}

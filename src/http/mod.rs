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

/// The router of the API.
pub fn router(api: admin::Api, request_timeout: Duration) -> Router {
    let frame = frame::Frame { admin: Arc::clone(&api.settings), request_timeout };
    let settings = Arc::clone(&api.settings);
    let no_such_call = move |headers: HeaderMap, uri: Uri| {
        let settings = Arc::clone(&settings);
        async move { admin::answer_mishap(Mishap::NoSuchCall, admin::preferred(&headers, &uri), &settings) }
    };
    framed(admin::routes(api).fallback(no_such_call), frame)
}

/// Routes with what frames them. From the outside in: headers for all answers, the frame (request id, log, time
/// limit), then the panic catcher.
fn framed(routes: Router, frame: frame::Frame) -> Router {
    routes
        .layer(CatchPanicLayer::custom(frame::note_panic))
        .layer(middleware::from_fn_with_state(frame, frame::frame))
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::post;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str) -> (u16, String, bool) {
        let settings = Arc::new(admin::Settings { always_200: false, token_in_query: false, max_body: 1, public_url: None });
        let frame = frame::Frame { admin: settings, request_timeout: Duration::from_millis(20) };
        let routes = Router::new()
            .route("/panics", post(|| async { if true { panic!("a secret") } else { "" } }))
            .route("/hangs", post(std::future::pending::<&str>));
        let request = Request::post(path).header("content-type", "text/xml").body(Body::empty()).unwrap();
        let response = framed(routes, frame).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap(), parts.headers.contains_key("x-request-id"))
    }

    #[tokio::test]
    async fn panics_and_timeouts_are_answered_in_the_envelope() {
        assert_eq!(ask("/panics").await, (500, "<xml><error>500</error><error_text>Internal error</error_text></xml>".to_owned(), true));
        let slow = "<xml><error>503</error><error_text>Service unavailable: the request took too long</error_text></xml>";
        assert_eq!(ask("/hangs").await, (503, slow.to_owned(), true));
    }
}

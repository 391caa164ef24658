//! How it arrives: the router, what frames every request, and the management listener.

mod frame;
mod management;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::dialects::{Mishap, RequestId, admin, soap, v3};

pub use management::{Readiness, management};

/// The dialects that are served.
#[derive(Debug, Clone)]
pub struct Apis {
    /// `POST /api/v1.1/admin/...`
    pub admin: admin::Api,
    /// `/Services/Reseller/Service.asmx`
    pub soap: soap::Api,
    /// `/v3/...`
    pub v3: v3::Api,
}

/// The router of the API.
pub fn router(apis: Apis, request_timeout: Duration) -> Router {
    let frame = frame::Frame { admin: Arc::clone(&apis.admin.settings), request_timeout };
    let settings = Arc::clone(&apis.admin.settings);
    let soap = apis.soap;
    // The soap dialect's path is compared ignoring case, which routes cannot do.
    let otherwise = move |request: Request| {
        let (settings, soap) = (Arc::clone(&settings), soap.clone());
        async move {
            if soap::is_path(request.uri().path()) {
                return soap::handle(soap, request).await;
            }
            if v3::is_path(request.uri().path()) {
                let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
                return v3::answer_mishap(Mishap::NoSuchCall, request.headers(), &id);
            }
            admin::answer_mishap(Mishap::NoSuchCall, admin::preferred(request.headers(), request.uri()), &settings)
        }
    };
    framed(admin::routes(apis.admin).merge(v3::routes(apis.v3)).fallback(otherwise), frame)
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
            .route("/hangs", post(std::future::pending::<&str>))
            .route("/Services/Reseller/service.ASMX", post(|| async { if true { panic!("a secret") } else { "" } }));
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
        let (status, body, _) = ask("/Services/Reseller/service.ASMX").await;
        assert!(status == 500 && body.contains("<faultstring>Server was unable to process request.</faultstring>"), "{status} {body}");
    }
}

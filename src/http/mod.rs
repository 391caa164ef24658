//! The HTTP layer: the router, the middleware around every request, and the listeners.

mod client_address;
mod compression;
mod held_body;
mod http2;
mod listener;
mod management;
mod middleware;
pub mod pages;
mod rate_headers;
mod request_checks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use ipnet::IpNet;
use tower_http::cors::CorsLayer;

use crate::dialects::failure::Failure;
use crate::dialects::path::{decoded, plain};
use crate::dialects::{Dialect, Responder, admin, soap, v3};
use pages::notice;
use tower_service::Service as _;

pub use listener::{Limits, raise_file_limit, serve};
pub use management::{Readiness, management};

/// The APIs that the router serves.
#[derive(Debug, Clone)]
pub struct Apis {
    /// `POST /api/v1.1/admin/...`
    pub admin: admin::Api,
    /// `/Services/Reseller/Service.asmx`
    pub soap: soap::Api,
    /// `/v3/...`
    pub v3: v3::Api,
}

/// The settings of the HTTP layer.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The longest time that one request may take.
    pub request_timeout: Duration,
    /// The origins of web pages that may call the API. If empty, CORS is off.
    pub cors_origins: Vec<String>,
    /// The networks of proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// Builds the router of the API.
pub fn router(apis: Apis, settings: &Settings) -> Router {
    let shared = middleware::Shared {
        admin: Arc::clone(&apis.admin.settings),
        service: Some(Arc::clone(&apis.v3.service)),
        request_timeout: settings.request_timeout,
        trusted_proxies: settings.trusted_proxies.clone().into(),
    };
    let public_url = &apis.v3.settings.public_url;
    let home = pages::home::routes(public_url.clone());
    let docs = pages::api_docs::routes(public_url.clone());
    let notice = notice::routes(Arc::clone(&apis.v3.service));
    let cors = cors(&settings.cors_origins);
    let (admin, soap) = (Arc::clone(&apis.admin.settings), apis.soap);
    let v3 = apis.v3.clone();
    let routes = admin::routes(apis.admin)
        .merge(v3::routes(apis.v3))
        .merge(home)
        .merge(docs)
        .merge(notice);
    let unknown = async move |request: Request| {
        if Dialect::of(request.uri().path()) == Some(Dialect::V3) {
            let (parts, _) = request.into_parts();
            let failure = Failure::no_such_path(parts.uri.path());
            return v3::respond_unmatched(&v3, &parts, |fail| fail(&failure)).await;
        }
        let is_management = matches!(
            request.uri().path(),
            "/livez" | "/readyz" | "/healthz" | "/health" | "/metrics"
        );
        let failure = if is_management {
            Failure::OnManagementListener
        } else if Dialect::of(request.uri().path()) == Some(Dialect::Admin) {
            // Altcraft's text for an unknown call, which clients compare.
            Failure::NoSuchRoute
        } else {
            Failure::no_such_path(request.uri().path())
        };
        Responder::of(&request).respond(&failure, &admin)
    };
    let mut as_routed = routes.clone().fallback(unknown.clone());
    let fallback = async move |request: Request| {
        // Paths of the `soap` dialect are compared ignoring case, which axum's routes cannot do.
        if Dialect::of(request.uri().path()) == Some(Dialect::Soap) {
            return soap::handle(soap, request).await;
        }
        let Ok(response) = as_routed.call(respelled(request)).await;
        response
    };
    let routes = routes.fallback(fallback);
    let routes = with_middleware(routes, shared);
    // CORS is the outermost layer, so that a browser's scripts can also read errors.
    match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    }
}

/// The request with its path as the routes have it, if it is written otherwise: with escapes that
/// need not be, in `admin` with doubled slashes, in `v3` with a slash at its end.
fn respelled(mut request: Request) -> Request {
    let path = request.uri().path();
    let plain = match Dialect::of(path) {
        Some(Dialect::Admin) => plain(path),
        Some(Dialect::V3) => decoded(path.strip_suffix('/').unwrap_or(path)),
        Some(Dialect::Soap) | None => path.into(),
    };
    if plain == path {
        return request;
    }
    if let Some(uri) = request_checks::with_path(request.uri(), &plain) {
        *request.uri_mut() = uri;
    }
    request
}

/// The CORS layer that lets scripts of the given origins call the API. Tokens are sent in a header,
/// so cookies are not allowed.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    let name = HeaderName::from_static;
    let request_headers = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        name("idempotency-key"),
        name("last-event-id"),
        name("traceparent"),
        name("tracestate"),
        name("x-request-id"),
    ];
    let exposed_headers = [
        header::ALLOW,
        header::CONTENT_LANGUAGE,
        header::ETAG,
        header::LINK,
        header::LOCATION,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        name("idempotent-replayed"),
        name("ignored-members"),
        name("pagination-count"),
        name("pagination-limit"),
        name("pagination-page"),
        name("ratelimit"),
        name("ratelimit-policy"),
        name("steward-changed"),
        name("steward-problem"),
        name("x-rate-limit-limit"),
        name("x-rate-limit-remaining"),
        name("x-rate-limit-reset"),
        name("x-request-id"),
    ];
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let cors = CorsLayer::new()
        .allow_headers(request_headers)
        .expose_headers(exposed_headers)
        .allow_methods(methods)
        .max_age(Duration::from_hours(1));
    (!origins.is_empty()).then(|| cors.allow_origin(origins))
}

/// Wraps routes in the middleware. It is a single layer, because every layer costs time on every
/// request.
fn with_middleware(routes: Router, shared: middleware::Shared) -> Router {
    routes.layer(from_fn_with_state(shared, middleware::handle))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::post;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(path: &str) -> (u16, String, bool) {
        let settings = Arc::new(admin::Settings {
            always_200: false,
            token_in_query: false,
            max_body: 1,
            public_url: None,
        });
        let shared = middleware::Shared {
            admin: settings,
            service: None,
            request_timeout: Duration::from_millis(20),
            trusted_proxies: Arc::from([]),
        };
        let routes = Router::new()
            .route(
                "/panics",
                post(|| async { if true { panic!("a secret") } else { "" } }),
            )
            .route("/hangs", post(std::future::pending::<&str>))
            .route(
                "/services/reseller/service.asmx",
                post(std::future::pending::<&str>),
            )
            .route(
                "/Services/Reseller/service.ASMX",
                post(|| async { if true { panic!("a secret") } else { "" } }),
            );
        let request = Request::post(path)
            .header("content-type", "text/xml")
            .body(Body::empty())
            .unwrap();
        let response = with_middleware(routes, shared)
            .oneshot(request)
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            parts.status.as_u16(),
            String::from_utf8(body.to_vec()).unwrap(),
            parts.headers.contains_key("x-request-id"),
        )
    }

    #[tokio::test]
    async fn panics_and_timeouts_are_answered_in_the_envelope() {
        assert_eq!(
            answer("/panics").await,
            (
                500,
                "<xml><error>500</error><error_text>Internal error</error_text></xml>".to_owned(),
                true
            )
        );
        let slow = "<xml><error>503</error><error_text>Service unavailable: the request took too long</error_text></xml>";
        assert_eq!(answer("/hangs").await, (503, slow.to_owned(), true));
        let (status, body, _) = answer("/Services/Reseller/service.ASMX").await;
        assert!(
            status == 500
                && body
                    .contains("<faultstring>Server was unable to process request.</faultstring>"),
            "{status} {body}"
        );
        let (status, body, _) = answer("/services/reseller/service.asmx").await;
        assert!(
            status == 500 && body.contains("The request took too long."),
            "{status} {body}"
        );
    }
}

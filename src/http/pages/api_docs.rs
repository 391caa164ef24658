//! The OpenAPI document at `/openapi.json`, and the Swagger UI page at `/docs`. All assets are part
//! of the program. The page loads nothing from other hosts, and its content security policy forbids
//! it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

use crate::dialects;

/// The page uses style attributes, which need `unsafe-inline`. Its scripts are files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(Clone)]
struct Docs {
    public_url: Option<String>,
    config: Arc<Config<'static>>,
}

pub(in crate::http) fn routes(public_url: Option<String>) -> Router {
    let config = Config::new(["/openapi.json"])
        .validator_url("none")
        .try_it_out_enabled(true)
        .persist_authorization(false)
        .deep_linking(true);
    let docs = Docs {
        public_url,
        config: Arc::new(config),
    };
    Router::new()
        .route("/openapi.json", get(description))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route(
            "/docs/",
            get(|docs: State<Docs>| asset(docs, Path("index.html".to_owned()))),
        )
        .route("/docs/{file}", get(asset))
        .with_state(docs)
}

/// Stands for the base URL in [`DOCUMENT`].
const BASE: &str = "https://base-url.invalid";

/// The OpenAPI document, made once: it needs no token, and making it takes milliseconds.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| dialects::openapi(BASE).to_string());

async fn description(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    let base = docs
        .public_url
        .unwrap_or_else(|| format!("http://{}", dialects::exchange::host(&headers)));
    // As it stands in a JSON text, without the quotes around it.
    let base = serde_json::Value::from(base).to_string();
    let document = DOCUMENT.replace(BASE, base.trim_matches('"'));
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

async fn asset(State(docs): State<Docs>, Path(file): Path<String>) -> Response {
    let Ok(Some(found)) = utoipa_swagger_ui::serve(&file, docs.config) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = Response::new(Body::from(found.bytes.into_owned()));
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&found.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=3600"),
    );
    response
}

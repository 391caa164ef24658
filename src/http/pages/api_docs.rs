//! The OpenAPI document at `/openapi.json`, and the same as a page for people at `/docs`.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;

use super::html::{self, Text};
use super::reference;
use crate::dialects;

#[derive(Clone)]
struct Docs {
    public_url: Option<String>,
    /// The document as it was last sent, with its base URL.
    latest: Arc<Mutex<Option<Latest>>>,
}

/// A base URL, and the document for it.
type Latest = (String, Arc<Text>);

pub(in crate::http) fn routes(public_url: Option<String>) -> Router {
    let docs = Docs {
        public_url,
        latest: Arc::default(),
    };
    Router::new()
        .route("/openapi.json", get(description))
        .route("/docs", get(page))
        .route("/docs/", get(page))
        .with_state(docs)
}

/// Stands for the base URL in [`DOCUMENT`].
const BASE: &str = "https://base-url.invalid";

/// The OpenAPI document, made once: it needs no token, and making it takes milliseconds.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| dialects::openapi(BASE).to_string());

/// The page, made once: it is the same for every base URL.
static PAGE: LazyLock<Text> =
    LazyLock::new(|| Text::new(reference::page(&dialects::openapi(BASE))));

async fn page(headers: HeaderMap) -> Response {
    let mut response = PAGE.answer(&headers, html::response);
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=3600"),
    );
    response
}

async fn description(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    let base = docs
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{}", dialects::exchange::host(&headers)));
    let document = docs.document(base);
    document.answer(&headers, |body: Body| {
        let mut response = Response::new(body);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    })
}

impl Docs {
    /// The document for a base URL. Nearly all requests name the same one.
    fn document(&self, base: String) -> Arc<Text> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = latest.as_ref().filter(|(known, _)| *known == base) {
            return Arc::clone(text);
        }
        // As it stands in a JSON text, without the quotes around it.
        let quoted = serde_json::Value::from(base.as_str()).to_string();
        let document = DOCUMENT.replace(BASE, quoted.trim_matches('"'));
        let text = Arc::new(Text::new(document));
        *latest = Some((base, Arc::clone(&text)));
        text
    }
}

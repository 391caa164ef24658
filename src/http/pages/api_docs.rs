//! The OpenAPI document at `/openapi.json`, in version 3.0 at `/openapi-3.0.json`, and as a page
//! for people at `/docs`.

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
    /// The two documents as they were last sent, with their base URL.
    latest: [Arc<Mutex<Option<Latest>>>; 2],
}

/// A base URL, and the document for it.
type Latest = (String, Arc<Text>);

pub(in crate::http) fn routes(public_url: Option<String>) -> Router {
    let docs = Docs {
        public_url,
        latest: Default::default(),
    };
    Router::new()
        .route("/openapi.json", get(description))
        .route("/openapi-3.0.json", get(description_3_0))
        .route("/docs", get(page))
        .route("/docs/", get(page))
        .with_state(docs)
}

/// Stands for the base URL in [`DOCUMENT`].
const BASE: &str = "https://base-url.invalid";

/// The OpenAPI document, made once: it needs no token, and making it takes milliseconds.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| dialects::openapi(BASE).to_string());

/// The same in version 3.0.
static DOCUMENT_3_0: LazyLock<String> = LazyLock::new(|| dialects::openapi_3_0(BASE).to_string());

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
    let [latest, _] = &docs.latest;
    docs.answer(&headers, &DOCUMENT, latest)
}

async fn description_3_0(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    let [_, latest] = &docs.latest;
    docs.answer(&headers, &DOCUMENT_3_0, latest)
}

fn json_response(text: &Text, headers: &HeaderMap) -> Response {
    text.answer(headers, |body: Body| {
        let mut response = Response::new(body);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    })
}

impl Docs {
    fn answer(
        &self,
        headers: &HeaderMap,
        document: &str,
        latest: &Mutex<Option<Latest>>,
    ) -> Response {
        let base = dialects::exchange::base_url(self.public_url.as_deref(), headers);
        json_response(&Self::document(base, document, latest), headers)
    }

    /// The document for a base URL. Nearly all requests name the same one.
    fn document(base: String, document: &str, latest: &Mutex<Option<Latest>>) -> Arc<Text> {
        let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = latest.as_ref().filter(|(known, _)| *known == base) {
            return Arc::clone(text);
        }
        // As it stands in a JSON text, without the quotes around it.
        let quoted = serde_json::Value::from(base.as_str()).to_string();
        let document = document.replace(BASE, quoted.trim_matches('"'));
        let text = Arc::new(Text::new(document));
        *latest = Some((base, Arc::clone(&text)));
        text
    }
}

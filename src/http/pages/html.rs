//! What the pages share: the frame, the style sheet, the headers and the compression.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::hash::sha256;
use crate::http::compression;
use crate::wire::escaped;

/// The style of the start page and of the reference. All colours are used in pairs with a contrast
/// of at least 4.5 to 1, in both schemes.
const STYLE: &str = ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#4a525c;--paper:#fff;--card:#f6f7f9;--line:#d5d9df;--mark:#0b57d0}\
    @media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#b4bac2;--paper:#14171b;--card:#1e2227;--line:#3a4048;--mark:#8ab4f8}}\
    *{box-sizing:border-box}html{scroll-padding-top:1rem}\
    body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;overflow-wrap:anywhere}\
    header,main,footer{max-width:60rem;margin:0 auto;padding:1.5rem 1rem}\
    header{padding-bottom:0}h1{margin:0;font-size:1.75rem;line-height:1.3}\
    h2{margin:2.5rem 0 1rem;padding-top:1rem;border-top:1px solid var(--line);font-size:1.375rem}\
    h3{margin:0 0 .25rem;font-size:1rem;font-weight:600}p{margin:0 0 1rem}\
    a{color:var(--mark)}a:focus-visible,summary:focus-visible{outline:3px solid var(--mark);outline-offset:2px}\
    code,pre{font:.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\
    pre{margin:.75rem 0;padding:.75rem 1rem;background:var(--card);border:1px solid var(--line);border-radius:.5rem;white-space:pre-wrap}\
    article{margin:0 0 2rem}summary{cursor:pointer;padding:.25rem 0;color:var(--mark)}\
    dl{margin:.5rem 0 1rem}dt{margin-top:.5rem}dd{margin:0 0 0 1rem;color:var(--soft)}\
    .kind,.note{color:var(--soft)}nav ul{columns:18rem;margin:0 0 1rem;padding-left:1.25rem}nav p{margin:1rem 0 .25rem;font-weight:600}\
    .calls{list-style:none;padding:0}.calls li{margin-bottom:.5rem}";

/// The content security policy: it allows the style sheet by its hash and forbids everything else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = data_encoding::BASE64.encode(&sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// A whole page in English. `content` is the HTML below the heading.
pub(super) fn page(title: &str, content: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style>\
         </head><body><header><h1>{title}</h1></header><main>{content}</main></body></html>"
    )
}

/// The response with a page.
pub(super) fn response(page: impl Into<Body>) -> Response {
    let mut response = Response::new(page.into());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A text, and the same compressed with gzip.
pub(super) struct Text {
    plain: String,
    /// Empty if compressing failed, which writing to memory does not.
    compressed: Vec<u8>,
}

impl Text {
    pub(super) fn new(plain: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let compressed = encoder
            .write_all(plain.as_bytes())
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        Self { plain, compressed }
    }

    /// Puts the text into a response, compressed if the request accepts gzip.
    pub(super) fn answer(
        &self,
        headers: &HeaderMap,
        wrap: impl FnOnce(Body) -> Response,
    ) -> Response {
        let is_compressed = compression::is_wanted(headers) && !self.compressed.is_empty();
        let mut response = if is_compressed {
            wrap(Body::from(self.compressed.clone()))
        } else {
            wrap(Body::from(self.plain.clone()))
        };
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

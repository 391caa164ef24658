//! The start page `/`: what this is, and where to go on. A browser gets HTML, everybody else JSON.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::html;
use crate::dialects::exchange::base_url;
use crate::dialects::{admin, soap, v3};
use crate::wire::escaped;

/// The route of the start page. `public_url` is the service's address as callers see it; `None`
/// means the `Host` header of the request.
pub(in crate::http) fn routes(public_url: Option<String>) -> Router {
    Router::new().route("/", get(home)).with_state(public_url)
}

async fn home(State(public_url): State<Option<String>>, headers: HeaderMap) -> Response {
    let base = base_url(public_url.as_deref(), &headers);
    let wants_html = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let media_type = range.split(';').next().unwrap_or_default();
            media_type.trim().eq_ignore_ascii_case("text/html")
        });
    let mut response = if wants_html {
        html::response(html::page("Steward", &content(&base)))
    } else {
        let mut response = Response::new(Body::from(document(&base)));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        response
    };
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().append(header::VARY, vary);
    response
}

fn document(base: &str) -> String {
    json!({
        "service": "steward",
        "version": env!("CARGO_PKG_VERSION"),
        "admin": format!("{base}{}", admin::PREFIX.trim_end_matches('/')),
        "soap": format!("{base}{}", soap::PATH),
        "v3": format!("{base}{}", v3::ROOT),
        "docs": format!("{base}/docs"),
        "openapi": format!("{base}/openapi.json"),
        "wsdl": format!("{base}{}?wsdl", soap::PATH),
    })
    .to_string()
}

fn content(base: &str) -> String {
    let base = escaped(base);
    let (admin, soap, v3) = (admin::PREFIX.trim_end_matches('/'), soap::PATH, v3::ROOT);
    format!(
        "<p>A service for account lifecycles: resellers freeze, suspend, activate, expire, delete \
         and restore their accounts, and ask why an account is blocked.</p>\
         <h2>The three APIs</h2>\
         <dl><dt><code>{base}{admin}/</code></dt><dd><code>admin</code>, in JSON or XML, like the \
         admin API of Altcraft</dd>\
         <dt><code>{base}{soap}</code></dt><dd><code>soap</code>, in SOAP 1.1 and 1.2, like the \
         reseller API of Zoolz</dd>\
         <dt><code>{base}{v3}/</code></dt><dd><code>v3</code>, REST in JSON or XML, like the API of \
         Cryptlex</dd></dl>\
         <h2>Reference</h2>\
         <ul><li><a href=\"/docs\">All calls of <code>admin</code> and <code>v3</code></a>, each with \
         a command to paste</li>\
         <li><a href=\"{soap}\">The operations of <code>soap</code></a>, with samples, and their \
         <a href=\"{soap}?wsdl\">WSDL</a></li>\
         <li><a href=\"/openapi.json\">The OpenAPI document</a></li></ul>\
         <h2>For the operator</h2>\
         <p><code>/livez</code>, <code>/readyz</code> and <code>/metrics</code> are on the management \
         address (<code>server.management_listen</code>), not here. <code>steward token create</code> \
         makes a token, <code>steward doctor</code> checks the installation.</p>"
    )
}

//! The `soap` dialect, modelled on Zoolz's API: SOAP 1.2 and 1.1 at one address, a WSDL, a help page.
//!
//! The table [`OPERATIONS`] describes every operation once. `call.rs` is the dispatcher that enforces its rows; the WSDL, the help page,
//! the access matrix of the tests, the isolation doctor and the metrics' labels are read off the same rows. Business outcomes are
//! HTTP 200 with a word in `Code`; protocol errors are faults (`codes.rs` has both tables).

mod call;
mod codes;
mod handlers;
mod help;
mod operations;
mod values;
mod wsdl;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;

use super::exchange::{base_url, header_text};
use super::failure::Failure;
use crate::service::Service;
use crate::wire::SoapVersion;
use call::respond;
use codes::Fault;

pub use operations::{OPERATIONS, Operation};
pub use wsdl::wsdl;

/// The path of the service; compared ignoring case.
pub const PATH: &str = "/Services/Reseller/Service.asmx";

/// How the dialect behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Answer "does not exist" where an account is another reseller's.
    pub hide_foreign_accounts: bool,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// The service's address as callers see it; the request's `Host` if absent.
    pub public_url: Option<String>,
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The service.
    pub service: Arc<Service>,
    /// The settings.
    pub settings: Arc<Settings>,
}

/// Answers any request to [`PATH`].
pub async fn handle(api: Api, request: Request) -> Response {
    match *request.method() {
        Method::POST => call::dispatch(&api, request).await,
        Method::GET => page(&api, request.uri(), request.headers()),
        _ => {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, None, String::new());
            let allowed = HeaderValue::from_static("GET, POST");
            response.headers_mut().insert(header::ALLOW, allowed);
            response
        }
    }
}

/// A response of this dialect to a request that reached none of its operations, or whose operation did not end.
pub(super) fn respond_to(failure: &Failure, headers: &HeaderMap) -> Response {
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let version = call::version_and_action(content_type, headers);
    let version = version.map_or(SoapVersion::V12, |(version, _)| version);
    let found = match failure {
        Failure::RateLimited { retry_after } => Fault::RateLimited {
            retry_after: *retry_after,
        },
        Failure::NoSuchRoute | Failure::MethodNotAllowed => Fault::NoOperation,
        Failure::TimedOut
        | Failure::Crashed
        | Failure::Service(_)
        | Failure::Wire(_)
        | Failure::Parameter { .. }
        | Failure::Missing(_)
        | Failure::TokensDiffer => Fault::Crash,
    };
    call::fault(&found, version).0
}

/// `?wsdl`, `?op=`, or the list of the operations.
fn page(api: &Api, uri: &Uri, headers: &HeaderMap) -> Response {
    let query = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if pairs
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("wsdl"))
    {
        let base = base_url(api.settings.public_url.as_deref(), headers);
        return respond(
            StatusCode::OK,
            Some("text/xml; charset=utf-8"),
            wsdl(&format!("{base}{PATH}")),
        );
    }
    let html = Some("text/html; charset=utf-8");
    match pairs
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("op"))
    {
        None => respond(StatusCode::OK, html, help::index()),
        Some((_, name)) => match Operation::named(name) {
            Some(operation) => respond(StatusCode::OK, html, help::operation(operation, PATH)),
            None => respond(StatusCode::NOT_FOUND, html, help::index()),
        },
    }
}

/// Reads an envelope as a request would be, up to where the service comes in.
#[cfg(fuzzing)]
pub(super) fn read_envelope_of(content_type: &str, body: &[u8]) {
    use operations::NAMESPACE;
    use values::Values;
    let version = call::version_and_action(Some(content_type), &HeaderMap::new());
    let Some((version, action)) = version else {
        return;
    };
    let Ok(envelope) = crate::wire::read_envelope(body, version, NAMESPACE) else {
        return;
    };
    let _refused = call::find(version, &action, &envelope)
        .and_then(|operation| Values::read(operation, &envelope.children));
    for operation in OPERATIONS {
        if let Ok(values) = Values::read(operation, &envelope.children) {
            let _read = values.expiry(chrono_tz::Tz::Europe__Berlin);
        }
    }
}

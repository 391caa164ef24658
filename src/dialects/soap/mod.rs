//! The `soap` dialect, modelled on Zoolz's API: SOAP 1.2 and 1.1 at one address, a WSDL and a help
//! page.
//!
//! The table [`OPERATIONS`] describes every operation once. The dispatcher in `dispatch.rs`
//! enforces its rows. The WSDL, the help page, the access matrix of the tests, the isolation doctor
//! and the metrics' labels are generated from the same rows. Business outcomes are answered with
//! HTTP 200 and a word in `Code`; protocol errors are answered as faults (`codes.rs` has both
//! tables).

mod call;
mod codes;
mod dispatch;
mod handlers;
mod help;
mod operation;
mod operations;
mod plans;
mod values;
mod wsdl;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;

use super::body::response;
use super::exchange::{Handled, base_url, header_text};
use super::failure::Failure;
use crate::domain::Error;
use crate::service::Service;
use crate::wire::SoapVersion;
use codes::Fault;

pub use operation::Operation;
pub use operations::OPERATIONS;
pub use wsdl::{CodeStyle, wsdl};

/// The XML namespace of every operation. Zoolz uses this bare word.
pub(super) const NAMESPACE: &str = "Zoolz";

/// The path of the service. Requests may write it in any case.
pub const PATH: &str = "/Services/Reseller/Service.asmx";

/// The settings of the dialect.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether another reseller's account is answered as if it did not exist.
    pub hide_foreign_accounts: bool,
    /// The largest accepted body, in bytes.
    pub max_body: usize,
    /// The service's base URL as callers see it. `None` means the request's `Host` header decides.
    pub public_url: Option<String>,
}

/// The state that the handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The service that executes commands and reads.
    pub service: Arc<Service>,
    /// The settings of the dialect.
    pub settings: Arc<Settings>,
}

/// Answers a request to [`PATH`].
pub async fn handle(api: Api, request: Request) -> Response {
    match *request.method() {
        Method::POST => dispatch::dispatch(&api, request).await,
        // The HTTP library sends no body in the answer to HEAD.
        Method::GET | Method::HEAD => page(&api, request.uri(), request.headers()),
        _ => {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, None, String::new());
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            refusal.headers_mut().insert(header::ALLOW, allowed);
            refusal
        }
    }
}

/// The SOAP version of a request, from its content type. 1.2 if that is not SOAP.
pub(super) fn version(headers: &HeaderMap) -> SoapVersion {
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let version = dispatch::version_and_action(content_type, headers);
    version.map_or(SoapVersion::V12, |(version, _)| version)
}

/// Answers a failure that occurred outside the dispatcher: a timeout, a panic or a rate limit.
pub(super) fn respond_to(failure: &Failure, version: SoapVersion) -> Response {
    let fault = match failure {
        Failure::RateLimited { retry_after } => Fault::RateLimited {
            retry_after: *retry_after,
        },
        Failure::Service(Error::ShareUsedUp { .. }) => Fault::RateLimited { retry_after: 1 },
        Failure::Service(Error::Overloaded) => Fault::Busy,
        Failure::NoSuchRoute
        | Failure::NoSuchPath(_)
        | Failure::OnManagementListener
        | Failure::NotOffered(_)
        | Failure::MethodNotAllowed(_) => Fault::NoOperation,
        Failure::TimedOut => Fault::TimedOut,
        Failure::BodyTimedOut => Fault::BodyTimedOut,
        Failure::Parameter { name, problem } => Fault::Header(format!("{name}: {problem}")),
        Failure::Crashed
        | Failure::Service(_)
        | Failure::Wire(_)
        | Failure::Missing(_)
        | Failure::TokensDiffer
        | Failure::TokenNotRead(_) => Fault::Crash,
    };
    let (response, outcome) = call::fault(&fault, version);
    Handled::outside(response, outcome)
}

/// The WSDL (`?wsdl`, with `codes=number` for resellers whose codes are numbers), the page of an operation (`?op=`), or the list of operations.
fn page(api: &Api, uri: &Uri, headers: &HeaderMap) -> Response {
    let query = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if pairs
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("wsdl"))
    {
        let codes = pairs
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("codes"))
            .map_or(Some(CodeStyle::Word), |(_, style)| CodeStyle::parse(style));
        let Some(codes) = codes else {
            let problem = "codes must be word or number\n".to_owned();
            return response(
                StatusCode::BAD_REQUEST,
                Some("text/plain; charset=utf-8"),
                problem,
            );
        };
        let base = base_url(api.settings.public_url.as_deref(), headers);
        return response(
            StatusCode::OK,
            Some("text/xml; charset=utf-8"),
            wsdl(&format!("{base}{PATH}"), codes),
        );
    }
    let html = |status, page: String| {
        let mut response = response(status, Some("text/html; charset=utf-8"), page);
        if let Ok(policy) = HeaderValue::from_str(&help::POLICY) {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    };
    match pairs
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("op"))
    {
        None => html(StatusCode::OK, help::index()),
        Some((_, name)) => match operations::by_name(name) {
            Some(operation) => html(StatusCode::OK, help::operation(operation, PATH)),
            None => html(StatusCode::NOT_FOUND, help::index()),
        },
    }
}

/// Reads an envelope as the dispatcher does, without calling the service. For the fuzzers.
#[cfg(fuzzing)]
pub(super) fn read_envelope_of(content_type: &str, body: &[u8]) {
    use values::Values;
    let version = dispatch::version_and_action(Some(content_type), &HeaderMap::new());
    let Some((version, action)) = version else {
        return;
    };
    let Ok(envelope) = crate::wire::read_envelope(body, version, NAMESPACE) else {
        return;
    };
    let _refused = dispatch::find(version, &action, &envelope)
        .and_then(|operation| Values::read(operation.children, &envelope.children));
    for operation in OPERATIONS {
        if let Ok(values) = Values::read(operation.children, &envelope.children) {
            let _read = values.expiry(chrono_tz::Tz::Europe__Berlin);
        }
    }
}

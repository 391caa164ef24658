//! The `soap` dialect: SOAP 1.2 and 1.1 at one address, a WSDL, a help page.
//!
//! A thin wing over the same service. The operations are described once ([`OPERATIONS`]); the dispatcher, the WSDL
//! and the help page are read off that. Business outcomes are HTTP 200 with a word in `Code`; what is wrong with the
//! protocol is a fault (`codes.rs` has both tables).

mod codes;
mod handlers;
mod help;
mod operations;
mod values;
mod wsdl;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;

use super::{Allowance, Ending, Mishap, RequestId, body, host};
use crate::service::Service;
use crate::wire::{self, SoapRequest, SoapVersion, escaped, write_envelope};
use codes::Fault;
use handlers::{Answer, Outcome};
use operations::NAMESPACE;
use values::Values;

pub use operations::{OPERATIONS, Operation};
pub use wsdl::wsdl;

/// Where the service is; compared ignoring case.
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

/// What the handler shares.
#[derive(Debug, Clone)]
pub struct Api {
    /// The service.
    pub service: Arc<Service>,
    /// The settings.
    pub settings: Arc<Settings>,
}

/// The operation that a request turned out to be, in its answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called(pub(crate) &'static str);

/// What is known of a request besides its envelope.
struct Meta {
    version: SoapVersion,
    request_id: RequestId,
    allowance: Allowance,
    idempotency_key: Option<String>,
    body: Vec<u8>,
}

/// Reads an envelope as a request would be, up to where the service comes in.
#[cfg(fuzzing)]
pub(super) fn read_envelope_of(content_type: &str, body: &[u8]) {
    let Some((version, action)) = version_and_action(Some(content_type), &HeaderMap::new()) else {
        return;
    };
    let Ok(envelope) = wire::read_envelope(body, version, NAMESPACE) else {
        return;
    };
    let _refused = dispatch(version, &action, &envelope)
        .and_then(|operation| Values::read(operation, &envelope.children));
    for operation in OPERATIONS {
        if let Ok(values) = Values::read(operation, &envelope.children) {
            let _read = values.expiry(chrono_tz::Tz::Europe__Berlin);
        }
    }
}

/// Whether a path is this dialect's.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.trim_end_matches('/').eq_ignore_ascii_case(PATH)
}

/// Answers any request to [`PATH`].
pub async fn handle(api: Api, request: Request) -> Response {
    match *request.method() {
        Method::POST => post(&api, request).await,
        Method::GET => page(&api, request.uri(), request.headers()),
        _ => {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, None, String::new());
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            response
        }
    }
}

async fn post(api: &Api, request: Request) -> Response {
    let (parts, body_stream) = request.into_parts();
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some((version, action)) = version_and_action(content_type, &parts.headers) else {
        return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, String::new());
    };
    let body = match body::read(body_stream, api.settings.max_body).await {
        Ok(body) => body,
        Err(wire::Error::TooLarge) => {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, None, String::new());
        }
        Err(_) => return fault(&Fault::Envelope(wire::SoapProblem::NotWellFormed), version),
    };
    let prepared = wire::read_envelope(&body, version, NAMESPACE)
        .map_err(Fault::Envelope)
        .and_then(|envelope| {
            let operation = dispatch(version, &action, &envelope)?;
            if envelope.must_understand {
                return Err(Fault::MustUnderstand);
            }
            Ok((operation, Values::read(operation, &envelope.children)?))
        });
    let (operation, values) = match prepared {
        Ok(prepared) => prepared,
        Err(found) => return fault(&found, version),
    };
    let Ok(idempotency_key) = body::idempotency_key(&parts.headers) else {
        return fault(
            &Fault::Request("the Idempotency-Key must be 1 to 255 visible characters".to_owned()),
            version,
        );
    };
    let request_id = parts
        .extensions
        .get::<RequestId>()
        .cloned()
        .unwrap_or_default();
    let allowance = parts
        .extensions
        .get::<Allowance>()
        .cloned()
        .unwrap_or_default();
    let meta = Meta {
        version,
        request_id,
        allowance,
        idempotency_key,
        body,
    };
    let mut response = match handlers::run(api, operation, &values, &meta).await {
        Answer::Outcome(outcome) => {
            let mut response = respond(
                StatusCode::OK,
                Some(version.content_type()),
                write_result(version, operation, &outcome),
            );
            response.extensions_mut().insert(outcome.ending);
            response
        }
        Answer::Replayed(stored) => body::replay(stored),
        Answer::RateLimited { retry_after } => fault(&Fault::RateLimited { retry_after }, version),
    };
    response.extensions_mut().insert(Called(operation.name));
    response
}

/// The version that the content type says, and the action: a parameter in 1.2, a header in 1.1.
fn version_and_action(
    content_type: Option<&str>,
    headers: &HeaderMap,
) -> Option<(SoapVersion, String)> {
    let (media_type, parameters) = wire::media_type(content_type).ok()?;
    if media_type.eq_ignore_ascii_case("application/soap+xml") {
        let action = parameters
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("action"))
            .map_or("", |(_, value)| value);
        return Some((SoapVersion::V12, action.to_owned()));
    }
    let header = headers
        .get("soapaction")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    media_type
        .eq_ignore_ascii_case("text/xml")
        .then(|| (SoapVersion::V11, header.trim().trim_matches('"').to_owned()))
}

/// Which operation is meant. In 1.2 the action counts if it names one, in 1.1 if it is there at all; else the Body's
/// element does. Two that differ run nothing.
fn dispatch(
    version: SoapVersion,
    action: &str,
    envelope: &SoapRequest,
) -> Result<&'static Operation, Fault> {
    let prefix = format!("{NAMESPACE}/");
    let by_action = action.strip_prefix(&prefix).and_then(Operation::named);
    let element = envelope.element.as_ref();
    let by_element = element
        .filter(|(namespace, _)| namespace == NAMESPACE)
        .and_then(|(_, name)| Operation::named(name));
    match (by_action, by_element) {
        (Some(one), Some(other)) if one.name != other.name => Err(Fault::Request(format!(
            "the action names {}, the Body {}",
            one.name, other.name
        ))),
        (Some(operation), None) => match element {
            None => Ok(operation),
            Some((_, name)) => Err(Fault::Request(format!(
                "the action names {}, the Body {name}",
                operation.name
            ))),
        },
        (None, _) if version == SoapVersion::V11 && !action.is_empty() => {
            Err(Fault::UnknownOperation(action.to_owned()))
        }
        (_, Some(operation)) => Ok(operation),
        (None, None) => match element {
            Some((_, name)) if action.is_empty() => Err(Fault::UnknownOperation(name.clone())),
            _ if action.is_empty() => Err(Fault::NoOperation),
            _ => Err(Fault::UnknownOperation(action.to_owned())),
        },
    }
}

fn write_result(version: SoapVersion, operation: &Operation, outcome: &Outcome) -> String {
    let name = operation.name;
    let text = |name: &str, text: &str| {
        if text.is_empty() {
            format!("<{name} />")
        } else {
            format!("<{name}>{}</{name}>", escaped(text))
        }
    };
    let joson = if operation.is_by_id() {
        text("Joson", &outcome.joson)
    } else {
        String::new()
    };
    let code = outcome.code.written(outcome.as_number);
    let result = format!(
        "<Code>{code}</Code>{}{joson}",
        text("Message", &outcome.message)
    );
    write_envelope(
        version,
        &format!(
            "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result></{name}Response>"
        ),
    )
}

fn fault(found: &Fault, version: SoapVersion) -> Response {
    let (status, code, reason) = found.written(version);
    let reason = escaped(&reason);
    let content = match version {
        SoapVersion::V12 => format!(
            "<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang=\"en\">{reason}</soap:Text></soap:Reason><soap:Detail /></soap:Fault>"
        ),
        SoapVersion::V11 => format!(
            "<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{reason}</faultstring><detail /></soap:Fault>"
        ),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(
        status,
        Some(version.content_type()),
        write_envelope(version, &content),
    );
    // The status of a fault says nothing of whose fault it is.
    response.extensions_mut().insert(match found {
        Fault::Crash => Ending::Error,
        Fault::RateLimited { .. } => Ending::RateLimited,
        Fault::Envelope(_)
        | Fault::NoOperation
        | Fault::UnknownOperation(_)
        | Fault::Request(_)
        | Fault::MustUnderstand => Ending::Refused,
    });
    if let Fault::RateLimited { retry_after } = found {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
    }
    response
}

/// The answer of this dialect to what went wrong outside its handler.
#[must_use]
pub fn answer_mishap(mishap: Mishap, headers: &HeaderMap) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let version =
        version_and_action(content_type, headers).map_or(SoapVersion::V12, |(version, _)| version);
    match mishap {
        Mishap::NoSuchCall => fault(&Fault::NoOperation, version),
        Mishap::TimedOut | Mishap::Crashed => fault(&Fault::Crash, version),
        Mishap::RateLimited { retry_after } => fault(&Fault::RateLimited { retry_after }, version),
    }
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
        let base = api
            .settings
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", host(headers)));
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

fn respond(status: StatusCode, content_type: Option<&'static str>, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

//! The dispatcher: every SOAP request goes through [`dispatch`], which enforces its row of the
//! table.
//!
//! The order of the steps: check the media type and the length; read the envelope; find the
//! operation; read its values; authenticate by the token among the values; check the scope; wait
//! for a permit; look up the idempotency key; run the handler; write the result.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use secrecy::SecretString;

use super::codes::{self, Code, Fault};
use super::handlers::Answer;
use super::operations::{NAMESPACE, Operation, TOKEN};
use super::values::Values;
use super::{Api, PATH};
use crate::dialects::UNKNOWN;
use crate::dialects::body;
use crate::dialects::exchange::{Exchange, RequestOutcome, header_text};
use crate::dialects::failure::Failure;
use crate::domain::{Dialect, Error};
use crate::hash::sha256;
use crate::service::{CommandOutcome, Context, IdempotencyKey, IdempotentRequest, StoredAnswer};
use crate::wire::{self, SoapRequest, SoapVersion, escaped, write_envelope};

/// A request whose envelope has been read.
pub(super) struct Call {
    pub(super) operation: &'static Operation,
    pub(super) values: Values,
    version: SoapVersion,
    hide_foreign: bool,
    as_number: bool,
    /// `None` if the caller sent no idempotency key, or if the operation does not take one.
    key: Option<IdempotencyKey>,
    body: Vec<u8>,
}

/// The business result of a request, before it is written.
struct CallResult {
    code: Code,
    message: String,
    /// The content of the `Joson` element. Empty in most operations.
    joson: String,
    outcome: RequestOutcome,
}

/// Answers a POST request.
pub(super) async fn dispatch(api: &Api, request: Request) -> Response {
    let (parts, stream) = request.into_parts();
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
    let Some((version, action)) = version_and_action(content_type, &parts.headers) else {
        return body::response(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, String::new());
    };
    let mut exchange = Exchange::begin(&parts);
    let read = Call::read(api, version, &action, &parts, stream).await;
    let mut call = match read {
        Ok(call) => call,
        Err(Rejection::TooLarge) => {
            return body::response(StatusCode::PAYLOAD_TOO_LARGE, None, String::new());
        }
        Err(Rejection::Fault(reason)) => {
            let (response, outcome) = fault(&reason, version);
            return exchange.finish(response, UNKNOWN, outcome);
        }
    };
    let name = call.operation.name;
    let result = match carry_out(api, &mut exchange, &mut call).await {
        Ok(Answer::Stored(stored)) => {
            let outcome = RequestOutcome::of_status(stored.status);
            return exchange.finish(body::replay(stored), name, outcome);
        }
        Ok(Answer::Success) => call.success(String::new()),
        Ok(Answer::Info(info)) => call.success(info),
        Err(Failure::Service(Error::RateLimited { retry_after })) => {
            let (response, outcome) = fault(&Fault::RateLimited { retry_after }, version);
            return exchange.finish(response, name, outcome);
        }
        Err(failure) => call.failure(&failure),
    };
    let content_type = Some(version.content_type());
    let response = body::response(StatusCode::OK, content_type, call.write(&result));
    exchange.finish(response, name, result.outcome)
}

async fn carry_out(api: &Api, exchange: &mut Exchange, call: &mut Call) -> Result<Answer, Failure> {
    let token = call.values.text(TOKEN).trim();
    if token.is_empty() {
        return Err(Error::CredentialMissing.into());
    }
    let token = SecretString::from(token);
    let principal = exchange.authenticate(&api.service, &token).await?;
    call.as_number = principal.soap_numbers;
    call.operation.access.check(&principal)?;
    let context = Context {
        principal,
        dialect: Dialect::Soap,
        request_id: exchange.request_id.to_string(),
    };
    let _permit = api.service.permit(call.operation.cost).await?;
    if let Some(key) = &mut call.key {
        key.reseller = context.principal.storage_reseller();
        let stored = api
            .service
            .stored_answer(key.clone(), sha256(&call.body))
            .await?;
        if let Some(stored) = stored {
            return Ok(Answer::Stored(stored));
        }
    }
    (call.operation.handler)(api, &context, call).await
}

/// Why a request could not be read as a call.
enum Rejection {
    TooLarge,
    Fault(Fault),
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Call {
    async fn read(
        api: &Api,
        version: SoapVersion,
        action: &str,
        parts: &Parts,
        stream: Body,
    ) -> Result<Self, Rejection> {
        // The operation is unknown until the body is read, so the limit is the largest of all
        // operations.
        let limits = super::OPERATIONS
            .iter()
            .map(|operation| operation.body_limit);
        let limit = limits.map(|limit| limit.bytes(api.settings.max_body)).max();
        let body = match body::read(&parts.headers, stream, limit.unwrap_or_default()).await {
            Ok(body) => body,
            Err(wire::Error::TooLarge) => return Err(Rejection::TooLarge),
            Err(_) => return Err(Fault::Envelope(wire::SoapProblem::NotWellFormed).into()),
        };
        let envelope = wire::read_envelope(&body, version, NAMESPACE).map_err(Fault::Envelope)?;
        let operation = find(version, action, &envelope)?;
        if body.len() > operation.body_limit.bytes(api.settings.max_body) {
            return Err(Rejection::TooLarge);
        }
        if envelope.must_understand {
            return Err(Fault::MustUnderstand.into());
        }
        let values = Values::read(operation, &envelope.children)?;
        let refused = "the Idempotency-Key must be 1 to 255 visible characters";
        let key = body::idempotency_key(&parts.headers)
            .map_err(|_| Fault::Request(refused.to_owned()))?
            .filter(|_| operation.idempotent);
        let key = key.map(|key| IdempotencyKey {
            // `carry_out` replaces this value once the caller is known.
            reseller: crate::domain::ResellerId::PLATFORM,
            method: "POST".to_owned(),
            path: format!("{PATH}/{}", operation.name),
            key,
        });
        Ok(Self {
            operation,
            values,
            version,
            hide_foreign: api.settings.hide_foreign_accounts,
            as_number: false,
            key,
            body,
        })
    }

    /// The idempotency key, the body's fingerprint, and the function that encodes the answer for
    /// storage. `None` if the caller sent no key.
    pub(super) fn idempotency(&self) -> Option<IdempotentRequest> {
        let key = self.key.clone()?;
        let (operation, version) = (self.operation, self.version);
        let (hide_foreign, as_number) = (self.hide_foreign, self.as_number);
        let encode = move |outcome: &Result<CommandOutcome, Error>| {
            let result = match outcome {
                Ok(_) => success(operation, String::new()),
                Err(error) => failure(&error.clone().into(), operation, hide_foreign),
            };
            // A retry may succeed after these errors. The service does not store answers with a
            // status of 500 or more, so they get status 503.
            let is_lasting = !matches!(
                outcome,
                Err(Error::Unavailable | Error::Overloaded | Error::Internal { .. })
            );
            StoredAnswer {
                status: if is_lasting { 200 } else { 503 },
                content_type: version.content_type().to_owned(),
                body: write_result(version, operation, &result, as_number).into_bytes(),
            }
        };
        let fingerprint = sha256(&self.body);
        Some(IdempotentRequest {
            key,
            fingerprint,
            encode: Arc::new(encode),
        })
    }

    fn success(&self, info: String) -> CallResult {
        success(self.operation, info)
    }

    fn failure(&self, reason: &Failure) -> CallResult {
        failure(reason, self.operation, self.hide_foreign)
    }

    fn write(&self, result: &CallResult) -> String {
        write_result(self.version, self.operation, result, self.as_number)
    }
}

/// A success. If there is account information, it is both the message and the `Joson` element;
/// other operations have a fixed message.
fn success(operation: &Operation, info: String) -> CallResult {
    let message = if info.is_empty() {
        operation.success.to_owned()
    } else {
        info.clone()
    };
    let outcome = RequestOutcome::Ok;
    CallResult {
        code: Code::Success,
        message,
        joson: info,
        outcome,
    }
}

fn failure(failure: &Failure, operation: &Operation, hide_foreign: bool) -> CallResult {
    let (code, message) = codes::result(failure, operation, hide_foreign);
    let outcome = if let Failure::Service(Error::Unavailable | Error::Overloaded) = failure {
        RequestOutcome::Unavailable
    } else if let Failure::Service(Error::Internal { .. }) = failure {
        RequestOutcome::Error
    } else {
        RequestOutcome::Refused
    };
    CallResult {
        code,
        message,
        joson: String::new(),
        outcome,
    }
}

/// The SOAP version, from the content type, and the action: a parameter of the content type in SOAP
/// 1.2, a header in SOAP 1.1. `None` if the content type is not SOAP.
pub(super) fn version_and_action(
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

/// Finds the operation of a request. The action decides: in SOAP 1.2 if it names an operation, in
/// SOAP 1.1 if it is present. Otherwise the element in the Body decides. If both name an operation
/// and they differ, the request is refused.
pub(super) fn find(
    version: SoapVersion,
    action: &str,
    envelope: &SoapRequest,
) -> Result<&'static Operation, Fault> {
    let prefix = format!("{NAMESPACE}/");
    let by_action = action.strip_prefix(&prefix).and_then(Operation::by_name);
    let element = envelope.element.as_ref();
    let by_element = element
        .filter(|(namespace, _)| namespace == NAMESPACE)
        .and_then(|(_, name)| Operation::by_name(name));
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

fn write_result(
    version: SoapVersion,
    operation: &Operation,
    result: &CallResult,
    as_number: bool,
) -> String {
    let name = operation.name;
    let text = |name: &str, text: &str| {
        if text.is_empty() {
            format!("<{name} />")
        } else {
            format!("<{name}>{}</{name}>", escaped(text))
        }
    };
    let code = result.code.text(as_number);
    let message = text("Message", &result.message);
    let joson = if operation.is_by_id() {
        text("Joson", &result.joson)
    } else {
        String::new()
    };
    let content = format!("<{name}Result><Code>{code}</Code>{message}{joson}</{name}Result>");
    let body = format!("<{name}Response xmlns=\"{NAMESPACE}\">{content}</{name}Response>");
    write_envelope(version, &body)
}

/// Writes a fault, with its outcome for the metrics. The outcome cannot be derived from the HTTP
/// status, because faults of the caller also have status 500.
pub(super) fn fault(fault: &Fault, version: SoapVersion) -> (Response, RequestOutcome) {
    let (status, code, reason) = fault.describe(version);
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
    let mut response = body::response(
        status,
        Some(version.content_type()),
        write_envelope(version, &content),
    );
    let outcome = match fault {
        Fault::Crash => RequestOutcome::Error,
        Fault::RateLimited { .. } => RequestOutcome::RateLimited,
        Fault::Envelope(_)
        | Fault::NoOperation
        | Fault::UnknownOperation(_)
        | Fault::Request(_)
        | Fault::MustUnderstand => RequestOutcome::Refused,
    };
    if let Fault::RateLimited { retry_after } = fault {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
    }
    (response, outcome)
}

//! The dispatcher: every SOAP request goes through [`dispatch`], which enforces its row of the
//! table.
//!
//! The order of the steps: check the media type and the length; read the envelope; find the
//! operation; read its values; authenticate by the token among the values; check the scope; look up
//! the idempotency key; refuse writes of a suspended reseller; wait for a permit; run the handler;
//! write the result.

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use secrecy::SecretString;

use super::call::{Answer, Call, PROBLEM, fault};
use super::codes::Fault;
use super::operation::Operation;
use super::operations::{OPERATIONS, by_name};
use super::values::{EXPIRY_DATE, PASSWORD, TOKEN, Values};
use super::{Api, NAMESPACE, PATH};
use crate::dialects::UNKNOWN;
use crate::dialects::body::{self, IGNORED_MEMBERS};
use crate::dialects::exchange::{Exchange, RequestOutcome, header_text};
use crate::dialects::failure::Failure;
use crate::domain::{Dialect, Error, ResellerId};
use crate::hash::sha256;
use crate::service::{CommandHash, Context, Fingerprint, IdempotencyKey};
use crate::wire::{self, Codec, SoapRequest, SoapVersion};

/// Answers a POST request.
pub(super) async fn dispatch(api: &Api, request: Request) -> Response {
    let (parts, stream) = request.into_parts();
    let mut exchange = Exchange::begin(&parts);
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
    let Some((version, action)) = version_and_action(content_type, &parts.headers) else {
        let reason = Fault::MediaType(not_soap(content_type));
        let (response, outcome) = fault(&reason, SoapVersion::V12);
        return exchange.finish(response, UNKNOWN, outcome);
    };
    let read = read(api, &exchange, version, &action, &parts, stream).await;
    let (operation, mut call) = match read {
        Ok(read) => read,
        Err(Rejection::TooLarge) => {
            return body::response(StatusCode::PAYLOAD_TOO_LARGE, None, String::new());
        }
        Err(Rejection::Fault(reason)) => {
            let (response, outcome) = fault(&reason, version);
            return exchange.finish(response, UNKNOWN, outcome);
        }
    };
    let name = operation.name;
    let ignored = body::ignored_members(&call.ignored);
    let finish = |exchange: Exchange, mut response: Response, outcome| {
        if let Some(ignored) = ignored {
            response.headers_mut().insert(IGNORED_MEMBERS, ignored);
        }
        exchange.finish(response, name, outcome)
    };
    let mut problem = None;
    let result = match carry_out(api, operation, &mut exchange, &mut call).await {
        Ok(Answer::Stored(stored)) => {
            let outcome = RequestOutcome::of_status(stored.status);
            let mut response = body::replay(stored);
            *response.status_mut() = StatusCode::OK;
            return finish(exchange, response, outcome);
        }
        Ok(Answer::Success) => call.success(String::new()),
        Ok(Answer::Info(info)) => call.success(info),
        Err(Failure::Service(
            Error::RateLimited { retry_after } | Error::AnswerSpaceUsedUp { retry_after },
        )) => {
            let (response, outcome) = fault(&Fault::RateLimited { retry_after }, version);
            return finish(exchange, response, outcome);
        }
        Err(Failure::Service(Error::ShareUsedUp { .. })) => {
            let (response, outcome) = fault(&Fault::RateLimited { retry_after: 1 }, version);
            return finish(exchange, response, outcome);
        }
        Err(failure) => {
            problem = behind_fixed_message(&failure);
            call.failure(&failure)
        }
    };
    let content_type = Some(version.content_type());
    let mut response = body::response(StatusCode::OK, content_type, call.write(&result));
    let problem = problem.and_then(|problem| HeaderValue::from_str(&problem).ok());
    if let Some(problem) = problem {
        response.headers_mut().insert(PROBLEM, problem);
    }
    finish(exchange, response, result.outcome)
}

/// What was wrong, where Zoolz's message is fixed and does not tell. Accounts of others stay out of
/// it.
fn behind_fixed_message(failure: &Failure) -> Option<String> {
    let Failure::Service(error) = failure else {
        return None;
    };
    if *error == Error::CredentialMissing {
        let problem = "is missing, empty or not in the namespace";
        return Some(format!("{TOKEN} {problem} {NAMESPACE}"));
    }
    if let Error::InsufficientScope(scope) = error {
        return Some(format!("the token lacks the scope {}", scope.as_str()));
    }
    if let Error::InvalidField {
        field: "expires_at",
        problem,
    } = error
    {
        return Some(format!("{EXPIRY_DATE}: {problem}"));
    }
    None
}

/// Why a request is not SOAP.
fn not_soap(content_type: Option<&str>) -> String {
    let accepted = "send text/xml (SOAP 1.1) or application/soap+xml (SOAP 1.2)";
    content_type.map_or_else(
        || format!("the Content-Type header is missing; {accepted}"),
        |given| {
            let given: String = given.chars().take(60).collect();
            format!("the Content-Type is {given}; {accepted}")
        },
    )
}

async fn carry_out(
    api: &Api,
    operation: &Operation,
    exchange: &mut Exchange,
    call: &mut Call,
) -> Result<Answer, Failure> {
    let token = call.values.text(TOKEN).trim();
    if token.is_empty() {
        return Err(Error::CredentialMissing.into());
    }
    let token = SecretString::from(token);
    let principal = exchange.authenticate(&api.service, &token).await?;
    operation.access.check(&principal)?;
    call.as_number = principal.soap_numbers;
    call.fingerprint = call.fingerprint.of_owner(principal.bound_to.as_ref());
    let context = Context {
        principal,
        dialect: Dialect::Soap,
        request_id: exchange.request_id.to_string(),
    };
    if let Some(key) = &mut call.key {
        key.reseller = context.principal.storage_reseller();
        let stored = api
            .service
            .stored_answer(key.clone(), call.fingerprint)
            .await?;
        if let Some(stored) = stored {
            return Ok(Answer::Stored(stored));
        }
    }
    operation.while_suspended.check(&context.principal)?;
    let _permit = api
        .service
        .permit(operation.cost, exchange.holder())
        .await?;
    let result = (operation.handler)(api, &context, call).await;
    if let Err(failure) = &result {
        let once = call.key.clone().map(|key| (key, call.fingerprint));
        let answer = || call.stored_failure(failure);
        body::store_refusal(&api.service, once, failure, answer).await;
    }
    result
}

/// What a request asks for: its operation's values in the version of SOAP that the answer has.
/// Without the token and the password: neither is part of the command, and a stored hash of a
/// password beside known values would tell whether a guess is right. So the body of a request with a
/// password is not hashed either; only records of versions before migration 0016 are compared by it.
fn fingerprint(
    operation: &Operation,
    version: SoapVersion,
    children: &[(String, String)],
    body: &[u8],
) -> Fingerprint {
    let value = |name: &str| children.iter().find(|(child, _)| child == name);
    let values: Vec<_> = operation
        .children
        .iter()
        .filter(|(name, _)| ![TOKEN, PASSWORD].contains(name))
        .map(|(name, _)| value(name))
        .collect();
    let command = sha256(format!("{version:?} {values:?}").as_bytes());
    let has_password = children.iter().any(|(child, _)| child == PASSWORD);
    Fingerprint {
        command: CommandHash::of(command, None),
        body: if has_password { command } else { sha256(body) },
    }
}

/// Why a request could not be read as a call.
enum Rejection {
    TooLarge,
    Fault(Fault),
}

impl From<wire::Error> for Rejection {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::TooLarge => Self::TooLarge,
            wire::Error::UnsupportedMediaType(given) => {
                Self::Fault(Fault::MediaType(not_soap(Some(&given))))
            }
            wire::Error::UnknownCharset(_) => {
                Self::Fault(Fault::MediaType(format!("{error}; send UTF-8")))
            }
            wire::Error::ContentEncoding(_) => Self::Fault(Fault::MediaType(format!(
                "{error}; send bodies uncompressed"
            ))),
            wire::Error::Malformed { .. } => {
                Self::Fault(Fault::Envelope(wire::SoapProblem::NotWellFormed))
            }
        }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads a request, within the limits of its row.
async fn read(
    api: &Api,
    exchange: &Exchange,
    version: SoapVersion,
    action: &str,
    parts: &Parts,
    stream: Body,
) -> Result<(&'static Operation, Call), Rejection> {
    // The operation is unknown until the body is read, so the limit is the largest of all
    // operations.
    let limits = OPERATIONS.iter().map(|operation| operation.body_limit);
    let limit = limits.map(|limit| limit.bytes(api.settings.max_body)).max();
    let limit = limit.unwrap_or_default();
    let body = match body::read(&api.service, exchange, &parts.headers, stream, limit).await {
        Ok(body) => body,
        Err(Failure::Wire(error)) => return Err(error.into()),
        Err(Failure::Service(Error::Overloaded)) => return Err(Fault::Busy.into()),
        Err(Failure::Service(_)) => return Err(Fault::RateLimited { retry_after: 1 }.into()),
        Err(_) => return Err(Fault::Envelope(wire::SoapProblem::NotWellFormed).into()),
    };
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
    let body = body.into_utf8(Codec::Xml, content_type)?;
    let envelope = wire::read_envelope(&body, version, NAMESPACE)
        .map_err(|problem| unreadable(problem, &body))?;
    let operation = find(version, action, &envelope)?;
    if body.len() > operation.body_limit.bytes(api.settings.max_body) {
        return Err(Rejection::TooLarge);
    }
    if !envelope.not_understood.is_empty() {
        return Err(Fault::MustUnderstand(envelope.not_understood).into());
    }
    let values = Values::read(operation.children, &envelope.children)?;
    let refused = "the Idempotency-Key must be 1 to 255 visible characters";
    let key = body::idempotency_key(&parts.headers)
        .map_err(|_| Fault::Request(refused.to_owned()))?
        .filter(|_| operation.idempotent);
    let key = key.map(|key| IdempotencyKey {
        // `carry_out` replaces this value once the caller is known.
        reseller: ResellerId::PLATFORM,
        method: "POST".to_owned(),
        path: format!("{PATH}/{}", operation.name),
        key,
    });
    let is_known = |name: &str| operation.children.iter().any(|(known, _)| *known == name);
    let unknown = envelope.children.iter().map(|(name, _)| name);
    let unknown = unknown.filter(|name| !is_known(name));
    let ignored = unknown.chain(&envelope.other_children).cloned().collect();
    let call = Call {
        ignored,
        wording: &operation.wording,
        values,
        version,
        hide_foreign: api.settings.hide_foreign_accounts,
        as_number: false,
        fingerprint: key.as_ref().map_or_else(Fingerprint::default, |_| {
            fingerprint(operation, version, &envelope.children, &body)
        }),
        key,
    };
    Ok((operation, call))
}

/// The fault of an envelope, with the place if it is not well-formed.
fn unreadable(problem: wire::SoapProblem, body: &[u8]) -> Fault {
    let is_malformed = problem == wire::SoapProblem::NotWellFormed;
    let fault = Fault::Envelope(problem);
    match is_malformed.then(|| wire::not_well_formed(body)).flatten() {
        Some(why) => Fault::Explained(Box::new(fault), why),
        None => fault,
    }
}

/// The fault of an operation that was not found, with what the caller may have meant.
fn unknown_operation(name: &str, envelope: &SoapRequest) -> Fault {
    let fault = Fault::UnknownOperation(name.to_owned());
    let other_namespace = envelope
        .element
        .as_ref()
        .filter(|(namespace, element)| namespace != NAMESPACE && by_name(element).is_some());
    let plain = name.rsplit('/').next().unwrap_or(name);
    let names = OPERATIONS.iter().map(|operation| operation.name);
    let explanation = if let Some((namespace, element)) = other_namespace {
        let found = if namespace.is_empty() {
            "no namespace".to_owned()
        } else {
            format!("the namespace {namespace}")
        };
        Some(format!(
            "the element {element} is in {found}; write xmlns=\"{NAMESPACE}\" on it"
        ))
    } else if by_name(plain).is_some() {
        Some(format!("the action must be {NAMESPACE}/{plain}"))
    } else {
        wire::nearest(plain, names).map(|near| format!("did you mean {near}?"))
    };
    match explanation {
        Some(why) => Fault::Explained(Box::new(fault), why),
        None => fault,
    }
}

/// The SOAP version, from the content type, and the action: a parameter of the content type in SOAP
/// 1.2, a header in SOAP 1.1. `None` if the content type is not SOAP.
pub(super) fn version_and_action(
    content_type: Option<&str>,
    headers: &HeaderMap,
) -> Option<(SoapVersion, String)> {
    let (media_type, parameters) = wire::media_type(content_type)?;
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
    let by_action = action.strip_prefix(&prefix).and_then(by_name);
    let element = envelope.element.as_ref();
    let by_element = element
        .filter(|(namespace, _)| namespace == NAMESPACE)
        .and_then(|(_, name)| by_name(name));
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
            Err(unknown_operation(action, envelope))
        }
        (_, Some(operation)) => Ok(operation),
        (None, None) => match element {
            Some((_, name)) if action.is_empty() => Err(unknown_operation(name, envelope)),
            _ if action.is_empty() => Err(Fault::NoOperation),
            _ => Err(unknown_operation(action, envelope)),
        },
    }
}

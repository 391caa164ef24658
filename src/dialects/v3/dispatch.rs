//! The dispatcher: every request of this dialect goes through [`dispatch`], which enforces its row
//! of the table.
//!
//! The order of the steps: authenticate from the header; check access; read the query, then the
//! body; look up the idempotency key; refuse writes of a suspended reseller; wait for a permit; decode the members; look up the id of the
//! path; run the handler; write the answer.

use axum::body::Body;
use axum::extract::{self, FromRequestParts as _, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::Api;
use super::call::{Call, Row, credential};
use super::conditions;
use super::ignored_members::{self, IGNORED_MEMBERS};
use super::operation::{Handler, Operation};
use super::page::Query;
use super::respond;
use crate::dialects::body::{self, RequestBody};
use crate::dialects::exchange::{Exchange, RequestOutcome, base_url, header_text};
use crate::dialects::failure::Failure;
use crate::domain::Dialect;
use crate::service::Context;
use crate::wire::{self, Codec};

/// Answers one request.
pub(super) async fn dispatch(
    State(api): State<Api>,
    operation: &'static Operation,
    request: extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(&parts);
    exchange.set_secret(operation.has_secret);
    let format = respond::accepted_for_failures(&parts.headers);
    let none_match = conditions::none_match(&parts.headers);
    let mut ignored = None;
    let response = carry_out(&api, operation, &mut exchange, &mut ignored, parts, body).await;
    let mut response =
        response.unwrap_or_else(|failure| respond::failure(&failure, format, &exchange.request_id));
    if let Some(ignored) = ignored {
        response.headers_mut().insert(IGNORED_MEMBERS, ignored);
    }
    if operation.reads_a_document() {
        response = conditions::with_content_tag(response, &none_match).await;
    }
    let status = response.status();
    let outcome = RequestOutcome::of_status(status.as_u16());
    if operation.idempotent {
        exchange.answer_always();
        if status.is_client_error() {
            let headers = response.headers_mut();
            headers.insert(body::CHANGED, HeaderValue::from_static("false"));
        }
    }
    exchange.finish(response, operation.name, outcome)
}

async fn carry_out(
    api: &Api,
    operation: &'static Operation,
    exchange: &mut Exchange,
    ignored: &mut Option<HeaderValue>,
    parts: Parts,
    body: Body,
) -> Result<Response, Failure> {
    let handler = match operation.handler {
        Handler::Private(handler) => handler,
        Handler::Public(handler) => {
            let call = read(api, operation, exchange, parts, body).await?;
            let _permit = api
                .service
                .permit(operation.cost, exchange.holder())
                .await?;
            return handler(api, call).await;
        }
    };
    let principal = exchange
        .authenticate(&api.service, &credential(&parts.headers)?)
        .await?;
    operation.access.check(&principal)?;
    let context = Context {
        principal,
        dialect: Dialect::V3,
        request_id: exchange.request_id.to_string(),
    };
    let mut call = read(api, operation, exchange, parts, body).await?;
    *ignored = ignored_members::header(operation.name, call.codec, &call.body);
    if let Some(stored) = call.look_up_answer(api, &context.principal).await? {
        return Ok(body::replay(stored));
    }
    operation.while_suspended.check(&context.principal)?;
    let (once, format) = (call.once(), call.failure_format);
    // Last, so that a slow body never holds a permit.
    let _permit = api
        .service
        .permit(operation.cost, exchange.holder())
        .await?;
    let result = handler(api, &context, call).await;
    if let Err(failure) = &result {
        let answer = || respond::stored_failure(failure, format, &exchange.request_id);
        body::store_refusal(&api.service, once, failure, answer).await;
    }
    result
}

/// Reads a request, within the limits of its row.
async fn read(
    api: &Api,
    operation: &'static Operation,
    exchange: &Exchange,
    mut parts: Parts,
    body: Body,
) -> Result<Call, Failure> {
    let query = Query::read(&parts.uri, operation.paging, operation.query)?;
    let headers = &parts.headers;
    let expected_versions = if operation.conditional {
        conditions::expected_versions(headers)?
    } else {
        if operation.idempotent {
            conditions::refuse(headers)?;
        }
        None
    };
    let key = if operation.idempotent {
        body::idempotency_key(headers)?
    } else {
        None
    };
    let (codec, body) = read_body(api, operation, exchange, headers, body).await?;
    let id = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .ok();
    let id = id.and_then(|params| params.iter().next().map(|(_, id)| id.to_owned()));
    Ok(Call {
        row: Row {
            name: operation.name,
            method: operation.method,
            path: operation.path,
            id: operation.id,
            success: operation.success,
            answer: operation.answer,
            has_secret: operation.has_secret,
        },
        codec,
        format: respond::accepted(&parts.headers),
        failure_format: respond::accepted_for_failures(&parts.headers),
        base: base_url(api.settings.public_url.as_deref(), &parts.headers),
        headers: parts.headers,
        uri: parts.uri,
        query,
        id: id.unwrap_or_default(),
        body,
        expected_versions,
        key,
        keyed: None,
        request_id: exchange.request_id.clone(),
    })
}

/// Reads the body and finds its codec. The media type and `Content-Length` are checked before any
/// byte of the body is read.
async fn read_body(
    api: &Api,
    operation: &Operation,
    exchange: &Exchange,
    headers: &HeaderMap,
    stream: Body,
) -> Result<(Codec, RequestBody), Failure> {
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let codec = content_type
        .map(|text| wire::codec_of(Some(text)))
        .transpose()?;
    if let Some(charset) = wire::other_charset(content_type) {
        return Err(wire::Error::UnknownCharset(charset).into());
    }
    let limit = operation.body_limit.bytes(api.settings.max_body);
    let body = body::read(&api.service, exchange, headers, stream, limit).await?;
    match (codec, body.is_empty()) {
        // An empty body is read as one without members.
        (_, true) => Ok((Codec::Json, RequestBody::from(b"{}".as_slice()))),
        (Some(codec), false) => Ok((codec, body)),
        (None, false) => Err(wire::Error::UnsupportedMediaType(String::new()).into()),
    }
}

//! The dispatcher: every call of this dialect goes through [`dispatch`], which enforces its row of
//! the table.
//!
//! The order of the steps: check the media type; authenticate and check the scope by the token in
//! the header or the query, if there is one; read the body; otherwise authenticate and check the
//! scope by the token in the body; look up the idempotency key; refuse writes of a suspended
//! reseller; wait for a permit; decode the members; run the handler; write the answer.

use axum::body::Body;
use axum::extract::{self, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};

use super::call::{
    Answer, Call, preferred_format, query_value, respond_with_failure, stored_failure,
};
use super::codes;
use super::operation::Operation;
use super::requests::Common;
use super::{Api, PREFIX, Settings};
use crate::dialects::body::{self, IGNORED_MEMBERS};
use crate::dialects::exchange::{
    Exchange, NO_BEARER, RequestOutcome, base_url, bearer, header_text,
};
use crate::dialects::failure::Failure;
use crate::domain::{Dialect, Error};
use crate::service::{Context, Fingerprint, IdempotencyKey, Principal, Seal};
use crate::wire::{self, Codec};

/// The members that say who calls and how to answer, which are no part of the command.
const NOT_THE_COMMAND: &[&str] = &["token", "format", "verbose"];

/// Answers one request.
pub(super) async fn dispatch(
    State(api): State<Api>,
    operation: &'static Operation,
    request: extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(&parts);
    exchange.set_secret(operation.has_secret);
    // This is the format unless the body names another.
    let mut format = preferred_format(&parts.headers, &parts.uri);
    let mut ignored = None;
    let answer = carry_out(
        &api,
        operation,
        &mut exchange,
        (&mut format, &mut ignored),
        parts,
        body,
    )
    .await;
    let (mut response, outcome) = match answer {
        Ok(Answer::Reply(reply)) => (
            body::response(
                StatusCode::OK,
                Some(format.content_type()),
                reply.encode(format),
            ),
            RequestOutcome::Ok,
        ),
        Ok(Answer::Stored(stored)) => {
            let outcome = RequestOutcome::of_status(stored.status);
            let mut response = body::replay(stored);
            if api.settings.always_200 {
                *response.status_mut() = StatusCode::OK;
            }
            (response, outcome)
        }
        Err(failure) => {
            let outcome = RequestOutcome::of_status(codes::code(&failure).error);
            (
                respond_with_failure(&failure, format, api.settings.always_200),
                outcome,
            )
        }
    };
    if let Some(ignored) = ignored {
        response.headers_mut().insert(IGNORED_MEMBERS, ignored);
    }
    if operation.idempotent {
        exchange.answer_always();
    }
    exchange.finish(response, operation.name, outcome)
}

async fn carry_out(
    api: &Api,
    operation: &'static Operation,
    exchange: &mut Exchange,
    (format, ignored_header): (&mut Codec, &mut Option<HeaderValue>),
    parts: Parts,
    stream: Body,
) -> Result<Answer, Failure> {
    let headers = &parts.headers;
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let is_query_only = api.settings.token_in_query
        && axum::body::HttpBody::is_end_stream(&stream)
        && query_value(&parts.uri, "token").is_some();
    let codec = match content_type {
        None if is_query_only => Codec::Json,
        given => wire::codec_of(given)?,
    };
    let early = early_credential(&parts, &api.settings)?;
    let early = match &early {
        Some(token) => Some((authenticate(api, operation, exchange, token).await?, token)),
        None => None,
    };
    let limit = operation.body_limit.bytes(api.settings.max_body);
    let body = body::read(&api.service, exchange, headers, stream, limit).await?;
    let body = if is_query_only {
        // A call with the token alone. Altcraft's lists are called so.
        body::RequestBody::from(match codec {
            Codec::Json => &b"{}"[..],
            Codec::Xml => &b"<xml/>"[..],
        })
    } else {
        body.into_utf8(codec, content_type)?
    };
    // If the body cannot be decoded, the error is written in the body's own format.
    let preferred = std::mem::replace(format, codec);
    let common: Common = wire::decode(codec, &body)?;
    *format = preferred;
    if let Some(requested) = common.format(codec)? {
        *format = requested;
    }
    let in_body = common
        .token
        .as_ref()
        .map(|token| token.expose_secret().trim().to_owned());
    let in_body = in_body
        .filter(|token| !token.is_empty())
        .map(SecretString::from);
    let principal = match (early, in_body) {
        (Some((_, early)), Some(late)) if early.expose_secret() != late.expose_secret() => {
            return Err(Failure::TokensDiffer);
        }
        (Some((principal, _)), _) => principal,
        (None, Some(token)) => authenticate(api, operation, exchange, &token).await?,
        (None, None) => return Err(missing(&parts)),
    };
    let context = Context {
        principal,
        dialect: Dialect::Admin,
        request_id: exchange.request_id.to_string(),
    };
    let key = if operation.idempotent {
        body::idempotency_key(headers)?
    } else {
        None
    };
    let path = format!("{PREFIX}{}", operation.name);
    let reseller = context.principal.storage_reseller();
    let key = key.map(|key| IdempotencyKey {
        reseller,
        method: "POST".to_owned(),
        path,
        key,
    });
    // Most calls have no key, and the fingerprint costs more than reading the members.
    let fingerprint = key.as_ref().map_or_else(Fingerprint::default, |_| {
        body::fingerprint(codec, &body, NOT_THE_COMMAND, "")
            .of_owner(context.principal.bound_to.as_ref())
    });
    let ignored = (operation.ignored)(codec, &body);
    *ignored_header = body::ignored_members(&ignored);
    let call = Call {
        seal: key
            .as_ref()
            .filter(|_| operation.has_secret)
            .map(|key| Seal::of(&context.principal, key)),
        codec,
        format: *format,
        verbose: common.verbose,
        ignored,
        fingerprint,
        key,
        base: base_url(api.settings.public_url.as_deref(), headers),
        body,
    };
    if let Some(stored) = call.look_up_answer(api).await? {
        return Ok(Answer::Stored(stored));
    }
    operation.while_suspended.check(&context.principal)?;
    let once = call.key.clone().map(|key| (key, call.fingerprint));
    // Last, so that neither a slow body nor a missing token holds a permit.
    let _permit = api
        .service
        .permit(operation.cost, exchange.holder())
        .await?;
    let result = (operation.handler)(api, &context, call).await;
    if let Err(failure) = &result {
        let answer = || stored_failure(failure, *format);
        body::store_refusal(&api.service, once, failure, answer).await;
    }
    result
}

async fn authenticate(
    api: &Api,
    operation: &Operation,
    exchange: &mut Exchange,
    token: &SecretString,
) -> Result<Principal, Failure> {
    let principal = exchange.authenticate(&api.service, token).await?;
    operation.access.check(&principal)?;
    Ok(principal)
}

/// The token of the header, or of the query if the settings allow it. Both are read before the
/// body.
fn early_credential(parts: &Parts, settings: &Settings) -> Result<Option<SecretString>, Failure> {
    let in_header = header_text(&parts.headers, header::AUTHORIZATION)
        .and_then(bearer)
        .map(str::to_owned);
    let in_query = settings
        .token_in_query
        .then(|| query_value(&parts.uri, "token"))
        .flatten();
    let is_given = |token: &String| !token.is_empty();
    match (in_header, in_query.filter(is_given)) {
        (Some(one), Some(other)) if one != other => Err(Failure::TokensDiffer),
        (one, other) => Ok(one.or(other).map(SecretString::from)),
    }
}

/// The failure of a request without a token where one is read.
fn missing(parts: &Parts) -> Failure {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        Failure::TokenNotRead(NO_BEARER)
    } else if query_value(&parts.uri, "token").is_some() {
        Failure::TokenNotRead(
            "the one in the query is not read, because admin.token_in_query is off or it is \
             empty; send it in the Authorization header or in the body",
        )
    } else {
        Error::CredentialMissing.into()
    }
}

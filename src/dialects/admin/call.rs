//! The dispatcher: every call of this dialect goes through [`dispatch`], which enforces its row of
//! the table.
//!
//! The order of the steps: check the media type; authenticate, if the header or the query has a
//! token; check the scope; wait for a permit; read the body; authenticate by the token in the body,
//! if there was none before; look up the idempotency key; decode the members; run the handler;
//! write the answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{self, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::codes;
use super::operations::Operation;
use super::replies::Reply;
use super::requests::Common;
use super::{Api, Settings};
use crate::dialects::body;
use crate::dialects::exchange::{Exchange, RequestOutcome, base_url, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::domain::{AccountId, Command, Dialect, Error};
use crate::hash::sha256;
use crate::service::{
    CommandOutcome, Completion, Context, IdempotencyKey, IdempotentRequest, Principal, StoredAnswer,
};
use crate::wire::{self, Codec};

/// The result of a handler: a new reply, or the stored answer to a repeated request.
pub(super) enum Answer {
    Reply(Reply),
    Stored(StoredAnswer),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Answers one request.
pub(super) async fn dispatch(
    State(api): State<Api>,
    operation: &'static Operation,
    request: extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(&parts);
    // This is the format unless the body names another.
    let mut format = preferred_format(&parts.headers, &parts.uri);
    let answer = carry_out(&api, operation, &mut exchange, &mut format, parts, body).await;
    let (response, outcome) = match answer {
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
            (body::replay(stored), outcome)
        }
        Err(failure) => {
            let outcome = RequestOutcome::of_status(codes::code(&failure).error);
            (
                respond_with_failure(&failure, format, api.settings.always_200),
                outcome,
            )
        }
    };
    exchange.finish(response, operation.name, outcome)
}

async fn carry_out(
    api: &Api,
    operation: &'static Operation,
    exchange: &mut Exchange,
    format: &mut Codec,
    parts: Parts,
    stream: Body,
) -> Result<Answer, Failure> {
    let headers = &parts.headers;
    let codec = wire::codec_of(header_text(headers, header::CONTENT_TYPE))?;
    let early = early_credential(&parts, &api.settings)?;
    let early = match &early {
        Some(token) => Some((authenticate(api, operation, exchange, token).await?, token)),
        None => None,
    };
    let permit = api.service.permit(operation.cost).await?;
    let limit = operation.body_limit.bytes(api.settings.max_body);
    let body = body::read(headers, stream, limit).await?;
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
        (None, None) => return Err(Error::CredentialMissing.into()),
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
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let reseller = context.principal.storage_reseller();
    let method = "POST".to_owned();
    let call = Call {
        operation,
        codec,
        format: *format,
        verbose: common.verbose,
        always_200: api.settings.always_200,
        key: key.map(|key| IdempotencyKey {
            reseller,
            method,
            path,
            key,
        }),
        base: base_url(api.settings.public_url.as_deref(), headers),
        body,
    };
    if let Some(stored) = call.look_up_answer(api).await? {
        return Ok(Answer::Stored(stored));
    }
    let answer = (operation.handler)(api, &context, call).await;
    drop(permit);
    answer
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

/// A request whose body has been read and whose caller is known.
pub(super) struct Call {
    operation: &'static Operation,
    codec: Codec,
    format: Codec,
    verbose: bool,
    always_200: bool,
    /// `None` if the caller sent no idempotency key, or if the call does not take one.
    key: Option<IdempotencyKey>,
    base: String,
    body: Vec<u8>,
}

/// The input of a handler: the decoded members of the body, and the rest of the call.
pub(super) struct Request<M> {
    pub(super) members: M,
    pub(super) call: Call,
}

impl Call {
    pub(super) fn with_members<M: DeserializeOwned>(self) -> Result<Request<M>, Failure> {
        let members = body::decode(self.operation.unknown_members, self.codec, &self.body)?;
        Ok(Request {
            members,
            call: self,
        })
    }

    /// The settings for reading members: the body's format, and the caller's time zone for dates
    /// without a zone.
    pub(super) fn reading(&self, context: &Context) -> Reading {
        Reading {
            codec: self.codec,
            zone: context.principal.timezone,
        }
    }

    /// The format of the answer.
    pub(super) fn format(&self) -> Codec {
        self.format
    }

    /// All members of the body, including those that the request type does not know.
    pub(super) fn all_members(&self) -> Result<Map<String, Value>, Failure> {
        Ok(match self.codec {
            Codec::Json => wire::json_members(&self.body)?,
            Codec::Xml => wire::xml_members(&self.body)?,
        })
    }

    /// The service's base URL as this caller sees it.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Looks up the stored answer to an earlier request with the same idempotency key.
    async fn look_up_answer(&self, api: &Api) -> Result<Option<StoredAnswer>, Failure> {
        let Some(key) = self.key.clone() else {
            return Ok(None);
        };
        Ok(api.service.stored_answer(key, sha256(&self.body)).await?)
    }

    /// The idempotency key, the body's fingerprint, and the function that encodes the answer for
    /// storage. `None` if the caller sent no key.
    pub(super) fn idempotency(
        &self,
        reply: impl Fn(&CommandOutcome, bool) -> Reply + Send + Sync + 'static,
    ) -> Option<IdempotentRequest> {
        let key = self.key.clone()?;
        let (format, verbose, always_200) = (self.format, self.verbose, self.always_200);
        let encode = move |outcome: &Result<CommandOutcome, Error>| {
            let (status, body) = match outcome {
                Ok(done) => (200, reply(done, verbose).encode(format)),
                Err(error) => {
                    let code = codes::code(&Failure::from(error.clone()));
                    let is_hidden = always_200 && code.error < 500;
                    let status = if is_hidden { 200 } else { code.error };
                    (status, Reply::failure(&code).encode(format))
                }
            };
            let content_type = format.content_type().to_owned();
            StoredAnswer {
                status,
                content_type,
                body,
            }
        };
        let fingerprint = sha256(&self.body);
        Some(IdempotentRequest {
            key,
            fingerprint,
            encode: Arc::new(encode),
        })
    }

    /// Executes a command on an account. `reply` turns the outcome into the reply.
    pub(super) async fn execute(
        &self,
        api: &Api,
        context: &Context,
        account: AccountId,
        command: Command,
        reply: impl Fn(&CommandOutcome, bool) -> Reply + Clone + Send + Sync + 'static,
    ) -> Result<Answer, Failure> {
        let idempotency = self.idempotency(reply.clone());
        let completion = api
            .service
            .execute(context, account, command, idempotency)
            .await?;
        Ok(self.completed(completion, reply))
    }

    /// The answer to a completed command: a new reply, or the stored answer.
    pub(super) fn completed(
        &self,
        completion: Completion,
        reply: impl Fn(&CommandOutcome, bool) -> Reply,
    ) -> Answer {
        match completion {
            Completion::Fresh(done) => Answer::Reply(reply(&done, self.verbose)),
            Completion::Replayed(stored) => Answer::Stored(stored),
        }
    }
}

/// The format of the answer, unless the body names another. The first of these that exists: the
/// query's `format`, an `Accept` header that names exactly one format, the body's own format, JSON.
pub(super) fn preferred_format(headers: &HeaderMap, uri: &Uri) -> Codec {
    let queried = query_value(uri, "format").and_then(|word| Codec::parse(&word));
    let accepted = || header_text(headers, header::ACCEPT).and_then(wire::accepted);
    let own = || wire::codec_of(header_text(headers, header::CONTENT_TYPE)).ok();
    queried
        .or_else(accepted)
        .or_else(own)
        .unwrap_or(Codec::Json)
}

/// Writes a failure in this dialect's envelope.
pub(super) fn respond_with_failure(failure: &Failure, codec: Codec, always_200: bool) -> Response {
    let code = codes::code(failure);
    let status = if always_200 {
        StatusCode::OK
    } else {
        StatusCode::from_u16(code.error).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let mut response = body::response(
        status,
        Some(codec.content_type()),
        Reply::failure(&code).encode(codec),
    );
    let headers = response.headers_mut();
    if let Some(seconds) = code.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.error == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if code.error == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The token from the header, or from the query if the settings allow it: the places that can be
/// read before the body.
fn early_credential(parts: &Parts, settings: &Settings) -> Result<Option<SecretString>, Failure> {
    let in_header = header_text(&parts.headers, header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    });
    let in_query = settings
        .token_in_query
        .then(|| query_value(&parts.uri, "token"))
        .flatten();
    let is_given = |token: &String| !token.is_empty();
    match (in_header.filter(is_given), in_query.filter(is_given)) {
        (Some(one), Some(other)) if one != other => Err(Failure::TokensDiffer),
        (one, other) => Ok(one.or(other).map(SecretString::from)),
    }
}

fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

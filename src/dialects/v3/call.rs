//! The dispatcher: every request of this dialect goes through [`dispatch`], which enforces its row
//! of the table.
//!
//! The order of the steps: authenticate from the header; check access; wait for a permit; read the
//! query, then the body; look up the idempotency key; decode the members; look up the id of the
//! path; run the handler; write the answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{self, FromRequestParts as _, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Api;
use super::codes;
use super::operation::{Handler, Operation};
use super::page::Query;
use super::path_id::PathId;
use super::respond::{self, FailureDocument, encode};
use crate::dialects::body;
use crate::dialects::exchange::{Exchange, RequestId, RequestOutcome, base_url, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::domain::{Dialect, Error};
use crate::hash::sha256;
use crate::service::{Context, IdempotencyKey, IdempotentRequest, StoredAnswer};
use crate::wire::{self, Codec};

/// Answers one request.
pub(super) async fn dispatch(
    State(api): State<Api>,
    operation: &'static Operation,
    request: extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(&parts);
    let format = respond::accepted(&parts.headers);
    let response = carry_out(&api, operation, &mut exchange, parts, body).await;
    let response =
        response.unwrap_or_else(|failure| respond::failure(&failure, format, &exchange.request_id));
    let outcome = RequestOutcome::of_status(response.status().as_u16());
    exchange.finish(response, operation.name, outcome)
}

async fn carry_out(
    api: &Api,
    operation: &'static Operation,
    exchange: &mut Exchange,
    parts: Parts,
    body: Body,
) -> Result<Response, Failure> {
    let handler = match operation.handler {
        Handler::Private(handler) => handler,
        Handler::Public(handler) => {
            let _permit = api.service.permit(operation.cost).await?;
            let call = Call::read(api, operation, exchange, parts, body).await?;
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
    let _permit = api.service.permit(operation.cost).await?;
    let mut call = Call::read(api, operation, exchange, parts, body).await?;
    if let Some(stored) = call.look_up_answer(api, &context).await? {
        return Ok(body::replay(stored));
    }
    handler(api, &context, call).await
}

/// A request whose body has been read.
pub(super) struct Call {
    operation: &'static Operation,
    codec: Codec,
    format: Codec,
    headers: HeaderMap,
    pub(super) uri: Uri,
    pub(super) query: Query,
    /// The `{id}` of the path.
    id: String,
    body: Vec<u8>,
    /// The version that `If-Match` requires. `None` accepts any version.
    pub(super) expected_version: Option<i64>,
    /// The idempotency key as the caller sent it. `None` if there is none, or if the operation does
    /// not take one.
    key: Option<String>,
    /// The idempotency key as it is stored. Set once the caller is known.
    idempotency: Option<IdempotencyKey>,
    pub(super) request_id: RequestId,
    base: String,
}

/// The input of a handler: the id of the path, the decoded members of the body, and the rest of the
/// call.
pub(super) struct Request<I, M = ()> {
    pub(super) id: I,
    pub(super) members: M,
    pub(super) call: Call,
}

impl<I> Request<I> {
    pub(super) fn with_members<M>(self, members: M) -> Request<I, M> {
        Request {
            id: self.id,
            members,
            call: self.call,
        }
    }
}

impl Call {
    async fn read(
        api: &Api,
        operation: &'static Operation,
        exchange: &Exchange,
        mut parts: Parts,
        body: Body,
    ) -> Result<Self, Failure> {
        let query = Query::read(&parts.uri, operation)?;
        let headers = &parts.headers;
        let expected_version = if operation.conditional {
            expected_version(headers)?
        } else {
            None
        };
        let key = if operation.idempotent {
            body::idempotency_key(headers)?
        } else {
            None
        };
        let (codec, body) = read_body(api, operation, headers, body).await?;
        let id = RawPathParams::from_request_parts(&mut parts, &())
            .await
            .ok();
        let id = id.and_then(|params| params.iter().next().map(|(_, id)| id.to_owned()));
        Ok(Self {
            operation,
            codec,
            format: respond::accepted(&parts.headers),
            base: base_url(api.settings.public_url.as_deref(), &parts.headers),
            headers: parts.headers,
            uri: parts.uri,
            query,
            id: id.unwrap_or_default(),
            body,
            expected_version,
            key,
            idempotency: None,
            request_id: exchange.request_id.clone(),
        })
    }

    /// Looks up the stored answer to an earlier request with the same idempotency key.
    async fn look_up_answer(
        &mut self,
        api: &Api,
        context: &Context,
    ) -> Result<Option<StoredAnswer>, Failure> {
        let Some(key) = self.key.take() else {
            return Ok(None);
        };
        let key = IdempotencyKey {
            reseller: context.principal.storage_reseller(),
            method: self.operation.method.to_owned(),
            path: self.uri.path().trim_end_matches('/').to_owned(),
            key,
        };
        self.idempotency = Some(key.clone());
        Ok(api.service.stored_answer(key, sha256(&self.body)).await?)
    }

    /// Decodes the members of the body.
    pub(super) fn members<M: DeserializeOwned>(&self) -> Result<M, Failure> {
        body::decode(self.operation.unknown_members, self.codec, &self.body)
    }

    /// Looks up the id of the path.
    pub(super) async fn with_id<I: PathId>(
        self,
        api: &Api,
        context: &Context,
    ) -> Result<Request<I>, Failure> {
        let id = I::resolve(api, context, &self.id).await?;
        Ok(Request {
            id,
            members: (),
            call: self,
        })
    }

    /// The text of a header. `None` if the header is absent or not text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        header_text(&self.headers, name)
    }

    /// The bearer token of the request.
    pub(super) fn credential(&self) -> Result<SecretString, Failure> {
        credential(&self.headers)
    }

    /// The settings for reading members: the body's format, and the caller's time zone for dates
    /// without a zone.
    pub(super) fn reading(&self, context: &Context) -> Reading {
        Reading {
            codec: self.codec,
            zone: context.principal.timezone,
        }
    }

    /// The service's base URL as this caller sees it.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The format of the answer.
    pub(super) fn format(&self) -> Codec {
        self.format
    }

    /// The idempotency key, the body's fingerprint, and the function that encodes the answer for
    /// storage. `None` if the caller sent no key.
    pub(super) fn idempotency<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let key = self.idempotency.clone()?;
        Some(self.idempotency_of(key, self.operation.success, document))
    }

    /// The same as [`Call::idempotency`] for one of several operations in a request. `number` is
    /// its position, and `success` the status that it has as a request of its own.
    pub(super) fn idempotency_of_part<T, D: Serialize>(
        &self,
        number: usize,
        success: u16,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let key = self.idempotency.clone()?;
        let key = IdempotencyKey {
            path: format!("{}/{number}", key.path),
            ..key
        };
        Some(self.idempotency_of(key, success, document))
    }

    fn idempotency_of<T, D: Serialize>(
        &self,
        key: IdempotencyKey,
        success: u16,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> IdempotentRequest<T> {
        let (format, request_id) = (self.format, self.request_id.clone());
        let has_body = success != StatusCode::NO_CONTENT.as_u16();
        let encode = move |outcome: &Result<T, Error>| {
            let (status, body) = match outcome {
                // Deleting a deleted account is answered like the first deletion, so the same
                // answer is stored.
                Ok(_) | Err(Error::AccountDeleted) if !has_body => (success, Vec::new()),
                Ok(done) => (success, encode(format, &document(done))),
                Err(error) => {
                    let code = codes::code(&Failure::from(error.clone()));
                    let document = FailureDocument::new(&code, &request_id);
                    (code.status, encode(format, &document))
                }
            };
            StoredAnswer {
                status,
                content_type: format.content_type().to_owned(),
                body,
            }
        };
        IdempotentRequest {
            key,
            fingerprint: sha256(&self.body),
            encode: Arc::new(encode),
        }
    }
}

/// Reads the body and finds its codec. The media type and `Content-Length` are checked before any
/// byte of the body is read.
async fn read_body(
    api: &Api,
    operation: &Operation,
    headers: &HeaderMap,
    stream: Body,
) -> Result<(Codec, Vec<u8>), Failure> {
    if headers
        .get_all(header::CONTENT_TYPE)
        .iter()
        .nth(1)
        .is_some()
    {
        return Err(Failure::parameter("Content-Type", "appears more than once"));
    }
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let codec = content_type
        .map(|text| wire::codec_of(Some(text)))
        .transpose()?;
    let limit = operation.body_limit.bytes(api.settings.max_body);
    let body = body::read(headers, stream, limit).await?;
    match (codec, body.is_empty()) {
        // An empty body is read as one without members.
        (_, true) => Ok((Codec::Json, b"{}".to_vec())),
        (Some(codec), false) => Ok((codec, body)),
        (None, false) => Err(wire::Error::UnsupportedMediaType.into()),
    }
}

/// The bearer token of the `Authorization` header.
fn credential(headers: &HeaderMap) -> Result<SecretString, Failure> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let value = value.ok_or(Error::CredentialMissing)?;
    if values.next().is_some() {
        return Err(Failure::parameter(
            "Authorization",
            "appears more than once",
        ));
    }
    let token = value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty());
    Ok(SecretString::from(token.ok_or(Error::CredentialMissing)?))
}

/// The version that `If-Match` requires. `None` if the header is absent or `*`.
fn expected_version(headers: &HeaderMap) -> Result<Option<i64>, Failure> {
    let refuse = || Failure::parameter("If-Match", "must be one ETag of this account");
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let tag = value.to_str().map_err(|_| refuse())?.trim();
    if values.next().is_some() {
        return Err(refuse());
    }
    if tag == "*" {
        return Ok(None);
    }
    let version = tag
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|version| version.parse().ok());
    version.map(Some).ok_or_else(refuse)
}

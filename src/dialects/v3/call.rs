//! The dispatcher: every request of this dialect goes through [`dispatch`], which enforces the row of its operation.
//!
//! In this order: authenticate from the header; check authority and scope; wait for a permit; read the query, then the body; look
//! up the idempotency key; decode the members; look up what the path names; run the handler; write the answer.

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
use crate::dialects::operation::UnknownMembers;
use crate::dialects::patches::Reading;
use crate::domain::{Dialect, Error};
use crate::hash::sha256;
use crate::service::{Context, IdempotencyKey, IdempotentRequest, StoredAnswer};
use crate::wire::{self, Codec};

/// Answers a request to an operation.
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
    /// The version that `If-Match` names; `None` if any version will do.
    pub(super) expected_version: Option<i64>,
    /// The caller's idempotency key; `None` without one, or for an operation that takes none.
    key: Option<String>,
    /// The same, as it is stored: once the caller is known.
    idempotency: Option<IdempotencyKey>,
    pub(super) request_id: RequestId,
    base: String,
}

/// What a handler gets: the id of the path, the members of the body, and the rest of the call.
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

    /// The stored answer to an earlier request with the same idempotency key, before anything else is looked up.
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

    /// The members of the body.
    pub(super) fn members<M: DeserializeOwned>(&self) -> Result<M, Failure> {
        match self.operation.unknown_members {
            UnknownMembers::Ignore => Ok(wire::decode(self.codec, &self.body)?),
            UnknownMembers::Refuse => {
                let (members, unknown) = wire::decode_listing_unknown(self.codec, &self.body)?;
                match unknown.into_iter().next() {
                    None => Ok(members),
                    Some(name) => Err(Failure::parameter(name, "is no member of this request")),
                }
            }
        }
    }

    /// With what the path names looked up.
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

    /// The text of a header, if it is there and is text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        header_text(&self.headers, name)
    }

    /// The token of the request.
    pub(super) fn credential(&self) -> Result<SecretString, Failure> {
        credential(&self.headers)
    }

    /// How members of the body are read: in its format, dates without a zone in the time zone of the caller.
    pub(super) fn reading(&self, context: &Context) -> Reading {
        Reading {
            codec: self.codec,
            zone: context.principal.timezone,
        }
    }

    /// The service's address as this caller sees it.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The format of the answer.
    pub(super) fn format(&self) -> Codec {
        self.format
    }

    /// What lets the service recognise a repeat of this request, and answer it as the first one was answered; `None` where the
    /// caller sent no key.
    pub(super) fn idempotency<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let key = self.idempotency.clone()?;
        Some(self.idempotency_of(key, self.operation.success, document))
    }

    /// The same for one of several operations in one request, which shares its key: `number` is its place, `success` the status
    /// that the operation has by itself.
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
                // Deleting what is deleted is answered like the first deletion, and so is its repeat.
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

/// The codec and the bytes of a body. The media type and the length that the headers name are judged before a byte is read.
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
        // A request without a body stands for one without members.
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

/// The version that `If-Match` names; `None` where there is no such header, or where it accepts any version.
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

//! A request as it arrives, and the answer as it leaves: what all requests of this dialect have in common.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Api;
use super::accounts::documents;
use super::accounts::documents::Reader;
use super::codes::Failure;
use crate::dialects::patches::Reading;
use crate::dialects::{Allowance, RequestId, body, dates, host};
use crate::domain::{AccountId, Command, Dialect, Error, Scope, Time};
use crate::hash::sha256;
use crate::service::{
    CommandOutcome, Completion, Context, IdempotencyKey, IdempotentRequest, StoredAnswer,
};
use crate::wire::{self, Codec};

/// Where many operations come in one request, whose body may be so many times as large as others.
const BULK: &str = "/v3/bulk";
const BULK_FACTOR: usize = 16;

/// One request, read as far as every request can be.
pub(super) struct Call {
    codec: Codec,
    format: Codec,
    headers: HeaderMap,
    method: Method,
    pub(super) uri: Uri,
    id: Option<String>,
    body: Vec<u8>,
    request_id: RequestId,
    allowance: Allowance,
}

impl FromRequest<Api> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Response> {
        let (mut parts, stream) = request.into_parts();
        let format = accepted(&parts.headers);
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
        let refuse = |failure: Failure| answer_failure(&failure, format, &request_id);
        let max_body = if parts.uri.path() == BULK {
            api.settings.max_body * BULK_FACTOR
        } else {
            api.settings.max_body
        };
        let read = body::read(stream, max_body)
            .await
            .map_err(|error| refuse(error.into()))?;
        if parts
            .headers
            .get_all(header::CONTENT_TYPE)
            .iter()
            .nth(1)
            .is_some()
        {
            return Err(refuse(Failure::parameter(
                "Content-Type",
                "appears more than once",
            )));
        }
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        // A request without a body has no type; it stands for one without members.
        let (codec, body) = match (content_type, read.is_empty()) {
            (None, true) => (Codec::Json, b"{}".to_vec()),
            (content_type, is_empty) => {
                let codec = wire::codec_of(content_type).map_err(|error| refuse(error.into()))?;
                (codec, if is_empty { b"{}".to_vec() } else { read })
            }
        };
        let id = RawPathParams::from_request_parts(&mut parts, &())
            .await
            .ok()
            .and_then(|params| params.iter().next().map(|(_, id)| id.to_owned()));
        Ok(Self {
            codec,
            format,
            headers: parts.headers,
            method: parts.method,
            uri: parts.uri,
            id,
            body,
            request_id,
            allowance,
        })
    }
}

impl Call {
    /// Checks the token and its right.
    pub(super) async fn enter(&self, api: &Api, scope: Scope) -> Result<Context, Failure> {
        let principal = self
            .allowance
            .authenticate(&api.service, &self.credential()?)
            .await?;
        principal.require(scope)?;
        Ok(Context {
            principal,
            dialect: Dialect::V3,
            request_id: self.request_id.to_string(),
        })
    }

    /// The token that was sent.
    pub(super) fn credential(&self) -> Result<SecretString, Failure> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let value = values
            .next()
            .and_then(|value| value.to_str().ok())
            .ok_or(Error::CredentialMissing)?;
        if values.next().is_some() {
            return Err(Failure::parameter(
                "Authorization",
                "appears more than once",
            ));
        }
        let token = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or(Error::CredentialMissing)?;
        Ok(SecretString::from(token))
    }

    /// The text of a header, if it is there and is one.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The instant as of which an account is asked for, if the query names one.
    pub(super) fn as_of(&self, context: &Context) -> Result<Option<Time>, Failure> {
        let mut at = None;
        for (name, value) in
            url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes())
        {
            if name != "asOf" {
                continue;
            }
            let read = dates::parse(&value, context.principal.timezone)
                .map_err(|problem| Failure::parameter("asOf", &problem))?;
            if at.replace(read).is_some() {
                return Err(Failure::parameter("asOf", "appears more than once"));
            }
        }
        Ok(at)
    }

    /// What stands in the path for an identity.
    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// The account that the path names, by number or by UUID. What is neither is not found.
    pub(super) async fn account(&self, api: &Api, context: &Context) -> Result<AccountId, Failure> {
        let id = self.id();
        if let Ok(number) = id.parse::<i64>() {
            return Ok(AccountId::new(number).map_err(|_| Error::AccountNotFound)?);
        }
        let uid = Uuid::try_parse(id).map_err(|_| Error::AccountNotFound)?;
        Ok(api.service.resolve(context, uid).await?)
    }

    /// The body's members.
    pub(super) fn members<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.codec == Codec::Xml && self.body == b"{}" {
            return Ok(wire::decode(Codec::Json, &self.body)?);
        }
        Ok(wire::decode(self.codec, &self.body)?)
    }

    pub(super) fn reading(&self, context: &Context) -> Reading {
        Reading {
            codec: self.codec,
            zone: context.principal.timezone,
        }
    }

    pub(super) fn base(&self, api: &Api) -> String {
        api.settings
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", host(&self.headers)))
    }

    /// The version that `If-Match` names: none where there is no such header, or where any version will do.
    pub(super) fn only_at(&self) -> Result<Option<i64>, Failure> {
        let refuse = || Failure::parameter("If-Match", "must be one ETag of this account");
        let mut values = self.headers.get_all(header::IF_MATCH).iter();
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

    /// Carries a command out on the account of the path, and answers with the account.
    pub(super) async fn change(
        &self,
        api: &Api,
        build: impl FnOnce(&Context) -> Result<Command, Failure>,
    ) -> Response {
        let outcome = async {
            let context = self.enter(api, Scope::AccountWrite).await?;
            let (command, only_at) = (build(&context)?, self.only_at()?);
            let account = self.account(api, &context).await?;
            let once = self.once(&context, StatusCode::OK)?;
            Ok(api
                .service
                .execute_at(&context, account, command, only_at, once)
                .await
                .map(|answered| (answered, context))?)
        };
        self.answer_change(outcome.await, StatusCode::OK)
    }

    /// What lets the service recognise a repeat of a change of an account: none where the caller sent no key.
    pub(super) fn once(
        &self,
        context: &Context,
        status: StatusCode,
    ) -> Result<Option<IdempotentRequest>, Failure> {
        let authority = context.principal.authority();
        self.once_with(context, status, move |done: &CommandOutcome, format| {
            documents::encode(
                format,
                &documents::account(
                    &done.account,
                    Reader {
                        authority,
                        now: done.at,
                    },
                ),
            )
        })
    }

    /// The same for a change of something else, which is answered with a document.
    pub(super) fn once_for<T: 'static, D: Serialize + 'static>(
        &self,
        context: &Context,
        status: StatusCode,
        document: fn(&T) -> D,
    ) -> Result<Option<IdempotentRequest<T>>, Failure> {
        self.once_with(context, status, move |done: &T, format| {
            documents::encode(format, &document(done))
        })
    }

    /// The same for one of several changes in one request: each is a request of its own, with the key of all.
    pub(super) fn once_part(
        &self,
        context: &Context,
        status: StatusCode,
        number: usize,
    ) -> Result<Option<IdempotentRequest>, Failure> {
        let once = self.once(context, status)?;
        Ok(once.map(|once| IdempotentRequest {
            key: IdempotencyKey {
                path: format!("{}/{number}", once.key.path),
                ..once.key
            },
            ..once
        }))
    }

    /// The identity of the request.
    pub(super) fn request_id(&self) -> String {
        self.request_id.to_string()
    }

    pub(super) fn once_with<T>(
        &self,
        context: &Context,
        status: StatusCode,
        write: impl Fn(&T, Codec) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Option<IdempotentRequest<T>>, Failure> {
        let key = body::idempotency_key(&self.headers)
            .map_err(|problem| Failure::parameter("Idempotency-Key", problem))?;
        let Some(key) = key else { return Ok(None) };
        let path = self.uri.path().trim_end_matches('/').to_owned();
        let key = IdempotencyKey {
            reseller: context.principal.storage_reseller(),
            method: self.method.to_string(),
            path,
            key,
        };
        let (format, request_id) = (self.format, self.request_id.clone());
        let encode = move |outcome: &Result<T, Error>| {
            let (status, body) = match outcome {
                // A deletion of what is deleted is answered as the first was, and so is its repeat.
                Ok(_) | Err(Error::AccountDeleted) if status == StatusCode::NO_CONTENT => {
                    (status.as_u16(), Vec::new())
                }
                Ok(done) => (status.as_u16(), write(done, format)),
                Err(error) => {
                    let code = Failure::from(error.clone()).code();
                    (
                        code.status,
                        documents::encode(format, &documents::failure(&code, &request_id)),
                    )
                }
            };
            StoredAnswer {
                status,
                content_type: format.content_type().to_owned(),
                body,
            }
        };
        Ok(Some(IdempotentRequest {
            key,
            fingerprint: sha256(&self.body),
            encode: Arc::new(encode),
        }))
    }

    /// The answer to a change of something else than an account.
    pub(super) fn answer_done<T, D: Serialize>(
        &self,
        outcome: Result<Completion<T>, Failure>,
        status: StatusCode,
        document: fn(&T) -> D,
    ) -> Response {
        match outcome {
            Ok(Completion::Fresh(done)) => respond(
                status,
                Some(self.format),
                documents::encode(self.format, &document(&done)),
            ),
            Ok(Completion::Replayed(stored)) => body::replay(stored),
            Err(failure) => self.refuse(&failure),
        }
    }

    /// A page of a list, with the link to the next one.
    pub(super) fn answer_page(
        &self,
        outcome: Result<(impl Serialize, Option<String>), Failure>,
    ) -> Response {
        let (document, next) = match outcome {
            Ok(found) => found,
            Err(failure) => return self.refuse(&failure),
        };
        let mut response = self.answer(Ok(document));
        if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }

    /// The answer to a change: the account, with its version as ETag.
    pub(super) fn answer_change(
        &self,
        outcome: Result<(Completion, Context), Failure>,
        status: StatusCode,
    ) -> Response {
        match outcome {
            Ok((Completion::Fresh(_), _)) if status == StatusCode::NO_CONTENT => {
                respond(status, None, Vec::new())
            }
            Ok((Completion::Fresh(done), context)) => {
                let document = documents::account(
                    &done.account,
                    Reader {
                        authority: context.principal.authority(),
                        now: done.at,
                    },
                );
                self.answer_account(
                    &done.account,
                    documents::encode(self.format, &document),
                    status,
                )
            }
            Ok((Completion::Replayed(stored), _)) => body::replay(stored),
            Err(failure) => answer_failure(&failure, self.format, &self.request_id),
        }
    }

    /// An account as it was written, with its version as ETag.
    pub(super) fn answer_account(
        &self,
        account: &crate::domain::Account,
        body: Vec<u8>,
        status: StatusCode,
    ) -> Response {
        let mut response = respond(status, Some(self.format), body);
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", account.version)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }

    /// The answer to a question.
    pub(super) fn answer(&self, outcome: Result<impl Serialize, Failure>) -> Response {
        self.answer_with(outcome, StatusCode::OK)
    }

    /// A document, with a status.
    pub(super) fn answer_with(
        &self,
        outcome: Result<impl Serialize, Failure>,
        status: StatusCode,
    ) -> Response {
        match outcome {
            Ok(document) => respond(
                status,
                Some(self.format),
                documents::encode(self.format, &document),
            ),
            Err(failure) => self.refuse(&failure),
        }
    }

    pub(super) fn refuse(&self, failure: &Failure) -> Response {
        answer_failure(failure, self.format, &self.request_id)
    }

    pub(super) fn format(&self) -> Codec {
        self.format
    }
}

/// JSON, unless XML alone is asked for.
pub(super) fn accepted(headers: &HeaderMap) -> Codec {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .and_then(wire::accepted)
        .unwrap_or(Codec::Json)
}

/// An error in this dialect's form.
pub(super) fn answer_failure(failure: &Failure, format: Codec, request_id: &RequestId) -> Response {
    let code = failure.code();
    let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(
        status,
        Some(format),
        documents::encode(format, &documents::failure(&code, request_id)),
    );
    if let Some(seconds) = code.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.status == 401 {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(super) fn respond(status: StatusCode, format: Option<Codec>, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(format) = format {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        );
    }
    response
}

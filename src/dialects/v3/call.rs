//! A request on its way through a handler.

use std::cell::LazyCell;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use chrono_tz::Tz;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Api;
use super::codes;
use super::ignored_members;
use super::page::Query;
use super::path_id::PathId;
use super::respond::{Described, FailureDocument, encode};
use crate::dialects::body::{self, RequestBody};
use crate::dialects::exchange::{RequestId, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::domain::{AccountId, Error};
use crate::hash::sha256;
use crate::service::{AccountRef, Context, IdempotencyKey, IdempotentRequest, Seal, StoredAnswer};
use crate::wire::Codec;

/// A request whose body has been read.
pub(super) struct Call {
    /// The name of the operation.
    pub(super) name: &'static str,
    /// The answer of the operation, for the members that its `PATCH` knows.
    pub(super) answer: Described,
    /// The method of the request.
    pub(super) method: &'static str,
    /// The status of a success.
    pub(super) success: u16,
    pub(super) codec: Codec,
    pub(super) format: Codec,
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    pub(super) query: Query,
    /// The `{id}` of the path.
    pub(super) id: String,
    pub(super) body: RequestBody,
    /// The version that `If-Match` requires. `None` accepts any version.
    pub(super) expected_version: Option<i64>,
    /// The idempotency key as the caller sent it. `None` if there is none, or if the operation does
    /// not take one.
    pub(super) key: Option<String>,
    /// The idempotency key as it is stored, and the SHA-256 of the body. Set once the caller is
    /// known.
    pub(super) idempotency: Option<(IdempotencyKey, [u8; 32])>,
    /// Whether the answer may contain a secret.
    pub(super) has_secret: bool,
    /// What encrypts an answer with a secret. Set together with `idempotency`.
    pub(super) seal: Option<Seal>,
    pub(super) request_id: RequestId,
    pub(super) base: String,
}

/// The input of a handler: the id of the path, the decoded members of the body, and the rest of the
/// call.
pub(super) struct Request<I, M = ()> {
    pub(super) id: I,
    pub(super) members: M,
    pub(super) call: Call,
}

/// The members of a request without a body. A body with members is refused.
#[derive(Deserialize)]
pub(super) struct NoMembers {}

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
    /// Looks up the stored answer to an earlier request with the same idempotency key.
    pub(super) async fn look_up_answer(
        &mut self,
        api: &Api,
        context: &Context,
    ) -> Result<Option<StoredAnswer>, Failure> {
        let Some(key) = self.key.take() else {
            return Ok(None);
        };
        let key = IdempotencyKey {
            reseller: context.principal.storage_reseller(),
            method: self.method.to_owned(),
            path: self.uri.path().trim_end_matches('/').to_owned(),
            key,
        };
        let fingerprint = sha256(&self.body);
        self.idempotency = Some((key.clone(), fingerprint));
        if self.has_secret {
            let seal = self.seal.insert(Seal::of(&context.principal, &key));
            let stored = api.service.stored_secret_answer(key, seal, fingerprint);
            return Ok(stored.await?);
        }
        Ok(api.service.stored_answer(key, fingerprint).await?)
    }

    /// Decodes the members of the body.
    pub(super) fn members<M: DeserializeOwned>(&self) -> Result<M, Failure> {
        let cannot_honour = ignored_members::cannot_honour(self.name);
        let read_only = LazyCell::new(|| ignored_members::read_only(self.method, self.answer));
        let is_ignored = |name: &str| {
            cannot_honour.contains(&name) || read_only.iter().any(|member| member == name)
        };
        body::decode(self.codec, &self.body, is_ignored)
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

    /// The settings for reading members: the body's format, and the time zone for dates without
    /// one.
    pub(super) fn reading(&self, zone: Tz) -> Reading {
        Reading {
            codec: self.codec,
            zone,
        }
    }

    /// The settings for reading members that describe an account: dates without a zone are in that
    /// of the account's reseller.
    pub(super) async fn reading_for(
        &self,
        api: &Api,
        context: &Context,
        account: AccountId,
    ) -> Result<Reading, Failure> {
        let zone = api.service.zone_of(context, AccountRef::Id(account));
        Ok(self.reading(zone.await?))
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
        let once = self.idempotency.clone()?;
        Some(self.idempotency_of(once, self.success, document))
    }

    /// The same as [`Call::idempotency`] for an answer with a secret, which is encrypted.
    pub(super) fn secret_idempotency<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let (_, fingerprint) = self.idempotency.clone()?;
        let seal = self.seal.clone()?;
        let once = (seal.key().clone(), fingerprint);
        Some(IdempotentRequest {
            seal: Some(seal),
            ..self.idempotency_of(once, self.success, document)
        })
    }

    /// The same as [`Call::idempotency`] for one of several operations in a request. `number` is
    /// its position, and `success` the status that it has as a request of its own.
    pub(super) fn idempotency_of_part<T, D: Serialize>(
        &self,
        number: usize,
        success: u16,
        document: impl Fn(&T) -> D + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let once = self.key_of_part(number)?;
        Some(self.idempotency_of(once, success, document))
    }

    /// The stored answer to the operation at position `number`. `None` also without a key.
    pub(super) async fn stored_answer_of_part(
        &self,
        api: &Api,
        number: usize,
    ) -> Result<Option<StoredAnswer>, Failure> {
        let Some((key, fingerprint)) = self.key_of_part(number) else {
            return Ok(None);
        };
        Ok(api.service.stored_answer(key, fingerprint).await?)
    }

    fn key_of_part(&self, number: usize) -> Option<(IdempotencyKey, [u8; 32])> {
        let (key, fingerprint) = self.idempotency.clone()?;
        let path = format!("{}/{number}", key.path);
        Some((IdempotencyKey { path, ..key }, fingerprint))
    }

    fn idempotency_of<T, D: Serialize>(
        &self,
        (key, fingerprint): (IdempotencyKey, [u8; 32]),
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
            fingerprint,
            encode: Arc::new(encode),
            seal: None,
        }
    }
}

/// The bearer token of the `Authorization` header.
pub(super) fn credential(headers: &HeaderMap) -> Result<SecretString, Failure> {
    let token = header_text(headers, header::AUTHORIZATION)
        .ok_or(Error::CredentialMissing)?
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty());
    Ok(SecretString::from(token.ok_or(Error::CredentialMissing)?))
}

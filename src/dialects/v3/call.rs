//! A request on its way through a handler.

use std::cell::LazyCell;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use chrono_tz::Tz;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Api;
use super::ignored_members;
use super::page::Query;
use super::path_id::{self, Id, PathId};
use super::respond::{Described, Done, FailureFormat, encode, stored_failure};
use crate::dialects::body::{self, RequestBody};
use crate::dialects::exchange::{NO_BEARER, RequestId, bearer, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::domain::{Account, AccountId, Error};
use crate::service::{
    AccountRef, Context, Encoder, Fingerprint, IdempotencyKey, IdempotentRequest, OtherKey,
    Principal, Seal, StoredAnswer,
};
use crate::wire::Codec;

/// A request whose body has been read.
pub(super) struct Call {
    /// The attributes of the operation's row.
    pub(super) row: Row,
    pub(super) codec: Codec,
    pub(super) format: Codec,
    pub(super) failure_format: FailureFormat,
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    pub(super) query: Query,
    /// The `{id}` of the path.
    pub(super) id: String,
    pub(super) body: RequestBody,
    /// The versions that `If-Match` accepts. `None` accepts any version.
    pub(super) expected_versions: Option<Arc<[i64]>>,
    /// The idempotency key as the caller sent it. `None` if there is none, or if the operation does
    /// not take one.
    pub(super) key: Option<String>,
    /// The key as it is stored, and what it stands for. Set once the caller is known.
    pub(super) keyed: Option<Keyed>,
    pub(super) request_id: RequestId,
    pub(super) base: String,
}

/// The attributes of an operation that its calls need.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The name of the operation.
    pub(super) name: &'static str,
    /// The method of the request.
    pub(super) method: &'static str,
    /// The path, with `{id}` for an id.
    pub(super) path: &'static str,
    /// The kind of resource that `{id}` names.
    pub(super) id: Id,
    /// The status of a success.
    pub(super) success: u16,
    /// The answer of the operation, for the members that its `PATCH` knows.
    pub(super) answer: Described,
    /// Whether the answer may contain a secret.
    pub(super) has_secret: bool,
}

/// A request with an idempotency key whose caller is known.
#[derive(Clone)]
pub(super) struct Keyed {
    key: IdempotencyKey,
    fingerprint: Fingerprint,
    caller: Principal,
}

impl Keyed {
    /// What encrypts an answer with a secret.
    fn seal(&self) -> Seal {
        Seal::of(&self.caller, &self.key)
    }

    /// The key under the other identity of the account that the path names. `id` is the one in the
    /// path.
    fn other_key(&self, row: Row, id: &str, is_secret: bool) -> Option<OtherKey> {
        let is_number = match (row.id, path_id::account_ref(id)) {
            (Id::Account, Ok(AccountRef::Id(_))) => true,
            (Id::Account, Ok(AccountRef::Uid(_))) => false,
            _ => return None,
        };
        let (keyed, path) = (self.clone(), row.path);
        Some(Arc::new(move |account: &Account| {
            let other = if is_number {
                account.uid.to_string()
            } else {
                account.id.to_string()
            };
            let key = IdempotencyKey {
                path: path.replace("{id}", &other),
                ..keyed.key.clone()
            };
            if is_secret {
                let seal = Seal::of(&keyed.caller, &key);
                (seal.key().clone(), Some(seal))
            } else {
                (key, None)
            }
        }))
    }
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
        caller: &Principal,
    ) -> Result<Option<StoredAnswer>, Failure> {
        // What nothing has is answered anew every time.
        let (Some(key), Some(id)) = (self.key.take(), self.row.id.canonical(&self.id)) else {
            return Ok(None);
        };
        let key = IdempotencyKey {
            reseller: caller.storage_reseller(),
            method: self.row.method.to_owned(),
            path: self.row.path.replace("{id}", &id),
            key,
        };
        let condition = super::conditions::text(&self.headers);
        let keyed = self.keyed.insert(Keyed {
            fingerprint: body::fingerprint(self.codec, &self.body, &[], &condition)
                .of_owner(caller.bound_to.as_ref()),
            key,
            caller: caller.clone(),
        });
        if let Some(stored) = look_up(api, keyed, self.row.has_secret).await? {
            return Ok(Some(stored));
        }
        // Versions before migration 0016 stored the path as it was written.
        let spelled = self.uri.path().trim_end_matches('/');
        if spelled == keyed.key.path {
            return Ok(None);
        }
        let mut keyed = keyed.clone();
        spelled.clone_into(&mut keyed.key.path);
        look_up(api, &keyed, self.row.has_secret).await
    }

    /// The idempotency key and the fingerprint. `None` if the caller sent no key.
    pub(super) fn once(&self) -> Option<(IdempotencyKey, Fingerprint)> {
        let keyed = self.keyed.as_ref()?;
        Some((keyed.key.clone(), keyed.fingerprint))
    }

    /// Decodes the members of the body.
    pub(super) fn members<M: DeserializeOwned>(&self) -> Result<M, Failure> {
        let cannot_honour = ignored_members::cannot_honour(self.row.name);
        let read_only =
            LazyCell::new(|| ignored_members::read_only(self.row.method, self.row.answer));
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

    /// The idempotency key, the fingerprint, and the function that encodes the answer for storage.
    /// `None` if the caller sent no key.
    pub(super) fn idempotency<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> Done<D> + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let keyed = self.keyed.as_ref()?;
        Some(IdempotentRequest {
            key: keyed.key.clone(),
            fingerprint: keyed.fingerprint,
            other_key: keyed.other_key(self.row, &self.id, false),
            encode: self.encoder(document),
            seal: None,
        })
    }

    /// The same as [`Call::idempotency`] for an answer with a secret, which is encrypted.
    pub(super) fn secret_idempotency<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> Done<D> + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let keyed = self.keyed.as_ref()?;
        let seal = keyed.seal();
        Some(IdempotentRequest {
            key: seal.key().clone(),
            fingerprint: keyed.fingerprint,
            other_key: keyed.other_key(self.row, &self.id, true),
            encode: self.encoder(document),
            seal: Some(seal),
        })
    }

    /// The same as [`Call::idempotency`] for one of several operations in a request. `number` is
    /// its position.
    pub(super) fn idempotency_of_part<T>(
        &self,
        number: usize,
        encode: impl Fn(&Result<T, Error>) -> StoredAnswer + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<T>> {
        let (key, fingerprint) = self.key_of_part(number)?;
        Some(IdempotentRequest {
            key,
            fingerprint,
            other_key: None,
            encode: Arc::new(encode),
            seal: None,
        })
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

    fn key_of_part(&self, number: usize) -> Option<(IdempotencyKey, Fingerprint)> {
        let (key, fingerprint) = self.once()?;
        let path = format!("{}/{number}", key.path);
        Some((IdempotencyKey { path, ..key }, fingerprint))
    }

    fn encoder<T, D: Serialize>(
        &self,
        document: impl Fn(&T) -> Done<D> + Send + Sync + 'static,
    ) -> Encoder<T> {
        let (format, request_id) = (self.format, self.request_id.clone());
        let failure_format = self.failure_format;
        let success = self.row.success;
        let has_body = success != StatusCode::NO_CONTENT.as_u16();
        Arc::new(move |outcome| match outcome {
            Ok(done) => {
                let Done { document, headers } = document(done);
                let body = has_body.then(|| encode(format, &document));
                let content_type = has_body.then(|| format.content_type().to_owned());
                StoredAnswer {
                    status: success,
                    content_type: content_type.unwrap_or_default(),
                    body: body.unwrap_or_default(),
                    headers,
                }
            }
            // Deleting a deleted account is answered like the first deletion, so the same answer
            // is stored.
            Err(Error::AccountDeleted) if !has_body => StoredAnswer {
                status: success,
                content_type: String::new(),
                body: Vec::new(),
                headers: Done::new((), false).headers,
            },
            Err(error) => {
                let failure = Failure::from(error.clone());
                stored_failure(&failure, failure_format, &request_id)
            }
        })
    }
}

async fn look_up(
    api: &Api,
    keyed: &Keyed,
    has_secret: bool,
) -> Result<Option<StoredAnswer>, Failure> {
    let (key, fingerprint) = (keyed.key.clone(), keyed.fingerprint);
    Ok(if has_secret {
        let seal = keyed.seal();
        let stored = api.service.stored_secret_answer(key, &seal, fingerprint);
        stored.await?
    } else {
        api.service.stored_answer(key, fingerprint).await?
    })
}

/// The bearer token of the `Authorization` header.
pub(super) fn credential(headers: &HeaderMap) -> Result<SecretString, Failure> {
    let written = header_text(headers, header::AUTHORIZATION).ok_or(Error::CredentialMissing)?;
    bearer(written)
        .map(SecretString::from)
        .ok_or(Failure::TokenNotRead(NO_BEARER))
}

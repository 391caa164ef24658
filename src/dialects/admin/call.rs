//! A request on its way through a handler, and the formats of its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use chrono_tz::Tz;
use serde::de::DeserializeOwned;

use super::Api;
use super::codes;
use super::envelope::Reply;
use super::requests::COMMON;
use crate::dialects::body::{self, RequestBody};
use crate::dialects::exchange::{accept, header_text};
use crate::dialects::failure::Failure;
use crate::dialects::patches::Reading;
use crate::domain::{AccountId, Command, Error};
use crate::service::{
    AccountRef, CommandOutcome, Completion, Context, Fingerprint, IdempotencyKey,
    IdempotentRequest, ResultHeaders, Seal, StoredAnswer,
};
use crate::wire::{self, Codec, Verbatim};

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

/// A request whose body has been read and whose caller is known.
pub(super) struct Call {
    pub(super) codec: Codec,
    pub(super) format: Codec,
    pub(super) verbose: bool,
    /// The paths of the members that are ignored.
    pub(super) ignored: Vec<String>,
    /// `None` if the caller sent no idempotency key, or if the call does not take one.
    pub(super) key: Option<IdempotencyKey>,
    /// What the call asks for; all zeros without a key.
    pub(super) fingerprint: Fingerprint,
    /// What encrypts an answer with a secret. `None` without an idempotency key, or if no answer of
    /// the call contains a secret.
    pub(super) seal: Option<Seal>,
    pub(super) base: String,
    pub(super) body: RequestBody,
}

/// The input of a handler: the decoded members of the body, and the rest of the call.
pub(super) struct Request<M> {
    pub(super) members: M,
    pub(super) call: Call,
}

impl Answer {
    /// The answer with the paths of the members that were ignored. A stored answer has them already.
    pub(super) fn ignoring(self, paths: &[String]) -> Self {
        match self {
            Self::Reply(reply) => Self::Reply(reply.ignoring(paths)),
            Self::Stored(stored) => Self::Stored(stored),
        }
    }
}

impl Call {
    /// Decodes the members.
    pub(super) fn with_members<M: DeserializeOwned>(self) -> Result<Request<M>, Failure> {
        let members = wire::decode::<M>(self.codec, &self.body)?;
        Ok(Request {
            members,
            call: self,
        })
    }

    /// The paths of the members that are ignored, if the answer's body names them too.
    pub(super) fn named_in_body(&self) -> Vec<String> {
        if self.verbose {
            self.ignored.clone()
        } else {
            Vec::new()
        }
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

    /// The format of the answer.
    pub(super) fn format(&self) -> Codec {
        self.format
    }

    /// All members of the body, including those that the request type does not know.
    pub(super) fn all_members(&self) -> Result<BTreeMap<String, Verbatim>, Failure> {
        Ok(wire::members(self.codec, &self.body)?)
    }

    /// The service's base URL as this caller sees it.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Looks up the stored answer to an earlier request with the same idempotency key.
    pub(super) async fn look_up_answer(&self, api: &Api) -> Result<Option<StoredAnswer>, Failure> {
        let Some(key) = self.key.clone() else {
            return Ok(None);
        };
        let fingerprint = self.fingerprint;
        Ok(match &self.seal {
            Some(seal) => {
                api.service
                    .stored_secret_answer(key, seal, fingerprint)
                    .await?
            }
            None => api.service.stored_answer(key, fingerprint).await?,
        })
    }

    /// The idempotency key, the body's fingerprint, and the function that encodes the answer for
    /// storage. `None` if the caller sent no key.
    pub(super) fn idempotency(
        &self,
        reply: impl Fn(&CommandOutcome, bool) -> Reply + Send + Sync + 'static,
    ) -> Option<IdempotentRequest> {
        let key = self.key.clone()?;
        let (format, verbose, ignored) = (self.format, self.verbose, self.named_in_body());
        let encode = move |outcome: &Result<CommandOutcome, Error>| match outcome {
            Ok(done) => stored(200, reply(done, verbose).ignoring(&ignored), format),
            Err(error) => stored_failure(&error.clone().into(), format),
        };
        Some(IdempotentRequest {
            key,
            fingerprint: self.fingerprint,
            other_key: None,
            encode: Arc::new(encode),
            seal: None,
        })
    }

    /// The same as [`Call::idempotency`] for an answer with a secret, which is encrypted.
    pub(super) fn secret_idempotency(
        &self,
        reply: impl Fn(&CommandOutcome, bool) -> Reply + Send + Sync + 'static,
    ) -> Option<IdempotentRequest> {
        let seal = self.seal.clone()?;
        Some(IdempotentRequest {
            key: seal.key().clone(),
            seal: Some(seal),
            ..self.idempotency(reply)?
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

/// The paths of the members of a body that `M` has no field for and for which `is_ignored` is true.
/// None if the body cannot be decoded.
pub(super) fn ignored_members<M: DeserializeOwned>(
    codec: Codec,
    body: &[u8],
    is_ignored: fn(&str) -> bool,
) -> Vec<String> {
    let Ok((_, unknown)) = wire::decode_listing_unknown::<M>(codec, body) else {
        return Vec::new();
    };
    let paths = unknown.into_iter().map(|member| member.path);
    paths
        .filter(|path| !COMMON.contains(&path.as_str()) && is_ignored(path))
        .collect()
}

/// The format of the answer, unless the body names another. The first of these that exists: the
/// query's `format`, an `Accept` header that names exactly one format, the body's own format, JSON.
pub(in crate::dialects) fn preferred_format(headers: &HeaderMap, uri: &Uri) -> Codec {
    let queried = query_value(uri, "format").and_then(|word| Codec::parse(&word));
    let accepted = || accept(headers).and_then(|ranges| wire::accepted(&ranges));
    let own = || wire::codec_of(header_text(headers, header::CONTENT_TYPE)).ok();
    queried
        .or_else(accepted)
        .or_else(own)
        .unwrap_or(Codec::Json)
}

/// A failure as it is stored for a repeat of the call.
pub(super) fn stored_failure(failure: &Failure, format: Codec) -> StoredAnswer {
    let code = codes::code(failure);
    stored(code.error, Reply::failure(&code), format)
}

fn stored(status: u16, reply: Reply, format: Codec) -> StoredAnswer {
    StoredAnswer {
        status,
        content_type: format.content_type().to_owned(),
        body: reply.encode(format),
        headers: ResultHeaders::default(),
    }
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

/// The first value of a query parameter.
pub(super) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

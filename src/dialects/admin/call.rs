//! A call as it arrives, and the answer as it leaves: what all calls of this dialect have in common.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Api;
use super::codes::Failure;
use super::replies::Reply;
use super::requests::Common;
use crate::dialects::patches::Reading;
use crate::dialects::{Allowance, Ending, RequestId, body, host};
use crate::domain::{Dialect, Error, Scope};
use crate::hash::sha256;
use crate::service::{
    CommandOutcome, Completion, Context, IdempotencyKey, IdempotentRequest, StoredAnswer,
};
use crate::wire::{self, Codec};

/// One call, read as far as every call can be.
pub(super) struct Call {
    codec: Codec,
    format: Codec,
    verbose: bool,
    credential: Result<SecretString, Failure>,
    key: Result<Option<String>, Failure>,
    path: String,
    body: Vec<u8>,
    request_id: RequestId,
    allowance: Allowance,
    host: String,
}

impl FromRequest<Api> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Response> {
        let (parts, stream) = request.into_parts();
        let preferred = preference(&parts.headers, &parts.uri);
        let refuse = |failure: Failure, codec: Codec| {
            answer_failure(&failure, codec, api.settings.always_200)
        };

        let codec = wire::codec_of(text(&parts.headers, header::CONTENT_TYPE))
            .map_err(|error| refuse(error.into(), preferred.unwrap_or(Codec::Json)))?;
        let body = body::read(stream, api.settings.max_body)
            .await
            .map_err(|error| refuse(error.into(), preferred.unwrap_or(codec)))?;
        // A body that cannot be read is answered in its own format.
        let common: Common =
            wire::decode(codec, &body).map_err(|error| refuse(error.into(), codec))?;
        let asked = match common
            .format
            .as_deref()
            .filter(|word| codec == Codec::Json || !word.is_empty())
        {
            None => None,
            Some(word) => {
                let unknown = || wire::Error::Malformed {
                    field: "format".to_owned(),
                    problem: "must be json or xml".to_owned(),
                };
                Some(
                    Codec::parse(word)
                        .ok_or_else(|| refuse(unknown().into(), preferred.unwrap_or(codec)))?,
                )
            }
        };
        let in_query = api
            .settings
            .token_in_query
            .then(|| query_value(&parts.uri, "token"))
            .flatten();
        Ok(Self {
            codec,
            format: asked.or(preferred).unwrap_or(codec),
            verbose: common.verbose,
            credential: credential(common.token, &parts.headers, in_query),
            key: body::idempotency_key(&parts.headers).map_err(|problem| Failure::Header {
                name: "Idempotency-Key",
                problem,
            }),
            path: parts.uri.path().trim_end_matches('/').to_owned(),
            body,
            request_id: parts
                .extensions
                .get::<RequestId>()
                .cloned()
                .unwrap_or_default(),
            allowance: parts
                .extensions
                .get::<Allowance>()
                .cloned()
                .unwrap_or_default(),
            host: host(&parts.headers).to_owned(),
        })
    }
}

impl Call {
    /// Checks the token and its right, then reads the call's own members: in this order, so that nobody without a
    /// token learns anything else.
    pub(super) async fn open<T: DeserializeOwned>(
        &self,
        api: &Api,
        scope: Scope,
    ) -> Result<(Context, T), Failure> {
        let credential = self.credential.as_ref().map_err(Clone::clone)?;
        let principal = self
            .allowance
            .authenticate(&api.service, credential)
            .await?;
        principal.require(scope)?;
        let context = Context {
            principal,
            dialect: Dialect::Admin,
            request_id: self.request_id.to_string(),
        };
        Ok((context, wire::decode(self.codec, &self.body)?))
    }

    /// How the request's own members are to be read.
    pub(super) fn reading(&self, context: &Context) -> Reading {
        Reading {
            codec: self.codec,
            zone: context.principal.timezone,
        }
    }

    /// How the answer is written.
    pub(super) fn format(&self) -> Codec {
        self.format
    }

    /// All members of the body.
    pub(super) fn members(&self) -> Result<Map<String, Value>, Failure> {
        Ok(match self.codec {
            Codec::Json => wire::json_members(&self.body)?,
            Codec::Xml => wire::xml_members(&self.body)?,
        })
    }

    /// The service's address as this caller sees it.
    pub(super) fn base(&self, api: &Api) -> String {
        let seen = || format!("http://{}", self.host);
        api.settings.public_url.clone().unwrap_or_else(seen)
    }

    /// What lets the service recognise a repeat: none where the caller sent no key.
    pub(super) fn once(
        &self,
        api: &Api,
        context: &Context,
        reply: impl Fn(&CommandOutcome, bool) -> Reply + Send + Sync + 'static,
    ) -> Result<Option<IdempotentRequest>, Failure> {
        let Some(key) = self.key.clone()? else {
            return Ok(None);
        };
        let key = IdempotencyKey {
            reseller: context.principal.storage_reseller(),
            method: "POST".to_owned(),
            path: self.path.clone(),
            key,
        };
        let (format, verbose, always_200) = (self.format, self.verbose, api.settings.always_200);
        let encode = move |outcome: &Result<CommandOutcome, Error>| {
            let (status, body) = match outcome {
                Ok(done) => (200, reply(done, verbose).encode(format)),
                Err(error) => {
                    let code = Failure::from(error.clone()).code();
                    let status = if always_200 && code.error < 500 {
                        200
                    } else {
                        code.error
                    };
                    (status, Reply::failure(&code).encode(format))
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

    /// The answer to a change.
    pub(super) fn answer_change(
        &self,
        api: &Api,
        outcome: Result<Completion, Failure>,
        reply: impl Fn(&CommandOutcome, bool) -> Reply,
    ) -> Response {
        match outcome {
            Ok(Completion::Fresh(done)) => respond(
                StatusCode::OK,
                self.format,
                reply(&done, self.verbose).encode(self.format),
            ),
            Ok(Completion::Replayed(stored)) => body::replay(stored),
            Err(failure) => answer_failure(&failure, self.format, api.settings.always_200),
        }
    }

    /// The answer to a question.
    pub(super) fn answer(&self, api: &Api, outcome: Result<Reply, Failure>) -> Response {
        match outcome {
            Ok(reply) => respond(StatusCode::OK, self.format, reply.encode(self.format)),
            Err(failure) => answer_failure(&failure, self.format, api.settings.always_200),
        }
    }
}

/// The format that a caller prefers, as far as it can be known without the body: the query, then `Accept`.
pub(super) fn preference(headers: &HeaderMap, uri: &Uri) -> Option<Codec> {
    let queried = query_value(uri, "format").and_then(|word| Codec::parse(&word));
    queried.or_else(|| text(headers, header::ACCEPT).and_then(wire::accepted))
}

/// An error in this dialect's envelope.
pub(super) fn answer_failure(failure: &Failure, codec: Codec, always_200: bool) -> Response {
    let code = failure.code();
    let status = if always_200 {
        StatusCode::OK
    } else {
        StatusCode::from_u16(code.error).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let mut response = respond(status, codec, Reply::failure(&code).encode(codec));
    response
        .extensions_mut()
        .insert(Ending::of_status(code.error));
    if let Some(seconds) = code.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code.error == 405 {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if code.error == 401 {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn respond(status: StatusCode, codec: Codec, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(codec.content_type()),
    );
    response
}

/// The token, from whichever place it stands in; in two places it must be the same one.
fn credential(
    in_body: Option<SecretString>,
    headers: &HeaderMap,
    in_query: Option<String>,
) -> Result<SecretString, Failure> {
    let in_header = text(headers, header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| SecretString::from(token.trim()))
    });
    let in_body = in_body.map(|token| SecretString::from(token.expose_secret().trim()));
    let mut found = in_body
        .into_iter()
        .chain(in_header)
        .chain(in_query.map(SecretString::from))
        .filter(|token| !token.expose_secret().is_empty());
    let first = found.next().ok_or(Error::CredentialMissing)?;
    if found.all(|other| other.expose_secret() == first.expose_secret()) {
        Ok(first)
    } else {
        Err(Failure::TokensDiffer)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

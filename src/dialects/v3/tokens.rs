//! Credentials: a reseller manages its own, an operator everybody's. No answer but the first ever has the secret.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, Type};

use super::Api;
use super::call::Call;
use super::codes::Failure;
use super::page::{Page, Several};
use crate::dialects::dates;
use crate::domain::{Error, ResellerId, Resource, Scope, Scopes, TokenId};
use crate::service::{Credential, IssuedToken, TokenKind, TokenRequest};

/// A credential.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub(super) struct TokenDocument {
    id: i64,
    /// Whose it is; null: an operator's.
    reseller_id: Option<i64>,
    /// `key`, or `jwt` for a JSON Web Token.
    kind: &'static str,
    name: Option<String>,
    scopes: Vec<&'static str>,
    #[schema(format = DateTime)]
    created_at: String,
    /// From when on it is no longer valid.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// When it was last used, give or take two minutes.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// The secret: in the answer that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    token: Option<String>,
}

fn document(credential: &Credential) -> TokenDocument {
    TokenDocument {
        id: credential.id.0,
        reseller_id: credential.owner().map(|reseller| reseller.0),
        kind: credential.kind.as_str(),
        name: credential.name.clone(),
        scopes: credential.scopes.iter().map(Scope::as_str).collect(),
        created_at: dates::write(credential.created_at),
        expires_at: credential.expires_at.map(dates::write),
        revoked_at: credential.revoked_at.map(dates::write),
        last_used_at: credential.last_used_at.map(dates::write),
        token: None,
    }
}

/// What is kept for a repeat: without the secret, which is kept nowhere.
fn without_secret(issued: &IssuedToken) -> TokenDocument {
    document(&issued.credential)
}

fn with_secret(issued: &IssuedToken) -> TokenDocument {
    TokenDocument {
        token: Some(issued.token.expose_secret().to_owned()),
        ..document(&issued.credential)
    }
}

/// A credential to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewToken {
    /// Whose; with an operator's token only. If absent, the caller's own.
    reseller_id: Option<i64>,
    /// `key` if absent, or `jwt`.
    #[schema(pattern = "^(key|jwt)$")]
    kind: Option<String>,
    /// A name for people.
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    /// Its rights, none that the caller lacks; all that the caller and the owner may have if absent.
    #[schema(schema_with = scope_words)]
    scopes: Option<Vec<String>>,
    /// Seconds from now on until it is no longer valid; until revoked if absent, a JSON Web Token for 90 days.
    #[schema(minimum = 1)]
    expires_in: Option<u64>,
}

fn scope_words() -> Array {
    let words = Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(Scope::ALL.map(Scope::as_str)));
    ArrayBuilder::new()
        .items(words)
        .description(Some("Its rights, none that the caller lacks; all that the caller and the owner may have if absent."))
        .build()
}

impl NewToken {
    fn request(self) -> Result<TokenRequest, Error> {
        let kind = match self.kind.as_deref() {
            None | Some("key") => TokenKind::Key,
            Some("jwt") => TokenKind::Jwt,
            Some(_) => return Err(Error::invalid("kind", "must be key or jwt")),
        };
        let unknown = |word: &str| Error::invalid("scopes", format!("{word:?} is no scope"));
        let read = |words: Vec<String>| {
            words
                .iter()
                .map(|word| Scope::parse(word).ok_or_else(|| unknown(word)))
                .collect::<Result<Scopes, _>>()
        };
        Ok(TokenRequest {
            reseller: self.reseller_id.map(ResellerId),
            kind,
            scopes: self.scopes.map(read).transpose()?,
            name: self.name,
            expires_in: self.expires_in.map(Duration::from_secs),
        })
    }
}

/// How a credential is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateToken {
    /// Seconds for which the old one stays valid beside the new one.
    #[schema(maximum = 3_155_760_000_u64)]
    grace_seconds: u64,
}

fn id(call: &Call) -> Result<TokenId, Failure> {
    let id = call.id().parse().ok().filter(|id| *id > 0);
    Ok(id.map(TokenId).ok_or(Error::NotFound(Resource::Token))?)
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::TokenWrite).await?;
        let page = Page::read(&call.uri, &[])?;
        let found = api
            .service
            .tokens(&context.principal, page.after, page.limit)
            .await?;
        let next = page.next(found.last().map(|last| last.id.0), found.len(), &call.uri);
        Ok((
            Several::of(found.iter().map(document).collect(), call.format()),
            next,
        ))
    };
    call.answer_page(outcome.await)
}

pub(super) async fn get(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::TokenWrite).await?;
        Ok(document(
            &api.service.token(&context.principal, id(&call)?).await?,
        ))
    };
    call.answer(outcome.await)
}

pub(super) async fn create(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::TokenWrite).await?;
        let request = call.members::<NewToken>()?.request()?;
        let once = call.once_for(&context, StatusCode::CREATED, without_secret)?;
        Ok(api
            .service
            .create_token(&context.principal, request, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::CREATED, with_secret)
}

pub(super) async fn rotate(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::TokenWrite).await?;
        let grace = Duration::from_secs(call.members::<RotateToken>()?.grace_seconds);
        let once = call.once_for(&context, StatusCode::CREATED, without_secret)?;
        Ok(api
            .service
            .rotate_token(&context.principal, id(&call)?, grace, once)
            .await?)
    };
    call.answer_done(outcome.await, StatusCode::CREATED, with_secret)
}

/// Revoking what is revoked changes nothing.
pub(super) async fn delete(State(api): State<Api>, call: Call) -> Response {
    let outcome = async {
        let context = call.enter(&api, Scope::TokenWrite).await?;
        Ok(api
            .service
            .revoke_token(&context.principal, id(&call)?)
            .await?)
    };
    match outcome.await {
        Ok(_) => super::call::respond(StatusCode::NO_CONTENT, None, Vec::new()),
        Err(failure) => call.refuse(&failure),
    }
}

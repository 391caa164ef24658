//! Credentials. A reseller manages its own, an operator all. Only the answer that creates a
//! credential contains its secret.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, Type};

use super::Api;
use super::call::Request;
use super::respond::{Done, Many, Nothing, One, Reply};
use super::whole_list::{Listing, MOST};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::domain::{Error, Owner, ResellerId, Scope, Scopes, Time, TokenId};
use crate::service::{Context, Credential, IssuedToken, TokenKind, TokenRequest, Written};
use crate::wire::Field;

/// A credential: an API key or a JSON Web Token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub(super) struct TokenDocument {
    id: i64,
    /// The reseller that owns it. Null for an operator's credential.
    reseller_id: Option<i64>,
    /// `key`, or `jwt` for a JSON Web Token.
    kind: &'static str,
    name: Option<String>,
    scopes: Vec<&'static str>,
    /// The owner whose holds it places and lifts. Null if it is bound to none.
    owner: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was revoked, or else created.
    #[schema(format = DateTime)]
    updated_at: String,
    /// When it stops being valid. Null if it never does.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// When it was revoked. Null if it was not.
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// When it was last used, accurate to two minutes. Null if never.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// The secret. Only in the answer that creates the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    token: Option<String>,
}

fn document(credential: &Credential) -> TokenDocument {
    TokenDocument {
        id: credential.id.0,
        reseller_id: credential.owner().map(|reseller| reseller.0),
        kind: credential.kind.as_str(),
        name: credential.name.clone(),
        scopes: credential.scopes.iter().map(Scope::as_str).collect(),
        owner: credential.bound_to.as_ref().map(Owner::to_string),
        created_at: dates::write(credential.created_at),
        updated_at: dates::write(updated_at(credential)),
        expires_at: credential.expires_at.map(dates::write),
        revoked_at: credential.revoked_at.map(dates::write),
        last_used_at: credential.last_used_at.map(dates::write),
        token: None,
    }
}

fn with_secret(issued: &IssuedToken) -> TokenDocument {
    TokenDocument {
        token: Some(issued.token.expose_secret().to_owned()),
        ..document(&issued.credential)
    }
}

fn issued(token: &IssuedToken) -> Done<TokenDocument> {
    Done::new(with_secret(token), true).at_path(format!("/v3/tokens/{}", token.credential.id))
}

/// A credential to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewToken {
    /// The reseller that will own it. Only with an operator's token. If absent, the caller's own.
    reseller_id: Option<i64>,
    /// `key` or `jwt`. If absent, `key`.
    #[schema(pattern = "^(key|jwt)$")]
    kind: Option<String>,
    /// A name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// The owner whose holds it places and lifts, such as `billing`, whatever its calls name. If
    /// absent, that of the caller's token, if that is bound.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
    /// Its scopes, all of which the caller must have. If absent, all scopes that both the caller
    /// and the owner may have.
    #[serde(default)]
    #[schema(schema_with = scope_words)]
    scopes: Field<Vec<String>>,
    /// Seconds until it stops being valid. If absent, a key is valid until it is revoked, and a
    /// JSON Web Token for 90 days.
    #[schema(minimum = 1, maximum = 3_155_760_000_u64)]
    expires_in: Option<u64>,
}

pub(super) fn scope_words() -> Array {
    scope_words_and(&[])
}

/// The scopes, and other words for some of them.
pub(super) fn scope_words_and(others: &[&'static str]) -> Array {
    let words = Scope::ALL.map(Scope::as_str);
    let words: Vec<&str> = words.iter().chain(others).copied().collect();
    let words = Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(words));
    ArrayBuilder::new()
        .items(words)
        .description(Some(
            "Its scopes, all of which the caller must have. If absent, all scopes that both the \
             caller and the owner may have.",
        ))
        .build()
}

impl NewToken {
    fn request(self) -> Result<TokenRequest, Error> {
        let kind = match self.kind.as_deref() {
            None | Some("key") => TokenKind::Key,
            Some("jwt") => TokenKind::Jwt,
            Some(word) => return Err(Error::must_be("kind", "key or jwt", word)),
        };
        Ok(TokenRequest {
            reseller: self.reseller_id.map(ResellerId),
            kind,
            scopes: read_scopes(self.scopes)?,
            name: self.name.value(),
            bound_to: self
                .owner
                .value()
                .map(|name| Owner::parse("owner", &name))
                .transpose()?,
            expires_in: self.expires_in.map(Duration::from_secs),
            expires_at: None,
        })
    }
}

/// The scopes that a request names. `None` means all that the caller and the owner may have.
pub(super) fn read_scopes(scopes: Field<Vec<String>>) -> Result<Option<Scopes>, Error> {
    read_scopes_by(scopes, Scope::parse)
}

/// The same, with other words for scopes.
pub(super) fn read_scopes_by(
    scopes: Field<Vec<String>>,
    parse: fn(&str) -> Option<Scope>,
) -> Result<Option<Scopes>, Error> {
    let unknown = |word: &str| {
        let scopes = Scope::ALL.map(Scope::as_str).join(", ");
        let problem = format!("{word:?} is not a scope; the scopes are {scopes}");
        Error::invalid("scopes", problem)
    };
    match scopes {
        Field::Absent => Ok(None),
        // A list that is missing by mistake must not mean all scopes.
        Field::Null => {
            let problem = "must be a list; leave it out for all scopes";
            Err(Error::invalid("scopes", problem))
        }
        Field::Value(words) => {
            let scopes = words
                .iter()
                .map(|word| parse(word).ok_or_else(|| unknown(word)));
            scopes.collect::<Result<Scopes, _>>().map(Some)
        }
    }
}

/// Replaces a credential by a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotateToken {
    /// Seconds for which the old credential stays valid beside the new one.
    #[schema(maximum = 3_155_760_000_u64)]
    grace_seconds: u64,
}

/// How tokens are sorted and searched.
pub(super) const LISTING: Listing<Credential> = Listing {
    fields: &[
        ("id", |a, b| a.id.0.cmp(&b.id.0)),
        ("name", |a, b| a.name.cmp(&b.name)),
        ("createdAt", |a, b| a.created_at.cmp(&b.created_at)),
        ("updatedAt", |a, b| updated_at(a).cmp(&updated_at(b))),
        ("expiresAt", |a, b| a.expires_at.cmp(&b.expires_at)),
    ],
    texts: |token| vec![token.name.as_deref()],
};

/// When a credential last changed: when it was created or revoked.
pub(super) fn updated_at(credential: &Credential) -> Time {
    credential.revoked_at.unwrap_or(credential.created_at)
}

type TokenReply = Result<Reply<One<TokenDocument>>, Failure>;

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<TokenDocument>>, Failure> {
    let query = &call.query;
    let limit = if query.is_by_cursor {
        query.limit
    } else {
        MOST + 1
    };
    let tokens = api
        .service
        .tokens(&context.principal, query.after, limit)
        .await?;
    let next = |last: &Credential| query.after(last.id.0, &call.uri);
    if !query.is_by_cursor {
        return LISTING.reply(&call, tokens, document, next);
    }
    Ok(Reply::page(
        call.format(),
        query.rows(tokens),
        document,
        next,
    ))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id, .. }: Request<TokenId>,
) -> TokenReply {
    Ok(Reply::one(document(
        &api.service.token(&context.principal, id).await?,
    )))
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), NewToken>,
) -> TokenReply {
    let idempotency = call.secret_idempotency(issued);
    let request = members.request()?;
    let completion = api
        .service
        .create_token(&context.principal, request, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, issued))
}

pub(super) async fn rotate(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<TokenId, RotateToken>,
) -> TokenReply {
    let grace = Duration::from_secs(members.grace_seconds);
    let idempotency = call.secret_idempotency(issued);
    let completion = api
        .service
        .rotate_token(&context.principal, id, grace, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, issued))
}

/// Revokes a credential. Revoking a revoked one changes nothing.
pub(super) async fn delete(
    api: &Api,
    context: &Context,
    Request { id, call, .. }: Request<TokenId>,
) -> Result<Reply<Nothing>, Failure> {
    let revoked = |written: &Written<Credential>| Done::new((), written.is_changed);
    let idempotency = call.idempotency(revoked);
    let completion = api
        .service
        .revoke_token(&context.principal, id, idempotency)
        .await?;
    Ok(Reply::<Nothing>::completed(completion, revoked))
}

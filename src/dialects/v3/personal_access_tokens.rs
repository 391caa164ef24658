//! Tokens as Cryptlex's personal access tokens: the same credentials as in `tokens.rs`.

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Array;

use super::Api;
use super::call::Request;
use super::respond::{Done, Many, One, Reply};
use super::tokens::{LISTING, read_scopes_by, scope_words_and, updated_at};
use super::whole_list::MOST;
use crate::dialects::dates::{self, Role};
use crate::dialects::failure::Failure;
use crate::dialects::patches::{Reading, none_if_empty, time};
use crate::domain::{Error, Patch, Scope, TokenId};
use crate::service::{Context, Credential, IssuedToken, TokenRequest, Written};
use crate::wire::Field;

/// A token with the members of Cryptlex, then ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PersonalAccessToken)]
pub(super) struct PersonalAccessTokenDocument {
    /// Its number, as in `/v3/tokens`.
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was revoked, or else created.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Empty if it has none.
    name: String,
    /// When it stops being valid. Null if it never does.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    revoked: bool,
    scopes: Vec<&'static str>,
    /// The secret. Only in the answer that creates the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    access_token: Option<String>,
}

fn document(token: &Credential) -> PersonalAccessTokenDocument {
    PersonalAccessTokenDocument {
        id: token.id.to_string(),
        created_at: dates::write(token.created_at),
        updated_at: dates::write(updated_at(token)),
        name: token.name.clone().unwrap_or_default(),
        expires_at: token.expires_at.map(dates::write),
        revoked: token.revoked_at.is_some(),
        scopes: token.scopes.iter().map(Scope::as_str).collect(),
        access_token: None,
    }
}

fn issued(token: &IssuedToken) -> Done<PersonalAccessTokenDocument> {
    let document = PersonalAccessTokenDocument {
        access_token: Some(token.token.expose_secret().to_owned()),
        ..document(&token.credential)
    };
    let path = format!("/v3/personal-access-tokens/{}", token.credential.id);
    Done::new(document, true).at_path(path)
}

fn revoked(written: &Written<Credential>) -> Done<PersonalAccessTokenDocument> {
    Done::new(document(&written.value), written.is_changed)
}

/// A token to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewPersonalAccessToken {
    /// A name for people. Empty is none.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    name: Field<String>,
    /// False: a token is not created to be revoked at once.
    revoked: Option<bool>,
    /// A date (its last second) or a date and time, at most a hundred years from now. If absent or
    /// null, it is valid until it is revoked.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expires_at: Field<String>,
    /// Its scopes, all of which the caller must have. If absent, all scopes of the caller.
    #[serde(default)]
    #[schema(schema_with = own_and_cryptlex_scopes)]
    scopes: Field<Vec<String>>,
}

impl NewPersonalAccessToken {
    fn request(self, read: Reading) -> Result<TokenRequest, Error> {
        if self.revoked == Some(true) {
            let problem = "must be false: revoke the token once it exists";
            return Err(Error::invalid("revoked", problem));
        }
        let expires_at = match time("expires_at", Role::End, self.expires_at, read)? {
            Patch::Keep | Patch::Clear => None,
            Patch::Set(at) => Some(at),
        };
        Ok(TokenRequest {
            name: none_if_empty(self.name).value(),
            scopes: read_scopes_by(self.scopes, scope)?,
            expires_at,
            ..TokenRequest::default()
        })
    }
}

/// Cryptlex's scopes of calls that Steward has under another one.
const CRYPTLEX_SCOPES: [(&str, Scope); 2] = [
    ("eventLog:read", Scope::AccountRead),
    ("personalAccessToken:write", Scope::TokenWrite),
];

fn own_and_cryptlex_scopes() -> Array {
    scope_words_and(&CRYPTLEX_SCOPES.map(|(name, _)| name))
}

/// A scope by Steward's name or by Cryptlex's.
fn scope(word: &str) -> Option<Scope> {
    let of_cryptlex = CRYPTLEX_SCOPES.iter().find(|(name, _)| *name == word);
    Scope::parse(word).or_else(|| of_cryptlex.map(|(_, scope)| *scope))
}

/// Revokes a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevokeToken {
    /// True revokes the token immediately. False changes nothing, and is refused if the token is
    /// revoked.
    revoked: Option<bool>,
}

type TokenReply = Result<Reply<One<PersonalAccessTokenDocument>>, Failure>;

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<PersonalAccessTokenDocument>>, Failure> {
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
    let tokens = query.rows(tokens);
    Ok(Reply::page(call.format(), tokens, document, next))
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request { id, .. }: Request<TokenId>,
) -> TokenReply {
    let token = api.service.token(&context.principal, id).await?;
    Ok(Reply::one(document(&token)))
}

pub(super) async fn create(
    api: &Api,
    context: &Context,
    Request { members, call, .. }: Request<(), NewPersonalAccessToken>,
) -> TokenReply {
    let idempotency = call.secret_idempotency(issued);
    let read = call.reading(context.principal.timezone);
    let request = members.request(read)?;
    let completion = api
        .service
        .create_token(&context.principal, request, idempotency)
        .await?;
    Ok(Reply::<One<_>>::completed(completion, issued))
}

pub(super) async fn patch(
    api: &Api,
    context: &Context,
    Request { id, members, call }: Request<TokenId, RevokeToken>,
) -> TokenReply {
    if members.revoked == Some(true) {
        let idempotency = call.idempotency(revoked);
        let completion = api
            .service
            .revoke_token(&context.principal, id, idempotency)
            .await?;
        return Ok(Reply::<One<_>>::completed(completion, revoked));
    }
    let token = api.service.token(&context.principal, id).await?;
    if members.revoked == Some(false) && token.revoked_at.is_some() {
        let problem = "cannot be false again: create another token";
        return Err(Error::invalid("revoked", problem).into());
    }
    Ok(Reply::done(Done::new(document(&token), false)))
}

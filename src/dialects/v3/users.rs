//! Callers as Cryptlex's users. Steward has no users: a caller is a credential.

use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::respond::{One, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::domain::Scope;
use crate::service::{Context, JournalEntry};

/// A caller: the members of Cryptlex's user, then ours. A time that is not known is absent.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserDocument {
    /// The number of the token, or the subject of a JSON Web Token of another issuer. Empty if there
    /// is neither.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    updated_at: Option<String>,
    /// The name of the token, or else what the journal calls the caller.
    name: String,
    first_name: String,
    last_name: String,
    email: String,
    /// The name of the reseller. Empty for an operator.
    company: String,
    two_factor_enabled: bool,
    google_sso_enabled: bool,
    allow_customer_portal_access: bool,
    /// `operator`, `reseller` or `system`.
    role: String,
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    last_seen_at: Option<String>,
    /// Always empty.
    metadata: Vec<String>,
    /// Always empty.
    tags: Vec<String>,
    /// What the credential may do. Only in the answer of `me`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    scopes: Option<Vec<&'static str>>,
    /// The reseller's number. Only in the answer of `me`, and absent for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    reseller_id: Option<i64>,
    /// The owner whose holds the credential places and lifts. Absent if it is bound to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    owner: Option<String>,
    /// When the credential stops being valid. Absent if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

impl UserDocument {
    /// The actor of a journal entry.
    pub(super) fn actor(entry: &JournalEntry) -> Self {
        let name = entry.token_name.as_ref().unwrap_or(&entry.actor);
        Self {
            id: entry
                .token
                .map(|token| token.to_string())
                .unwrap_or_default(),
            name: name.clone(),
            role: entry.authority.clone(),
            roles: vec![entry.authority.clone()],
            ..Self::default()
        }
    }
}

/// Answers with the caller of the request.
pub(super) async fn me(
    api: &Api,
    context: &Context,
    Request { .. }: Request<()>,
) -> Result<Reply<One<UserDocument>>, Failure> {
    let principal = &context.principal;
    let token = match principal.token {
        Some(id) => Some(api.service.token(principal, id).await?),
        None => None,
    };
    let company = match principal.reseller {
        Some(reseller) => api.service.reseller(principal, reseller).await?.name,
        None => String::new(),
    };
    let actor = principal.actor();
    let id = principal.token.map(|token| token.to_string());
    let role = actor.authority.as_str().to_owned();
    let name = token.as_ref().and_then(|token| token.name.clone());
    let created_at = token.as_ref().map(|token| dates::write(token.created_at));
    let last_used_at = token.as_ref().and_then(|token| token.last_used_at);
    Ok(Reply::one(UserDocument {
        id: id.or_else(|| principal.subject.clone()).unwrap_or_default(),
        created_at: created_at.clone(),
        updated_at: created_at,
        name: name.unwrap_or(actor.name),
        company,
        role: role.clone(),
        roles: vec![role],
        last_seen_at: last_used_at.map(dates::write),
        scopes: Some(principal.scopes().iter().map(Scope::as_str).collect()),
        reseller_id: principal.reseller.map(|reseller| reseller.0),
        owner: principal.bound_to.as_ref().map(ToString::to_string),
        expires_at: principal.expires_at.map(dates::write),
        ..UserDocument::default()
    }))
}

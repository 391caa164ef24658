//! Credentials: their hashes and rights.

use super::errors::{domain_error, internal};
use super::resellers::Preferences;
use super::tx::Tx;
use crate::domain::{Error, ResellerId, Scope, Scopes, Time, TokenId};

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its identity.
    pub id: TokenId,
    /// Whose it is; [`ResellerId::PLATFORM`] for an operator's.
    pub reseller: ResellerId,
    /// A name for people.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Time,
    /// From when on it is no longer valid; none: it does not expire.
    pub expires_at: Option<Time>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Time>,
}

impl Credential {
    /// Whether it opens anything now.
    #[must_use]
    pub fn is_valid(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// A credential to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub reseller: ResellerId,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// A name for people.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Scopes,
    /// From when on it is no longer valid.
    pub expires_at: Option<Time>,
}

struct Row {
    reseller_id: i64,
    id: i64,
    name: Option<String>,
    scopes: Vec<String>,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
}

impl TryFrom<Row> for Credential {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let scopes = row.scopes.iter().map(|word| Scope::parse(word).ok_or_else(|| internal("api_token has an unknown scope")));
        Ok(Self {
            id: TokenId(row.id),
            reseller: ResellerId(row.reseller_id),
            name: row.name,
            scopes: scopes.collect::<Result<_, _>>()?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

impl Tx {
    /// Keeps a credential.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn insert_token(&mut self, token: NewToken, now: Time) -> Result<Credential, Error> {
        let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let id = sqlx::query_scalar!(
            "insert into api_token (reseller_id, hash, name, scopes, created_at, expires_at) values ($1, $2, $3, $4, $5, $6) returning id",
            token.reseller.0,
            token.hash.as_slice(),
            token.name,
            &scopes,
            now,
            token.expires_at
        )
        .fetch_one(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        let NewToken { reseller, name, scopes, expires_at, .. } = token;
        Ok(Credential { id: TokenId(id), reseller, name, scopes, created_at: now, expires_at, revoked_at: None })
    }

    /// The credential with this hash, valid or not, and what its reseller prefers.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_credential(&mut self, hash: [u8; 32]) -> Result<Option<(Credential, Preferences)>, Error> {
        let row = sqlx::query_as!(
            Row,
            "select reseller_id, id, name, scopes, created_at, expires_at, revoked_at from api_token where hash = $1",
            hash.as_slice()
        )
        .fetch_optional(self.connection())
        .await
        .map_err(|error| domain_error(&error))?;
        let Some(credential) = row.map(Credential::try_from).transpose()? else { return Ok(None) };
        self.admit(credential.reseller).await?;
        let preferences = sqlx::query_as!(Preferences, "select timezone, soap_numbers from reseller where id = $1", credential.reseller.0)
            .fetch_one(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        Ok(Some((credential, preferences)))
    }

    /// The credential with this identity.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fetch_token(&mut self, id: TokenId) -> Result<Option<Credential>, Error> {
        let row = sqlx::query_as!(Row, "select reseller_id, id, name, scopes, created_at, expires_at, revoked_at from api_token where id = $1", id.0)
            .fetch_optional(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        row.map(Credential::try_from).transpose()
    }

    /// Every credential of this transaction's tenancy, by identity.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list_tokens(&mut self) -> Result<Vec<Credential>, Error> {
        let rows = sqlx::query_as!(Row, "select reseller_id, id, name, scopes, created_at, expires_at, revoked_at from api_token order by id")
            .fetch_all(self.connection())
            .await
            .map_err(|error| domain_error(&error))?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// Revokes a credential; says whether it was valid until then.
    ///
    /// # Errors
    /// As every statement.
    pub async fn revoke_token(&mut self, id: TokenId, now: Time) -> Result<bool, Error> {
        sqlx::query!("update api_token set revoked_at = $2 where id = $1 and revoked_at is null", id.0, now)
            .execute(self.connection())
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(|error| domain_error(&error))
    }

    /// Lets a credential end at an instant, unless it ends earlier anyway.
    ///
    /// # Errors
    /// As every statement.
    pub async fn expire_token(&mut self, id: TokenId, at: Time) -> Result<(), Error> {
        sqlx::query!("update api_token set expires_at = least(expires_at, $2) where id = $1", id.0, at)
            .execute(self.connection())
            .await
            .map(drop)
            .map_err(|error| domain_error(&error))
    }
}

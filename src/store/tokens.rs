//! Credentials, stored as SHA-256 hashes of their secrets, and the platform's signing key.

use std::collections::{BTreeSet, HashMap};

use super::errors::{OrDomain as _, internal};
use super::resellers::Preferences;
use super::transaction::Tx;
use crate::domain::{Error, Owner, ResellerId, Scope, Scopes, Time, TokenId};

/// A credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: TokenId,
    /// The reseller it belongs to; [`ResellerId::PLATFORM`] for an operator's credential.
    pub reseller: ResellerId,
    /// A secret key or a JSON Web Token.
    pub kind: TokenKind,
    /// Its name, for people.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Scopes,
    /// The owner whose holds it places and lifts. `None`: it is bound to no owner.
    pub bound_to: Option<Owner>,
    /// When it was created.
    pub created_at: Time,
    /// When it expires; `None` means never.
    pub expires_at: Option<Time>,
    /// When it was revoked; `None` if it was not.
    pub revoked_at: Option<Time>,
    /// When it was last used, one to two minutes late; `None` if it was never used.
    pub last_used_at: Option<Time>,
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenKind {
    /// A secret key, which the database looks up by its hash.
    #[default]
    Key,
    /// A JSON Web Token that we signed. It is looked up by its hash as well, so it can be revoked.
    Jwt,
}

impl TokenKind {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Jwt => "jwt",
        }
    }
}

impl Credential {
    /// The reseller it belongs to; `None` if it is an operator's.
    #[must_use]
    pub fn owner(&self) -> Option<ResellerId> {
        Some(self.reseller).filter(|reseller| *reseller != ResellerId::PLATFORM)
    }

    /// Whether it is neither expired nor revoked.
    #[must_use]
    pub fn is_valid(&self, now: Time) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// A credential to insert.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id, from [`Tx::next_token_id`].
    pub id: TokenId,
    /// The reseller it belongs to; [`ResellerId::PLATFORM`] for an operator's credential.
    pub reseller: ResellerId,
    /// A secret key or a JSON Web Token.
    pub kind: TokenKind,
    /// The SHA-256 hash of the secret.
    pub hash: [u8; 32],
    /// Its name, for people.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Scopes,
    /// See [`Credential::bound_to`].
    pub bound_to: Option<Owner>,
    /// When it expires; `None` means never.
    pub expires_at: Option<Time>,
}

struct TokenRow {
    reseller_id: i64,
    id: i64,
    kind: String,
    name: Option<String>,
    scopes: Vec<String>,
    owner: Option<String>,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

impl TryFrom<TokenRow> for Credential {
    type Error = Error;

    fn try_from(row: TokenRow) -> Result<Self, Error> {
        let scopes = row.scopes.iter().map(|word| {
            Scope::parse(word).ok_or_else(|| internal("api_token has an unknown scope"))
        });
        Ok(Self {
            id: TokenId(row.id),
            reseller: ResellerId(row.reseller_id),
            kind: if row.kind == TokenKind::Jwt.as_str() {
                TokenKind::Jwt
            } else {
                TokenKind::Key
            },
            name: row.name,
            scopes: scopes.collect::<Result<_, _>>()?,
            bound_to: row.owner.map(Owner::stored),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

impl Tx {
    /// An id for a new credential.
    pub async fn next_token_id(&mut self) -> Result<TokenId, Error> {
        let id = sqlx::query_scalar!(r#"select nextval('api_token_id_seq') as "id!""#)
            .fetch_one(self.connection())
            .await
            .or_domain()?;
        Ok(TokenId(id))
    }

    /// Inserts a credential.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`].
    pub async fn insert_token(&mut self, token: NewToken, now: Time) -> Result<Credential, Error> {
        let scopes: Vec<_> = token
            .scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect();
        sqlx::query!(
            "insert into api_token (reseller_id, id, kind, hash, name, scopes, created_at,
               expires_at, owner) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            token.reseller.0,
            token.id.0,
            token.kind.as_str(),
            token.hash.as_slice(),
            token.name,
            &scopes,
            now,
            token.expires_at,
            token.bound_to.as_ref().map(Owner::as_str)
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        let NewToken {
            id,
            reseller,
            kind,
            name,
            scopes,
            bound_to,
            expires_at,
            ..
        } = token;
        Ok(Credential {
            id,
            reseller,
            kind,
            name,
            scopes,
            bound_to,
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        })
    }

    /// The credentials with these hashes, valid or not, and the preferences of their resellers, by
    /// hash.
    pub async fn fetch_credentials(
        &mut self,
        hashes: &[[u8; 32]],
    ) -> Result<HashMap<[u8; 32], (Credential, Preferences)>, Error> {
        let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
        let rows = sqlx::query!(
            "select hash, reseller_id, id, kind, name, scopes, owner, created_at, expires_at,
               revoked_at, last_used_at from api_token where hash = any($1)",
            &hashes
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let hash: [u8; 32] = row
                .hash
                .try_into()
                .map_err(|_| internal("api_token has an unusable hash"))?;
            let row = TokenRow {
                reseller_id: row.reseller_id,
                id: row.id,
                kind: row.kind,
                name: row.name,
                scopes: row.scopes,
                owner: row.owner,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                last_used_at: row.last_used_at,
            };
            found.push((hash, Credential::try_from(row)?));
        }
        let resellers: BTreeSet<ResellerId> = found
            .iter()
            .map(|(_, credential)| credential.reseller)
            .collect();
        if resellers.is_empty() {
            return Ok(HashMap::new());
        }
        self.admit(resellers.clone()).await?;
        let preferences = self.fetch_preferences(&resellers).await?;
        let with_preferences = |(hash, credential): ([u8; 32], Credential)| {
            let preferences = preferences
                .get(&credential.reseller)
                .ok_or_else(|| internal("api_token has a row without a reseller"))?;
            Ok((hash, (credential, preferences.clone())))
        };
        found.into_iter().map(with_preferences).collect()
    }

    /// The credential with this id. Without a reseller it looks at all resellers of the
    /// transaction.
    pub async fn fetch_token(
        &mut self,
        reseller: Option<ResellerId>,
        id: TokenId,
    ) -> Result<Option<Credential>, Error> {
        let row = sqlx::query_as!(
            TokenRow,
            "select reseller_id, id, kind, name, scopes, owner, created_at, expires_at, revoked_at,
               last_used_at from api_token
             where ($1::bigint is null or reseller_id = $1) and id = $2",
            reseller.map(|it| it.0),
            id.0
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        row.map(Credential::try_from).transpose()
    }

    /// Credentials by id after `after`. Without a reseller it lists those of all resellers of the
    /// transaction.
    pub async fn list_tokens(
        &mut self,
        reseller: Option<ResellerId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Credential>, Error> {
        let rows = sqlx::query_as!(
            TokenRow,
            "select reseller_id, id, kind, name, scopes, owner, created_at, expires_at, revoked_at,
               last_used_at from api_token
             where ($1::bigint is null or reseller_id = $1) and id > $2 order by id limit $3",
            reseller.map(|it| it.0),
            after,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// Writes when credentials were last used. An earlier time than the stored one is ignored.
    pub async fn record_token_use(
        &mut self,
        used: &[(ResellerId, TokenId, Time)],
    ) -> Result<(), Error> {
        let resellers: Vec<i64> = used.iter().map(|(reseller, ..)| reseller.0).collect();
        let ids: Vec<i64> = used.iter().map(|(_, id, _)| id.0).collect();
        let times: Vec<Time> = used.iter().map(|(.., at)| *at).collect();
        sqlx::query!(
            "update api_token t set last_used_at = greatest(t.last_used_at, u.at)
             from unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) as u(reseller_id, id, at)
             where t.reseller_id = u.reseller_id and t.id = u.id",
            &resellers,
            &ids,
            &times
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Inserts `fresh` as the platform's signing key with this id, unless there is one.
    pub async fn ensure_signing_key(
        &mut self,
        id: &str,
        fresh: [u8; 32],
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into signing_key (reseller_id, id, secret, created_at) values (0, $1, $2, $3)
             on conflict on constraint signing_key_pkey do nothing",
            id,
            fresh.as_slice(),
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The secret of the platform's signing key with this id.
    pub async fn fetch_signing_key(&mut self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        sqlx::query_scalar!(
            "select secret from signing_key where reseller_id = 0 and id = $1",
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()
    }

    /// The preferences of resellers, and whether they are suspended.
    pub async fn fetch_preferences(
        &mut self,
        resellers: &BTreeSet<ResellerId>,
    ) -> Result<HashMap<ResellerId, Preferences>, Error> {
        let ids: Vec<i64> = resellers.iter().map(|reseller| reseller.0).collect();
        let rows = sqlx::query!(
            r#"select id, timezone, soap_numbers, suspended_at is not null as "is_suspended!"
               from reseller where id = any($1)"#,
            &ids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let preferences = Preferences {
                    timezone: row.timezone,
                    soap_numbers: row.soap_numbers,
                    is_suspended: row.is_suspended,
                };
                (ResellerId(row.id), preferences)
            })
            .collect())
    }

    /// Notifies every replica at the commit that its cache of a reseller's credentials is out of
    /// date.
    pub async fn announce_credentials(&mut self, reseller: ResellerId) -> Result<(), Error> {
        sqlx::query!(
            "select pg_notify($1, $2)",
            super::notifications::CREDENTIALS,
            reseller.to_string()
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Revokes a credential of a reseller. Returns `false` if there is none with this id, or it is
    /// revoked already.
    pub async fn revoke_token(
        &mut self,
        reseller: ResellerId,
        id: TokenId,
        now: Time,
    ) -> Result<bool, Error> {
        sqlx::query!(
            "update api_token set revoked_at = $3
             where reseller_id = $1 and id = $2 and revoked_at is null",
            reseller.0,
            id.0,
            now
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected() > 0)
        .or_domain()
    }

    /// Lets a credential of a reseller expire at an instant, unless it expires earlier.
    pub async fn expire_token(
        &mut self,
        reseller: ResellerId,
        id: TokenId,
        at: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update api_token set expires_at = least(expires_at, $3)
             where reseller_id = $1 and id = $2",
            reseller.0,
            id.0,
            at
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

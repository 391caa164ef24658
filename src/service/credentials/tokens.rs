//! Credentials of ours: made, shown once, kept as a hash, listed, revoked, rotated.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::SIGNING_KEY;
use crate::domain::{Authority, Error, MAX_TEXT, ResellerId, Resource, Scopes, Time, TokenId};
use crate::hash::sha256;
use crate::jwt;
use crate::service::{Completion, IdempotentRequest, Principal, Service};
use crate::store::{Credential, NewToken, Tenancy, TokenKind, Tx};

/// What every key begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "stw_";
/// How many random bytes a key has.
const RANDOM: usize = 32;
/// How many bytes of checksum follow them.
const CHECKSUM: usize = 4;
/// The longest validity that can be asked for: a hundred years.
const MAX_VALIDITY: Duration = Duration::from_hours(24 * 36_525);
/// How long a JSON Web Token is valid that names no end: it must have one.
const JWT_VALIDITY: Duration = Duration::from_hours(24 * 90);

/// A credential to be made.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Whose; none: the caller's own, which is an operator's if an operator asks.
    pub reseller: Option<ResellerId>,
    /// What it is to be.
    pub kind: TokenKind,
    /// Its rights; none: all that its owner and the caller may have.
    pub scopes: Option<Scopes>,
    /// A name for people, 1 ..= 255 characters.
    pub name: Option<String>,
    /// How long it is valid, up to a hundred years; none: until revoked, a JSON Web Token for 90 days.
    pub expires_in: Option<Duration>,
}

/// A credential just made, with its secret: the only time that it is seen.
#[derive(Debug)]
pub struct IssuedToken {
    /// The secret.
    pub token: SecretString,
    /// Everything else.
    pub credential: Credential,
}

impl Service {
    /// Makes a credential. Nobody can make one that may do more than the one used.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::InsufficientScope`] or [`Error::ResellerNotFound`].
    pub async fn create_token(
        &self,
        by: &Principal,
        request: TokenRequest,
        once: Option<IdempotentRequest<IssuedToken>>,
    ) -> Result<Completion<IssuedToken>, Error> {
        if by.reseller.is_some()
            && request
                .reseller
                .is_some_and(|wanted| Some(wanted) != by.reseller)
        {
            return Err(Error::ResellerNotFound);
        }
        let reseller = by.reseller.or(request.reseller);
        let (now, allowed) = (self.now(), by.scopes.clone());
        let signing = if request.kind == TokenKind::Jwt {
            Some(self.own_signing_key().await?)
        } else {
            None
        };
        let request = TokenRequest {
            reseller,
            ..request
        };
        self.write(by.tenancy(), once, move |tx| {
            Box::pin(async move { issue(tx, request, &allowed, signing.as_deref(), now).await })
        })
        .await
    }

    /// The platform's key for JSON Web Tokens; made when it is first asked for.
    async fn own_signing_key(&self) -> Result<Arc<[u8]>, Error> {
        self.named_key(jwt::own_key_name(SIGNING_KEY)).await
    }

    /// A key of the platform; made when it is first asked for.
    pub(in crate::service) async fn named_key(&self, name: String) -> Result<Arc<[u8]>, Error> {
        let (fresh, store, now) = (random()?, self.store.clone(), self.now());
        let wanted = name.clone();
        if let Some(known) = self.platform_key(&name).await? {
            return Ok(known);
        }
        let made = self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            tx.ensure_signing_key(&wanted, fresh, now).await?;
            tx.commit().await
        });
        made.await?;
        self.platform_key(&name)
            .await?
            .ok_or_else(|| internal("the signing key is not there"))
    }

    /// Credentials by identity, without the secrets: an operator's call lists all, a reseller's its own.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn tokens(
        &self,
        by: &Principal,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Credential>, Error> {
        let (store, by) = (self.store.clone(), by.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&by.tenancy()).await?;
            let tokens = tx.list_tokens(by.reseller, after, limit).await?;
            tx.commit().await?;
            Ok(tokens)
        })
        .await
    }

    /// One credential, without the secret.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn token(&self, by: &Principal, id: TokenId) -> Result<Credential, Error> {
        let (store, by) = (self.store.clone(), by.clone());
        self.detached(async move {
            let mut tx = store.begin_reading(&by.tenancy()).await?;
            let found = find(&mut tx, &by, id).await?;
            tx.commit().await?;
            Ok(found)
        })
        .await
    }

    /// Revokes a credential, at once; says whether it was not revoked before.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_token(&self, by: &Principal, id: TokenId) -> Result<bool, Error> {
        let (store, by, now) = (self.store.clone(), by.clone(), self.now());
        let revoked = self.detached(async move {
            let mut tx = store.begin(&by.tenancy()).await?;
            let owner = find(&mut tx, &by, id).await?.reseller;
            let changed = tx.revoke_token(id, now).await?;
            tx.announce_credentials(owner).await?;
            tx.commit().await?;
            Ok((changed, owner))
        });
        let (changed, owner) = revoked.await?;
        self.forget_credentials(owner);
        Ok(changed)
    }

    /// Makes a credential with the same owner, kind, rights and name; the old one stays valid for the grace period.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none that is valid, [`Error::InsufficientScope`] if it may do more than the caller.
    pub async fn rotate_token(
        &self,
        by: &Principal,
        id: TokenId,
        grace: Duration,
        once: Option<IdempotentRequest<IssuedToken>>,
    ) -> Result<Completion<IssuedToken>, Error> {
        let (now, caller) = (self.now(), by.clone());
        let ends = after(now, grace, "grace")?;
        let signing = if self.token(by, id).await?.kind == TokenKind::Jwt {
            Some(self.own_signing_key().await?)
        } else {
            None
        };
        let answered = self.write(by.tenancy(), once, move |tx| {
            Box::pin(async move {
                let old = find(tx, &caller, id).await?;
                if !old.is_valid(now) {
                    return Err(Error::NotFound(Resource::Token));
                }
                tx.expire_token(id, ends).await?;
                tx.announce_credentials(old.reseller).await?;
                let validity = old
                    .expires_at
                    .map(|at| (at - old.created_at).to_std().unwrap_or_default());
                let request = TokenRequest {
                    reseller: old.owner(),
                    kind: old.kind,
                    scopes: Some(old.scopes),
                    name: old.name,
                    expires_in: validity,
                };
                issue(tx, request, &caller.scopes, signing.as_deref(), now).await
            })
        });
        let answered = answered.await?;
        if let Completion::Fresh(issued) = &answered {
            self.forget_credentials(issued.credential.reseller);
        }
        Ok(answered)
    }
}

/// The credential in the caller's reach.
async fn find(tx: &mut Tx, by: &Principal, id: TokenId) -> Result<Credential, Error> {
    let found = tx.fetch_token(id).await?.filter(|found| {
        by.reseller
            .is_none_or(|reseller| reseller == found.reseller)
    });
    found.ok_or(Error::NotFound(Resource::Token))
}

/// `allowed`: the rights of the credential that asks. `signing`: the platform's key, for a JSON Web Token.
async fn issue(
    tx: &mut Tx,
    request: TokenRequest,
    allowed: &Scopes,
    signing: Option<&[u8]>,
    now: Time,
) -> Result<IssuedToken, Error> {
    let authority = if request.reseller.is_some() {
        Authority::Reseller
    } else {
        Authority::Operator
    };
    let possible = Scopes::all_for(authority);
    let scopes = match request.scopes {
        Some(scopes) => scopes,
        None => possible
            .iter()
            .filter(|scope| allowed.contains(*scope))
            .collect(),
    };
    if let Some(scope) = scopes.iter().find(|scope| !possible.contains(*scope)) {
        return Err(Error::invalid(
            "scope",
            format!("{scope} is for an operator's token only"),
        ));
    }
    if let Some(scope) = scopes.iter().find(|scope| !allowed.contains(*scope)) {
        return Err(Error::InsufficientScope(scope));
    }
    if scopes.iter().next().is_none() {
        return Err(Error::invalid("scope", "must name at least one right"));
    }
    if request.name.as_ref().is_some_and(|name| {
        !(1..=MAX_TEXT).contains(&name.chars().count()) || name.chars().any(char::is_control)
    }) {
        return Err(Error::invalid("name", "must be 1 to 255 characters"));
    }
    let validity = request
        .expires_in
        .or((request.kind == TokenKind::Jwt).then_some(JWT_VALIDITY));
    let expires_at = validity
        .map(|validity| after(now, validity, "expires_in"))
        .transpose()?;
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Error::invalid("expires_in", "must be longer"));
    }
    let id = tx.next_token_id().await?;
    let token = match (signing, expires_at) {
        (Some(secret), Some(expires_at)) => {
            let nonce = BASE64URL_NOPAD.encode(&random()?);
            let draft = jwt::Draft {
                token: id.0,
                reseller: request.reseller,
                scopes: &scopes,
                nonce: &nonce,
                issued_at: now,
                expires_at,
            };
            jwt::issue(&draft, &jwt::own_key_name(SIGNING_KEY), secret)
                .map_err(|cause| internal(&cause))?
        }
        _ => fresh()?,
    };
    let new = NewToken {
        id,
        reseller: request.reseller.unwrap_or(ResellerId::PLATFORM),
        kind: request.kind,
        hash: sha256(token.expose_secret().as_bytes()),
        name: request.name,
        scopes,
        expires_at,
    };
    Ok(IssuedToken {
        credential: tx.insert_token(new, now).await?,
        token,
    })
}

fn internal(cause: &str) -> Error {
    let incident = Uuid::new_v4();
    tracing::error!(%incident, cause, "a token could not be made");
    Error::Internal { incident }
}

fn after(now: Time, validity: Duration, field: &'static str) -> Result<Time, Error> {
    if validity <= MAX_VALIDITY {
        Ok(now + validity)
    } else {
        Err(Error::invalid(field, "must be at most a hundred years"))
    }
}

pub(in crate::service) fn random() -> Result<[u8; RANDOM], Error> {
    let mut bytes = [0_u8; RANDOM];
    getrandom::fill(&mut bytes)
        .map(|()| bytes)
        .map_err(|error| internal(&format!("the system has no randomness: {error}")))
}

/// A new key: the prefix, then 256 random bits and a checksum in base 32.
fn fresh() -> Result<SecretString, Error> {
    let bytes = random()?;
    let mut all = bytes.to_vec();
    all.extend(checksum(&bytes));
    Ok(SecretString::from(format!(
        "{PREFIX}{}",
        BASE32_NOPAD.encode(&all).to_ascii_lowercase()
    )))
}

fn checksum(random: &[u8]) -> Vec<u8> {
    sha256(random).into_iter().take(CHECKSUM).collect()
}

/// Whether a text has the form of a token, checksum included: what was mistyped or cut off is not worth a look-up.
pub(super) fn is_well_formed(token: &str) -> bool {
    let encoded = token
        .strip_prefix(PREFIX)
        .filter(|rest| !rest.bytes().any(|byte| byte.is_ascii_uppercase()));
    let bytes = encoded.and_then(|rest| {
        BASE32_NOPAD
            .decode(rest.to_ascii_uppercase().as_bytes())
            .ok()
    });
    bytes
        .filter(|bytes| bytes.len() == RANDOM + CHECKSUM)
        .is_some_and(|bytes| {
            let (random, sum) = bytes.split_at(RANDOM);
            checksum(random) == sum
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_a_damaged_one_is_not() {
        let token = fresh().unwrap();
        let text = token.expose_secret();
        assert!(is_well_formed(text), "{}", text.len());
        assert_eq!(text.len(), PREFIX.len() + 58);
        let damaged: String = text.chars().rev().collect();
        for bad in [
            "",
            "stw_",
            &text[..text.len() - 1],
            &text[4..],
            &damaged,
            &text.to_uppercase(),
            &format!("{text}a"),
            "abcdefghijklmnqrstuvwxyz",
        ] {
            assert!(!is_well_formed(bad), "{bad} was taken for a token");
        }
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token = fresh().unwrap();
        assert!(!format!("{token:?}").contains(&token.expose_secret()[4..]));
    }
}

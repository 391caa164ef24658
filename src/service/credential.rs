//! Credentials: made, shown once, kept as a hash, checked.

use std::time::Duration;

use chrono_tz::Tz;
use data_encoding::BASE32_NOPAD;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::{Principal, Service};
use crate::domain::{Authority, Error, ResellerId, Scopes, Time, TokenId};
use crate::hash::sha256;
use crate::store::{Credential, NewToken, Tenancy, Tx};

/// What every token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "stw_";
/// How many random bytes a token has.
const RANDOM: usize = 32;
/// How many bytes of checksum follow them.
const CHECKSUM: usize = 4;
/// The longest validity that can be asked for: a hundred years.
const MAX_VALIDITY: Duration = Duration::from_hours(24 * 36_525);

/// A credential to be made.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Whose; none: an operator's.
    pub reseller: Option<ResellerId>,
    /// Its rights; none: all that its owner may have.
    pub scopes: Option<Scopes>,
    /// A name for people.
    pub name: Option<String>,
    /// How long it is valid; none: until revoked.
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
    /// Whom a token stands for. A text that cannot be a token is refused without asking the database.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`], or that the database cannot be asked.
    pub async fn authenticate(&self, token: &SecretString) -> Result<Principal, Error> {
        if !is_well_formed(token.expose_secret()) {
            return Err(Error::CredentialInvalid);
        }
        let hash = sha256(token.expose_secret().as_bytes());
        let (store, now) = (self.store.clone(), self.now());
        let found = self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Credential(hash)).await?;
            let found = tx.fetch_credential(hash).await?;
            tx.commit().await?;
            Ok(found)
        });
        let (credential, preferences) = found.await?.filter(|(credential, _)| credential.is_valid(now)).ok_or(Error::CredentialInvalid)?;
        let reseller = Some(credential.reseller).filter(|reseller| *reseller != ResellerId::PLATFORM);
        let timezone = preferences.timezone.parse().unwrap_or(Tz::UTC);
        Ok(Principal { reseller, token: Some(credential.id), scopes: credential.scopes, timezone, soap_numbers: preferences.soap_numbers })
    }

    /// Makes a credential.
    ///
    /// # Errors
    /// [`Error::InvalidField`] or [`Error::ResellerNotFound`].
    pub async fn create_token(&self, request: TokenRequest) -> Result<IssuedToken, Error> {
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let issued = issue(&mut tx, request, now).await?;
            tx.commit().await?;
            Ok(issued)
        })
        .await
    }

    /// Every credential, without the secrets.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn tokens(&self) -> Result<Vec<Credential>, Error> {
        let store = self.store.clone();
        self.detached(async move {
            let mut tx = store.begin_reading(&Tenancy::Platform).await?;
            let tokens = tx.list_tokens().await?;
            tx.commit().await?;
            Ok(tokens)
        })
        .await
    }

    /// Revokes a credential, at once; says whether it was not revoked before.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `id` if there is none.
    pub async fn revoke_token(&self, id: TokenId) -> Result<bool, Error> {
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            tx.fetch_token(id).await?.ok_or_else(|| no_such_token(id))?;
            let changed = tx.revoke_token(id, now).await?;
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Makes a credential with the same owner, rights and name; the old one stays valid for the grace period.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `id` if there is none that is valid.
    pub async fn rotate_token(&self, id: TokenId, grace: Duration) -> Result<IssuedToken, Error> {
        let (store, now) = (self.store.clone(), self.now());
        self.detached(async move {
            let mut tx = store.begin(&Tenancy::Platform).await?;
            let old = tx.fetch_token(id).await?.filter(|old| old.is_valid(now)).ok_or_else(|| no_such_token(id))?;
            tx.expire_token(id, after(now, grace, "grace")?).await?;
            let reseller = Some(old.reseller).filter(|reseller| *reseller != ResellerId::PLATFORM);
            let validity = old.expires_at.map(|at| (at - old.created_at).to_std().unwrap_or_default());
            let request = TokenRequest { reseller, scopes: Some(old.scopes), name: old.name, expires_in: validity };
            let issued = issue(&mut tx, request, now).await?;
            tx.commit().await?;
            Ok(issued)
        })
        .await
    }
}

async fn issue(tx: &mut Tx, request: TokenRequest, now: Time) -> Result<IssuedToken, Error> {
    let token = fresh()?;
    let authority = if request.reseller.is_some() { Authority::Reseller } else { Authority::Operator };
    let allowed = Scopes::all_for(authority);
    let scopes = request.scopes.unwrap_or_else(|| allowed.clone());
    if let Some(scope) = scopes.iter().find(|scope| !allowed.contains(*scope)) {
        return Err(Error::invalid("scope", format!("{scope} is for an operator's token only")));
    }
    if scopes.iter().next().is_none() {
        return Err(Error::invalid("scope", "must name at least one right"));
    }
    let expires_at = request.expires_in.map(|validity| after(now, validity, "expires_in")).transpose()?;
    let new = NewToken {
        reseller: request.reseller.unwrap_or(ResellerId::PLATFORM),
        hash: sha256(token.expose_secret().as_bytes()),
        name: request.name,
        scopes,
        expires_at,
    };
    Ok(IssuedToken { credential: tx.insert_token(new, now).await?, token })
}

fn no_such_token(id: TokenId) -> Error {
    Error::invalid("id", format!("there is no valid token {id}"))
}

fn after(now: Time, validity: Duration, field: &'static str) -> Result<Time, Error> {
    if validity <= MAX_VALIDITY { Ok(now + validity) } else { Err(Error::invalid(field, "must be at most a hundred years")) }
}

/// A new token: the prefix, then 256 random bits and a checksum in base 32.
fn fresh() -> Result<SecretString, Error> {
    let mut bytes = [0_u8; RANDOM];
    getrandom::fill(&mut bytes).map_err(|error| {
        let incident = Uuid::new_v4();
        tracing::error!(%incident, %error, "the system has no randomness");
        Error::Internal { incident }
    })?;
    let mut all = bytes.to_vec();
    all.extend(checksum(&bytes));
    Ok(SecretString::from(format!("{PREFIX}{}", BASE32_NOPAD.encode(&all).to_ascii_lowercase())))
}

fn checksum(random: &[u8]) -> Vec<u8> {
    sha256(random).into_iter().take(CHECKSUM).collect()
}

/// Whether a text has the form of a token, checksum included: what was mistyped or cut off is not worth a look-up.
fn is_well_formed(token: &str) -> bool {
    let encoded = token.strip_prefix(PREFIX).filter(|rest| !rest.bytes().any(|byte| byte.is_ascii_uppercase()));
    let bytes = encoded.and_then(|rest| BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok());
    bytes.filter(|bytes| bytes.len() == RANDOM + CHECKSUM).is_some_and(|bytes| {
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
        for bad in ["", "stw_", &text[..text.len() - 1], &text[4..], &damaged, &text.to_uppercase(), &format!("{text}a"), "abcdefghijklmnqrstuvwxyz"]
        {
            assert!(!is_well_formed(bad), "{bad} was taken for a token");
        }
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token = fresh().unwrap();
        assert!(!format!("{token:?}").contains(&token.expose_secret()[4..]));
    }
}

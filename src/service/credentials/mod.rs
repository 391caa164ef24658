//! Credentials: from a bearer token to the [`Principal`] behind it.
//!
//! There are three kinds. Keys are random text, stored as a hash. Our own JSON Web Tokens are
//! signed and stored as a hash too, so that they can be revoked. JSON Web Tokens of issuers that
//! the configuration trusts are verified and not stored.

mod cache;
mod renewal;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::{ExposeSecret as _, SecretString};

use super::group_commit::find_each;
use super::{Principal, Service};
use crate::domain::{Error, ResellerId, Time};
use crate::hash::sha256;
use crate::jwt;
use crate::store::{Credential, Preferences, Store, Tenancy};
pub(super) use cache::CredentialCache;
pub(super) use tokens::random;
pub use tokens::{IssuedToken, TokenRequest};

/// The number of the platform's key that signs JSON Web Tokens now.
const SIGNING_KEY: u32 = 1;

/// A credential that the database has, valid or not, and its owner's preferences.
pub(super) type Found = (Credential, Preferences);

impl Service {
    /// The principal behind a token. A text that cannot be a token is refused without a look-up.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`].
    pub async fn authenticate(&self, token: &SecretString) -> Result<Principal, Error> {
        let text = token.expose_secret();
        let is_jwt = jwt::is_well_formed(text);
        if !is_jwt && !tokens::is_well_formed(text) {
            return Err(Error::CredentialInvalid);
        }
        let (hash, now) = (sha256(text.as_bytes()), self.now());
        if let Some(principal) = self.credential_cache.get(&hash, now) {
            self.credential_cache.record_use(&principal, now);
            return Ok(principal);
        }
        // Boxed, so that the rare look-up does not make every request's future larger.
        Box::pin(self.authenticate_uncached(text, is_jwt, hash, now)).await
    }

    async fn authenticate_uncached(
        &self,
        text: &str,
        is_jwt: bool,
        hash: [u8; 32],
        now: Time,
    ) -> Result<Principal, Error> {
        let cache = &self.credential_cache;
        let generation = cache.generation();
        let (principal, valid_until) = if is_jwt {
            self.authenticate_jwt(text, hash, now).await?
        } else {
            self.look_up_credential(hash, now).await?
        };
        cache.insert(hash, &principal, valid_until, now, generation);
        cache.record_use(&principal, now);
        Ok(principal)
    }

    /// A credential that we store. Look-ups of several requests share one statement, by a lane.
    async fn look_up_credential(
        &self,
        hash: [u8; 32],
        now: Time,
    ) -> Result<(Principal, Option<Time>), Error> {
        let found = self.credentials.submit(hash).await?;
        found
            .and_then(|found| principal_of(found, now))
            .ok_or(Error::CredentialInvalid)
    }

    /// A JSON Web Token. Ours is looked up after its signature is verified. For another issuer's,
    /// only the preferences of its reseller are read.
    async fn authenticate_jwt(
        &self,
        text: &str,
        hash: [u8; 32],
        now: Time,
    ) -> Result<(Principal, Option<Time>), Error> {
        if let Some(name) = jwt::own_key(text) {
            let secret = self
                .signing_key(&name)
                .await?
                .ok_or(Error::CredentialInvalid)?;
            return if jwt::is_ours(text, &secret, now) {
                self.look_up_credential(hash, now).await
            } else {
                Err(Error::CredentialInvalid)
            };
        }
        let Some(verifier) = &self.verifier else {
            return Err(Error::CredentialInvalid);
        };
        let claims = verifier.verify(text, now).await?;
        let reseller = claims.reseller.unwrap_or(ResellerId::PLATFORM);
        let preferences = self
            .read(Tenancy::of(reseller), move |tx| {
                Box::pin(async move { tx.fetch_preferences(&BTreeSet::from([reseller])).await })
            })
            .await?;
        let preferences = preferences.get(&reseller).ok_or(Error::CredentialInvalid)?;
        let mut principal = Principal::new(claims.reseller, claims.scopes);
        principal.subject = Some(claims.subject);
        principal.bound_to = claims.owner;
        principal.expires_at = Some(claims.expires_at);
        principal.prefer(preferences);
        Ok((principal, Some(claims.expires_at)))
    }

    /// The platform's signing key with a name that a token carries. Only names that our keys can
    /// have are looked up.
    async fn signing_key(&self, name: &str) -> Result<Option<Arc<[u8]>>, Error> {
        if name == jwt::own_key_name(SIGNING_KEY) {
            self.platform_key(name).await
        } else {
            Ok(None)
        }
    }

    /// The platform's signing key with a name, from the cache after the first time.
    async fn platform_key(&self, name: &str) -> Result<Option<Arc<[u8]>>, Error> {
        if let Some(secret) = self.credential_cache.signing_key(name) {
            return Ok(Some(secret));
        }
        let key = name.to_owned();
        let found = self
            .read(Tenancy::Platform, move |tx| {
                Box::pin(async move { tx.fetch_signing_key(&key).await })
            })
            .await?;
        let found: Option<Arc<[u8]>> = found.map(Into::into);
        if let Some(secret) = &found {
            self.credential_cache.insert_signing_key(name, secret);
        }
        Ok(found)
    }

    /// Removes a reseller's credentials from this process's cache. Other replicas do the same when
    /// the notification reaches them.
    pub(super) fn forget_credentials(&self, reseller: ResellerId) {
        self.credential_cache.forget(reseller);
    }
}

/// Looks up credentials by their hashes, with one transaction for all. It runs on the lane
/// `credential`.
pub(super) async fn find_credentials(
    store: Store,
    limit: Duration,
    hashes: Vec<[u8; 32]>,
) -> Vec<Result<Option<Found>, Error>> {
    let distinct: BTreeSet<_> = hashes.iter().copied().collect();
    let work = async move {
        let distinct: Vec<_> = distinct.into_iter().collect();
        let mut tx = store
            .begin_keyed(&Tenancy::Credentials(distinct.clone()))
            .await?;
        let found = tx.fetch_credentials(&distinct).await?;
        tx.commit().await?;
        Ok(found)
    };
    find_each(hashes, limit, work).await
}

/// The principal of a credential and when the credential expires, if it is valid now.
fn principal_of((credential, preferences): Found, now: Time) -> Option<(Principal, Option<Time>)> {
    if !credential.is_valid(now) {
        return None;
    }
    let expires_at = credential.expires_at;
    let mut principal = Principal::new(credential.owner(), credential.scopes);
    principal.token = Some(credential.id);
    principal.bound_to = credential.bound_to;
    principal.expires_at = expires_at;
    principal.prefer(&preferences);
    Some((principal, expires_at))
}

impl Principal {
    /// Sets what the reseller prefers, and whether it is suspended.
    fn prefer(&mut self, preferences: &Preferences) {
        self.heeds_suspension = self.reseller.is_some();
        self.is_suspended = preferences.is_suspended;
        self.timezone = preferences.timezone.parse().unwrap_or(Tz::UTC);
        self.soap_numbers = preferences.soap_numbers;
    }
}

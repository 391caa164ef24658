//! Our own credentials: created, shown once, stored as a hash, listed, revoked, rotated.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::SIGNING_KEY;
use crate::domain::{
    Authority, Error, MAX_TEXT, Owner, ResellerId, Resource, Scopes, Time, TokenId, check_text,
};
use crate::hash::sha256;
use crate::jwt;
use crate::service::{Completion, IdempotentRequest, Principal, Service, Written};
use crate::store::{Credential, NewToken, Tenancy, TokenKind, Tx};

/// The prefix of every key, by which people and secret scanners recognise one.
const PREFIX: &str = "stw_";
/// How many random bytes a key has.
const RANDOM: usize = 32;
/// How many bytes of checksum follow them.
const CHECKSUM: usize = 4;
/// The longest validity that a request may ask for: a hundred years.
const MAX_VALIDITY: Duration = Duration::from_hours(24 * 36_525);
/// The validity of a JSON Web Token whose request names none. Such a token must expire.
const JWT_VALIDITY: Duration = Duration::from_hours(24 * 90);

/// A credential to be created.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// The owner. `None` means the caller: its reseller, or the operator.
    pub reseller: Option<ResellerId>,
    /// The kind of the credential.
    pub kind: TokenKind,
    /// Its rights. `None` means all that both its owner and the caller may have.
    pub scopes: Option<Scopes>,
    /// A name for people, 1 ..= 255 characters.
    pub name: Option<String>,
    /// The owner to which it is bound. `None` means that of the credential that makes it.
    pub bound_to: Option<Owner>,
    /// How long the credential is valid, up to a hundred years. `None` means 90 days for a JSON Web
    /// Token, and until it is revoked for a key. It never outlives the credential that makes it.
    pub expires_in: Option<Duration>,
    /// When it stops being valid, instead of `expires_in`, up to a hundred years from now.
    pub expires_at: Option<Time>,
}

/// A credential that was just created, with its secret. The secret is shown this once.
#[derive(Debug)]
pub struct IssuedToken {
    /// The secret.
    pub token: SecretString,
    /// Everything else.
    pub credential: Credential,
}

impl Service {
    /// Creates a credential. It cannot have more rights than the caller, and expires when the
    /// caller's credential does, if not earlier.
    ///
    /// # Errors
    /// [`Error::InvalidField`], [`Error::InsufficientScope`] or [`Error::ResellerNotFound`].
    pub async fn create_token(
        &self,
        caller: &Principal,
        request: TokenRequest,
        idempotency: Option<IdempotentRequest<IssuedToken>>,
    ) -> Result<Completion<IssuedToken>, Error> {
        let reseller = caller.reseller.or(request.reseller);
        if request.reseller.is_some() && request.reseller != reseller {
            return Err(Error::ResellerNotFound);
        }
        let request = TokenRequest {
            reseller,
            ..request
        };
        let (now, maker) = (self.now(), caller.clone());
        let signing = self.signing_key_for(request.kind).await?;
        self.write_once(caller, caller.tenancy(), idempotency, move |tx| {
            Box::pin(async move { issue(tx, request, &maker, signing.as_deref(), now).await })
        })
        .await
    }

    /// The key that signs a credential of this kind. `None` if the kind is not signed.
    async fn signing_key_for(&self, kind: TokenKind) -> Result<Option<Arc<[u8]>>, Error> {
        if kind == TokenKind::Jwt {
            self.named_key(jwt::own_key_name(SIGNING_KEY))
                .await
                .map(Some)
        } else {
            Ok(None)
        }
    }

    /// Creates the platform's signing key, unless it exists. Without it, every token that names it
    /// would cause a look-up, and anybody can write such a token.
    pub async fn prepare_signing_key(&self) -> Result<(), Error> {
        self.named_key(jwt::own_key_name(SIGNING_KEY))
            .await
            .map(drop)
    }

    /// The platform's signing key with this name; created when it is first needed.
    pub(in crate::service) async fn named_key(&self, name: String) -> Result<Arc<[u8]>, Error> {
        if let Some(secret) = self.platform_key(&name).await? {
            return Ok(secret);
        }
        let (id, fresh, now) = (name.clone(), random()?, self.now());
        self.write(Tenancy::Platform, move |tx| {
            Box::pin(async move { tx.ensure_signing_key(&id, fresh, now).await })
        })
        .await?;
        self.platform_key(&name)
            .await?
            .ok_or_else(|| internal("the signing key was not found after it was created"))
    }

    /// Credentials with an id above `after`, in the order of their ids, without the secrets. An
    /// operator gets all, a reseller its own.
    pub async fn tokens(
        &self,
        caller: &Principal,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Credential>, Error> {
        let reseller = caller.reseller;
        self.read(caller.tenancy(), move |tx| {
            Box::pin(tx.list_tokens(reseller, after, limit))
        })
        .await
    }

    /// One credential, without the secret.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn token(&self, caller: &Principal, id: TokenId) -> Result<Credential, Error> {
        let reseller = caller.reseller;
        self.read(caller.tenancy(), move |tx| {
            Box::pin(fetch(tx, reseller, id))
        })
        .await
    }

    /// Revokes a credential at once. Returns it as it is now. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::InsufficientScope`] or [`Error::CredentialOutlived`] if it has
    /// more rights than the caller, or has them for longer.
    pub async fn revoke_token(
        &self,
        caller: &Principal,
        id: TokenId,
        idempotency: Option<IdempotentRequest<Written<Credential>>>,
    ) -> Result<Completion<Written<Credential>>, Error> {
        let (revoker, now) = (caller.clone(), self.now());
        let completion = self
            // Also while the reseller is suspended: a token that leaked must not wait for that.
            .answer_once(caller.tenancy(), idempotency, move |tx| {
                Box::pin(async move {
                    let token = fetch(tx, revoker.reseller, id).await?;
                    // Whoever has the rights may end a token that leaked, however long it lasts.
                    revoker.require_all(&token.scopes)?;
                    check_bound(&token, &revoker)?;
                    let is_changed = tx.revoke_token(token.reseller, id, now).await?;
                    tx.announce_credentials(token.reseller).await?;
                    let value = Credential {
                        revoked_at: token.revoked_at.or(Some(now)),
                        ..token
                    };
                    Ok(Written { value, is_changed })
                })
            })
            .await?;
        if let Completion::Fresh(written) = &completion {
            self.forget_credentials(written.value.reseller);
        }
        Ok(completion)
    }

    /// Creates a credential with the owner, kind, rights, name and validity of an old one, but valid
    /// for at most a hundred years. The old one stays valid for the grace period.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the old one is not valid any more; [`Error::InsufficientScope`] or
    /// [`Error::CredentialOutlived`] if it has more rights than the caller, or has them for longer.
    pub async fn rotate_token(
        &self,
        caller: &Principal,
        id: TokenId,
        grace: Duration,
        idempotency: Option<IdempotentRequest<IssuedToken>>,
    ) -> Result<Completion<IssuedToken>, Error> {
        let (now, maker) = (self.now(), caller.clone());
        let ends = after(now, grace, "grace_seconds")?;
        let kind = self.token(caller, id).await?.kind;
        let signing = self.signing_key_for(kind).await?;
        let completion = self
            .write_once(caller, caller.tenancy(), idempotency, move |tx| {
                Box::pin(async move {
                    let old = fetch(tx, maker.reseller, id).await?;
                    if !old.is_valid(now) {
                        return Err(Error::NotFound(Resource::Token));
                    }
                    check_lesser(&old, &maker)?;
                    tx.expire_token(old.reseller, id, ends).await?;
                    tx.announce_credentials(old.reseller).await?;
                    let validity = old.expires_at.map(|at| {
                        let validity = (at - old.created_at).to_std().unwrap_or_default();
                        validity.min(MAX_VALIDITY)
                    });
                    let request = TokenRequest {
                        reseller: old.owner(),
                        kind: old.kind,
                        scopes: Some(old.scopes),
                        name: old.name,
                        bound_to: old.bound_to,
                        expires_in: validity,
                        expires_at: None,
                    };
                    issue(tx, request, &maker, signing.as_deref(), now).await
                })
            })
            .await?;
        if let Completion::Fresh(issued) = &completion {
            self.forget_credentials(issued.credential.reseller);
        }
        Ok(completion)
    }
}

/// A credential by its id. `reseller` is the caller's; `None` means an operator, who reaches all.
async fn fetch(
    tx: &mut Tx,
    reseller: Option<ResellerId>,
    id: TokenId,
) -> Result<Credential, Error> {
    let found = tx.fetch_token(reseller, id).await?;
    found.ok_or(Error::NotFound(Resource::Token))
}

/// Checks that a credential that is to be rotated is no greater than the caller: in rights, and in
/// the time that they last. A credential may always rotate itself.
fn check_lesser(token: &Credential, caller: &Principal) -> Result<(), Error> {
    caller.require_all(&token.scopes)?;
    check_bound(token, caller)?;
    let lasts = |until: Option<Time>| {
        caller
            .expires_at
            .is_none_or(|ends| until <= Some(ends) && until.is_some())
    };
    if caller.token == Some(token.id) || lasts(token.expires_at) {
        Ok(())
    } else {
        Err(Error::CredentialOutlived)
    }
}

/// Checks that a caller that is bound to an owner acts on a credential of the same owner. Others act
/// for more.
fn check_bound(token: &Credential, caller: &Principal) -> Result<(), Error> {
    match &caller.bound_to {
        Some(owner) if token.bound_to.as_ref() != Some(owner) => Err(Error::CredentialBound),
        _ => Ok(()),
    }
}

/// The owner to which a new credential is bound: the one that the request names, which must be that
/// of a maker that is bound.
fn choose_owner(requested: Option<Owner>, maker: &Principal) -> Result<Option<Owner>, Error> {
    match (&maker.bound_to, requested) {
        (Some(own), Some(requested)) if requested != *own => Err(Error::invalid(
            "owner",
            format!("must be {own}, to which the token that creates this one is bound"),
        )),
        (Some(own), _) => Ok(Some(own.clone())),
        (None, requested) => Ok(requested),
    }
}

/// Creates a credential and its secret. It has no more rights than its maker, and does not outlive
/// it. `signing` is the platform's key for a JSON Web Token.
async fn issue(
    tx: &mut Tx,
    request: TokenRequest,
    maker: &Principal,
    signing: Option<&[u8]>,
    now: Time,
) -> Result<IssuedToken, Error> {
    let authority = if request.reseller.is_some() {
        Authority::Reseller
    } else {
        Authority::Operator
    };
    let requested = requested_end(&request, now);
    let scopes = choose_scopes(request.scopes, &Scopes::all_for(authority), maker)?;
    let bound_to = choose_owner(request.bound_to, maker)?;
    if let Some(name) = &request.name {
        check_text("name", name, MAX_TEXT)?;
    }
    let expires_at = requested?.into_iter().chain(maker.expires_at).min();
    if expires_at.is_some_and(|at| at <= now) {
        // The maker's own credential has expired since it was checked.
        return Err(Error::CredentialInvalid);
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
        _ => fresh_key()?,
    };
    let new = NewToken {
        id,
        reseller: request.reseller.unwrap_or(ResellerId::PLATFORM),
        kind: request.kind,
        hash: sha256(token.expose_secret().as_bytes()),
        name: request.name,
        scopes,
        bound_to,
        expires_at,
    };
    Ok(IssuedToken {
        credential: tx.insert_token(new, now).await?,
        token,
    })
}

/// When a new credential is to stop being valid. `None` means never.
fn requested_end(request: &TokenRequest, now: Time) -> Result<Option<Time>, Error> {
    if let Some(at) = request.expires_at {
        let problem = if at <= now {
            "must be in the future; leave it out for never"
        } else if at > now + MAX_VALIDITY {
            "must be at most a hundred years from now; leave it out for never"
        } else {
            return Ok(Some(at));
        };
        return Err(Error::invalid("expires_at", problem));
    }
    let validity = request
        .expires_in
        .or((request.kind == TokenKind::Jwt).then_some(JWT_VALIDITY));
    if validity == Some(Duration::ZERO) {
        return Err(Error::invalid("expires_in", "must be longer"));
    }
    validity
        .map(|validity| after(now, validity, "expires_in"))
        .transpose()
}

/// The rights of a new credential: those requested, or else all that are both possible for its
/// owner and allowed to the caller.
fn choose_scopes(
    requested: Option<Scopes>,
    possible: &Scopes,
    maker: &Principal,
) -> Result<Scopes, Error> {
    let scopes = match requested {
        Some(scopes) => scopes,
        None => possible
            .iter()
            .filter(|scope| maker.scopes().contains(*scope))
            .collect(),
    };
    if let Some(scope) = scopes.iter().find(|scope| !possible.contains(*scope)) {
        return Err(Error::invalid(
            "scopes",
            format!("{scope} is for an operator's token only"),
        ));
    }
    maker.require_all(&scopes)?;
    if scopes.iter().next().is_none() {
        return Err(Error::invalid("scopes", "must name at least one scope"));
    }
    Ok(scopes)
}

fn internal(cause: &str) -> Error {
    let incident = Uuid::new_v4();
    tracing::error!(%incident, cause, "could not create a token");
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
        .map_err(|error| {
            internal(&format!(
                "the operating system gave no random bytes: {error}"
            ))
        })
}

/// A new key: the prefix, then 256 random bits and a checksum in base 32.
fn fresh_key() -> Result<SecretString, Error> {
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

/// Whether a text has the form of a key, checksum included. A mistyped or truncated key needs no
/// look-up.
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
    fn a_key_is_recognised_and_a_damaged_one_is_not() {
        let token = fresh_key().unwrap();
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
    fn a_key_is_redacted_in_debug_output() {
        let token = fresh_key().unwrap();
        assert!(!format!("{token:?}").contains(&token.expose_secret()[4..]));
    }
}

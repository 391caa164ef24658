//! Encrypts stored answers that contain a secret, such as a new token.
//!
//! The key is derived from what only the caller has: the text of its `Idempotency-Key`. The row is
//! found by a hash of that text, and the text itself is not stored. So the database alone does not
//! reveal the answer, and a repeat by the same caller still gets it. Decision 0010 explains why.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Principal;
use crate::domain::{Error, Scope};
use crate::store::{Fingerprint, IdempotencyKey, StoredAnswer, StoredRequest};

/// The length of a nonce, in bytes.
const NONCE: usize = 24;

/// What encrypts and decrypts the answer to one request.
#[derive(Clone)]
pub struct Seal {
    /// Derived from the caller's key, its rights and the request's method and path.
    secret: [u8; 32],
    /// The key under which the answer is stored.
    key: IdempotencyKey,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// The seal for a request with this idempotency key. A caller with other scopes, or with a
    /// credential that expires where the first one did not or is bound to another owner, gets another seal, so that a weaker
    /// credential of the same reseller cannot have the answer repeated to it. A rotated credential has the scopes of the old one.
    #[must_use]
    pub fn of(caller: &Principal, key: &IdempotencyKey) -> Self {
        let scopes: Vec<&str> = caller.scopes().iter().map(Scope::as_str).collect();
        let mut scopes = scopes.join(" ");
        if caller.expires_at.is_some() {
            // A credential that expires must not get one that does not from a repeat. Without this
            // word it is the secret of the versions before migration 0016.
            scopes.push_str(" expires");
        }
        if let Some(owner) = &caller.bound_to {
            // Nor must one that is bound to an owner get what another may do more with.
            scopes.push_str(" owner ");
            scopes.push_str(owner.as_str());
        }
        let request = [
            key.reseller.to_string(),
            key.method.clone(),
            key.path.clone(),
        ]
        .join("\0");
        let text = key.key.as_bytes();
        let secret = mac(
            text,
            &[b"answer\0", request.as_bytes(), b"\0", scopes.as_bytes()],
        );
        let name = mac(text, &[b"name\0", request.as_bytes()]);
        Self {
            secret,
            key: IdempotencyKey {
                key: format!("sealed {}", BASE64URL_NOPAD.encode(&name)),
                ..key.clone()
            },
        }
    }

    /// The key under which the answer is stored.
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// The request and its answer as they are stored. `None` if the system has no random bytes;
    /// then the answer is not stored.
    pub(super) fn close(
        &self,
        fingerprint: &Fingerprint,
        answer: StoredAnswer,
    ) -> Option<StoredRequest> {
        self.close_with(&fingerprint.command.loose(), answer)
    }

    fn close_with(&self, fingerprint: &[u8; 32], answer: StoredAnswer) -> Option<StoredRequest> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: &answer.body,
            aad: answer.content_type.as_bytes(),
        };
        let body = self
            .cipher(fingerprint)
            .encrypt(&XNonce::from(nonce), payload)
            .ok()?;
        Some(StoredRequest {
            key: self.key.clone(),
            fingerprint: self.fingerprint(fingerprint),
            command: None,
            nonce: Some(nonce),
            answer: StoredAnswer { body, ..answer },
        })
    }

    /// The answer of a stored request.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if it belongs to another command, or to a caller with other
    /// rights.
    pub(super) fn open(
        &self,
        fingerprint: &Fingerprint,
        stored: StoredRequest,
    ) -> Result<StoredAnswer, Error> {
        // Versions before migration 0016 encrypted with the hash of the body.
        let hashes = [fingerprint.command.loose(), fingerprint.body];
        let fingerprint = hashes
            .iter()
            .find(|hash| self.fingerprint(hash) == stored.fingerprint)
            .ok_or(Error::IdempotencyKeyReused)?;
        let nonce = XNonce::from(stored.nonce.unwrap_or_default());
        let answer = stored.answer;
        let payload = Payload {
            msg: &answer.body,
            aad: answer.content_type.as_bytes(),
        };
        let body = self
            .cipher(fingerprint)
            .decrypt(&nonce, payload)
            .map_err(|_| Error::IdempotencyKeyReused)?;
        Ok(StoredAnswer { body, ..answer })
    }

    fn cipher(&self, fingerprint: &[u8; 32]) -> XChaCha20Poly1305 {
        let key = mac(&self.secret, &[b"body\0", fingerprint]);
        XChaCha20Poly1305::new(&Key::from(key))
    }

    /// The fingerprint as it is stored. The hash of the body itself would let a reader of the
    /// database guess the body.
    fn fingerprint(&self, fingerprint: &[u8; 32]) -> [u8; 32] {
        mac(&self.secret, &[b"fingerprint\0", fingerprint])
    }
}

/// HMAC-SHA256 of the concatenated parts.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is accepted, so the default is never used.
    Hmac::<Sha256>::new_from_slice(key).map_or([0; 32], |mac| {
        let mac = parts.iter().fold(mac, Mac::chain_update);
        mac.finalize().into_bytes().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Authority, ResellerId, Scopes};
    use crate::store::{CommandHash, ResultHeaders};

    fn key() -> IdempotencyKey {
        IdempotencyKey {
            reseller: ResellerId(1),
            method: "POST".to_owned(),
            path: "/v3/tokens".to_owned(),
            key: "k".to_owned(),
        }
    }

    #[test]
    fn a_caller_that_does_not_expire_has_the_secret_of_earlier_versions() {
        let caller = Principal::new(
            Some(ResellerId(1)),
            [Scope::TokenWrite].into_iter().collect(),
        );
        let parts: [&[u8]; 4] = [b"answer\0", b"1\0POST\0/v3/tokens", b"\0", b"token:write"];
        assert_eq!(Seal::of(&caller, &key()).secret, mac(b"k", &parts));
        let mut expiring = caller;
        expiring.expires_at = chrono::DateTime::from_timestamp(0, 0);
        assert_ne!(Seal::of(&expiring, &key()).secret, mac(b"k", &parts));
    }

    #[test]
    fn an_answer_that_was_sealed_with_the_hash_of_its_body_is_opened() {
        let caller = Principal::new(Some(ResellerId(1)), Scopes::all_for(Authority::Reseller));
        let key = key();
        let seal = Seal::of(&caller, &key);
        let answer = StoredAnswer {
            status: 201,
            content_type: "application/json".to_owned(),
            body: b"secret".to_vec(),
            headers: ResultHeaders::default(),
        };
        let print = |command, body| Fingerprint {
            command: CommandHash::of([command; 32], None),
            body: [body; 32],
        };
        // Versions before migration 0016 had no hash of the command.
        let before = seal.close_with(&[2; 32], answer.clone()).unwrap();
        assert_eq!(seal.open(&print(1, 2), before.clone()), Ok(answer.clone()));
        let reused = Err(Error::IdempotencyKeyReused);
        assert_eq!(seal.open(&print(1, 3), before), reused);
        let now = seal.close(&print(1, 2), answer.clone()).unwrap();
        assert_eq!(seal.open(&print(1, 3), now.clone()), Ok(answer));
        assert_eq!(seal.open(&print(3, 2), now), reused);
    }
}

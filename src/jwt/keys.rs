//! The keys of trusted issuers: from the configuration, a file, or an address that is asked again when a token names a
//! key that is not known. However many such tokens come, the address is asked at most twice a minute.

use std::fs;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tracing::warn;

use super::Settings;
use crate::domain::Time;

/// The least time between two looks at the address.
const PAUSE: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// After this the address is asked again even if no key is missing: one may have been withdrawn.
const MAX_AGE: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// The longest that one look may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest set that is read, in bytes.
const MAX_SET: usize = 256 * 1024;
/// The shortest shared secret, in bytes.
const MIN_SECRET: usize = 32;

/// A key and the one algorithm that it is for.
struct Key {
    name: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

pub(super) struct Keys {
    /// Those that do not change while the service runs.
    fixed: Vec<Key>,
    address: Option<String>,
    fetched: RwLock<Fetched>,
    /// Held by the one who asks the address.
    fetching: Mutex<()>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("fixed", &self.fixed.len())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Fetched {
    keys: Vec<Key>,
    tried_at: Option<Time>,
}

impl Keys {
    pub(super) fn configured(settings: &Settings) -> Result<Self, String> {
        let mut fixed = Vec::new();
        if let Some(secret) = &settings.secret {
            let secret = secret.expose_secret().as_bytes();
            if secret.len() < MIN_SECRET {
                return Err(format!("jwt.secret: must have at least {MIN_SECRET} bytes"));
            }
            fixed.push(Key {
                name: None,
                algorithm: Algorithm::HS256,
                decoding: DecodingKey::from_secret(secret),
            });
        }
        if let Some(path) = &settings.public_key_file {
            let pem = fs::read(path)
                .map_err(|error| format!("jwt.public_key_file: {}: {error}", path.display()))?;
            let rsa = DecodingKey::from_rsa_pem(&pem).map(|key| (Algorithm::RS256, key));
            let (algorithm, key) = rsa
                .or_else(|_| DecodingKey::from_ed_pem(&pem).map(|key| (Algorithm::EdDSA, key)))
                .map_err(|_| format!("jwt.public_key_file: {}: is neither an RSA nor an Ed25519 public key in PEM", path.display()))?;
            fixed.push(Key {
                name: None,
                algorithm,
                decoding: key,
            });
        }
        if let Some(path) = &settings.jwks_file {
            let text = fs::read(path)
                .map_err(|error| format!("jwt.jwks_file: {}: {error}", path.display()))?;
            fixed.extend(
                read_set(&text)
                    .map_err(|problem| format!("jwt.jwks_file: {}: {problem}", path.display()))?,
            );
        }
        Ok(Self {
            fixed,
            address: settings.jwks_url.clone(),
            fetched: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The keys that may prove a token with this header.
    pub(super) async fn candidates(
        &self,
        algorithm: Algorithm,
        name: Option<&str>,
        now: Time,
    ) -> Vec<DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithm == algorithm
                && (name.is_none() || key.name.is_none() || key.name.as_deref() == name)
        };
        let mut found: Vec<DecodingKey> = self
            .fixed
            .iter()
            .filter(fits)
            .map(|key| key.decoding.clone())
            .collect();
        let Some(address) = &self.address else {
            return found;
        };
        let known = || -> Vec<DecodingKey> {
            self.read()
                .keys
                .iter()
                .filter(fits)
                .map(|key| key.decoding.clone())
                .collect()
        };
        let age = || {
            self.read()
                .tried_at
                .map(|at| now - at)
                .filter(|age| *age >= chrono::TimeDelta::zero())
        };
        let is_due = |age: Option<chrono::TimeDelta>, is_missing: bool| {
            age.is_none_or(|age| age >= MAX_AGE || (is_missing && age >= PAUSE))
        };
        let is_missing = known().is_empty();
        if is_due(age(), is_missing) {
            // Whoever needs a key waits for the one who fetches; whoever has it goes on with what is known.
            let turn = if is_missing {
                Some(self.fetching.lock().await)
            } else {
                self.fetching.try_lock().ok()
            };
            if turn.is_some() && is_due(age(), known().is_empty()) {
                self.write().tried_at = Some(now);
                match fetch(address).await {
                    Ok(keys) => self.write().keys = keys,
                    Err(problem) => warn!(
                        problem,
                        address, "the JSON Web Key Set cannot be read; what is known of it stays"
                    ),
                }
            }
        }
        found.extend(known());
        found
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Fetched> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Fetched> {
        self.fetched.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(address: &str) -> Result<Vec<Key>, String> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let asked = async { client?.get(address).send().await?.error_for_status() };
    let mut response = asked
        .await
        .map_err(|error| error.without_url().to_string())?;
    let mut set = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| error.without_url().to_string())?
    {
        set.extend_from_slice(&chunk);
        if set.len() > MAX_SET {
            return Err(format!("is larger than {MAX_SET} bytes"));
        }
    }
    read_set(&set)
}

/// The keys of a set that are for signatures of the kinds we take; others are left out.
fn read_set(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
    Ok(set.keys.iter().filter_map(read_key).collect())
}

fn read_key(jwk: &Jwk) -> Option<Key> {
    // A shared secret has no business in a set that others can read.
    let algorithm = if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
        Algorithm::RS256
    } else if let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm
        && pair.curve == EllipticCurve::Ed25519
    {
        Algorithm::EdDSA
    } else {
        return None;
    };
    let is_meant = jwk
        .common
        .key_algorithm
        .is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_meant)?;
    Some(Key {
        name: jwk.common.key_id.clone(),
        algorithm,
        decoding: key,
    })
}

//! The keys of the trusted issuer: from the configuration, from a file, or fetched from the URL of
//! a JSON Web Key Set.
//!
//! The set is fetched again after [`MAX_AGE`], and earlier if a token names an unknown key. Fetches
//! are at least [`MIN_FETCH_INTERVAL`] apart, however many such tokens arrive.

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
use crate::secret_url::SecretUrl;

/// The minimum time between two fetches.
const MIN_FETCH_INTERVAL: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// After this time the set is fetched again even if no key is missing, because the issuer may have
/// withdrawn one.
const MAX_AGE: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// The timeout of one fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a fetched set, in bytes.
const MAX_SET: usize = 256 * 1024;
/// The minimum length of the shared secret, in bytes.
const MIN_SECRET: usize = 32;

/// A key, pinned to one algorithm.
struct Key {
    /// The key id (`kid`). `None` if the key has none.
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

pub(super) struct Keys {
    /// The keys from the configuration and from files.
    fixed: Vec<Key>,
    /// The URL of the key set, if one is configured.
    url: Option<SecretUrl>,
    fetched: RwLock<Fetched>,
    /// Held while fetching, so that one task fetches at a time.
    fetching: Mutex<()>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("fixed", &self.fixed.len())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The keys of the latest successful fetch.
#[derive(Default)]
struct Fetched {
    keys: Vec<Key>,
    /// When the set was last fetched, with or without success.
    tried_at: Option<Time>,
}

impl Keys {
    /// Reads the keys in the configuration and in files.
    ///
    /// # Errors
    /// If a key cannot be read. The text begins with the configuration key.
    pub(super) fn from_settings(settings: &Settings) -> Result<Self, String> {
        let mut fixed = Vec::new();
        if let Some(secret) = &settings.secret {
            let secret = secret.expose_secret().as_bytes();
            if secret.len() < MIN_SECRET {
                return Err(format!("jwt.secret: must have at least {MIN_SECRET} bytes"));
            }
            fixed.push(Key {
                id: None,
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
                id: None,
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
            url: settings.jwks_url.clone(),
            fetched: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The keys that a token with this header may be signed with. Fetches the set if it is due.
    pub(super) async fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        now: Time,
    ) -> Vec<DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithm == algorithm
                && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
        };
        let mut found: Vec<DecodingKey> = self
            .fixed
            .iter()
            .filter(fits)
            .map(|key| key.decoding.clone())
            .collect();
        let Some(url) = &self.url else {
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
            age.is_none_or(|age| age >= MAX_AGE || (is_missing && age >= MIN_FETCH_INTERVAL))
        };
        let is_missing = known().is_empty();
        if is_due(age(), is_missing) {
            // A request that lacks its key waits for a fetch under way. A request that has its key
            // does not wait.
            let lock = if is_missing {
                Some(self.fetching.lock().await)
            } else {
                self.fetching.try_lock().ok()
            };
            if lock.is_some() && is_due(age(), known().is_empty()) {
                self.write().tried_at = Some(now);
                match fetch(url.expose()).await {
                    Ok(keys) => self.write().keys = keys,
                    Err(problem) => warn!(
                        problem,
                        %url,
                        "cannot fetch the JSON Web Key Set; the keys fetched before stay in use"
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

async fn fetch(url: &str) -> Result<Vec<Key>, String> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let response = async { client?.get(url).send().await?.error_for_status() };
    let mut response = response
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

/// The keys of a set that are for the supported signature algorithms. Other keys are left out.
fn read_set(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
    Ok(set.keys.iter().filter_map(read_key).collect())
}

fn read_key(jwk: &Jwk) -> Option<Key> {
    // Shared secrets are left out: a key set is public.
    let algorithm = if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
        Algorithm::RS256
    } else if let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm
        && pair.curve == EllipticCurve::Ed25519
    {
        Algorithm::EdDSA
    } else {
        return None;
    };
    let algorithm_matches = jwk
        .common
        .key_algorithm
        .is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    let key = DecodingKey::from_jwk(jwk)
        .ok()
        .filter(|_| algorithm_matches)?;
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        decoding: key,
    })
}

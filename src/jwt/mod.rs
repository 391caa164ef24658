//! How a JSON Web Token is proved: signature, issuer, audience, times; then what it claims.
//!
//! Two kinds come here. *Ours* were issued by this platform: signed with its own key, and looked up afterwards, so that
//! they can be listed and revoked like any other credential. *Others'* are issued by somebody whom the configuration
//! trusts, and stand on their own: their claims name the reseller and the rights, and they end when they expire.
//!
//! Every key is pinned to one algorithm, which a token's header must name: there is no `none`, and no token can have a
//! public key taken for a shared secret.

mod keys;

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Error, ResellerId, Scope, Scopes, Time};
use keys::Keys;

/// The longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// What the `kid` of our own tokens begins with.
const OWN: &str = "steward-";
/// Issuer and audience of our own tokens.
const OWN_NAME: &str = "steward";

/// Whose tokens are trusted besides our own, and by which keys they are proved.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Who issues them: the claim `iss`.
    pub issuer: String,
    /// For whom: the claim `aud`.
    pub audience: String,
    /// A shared secret of at least 32 bytes: HS256.
    pub secret: Option<SecretString>,
    /// A PEM file with a public key: RS256 or EdDSA.
    pub public_key_file: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// The address of a JSON Web Key Set.
    pub jwks_url: Option<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Whether their `role` may be `operator`.
    pub operators: bool,
}

/// What a token of somebody else claims, once it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// For the journal.
    pub subject: String,
    /// The reseller; none: an operator.
    pub reseller: Option<ResellerId>,
    /// The rights among those that we know.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: Time,
}

/// Proves tokens.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    keys: Keys,
}

/// The claims as they are written.
#[derive(Deserialize)]
struct Written {
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    reseller_id: Option<Value>,
    role: Option<String>,
    #[serde(alias = "scopes", alias = "scp")]
    scope: Option<Value>,
}

/// The claims of our own tokens.
#[derive(Serialize)]
struct Own<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    iat: i64,
    exp: i64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reseller_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    scope: String,
}

/// A token of ours to be signed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The number of the credential.
    pub token: i64,
    /// The reseller; none: an operator.
    pub reseller: Option<ResellerId>,
    /// The rights.
    pub scopes: &'a Scopes,
    /// Random text that is kept nowhere.
    pub nonce: &'a str,
    /// From when on.
    pub issued_at: Time,
    /// Until when.
    pub expires_at: Time,
}

/// Whether a text may be a token of this kind.
#[must_use]
pub fn is_well_formed(token: &str) -> bool {
    token.len() <= MAX_LENGTH
        && token.bytes().filter(|byte| *byte == b'.').count() == 2
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The key that a token of ours names; none: it is somebody else's.
#[must_use]
pub fn own_key(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token)
        .ok()?
        .kid
        .filter(|kid| kid.starts_with(OWN))
}

/// The name of the platform's key number `number`.
#[must_use]
pub fn own_key_name(number: u32) -> String {
    format!("{OWN}{number}")
}

/// Signs a token of ours.
///
/// # Errors
/// A text for the log.
pub fn issue(draft: &Draft, key_name: &str, secret: &[u8]) -> Result<SecretString, String> {
    let header = Header {
        kid: Some(key_name.to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let words: Vec<_> = draft.scopes.iter().map(Scope::as_str).collect();
    let claims = Own {
        iss: OWN_NAME,
        aud: OWN_NAME,
        sub: format!("token {}", draft.token),
        iat: draft.issued_at.timestamp(),
        exp: draft.expires_at.timestamp(),
        jti: draft.nonce,
        reseller_id: draft.reseller.map(|reseller| reseller.0),
        role: draft.reseller.is_none().then_some("operator"),
        scope: words.join(" "),
    };
    let signed = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret));
    signed
        .map(SecretString::from)
        .map_err(|error| error.to_string())
}

/// Whether a token of ours has our signature, and has not expired.
#[must_use]
pub fn is_ours(token: &str, secret: &[u8], now: Time) -> bool {
    let decoded = jsonwebtoken::decode::<Written>(
        token,
        &DecodingKey::from_secret(secret),
        &validation(Algorithm::HS256, OWN_NAME, OWN_NAME),
    );
    decoded.is_ok_and(|decoded| expiry(&decoded.claims, now, Duration::ZERO).is_some())
}

impl Verifier {
    /// Reads the keys that are in files.
    ///
    /// # Errors
    /// What is wrong with one of them, naming the key of the configuration.
    pub fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            keys: Keys::configured(&settings)?,
            settings,
        })
    }

    /// What somebody else's token claims.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`], whatever is wrong with it; the log has more, at level debug.
    pub async fn verify(&self, token: &str, now: Time) -> Result<Claims, Error> {
        let refuse = |why: &str| {
            tracing::debug!(why, "a JSON Web Token was refused");
            Error::CredentialInvalid
        };
        let header =
            jsonwebtoken::decode_header(token).map_err(|error| refuse(&error.to_string()))?;
        let validation = validation(header.alg, &self.settings.issuer, &self.settings.audience);
        for key in self
            .keys
            .candidates(header.alg, header.kid.as_deref(), now)
            .await
        {
            if let Ok(decoded) = jsonwebtoken::decode::<Written>(token, &key, &validation) {
                return self.claims(decoded.claims, now).map_err(refuse);
            }
        }
        Err(refuse("no key proves it"))
    }

    fn claims(&self, written: Written, now: Time) -> Result<Claims, &'static str> {
        let expires_at = expiry(&written, now, self.settings.leeway).ok_or("exp or nbf")?;
        let reseller = match (written.role.as_deref(), &written.reseller_id) {
            (Some("operator"), None) if self.settings.operators => None,
            (Some("operator"), _) => return Err("role: operators are not trusted"),
            (_, Some(id)) => Some(reseller(id).ok_or("reseller_id")?),
            (_, None) => return Err("reseller_id is missing"),
        };
        let scopes = scopes(written.scope.as_ref());
        Ok(Claims {
            subject: subject(written.sub),
            reseller,
            scopes,
            expires_at,
        })
    }
}

/// Everything but the times, which are checked by our own clock.
fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation
}

/// When a token ends, leeway included; none if that is over, not said, or if it has not begun.
fn expiry(written: &Written, now: Time, leeway: Duration) -> Option<Time> {
    let at = |seconds: f64| {
        // Anything behind the year 9999 means for ever.
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "clamped to what fits"
        )]
        let seconds = seconds.clamp(0.0, 253_402_300_799.0) as i64;
        Time::from_timestamp(seconds, 0)
    };
    let ends = at(written.exp?)?.checked_add_signed(chrono::TimeDelta::from_std(leeway).ok()?)?;
    let begins = match written.nbf {
        None => None,
        Some(begins) => {
            Some(at(begins)?.checked_sub_signed(chrono::TimeDelta::from_std(leeway).ok()?)?)
        }
    };
    (ends > now && begins.is_none_or(|begins| begins <= now)).then_some(ends)
}

/// A number from 1 on, as a number or as text.
fn reseller(claim: &Value) -> Option<ResellerId> {
    let id = claim.as_i64().or_else(|| claim.as_str()?.parse().ok())?;
    (id > 0).then_some(ResellerId(id))
}

/// Words separated by spaces, or an array of them; words that are not ours mean nothing here.
fn scopes(claim: Option<&Value>) -> Scopes {
    let text = claim.and_then(Value::as_str).unwrap_or_default().split(' ');
    let list = claim
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str);
    text.chain(list).filter_map(Scope::parse).collect()
}

/// Fit for the journal: short, and without control characters.
fn subject(claim: Option<String>) -> String {
    let plain: String = claim
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect();
    if plain.is_empty() {
        "unnamed".to_owned()
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_read_in_all_their_forms() {
        let words = |claim: Value| {
            scopes(Some(&claim))
                .iter()
                .map(Scope::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            words(json!("openid account:write account:read")),
            "account:read account:write"
        );
        assert_eq!(words(json!(["account:read", 7, "x"])), "account:read");
        assert_eq!(
            (words(json!(7)), scopes(None)),
            (String::new(), Scopes::default())
        );
        assert_eq!(
            [json!(3), json!("3")].map(|claim| reseller(&claim)),
            [Some(ResellerId(3)); 2]
        );
        assert_eq!(
            [json!(0), json!(-1), json!("x"), json!(1.5), json!(null)]
                .map(|claim| reseller(&claim)),
            [None; 5]
        );
        assert_eq!(
            (subject(Some("a\nb".to_owned())), subject(None)),
            ("ab".to_owned(), "unnamed".to_owned())
        );
    }

    #[test]
    fn times_are_checked_with_the_leeway_on_both_sides() {
        let now: Time = "2026-03-01T12:00:00Z".parse().unwrap();
        let second =
            |offset: i64| Some(f64::from(i32::try_from(now.timestamp() + offset).unwrap()));
        let minute = Duration::from_mins(1);
        let ok = |exp, nbf| {
            let written = Written {
                exp,
                nbf,
                sub: None,
                reseller_id: None,
                role: None,
                scope: None,
            };
            expiry(&written, now, minute).is_some()
        };
        assert!(
            ok(second(1), None)
                && ok(second(-59), None)
                && !ok(second(-60), None)
                && !ok(None, None)
        );
        assert!(
            ok(second(9), second(60))
                && !ok(second(9), second(61))
                && ok(Some(1e300), Some(-1e300))
                && !ok(Some(f64::NAN), None)
        );
    }
}

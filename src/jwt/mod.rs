//! JSON Web Tokens: checking signature, issuer, audience and times, and reading the claims.
//!
//! There are two kinds:
//!
//! - *Own* tokens are issued by this service and signed with its own key. The service also looks
//!   them up in the database, so that they can be listed and revoked like any other credential.
//! - *External* tokens are issued by an issuer that the configuration trusts. The service does not
//!   store them: their claims name the reseller and the scopes, and they are valid until they
//!   expire.
//!
//! Every key is pinned to one algorithm, and a token's header must name that algorithm. A token
//! with `none` is therefore refused, and no token can pass off a public key as a shared secret.

mod keys;

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Error, MAX_TEXT, Owner, ResellerId, Scope, Scopes, Time, check_text};
use crate::secret_url::SecretUrl;
use keys::Keys;

/// The maximum length of a token, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// The prefix of the `kid` of own tokens.
const OWN_KEY_PREFIX: &str = "steward-";
/// The last second of the year 9999, in seconds since 1970.
const END_OF_9999: f64 = 253_402_300_799.0;
/// Issuer and audience of own tokens.
const OWN_ISSUER: &str = "steward";

/// The trusted issuer of external tokens, and its keys.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The required claim `iss`.
    pub issuer: String,
    /// The required claim `aud`.
    pub audience: String,
    /// A shared secret of at least 32 bytes, for HS256.
    pub secret: Option<SecretString>,
    /// A PEM file with a public key, for RS256 or EdDSA.
    pub public_key_file: Option<PathBuf>,
    /// A file with a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// The URL of a JSON Web Key Set.
    pub jwks_url: Option<SecretUrl>,
    /// By how much the issuer's clock may differ from ours.
    pub leeway: Duration,
    /// Whether external tokens may have the `role` `operator`.
    pub operators: bool,
}

/// The claims of a valid external token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The claim `sub`, shortened for the journal.
    pub subject: String,
    /// The reseller. `None` means the operator.
    pub reseller: Option<ResellerId>,
    /// The scopes that Steward knows. Others are left out.
    pub scopes: Scopes,
    /// The claim `owner`: the owner to which the token is bound.
    pub owner: Option<Owner>,
    /// When the token expires, leeway included.
    pub expires_at: Time,
}

/// Checks external tokens.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    keys: Keys,
}

/// The claims as the token has them.
#[derive(Deserialize)]
struct RawClaims {
    /// One issuer (RFC 7519, 4.1.1). The library would accept a list that has ours among others.
    iss: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    reseller_id: Option<Value>,
    role: Option<String>,
    /// Also null is something: an issuer that knows no owner leaves the claim out.
    #[serde(default, deserialize_with = "present")]
    owner: Option<Value>,
    /// Issuers name the scopes in one of these three claims, or in several.
    scope: Option<Value>,
    scopes: Option<Value>,
    scp: Option<Value>,
}

/// The claims of own tokens.
#[derive(Serialize)]
struct OwnClaims<'a> {
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

/// An own token that is to be signed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The number of the credential.
    pub token: i64,
    /// The reseller. `None` means the operator.
    pub reseller: Option<ResellerId>,
    /// The scopes.
    pub scopes: &'a Scopes,
    /// Random text that makes the token unpredictable. It is not stored.
    pub nonce: &'a str,
    /// The claim `iat`.
    pub issued_at: Time,
    /// The claim `exp`.
    pub expires_at: Time,
}

/// Whether a text has the form of a JSON Web Token.
#[must_use]
pub fn is_well_formed(token: &str) -> bool {
    token.len() <= MAX_LENGTH
        && token.bytes().filter(|byte| *byte == b'.').count() == 2
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The id of the key that an own token names. `None` means that the token is external or
/// unreadable.
#[must_use]
pub fn own_key(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token)
        .ok()?
        .kid
        .filter(|kid| kid.starts_with(OWN_KEY_PREFIX))
}

/// The id of the service's own key number `number`.
#[must_use]
pub fn own_key_name(number: u32) -> String {
    format!("{OWN_KEY_PREFIX}{number}")
}

/// Signs an own token.
///
/// # Errors
/// A text for the log, if the token cannot be encoded.
pub fn issue(draft: &Draft, key_name: &str, secret: &[u8]) -> Result<SecretString, String> {
    let header = Header {
        kid: Some(key_name.to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let words: Vec<_> = draft.scopes.iter().map(Scope::as_str).collect();
    let claims = OwnClaims {
        iss: OWN_ISSUER,
        aud: OWN_ISSUER,
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

/// Whether an own token has a valid signature and has not expired.
#[must_use]
pub fn is_ours(token: &str, secret: &[u8], now: Time) -> bool {
    let decoded = jsonwebtoken::decode::<RawClaims>(
        token,
        &DecodingKey::from_secret(secret),
        &validation(Algorithm::HS256, OWN_ISSUER, OWN_ISSUER),
    );
    decoded.is_ok_and(|decoded| expiry(&decoded.claims, now, Duration::ZERO).is_some())
}

impl Verifier {
    /// Reads the keys in the configuration and in files.
    ///
    /// # Errors
    /// If a key cannot be read. The text names the configuration key.
    pub fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            keys: Keys::from_settings(&settings)?,
            settings,
        })
    }

    /// Checks an external token and reads its claims.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`] for every problem. The log has the reason at level debug.
    pub async fn verify(&self, token: &str, now: Time) -> Result<Claims, Error> {
        let refuse = |why: &str| {
            tracing::debug!(why, "a JSON Web Token was refused");
            Error::CredentialInvalid
        };
        let header =
            jsonwebtoken::decode_header(token).map_err(|error| refuse(&error.to_string()))?;
        // Its extensions must be understood (RFC 7515, section 4.1.11), and none is.
        if header.crit.is_some() {
            return Err(refuse("its header has crit"));
        }
        let validation = validation(header.alg, &self.settings.issuer, &self.settings.audience);
        for key in self
            .keys
            .candidates(header.alg, header.kid.as_deref(), now)
            .await
        {
            if let Ok(decoded) = jsonwebtoken::decode::<RawClaims>(token, &key, &validation) {
                return self.claims(decoded.claims, now).map_err(refuse);
            }
        }
        Err(refuse(
            "no known key verifies its signature, issuer and audience",
        ))
    }

    fn claims(&self, raw: RawClaims, now: Time) -> Result<Claims, &'static str> {
        if raw.iss.as_ref() != Some(&self.settings.issuer) {
            return Err("its iss is not the configured issuer");
        }
        let expires_at = expiry(&raw, now, self.settings.leeway)
            .ok_or("it has expired, is not valid yet, or has no exp up to the year 9999")?;
        let reseller = match (raw.role.as_deref(), &raw.reseller_id) {
            (Some("operator"), None) if self.settings.operators => None,
            (Some("operator"), _) => return Err("role: operators are not trusted"),
            (_, Some(id)) => Some(reseller(id).ok_or("reseller_id is not a number from 1")?),
            (_, None) => return Err("reseller_id is missing"),
        };
        let claims = [&raw.scope, &raw.scopes, &raw.scp];
        let scopes = claims.into_iter().flatten().flat_map(scopes).collect();
        Ok(Claims {
            subject: subject(raw.sub)?,
            reseller,
            scopes,
            owner: raw.owner.as_ref().map(owner).transpose()?,
            expires_at,
        })
    }
}

/// A claim that is there, whatever its value.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The claim `owner`. A token whose owner cannot be read is refused: unbound, it would do more.
fn owner(claim: &Value) -> Result<Owner, &'static str> {
    claim
        .as_str()
        .and_then(|name| Owner::parse("owner", name).ok())
        .ok_or("owner is not 1 to 40 lower-case letters, digits and hyphens")
}

/// Checks everything but the times. [`expiry`] checks those, because tests set the clock.
fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["iss", "aud"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation
}

/// When a token expires, leeway included. `None` if it has expired, is not valid yet, or has no
/// `exp`. A later `exp` than the year 9999 is a mistake, such as milliseconds instead of seconds.
fn expiry(claims: &RawClaims, now: Time, leeway: Duration) -> Option<Time> {
    let at = |seconds: f64| {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "clamped to what fits"
        )]
        let seconds = seconds.clamp(0.0, END_OF_9999) as i64;
        Time::from_timestamp(seconds, 0)
    };
    let ends = claims.exp.filter(|seconds| *seconds <= END_OF_9999)?;
    let ends = at(ends)?.checked_add_signed(chrono::TimeDelta::from_std(leeway).ok()?)?;
    let begins = match claims.nbf {
        None => None,
        Some(begins) => {
            Some(at(begins)?.checked_sub_signed(chrono::TimeDelta::from_std(leeway).ok()?)?)
        }
    };
    (ends > now && begins.is_none_or(|begins| begins <= now)).then_some(ends)
}

/// Reads a reseller's number, which may be a JSON number or a text. `None` if it is not 1 or more.
fn reseller(claim: &Value) -> Option<ResellerId> {
    let id = claim.as_i64().or_else(|| claim.as_str()?.parse().ok())?;
    (id > 0).then_some(ResellerId(id))
}

/// Reads scopes from a text with spaces between them, or from an array. Unknown scopes are left
/// out.
fn scopes(claim: &Value) -> Vec<Scope> {
    let text = claim.as_str().unwrap_or_default().split(' ');
    let list = claim
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str);
    text.chain(list).filter_map(Scope::parse).collect()
}

/// Shortens a subject to 100 characters for the journal.
///
/// # Errors
/// If it has control characters or invisible ones: in the journal it would look like another
/// subject.
fn subject(claim: Option<String>) -> Result<String, &'static str> {
    let short: String = claim.unwrap_or_default().chars().take(100).collect();
    if short.is_empty() {
        return Ok("unnamed".to_owned());
    }
    check_text("sub", &short, MAX_TEXT)
        .map_err(|_| "its sub has control characters or invisible ones")?;
    Ok(short)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_may_be_texts_numbers_or_arrays() {
        let words = |claim: Value| {
            scopes(&claim)
                .into_iter()
                .map(Scope::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            words(json!("openid account:write account:read")),
            "account:write account:read"
        );
        assert_eq!(words(json!(["account:read", 7, "x"])), "account:read");
        assert_eq!(
            [json!(7), json!(null), json!({})].map(words),
            [const { String::new() }; 3]
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
        let subject = |claim: Option<&str>| subject(claim.map(str::to_owned));
        assert_eq!(subject(None), Ok("unnamed".to_owned()));
        assert_eq!(subject(Some("J\u{f6}rg")), Ok("J\u{f6}rg".to_owned()));
        for odd in ["a\nb", "ad\u{200b}min", "\u{202e}nimda", "a\u{fffe}"] {
            assert!(subject(Some(odd)).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_leeway_applies_to_exp_and_to_nbf() {
        let now: Time = "2026-03-01T12:00:00Z".parse().unwrap();
        let second =
            |offset: i64| Some(f64::from(i32::try_from(now.timestamp() + offset).unwrap()));
        let minute = Duration::from_mins(1);
        let is_valid = |exp, nbf| {
            let claims = RawClaims {
                iss: None,
                exp,
                nbf,
                sub: None,
                reseller_id: None,
                role: None,
                owner: None,
                scope: None,
                scopes: None,
                scp: None,
            };
            expiry(&claims, now, minute).is_some()
        };
        assert!(
            is_valid(second(1), None)
                && is_valid(second(-59), None)
                && !is_valid(second(-60), None)
                && !is_valid(None, None)
        );
        assert!(
            is_valid(second(9), second(60))
                && !is_valid(second(9), second(61))
                && is_valid(Some(END_OF_9999), Some(-1e300))
                && !is_valid(second(9), Some(1e300))
                && !is_valid(Some(END_OF_9999 + 1.0), None)
                && !is_valid(Some(f64::NAN), None)
        );
    }
}

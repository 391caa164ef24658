//! Signatures of deliveries. With them a receiver can check that a request comes from this service,
//! and that nobody replays an old one.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::SignatureStyle;

/// The headers that sign a delivery. `id` is the message id, the same for every attempt.
/// `timestamp` is the time of this attempt, in seconds since 1970. While a secret is being rotated
/// there are two `secrets`, the new one first.
#[must_use]
pub fn headers(
    style: SignatureStyle,
    secrets: &[String],
    id: &str,
    timestamp: i64,
    body: &str,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
    ];
    match style {
        SignatureStyle::Standard => {
            let content = format!("{id}.{timestamp}.{body}");
            let keys = secrets.iter().filter_map(|secret| {
                BASE64
                    .decode(secret.strip_prefix("whsec_").unwrap_or(secret).as_bytes())
                    .ok()
            });
            let signatures: Vec<_> = keys
                .map(|key| format!("v1,{}", mac(&key, &content)))
                .collect();
            headers.push(("webhook-signature", signatures.join(" ")));
        }
        // The `v3` original (Cryptlex) sends one signature. During a rotation it is made with the
        // new secret.
        SignatureStyle::Plain => {
            headers.extend(
                secrets
                    .first()
                    .map(|secret| ("webhook-signature", mac(secret.as_bytes(), body))),
            );
        }
    }
    headers
}

/// HMAC-SHA-256 in base64.
fn mac(key: &[u8], content: &str) -> String {
    // HMAC accepts keys of any length, so this cannot fail.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| String::new(),
        |mac| BASE64.encode(&mac.chain_update(content).finalize().into_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_style_matches_the_reference_vectors() {
        // From the specification's reference implementations.
        let secret = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()];
        let signed = headers(
            SignatureStyle::Standard,
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed,
            [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                (
                    "webhook-signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()
                )
            ]
        );
        let two = [
            secret.concat(),
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(),
        ];
        let signed = headers(SignatureStyle::Standard, &two, "a", 1, "b");
        let (_, signatures) = signed.last().unwrap();
        assert_eq!(
            signatures
                .split(' ')
                .filter(|signature| signature.starts_with("v1,"))
                .count(),
            2
        );
    }

    #[test]
    fn the_plain_style_signs_the_body_with_the_bytes_of_the_newest_secret() {
        // RFC 4231, test case 2.
        let signed = headers(
            SignatureStyle::Plain,
            &["Jefe".to_owned(), "old".to_owned()],
            "a",
            1,
            "what do ya want for nothing?",
        );
        let hex = data_encoding::HEXLOWER
            .encode(&BASE64.decode(signed.last().unwrap().1.as_bytes()).unwrap());
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}

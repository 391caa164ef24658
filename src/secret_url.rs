//! URLs that may contain a secret: a password, or a token in the query.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

/// What is shown in place of a secret.
pub const MASK: &str = "********";

/// A URL that may contain a secret. Both its `Display` and its `Debug` mask the user name, the
/// password and every value in the query, so it can be logged and shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The URL with its secrets, to connect to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretUrl {
    fn from(url: String) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.expose()))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&mask(self.expose()), f)
    }
}

/// A URL without its user name, its password, its fragment and the values in its query. A text that
/// cannot be read as a URL is masked as a whole.
#[must_use]
pub fn mask(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else {
        return MASK.to_owned();
    };
    if parsed.cannot_be_a_base() {
        return MASK.to_owned();
    }
    let mut shown = parsed.clone();
    shown.set_fragment(None);
    shown.set_query(None);
    let has_login = !parsed.username().is_empty() || parsed.password().is_some();
    // Fails only for URLs without a host, which have no login.
    let _without_host = shown.set_password(None).and(shown.set_username(""));
    let mut text = shown.to_string();
    if has_login {
        text = text.replacen("://", &format!("://{MASK}@"), 1);
    }
    if let Some(query) = parsed.query() {
        let parts: Vec<String> = query
            .split('&')
            .map(|part| match part.split_once('=') {
                Some((name, _)) => format!("{name}={MASK}"),
                None => MASK.to_owned(),
            })
            .collect();
        text = format!("{text}?{}", parts.join("&"));
    }
    // The parser adds a slash to a host without a path.
    if parsed.path() == "/" && parsed.query().is_none() && !url.trim_end().ends_with('/') {
        text.truncate(text.trim_end_matches('/').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_shown() {
        for (url, shown) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("https://h/a/b", "https://h/a/b"),
            ("https://h/", "https://h/"),
            ("https://user:pw@h:1/a", "https://********@h:1/a"),
            ("https://token@h", "https://********@h"),
            (
                "https://h/a?key=k&x=1&y",
                "https://h/a?key=********&x=********&********",
            ),
            ("https://:pw@h/?q=1#frag", "https://********@h/?q=********"),
            (
                "postgres://u:p@h/d?password=x",
                "postgres://********@h/d?password=********",
            ),
            ("u:p@h", "********"),
            ("no url", "********"),
        ] {
            let secret = SecretUrl::from(url.to_owned());
            assert_eq!(secret.to_string(), shown);
            assert_eq!(format!("{secret:?}"), format!("{shown:?}"));
            assert_eq!(secret.expose(), url);
        }
    }
}

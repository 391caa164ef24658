//! Limits of texts and URLs, shared by all fields that callers fill in.

use url::Url;

use super::Error;

/// The maximum length of a short text (name, code, domain), in characters.
pub const MAX_TEXT: usize = 255;
/// The maximum length of a long text (reason, message, URL), in characters.
pub const MAX_LONG_TEXT: usize = 2_048;
/// The maximum length of a host name, in characters (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;
/// The maximum length of a port with its colon, in characters.
const MAX_PORT: usize = 6;

/// Parses a URL and checks the length of its host name. A host that is too long is refused before
/// parsing, because translating a name that is not ASCII takes time quadratic in its length.
///
/// # Errors
/// [`Error::InvalidField`] for `field`. If the URL cannot be parsed, the problem is `unreadable`.
pub(super) fn read_url(field: &'static str, written: &str, unreadable: &str) -> Result<Url, Error> {
    let too_long = || {
        Error::invalid(
            field,
            format!("must have a host name of at most {MAX_HOST} characters"),
        )
    };
    let host = authority(written).rsplit('@').next().unwrap_or_default();
    if host.chars().count() > MAX_HOST + MAX_PORT {
        return Err(too_long());
    }
    let url = Url::parse(written).map_err(|_| Error::invalid(field, unreadable))?;
    if url.host_str().is_some_and(|host| host.len() > MAX_HOST) {
        Err(too_long())
    } else {
        Ok(url)
    }
}

/// The user info, host and port of a URL: the text between scheme and path. As in browsers, any
/// number of slashes or backslashes may precede it.
pub(super) fn authority(written: &str) -> &str {
    let slashes = ['/', '\\'];
    let after_scheme = written
        .split_once(':')
        .map_or(written, |(_, rest)| rest)
        .trim_start_matches(slashes);
    after_scheme
        .split(|c| slashes.contains(&c) || matches!(c, '?' | '#'))
        .next()
        .unwrap_or_default()
}

/// Accepts a text of 1 ..= `max` characters without control characters. Only long texts may contain
/// line breaks and tabs.
///
/// # Errors
/// [`Error::InvalidField`] for `field`, naming the limit that the text breaks.
pub(super) fn check(field: &'static str, value: &str, max: usize) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    let length = value.chars().count();
    if length > max {
        return Err(Error::invalid(
            field,
            format!("must be at most {max} characters, not {length}"),
        ));
    }
    // No XML document can contain U+FFFE and U+FFFF, and the APIs also answer in XML.
    let allowed = |c: char| {
        !matches!(c, '\u{fffe}' | '\u{ffff}') && !c.is_control()
            || (max > MAX_TEXT && matches!(c, '\n' | '\r' | '\t'))
    };
    if value.chars().all(allowed) {
        Ok(())
    } else {
        Err(Error::invalid(field, "must not contain control characters"))
    }
}

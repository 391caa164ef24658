//! Limits of free text, shared by every field that people fill in.

use url::Url;

use super::Error;

/// The longest short text (names, codes, domains), in characters.
pub const MAX_TEXT: usize = 255;
/// The longest long text (reasons, messages, URLs), in characters.
pub const MAX_LONG_TEXT: usize = 2_048;
/// The longest name of a host, in characters (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;
/// The longest port, with its colon.
const MAX_PORT: usize = 6;

/// Reads a URL whose host has a name that hosts can have. What is too long is refused before it is read: to translate a name that
/// is not ASCII takes time that grows with the square of its length.
///
/// # Errors
/// [`Error::InvalidField`] for `field`; `unreadable` says what the URL must be.
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

/// What stands between a URL's scheme and its path as browsers read it, whatever slashes are before it: user info, host and port.
pub(super) fn authority(written: &str) -> &str {
    let slashes = ['/', '\\'];
    let behind_scheme = written
        .split_once(':')
        .map_or(written, |(_, rest)| rest)
        .trim_start_matches(slashes);
    behind_scheme
        .split(|c| slashes.contains(&c) || matches!(c, '?' | '#'))
        .next()
        .unwrap_or_default()
}

/// Accepts a text of 1 ..= `max` characters without control characters. Line breaks and tabs are allowed in
/// long texts only.
///
/// # Errors
/// [`Error::InvalidField`] for `field`, saying which limit was met.
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
    // The last two can be said in no XML document.
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

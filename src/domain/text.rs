//! Limits of texts and URLs, shared by all fields that callers fill in.

use chrono_tz::Tz;
use icu_properties::props::{
    BinaryProperty as _, DefaultIgnorableCodePoint, EnumeratedProperty as _, GeneralCategory,
};
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

/// # Errors
/// [`Error::InvalidField`] for `timezone` if there is no time zone of this name.
pub fn check_time_zone(name: &str) -> Result<(), Error> {
    let accepted = "the name of a time zone such as Europe/Berlin";
    let zone = name.parse::<Tz>();
    zone.map(|_| ())
        .map_err(|_| Error::must_be("timezone", accepted, name))
}

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
/// line breaks, tabs and invisible characters: short ones are names and codes, which people compare
/// by looking at them.
///
/// # Errors
/// [`Error::InvalidField`] for `field`, naming the limit that the text breaks.
pub fn check(field: &'static str, value: &str, max: usize) -> Result<(), Error> {
    check_length(field, value, max)?;
    if max > MAX_TEXT {
        Ok(())
    } else {
        check_visible(field, value)
    }
}

/// As [`check`], but accepts invisible characters.
///
/// # Errors
/// [`Error::InvalidField`] for `field`, naming the limit that the text breaks.
pub(super) fn check_length(field: &'static str, value: &str, max: usize) -> Result<(), Error> {
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
    let is_long = max > MAX_TEXT;
    // No XML document can contain U+FFFE and U+FFFF, and the APIs also answer in XML.
    let allowed = |c: char| {
        !matches!(c, '\u{fffe}' | '\u{ffff}') && !c.is_control()
            || (is_long && matches!(c, '\n' | '\r' | '\t'))
    };
    match value.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(Error::invalid(
            field,
            format!(
                "must not contain control characters, such as U+{:04X}",
                u32::from(c)
            ),
        )),
        None => Ok(()),
    }
}

/// Refuses characters that nobody sees: format characters, such as a zero width space or a mark that
/// turns the direction of writing, other characters that are not shown, and separators of lines.
///
/// Some scripts and emoji need a joiner or a variation selector. These are accepted behind a visible
/// character that is not ASCII.
///
/// # Errors
/// [`Error::InvalidField`] for `field`, naming the character.
pub(super) fn check_visible(field: &'static str, value: &str) -> Result<(), Error> {
    // Behind which character the loop is: one that can be joined, or a variation selector after it.
    let (mut is_joinable, mut is_selected) = (false, false);
    for c in value.chars() {
        let selects = matches!(c, '\u{fe0e}' | '\u{fe0f}');
        let joins = matches!(c, '\u{200c}' | '\u{200d}');
        let is_expected = is_joinable && (selects || joins) || is_selected && joins;
        if (is_invisible(c) && !is_expected) || matches!(c, '\u{2028}' | '\u{2029}') {
            return Err(invisible(field, c));
        }
        is_joinable = !selects && !joins && !c.is_ascii() && !c.is_whitespace();
        is_selected = selects;
    }
    Ok(())
}

/// Whether a character is never shown: Unicode's format characters, and those that a program which
/// does not know them shall ignore.
pub(super) fn is_invisible(c: char) -> bool {
    GeneralCategory::for_char(c) == GeneralCategory::Format
        || DefaultIgnorableCodePoint::for_char(c)
}

/// The error for an invisible character.
pub(super) fn invisible(field: &'static str, c: char) -> Error {
    Error::invalid(
        field,
        format!(
            "must not contain invisible characters, such as U+{:04X}",
            u32::from(c)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_have_no_invisible_characters() {
        for good in [
            "Jo's Caf\u{e9} & S\u{f6}hne",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "\u{2764}\u{fe0f} Hosting",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
        ] {
            assert_eq!(check("name", good, MAX_TEXT), Ok(()), "{good:?}");
        }
        for bad in [
            "ad\u{200d}min",
            "ad\u{200b}min",
            "\u{202e}nimda",
            "\u{2066}x\u{2069}",
            "\u{feff}x",
            "a\u{ad}b",
            "a\u{2028}b",
            "\u{200d}",
            "\u{e9}\u{200d}\u{200d}x",
            "\u{e9}\u{fe0f}\u{fe0f}x",
            "x\u{3164}",
            "x\u{e0041}",
            "x\u{34f}",
            "x\u{fffe}",
            "x\ny",
        ] {
            assert!(
                check("name", bad, MAX_TEXT).is_err(),
                "{bad:?} was accepted"
            );
        }
        let long = "dir\u{200f}ection\nand lines";
        assert_eq!(check("reason", long, MAX_LONG_TEXT), Ok(()));
    }
}

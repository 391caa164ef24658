//! Limits of free text, shared by every field that people fill in.

use super::Error;

/// The longest short text (names, codes, domains), in characters.
pub const MAX_TEXT: usize = 255;
/// The longest long text (reasons, messages, URLs), in characters.
pub const MAX_LONG_TEXT: usize = 2_048;

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
        return Err(Error::invalid(field, format!("must be at most {max} characters, not {length}")));
    }
    // The last two can be said in no XML document.
    let allowed = |c: char| !matches!(c, '\u{fffe}' | '\u{ffff}') && !c.is_control() || (max > MAX_TEXT && matches!(c, '\n' | '\r' | '\t'));
    if value.chars().all(allowed) { Ok(()) } else { Err(Error::invalid(field, "must not contain control characters")) }
}

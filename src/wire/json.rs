//! JSON documents: a scan of the nesting depth and the number of values, then serde. Serde alone
//! would skip unknown members however deep they are.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::notes::Notes;
use super::strict;
use super::{Error, MAX_DEPTH, MAX_VALUES, Verbatim, malformed, too_many_values};

pub(super) fn decode<T: DeserializeOwned>(text: &str, notes: &mut Notes) -> Result<T, Error> {
    check_limits(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    notes.refuses_sequences = true;
    if text.trim_start().starts_with('[') {
        // It cannot be read, but trying to finds out what members it should have.
        let _refused: Result<T, _> = strict::read(&mut deserializer, notes);
        let only = notes
            .only_member()
            .map(|name| format!(" such as {{\"{name}\": [...]}}"));
        return Err(Error::document(format!(
            "must be an object{}, not an array",
            only.unwrap_or_default()
        )));
    }
    let value: T =
        strict::read(&mut deserializer, notes).map_err(|error| json_error(notes, &error))?;
    deserializer
        .end()
        .map_err(|error| json_error(&Notes::default(), &error))?;
    Ok(value)
}

fn check_limits(text: &str) -> Result<(), Error> {
    let (depth, values) = measure(text);
    if depth > MAX_DEPTH {
        return Err(Error::document(format!(
            "objects and arrays are nested deeper than {MAX_DEPTH}"
        )));
    }
    if values > MAX_VALUES {
        return Err(too_many_values());
    }
    Ok(())
}

/// The nesting depth of objects and arrays, and the number of values: each begins the document, an
/// object or an array, or follows a comma. Also works for documents that are not well-formed.
fn measure(text: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut values) = (0_usize, 0_usize, 1_usize);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'{' | b'[' if !is_in_string => {
                depth += 1;
                values += 1;
            }
            b',' if !is_in_string => values += 1,
            b'}' | b']' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest, values)
}

/// An error in a value gets the path of its field. A syntax error has no path; serde's message
/// names the line and column.
fn json_error(notes: &Notes, error: &serde_json::Error) -> Error {
    match error.classify() {
        serde_json::error::Category::Data => malformed(notes, &error.to_string()),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => Error::document(format!("not valid JSON: {error}")),
    }
}

/// See [`super::members`].
pub(super) fn members(text: &str) -> Result<BTreeMap<String, Verbatim>, Error> {
    check_limits(text)?;
    match Verbatim::read(text) {
        Ok(Verbatim::Object(members)) => Ok(members),
        Ok(_) => Err(Error::document("must be an object")),
        Err(error) => Err(json_error(&Notes::default(), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(measure(r#"{"a":[1,{"b":"[[[[\"],]{{"}],"c":[]}"#), (3, 7));
        assert_eq!(measure("7"), (0, 1));
        assert_eq!(measure(&"[".repeat(10_000)), (10_000, 10_001));
    }
}

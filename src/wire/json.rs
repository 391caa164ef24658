//! JSON documents. `serde_json` bounds the depth (128) and the numbers itself.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Error, malformed, text_of};

pub(super) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    // Serde would take an array for a struct, member by member.
    if text.trim_start().starts_with('[') {
        return Err(Error::document("must be an object, not an array"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| said(&error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| said("", &error))?;
    Ok(value)
}

/// A syntax error is at a place, a wrong value is at a field.
fn said(path: &str, error: &serde_json::Error) -> Error {
    match error.classify() {
        serde_json::error::Category::Data => malformed(path, &error.to_string()),
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            Error::document(format!("not valid JSON: {error}"))
        }
    }
}

/// The members of a document that is already known to be well-formed, as they are.
///
/// # Errors
/// [`Error::Malformed`] if the document is no object.
pub fn members(body: &[u8]) -> Result<Map<String, Value>, Error> {
    decode(text_of(body)?)
}

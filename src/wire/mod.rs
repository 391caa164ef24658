//! How bytes look: media types, JSON and XML codecs, and limits. No business words.
//!
//! Both codecs decode into the same serde structs. What serde would let pass is refused before it is asked:
//! too many bytes, too much depth, too many attributes, a document type, entities beyond the five, a wrong root,
//! a second root, another character set. Whatever is wrong is said with the path of the field.

mod field;
mod json;
mod media;
mod soap;
mod xml;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use field::{Field, number_or_text, object};
pub use json::members as json_members;
pub use media::{Codec, Parameters, accepted, codec_of, media_type};
pub use soap::{SoapProblem, SoapRequest, SoapVersion, escaped, read_envelope, write_envelope};
pub use xml::members as xml_members;

/// The deepest nesting that is read, in both formats.
const MAX_DEPTH: usize = 32;

/// Why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither JSON nor XML, or not in UTF-8.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The body is larger than the limit.
    #[error("body too large")]
    TooLarge,
    /// The body is not a document of the expected form.
    #[error("{}", said(.field, .problem))]
    Malformed {
        /// The path of the field, as `frozen_details.payment_url`; empty when the document as a whole is wrong.
        field: String,
        /// What is wrong; quotes no more than the value in question.
        problem: String,
    },
}

impl Error {
    fn document(problem: impl Into<String>) -> Self {
        Self::Malformed {
            field: String::new(),
            problem: problem.into(),
        }
    }
}

fn said(field: &str, problem: &str) -> String {
    if field.is_empty() {
        problem.to_owned()
    } else {
        format!("{field}: {problem}")
    }
}

/// Decodes a request's body. Unknown members are ignored, repeated known ones are not accepted.
///
/// # Errors
/// [`Error::Malformed`] with the path of the field, [`Error::UnsupportedMediaType`] when an XML declaration
/// names another character set.
pub fn decode<T: DeserializeOwned>(codec: Codec, body: &[u8]) -> Result<T, Error> {
    let text = text_of(body)?;
    match codec {
        Codec::Json => json::decode(text, None),
        Codec::Xml => xml::decode(text, None),
    }
}

/// Decodes the body of a request, and lists the paths of the members that the request does not know.
///
/// # Errors
/// As [`decode`].
pub fn decode_listing_unknown<T: DeserializeOwned>(
    codec: Codec,
    body: &[u8],
) -> Result<(T, Vec<String>), Error> {
    let (text, mut unknown) = (text_of(body)?, Vec::new());
    let value = match codec {
        Codec::Json => json::decode(text, Some(&mut unknown)),
        Codec::Xml => xml::decode(text, Some(&mut unknown)),
    };
    // `?` stands for the value inside an `Option`.
    let plain = |path: String| path.replace(".?", "");
    Ok((value?, unknown.into_iter().map(plain).collect()))
}

/// Deserializes with the path of what is wrong, and lists the members that the type does not know where a list is given.
fn deserialize<'de, T, D>(
    deserializer: D,
    unknown: Option<&mut Vec<String>>,
) -> Result<T, (String, D::Error)>
where
    T: DeserializeOwned,
    D: serde::Deserializer<'de>,
{
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let value = match unknown {
        None => T::deserialize(tracked),
        Some(unknown) => serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string())),
    };
    value.map_err(|error| (track.path().to_string(), error))
}

/// Encodes an answer. XML gets the root element `xml`, no declaration and no namespace.
///
/// # Errors
/// Only if the value cannot be expressed in the format, which is a defect of the value's type.
pub fn encode<T: Serialize>(codec: Codec, value: &T) -> Result<Vec<u8>, String> {
    match codec {
        Codec::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
        Codec::Xml => quick_xml::se::to_string_with_root("xml", value)
            .map(String::into_bytes)
            .map_err(|error| error.to_string()),
    }
}

/// The body as text, without a byte order mark.
fn text_of(body: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::document(format!("not valid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        Err(Error::document("the body is empty"))
    } else {
        Ok(text)
    }
}

/// Turns a serde error with its path into ours: `missing field` and `duplicate field` name the field themselves.
fn malformed(path: &str, message: &str) -> Error {
    let message = message
        .split_once(" at line ")
        .map_or(message, |(message, _)| message);
    let path = if matches!(path, "." | "?") { "" } else { path };
    let quoted = |prefix: &str| {
        message
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('`').next())
    };
    let (child, problem) = match (quoted("missing field `"), quoted("duplicate field `")) {
        (Some(child), _) => (Some(child), "is required".to_owned()),
        (_, Some(child)) => (Some(child), "appears more than once".to_owned()),
        _ => (None, message.to_owned()),
    };
    let field = match child {
        Some(child) if path.is_empty() || path.ends_with(child) => child.to_owned(),
        Some(child) => format!("{path}.{child}"),
        None => path.to_owned(),
    };
    Error::Malformed { field, problem }
}

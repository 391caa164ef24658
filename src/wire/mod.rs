//! Formats: media types, the JSON, XML and SOAP codecs, and their limits. This module does not
//! interpret the documents.
//!
//! The JSON and XML codecs decode into the same serde structs. Serde would accept some documents
//! that must be refused, so a scan refuses them first: nesting that is too deep, too many values and, in XML, too
//! many attributes, a document type, entities other than the five of XML, or a wrong or second root
//! element. XML must be well-formed too. Errors name the path of the field.

mod canonical;
mod charset;
mod field;
mod json;
mod media;
mod nearest;
mod notes;
mod rows;
mod soap;
mod strict;
mod tree;
mod type_errors;
mod verbatim;
mod xml;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use notes::Notes;

pub use canonical::{Canonical, canonical};
pub use charset::{other_charset, to_utf8};
pub use field::{Field, number_or_text};
pub use media::{Codec, Parameters, accepted, codec_of, media_type, quality};
pub use nearest::nearest;
pub use notes::UnknownMember;
pub use rows::{MAX_PAGE, Rows, encode_row};
pub use soap::{
    SoapProblem, SoapRequest, SoapVersion, escaped, not_well_formed, read_envelope, write_envelope,
    write_not_understood,
};
pub use verbatim::{Members, Verbatim};

/// The maximum nesting depth of a document, in all formats.
const MAX_DEPTH: usize = 32;
/// The maximum number of values in a document, in all formats: members, elements and the entries of
/// lists. Small ones cost the most time to read. The largest request, a bulk request of 1,000
/// operations with every member, has 15,000.
const MAX_VALUES: usize = 20_000;

fn too_many_values() -> Error {
    Error::document(format!("has more than {MAX_VALUES} values"))
}

/// Why a request's body was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is neither JSON nor XML; the beginning of its `Content-Type`, empty if there is none.
    #[error("{}", media_type_problem(.0))]
    UnsupportedMediaType(String),
    /// The body is in this character set, which is unknown or, in `v3`, not UTF-8.
    #[error("unknown character set {0}")]
    UnknownCharset(String),
    /// The body has this `Content-Encoding`. Bodies are read uncompressed only.
    #[error("unknown content encoding {0}")]
    ContentEncoding(String),
    /// The body is larger than the limit.
    #[error("body too large")]
    TooLarge,
    /// The body is not a document of the expected form.
    #[error("{}", with_path(.field, .problem))]
    Malformed {
        /// The path of the field, such as `frozen_details.payment_url`. Empty if the problem is not
        /// in one field.
        field: String,
        /// What is wrong. It quotes at most the value of the field.
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

fn media_type_problem(given: &str) -> String {
    let accepted = "send application/json or application/xml";
    if given.is_empty() {
        format!("the Content-Type header is missing; {accepted}")
    } else {
        format!("the Content-Type is {given}; {accepted}")
    }
}

fn with_path(field: &str, problem: &str) -> String {
    if field.is_empty() {
        problem.to_owned()
    } else {
        format!("{field}: {problem}")
    }
}

/// Decodes a request's body. Unknown members are ignored; a known member may appear only once.
///
/// # Errors
/// [`Error::Malformed`] with the path of the field. [`Error::UnsupportedMediaType`] if an XML
/// declaration names a character set other than UTF-8.
pub fn decode<T: DeserializeOwned>(codec: Codec, body: &[u8]) -> Result<T, Error> {
    decode_noting(codec, body).map(|(value, _)| value)
}

/// The paths of the members of a request's body that the request does not know.
///
/// # Errors
/// As [`decode`].
pub fn unknown_paths<T: DeserializeOwned>(codec: Codec, body: &[u8]) -> Result<Vec<String>, Error> {
    decode_noting::<T>(codec, body).map(|(_, notes)| notes.unknown_paths())
}

/// Decodes a request's body, and lists the members that the request does not know.
///
/// # Errors
/// As [`decode`].
pub fn decode_listing_unknown<T: DeserializeOwned>(
    codec: Codec,
    body: &[u8],
) -> Result<(T, Vec<UnknownMember>), Error> {
    decode_noting(codec, body).map(|(value, notes)| (value, notes.unknown()))
}

/// Decodes a request's body. What it does not know is noted only: comparing it with what it does
/// know takes longer than decoding a small body.
fn decode_noting<T: DeserializeOwned>(codec: Codec, body: &[u8]) -> Result<(T, Notes), Error> {
    let (text, mut notes) = (text_of(body)?, Notes::default());
    check_language(codec, text)?;
    let value = match codec {
        Codec::Json => json::decode(text, &mut notes)?,
        Codec::Xml => xml::decode(text, &mut notes)?,
    };
    Ok((value, notes))
}

/// Refuses JSON that is declared as XML, and the reverse, in words that name the mistake.
fn check_language(codec: Codec, text: &str) -> Result<(), Error> {
    let (declared, looks_like) = match (codec, text.trim_start().chars().next()) {
        (Codec::Xml, Some('{' | '[')) => {
            ("XML", "JSON; send it with Content-Type application/json")
        }
        (Codec::Json, Some('<')) => ("JSON", "XML; send it with Content-Type application/xml"),
        _ => return Ok(()),
    };
    Err(Error::document(format!(
        "the Content-Type is {declared}, but the body looks like {looks_like}"
    )))
}

/// Encodes a response. XML documents have the root element `xml`, no declaration and no namespace.
///
/// # Errors
/// If the format cannot express the value. That is a defect of the value's type.
pub fn encode<T: Serialize>(codec: Codec, value: &T) -> Result<Vec<u8>, String> {
    match codec {
        Codec::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
        Codec::Xml => quick_xml::se::to_string_with_root("xml", value)
            .map(|document| xml::legal(document).into_bytes())
            .map_err(|error| error.to_string()),
    }
}

/// The members of a request's body that is known to be well-formed. Numbers stay as they were
/// written. XML has texts and objects only. Of members with the same name the last one counts.
///
/// # Errors
/// [`Error::Malformed`] if the document has no members.
pub fn members(codec: Codec, body: &[u8]) -> Result<BTreeMap<String, Verbatim>, Error> {
    let text = text_of(body)?;
    match codec {
        Codec::Json => json::members(text),
        Codec::Xml => xml::members(text),
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

/// Makes an error of a serde error and its path. For `missing field` and `duplicate field`, the path
/// ends at the parent and the message names the field, which is appended to the path.
fn malformed(notes: &Notes, message: &str) -> Error {
    let path = notes.path();
    let message = message
        .split_once(" at line ")
        .map_or(message, |(message, _)| message);
    let quoted = |prefix: &str| {
        message
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('`').next())
    };
    let (child, problem) = match (quoted("missing field `"), quoted("duplicate field `")) {
        (Some(child), _) => (Some(child), missing(notes, child)),
        (_, Some(child)) => (Some(child), "appears more than once".to_owned()),
        _ => (None, type_errors::in_plain_words(message)),
    };
    let field = match child {
        Some(child) if path.is_empty() => child.to_owned(),
        Some(child) => format!("{path}.{child}"),
        None => path,
    };
    Error::Malformed { field, problem }
}

/// The problem of a missing member, with the unknown one beside it that the caller may have sent
/// instead.
fn missing(notes: &Notes, child: &str) -> String {
    let beside = notes.unknown_beside();
    let is_like = |given: &&&str| {
        let words = format!("_{given}");
        nearest(given, [child]).is_some() || words.ends_with(&format!("_{child}"))
    };
    beside.iter().find(is_like).map_or_else(
        || "is required".to_owned(),
        |given| format!("is required; {given} is no member of this request, did you mean {child}?"),
    )
}

//! The members that Altcraft documents for `save` and that mean nothing to Steward. They are stored
//! with the own members of an account, and answered with the type that Altcraft documents: XML does
//! not tell a number, a flag or a list of one number from a text.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::domain::Error;
use crate::wire::{Codec, Verbatim};

/// The types of the documented members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Text,
    /// The number or the name of something. A text of digits in JSON stays a text, because
    /// Altcraft's own examples have them.
    NumberOrName,
    /// A list of numbers. One number alone is a list too, because Altcraft names the type `int`.
    Numbers,
}

/// The documented members with their types.
const DOCUMENTED: [(&str, Kind); 7] = [
    ("account_cache_clickhouse", Kind::NumberOrName),
    ("account_postgresql", Kind::NumberOrName),
    ("custom_push_domain", Kind::Text),
    ("enable_track_email_replies", Kind::Flag),
    ("external_data_connectors", Kind::Numbers),
    ("force_2fa_auth", Kind::Flag),
    ("web_version_policy", Kind::NumberOrName),
];

/// The number or the name of something, for the OpenAPI document.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = NumberOrName)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum NumberOrName {
    Number(i32),
    Name(String),
}

/// A documented member in a request type. It is there for the OpenAPI document; [`typed`] reads its
/// value.
#[derive(Debug, Default)]
pub(super) struct Documented;

impl<'de> Deserialize<'de> for Documented {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

fn documented(name: &str) -> Option<(&'static str, Kind)> {
    DOCUMENTED.into_iter().find(|(known, _)| *known == name)
}

/// The value of an own member, with the documented type if the member is documented.
///
/// # Errors
/// [`Error::InvalidField`] if a documented member has a value of another type.
pub(super) fn typed(name: &str, value: Verbatim, codec: Codec) -> Result<Verbatim, Error> {
    let Some((name, kind)) = documented(name) else {
        return Ok(value);
    };
    let wanted = match kind {
        Kind::Flag => "must be true or false",
        Kind::Text => "must be a text",
        Kind::NumberOrName => "must be a whole number or a name",
        Kind::Numbers => "must be a list of whole numbers",
    };
    convert(kind, value, codec).ok_or_else(|| Error::invalid(name, wanted))
}

/// A stored value as it is answered. Versions before stored what came in XML as texts.
pub(super) fn answered(name: &str, stored: Verbatim) -> Verbatim {
    match documented(name) {
        Some((_, kind @ (Kind::Flag | Kind::Numbers))) => {
            convert(kind, stored.clone(), Codec::Xml).unwrap_or(stored)
        }
        _ => stored,
    }
}

/// `None` if the value is not of this kind.
fn convert(kind: Kind, value: Verbatim, codec: Codec) -> Option<Verbatim> {
    let in_xml = codec == Codec::Xml;
    match (kind, value) {
        (Kind::Numbers, Verbatim::List(values)) => {
            let numbers = values.into_iter().map(|value| number(value, in_xml));
            numbers.collect::<Option<_>>().map(Verbatim::List)
        }
        (Kind::Numbers, Verbatim::Null) => Some(Verbatim::List(Vec::new())),
        (Kind::Numbers, Verbatim::Text(text)) if in_xml && text.trim().is_empty() => {
            Some(Verbatim::List(Vec::new()))
        }
        (Kind::Numbers, value) => number(value, in_xml).map(|one| Verbatim::List(vec![one])),
        (_, Verbatim::Null) => Some(Verbatim::Null),
        (Kind::Flag, on @ Verbatim::Bool(_)) => Some(on),
        (Kind::Flag, Verbatim::Text(text)) if in_xml => match text.trim() {
            "" => Some(Verbatim::Null),
            "true" | "1" => Some(Verbatim::Bool(true)),
            "false" | "0" => Some(Verbatim::Bool(false)),
            _ => None,
        },
        (Kind::Text | Kind::NumberOrName, Verbatim::Text(text)) if in_xml => {
            let text = text.trim();
            let is_number = kind == Kind::NumberOrName && is_whole(text);
            Some(if is_number {
                Verbatim::Number(text.to_owned())
            } else if text.is_empty() {
                Verbatim::Null
            } else {
                Verbatim::Text(text.to_owned())
            })
        }
        (Kind::Text | Kind::NumberOrName, text @ Verbatim::Text(_)) => Some(text),
        (Kind::NumberOrName, value @ Verbatim::Number(_)) => number(value, in_xml),
        (Kind::Flag | Kind::Text | Kind::NumberOrName, _) => None,
    }
}

fn number(value: Verbatim, in_xml: bool) -> Option<Verbatim> {
    match value {
        Verbatim::Number(text) if is_whole(&text) => Some(Verbatim::Number(text)),
        Verbatim::Text(text) if in_xml && is_whole(text.trim()) => {
            Some(Verbatim::Number(text.trim().to_owned()))
        }
        Verbatim::Null
        | Verbatim::Bool(_)
        | Verbatim::Number(_)
        | Verbatim::Text(_)
        | Verbatim::List(_)
        | Verbatim::Object(_) => None,
    }
}

/// Whether a text is a whole number as JSON writes it.
fn is_whole(text: &str) -> bool {
    text.parse::<i64>()
        .is_ok_and(|number| number.to_string() == text)
}

//! JSON values whose numbers stay as they were written. `serde_json::Value` would turn `1.0`,
//! `1e308` and numbers of more than 64 bits into floating-point numbers, which XML writes in full:
//! `1e308` with 309 digits.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Codec;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verbatim {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A text, without quotation marks and escapes.
    Text(String),
    /// An array.
    List(Vec<Verbatim>),
    /// An object. Of members with the same name the last one counts.
    Object(BTreeMap<String, Verbatim>),
}

impl Verbatim {
    /// Reads JSON text.
    ///
    /// # Errors
    /// If the text is not one JSON value.
    pub fn read(json: &str) -> Result<Self, serde_json::Error> {
        let json = json.trim_ascii();
        Ok(match json.as_bytes().first() {
            Some(b'{') => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
                let read = members
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::read(value.get())?)));
                Self::Object(read.collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(json)?;
                let read = values.into_iter().map(|value| Self::read(value.get()));
                Self::List(read.collect::<Result<_, _>>()?)
            }
            Some(b'-' | b'0'..=b'9') => {
                let number: &RawValue = serde_json::from_str(json)?;
                Self::Number(number.get().to_owned())
            }
            _ => match serde_json::from_str(json)? {
                Value::Bool(on) => Self::Bool(on),
                Value::String(text) => Self::Text(text),
                Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => Self::Null,
            },
        })
    }

    /// The value as JSON text, without white space between its parts.
    #[must_use]
    pub fn json(&self) -> String {
        let mut written = String::new();
        self.write(&mut written);
        written
    }

    /// Whether two values are equal. Numbers are equal if they have the same value, however they
    /// are written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => decimal(one) == decimal(other),
            (Self::List(one), Self::List(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len() && pairs.all(|(one, other)| one.is_same(other))
            }
            (Self::Object(one), Self::Object(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len()
                    && pairs.all(|((name, one), (other_name, other))| {
                        name == other_name && one.is_same(other)
                    })
            }
            _ => self == other,
        }
    }

    fn write(&self, to: &mut String) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(on) => to.push_str(if *on { "true" } else { "false" }),
            Self::Number(number) => to.push_str(number),
            Self::Text(text) => write_text(text, to),
            Self::List(values) => {
                to.push('[');
                for (position, value) in values.iter().enumerate() {
                    if position > 0 {
                        to.push(',');
                    }
                    value.write(to);
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (position, (name, value)) in members.iter().enumerate() {
                    if position > 0 {
                        to.push(',');
                    }
                    write_text(name, to);
                    to.push(':');
                    value.write(to);
                }
                to.push('}');
            }
        }
    }
}

/// The value of a number: its sign, its digits from the first to the last that is not 0, and the
/// power of ten of the last one. If the exponent does not fit, the number itself takes its place, so
/// that it is equal only to one that is written alike.
fn decimal(number: &str) -> (bool, String, Option<i64>, &str) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).unwrap_or_default();
    let significant = significant.trim_start_matches('0').to_owned();
    if significant.is_empty() {
        return (false, significant, Some(0), "");
    }
    let places = i64::try_from(fraction.len()).unwrap_or_default();
    match exponent
        .parse::<i64>()
        .ok()
        .filter(|it| it.abs() < i64::MAX / 2)
    {
        Some(exponent) => (sign, significant, Some(exponent - places + dropped), ""),
        None => (sign, significant, None, number),
    }
}

fn write_text(text: &str, to: &mut String) {
    to.push_str(&Value::String(text.to_owned()).to_string());
}

impl From<Value> for Verbatim {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(on) => Self::Bool(on),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, Self::from(value)))
                    .collect(),
            ),
        }
    }
}

/// For XML, which writes numbers and texts alike, and an empty list as one empty element.
impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(on) => serializer.serialize_bool(*on),
            Self::Number(text) | Self::Text(text) => serializer.serialize_str(text),
            Self::List(values) if values.is_empty() => serializer.serialize_unit(),
            Self::List(values) => values.serialize(serializer),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}

/// The members of an answer, in alphabetical order: values, and stored JSON texts whose numbers
/// stay as they were written.
#[derive(Debug)]
pub struct Members {
    codec: Codec,
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    Value(Value),
    /// JSON text.
    Stored(String),
}

impl Members {
    /// The members of an object, for an answer in this format.
    #[must_use]
    pub fn of(codec: Codec, members: serde_json::Map<String, Value>) -> Self {
        let members = members.into_iter();
        Self {
            codec,
            members: members
                .map(|(name, value)| (name, Member::Value(value)))
                .collect(),
        }
    }

    /// Adds a member that is stored as JSON text, unless there is one of this name.
    pub fn add_stored(&mut self, name: &str, json: &str) {
        self.members
            .entry(name.to_owned())
            .or_insert_with(|| Member::Stored(json.to_owned()));
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, member) in &self.members {
            match (member, self.codec) {
                (Member::Value(value), _) => map.serialize_entry(name, value)?,
                (Member::Stored(json), Codec::Json) => {
                    let raw: Option<&RawValue> = serde_json::from_str(json).ok();
                    map.serialize_entry(name, &raw)?;
                }
                (Member::Stored(json), Codec::Xml) => {
                    let value = Verbatim::read(json).unwrap_or(Verbatim::Null);
                    map.serialize_entry(name, &value)?;
                }
            }
        }
        map.end()
    }
}

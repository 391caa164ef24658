//! The value of a fact, as the journal stores it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Time;

/// The value of a fact, in a form that the journal can store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// No value.
    Null,
    /// A switch.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// An instant.
    Time(Time),
    /// Texts whose names a caller chose.
    Texts(BTreeMap<String, String>),
    /// Several named facts.
    Object(Vec<(&'static str, Fact)>),
}

impl From<&String> for Fact {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Uuid> for Fact {
    fn from(id: &Uuid) -> Self {
        Self::Text(id.to_string())
    }
}

impl From<&i32> for Fact {
    fn from(number: &i32) -> Self {
        Self::Number(i64::from(*number))
    }
}

impl From<&bool> for Fact {
    fn from(on: &bool) -> Self {
        Self::Bool(*on)
    }
}

impl From<&Time> for Fact {
    fn from(time: &Time) -> Self {
        Self::Time(*time)
    }
}

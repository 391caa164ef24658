//! An optional member that tells "not mentioned", "null" and "a value" apart.

use serde::{Deserialize, Deserializer};

use super::Codec;

/// One optional member of a request. Wants `#[serde(default)]` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Not mentioned.
    #[default]
    Absent,
    /// `null` in JSON.
    Null,
    /// A value.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl Field<String> {
    /// With an empty XML element read as null: XML has no other way to say it.
    #[must_use]
    pub fn in_codec(self, codec: Codec) -> Self {
        let is_empty_element = codec == Codec::Xml && matches!(&self, Self::Value(text) if text.is_empty());
        if is_empty_element { Self::Null } else { self }
    }
}

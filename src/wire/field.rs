//! An optional member that tells "not mentioned", "null" and "a value" apart.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
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
    /// As XML means it: white space around a text is layout, and an empty element is null, which it cannot say
    /// otherwise.
    #[must_use]
    pub fn in_codec(self, codec: Codec) -> Self {
        match self {
            Self::Value(text) if codec == Codec::Xml => match text.trim() {
                "" => Self::Null,
                trimmed => Self::Value(trimmed.to_owned()),
            },
            Self::Value(_) | Self::Null | Self::Absent => self,
        }
    }
}

/// Reads an optional struct from an object only: serde would also take an array for one. For
/// `#[serde(default, deserialize_with = "object")]`.
///
/// # Errors
/// As the deserializer's.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_option(Object(PhantomData))
}

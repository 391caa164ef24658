//! Members that serde's derive alone cannot read: optional members that distinguish absent from
//! null, objects that must not be arrays, and texts that may be numbers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Codec;

/// An optional member of a request. The struct's field also needs `#[serde(default)]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// The member is absent.
    #[default]
    Absent,
    /// The member is null.
    Null,
    /// The member has a value.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl Field<String> {
    /// Adapts the value to the codec. XML cannot express null, so an empty element counts as null,
    /// and white space around a text is dropped. JSON values stay as they are.
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

/// Reads an optional struct from an object. Serde would also accept an array, member by member.
/// Used with `#[serde(default, deserialize_with = "object")]`.
///
/// # Errors
/// The errors of the deserializer.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
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

        fn visit_some<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_option(Object(PhantomData))
}

/// Reads a whole number or a text as a text. XML does not distinguish the two.
///
/// # Errors
/// The errors of the deserializer.
pub fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number or a text")
        }

        fn visit_i64<E>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.trim().to_owned())
        }

        /// quick-xml presents an element as a map with its text under `$text`.
        fn visit_map<A: MapAccess<'de>>(self, mut element: A) -> Result<String, A::Error> {
            let mut found = Some(String::new());
            while let Some(name) = element.next_key::<String>()? {
                if name == "$text" {
                    let text = element.next_value::<String>()?;
                    found = found.map(|_| text.trim().to_owned());
                } else {
                    element.next_value::<IgnoredAny>()?;
                    found = None;
                }
            }
            found.ok_or_else(|| serde::de::Error::invalid_type(serde::de::Unexpected::Map, &self))
        }
    }

    deserializer.deserialize_any(Either)
}

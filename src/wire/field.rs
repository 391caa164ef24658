//! Members that serde's derive alone cannot read: optional members that distinguish absent from
//! null, and texts that may be numbers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::tree::KEEP_WHITE_SPACE;

/// An optional member of a request. The struct's field also needs `#[serde(default)]`. A text keeps
/// its white space in every format. XML cannot express null, so an empty element is null.
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

impl<T> Field<T> {
    /// The value. `None` if the member is absent or null.
    #[must_use]
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kept<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Kept<T> {
            type Value = Field<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Field<T>, D::Error> {
                Ok(Option::<T>::deserialize(deserializer)?.map_or(Field::Null, Field::Value))
            }
        }

        deserializer.deserialize_newtype_struct(KEEP_WHITE_SPACE, Kept(PhantomData))
    }
}

/// Reads a whole number or a text as a text. XML does not distinguish the two.
///
/// # Errors
/// The errors of the deserializer.
pub fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Either;

    impl Visitor<'_> for Either {
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
    }

    deserializer.deserialize_any(Either)
}

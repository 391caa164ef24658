//! The metadata of an account as a member of requests.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::domain::{Metadata, Patch};
use crate::wire::Field;

/// Texts by name, as a request gives them. Null and an empty text both remove one, because XML
/// does not distinguish them. A name that appears more than once is refused.
#[derive(Debug, Default)]
pub(super) struct MetadataMembers(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for MetadataMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = MetadataMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name} appears more than once")));
                    }
                    members.insert(name, value.unwrap_or_default());
                }
                Ok(MetadataMembers(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl MetadataMembers {
    /// The texts by name.
    pub(super) fn metadata(self) -> Metadata {
        Metadata(self.0)
    }
}

/// The change that a request describes. Null removes all members.
pub(super) fn patch(field: Field<MetadataMembers>) -> Patch<Metadata> {
    match field {
        Field::Absent => Patch::Keep,
        Field::Null => Patch::Clear,
        Field::Value(members) => Patch::Set(members.metadata()),
    }
}

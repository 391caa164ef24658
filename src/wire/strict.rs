//! A deserializer around another one. It keeps the path of the value that is being read, finds
//! members that a struct does not know, and reads structs from objects alone.

use serde::de::value::StringDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor,
};

use super::notes::{Fields, Notes};

/// Reads a value, and takes notes.
pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    inner: D,
    notes: &mut Notes,
) -> Result<T, D::Error> {
    T::deserialize(Noting { inner, notes })
}

/// A deserializer, visitor, seed or sequence with the notes.
struct Noting<'a, T> {
    inner: T,
    notes: &'a mut Notes,
}

/// A visitor. `fields` are those of the struct that it reads, if it reads one.
struct Watching<'a, V> {
    inner: V,
    notes: &'a mut Notes,
    fields: Option<Fields>,
}

impl<'a, D> Noting<'a, D> {
    fn visitor<V>(self, inner: V) -> (D, Watching<'a, V>) {
        let watching = Watching {
            inner,
            notes: self.notes,
            fields: None,
        };
        (self.inner, watching)
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, watching) = self.visitor(visitor);
            inner.$method($($name,)* watching)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Noting<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_seq();
        deserialize_map();
        deserialize_identifier();
        deserialize_ignored_any();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.notes.read_struct(fields);
        let refuses_sequences = self.notes.refuses_sequences;
        let (inner, mut watching) = self.visitor(visitor);
        watching.fields = Some(fields);
        if refuses_sequences {
            inner.deserialize_map(watching)
        } else {
            inner.deserialize_struct(name, fields, watching)
        }
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watching<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    pass_on! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let notes = self.notes;
        self.inner.visit_some(Noting { inner, notes })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let notes = self.notes;
        self.inner.visit_newtype_struct(Noting { inner, notes })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Elements {
            inner,
            notes: self.notes,
            next: 0,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Members {
            inner,
            notes: self.notes,
            fields: self.fields,
            name: String::new(),
        })
    }

    /// No request has an enum with members, so they are not watched.
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(inner)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Noting<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let notes = self.notes;
        self.inner.deserialize(Noting { inner, notes })
    }
}

struct Elements<'a, A> {
    inner: A,
    notes: &'a mut Notes,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.notes.enter_element(self.next);
        self.next += 1;
        let notes = &mut *self.notes;
        let element = self.inner.next_element_seed(Noting { inner, notes })?;
        self.notes.leave();
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Members<'a, A> {
    inner: A,
    notes: &'a mut Notes,
    fields: Option<Fields>,
    /// The name of the member whose value comes next.
    name: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.inner.next_key::<String>()? else {
            return Ok(None);
        };
        self.name.clone_from(&name);
        let name: StringDeserializer<A::Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, A::Error> {
        let name = std::mem::take(&mut self.name);
        if let Some(fields) = self.fields {
            self.notes.check(&name, fields);
        }
        self.notes.enter_member(name);
        let notes = &mut *self.notes;
        let value = self.inner.next_value_seed(Noting { inner, notes })?;
        self.notes.leave();
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::wire::{Codec, decode, decode_listing_unknown};

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its unknown members are read")]
    struct Document {
        selector: Option<Selector>,
        operations: Option<Vec<Part>>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its unknown members are read")]
    struct Selector {
        state: Option<String>,
        all: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its unknown members are read")]
    struct Part {
        operation: String,
    }

    #[test]
    fn unknown_members_are_found_at_any_depth_in_both_formats() {
        for (codec, body, path, nearest) in [
            (
                Codec::Json,
                r#"{"selector":{"stat":{"deep":1}}}"#,
                "selector.stat",
                Some("selector.state"),
            ),
            (
                Codec::Xml,
                "<xml><selector><stat>x</stat></selector></xml>",
                "selector.stat",
                Some("selector.state"),
            ),
            (
                Codec::Json,
                r#"{"operations":[{"operation":"x"},{"operation":"x","a":1,"a":2}]}"#,
                "operations[1].a",
                None,
            ),
            (
                Codec::Xml,
                "<xml><operations><operation>x</operation></operations><operations><operation>x</operation><a/></operations></xml>",
                "operations[1].a",
                None,
            ),
            (
                Codec::Json,
                r#"{"selector":{},"all":true}"#,
                "all",
                Some("selector.all"),
            ),
            (
                Codec::Xml,
                "<xml><selector><state>x</state></selector><all>true</all></xml>",
                "all",
                Some("selector.all"),
            ),
        ] {
            let read = decode_listing_unknown::<Document>(codec, body.as_bytes());
            let unknown: Vec<_> = read
                .unwrap()
                .1
                .into_iter()
                .map(|member| (member.path, member.nearest))
                .collect();
            let expected = (path.to_owned(), nearest.map(str::to_owned));
            assert_eq!(unknown, [expected], "{body}");
        }
    }

    #[test]
    fn a_problem_names_what_is_accepted() {
        let body = br#"{"selector":{"x":1}}"#;
        let read = decode_listing_unknown::<Document>(Codec::Json, body);
        assert_eq!(
            read.unwrap()
                .1
                .first()
                .map(crate::wire::UnknownMember::problem),
            Some("is no member of this request; the members are state, all".to_owned())
        );
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        for body in [
            r#"{"selector":["active",true]}"#,
            r#"{"operations":[["freeze"]]}"#,
            r#"{"operations":[{"operation":"freeze"},[]]}"#,
        ] {
            let refused = decode::<Document>(Codec::Json, body.as_bytes()).unwrap_err();
            let problem = refused.to_string();
            assert!(
                problem.ends_with("must be an object, not a list"),
                "{problem}"
            );
        }
    }
}

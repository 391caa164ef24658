//! An XML document as a tree of elements, from which serde reads.
//!
//! The rules are the same as for JSON: an element that appears more than once is a list, and an
//! empty element is null where a member is optional.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde::de::value::Error as ValueError;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use super::{Error, Verbatim};

/// The name of a newtype whose text keeps the white space around it. Other texts, such as words,
/// numbers and dates, lose it, because documents are often indented.
pub(super) const KEEP_WHITE_SPACE: &str = "steward::KeepWhiteSpace";

/// An element.
#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    /// First its attributes, with an `@` before their names, and then its child elements.
    children: Vec<Element>,
    text: String,
}

impl Element {
    /// Reads the root element of a document that was checked by `scan` in `xml.rs`.
    pub(super) fn read(document: &str) -> Result<Self, Error> {
        let mut reader = Reader::from_str(document);
        // The last one is open. The first one is not an element: it holds the root.
        let mut open = vec![Self::default()];
        loop {
            let event = reader.read_event();
            match event.map_err(|error| Error::document(format!("not well-formed XML: {error}")))? {
                Event::Start(start) => open.push(Self::begin(&start)),
                Event::Empty(start) => {
                    open.push(Self::begin(&start));
                    close(&mut open);
                }
                Event::End(_) => close(&mut open),
                Event::Text(text) => append(&mut open, &with_line_feeds(&text)),
                Event::CData(text) => append(&mut open, &with_line_feeds(&text)),
                Event::GeneralRef(reference) => append(&mut open, &resolved(&reference)),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let document = open.into_iter().next().unwrap_or_default();
        let root = document.children.into_iter().next();
        root.ok_or_else(|| Error::document("the root element must be xml"))
    }

    fn begin(start: &BytesStart<'_>) -> Self {
        let attribute = |key: &str, value: &str| Self {
            name: format!("@{key}"),
            text: value.to_owned(),
            ..Self::default()
        };
        let attributes = start.attributes().flatten();
        Self {
            name: start.name().as_ref().to_owned(),
            children: attributes
                .map(|it| attribute(it.key.as_ref(), &it.value))
                .collect(),
            text: String::new(),
        }
    }

    fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children
            .iter()
            .filter(|child| !child.name.starts_with('@'))
    }

    fn has_elements(&self) -> bool {
        self.elements().next().is_some()
    }

    /// The child elements, those with the same name together.
    fn members<'a>(children: impl Iterator<Item = &'a Self>) -> Vec<(&'a str, Vec<&'a Self>)> {
        let mut places = BTreeMap::new();
        let mut members: Vec<(&str, Vec<&Self>)> = Vec::new();
        for child in children {
            let place = *places.entry(child.name.as_str()).or_insert(members.len());
            match members.get_mut(place) {
                Some((_, elements)) => elements.push(child),
                None => members.push((&child.name, vec![child])),
            }
        }
        members
    }

    /// The members of the element: texts, objects and, for elements that appear more than once,
    /// lists. Attributes are left out.
    pub(super) fn verbatim_members(&self) -> BTreeMap<String, Verbatim> {
        let members = Self::members(self.elements()).into_iter();
        let mut members: BTreeMap<String, Verbatim> = members
            .map(|(name, elements)| {
                let value = match elements.as_slice() {
                    [element] => element.verbatim(),
                    several => Verbatim::List(several.iter().map(|it| it.verbatim()).collect()),
                };
                (name.to_owned(), value)
            })
            .collect();
        if !self.text.trim().is_empty() {
            members.insert("$text".to_owned(), Verbatim::Text(self.text.clone()));
        }
        members
    }

    fn verbatim(&self) -> Verbatim {
        if self.has_elements() {
            Verbatim::Object(self.verbatim_members())
        } else {
            Verbatim::Text(self.text.clone())
        }
    }

    /// A deserializer that reads from the element.
    pub(super) fn deserializer(&self) -> Value<'_> {
        Value {
            elements: vec![self],
            keeps_white_space: false,
        }
    }
}

fn close(open: &mut Vec<Element>) {
    if let Some(closed) = open.pop()
        && let Some(parent) = open.last_mut()
    {
        parent.children.push(closed);
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// The text with each end of a line as one line feed (XML 1.0, 2.11).
fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The text of a reference, which was checked.
fn resolved(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => c.to_string(),
        _ => resolve_predefined_entity(reference)
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The value of a member: all elements with its name, at least one.
pub(super) struct Value<'a> {
    elements: Vec<&'a Element>,
    keeps_white_space: bool,
}

impl<'a> Value<'a> {
    /// The only element.
    fn element(&self) -> Result<&'a Element, ValueError> {
        match self.elements.as_slice() {
            [element] => Ok(element),
            _ => Err(ValueError::custom("appears more than once")),
        }
    }

    /// The text of the only element, which must have no child elements.
    fn text<'de, V: Visitor<'de>>(&self, expected: &V) -> Result<&'a str, ValueError> {
        let element = self.element()?;
        if element.has_elements() {
            return Err(ValueError::invalid_type(Unexpected::Map, expected));
        }
        Ok(if self.keeps_white_space {
            &element.text
        } else {
            element.text.trim()
        })
    }

    fn number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ValueError> {
        let text = self.text(&visitor)?.trim();
        match (text, text.parse(), text.parse()) {
            ("", ..) => visitor.visit_unit(),
            (_, Ok(number), _) => visitor.visit_i64(number),
            (_, _, Ok(number)) => visitor.visit_u64(number),
            _ => visitor.visit_str(text),
        }
    }

    fn object<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ValueError> {
        let element = self.element()?;
        let text = element.text.trim();
        if !text.is_empty() {
            return Err(ValueError::invalid_type(Unexpected::Str(text), &visitor));
        }
        visitor.visit_map(Members {
            members: Element::members(element.children.iter()).into_iter(),
            value: None,
        })
    }
}

macro_rules! read {
    ($($method:ident: $read:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            self.$read(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = ValueError;

    read! {
        deserialize_i8: number;
        deserialize_i16: number;
        deserialize_i32: number;
        deserialize_i64: number;
        deserialize_u8: number;
        deserialize_u16: number;
        deserialize_u32: number;
        deserialize_u64: number;
        deserialize_map: object;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.elements.as_slice() {
            [element] if element.has_elements() => self.object(visitor),
            [_] => self.deserialize_str(visitor),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.text(&visitor)?.trim() {
            "" => visitor.visit_unit(),
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            other => visitor.visit_str(other),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let text = self.text(&visitor)?;
        visitor.visit_str(text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let is_null = match self.elements.as_slice() {
            [element] if element.children.is_empty() => self.text(&visitor)?.is_empty(),
            _ => false,
        };
        if is_null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(Self {
            keeps_white_space: self.keeps_white_space || name == KEEP_WHITE_SPACE,
            ..self
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(Elements {
            elements: self.elements.into_iter(),
            keeps_white_space: self.keeps_white_space,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.object(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let text = self.text(&visitor)?;
        visitor.visit_enum(text.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { f32 f64 unit unit_struct tuple tuple_struct }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }
}

struct Members<'a> {
    members: std::vec::IntoIter<(&'a str, Vec<&'a Element>)>,
    /// The elements of the member whose name was read.
    value: Option<Vec<&'a Element>>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let Some((name, elements)) = self.members.next() else {
            return Ok(None);
        };
        self.value = Some(elements);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, ValueError> {
        seed.deserialize(Value {
            elements: self.value.take().unwrap_or_default(),
            keeps_white_space: false,
        })
    }
}

struct Elements<'a> {
    elements: std::vec::IntoIter<&'a Element>,
    keeps_white_space: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ValueError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ValueError> {
        let Some(element) = self.elements.next() else {
            return Ok(None);
        };
        let value = Value {
            elements: vec![element],
            keeps_white_space: self.keeps_white_space,
        };
        seed.deserialize(value).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::wire::{Codec, Field, decode};

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(default)]
    struct Document {
        text: Field<String>,
        word: Option<String>,
        number: Field<i32>,
        flag: Field<bool>,
        list: Option<Vec<String>>,
        part: Option<Box<Document>>,
    }

    fn read(text: &str) -> Result<Document, String> {
        decode(Codec::Xml, text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_element_is_null_where_a_member_is_optional() {
        let document = Document {
            text: Field::Null,
            number: Field::Null,
            flag: Field::Null,
            ..Document::default()
        };
        let text = "<xml><text/><word/><number></number><flag/><list/><part/></xml>";
        assert_eq!(read(text), Ok(document));
    }

    #[test]
    fn texts_keep_their_white_space_and_words_and_numbers_lose_it() {
        let document = Document {
            text: Field::Value(" a\n\u{a0} ".to_owned()),
            word: Some("b".to_owned()),
            number: Field::Value(7),
            flag: Field::Value(true),
            list: Some(vec!["c".to_owned(), "d".to_owned()]),
            ..Document::default()
        };
        let text = "<xml>\n <text> a\r\n&#160;&#32;</text><word> b </word><number> 7\n</number>\
            <flag>\ttrue </flag><list> c</list><list>d </list></xml>";
        assert_eq!(read(text), Ok(document));
        let blank = read("<xml><text> </text><word> </word></xml>").map(|it| (it.text, it.word));
        assert_eq!(blank, Ok((Field::Value(" ".to_owned()), None)));
    }

    #[test]
    fn an_element_of_another_kind_is_refused() {
        for (text, expected) in [
            (
                "<number>x</number>",
                r#"number: must be a whole number between -2147483648 and 2147483647, not the text "x""#,
            ),
            (
                "<number>7<x/></number>",
                "number: must be a whole number between -2147483648 and 2147483647, not an object",
            ),
            (
                "<number>7</number><number>7</number>",
                "number: appears more than once",
            ),
            (
                "<number>99999999999</number>",
                "number: must be a whole number between -2147483648 and 2147483647, not the number 99999999999",
            ),
            (
                "<part>x</part>",
                r#"part: must be an object, not the text "x""#,
            ),
            (
                "<part><flag>x</flag></part>",
                r#"part.flag: must be true or false, not the text "x""#,
            ),
            ("<text><x/></text>", "text: must be a text, not an object"),
        ] {
            let problem = read(&format!("<xml>{text}</xml>")).unwrap_err();
            assert_eq!(problem, expected);
        }
    }
}

//! The members of the `admin` API's `save` that Steward has no field for, and the limit on their
//! size.

use std::collections::BTreeMap;
use std::fmt;

use super::{Error, Fact};

/// The largest size of all own members of an account together, in bytes, as an answer writes them.
/// It holds for JSON and for XML, whose tags can make a document many times longer: of a list, XML
/// repeats the name of the member for each element.
pub const MAX_OWN_MEMBERS: usize = 4_096;

/// Members that Steward does not interpret, by name. Each value is stored as JSON text without
/// white space between its parts, and with its numbers as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra(pub BTreeMap<String, String>);

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, (name, value)) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}\"{name}\":{value}")?;
        }
        f.write_str("}")
    }
}

impl Extra {
    /// The sizes of the members in an answer, in bytes: in JSON with the braces, in XML without an
    /// element around them.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let json = self.0.iter().map(|(name, value)| json_size(name, value));
        let xml = self.0.iter().map(|(name, value)| xml_size(name, value));
        let commas = self.0.len().saturating_sub(1);
        ("{}".len() + commas + json.sum::<usize>(), xml.sum())
    }

    fn size(&self) -> usize {
        let (json, xml) = self.sizes();
        json.max(xml)
    }

    /// These members with the new ones added. A new member replaces the one of the same name.
    ///
    /// # Errors
    /// [`Error::InvalidField`] if the result is larger than [`MAX_OWN_MEMBERS`]. Accounts may have
    /// more from an earlier version, which had no limit. They keep it, but it may only shrink.
    pub(super) fn with(&self, new: &Self) -> Result<Self, Error> {
        let mut all = self.clone();
        all.0.extend(new.0.clone());
        let size = all.size();
        if size <= MAX_OWN_MEMBERS || size <= self.size() {
            return Ok(all);
        }
        let (json, xml) = all.sizes();
        let format = if xml > json { "XML" } else { "JSON" };
        let largest = new
            .0
            .iter()
            .map(|(name, value)| (json_size(name, value).max(xml_size(name, value)), name))
            .max();
        let (bytes, name) = largest.map_or((0, ""), |(bytes, name)| (bytes, name.as_str()));
        Err(Error::invalid(
            "save",
            format!(
                "the members that Steward has no field for may take {MAX_OWN_MEMBERS} bytes per \
                 account in JSON and in XML, and would take {size} in {format}; the largest one of \
                 this request is {name} with {bytes} bytes"
            ),
        ))
    }
}

impl From<&Extra> for Fact {
    fn from(extra: &Extra) -> Self {
        Self::Text(extra.to_string())
    }
}

/// The size of `"name":value`.
fn json_size(name: &str, value: &str) -> usize {
    "\"\":".len() + name.len() + value.len()
}

/// The size of the elements that a member becomes in XML. A test compares it with the codec.
fn xml_size(name: &str, value: &str) -> usize {
    Scan(value).value(name.len())
}

/// The rest of a well-formed JSON text.
struct Scan<'a>(&'a str);

impl Scan<'_> {
    /// Reads a value. Returns the size of its elements, with a name of this length.
    fn value(&mut self, name: usize) -> usize {
        match self.next() {
            Some('"') => element(name, self.text()),
            Some('[') => {
                let mut size = 0;
                while self.has_more(']') {
                    size += self.value(name);
                }
                // An empty list is written as one empty element.
                if size == 0 { element(name, 0) } else { size }
            }
            Some('{') => {
                let mut size = 0;
                while self.has_more('}') {
                    self.next();
                    let member = self.text();
                    self.next();
                    size += self.value(member);
                }
                element(name, size)
            }
            Some(first) => {
                let end = self.0.find([',', ']', '}']).unwrap_or(self.0.len());
                self.0 = self.0.get(end..).unwrap_or_default();
                // Only null begins with an n. Its element is empty.
                element(name, if first == 'n' { 0 } else { 1 + end })
            }
            None => 0,
        }
    }

    /// Reads the rest of a text, with its closing quotation mark. Returns its size in XML.
    fn text(&mut self) -> usize {
        let mut size = 0;
        while let Some(c) = self.next().filter(|c| *c != '"') {
            let c = if c == '\\' { self.escaped() } else { c };
            size += match c {
                '<' | '>' => "&lt;".len(),
                '&' => "&amp;".len(),
                '\r' => "&#13;".len(),
                _ => c.len_utf8(),
            };
        }
        size
    }

    /// Reads the rest of an escape sequence. Returns a character that takes as much space in XML.
    fn escaped(&mut self) -> char {
        match self.next() {
            Some('u') => {
                let code = self.0.get(..4).unwrap_or_default();
                let code = u32::from_str_radix(code, 16).unwrap_or_default();
                self.0 = self.0.get(4..).unwrap_or_default();
                // The second half of a pair. The first half counts for both.
                if (0xd800..0xdc00).contains(&code) {
                    self.0 = self.0.get(6..).unwrap_or_default();
                    return '\u{10000}';
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some('r') => '\r',
            // A line break and a tab take one byte.
            Some('n' | 't' | 'b' | 'f') | None => '\n',
            Some(other) => other,
        }
    }

    /// Skips a comma. Returns whether another element follows; reads the closing bracket if not.
    fn has_more(&mut self, close: char) -> bool {
        self.0 = self.0.strip_prefix(',').unwrap_or(self.0);
        match self.0.strip_prefix(close) {
            Some(rest) => {
                self.0 = rest;
                false
            }
            None => !self.0.is_empty(),
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let next = chars.next();
        self.0 = chars.as_str();
        next
    }
}

/// The size of an element. One without content is written as `<name/>`.
fn element(name: usize, content: usize) -> usize {
    if content == 0 {
        "</>".len() + name
    } else {
        "<></>".len() + 2 * name + content
    }
}

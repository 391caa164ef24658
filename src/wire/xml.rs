//! XML documents with the root element `xml`: a scan for limits, then serde.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use serde::de::DeserializeOwned;

use super::notes::Notes;
use super::strict;
use super::tree::Element;
use super::{Error, MAX_DEPTH, MAX_VALUES, Verbatim, malformed, too_many_values};

/// The maximum number of attributes of an element. No request of our APIs uses any.
const MAX_ATTRIBUTES: usize = 16;
/// The name of the root element.
const ROOT: &str = "xml";

pub(super) fn decode<T: DeserializeOwned>(text: &str, notes: &mut Notes) -> Result<T, Error> {
    scan(text)?;
    well_formed(text).map_err(Error::document)?;
    let root = Element::read(text)?;
    strict::read(root.deserializer(), notes).map_err(|error| malformed(notes, &error.to_string()))
}

/// Refuses documents that are not well-formed, which quick-xml checks only in part: it accepts
/// names that begin with a digit, control characters, and `]]>` in texts, for example. The caller
/// has bounded the document's depth and attributes.
///
/// # Errors
/// The problem and its line and column.
pub(super) fn well_formed(text: &str) -> Result<(), String> {
    roxmltree::Document::parse(text)
        .map(drop)
        .map_err(|error| format!("not well-formed XML: {error}"))
}

/// Refuses documents that serde would accept but that break a limit. Stops at the first problem.
fn scan(text: &str) -> Result<(), Error> {
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    let (mut roots, mut elements) = (0_usize, 0_usize);
    loop {
        if elements > MAX_VALUES {
            return Err(too_many_values());
        }
        match reader
            .read_event()
            .map_err(|error| Error::document(format!("not well-formed XML: {error}")))?
        {
            Event::Start(start) => {
                depth += 1;
                elements += 1;
                roots += usize::from(depth == 1);
                check_element(&start, depth, roots)?;
            }
            Event::Empty(start) => {
                elements += 1;
                roots += usize::from(depth == 0);
                check_element(&start, depth + 1, roots)?;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(content) if depth == 0 && !content.trim().is_empty() => {
                return Err(Error::document("text outside the root element"));
            }
            Event::Text(content) if depth == 1 && !content.trim().is_empty() => {
                return Err(Error::document("text where elements are expected"));
            }
            Event::CData(_) if depth == 1 => {
                return Err(Error::document("text where elements are expected"));
            }
            Event::CData(_) if depth == 0 => {
                return Err(Error::document("text outside the root element"));
            }
            Event::GeneralRef(reference) => check_reference(&reference)?,
            Event::Decl(declaration) => {
                check_declaration(&declaration)?;
                if let Some(encoding) = declaration.encoding() {
                    let encoding = encoding.map_err(|error| {
                        Error::document(format!("not well-formed XML: {error}"))
                    })?;
                    if !encoding.eq_ignore_ascii_case("utf-8") {
                        return Err(Error::UnknownCharset(encoding.chars().take(40).collect()));
                    }
                }
            }
            Event::DocType(_) => return Err(Error::document("a document type is not accepted")),
            Event::PI(_) => {
                return Err(Error::document("processing instructions are not accepted"));
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match (depth, roots) {
        (0, 1) => Ok(()),
        (0, _) => Err(Error::document("the root element must be xml")),
        _ => Err(Error::document(
            "not well-formed XML: an element is not closed",
        )),
    }
}

fn check_element(start: &BytesStart<'_>, depth: usize, roots: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::document(format!(
            "elements are nested deeper than {MAX_DEPTH}"
        )));
    }
    if roots > 1 {
        return Err(Error::document("more than one root element"));
    }
    if depth == 1 && start.name().as_ref() != ROOT {
        return Err(Error::document("the root element must be xml"));
    }
    let mut attributes = start.attributes();
    let attributes = attributes.with_checks(false);
    for (count, attribute) in attributes.enumerate() {
        if count == MAX_ATTRIBUTES {
            return Err(Error::document(format!(
                "an element has more than {MAX_ATTRIBUTES} attributes"
            )));
        }
        let attribute =
            attribute.map_err(|error| Error::document(format!("not well-formed XML: {error}")))?;
        if attribute.key.as_namespace_binding().is_some() {
            return Err(Error::document("namespaces are not used here"));
        }
    }
    if start.name().prefix().is_some() {
        Err(Error::document("namespaces are not used here"))
    } else {
        Ok(())
    }
}

/// Refuses a declaration with another version, or whose `standalone` is neither yes nor no. The parser in [`well_formed`]
/// accepts any text there.
pub(super) fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), Error> {
    let is_version = |text: &str| {
        text.strip_prefix("1.")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !declaration
        .version()
        .is_ok_and(|version| is_version(&version))
    {
        return Err(Error::document(
            "not well-formed XML: the version must be 1.0",
        ));
    }
    let is_known = |text: &str| matches!(text, "yes" | "no");
    match declaration.standalone() {
        None => Ok(()),
        Some(Ok(text)) if is_known(&text) => Ok(()),
        Some(_) => Err(Error::document(
            "not well-formed XML: standalone must be yes or no",
        )),
    }
}

pub(super) fn check_reference(reference: &BytesRef<'_>) -> Result<(), Error> {
    let known = matches!(&**reference, "amp" | "lt" | "gt" | "quot" | "apos");
    match reference.resolve_char_ref() {
        Ok(Some(_)) => Ok(()),
        Ok(None) if known => Ok(()),
        Ok(None) => Err(Error::document(
            "entities other than amp, lt, gt, quot and apos are not accepted",
        )),
        Err(_) => Err(Error::document(
            "not well-formed XML: a character reference is wrong",
        )),
    }
}

/// See [`super::members`].
pub(super) fn members(text: &str) -> Result<BTreeMap<String, Verbatim>, Error> {
    scan(text)?;
    Ok(Element::read(text)?.verbatim_members())
}

/// Replaces the characters that no XML 1.0 document can contain by U+FFFD: control characters,
/// U+FFFE and U+FFFF. An answer may repeat a text of the request, which may contain any character.
pub(super) fn legal(document: String) -> String {
    let is_illegal = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    if document.contains(is_illegal) {
        document.replace(is_illegal, "\u{fffd}")
    } else {
        document
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::wire::{Codec, Field, decode};

    #[derive(Debug, Deserialize, PartialEq, Default)]
    struct Document {
        id: Option<i64>,
        #[serde(default)]
        url: Field<String>,
        on: Option<bool>,
    }

    fn read(text: &str) -> Result<Document, String> {
        decode(Codec::Xml, text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_with_any_character_leaves_the_document_well_formed() {
        #[derive(serde::Serialize)]
        struct Answer {
            message: String,
        }
        let message = (0..=0xffff).filter_map(char::from_u32).collect::<String>();
        let kept = |text: &str| text.chars().filter(|c| *c == '\u{fffd}').count();
        // 29 control characters, U+FFFE, U+FFFF, and U+FFFD itself.
        assert_eq!(kept(&crate::wire::escaped(&message)), 32);
        let document = crate::wire::encode(Codec::Xml, &Answer { message }).unwrap();
        assert_eq!(kept(std::str::from_utf8(&document).unwrap()), 32);
        assert_eq!(legal("a\tb\r\n\u{e000}".to_owned()), "a\tb\r\n\u{e000}");
    }

    #[test]
    fn documents_that_break_a_limit_are_refused() {
        let many_attributes = format!("<xml><id {}>7</id></xml>", "a='' ".repeat(80_000));
        let deep = format!(
            "<xml>{}{}</xml>",
            "<a>".repeat(10_000),
            "</a>".repeat(10_000)
        );
        for (text, expected) in [
            ("<soap><id>7</id></soap>", "root element must be xml"),
            (
                "<xml><id>7</id></xml><xml><id>8</id></xml>",
                "more than one root",
            ),
            ("<xml/>trailing", "text outside"),
            (
                "<!DOCTYPE xml [<!ENTITY a 'b'>]><xml><id>7</id></xml>",
                "document type",
            ),
            ("<xml><id>&a;</id></xml>", "entities"),
            ("<xml><id>&#0;</id></xml>", "character reference"),
            ("<xml xmlns='urn:x'><id>7</id></xml>", "namespaces"),
            ("<x:xml xmlns:x='urn:x'/>", "root element must be xml"),
            ("<xml><?php evil ?></xml>", "processing instructions"),
            ("<xml><id>7</xml>", "not well-formed"),
            ("<xml><id>7</id>", "not closed"),
            ("", "empty"),
            (" \n", "empty"),
            ("plain", "outside the root"),
            (
                "<xml><id>7</id><id>8</id></xml>",
                "id: appears more than once",
            ),
            ("<xml><id>seven</id></xml>", "id: "),
            ("<xml><id>7<b/></id></xml>", "id"),
            (many_attributes.as_str(), "more than 16 attributes"),
            (deep.as_str(), "nested deeper"),
        ] {
            let problem = read(text).expect_err(text.get(..60).unwrap_or(text));
            assert!(
                problem.contains(expected),
                "{}: got {problem:?}, expected {expected:?}",
                text.get(..60).unwrap_or(text)
            );
        }
    }

    #[test]
    fn entities_cdata_comments_and_a_declaration_are_read() {
        let document = read(
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- hi --><xml><id> 7 </id><url>https://e.com/?a=1&amp;b=2<![CDATA[&c=3]]>&#38;d</url></xml>\n",
        );
        assert_eq!(
            document,
            Ok(Document {
                id: Some(7),
                url: Field::Value("https://e.com/?a=1&b=2&c=3&d".to_owned()),
                on: None
            })
        );
        assert_eq!(
            read("<?xml version='1.0' encoding='windows-1251'?><xml/>"),
            Err("unknown character set windows-1251".to_owned())
        );
    }

    #[test]
    fn an_empty_element_is_an_empty_text_and_an_absent_one_is_absent() {
        assert_eq!(read("<xml><url/></xml>").map(|it| it.url), Ok(Field::Null));
        assert_eq!(
            read("<xml><url></url></xml>").map(|it| it.url),
            Ok(Field::Null)
        );
        assert_eq!(read("<xml/>").map(|it| it.url), Ok(Field::Absent));
        assert_eq!(
            read("<xml><on>true</on></xml>").map(|it| it.on),
            Ok(Some(true))
        );
    }

    #[test]
    fn members_are_text_or_objects() {
        let members = members("<xml><a>1</a><b><c>2</c></b><d/></xml>").map(Verbatim::Object);
        let expected = serde_json::json!({"a": "1", "b": {"c": "2"}, "d": ""});
        assert_eq!(members, Ok(Verbatim::from(expected)));
    }
}

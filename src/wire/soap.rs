//! The syntax of SOAP 1.1 and 1.2 envelopes: the element in the Body, its text children, and
//! whether a header block must be understood. Namespace prefixes do not matter.

use quick_xml::NsReader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};

use super::xml::{check_reference, legal};
use super::{MAX_DEPTH, text_of};

/// The maximum number of attributes of an element, namespace declarations included.
const MAX_ATTRIBUTES: usize = 32;
/// The namespace of the attribute `nil`.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// A version of SOAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoapVersion {
    /// 1.1, `text/xml`
    V11,
    /// 1.2, `application/soap+xml`
    V12,
}

impl SoapVersion {
    /// The namespace of its envelope.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Self::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    /// The content type of a response.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V11 => "text/xml; charset=utf-8",
            Self::V12 => "application/soap+xml; charset=utf-8",
        }
    }
}

/// The content of a request's envelope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SoapRequest {
    /// Namespace and local name of the Body's element. `None` if the Body is empty.
    pub element: Option<(String, String)>,
    /// Name and text of the element's children that are in the service's namespace, in order.
    /// Children that are nil are left out.
    pub children: Vec<(String, String)>,
    /// Whether a header block has `mustUnderstand`.
    pub must_understand: bool,
}

/// Why an envelope was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoapProblem {
    /// It is not well-formed XML.
    NotWellFormed,
    /// Its XML declaration has typographic quotes, which word processors put there.
    TypographicQuotes,
    /// It is XML, but not an acceptable envelope. The text is the reason.
    Unreadable(String),
    /// The envelope is in this namespace instead of that of the SOAP version.
    OtherNamespace(String),
}

/// Reads the envelope of a request. The `Content-Type` header has named the version; `namespace` is
/// that of the service's elements.
///
/// # Errors
/// A [`SoapProblem`] with the reason.
pub fn read_envelope(
    body: &[u8],
    version: SoapVersion,
    namespace: &str,
) -> Result<SoapRequest, SoapProblem> {
    let text = text_of(body).map_err(|_| SoapProblem::NotWellFormed)?;
    let declaration = text
        .trim_start()
        .split("?>")
        .next()
        .filter(|head| head.starts_with("<?xml"))
        .unwrap_or_default();
    if declaration.contains(['\u{201c}', '\u{201d}', '\u{2033}', '\u{2018}', '\u{2019}']) {
        return Err(SoapProblem::TypographicQuotes);
    }
    let mut scan = Scan {
        version,
        namespace,
        path: Vec::new(),
        roots: 0,
        bodies: 0,
        request: SoapRequest::default(),
        child: None,
    };
    let mut reader = NsReader::from_str(text);
    loop {
        let (resolved, event) = reader
            .read_resolved_event()
            .map_err(|_| SoapProblem::NotWellFormed)?;
        let element_namespace = match resolved {
            ResolveResult::Bound(Namespace(namespace)) => namespace.to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(_) => return Err(SoapProblem::NotWellFormed),
        };
        match event {
            Event::Start(start) => scan.open(&reader, &element_namespace, &start)?,
            Event::Empty(start) => {
                scan.open(&reader, &element_namespace, &start)?;
                scan.close();
            }
            Event::End(_) => scan.close(),
            Event::Text(text) => scan.text(&text)?,
            Event::CData(text) => scan.text(&text)?,
            Event::GeneralRef(reference) => {
                check_reference(&reference).map_err(|error| unreadable(&error.to_string()))?;
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    _ => resolve_predefined_entity(&reference)
                        .unwrap_or_default()
                        .to_owned(),
                };
                scan.text(&resolved)?;
            }
            Event::DocType(_) => return Err(unreadable("a document type is not accepted")),
            Event::PI(_) => return Err(unreadable("processing instructions are not accepted")),
            Event::Decl(declaration) => {
                let is_utf8 = declaration.encoding().is_none_or(|encoding| {
                    encoding.is_ok_and(|it| it.eq_ignore_ascii_case("utf-8"))
                });
                if declaration.version().is_err() || !is_utf8 {
                    return Err(unreadable(
                        "the XML declaration must say version 1.0 and UTF-8",
                    ));
                }
            }
            Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    scan.finish()
}

fn unreadable(why: &str) -> SoapProblem {
    SoapProblem::Unreadable(why.to_owned())
}

/// The state of the scan: where it is in the document, and what it has read so far.
struct Scan<'a> {
    version: SoapVersion,
    namespace: &'a str,
    path: Vec<String>,
    roots: usize,
    bodies: usize,
    request: SoapRequest,
    /// Name and text of the child being read. `None` outside of children and in children that are
    /// ignored.
    child: Option<(String, String)>,
}

impl Scan<'_> {
    fn open(
        &mut self,
        reader: &NsReader<&[u8]>,
        element_namespace: &str,
        start: &BytesStart<'_>,
    ) -> Result<(), SoapProblem> {
        let name = start.local_name().as_ref().to_owned();
        self.path.push(name.clone());
        if self.path.len() > MAX_DEPTH {
            return Err(unreadable("elements are nested too deep"));
        }
        let (must_understand, is_nil) = attributes(reader, start, self.version)?;
        let is_soap = element_namespace == self.version.namespace();
        match self.path.as_slice() {
            [_] => {
                self.roots += 1;
                if name != "Envelope" || self.roots > 1 {
                    return Err(unreadable("the document is no SOAP envelope"));
                }
                if !is_soap {
                    return Err(SoapProblem::OtherNamespace(element_namespace.to_owned()));
                }
            }
            [_, part] if is_soap && part == "Body" => self.bodies += 1,
            [_, part] if is_soap && part == "Header" && self.bodies == 0 => {}
            [_, _] => {
                return Err(unreadable(
                    "the Envelope has a child that is neither Header nor Body",
                ));
            }
            [_, part, _] if part == "Header" => self.request.must_understand |= must_understand,
            [_, _, _] => {
                if self.request.element.is_some() {
                    return Err(unreadable("the Body has more than one element"));
                }
                self.request.element = Some((element_namespace.to_owned(), name));
            }
            [_, part, _, _] if part == "Body" => {
                let is_read = element_namespace == self.namespace && !is_nil;
                self.child = is_read.then(|| (name, String::new()));
            }
            [_, part, ..] if part == "Body" && self.child.is_some() => {
                return Err(unreadable(
                    "an element has children where it should have text",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.path.len() == 4
            && let Some(child) = self.child.take()
        {
            self.request.children.push(child);
        }
        self.path.pop();
    }

    fn text(&mut self, text: &str) -> Result<(), SoapProblem> {
        if self.path.len() == 4
            && let Some((_, so_far)) = &mut self.child
        {
            so_far.push_str(text);
        } else if self.path.is_empty() && !text.trim().is_empty() {
            return Err(SoapProblem::NotWellFormed);
        }
        Ok(())
    }

    fn finish(self) -> Result<SoapRequest, SoapProblem> {
        match (self.path.is_empty(), self.roots, self.bodies) {
            (false, ..) | (_, 0, _) => Err(SoapProblem::NotWellFormed),
            (true, _, 1) => Ok(self.request),
            (true, ..) => Err(unreadable("the Envelope must have one Body")),
        }
    }
}

/// Whether an element has `mustUnderstand`, and whether it is nil.
fn attributes(
    reader: &NsReader<&[u8]>,
    start: &BytesStart<'_>,
    version: SoapVersion,
) -> Result<(bool, bool), SoapProblem> {
    let (mut must_understand, mut is_nil) = (false, false);
    let mut attributes = start.attributes();
    for (count, attribute) in attributes.with_checks(false).enumerate() {
        if count == MAX_ATTRIBUTES {
            return Err(unreadable("an element has too many attributes"));
        }
        let attribute = attribute.map_err(|_| SoapProblem::NotWellFormed)?;
        let (resolved, name) = reader.resolver().resolve_attribute(attribute.key);
        let is_set = matches!(attribute.value.trim(), "1" | "true");
        if let ResolveResult::Bound(Namespace(namespace)) = resolved {
            must_understand |=
                is_set && namespace == version.namespace() && name.as_ref() == "mustUnderstand";
            is_nil |= is_set && namespace == XSI && name.as_ref() == "nil";
        }
    }
    Ok((must_understand, is_nil))
}

/// Puts the content of a Body into an envelope. The content must be well-formed XML.
#[must_use]
pub fn write_envelope(version: SoapVersion, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope xmlns:soap=\"{}\" xmlns:xsi=\"{XSI}\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><soap:Body>{body}</soap:Body></soap:Envelope>",
        version.namespace()
    )
}

/// Escapes a text for use in an element or attribute. Characters that no XML document can contain
/// become U+FFFD.
#[must_use]
pub fn escaped(text: &str) -> String {
    legal(escape(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<SoapRequest, SoapProblem> {
        let text = format!(
            "<a:Envelope xmlns:a=\"http://www.w3.org/2003/05/soap-envelope\">{body}</a:Envelope>"
        );
        read_envelope(text.as_bytes(), SoapVersion::V12, "Zoolz")
    }

    #[test]
    fn prefixes_do_not_matter_and_children_in_other_namespaces_are_ignored() {
        let body = "<a:Header><x:Trace xmlns:x='urn:x'>1</x:Trace></a:Header>
            <b:Body xmlns:b='http://www.w3.org/2003/05/soap-envelope'><z:Op xmlns:z='Zoolz'><z:one>1&amp;<![CDATA[<]]>&#50;</z:one>
            <two xmlns='Zoolz'/><three>3</three><z:four xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/></z:Op></b:Body>";
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected = SoapRequest {
            element: Some(pair("Zoolz", "Op")),
            children: vec![pair("one", "1&<2"), pair("two", "")],
            must_understand: false,
        };
        assert_eq!(read(body), Ok(expected));
    }

    #[test]
    fn each_kind_of_bad_envelope_gets_its_own_problem() {
        let deep = format!("<a:Body>{}{}</a:Body>", "<x>".repeat(40), "</x>".repeat(40));
        for (body, expected) in [
            ("", "one Body"),
            ("<a:Body/><a:Body/>", "one Body"),
            ("<a:Body><x/><y/></a:Body>", "more than one element"),
            (
                "<a:Body><x xmlns='Zoolz'><y><z/></y></x></a:Body>",
                "children where it should have text",
            ),
            ("<Body/>", "neither Header nor Body"),
            (deep.as_str(), "too deep"),
        ] {
            assert!(
                matches!(read(body), Err(SoapProblem::Unreadable(why)) if why.contains(expected)),
                "{body}: {:?}",
                read(body)
            );
        }
        assert_eq!(read("<a:Body>").unwrap_err(), SoapProblem::NotWellFormed);
        assert_eq!(
            read("<a:Body><q:x/></a:Body>").unwrap_err(),
            SoapProblem::NotWellFormed
        );
        let read =
            |text: &str| read_envelope(text.as_bytes(), SoapVersion::V12, "Zoolz").unwrap_err();
        assert_eq!(
            read("<?xml version=\u{201d}1.0\u{2033}?><x/>"),
            SoapProblem::TypographicQuotes
        );
        assert_eq!(
            read("<e:Envelope xmlns:e='urn:other'/>"),
            SoapProblem::OtherNamespace("urn:other".to_owned())
        );
        assert!(matches!(
            read("<!DOCTYPE x [<!ENTITY a 'b'>]><x/>"),
            SoapProblem::Unreadable(_)
        ));
        assert!(matches!(read("<x/>"), SoapProblem::Unreadable(_)));
        assert_eq!(read("plain"), SoapProblem::NotWellFormed);
        let must_understand = "<a:Envelope xmlns:a='http://www.w3.org/2003/05/soap-envelope'><a:Header><x a:mustUnderstand='1'/></a:Header><a:Body/></a:Envelope>";
        assert!(
            read_envelope(must_understand.as_bytes(), SoapVersion::V12, "Zoolz")
                .unwrap()
                .must_understand
        );
    }
}

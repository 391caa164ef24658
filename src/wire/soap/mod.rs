//! The syntax of SOAP 1.1 and 1.2 envelopes: the element in the Body, its text children, and
//! whether a header block must be understood. Namespace prefixes do not matter.

mod place;
mod write;

use quick_xml::NsReader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};

use super::xml::{check_declaration, check_reference, well_formed};
use super::{MAX_DEPTH, text_of};

pub use place::not_well_formed;
pub use write::{escaped, write_envelope, write_not_understood};

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
    /// The names of the element's children in no namespace or another one, which are not read.
    pub other_children: Vec<String>,
    /// Namespace and local name of the header blocks that must be understood and are for this
    /// service. It understands none.
    pub not_understood: Vec<(String, String)>,
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
                check_declaration(&declaration).map_err(|_| SoapProblem::NotWellFormed)?;
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
    let request = scan.finish()?;
    well_formed(text).map_err(|_| SoapProblem::NotWellFormed)?;
    Ok(request)
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
        let attributes = attributes(reader, start, self.version)?;
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
            [_, part, _] if part == "Header" => {
                let must_understand = attributes.must_understand()?;
                let block = (must_understand && attributes.is_for_us(self.version))
                    .then(|| (element_namespace.to_owned(), name));
                self.request.not_understood.extend(block);
            }
            [_, _, _] => {
                if self.request.element.is_some() {
                    return Err(unreadable("the Body has more than one element"));
                }
                self.request.element = Some((element_namespace.to_owned(), name));
            }
            [_, part, _, _] if part == "Body" => {
                let is_ours = element_namespace == self.namespace;
                if !is_ours {
                    self.request.other_children.push(name.clone());
                }
                let is_read = is_ours && !attributes.is_nil;
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

/// The attributes of an element that mean something here.
#[derive(Debug, Default)]
struct Attributes {
    is_nil: bool,
    must_understand: Option<String>,
    /// The `actor` of SOAP 1.1, the `role` of SOAP 1.2: for which node on the way a header block
    /// is.
    role: Option<String>,
}

impl Attributes {
    fn must_understand(&self) -> Result<bool, SoapProblem> {
        match self.must_understand.as_deref().map(str::trim) {
            Some("1" | "true") => Ok(true),
            None | Some("0" | "false") => Ok(false),
            Some(_) => Err(unreadable("mustUnderstand must be 0, 1, true or false")),
        }
    }

    /// Whether a header block is for this service: for the last node on the way, or for every node.
    fn is_for_us(&self, version: SoapVersion) -> bool {
        let role = self.role.as_deref().unwrap_or_default().trim();
        let roles: &[&str] = match version {
            SoapVersion::V11 => &["", "http://schemas.xmlsoap.org/soap/actor/next"],
            SoapVersion::V12 => &[
                "",
                "http://www.w3.org/2003/05/soap-envelope/role/next",
                "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver",
            ],
        };
        roles.contains(&role)
    }
}

fn attributes(
    reader: &NsReader<&[u8]>,
    start: &BytesStart<'_>,
    version: SoapVersion,
) -> Result<Attributes, SoapProblem> {
    let role = match version {
        SoapVersion::V11 => "actor",
        SoapVersion::V12 => "role",
    };
    let mut read = Attributes::default();
    let mut attributes = start.attributes();
    for (count, attribute) in attributes.with_checks(false).enumerate() {
        if count == MAX_ATTRIBUTES {
            return Err(unreadable("an element has too many attributes"));
        }
        let attribute = attribute.map_err(|_| SoapProblem::NotWellFormed)?;
        let (resolved, name) = reader.resolver().resolve_attribute(attribute.key);
        let ResolveResult::Bound(Namespace(namespace)) = resolved else {
            continue;
        };
        let value = attribute.value.into_owned();
        match name.as_ref() {
            "nil" if namespace == XSI => read.is_nil = matches!(value.trim(), "1" | "true"),
            "mustUnderstand" if namespace == version.namespace() => {
                read.must_understand = Some(value);
            }
            name if name == role && namespace == version.namespace() => read.role = Some(value),
            _ => {}
        }
    }
    Ok(read)
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
            other_children: vec!["three".to_owned()],
            not_understood: Vec::new(),
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
    }

    #[test]
    fn only_header_blocks_for_this_service_must_be_understood() {
        let block = || vec![("urn:h".to_owned(), "x".to_owned())];
        let none = Vec::new;
        let v12 = "http://www.w3.org/2003/05/soap-envelope";
        let read = |version: SoapVersion, attributes: &str| {
            let namespace = version.namespace();
            let text = format!(
                "<a:Envelope xmlns:a='{namespace}'><a:Header><h:x xmlns:h='urn:h' {attributes}/></a:Header><a:Body/></a:Envelope>"
            );
            read_envelope(text.as_bytes(), version, "Zoolz").map(|request| request.not_understood)
        };
        for (attributes, expected) in [
            ("a:mustUnderstand='1'".to_owned(), block()),
            ("a:mustUnderstand=' true '".to_owned(), block()),
            ("a:mustUnderstand='1' a:role=''".to_owned(), block()),
            (
                format!("a:mustUnderstand='1' a:role='{v12}/role/next'"),
                block(),
            ),
            (
                format!("a:mustUnderstand='1' a:role='{v12}/role/ultimateReceiver'"),
                block(),
            ),
            (
                format!("a:mustUnderstand='1' a:role='{v12}/role/none'"),
                none(),
            ),
            (
                "a:mustUnderstand='1' a:role='urn:a:proxy'".to_owned(),
                none(),
            ),
            ("a:mustUnderstand='0'".to_owned(), none()),
            ("a:mustUnderstand='false'".to_owned(), none()),
            ("mustUnderstand='1'".to_owned(), none()),
            // SOAP 1.2 has no actor.
            (
                "a:mustUnderstand='1' a:actor='urn:a:proxy'".to_owned(),
                block(),
            ),
        ] {
            assert_eq!(
                read(SoapVersion::V12, &attributes),
                Ok(expected),
                "{attributes}"
            );
        }
        let next = "http://schemas.xmlsoap.org/soap/actor/next";
        for (attributes, expected) in [
            ("a:mustUnderstand='1'".to_owned(), block()),
            (format!("a:mustUnderstand='1' a:actor='{next}'"), block()),
            (
                "a:mustUnderstand='1' a:actor='urn:a:proxy'".to_owned(),
                none(),
            ),
        ] {
            assert_eq!(
                read(SoapVersion::V11, &attributes),
                Ok(expected),
                "{attributes}"
            );
        }
        assert!(matches!(
            read(SoapVersion::V12, "a:mustUnderstand='yes'"),
            Err(SoapProblem::Unreadable(why)) if why.contains("mustUnderstand")
        ));
        let written = write_not_understood(SoapVersion::V12, &block(), "");
        assert!(
            written.contains("<soap:NotUnderstood qname=\"h:x\" xmlns:h=\"urn:h\" />"),
            "{written}"
        );
    }
}

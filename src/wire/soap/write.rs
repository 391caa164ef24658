//! Writes envelopes.

use quick_xml::escape::escape;

use super::{SoapVersion, XSI};
use crate::wire::xml::legal;

/// Puts the content of a Body into an envelope. The content must be well-formed XML.
#[must_use]
pub fn write_envelope(version: SoapVersion, body: &str) -> String {
    write_envelope_with(version, "", body)
}

/// Puts the content of a Body into an envelope whose Header names the blocks that were not
/// understood. SOAP 1.1 has no form for these names, so its envelope has no Header.
#[must_use]
pub fn write_not_understood(
    version: SoapVersion,
    blocks: &[(String, String)],
    body: &str,
) -> String {
    let header: String = match version {
        SoapVersion::V11 => String::new(),
        SoapVersion::V12 => blocks.iter().map(not_understood).collect(),
    };
    write_envelope_with(version, &header, body)
}

/// A `NotUnderstood` block (SOAP 1.2 part 1, section 5.4.8).
fn not_understood((namespace, name): &(String, String)) -> String {
    if namespace.is_empty() {
        format!("<soap:NotUnderstood qname=\"{}\" />", escaped(name))
    } else {
        format!(
            "<soap:NotUnderstood qname=\"h:{}\" xmlns:h=\"{}\" />",
            escaped(name),
            escaped(namespace)
        )
    }
}

fn write_envelope_with(version: SoapVersion, header: &str, body: &str) -> String {
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("<soap:Header>{header}</soap:Header>")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope xmlns:soap=\"{}\" xmlns:xsi=\"{XSI}\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">{header}<soap:Body>{body}</soap:Body></soap:Envelope>",
        version.namespace()
    )
}

/// Escapes a text for use in an element or attribute. Characters that no XML document can contain
/// become U+FFFD.
#[must_use]
pub fn escaped(text: &str) -> String {
    legal(escape(text).into_owned())
}

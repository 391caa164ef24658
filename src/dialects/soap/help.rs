//! The help page: a list of the operations, and samples for both SOAP versions of each.

use std::sync::LazyLock;

use super::NAMESPACE;
use super::operation::Operation;
use super::operations::OPERATIONS;
use crate::hash::sha256;
use crate::wire::{SoapVersion, escaped, write_envelope};

const STYLE: &str = ":root{color-scheme:light dark;background:light-dark(#fff,#14171b);color:light-dark(#1b1f24,#e8eaed)}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\
                     pre{white-space:pre-wrap;padding:1rem;border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-radius:.5rem}\
                     a{color:light-dark(#0b57d0,#8ab4f8)}a:focus-visible{outline:2px solid}";

/// The content security policy: it allows the style sheet by its hash and forbids everything else.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = data_encoding::BASE64.encode(&sha256(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{content}</main></body></html>"
    )
}

/// The page that lists the operations.
pub(super) fn index() -> String {
    let items = OPERATIONS.iter().fold(String::new(), |text, operation| {
        text + &format!("<li><a href=\"?op={0}\">{0}</a></li>", operation.name)
    });
    page(
        "Service",
        &format!(
            "<p>The following operations are supported. The formal definition is in the <a href=\"?wsdl\">service description</a>.</p><ul>{items}</ul><p><a href=\"/\">Start page</a> - <a href=\"/docs\">The other APIs</a></p>"
        ),
    )
}

/// The page of one operation, with samples.
pub(super) fn operation(operation: &Operation, path: &str) -> String {
    let children = operation
        .children
        .iter()
        .fold(String::new(), |text, (name, kind)| {
            text + &format!("<{name}>{}</{name}>", kind.schema().0)
        });
    let request = format!(
        "<{0} xmlns=\"{NAMESPACE}\">{children}</{0}>",
        operation.name
    );
    let document = operation.wording.detail.element();
    let document = document.map_or_else(String::new, |name| format!("<{name}>string</{name}>"));
    let response = format!(
        "<{0}Response xmlns=\"{NAMESPACE}\"><{0}Result><Code>Success</Code><Message>string</Message>{document}</{0}Result></{0}Response>",
        operation.name
    );
    let sample = |version: SoapVersion, title: &str, action: &str| {
        let request = indented(&write_envelope(version, &request));
        let response = indented(&write_envelope(version, &response));
        format!(
            "<h2>{title}</h2><pre>POST {path} HTTP/1.1\nContent-Type: {}{action}\n\n{}</pre><pre>HTTP/1.1 200 OK\nContent-Type: {}\n\n{}</pre>",
            version.content_type(),
            escaped(&request),
            version.content_type(),
            escaped(&response)
        )
    };
    let action = format!("\nSOAPAction: \"{NAMESPACE}/{}\"", operation.name);
    let samples =
        sample(SoapVersion::V12, "SOAP 1.2", "") + &sample(SoapVersion::V11, "SOAP 1.1", &action);
    page(
        operation.name,
        &format!("<p><a href=\"?\">All operations</a></p>{samples}"),
    )
}

/// Writes each element on its own line, indented by its depth.
fn indented(xml: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for part in xml.replace("><", ">\n<").lines() {
        let is_closing = part.starts_with("</");
        depth = depth.saturating_sub(usize::from(is_closing));
        text.push_str(&"  ".repeat(depth));
        text.push_str(part);
        text.push('\n');
        let is_opening =
            !is_closing && !part.starts_with("<?") && !part.ends_with("/>") && !part.contains("</");
        depth += usize::from(is_opening);
    }
    text.trim_end().to_owned()
}

//! A conversation with the service: every request with its whole answer, as text for a snapshot.
//!
//! Random values are replaced by names: UUIDs by the member where they first appear and a number,
//! such as `[hold_id-1]`; others by the name that the test gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use axum::Router;
use axum::body::Body;
use axum::http::Request;

use super::app::{Answer, send};

/// The headers of answers that are written down.
const HEADERS: [&str; 7] = [
    "content-type",
    "etag",
    "link",
    "location",
    "x-total-count",
    "idempotent-replayed",
    "retry-after",
];
/// The width of a body, in characters; longer ones continue on the next line.
const WIDTH: usize = 100;

pub struct Transcript {
    router: Router,
    text: String,
    names: Vec<(String, String)>,
    operations: BTreeSet<String>,
}

impl Transcript {
    pub fn new(router: &Router) -> Self {
        Self {
            router: router.clone(),
            text: String::new(),
            names: Vec::new(),
            operations: BTreeSet::new(),
        }
    }

    /// Replaces a random value by a name.
    pub fn name(&mut self, name: &str, value: &str) {
        self.names.push((value.to_owned(), format!("[{name}]")));
    }

    /// Sends a request, and adds request and answer to the text. `operation` counts as driven.
    pub async fn send(
        &mut self,
        operation: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        writeln!(self.text, "> {method} {path}").unwrap();
        for (name, value) in headers {
            request = request.header(*name, *value);
            writeln!(self.text, "> {name}: {value}").unwrap();
        }
        self.body('>', body);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answer = send(&self.router, request).await;
        writeln!(self.text, "< {}", answer.status.as_u16()).unwrap();
        for name in HEADERS {
            if let Some(value) = answer.headers.get(name) {
                writeln!(self.text, "< {name}: {}", value.to_str().unwrap()).unwrap();
            }
        }
        self.body('<', &answer.body);
        self.text.push('\n');
        self.operations.insert(operation.to_owned());
        answer
    }

    fn body(&mut self, side: char, body: &str) {
        for line in body.lines() {
            writeln!(self.text, "{side} {line}").unwrap();
        }
    }

    /// The operations of a table that were not driven.
    pub fn missing<'a>(&self, operations: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        operations
            .filter(|operation| !self.operations.contains(*operation))
            .collect()
    }

    /// The whole conversation, with every random value replaced.
    pub fn finish(self) -> String {
        let mut text = self.text;
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        // The tag of a document is a hash of its content, which has random values.
        let tags = text.split("etag: W/\"").skip(1);
        let tags: BTreeSet<String> = tags.map(|rest| rest.chars().take(32).collect()).collect();
        for tag in tags {
            text = text.replace(&tag, "[hash of the content]");
        }
        let mut counts = BTreeMap::new();
        while let Some(at) = first_uuid(&text) {
            let name = member_before(&text[..at]);
            let count = counts.entry(name.clone()).or_insert(0);
            *count += 1;
            let uuid = text[at..at + 36].to_owned();
            text = text.replace(&uuid, &format!("[{name}-{count}]"));
        }
        let lines: Vec<String> = text.trim_end().lines().map(wrapped).collect();
        lines.join("\n")
    }
}

/// Where the first UUID begins.
fn first_uuid(text: &str) -> Option<usize> {
    let is_uuid = |part: &[u8]| {
        part.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    text.as_bytes().windows(36).position(is_uuid)
}

/// The name of the member that a value belongs to, from the text before the value.
fn member_before(text: &str) -> String {
    let text = text.trim_end_matches(|c: char| !c.is_alphanumeric());
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let start = text.rfind(|c| !is_name(c)).map_or(0, |end| end + 1);
    text[start..].to_owned()
}

/// Breaks a long line behind commas and between XML elements, and changes nothing else.
fn wrapped(line: &str) -> String {
    let Some((side, content)) = line.split_at_checked(2) else {
        return line.to_owned();
    };
    let breaks = [",\"", ",{", "><", ",&quot;", "\" xmlns"].map(|mark| content.match_indices(mark));
    let mut breaks: Vec<usize> = breaks.into_iter().flatten().map(|(at, _)| at + 1).collect();
    breaks.push(content.len());
    breaks.sort_unstable();
    let (mut lines, mut start, mut end) = (Vec::new(), 0, 0);
    for next in breaks {
        if next - start > WIDTH && end > start {
            lines.push(format!("{side}{}", &content[start..end]));
            start = end;
        }
        end = next;
    }
    lines.push(format!("{side}{}", &content[start..]));
    lines.join("\n")
}

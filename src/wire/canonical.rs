//! The members of a document in a form that does not depend on how it was written: not on white
//! space, not on the order of members, and not on whether it is JSON or XML.
//!
//! XML has texts and elements only. So numbers, booleans and texts are all texts here, `null` and an
//! empty object are the empty text, and the members of an array are repeated elements.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::{Codec, MAX_DEPTH, Verbatim, json, text_of};

/// A value.
enum Node {
    Text(String),
    Members(Children),
}

/// The values of each member, in their order.
type Children = BTreeMap<String, Vec<Node>>;

/// The members of a document, without those at its root that are named in `ignored`. `None` if the
/// document has no members or cannot be read.
#[must_use]
pub fn canonical(codec: Codec, body: &[u8], ignored: &[&str]) -> Option<String> {
    let text = text_of(body).ok()?;
    let mut members = match codec {
        Codec::Json => {
            let members = json::members(text).ok()?.into_iter();
            members.map(|(name, value)| (name, nodes(value))).collect()
        }
        Codec::Xml => elements(text)?,
    };
    members.retain(|name, _| !ignored.contains(&name.as_str()));
    let mut written = String::new();
    write_members(&members, &mut written);
    Some(written)
}

/// The value of a JSON member: several nodes for an array.
fn nodes(value: Verbatim) -> Vec<Node> {
    match value {
        Verbatim::List(values) => values.into_iter().map(node).collect(),
        other @ (Verbatim::Null
        | Verbatim::Bool(_)
        | Verbatim::Number(_)
        | Verbatim::Text(_)
        | Verbatim::Object(_)) => vec![node(other)],
    }
}

fn node(value: Verbatim) -> Node {
    match value {
        Verbatim::Null => Node::Text(String::new()),
        Verbatim::Bool(on) => Node::Text(on.to_string()),
        Verbatim::Number(text) | Verbatim::Text(text) => Node::Text(text),
        // An array in an array has no form in XML.
        list @ Verbatim::List(_) => Node::Members(Children::from([(String::new(), nodes(list))])),
        Verbatim::Object(members) if members.is_empty() => Node::Text(String::new()),
        Verbatim::Object(members) => {
            let members = members.into_iter();
            Node::Members(members.map(|(name, value)| (name, nodes(value))).collect())
        }
    }
}

/// An element that is not closed yet.
#[derive(Default)]
struct Open {
    text: String,
    children: Children,
}

impl Open {
    fn close(self) -> Node {
        if self.children.is_empty() {
            Node::Text(self.text)
        } else {
            Node::Members(self.children)
        }
    }
}

/// The children of the root element of an XML document.
fn elements(text: &str) -> Option<Children> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![(String::new(), Open::default())];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push((start.name().as_ref().to_owned(), Open::default()));
                if open.len() > MAX_DEPTH + 1 {
                    return None;
                }
            }
            Event::Empty(start) => {
                let name = start.name().as_ref().to_owned();
                add(&mut open, name, Node::Text(String::new()))?;
            }
            Event::End(_) => {
                let (name, element) = open.pop()?;
                add(&mut open, name, element.close())?;
            }
            Event::Text(part) => open.last_mut()?.1.text.push_str(&part),
            Event::CData(part) => open.last_mut()?.1.text.push_str(&part),
            Event::GeneralRef(reference) => {
                let element = &mut open.last_mut()?.1;
                match reference.resolve_char_ref().ok()? {
                    Some(character) => element.text.push(character),
                    None => element
                        .text
                        .push_str(resolve_predefined_entity(&reference)?),
                }
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
    let (_, document) = open.pop()?;
    let root = document.children.into_values().next()?.into_iter().next()?;
    match root {
        Node::Members(children) => Some(children),
        Node::Text(_) => Some(Children::new()),
    }
}

fn add(open: &mut [(String, Open)], name: String, node: Node) -> Option<()> {
    let parent = &mut open.last_mut()?.1;
    parent.children.entry(name).or_default().push(node);
    Some(())
}

fn write_members(members: &Children, to: &mut String) {
    to.push('{');
    for (name, nodes) in members {
        write_text(name, to);
        to.push('[');
        for node in nodes {
            match node {
                Node::Text(text) => write_text(text, to),
                Node::Members(children) => write_members(children, to),
            }
        }
        to.push(']');
    }
    to.push('}');
}

/// Writes a text with its length in front, so that no two documents are written alike.
fn write_text(text: &str, to: &mut String) {
    to.push_str(&text.len().to_string());
    to.push(':');
    to.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Option<String> {
        let codec = if body.starts_with('<') {
            Codec::Xml
        } else {
            Codec::Json
        };
        canonical(codec, body.as_bytes(), &["token"])
    }

    #[test]
    fn one_command_has_one_form_however_it_is_written() {
        let alike = [
            r#"{"id":7,"on":true,"note":null,"tags":["a","b"],"at":{"b":"x&<y>","a":"1"}}"#,
            " {\n\"at\": {\"a\": 1, \"b\": \"x&<\\u0079>\"}, \"tags\": [\"a\",\"b\"],\"note\":\"\",\"on\":true,\"id\":7}",
            r#"{"token":"secret","id":7,"on":true,"note":{},"tags":["a","b"],"at":{"b":"x&<y>","a":1}}"#,
            "<xml><id>7</id><on>true</on><note/><tags>a</tags><tags>b</tags><at><a>1</a><b>x&amp;&lt;&#121;&gt;</b></at></xml>",
            "<?xml version=\"1.0\"?>\n<xml>\n  <token>other</token><at><b><![CDATA[x&<y>]]></b><a>1</a></at>\n <tags>a</tags><id>7</id><tags>b</tags><note></note><on>true</on><!-- --></xml>",
        ];
        let first = form(alike[0]);
        assert!(first.is_some());
        for body in alike {
            assert_eq!(form(body), first, "{body}");
        }
    }

    #[test]
    fn different_commands_have_different_forms() {
        let all = [
            "{}",
            r#"{"a":"1"}"#,
            r#"{"a":"10"}"#,
            r#"{"a":["1","0"]}"#,
            r#"{"a":["0","1"]}"#,
            r#"{"a":[["1","0"]]}"#,
            r#"{"a":[]}"#,
            r#"{"a":null}"#,
            r#"{"a":{"b":"1"}}"#,
            r#"{"a":{"b":"1"},"b":"1"}"#,
            r#"{"a":{"b":["1",{"c":"1"}]}}"#,
            r#"{"a":"}1:b[1:1]"}"#,
            r#"{"a":" 1"}"#,
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(form(one).is_some(), "{one}");
            for other in &all[position + 1..] {
                assert_ne!(form(one), form(other), "{one} and {other}");
            }
        }
        for unreadable in ["", "[1]", "7", "{", "<xml>", "<xml>&unknown;</xml>"] {
            assert_eq!(form(unreadable), None, "{unreadable}");
        }
    }
}

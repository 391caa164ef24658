//! The members of a document in a form that does not depend on how it was written: not on white
//! space between them, and not on their order.
//!
//! XML has texts and elements only. So there are two forms. In the loose one, which JSON and XML
//! have, numbers, booleans and texts are all texts, `null` and an empty object are the empty text,
//! and the members of an array are repeated elements. The exact one, which only JSON has, keeps the
//! types.

use std::collections::BTreeMap;

use super::{Codec, Verbatim, json, text_of, xml};

/// The forms of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The same for a document in JSON and one in XML that say the same.
    pub loose: String,
    /// With the types of the values. `None` for XML.
    pub exact: Option<String>,
}

/// A value of the loose form.
enum Node {
    Text(String),
    Members(Children),
}

/// The values of each member, in their order.
type Children = BTreeMap<String, Vec<Node>>;

/// The members of a document, without those at its root that are named in `ignored`. `None` if the
/// document has no members or cannot be read.
#[must_use]
pub fn canonical(codec: Codec, body: &[u8], ignored: &[&str]) -> Option<Canonical> {
    let text = text_of(body).ok()?;
    let mut members = match codec {
        Codec::Json => json::members(text),
        Codec::Xml => xml::members(text),
    }
    .ok()?;
    members.retain(|name, _| !ignored.contains(&name.as_str()));
    let exact = (codec == Codec::Json).then(|| {
        let mut written = String::new();
        write_exact_members(&members, &mut written);
        written
    });
    let nodes = |value| match codec {
        Codec::Json => nodes(value, &str::to_owned),
        Codec::Xml => nodes(value, &without_indentation),
    };
    let members = members.into_iter();
    let members = members.map(|(name, value)| (name, nodes(value))).collect();
    let mut loose = String::new();
    write_members(&members, &mut loose);
    Some(Canonical { loose, exact })
}

/// A text of an XML document without the white space around it, if there are line breaks in that:
/// then the document is indented.
fn without_indentation(text: &str) -> String {
    let bare = text.trim();
    let is_indented = |around: &str| around.contains('\n');
    match text.split_once(bare) {
        Some((before, after)) if is_indented(before) || is_indented(after) => bare.to_owned(),
        _ => text.to_owned(),
    }
}

/// The nodes of a member: several for an array.
fn nodes(value: Verbatim, text: &impl Fn(&str) -> String) -> Vec<Node> {
    match value {
        Verbatim::List(values) => values.into_iter().map(|value| node(value, text)).collect(),
        other @ (Verbatim::Null
        | Verbatim::Bool(_)
        | Verbatim::Number(_)
        | Verbatim::Text(_)
        | Verbatim::Object(_)) => vec![node(other, text)],
    }
}

fn node(value: Verbatim, text: &impl Fn(&str) -> String) -> Node {
    match value {
        Verbatim::Null => Node::Text(String::new()),
        Verbatim::Bool(on) => Node::Text(on.to_string()),
        Verbatim::Number(written) | Verbatim::Text(written) => Node::Text(text(&written)),
        // An array in an array has no form in XML.
        list @ Verbatim::List(_) => {
            Node::Members(Children::from([(String::new(), nodes(list, text))]))
        }
        Verbatim::Object(members) if members.is_empty() => Node::Text(String::new()),
        Verbatim::Object(members) => {
            let members = members.into_iter();
            let members = members.map(|(name, value)| (name, nodes(value, text)));
            Node::Members(members.collect())
        }
    }
}

fn write_exact_members(members: &BTreeMap<String, Verbatim>, to: &mut String) {
    to.push('{');
    for (name, value) in members {
        write_text(name, to);
        write_exact(value, to);
    }
    to.push('}');
}

fn write_exact(value: &Verbatim, to: &mut String) {
    match value {
        Verbatim::Null => to.push('n'),
        Verbatim::Bool(on) => to.push(if *on { 't' } else { 'f' }),
        Verbatim::Number(text) => {
            to.push('#');
            write_text(text, to);
        }
        Verbatim::Text(text) => {
            to.push('"');
            write_text(text, to);
        }
        Verbatim::List(values) => {
            to.push('[');
            for value in values {
                write_exact(value, to);
            }
            to.push(']');
        }
        Verbatim::Object(members) => write_exact_members(members, to),
    }
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

    fn form(body: &str) -> Option<Canonical> {
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
        let first = form(alike[0]).unwrap().loose;
        for body in alike {
            assert_eq!(form(body).unwrap().loose, first, "{body}");
        }
        let alike = [
            r#"{"id":7,"at":{"b":[1,null],"a":"1"}}"#,
            "{\n \"at\": {\"\\u0061\": \"1\", \"b\": [1, null]}, \"id\": 7, \"token\": {}}",
        ];
        assert_eq!(form(alike[0]), form(alike[1]));
    }

    #[test]
    fn the_exact_form_has_types() {
        let all = [
            "null",
            "\"\"",
            "{}",
            "[]",
            "1",
            "\"1\"",
            "true",
            "\"true\"",
            "[\"1\"]",
            "[[\"1\"]]",
        ];
        let forms: Vec<_> = all
            .map(|value| form(&format!("{{\"a\":{value}}}")).unwrap().exact)
            .into_iter()
            .collect();
        for (position, one) in forms.iter().enumerate() {
            assert!(one.is_some());
            assert!(!forms[position + 1..].contains(one), "{}", all[position]);
        }
        assert_eq!(form("<xml><a>1</a></xml>").unwrap().exact, None);
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
                let loose = |body| form(body).map(|it| it.loose);
                assert_ne!(loose(one), loose(other), "{one} and {other}");
            }
        }
        for unreadable in ["", "[1]", "7", "{", "<xml>", "<xml>&unknown;</xml>"] {
            assert_eq!(form(unreadable), None, "{unreadable}");
        }
    }
}

//! Writes the OpenAPI document as a page: every call with its parameters, members and answers, and a
//! command to paste. It needs no scripts.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write as _};

use serde_json::{Map, Value};

use super::html;
use crate::wire::escaped;

const SCHEMAS: &str = "#/components/schemas/";

/// The page for an OpenAPI document.
pub(super) fn page(document: &Value) -> String {
    let reference = Reference { document };
    html::page("Steward: all calls", &reference.content())
}

struct Reference<'a> {
    document: &'a Value,
}

/// One operation of the document.
#[derive(Clone, Copy)]
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn items<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(member)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn members<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value
        .get(member)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// Appends a formatted text, which cannot fail.
fn append(text: &mut String, formatted: Arguments<'_>) {
    let _written = text.write_fmt(formatted);
}

/// A text of the document. Words between backticks become code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in escaped(text).split('`').enumerate() {
        if index % 2 == 1 {
            append(&mut html, format_args!("<code>{part}</code>"));
        } else {
            html.push_str(part);
        }
    }
    html
}

impl<'a> Reference<'a> {
    fn content(&self) -> String {
        let operations = self.operations();
        let (mut contents, mut sections) = (String::new(), String::new());
        for tag in items(self.document, "tags") {
            let name = text(tag, "name");
            let own: Vec<_> = operations
                .iter()
                .filter(|operation| items(operation.value, "tags").any(|tag| tag == name))
                .collect();
            let links: String = own.iter().map(|operation| operation.link()).collect();
            append(
                &mut contents,
                format_args!("<p>{}</p><ul>{links}</ul>", escaped(name)),
            );
            let articles: String = own
                .iter()
                .map(|operation| self.article(**operation))
                .collect();
            append(
                &mut sections,
                format_args!(
                    "<h2>{}</h2><p>{}</p>{articles}",
                    escaped(name),
                    prose(text(tag, "description"))
                ),
            );
        }
        let schemas: String = self
            .document
            .get("components")
            .into_iter()
            .flat_map(|components| members(components, "schemas"))
            .map(|(name, schema)| self.schema(name, schema))
            .collect();
        format!(
            "<p>The commands use two variables: <code>STEWARD_URL</code>, the address of this \
             service, and <code>TOKEN</code>, a token. In the demo, <code>eval \"$(steward demo \
             --print-env)\"</code> sets both. The same document for programs is <a \
             href=\"/openapi.json\">/openapi.json</a>; the third API is described by its <a \
             href=\"{0}\">help page</a> and <a href=\"{0}?wsdl\">WSDL</a>.</p>\
             <nav aria-label=\"Calls\">{contents}</nav>{sections}<h2>Objects</h2>{schemas}",
            crate::dialects::soap::PATH
        )
    }

    fn operations(&self) -> Vec<Operation<'a>> {
        members(self.document, "paths")
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(method, value)| Operation {
                        method,
                        path,
                        value,
                    })
            })
            .collect()
    }

    fn article(&self, operation: Operation<'_>) -> String {
        let Operation {
            method,
            path,
            value,
        } = operation;
        let parameters = Self::parameters(value);
        let body = value.pointer("/requestBody/content/application~1json/schema");
        let body = body.map_or_else(String::new, |schema| self.member_list(schema, ""));
        let mut details = String::new();
        for (title, list) in [("Parameters", parameters), ("Members of the body", body)] {
            if !list.is_empty() {
                append(
                    &mut details,
                    format_args!("<details><summary>{title}</summary><dl>{list}</dl></details>"),
                );
            }
        }
        let answers: String = members(value, "responses")
            .map(|(status, answer)| Self::answer(status, answer))
            .collect();
        format!(
            "<article id=\"{id}\"><h3><code>{method} {path}</code></h3><p>{summary}. {about}</p>\
             <pre>{command}</pre>{details}<details><summary>Answers</summary><dl>{answers}</dl>\
             </details></article>",
            id = escaped(text(value, "operationId")),
            method = method.to_uppercase(),
            path = escaped(path),
            summary = prose(text(value, "summary")),
            about = prose(text(value, "description")),
            command = escaped(&operation.command()),
        )
    }

    fn answer(status: &str, answer: &Value) -> String {
        let schema = answer.pointer("/content/application~1json/schema");
        let kind = schema.map_or_else(String::new, |schema| {
            format!(" <span class=\"kind\">{}</span>", kind(schema))
        });
        format!(
            "<dt><code>{}</code>{kind}</dt><dd>{}</dd>",
            escaped(status),
            prose(text(answer, "description"))
        )
    }

    /// The parameters. Those that differ only in their comparison, such as `email[eq]` and
    /// `email[ne]`, are one entry.
    fn parameters(operation: &Value) -> String {
        let mut html = String::new();
        let mut comparisons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for parameter in items(operation, "parameters") {
            let name = text(parameter, "name");
            if let Some((field, comparison)) = name.split_once('[') {
                let known = comparisons.entry(field).or_default();
                known.push(comparison.trim_end_matches(']'));
                continue;
            }
            append(
                &mut html,
                format_args!(
                    "<dt><code>{}</code> <span class=\"kind\">{}, {}{}</span></dt><dd>{}</dd>",
                    escaped(name),
                    escaped(text(parameter, "in")),
                    parameter.get("schema").map_or_else(String::new, kind),
                    if parameter.get("required") == Some(&Value::Bool(true)) {
                        ", required"
                    } else {
                        ""
                    },
                    prose(text(parameter, "description"))
                ),
            );
        }
        for (field, known) in comparisons {
            append(
                &mut html,
                format_args!(
                    "<dt><code>{field}[...]</code> <span class=\"kind\">query</span></dt>\
                 <dd>A filter, with one of {}.</dd>",
                    known
                        .iter()
                        .map(|name| format!("<code>{field}[{name}]</code>"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            );
        }
        html
    }

    fn schema(&self, name: &str, schema: &Value) -> String {
        let list = self.member_list(schema, "");
        let body = if list.is_empty() {
            format!("<p class=\"kind\">{}</p>", kind(schema))
        } else {
            format!("<details><summary>Members</summary><dl>{list}</dl></details>")
        };
        format!(
            "<article id=\"{0}\"><h3>{0}</h3><p>{1}</p>{body}</article>",
            escaped(name),
            prose(text(schema, "description"))
        )
    }

    /// The members of an object, and of the objects in it that have no name of their own.
    fn member_list(&self, schema: &Value, prefix: &str) -> String {
        let schema = self.resolved(schema);
        let mut html: String = items(schema, "allOf")
            .map(|part| self.member_list(part, prefix))
            .collect();
        let required: Vec<&Value> = items(schema, "required").collect();
        for (name, member) in members(schema, "properties") {
            let path = format!("{prefix}{name}");
            let is_required = required.iter().any(|required| *required == name);
            append(
                &mut html,
                format_args!(
                    "<dt><code>{}</code> <span class=\"kind\">{}{}</span></dt><dd>{}</dd>",
                    escaped(&path),
                    kind(member),
                    if is_required { ", required" } else { "" },
                    prose(text(member, "description"))
                ),
            );
            if member.get("properties").is_some() {
                html.push_str(&self.member_list(member, &format!("{path}.")));
            }
        }
        html
    }

    fn resolved<'b>(&'b self, schema: &'b Value) -> &'b Value {
        let name = text(schema, "$ref").strip_prefix(SCHEMAS);
        name.and_then(|name| self.document.get("components")?.get("schemas")?.get(name))
            .unwrap_or(schema)
    }
}

/// The type of a value, with its limits, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = text(schema, "$ref").strip_prefix(SCHEMAS) {
        return format!("<a href=\"#{0}\">{0}</a>", escaped(name));
    }
    for several in ["oneOf", "anyOf"] {
        let kinds: Vec<String> = items(schema, several).map(kind).collect();
        if !kinds.is_empty() {
            return kinds.join(" or ");
        }
    }
    let parts: Vec<String> = items(schema, "allOf").map(kind).collect();
    if !parts.is_empty() {
        return parts.join(" and ");
    }
    let kinds = schema.get("type");
    let words: Vec<&str> = match kinds.and_then(Value::as_array) {
        Some(words) => words.iter().filter_map(Value::as_str).collect(),
        None => kinds.and_then(Value::as_str).into_iter().collect(),
    };
    let word = |word: &str| match (word, schema.get("items")) {
        ("array", Some(items)) => format!("list of {}", kind(items)),
        _ => escaped(word),
    };
    let mut kind = words.into_iter().map(word).collect::<Vec<_>>().join(" or ");
    if kind.is_empty() {
        "any value".clone_into(&mut kind);
    }
    kind + &limits(schema)
}

/// The accepted words, the format and the limits of a value.
fn limits(schema: &Value) -> String {
    let empty = Map::new();
    let mut parts = Vec::new();
    let words: Vec<&str> = items(schema, "enum").filter_map(Value::as_str).collect();
    if !words.is_empty() {
        parts.push(format!("one of {}", words.join(", ")));
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        parts.push(format.to_owned());
    }
    let object = schema.as_object().unwrap_or(&empty);
    for (member, words) in [
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("maxLength", "characters at most "),
        ("maxItems", "items at most "),
    ] {
        if let Some(limit) = object.get(member) {
            parts.push(format!("{words}{limit}"));
        }
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", escaped(&parts.join("; ")))
    }
}

impl Operation<'_> {
    fn link(&self) -> String {
        format!(
            "<li><a href=\"#{}\">{}</a></li>",
            escaped(text(self.value, "operationId")),
            escaped(text(self.value, "operationId"))
        )
    }

    /// A command for a shell that makes the call with the example of the document.
    fn command(&self) -> String {
        let method = match self.method {
            "get" => String::new(),
            method => format!(" -X {}", method.to_uppercase()),
        };
        let path = self.path.replace("{id}", example_id(self.path));
        let mut command = format!("curl{method} \"$STEWARD_URL{path}\"");
        let is_public = self.value["security"].as_array().is_some_and(|schemes| {
            schemes
                .iter()
                .all(|scheme| scheme.as_object().is_some_and(Map::is_empty))
        });
        if !is_public {
            command.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
        }
        if let Some(example) = self
            .value
            .pointer("/requestBody/content/application~1json/example")
        {
            let body = example.to_string().replace('\'', "'\\''");
            append(
                &mut command,
                format_args!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"),
            );
        }
        command
    }
}

/// What stands for the id in a command: an account of the demo, or a word to replace.
fn example_id(path: &str) -> &'static str {
    if path.starts_with(crate::dialects::v3::ACCOUNTS) {
        "7"
    } else if path.contains("/resellers/") || path.contains("/tokens/") {
        "1"
    } else {
        "$ID"
    }
}

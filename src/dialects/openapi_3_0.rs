//! The OpenAPI document in version 3.0, for tools that do not read 3.1.
//!
//! It describes the bodies in JSON only: these tools generate code for one media type each.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Rewrites a document of version 3.1.
pub(super) fn in_3_0(mut document: Value) -> Value {
    if let Some(version) = document.get_mut("openapi") {
        *version = json!("3.0.3");
    }
    if let Some(Value::Object(license)) = document.pointer_mut("/info/license") {
        license.remove("identifier");
        license.insert("url".to_owned(), json!(LICENSE));
    }
    let objects = objects(&document);
    rewrite(&mut document, &objects);
    remove_unused(&mut document);
    document
}

/// The paths of the named schemas that are objects.
fn objects(document: &Value) -> BTreeSet<String> {
    let schemas = document.pointer("/components/schemas");
    let schemas = schemas.and_then(Value::as_object).into_iter().flatten();
    schemas
        .filter(|(_, schema)| schema.get("type").is_some_and(|kind| kind == "object"))
        .map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect()
}

/// Removes the schemas that only described bodies in other formats.
fn remove_unused(document: &mut Value) {
    let mut used = BTreeSet::new();
    let mut found = references(document.get("paths").unwrap_or(&Value::Null));
    while let Some(name) = found.pop() {
        if let Some(schema) = document.pointer(&format!("/components/schemas/{name}"))
            && used.insert(name)
        {
            found.extend(references(schema));
        }
    }
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.retain(|name, _| used.contains(name));
    }
}

/// The names of the schemas that a part of the document refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|path| path.rsplit('/').next());
            let own = own.map(str::to_owned);
            own.into_iter()
                .chain(members.values().flat_map(references))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn rewrite(value: &mut Value, objects: &BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            rewrite_schema(members, objects);
            if let Some(Value::Object(content)) = members.get_mut("content") {
                let json = content.contains_key(JSON);
                content.retain(|media_type, _| !json || media_type == JSON);
            }
            for (name, member) in members.iter_mut() {
                match (name.as_str(), &mut *member) {
                    // These are data, not descriptions.
                    ("example" | "default" | "enum" | "required", _) => {}
                    // The names in there are no keywords.
                    ("properties" | "schemas" | "headers", Value::Object(named)) => {
                        named.values_mut().for_each(|it| rewrite(it, objects));
                    }
                    _ => rewrite(member, objects),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| rewrite(it, objects)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const JSON: &str = "application/json";
/// What the license's identifier stands for.
const LICENSE: &str = "https://www.apache.org/licenses/LICENSE-2.0";

fn is_scalar(schema: &Value) -> bool {
    let kind = schema.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| matches!(kind, "integer" | "number" | "string" | "boolean"))
}

/// Replaces what 3.0 has no keyword for. It changes nothing in objects that are no schemas.
fn rewrite_schema(schema: &mut Map<String, Value>, objects: &BTreeSet<String>) {
    for keyword in ["propertyNames", "contentMediaType", "contentSchema"] {
        schema.remove(keyword);
    }
    if let Some(Value::Array(examples)) = schema.get("examples") {
        let example = examples.first().cloned();
        schema.remove("examples");
        schema.extend(example.map(|example| ("example".to_owned(), example)));
    }
    if let Some(value) = schema.remove("const") {
        schema.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(kinds)) = schema.get("type") {
        let (nulls, mut kinds): (Vec<_>, Vec<_>) =
            kinds.iter().cloned().partition(|kind| kind == "null");
        if kinds.len() == 1 {
            schema.extend(kinds.pop().map(|kind| ("type".to_owned(), kind)));
        } else {
            schema.remove("type");
        }
        if !nulls.is_empty() {
            schema.insert("nullable".to_owned(), json!(true));
        }
    }
    if let Some(Value::Array(parts)) = schema.get("oneOf") {
        let is_null = |part: &Value| part.get("type").is_some_and(|kind| kind == "null");
        let mut others: Vec<_> = parts
            .iter()
            .filter(|part| !is_null(part))
            .cloned()
            .collect();
        if others.len() < parts.len() {
            schema.remove("oneOf");
            let reference = |part: &Value| Some(part.get("$ref")?.as_str()?.to_owned());
            let reference = others.first().and_then(reference);
            // `nullable` wants a type, which only the named objects have. That the others can be null
            // is left out.
            if others.len() == 1 {
                match reference {
                    Some(path) if !objects.contains(&path) => {
                        schema.insert("$ref".to_owned(), json!(path));
                    }
                    _ => {
                        schema.insert("allOf".to_owned(), Value::Array(others));
                        schema.insert("nullable".to_owned(), json!(true));
                        schema.insert("type".to_owned(), json!("object"));
                    }
                }
            } else {
                for other in others.iter_mut().filter_map(Value::as_object_mut) {
                    other.insert("nullable".to_owned(), json!(true));
                }
                schema.insert("anyOf".to_owned(), Value::Array(others));
            }
        }
    }
    // Generators make types of their own of a choice between a number and a text. In 3.0 the
    // description says what is accepted.
    schema.retain(|keyword, parts| {
        let is_choice = matches!(keyword.as_str(), "oneOf" | "anyOf");
        !(is_choice
            && parts
                .as_array()
                .is_some_and(|parts| parts.iter().all(is_scalar)))
    });
    if schema.len() > 1
        && let Some(reference) = schema.remove("$ref")
    {
        schema.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_3_0_does_not_know_is_replaced() {
        let schema = json!({ "openapi": "3.1.0", "info": { "license": { "name": "x", "identifier": "x" } },
            "components": { "schemas": { "const": { "type": "object", "properties": {
                "type": { "type": ["string", "null"], "enum": ["a", null], "examples": ["a"] },
                "const": { "const": "x" },
                "one": { "oneOf": [{ "$ref": "#/components/schemas/const" }, { "type": "null" }] },
                "word": { "oneOf": [{ "$ref": "#/components/schemas/word" }, { "type": "null" }] },
                "several": { "description": "x", "oneOf": [{ "type": "integer" }, { "type": "string" }, { "type": "null" }] },
                "described": { "$ref": "#/a", "description": "b" },
                "map": { "type": "object", "propertyNames": { "type": "string" }, "additionalProperties": { "type": ["integer", "null"] } },
                "lines": { "type": "string", "contentMediaType": "application/json", "contentSchema": { "$ref": "#/components/schemas/other" } },
            }, "example": { "const": 1, "type": ["null"] } }, "word": { "type": "string" }, "other": {} } },
            "paths": { "$ref": "#/components/schemas/const", "content": { "application/json": { "schema": {} }, "application/xml": { "schema": { "$ref": "#/components/schemas/other" } } } },
        });
        let expected = json!({ "openapi": "3.0.3", "info": { "license": { "name": "x", "url": LICENSE } },
            "components": { "schemas": { "const": { "type": "object", "properties": {
                "type": { "type": "string", "nullable": true, "enum": ["a", null], "example": "a" },
                "const": { "enum": ["x"] },
                "one": { "allOf": [{ "$ref": "#/components/schemas/const" }], "type": "object", "nullable": true },
                "word": { "$ref": "#/components/schemas/word" },
                "several": { "description": "x" },
                "described": { "allOf": [{ "$ref": "#/a" }], "description": "b" },
                "map": { "type": "object", "additionalProperties": { "type": "integer", "nullable": true } },
                "lines": { "type": "string" },
            }, "example": { "const": 1, "type": ["null"] } }, "word": { "type": "string" } } },
            "paths": { "allOf": [{ "$ref": "#/components/schemas/const" }], "content": { "application/json": { "schema": {} } } },
        });
        assert_eq!(in_3_0(schema), expected);
    }
}

//! A dialect's part of the OpenAPI document: its paths, and the schemas of its wire types.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The place of the schemas in the document.
const SCHEMAS: &str = "#/components/schemas/";

/// Returns the name of a type, and its schema with those of the types it contains.
pub(super) type Describe = fn() -> (String, Schemas);

/// Decodes a body as one type of request: what the fuzzers call.
#[cfg(fuzzing)]
pub type Reader = fn(crate::wire::Codec, &[u8]);

pub(super) fn describe<T: ToSchema>() -> (String, Schemas) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    (T::name().into_owned(), schemas)
}

/// The names of the members of a type's documents.
pub(super) fn member_names(describe: Describe) -> Vec<String> {
    fn collect(schema: &Value, all: &HashMap<String, Value>, names: &mut Vec<String>) {
        let parts = schema.get("allOf").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            collect(part, all, names);
        }
        if let Some(named) = referred(schema).and_then(|name| all.get(name)) {
            collect(named, all, names);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        names.extend(properties.into_iter().flat_map(Map::keys).cloned());
    }
    let (name, schemas) = describe();
    let all: HashMap<_, _> = schemas
        .into_iter()
        .map(|(name, schema)| (name, json!(schema)))
        .collect();
    let mut names = Vec::new();
    if let Some(schema) = all.get(&name) {
        collect(schema, &all, &mut names);
    }
    names
}

/// The name of the schema that a reference refers to.
fn referred(schema: &Value) -> Option<&str> {
    let path = schema.get("$ref").and_then(Value::as_str)?;
    path.rsplit('/').next()
}

/// A schema that allows no members but those that it names.
fn closed(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema
        && members.contains_key("properties")
    {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

/// The schema of an answer whose members are all written, those without a value as null, except for
/// those that cannot be null: they are left out.
fn written(mut schema: Value) -> Value {
    let nullable = |(name, schema): (&String, &Value)| is_nullable(schema).then(|| name.clone());
    let properties = schema.get("properties").and_then(Value::as_object);
    let always: Vec<String> = properties
        .map(|properties| properties.iter().filter_map(nullable).collect())
        .unwrap_or_default();
    if let Value::Object(members) = &mut schema
        && !always.is_empty()
        && let Value::Array(required) = members.entry("required").or_insert_with(|| json!([]))
    {
        required.extend(always.into_iter().map(Value::from));
    }
    schema
}

fn is_nullable(schema: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    let kinds = schema.get("type").and_then(Value::as_array);
    let parts = schema.get("oneOf").and_then(Value::as_array);
    kinds.is_some_and(|kinds| kinds.iter().any(is_null))
        || parts.is_some_and(|parts| parts.iter().filter_map(|it| it.get("type")).any(is_null))
}

/// The name of a request's schema. One that begins with `New` would be the name of the function
/// that generated Go code has for the schema without it.
fn request_name(name: &str) -> String {
    match name.strip_prefix("New") {
        Some(rest) if rest.ends_with("Creation") => rest.to_owned(),
        Some(rest) => format!("{rest}Creation"),
        None => name.to_owned(),
    }
}

/// The paths and schemas of one dialect.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) paths: Map<String, Value>,
    pub(super) schemas: Map<String, Value>,
}

impl Parts {
    /// Adds the schemas of an answer that writes members without a value as null. Returns a
    /// reference to the answer's own schema.
    pub(super) fn written_schema(&mut self, describe: Describe) -> Value {
        let (name, schemas) = describe();
        let schemas = schemas.into_iter();
        self.schemas
            .extend(schemas.map(|(name, schema)| (name, written(json!(schema)))));
        reference(&name)
    }

    /// Adds a schema. Returns a reference to it.
    pub(super) fn named(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.insert(name.to_owned(), schema);
        reference(name)
    }

    /// Gives all schemas other names, and all references to them.
    pub(super) fn renamed(self, rename: impl Fn(&str) -> String) -> Self {
        let schemas = self.schemas.into_iter().map(|(name, mut schema)| {
            rename_references(&mut schema, &rename);
            (rename(&name), schema)
        });
        let mut paths = Value::Object(self.paths);
        rename_references(&mut paths, &rename);
        let Value::Object(paths) = paths else {
            return Self::default();
        };
        Self {
            paths,
            schemas: schemas.collect(),
        }
    }

    /// Adds the schemas of a type. Returns a reference to the type's own schema.
    pub(super) fn schema(&mut self, describe: Describe) -> Value {
        let (name, schemas) = describe();
        self.schemas.extend(
            schemas
                .into_iter()
                .map(|(name, schema)| (name, json!(schema))),
        );
        reference(&name)
    }

    /// Adds the schemas of a request that refuses unknown members. Returns a reference to the
    /// request's own schema. `more` are the schemas of further members that it has here; with any,
    /// the schema gets the name `name`.
    pub(super) fn closed_schema(
        &mut self,
        describe: Describe,
        name: &str,
        more: &Map<String, Value>,
    ) -> Value {
        let (own, schemas) = describe();
        for (part, schema) in schemas {
            let schema = closed(json!(schema));
            if part != own || more.is_empty() {
                self.schemas.insert(request_name(&part), schema);
                continue;
            }
            let mut schema = schema;
            if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                for (member, described) in more {
                    properties.entry(member).or_insert(described.clone());
                }
            }
            self.schemas.insert(request_name(name), schema);
        }
        let name = if more.is_empty() { &own } else { name };
        reference(&request_name(name))
    }

    /// Makes members of a named schema required.
    pub(super) fn require(&mut self, schema: &Value, members: &[&str]) {
        let named = referred(schema).and_then(|name| self.schemas.get_mut(name));
        if let Some(Value::Object(schema)) = named
            && !members.is_empty()
            && let Value::Array(required) = schema.entry("required").or_insert_with(|| json!([]))
        {
            required.extend(members.iter().map(|member| json!(member)));
        }
    }

    /// The description of a request's body in JSON and XML.
    pub(super) fn body(&self, schema: &Value, example: &Value) -> Value {
        let mut in_xml = self.in_xml(schema);
        if let Value::Object(members) = &mut in_xml {
            members.insert("xml".to_owned(), json!({ "name": "xml" }));
        }
        json!({ "required": true, "content": {
            "application/json": { "schema": schema, "example": example },
            "application/xml": { "schema": in_xml },
        }})
    }

    /// Rewrites a schema for XML: references are replaced by the schemas they name, and null is
    /// removed, because XML uses an empty element instead.
    fn in_xml(&self, schema: &Value) -> Value {
        if let Some(name) = referred(schema) {
            return self
                .schemas
                .get(name)
                .map_or_else(|| json!({}), |found| self.in_xml(found));
        }
        let parts = |name: &str| schema.get(name).and_then(Value::as_array);
        if let Some(all) = parts("allOf") {
            let mut merged = json!({ "type": "object", "properties": {}, "required": [] });
            for part in all {
                merge(&mut merged, self.in_xml(part));
            }
            return merged;
        }
        if let Some(one) = parts("oneOf") {
            let is_null = |part: &&Value| part.get("type").is_some_and(|kind| kind == "null");
            return one
                .iter()
                .find(|part| !is_null(part))
                .map_or_else(|| json!({}), |part| self.in_xml(part));
        }
        let Value::Object(members) = schema else {
            return schema.clone();
        };
        let mut members: Map<String, Value> = members
            .iter()
            .map(|(name, value)| (name.clone(), self.in_xml(value)))
            .collect();
        let kind = members
            .get("type")
            .and_then(Value::as_array)
            .and_then(|kinds| kinds.iter().find(|kind| **kind != "null"))
            .cloned();
        if let Some(kind) = kind {
            members.insert("type".to_owned(), kind);
        }
        Value::Object(members)
    }

    /// Adds the methods of a path.
    pub(super) fn path(&mut self, path: &str, methods: Value) {
        let known = self
            .paths
            .entry(path.to_owned())
            .or_insert_with(|| json!({}));
        if let (Value::Object(known), Value::Object(methods)) = (known, methods) {
            known.extend(methods);
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

fn rename_references(value: &mut Value, rename: &impl Fn(&str) -> String) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(path)) = members.get_mut("$ref")
                && let Some(name) = path.strip_prefix(SCHEMAS)
            {
                *path = format!("{SCHEMAS}{}", rename(name));
            }
            for member in members.values_mut() {
                rename_references(member, rename);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rename_references(item, rename)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Replaces the patterns that list the values of a text by these values. The attributes of the types
/// cannot name the values of a text.
pub(super) fn list_values(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let values = members.get("pattern").and_then(Value::as_str);
            let values = values.and_then(listed).map(|mut values| {
                if members.get("type").is_some_and(Value::is_array) {
                    values.push(Value::Null);
                }
                values
            });
            if let Some(values) = values {
                members.remove("pattern");
                members.insert("enum".to_owned(), Value::Array(values));
            }
            members.values_mut().for_each(list_values);
        }
        Value::Array(items) => items.iter_mut().for_each(list_values),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The values of a pattern such as `^(one|other)$`. `None` if it is another pattern.
fn listed(pattern: &str) -> Option<Vec<Value>> {
    let values = pattern.strip_prefix("^(")?.strip_suffix(")$")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '|');
    values
        .chars()
        .all(is_plain)
        .then(|| values.split('|').map(Value::from).collect())
}

/// Adds the properties of one object to those of another.
pub(super) fn merge(all: &mut Value, part: Value) {
    let Value::Object(part) = part else { return };
    for (name, value) in part {
        match (all.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            _ => {}
        }
    }
}

/// The parameter that describes the `Idempotency-Key` header.
pub(super) fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "For 24 hours, a repeat of the same command with this key gets the stored answer.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    })
}

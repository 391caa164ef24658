//! A dialect's part of the OpenAPI document: its paths, and the schemas of its wire types.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

type Schemas = Vec<(String, RefOr<Schema>)>;

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

/// The paths and schemas of one dialect.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) paths: Map<String, Value>,
    pub(super) schemas: Map<String, Value>,
}

impl Parts {
    /// Adds the schemas of a type. Returns a reference to the type's own schema.
    pub(super) fn schema(&mut self, describe: Describe) -> Value {
        let (name, schemas) = describe();
        self.schemas.extend(
            schemas
                .into_iter()
                .map(|(name, schema)| (name, json!(schema))),
        );
        json!({ "$ref": format!("#/components/schemas/{name}") })
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
                self.schemas.insert(part, schema);
                continue;
            }
            let mut schema = schema;
            if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                for (member, described) in more {
                    properties.entry(member).or_insert(described.clone());
                }
            }
            self.schemas.insert(name.to_owned(), schema);
        }
        let name = if more.is_empty() { &own } else { name };
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The description of a request's body in JSON and XML. The body is required if `is_required`,
    /// or if one of its members is.
    pub(super) fn body(&self, schema: &Value, example: &Value, is_required: bool) -> Value {
        let mut in_xml = self.in_xml(schema);
        if let Value::Object(members) = &mut in_xml {
            members.insert("xml".to_owned(), json!({ "name": "xml" }));
        }
        let is_required = is_required
            || in_xml
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|required| !required.is_empty());
        json!({ "required": is_required, "content": {
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

/// Adds the properties of one object to those of another.
fn merge(all: &mut Value, part: Value) {
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

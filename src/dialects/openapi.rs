//! The OpenAPI document of `admin` and `v3`: each dialect reads its part off its table of operations and its wire types.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::{admin, v3};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The name of a type, with the schemas that it is made of.
pub(super) type Describe = fn() -> (String, Schemas);

pub(super) fn describe<T: ToSchema>() -> (String, Schemas) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    (T::name().into_owned(), schemas)
}

/// A dialect's part of the document.
#[derive(Debug, Default)]
pub(super) struct Parts {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    /// Adds a type, and answers how it is referred to.
    pub(super) fn schema(&mut self, describe: Describe) -> Value {
        let (name, schemas) = describe();
        self.schemas.extend(
            schemas
                .into_iter()
                .map(|(name, schema)| (name, json!(schema))),
        );
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// A request's body, which is required at least where a member of it is: in JSON, and in XML with what XML can say.
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

    /// A schema with what it refers to in its place, and without null: XML has none, an empty element stands for it.
    fn in_xml(&self, schema: &Value) -> Value {
        if let Some(name) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.rsplit('/').next())
        {
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

/// The document, for a service at an address.
#[must_use]
pub fn openapi(base: &str) -> Value {
    let (mut all, v3) = (admin::openapi(), v3::openapi());
    all.paths.extend(v3.paths);
    all.schemas.extend(v3.schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Steward",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Account lifecycles: freeze, suspend, status, expiry, deletion. Blocks are independent facts; the state is computed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": base }],
        "tags": [
            { "name": "accounts", "description": "Accounts: their switch, their holds, their expiry, and why they are blocked." },
            { "name": "plans", "description": "Plans: what accounts were sold." },
            { "name": "tokens", "description": "Credentials: API keys and JSON Web Tokens." },
            { "name": "webhooks", "description": "Webhook endpoints, what they were sent, and the events themselves." },
            { "name": "resellers", "description": "Resellers, which own accounts." },
            { "name": "admin", "description": "The same accounts in the calls of the `admin` dialect." },
        ],
        "security": [{ "token": [] }],
        "paths": all.paths,
        "components": {
            "schemas": all.schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "An API key (`stw_...`) or a JSON Web Token." } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_do_not_describe_two_things_by_one_name() {
        let (admin, v3) = (admin::openapi(), v3::openapi());
        for (name, schema) in &admin.schemas {
            assert!(
                v3.schemas.get(name).is_none_or(|other| other == schema),
                "{name}"
            );
        }
    }
}

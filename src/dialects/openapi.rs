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
        self.schemas.extend(schemas.into_iter().map(|(name, schema)| (name, json!(schema))));
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// Adds the methods of a path.
    pub(super) fn path(&mut self, path: &str, methods: Value) {
        let known = self.paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        if let (Value::Object(known), Value::Object(methods)) = (known, methods) {
            known.extend(methods);
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

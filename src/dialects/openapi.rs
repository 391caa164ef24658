//! The OpenAPI document of `admin` and `v3`. Each dialect generates its part from its table of
//! operations and its wire types.

use serde_json::{Value, json};

use super::openapi_3_0::in_3_0;
use super::schemas::list_values;
use super::{admin, v3};

/// The document in version 3.0 for a service at the base URL `base`.
#[must_use]
pub fn openapi_3_0(base: &str) -> Value {
    in_3_0(openapi(base))
}

/// The document in version 3.1 for a service at the base URL `base`.
#[must_use]
pub fn openapi(base: &str) -> Value {
    let (mut all, v3) = (admin::openapi(), v3::openapi());
    all.paths.extend(v3.paths);
    all.schemas.extend(v3.schemas);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Steward",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Account lifecycles: freeze, suspend, status, expiry, deletion. Each block is stored independently; the state is computed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": base }],
        "tags": [
            { "name": "accounts", "description": "Accounts: their status, holds and expiry, and why they are blocked." },
            { "name": "plans", "description": "Plans, which accounts are sold." },
            { "name": "tokens", "description": "Credentials: API keys and JSON Web Tokens." },
            { "name": "webhooks", "description": "Webhook endpoints, their delivery log, and the events." },
            { "name": "resellers", "description": "Resellers, which own accounts." },
            { "name": "admin", "description": "The calls of the `admin` dialect, on the same accounts." },
        ],
        "security": [{ "token": [] }],
        "paths": all.paths,
        "components": {
            "schemas": all.schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "An API key (`stw_...`) or a JSON Web Token." } },
        },
    });
    list_values(&mut document);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas_are_unique_in_every_language() {
        let (admin, v3) = (admin::openapi(), v3::openapi());
        let names: Vec<&String> = admin.schemas.keys().chain(v3.schemas.keys()).collect();
        let mut words: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        words.sort();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all, "{names:?}");
        for name in names {
            // Generated Go has functions and types with these names for each schema.
            let is_taken = name.starts_with("New") || name.starts_with("Nullable");
            assert!(!is_taken, "{name}");
        }
    }

    #[test]
    fn every_reference_has_its_schema_and_every_closed_set_its_values() {
        fn check(value: &Value, schemas: &Value) {
            if let Some(path) = value.get("$ref").and_then(Value::as_str) {
                let name = path.rsplit('/').next().unwrap();
                assert!(schemas.get(name).is_some(), "{path}");
            }
            if let Some(pattern) = value.get("pattern").and_then(Value::as_str) {
                let is_set = pattern.starts_with("^(") && pattern.ends_with(")$");
                let has_classes = pattern.contains(['[', '\\']);
                assert!(!is_set || has_classes, "{pattern} is a closed set");
            }
            match value {
                Value::Object(members) => members.values().for_each(|it| check(it, schemas)),
                Value::Array(items) => items.iter().for_each(|it| check(it, schemas)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        for document in [openapi("http://x"), openapi_3_0("http://x")] {
            check(&document, &document["components"]["schemas"]);
            for (path, methods) in document["paths"].as_object().unwrap() {
                for body in methods.as_object().unwrap().values() {
                    let body = body.get("requestBody");
                    assert!(body.is_none_or(|body| body["required"] == true), "{path}");
                }
            }
        }
    }
}

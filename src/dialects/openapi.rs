//! The OpenAPI document of `admin` and `v3`. Each dialect generates its part from its table of
//! operations and its wire types.

use serde_json::{Value, json};

use super::{admin, v3};

/// The document for a service at the base URL `base`.
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_with_the_same_name_are_equal_in_all_dialects() {
        let (admin, v3) = (admin::openapi(), v3::openapi());
        for (name, schema) in &admin.schemas {
            assert!(
                v3.schemas.get(name).is_none_or(|other| other == schema),
                "{name}"
            );
        }
    }
}

//! The OpenAPI document of this dialect, read off the table of operations and the wire types.

use serde_json::{Value, json};

use super::replies::{Envelope, ExplanationItem, Item};
use super::requests::Common;
use super::{OPERATIONS, Operation, PREFIX};
use crate::dialects::openapi::{Parts, describe};
use crate::wire::Codec;

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    for describe in [describe::<Common>, describe::<Envelope>, describe::<Item>, describe::<ExplanationItem>] {
        parts.schema(describe);
    }
    for operation in OPERATIONS {
        parts.schema(operation.request);
        parts.path(&format!("{PREFIX}{}", operation.name), path(operation));
    }
    parts
}

fn path(operation: &Operation) -> Value {
    let schema = json!({ "allOf": [
        { "$ref": "#/components/schemas/Common" },
        { "$ref": format!("#/components/schemas/{}", (operation.request)().0) },
    ]});
    let example: Value = serde_json::from_str(operation.example).unwrap_or_default();
    let envelope = json!({ "$ref": "#/components/schemas/Envelope" });
    let content = json!({ media_type(Codec::Json): { "schema": envelope }, media_type(Codec::Xml): { "schema": envelope } });
    let answer = |description: &str| json!({ "description": description, "content": content });
    json!({ "post": {
        "operationId": format!("admin_{}", operation.name),
        "tags": ["admin"],
        "summary": operation.summary,
        "description": format!("Takes the right `{}`.", operation.scope),
        "security": [{ "token": [] }, {}],
        "parameters": [{
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A repeat with the same key and body is answered with the stored answer, for 24 hours.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
        }],
        "requestBody": { "required": true, "content": {
            media_type(Codec::Json): { "schema": schema, "example": example },
            media_type(Codec::Xml): { "schema": schema },
        }},
        "responses": {
            "200": answer("Done, also where it was so already"),
            "400": answer("Incorrect request: the member and what is wrong with it"),
            "401": answer("API token required, or is invalid"),
            "402": answer("Tariff limit reached"),
            "403": answer("No access rights"),
            "404": answer("Account not found"),
            "405": answer("Method not allowed"),
            "409": answer("Conflict"),
            "413": answer("Request too large"),
            "415": answer("Unsupported media type"),
            "422": answer("Idempotency-Key was used before with another request"),
            "500": answer("Internal error"),
            "503": answer("Service unavailable; asking again after `Retry-After` seconds is safe"),
        },
    }})
}

fn media_type(codec: Codec) -> &'static str {
    codec.content_type().split(';').next().unwrap_or_default()
}

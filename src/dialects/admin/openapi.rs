//! This dialect's part of the OpenAPI document, generated from the table of operations and the wire
//! types.

use serde_json::{Value, json};

use super::PREFIX;
use super::envelope::Envelope;
use super::operation::{Data, Operation};
use super::operations::OPERATIONS;
use super::requests::Common;
use crate::dialects::schemas::{Parts, describe, idempotency_key};
use crate::wire::Codec;

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    for describe in [describe::<Common>, describe::<Envelope>] {
        parts.schema(describe);
    }
    for operation in OPERATIONS {
        parts.schema(operation.request);
        let data = match operation.data {
            Data::Nothing => None,
            Data::One(describe) => Some(parts.schema(describe)),
            Data::Many(describe) => {
                let items = parts.schema(describe);
                Some(json!({ "type": "array", "items": items }))
            }
        };
        let path = path(operation, data.as_ref(), &parts);
        parts.path(&format!("{PREFIX}{}", operation.name), path);
    }
    parts
}

fn path(operation: &Operation, data: Option<&Value>, parts: &Parts) -> Value {
    let schema = json!({ "allOf": [
        { "$ref": "#/components/schemas/Common" },
        { "$ref": format!("#/components/schemas/{}", (operation.request)().0) },
    ]});
    let example: Value = serde_json::from_str(operation.example).unwrap_or_default();
    let envelope = json!({ "$ref": "#/components/schemas/Envelope" });
    let content = json!({ media_type(Codec::Json): { "schema": envelope }, media_type(Codec::Xml): { "schema": envelope } });
    let answer = |description: &str| json!({ "description": description, "content": content });
    let done = match data {
        None => envelope.clone(),
        Some(data) => {
            json!({ "allOf": [envelope, { "type": "object", "properties": { "data": data } }] })
        }
    };
    // In XML a list is a repeated element, so only the envelope is described there.
    let done = json!({ media_type(Codec::Json): { "schema": done }, media_type(Codec::Xml): { "schema": envelope } });
    let parameters = operation.idempotent.then(idempotency_key);
    json!({ "post": {
        "operationId": format!("admin_{}", operation.name),
        "tags": ["admin"],
        "summary": operation.summary,
        "description": operation.access.describe(),
        "security": [{ "token": [] }, {}],
        "parameters": Vec::from_iter(parameters),
        "requestBody": parts.body(&schema, &example, true),
        "responses": {
            "200": { "description": "Success, even if nothing had to change", "content": done },
            "400": answer("Incorrect request; `error_text` names the member and the problem"),
            "401": answer("API token missing or invalid"),
            "402": answer("Tariff limit reached"),
            "403": answer("No access rights"),
            "404": answer("Account not found"),
            "405": answer("Method not allowed"),
            "409": answer("Conflict"),
            "413": answer("Request too large"),
            "415": answer("Unsupported media type"),
            "422": answer("The Idempotency-Key was used before with another request"),
            "429": answer("Too many requests; retry after `Retry-After` seconds"),
            "500": answer("Internal error"),
            "503": answer("Service unavailable; a retry after `Retry-After` seconds is safe"),
        },
    }})
}

fn media_type(codec: Codec) -> &'static str {
    codec.content_type().split(';').next().unwrap_or_default()
}

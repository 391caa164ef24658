//! The OpenAPI document of this dialect, read off the table of operations and the wire types.

use serde_json::{Value, json};

use super::explain::{ExplanationItem, TimelineItem};
use super::replies::{EntryItem, Envelope, Item};
use super::requests::Common;
use super::simulate::SimulatedItem;
use super::{OPERATIONS, Operation, PREFIX};
use crate::dialects::schemas::{Parts, describe};
use crate::domain::Scope;
use crate::wire::Codec;

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    for describe in [
        describe::<Common>,
        describe::<Envelope>,
        describe::<Item>,
        describe::<EntryItem>,
        describe::<ExplanationItem>,
        describe::<TimelineItem>,
        describe::<SimulatedItem>,
    ] {
        parts.schema(describe);
    }
    for operation in OPERATIONS {
        parts.schema(operation.request);
        let path = path(operation, &parts);
        parts.path(&format!("{PREFIX}{}", operation.name), path);
    }
    parts
}

fn path(operation: &Operation, parts: &Parts) -> Value {
    let schema = json!({ "allOf": [
        { "$ref": "#/components/schemas/Common" },
        { "$ref": format!("#/components/schemas/{}", (operation.request)().0) },
    ]});
    let example: Value = serde_json::from_str(operation.example).unwrap_or_default();
    let envelope = json!({ "$ref": "#/components/schemas/Envelope" });
    let content = json!({ media_type(Codec::Json): { "schema": envelope }, media_type(Codec::Xml): { "schema": envelope } });
    let answer = |description: &str| json!({ "description": description, "content": content });
    let done = match result(operation) {
        None => envelope.clone(),
        Some(data) => {
            json!({ "allOf": [envelope, { "type": "object", "properties": { "data": data } }] })
        }
    };
    // XML repeats the element where JSON has an array.
    let done = json!({ media_type(Codec::Json): { "schema": done }, media_type(Codec::Xml): { "schema": envelope } });
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "A repeat with the same key and body is answered with the stored answer, for 24 hours.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    });
    json!({ "post": {
        "operationId": format!("admin_{}", operation.name),
        "tags": ["admin"],
        "summary": operation.summary,
        "description": format!("Takes the right `{}`.", operation.scope),
        "security": [{ "token": [] }, {}],
        "parameters": if operation.scope == Scope::AccountRead { Vec::new() } else { vec![key] },
        "requestBody": parts.body(&schema, &example, true),
        "responses": {
            "200": { "description": "Done, also where it was so already", "content": done },
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
            "429": answer("Too many requests; `Retry-After` says when"),
            "500": answer("Internal error"),
            "503": answer("Service unavailable; asking again after `Retry-After` seconds is safe"),
        },
    }})
}

/// What stands in `data`, where something does.
fn result(operation: &Operation) -> Option<Value> {
    let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    match operation.name {
        "get" => Some(of("AdminAccount")),
        "explain" => Some(of("AdminExplanation")),
        "list" => Some(json!({ "type": "array", "items": of("AdminAccount") })),
        "simulate" => Some(json!({ "type": "array", "items": of("AdminSimulated") })),
        "timeline" => Some(of("AdminTimeline")),
        "history" => Some(json!({ "type": "array", "items": of("AdminJournalEntry") })),
        "save" => Some(
            json!({ "type": "object", "required": ["saved_id"], "properties": { "saved_id": { "type": "integer" } } }),
        ),
        _ => None,
    }
}

fn media_type(codec: Codec) -> &'static str {
    codec.content_type().split(';').next().unwrap_or_default()
}

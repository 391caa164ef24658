//! This dialect's part of the OpenAPI document, generated from the table of operations and the wire
//! types.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use utoipa::PartialSchema as _;

use super::PREFIX;
use super::envelope::Envelope;
use super::operation::{Data, Operation};
use super::operations::OPERATIONS;
use super::requests::Common;
use crate::dialects::schemas::{Parts, describe, idempotency_key, merge};
use crate::wire::Codec;

/// The paths and the schemas of this dialect. All its schemas have names of their own, because the
/// other dialect has requests and answers of the same kinds.
pub(in crate::dialects) fn openapi() -> Parts {
    let (mut requests, mut answers) = (Parts::default(), Parts::default());
    for operation in OPERATIONS {
        requests.schema(operation.request);
    }
    let common = json!(Common::schema());
    let own: BTreeSet<_> = OPERATIONS.iter().map(|it| (it.request)().0).collect();
    for name in own {
        if let Some(schema) = requests.schemas.get_mut(&name) {
            merge(schema, common.clone());
        }
    }
    answers.written_schema(describe::<Envelope>);
    let envelopes: Vec<_> = OPERATIONS
        .iter()
        .map(|operation| envelope(&mut answers, operation.data))
        .collect();
    let mut parts = requests.renamed(request_name);
    parts.schemas.extend(answers.renamed(answer_name).schemas);
    for (operation, envelope) in OPERATIONS.iter().zip(envelopes) {
        let path = path(operation, &answer_name(&envelope), &parts);
        parts.path(&format!("{PREFIX}{}", operation.name), path);
    }
    parts
}

fn request_name(name: &str) -> String {
    format!("Admin{name}Request")
}

fn answer_name(name: &str) -> String {
    let name = name.strip_prefix("Admin").unwrap_or(name);
    format!("Admin{name}")
}

/// Adds the envelope of an operation. Returns its name.
fn envelope(answers: &mut Parts, data: Data) -> String {
    let (describe, is_list) = match data {
        Data::Nothing => return "Envelope".to_owned(),
        Data::One(describe) => (describe, false),
        Data::Many(describe) => (describe, true),
    };
    let one = answers.written_schema(describe);
    let data = if is_list {
        json!({ "type": "array", "items": one })
    } else {
        one
    };
    let mut schema = json!(Envelope::schema());
    let more = json!({ "properties": { "data": data }, "required": ["data"] });
    merge(&mut schema, more);
    let list = if is_list { "List" } else { "" };
    let name = format!("{}{list}Envelope", describe().0);
    answers.named(&name, schema);
    name
}

fn path(operation: &Operation, envelope: &str, parts: &Parts) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let schema = reference(&request_name(&(operation.request)().0));
    let example: Value = serde_json::from_str(operation.example).unwrap_or_default();
    let done = reference(envelope);
    let envelope = reference("AdminEnvelope");
    let content = json!({ media_type(Codec::Json): { "schema": envelope }, media_type(Codec::Xml): { "schema": envelope } });
    let answer = |description: &str| json!({ "description": description, "content": content });
    let done = json!({ media_type(Codec::Json): { "schema": done }, media_type(Codec::Xml): { "schema": done } });
    let parameters = operation.idempotent.then(idempotency_key);
    json!({ "post": {
        "operationId": format!("admin_{}", operation.name),
        "tags": ["admin"],
        "summary": operation.summary,
        "description": operation.access.describe(),
        "security": [{ "token": [] }, {}],
        "parameters": Vec::from_iter(parameters),
        "requestBody": parts.body(&schema, &example),
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

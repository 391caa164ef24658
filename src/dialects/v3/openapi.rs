//! The OpenAPI document of this dialect, read off the table of operations and the wire types.

use serde_json::{Map, Value, json};

use super::accounts::documents::{FailureDocument, ReleaseDocument};
use super::accounts::requests::Redeem;
use super::{Answer, OPERATIONS, Operation, REDEEM};
use crate::dialects::schemas::{Parts, describe};

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    let error = parts.schema(describe::<FailureDocument>);
    for operation in OPERATIONS {
        let mut described = json!({
            "operationId": operation.name,
            "summary": operation.summary,
            "description": format!("Takes the right `{}`.", operation.scope),
            "tags": [operation.name.split('_').next().unwrap_or_default().replace("events", "webhooks").replace("several", "accounts").replace("bulk", "accounts").replace("purge", "resellers")],
            "parameters": parameters(operation),
            "responses": responses(operation, &mut parts, &error),
        });
        if let (Some(describe), Value::Object(members)) = (operation.request, &mut described) {
            let schema = parts.schema(describe);
            let example: Value =
                serde_json::from_str(operation.example).unwrap_or_else(|_| json!({}));
            members.insert(
                "requestBody".to_owned(),
                parts.body(&schema, &example, false),
            );
        }
        parts.path(operation.path, json!({ operation.method: described }));
    }
    let request = parts.schema(describe::<Redeem>);
    let released = parts.schema(describe::<ReleaseDocument>);
    let content = |schema: &Value| json!({ "application/json": { "schema": schema }, "application/xml": { "schema": schema } });
    let failed = |what: &str| json!({ "description": what, "content": content(&error) });
    parts.path(
        REDEEM,
        json!({ "post": {
            "operationId": "release_tickets_redeem",
            "summary": "Lift the freeze that a release ticket names",
            "description": "Takes no token: the ticket is the right. It lifts the freeze that it was answered to, once, and nothing else.",
            "tags": ["accounts"],
            "security": [],
            "requestBody": parts.body(&request, &json!({ "ticket": "steward_release_AAAA" }), true),
            "responses": {
                "200": { "description": "Done, also where it was so already", "content": content(&released) },
                "400": failed("The request cannot be accepted"),
                "401": failed("No ticket of this service"),
                "404": failed("The account is gone"),
                "405": failed("Method not allowed"),
                "409": failed("The account was frozen anew"),
                "413": failed("The request is too large"),
                "415": failed("Unsupported media type"),
                "429": failed("Too many requests; `Retry-After` says when"),
                "500": failed("Internal error"),
                "503": failed("Unavailable; asking again after `Retry-After` seconds is safe"),
            },
        }}),
    );
    parts
}

fn responses(operation: &Operation, parts: &mut Parts, error: &Value) -> Value {
    let content = |schema: Value| json!({ "application/json": { "schema": schema }, "application/xml": { "schema": schema } });
    let mut headers = Map::new();
    for (name, what) in [
        (
            "X-Request-Id",
            "The request's identity, as it stands in logs and in the journal",
        ),
        (
            "X-Rate-Limit-Limit",
            "Requests a minute that the caller may make",
        ),
        ("X-Rate-Limit-Remaining", "How many of them are left"),
        (
            "X-Rate-Limit-Reset",
            "When all of them are there again, in seconds since 1970",
        ),
    ] {
        headers.insert(
            name.to_owned(),
            json!({ "description": what, "schema": { "type": "string" } }),
        );
    }
    let mut success = Map::new();
    match &operation.answer {
        Answer::Nothing => {}
        Answer::One(describe) => {
            let schema = parts.schema(*describe);
            success.insert("content".to_owned(), content(schema));
        }
        Answer::Many(describe) => {
            let items = parts.schema(*describe);
            success.insert(
                "content".to_owned(),
                content(json!({ "type": "array", "items": items })),
            );
            headers.insert("Link".to_owned(), json!({ "description": "The next page, by cursor", "schema": { "type": "string" } }));
        }
    }
    success.insert(
        "description".to_owned(),
        json!("Done, also where it was so already"),
    );
    success.insert("headers".to_owned(), Value::Object(headers));
    let mut responses = Map::from_iter([(operation.success.to_string(), Value::Object(success))]);
    for (status, what) in [
        (
            "400",
            "The request cannot be accepted; `message` names the member",
        ),
        ("401", "No token, or one that is not valid"),
        ("403", "The token lacks the right"),
        ("404", "Not found; another reseller's looks the same"),
        ("405", "Method not allowed"),
        ("409", "The facts forbid it"),
        (
            "412",
            "The account is not at the version that If-Match names",
        ),
        ("413", "The request is too large"),
        ("415", "Unsupported media type"),
        (
            "422",
            "The Idempotency-Key was used before with another request",
        ),
        ("429", "Too many requests; `Retry-After` says when"),
        ("500", "Our fault"),
        (
            "503",
            "The service is unavailable; asking again after `Retry-After` seconds is safe",
        ),
    ] {
        responses.insert(
            status.to_owned(),
            json!({ "description": what, "content": content(error.clone()) }),
        );
    }
    Value::Object(responses)
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let mut parameters = Vec::new();
    if operation.path.contains("{id}") {
        let uuid = "3f0cbf36-2f0e-4c56-9e0b-6d1f6c9d1d10";
        let (what, schema) = match operation.path.split('/').nth(2) {
            Some("accounts") => (
                "The account's UUID, or its number",
                json!({ "type": "string", "pattern": "^[0-9A-Za-z-]+$", "examples": ["7", uuid] }),
            ),
            Some("webhooks" | "webhook-event-logs" | "bulk-jobs") => (
                "Its UUID",
                json!({ "type": "string", "format": "uuid", "examples": [uuid] }),
            ),
            Some("plans") => (
                "The plan's UUID",
                json!({ "type": "string", "format": "uuid", "examples": [uuid] }),
            ),
            _ => (
                "Its number",
                json!({ "type": "integer", "format": "int64", "minimum": 1, "examples": [1] }),
            ),
        };
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "description": what, "schema": schema }));
    }
    let header = |name: &str, what: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": what, "schema": schema });
    let is_repeatable = [
        "tokens_delete",
        "webhooks_delete",
        "webhooks_test",
        "webhooks_redeliver",
        "webhooks_redeliver_one",
        "purge_approve",
        "bulk_simulate",
        "bulk_jobs_create",
        "bulk_jobs_apply",
        "bulk_jobs_revert",
    ];
    if operation.method != "get" && !is_repeatable.contains(&operation.name) {
        let what =
            "A repeat with the same key and body is answered with the stored answer, for 24 hours.";
        parameters.push(header(
            "Idempotency-Key",
            what,
            json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
        ));
    }
    if operation.method != "get"
        && operation.path.starts_with("/v3/accounts/")
        && operation.name != "bulk_simulate"
    {
        let what = "Only if the account is at the version of this ETag.";
        parameters.push(header(
            "If-Match",
            what,
            json!({ "type": "string", "minLength": 1, "pattern": "^\"[0-9]{1,18}\"$" }),
        ));
    }
    match operation.name {
        "accounts_list" => parameters.extend(account_list()),
        "plans_list" | "tokens_list" | "resellers_list" | "purge_plan" | "bulk_jobs_items" => {
            parameters.push(query(
                "after",
                "Behind which number; the `Link` header of a page has the next one.",
                json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            ));
            parameters.push(query(
                "limit",
                "How many at most.",
                json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 100 }),
            ));
        }
        _ => {}
    }
    match operation.name {
        "events_list" => {
            parameters.push(query(
                "after",
                "Behind which cursor, from an event or the `Link` header; the first event if absent.",
                json!({ "type": "string" }),
            ));
            parameters.push(query(
                "limit",
                "How many at most.",
                json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 100 }),
            ));
        }
        "webhooks_logs" => {
            parameters.push(query(
                "webhookId",
                "To which endpoint.",
                json!({ "type": "string", "format": "uuid" }),
            ));
            parameters.push(query(
                "succeeded",
                "Only those that did, or did not.",
                json!({ "type": "boolean" }),
            ));
            parameters.push(query(
                "before",
                "Older than which; the `Link` header of a page has the next one.",
                json!({ "type": "string", "format": "uuid" }),
            ));
            parameters.push(query(
                "limit",
                "How many at most.",
                json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 100 }),
            ));
        }
        _ => {}
    }
    if [
        "plans_list",
        "webhooks_list",
        "webhooks_logs",
        "events_list",
    ]
    .contains(&operation.name)
    {
        parameters.push(query(
            "resellerId",
            "Whose; required with an operator's token.",
            json!({ "type": "integer", "format": "int64", "minimum": 1 }),
        ));
    }
    if operation.name == "accounts_list" {
        let what = "As they were then; by cursor, and without `page`, `sort` and conditions.";
        parameters.push(query(
            "asOf",
            what,
            json!({ "type": "string", "format": "date-time" }),
        ));
    }
    if ["accounts_get", "accounts_holds", "accounts_access"].contains(&operation.name) {
        parameters.push(query(
            "asOf",
            "As it was then; as it is now if absent.",
            json!({ "type": "string", "format": "date-time" }),
        ));
    }
    if operation.name == "bulk_jobs_items" {
        let states = [
            "pending",
            "changed",
            "unchanged",
            "failed",
            "reverted",
            "kept",
        ];
        parameters.push(query(
            "state",
            "Only those in this state.",
            json!({ "type": "string", "enum": states }),
        ));
    }
    if operation.name == "purge_plan" {
        parameters.push(query(
            "resellerId",
            "Whose, with an operator's token; all if absent.",
            json!({ "type": "integer", "format": "int64", "minimum": 1 }),
        ));
    }
    parameters
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the callers make it for this"
)]
fn query(name: &str, what: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema })
}

/// Pages, the order, the cursor, and a filter for each field and comparison.
fn account_list() -> Vec<Value> {
    let fields = [
        "createdAt",
        "updatedAt",
        "expiresAt",
        "email",
        "company",
        "status",
    ];
    let mut sorts: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    sorts.extend(fields.iter().map(|field| format!("-{field}")));
    let mut parameters = vec![
        query(
            "page",
            "Which page, from 1 on, at most 100,000 accounts deep.",
            json!({ "type": "integer", "minimum": 1, "default": 1 }),
        ),
        query(
            "limit",
            "How many at most.",
            json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 10 }),
        ),
        query(
            "sort",
            "The order, with - in front for descending.",
            json!({ "type": "string", "enum": sorts, "default": "-createdAt" }),
        ),
        query(
            "after",
            "Instead of `page` and `sort`: behind which cursor, from the `Link` header of a page; empty for the start.",
            json!({ "type": "string" }),
        ),
    ];
    for field in fields {
        let schema = if field.ends_with("At") {
            json!({ "type": "string", "format": "date-time" })
        } else {
            json!({ "type": "string" })
        };
        for (comparison, what) in [
            ("eq", "equal to"),
            ("ne", "other than"),
            ("gt", "greater than"),
            ("gte", "at least"),
            ("lt", "less than"),
            ("lte", "at most"),
            ("in", "one of, separated by commas"),
        ] {
            parameters.push(query(
                &format!("{field}[{comparison}]"),
                &format!("`{field}` is {what}"),
                schema.clone(),
            ));
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    #[test]
    fn every_operation_says_what_it_takes_and_its_name_is_its_own() {
        let mut names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATIONS.len());
        for operation in OPERATIONS {
            assert!(
                operation.example.is_empty()
                    || serde_json::from_str::<Value>(operation.example).is_ok(),
                "{}",
                operation.name
            );
            assert!(
                operation.request.is_some() || operation.example.is_empty(),
                "{}",
                operation.name
            );
            let only_reads = matches!(operation.scope, Scope::AccountRead | Scope::WebhookRead);
            assert!(
                !only_reads || operation.method == "get" || operation.name == "bulk_simulate",
                "{} writes with a right to read",
                operation.name
            );
        }
    }
}

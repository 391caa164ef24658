//! This dialect's part of the OpenAPI document, generated from the table of operations and the wire
//! types.

use serde_json::{Map, Value, json};

use super::operation::{Operation, Paging};
use super::operations::OPERATIONS;
use super::page::QueryParameter;
use super::path_id::Id;
use super::respond::{Described, FailureDocument};
use crate::dialects::operation::Access;
use crate::dialects::schemas::{Parts, describe, idempotency_key};

/// An example of a UUID.
const UUID: &str = "3f0cbf36-2f0e-4c56-9e0b-6d1f6c9d1d10";

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    let error = parts.schema(describe::<FailureDocument>);
    for operation in OPERATIONS {
        let mut described = json!({
            "operationId": operation.name,
            "summary": operation.summary,
            "description": operation.access.describe(),
            "tags": [operation.tag],
            "parameters": parameters(operation),
            "responses": responses(operation, &mut parts, &error),
        });
        if let Value::Object(members) = &mut described {
            if let Some(describe) = operation.request {
                let schema = parts.schema(describe);
                let example = serde_json::from_str(operation.example).unwrap_or_else(|_| json!({}));
                let body = parts.body(&schema, &example, false);
                members.insert("requestBody".to_owned(), body);
            }
            if operation.access == Access::Public {
                members.insert("security".to_owned(), json!([]));
            }
        }
        let method = operation.method.to_lowercase();
        parts.path(operation.path, json!({ method: described }));
    }
    parts
}

fn responses(operation: &Operation, parts: &mut Parts, error: &Value) -> Value {
    let content = |schema: Value| json!({ "application/json": { "schema": schema }, "application/xml": { "schema": schema } });
    let header = |what: &str| json!({ "description": what, "schema": { "type": "string" } });
    let mut headers = Map::new();
    for (name, what) in [
        (
            "X-Request-Id",
            "The id of the request, as it stands in logs and in the journal",
        ),
        (
            "X-Rate-Limit-Limit",
            "Requests a minute that the caller may make",
        ),
        ("X-Rate-Limit-Remaining", "How many of them are left"),
        (
            "X-Rate-Limit-Reset",
            "When all of them are available again, in seconds since 1970",
        ),
    ] {
        headers.insert(name.to_owned(), header(what));
    }
    let mut success = Map::new();
    match operation.answer {
        Described::Nothing => {}
        Described::One(describe) => {
            success.insert("content".to_owned(), content(parts.schema(describe)));
        }
        Described::Many(describe) => {
            let items = parts.schema(describe);
            let list = json!({ "type": "array", "items": items });
            success.insert("content".to_owned(), content(list));
            headers.insert("Link".to_owned(), header("The next page, by cursor"));
        }
    }
    success.insert(
        "description".to_owned(),
        json!("Success, also where nothing had to be changed"),
    );
    success.insert("headers".to_owned(), Value::Object(headers));
    let mut responses = Map::from_iter([(operation.success.to_string(), Value::Object(success))]);
    for (status, what, applies) in [
        (
            "400",
            "The request is not acceptable; `message` names the member",
            true,
        ),
        ("401", "No token, or one that is not valid", true),
        (
            "403",
            "The token lacks the right",
            operation.access != Access::Public,
        ),
        ("404", "Not found; another reseller's looks the same", true),
        ("405", "Method not allowed", true),
        ("409", "The facts forbid it", true),
        (
            "412",
            "The account is not at the version that If-Match names",
            operation.conditional,
        ),
        ("413", "The request is too large", true),
        ("415", "Unsupported media type", true),
        (
            "422",
            "The Idempotency-Key was used before with another request",
            operation.idempotent,
        ),
        ("429", "Too many requests; `Retry-After` says when", true),
        ("500", "Our fault", true),
        (
            "503",
            "The service is unavailable; retrying after `Retry-After` seconds is safe",
            true,
        ),
    ] {
        if applies {
            let failure = json!({ "description": what, "content": content(error.clone()) });
            responses.insert(status.to_owned(), failure);
        }
    }
    Value::Object(responses)
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let mut parameters: Vec<Value> = path_id(operation.id).into_iter().collect();
    if operation.idempotent {
        parameters.push(idempotency_key());
    }
    if operation.conditional {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "Only if the account is at the version of this ETag.",
            "schema": { "type": "string", "minLength": 1, "pattern": "^\"[0-9]{1,18}\"$" },
        }));
    }
    parameters.extend(paging(operation.paging));
    parameters.extend(operation.query.iter().map(query_parameter));
    parameters
}

fn path_id(id: Id) -> Option<Value> {
    let uuid = json!({ "type": "string", "format": "uuid", "examples": [UUID] });
    let number = json!({ "type": "integer", "format": "int64", "minimum": 1, "examples": [1] });
    let (what, schema) = match id {
        Id::None => return None,
        Id::Account => (
            "The account's UUID, or its number",
            json!({ "type": "string", "pattern": "^[0-9A-Za-z-]+$", "examples": ["7", UUID] }),
        ),
        Id::Plan => ("The plan's UUID", uuid),
        Id::Webhook => ("The endpoint's UUID", uuid),
        Id::EventLog => ("The attempt's UUID", uuid),
        Id::BulkJob => ("The job's UUID", uuid),
        Id::Token => ("The token's number", number),
        Id::Reseller => ("The reseller's number", number),
    };
    Some(
        json!({ "name": "id", "in": "path", "required": true, "description": what, "schema": schema }),
    )
}

fn query(name: &str, what: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema })
}

fn query_parameter(parameter: &QueryParameter) -> Value {
    let schema = serde_json::from_str(parameter.schema).unwrap_or_default();
    query(parameter.name, parameter.description, &schema)
}

fn paging(paging: Paging) -> Vec<Value> {
    let limit = |default: i64| {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": default });
        query("limit", "The most items of a page.", &schema)
    };
    match paging {
        Paging::None | Paging::Whole => Vec::new(),
        Paging::AfterNumber => vec![
            query(
                "after",
                "The number behind which the page begins; the `Link` header of a page has the next one.",
                &json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            ),
            limit(100),
        ],
        Paging::AfterCursor => vec![
            query(
                "after",
                "The cursor behind which the page begins, from an event or the `Link` header; the first event if absent.",
                &json!({ "type": "string" }),
            ),
            limit(100),
        ],
        Paging::BeforeId => vec![
            query(
                "before",
                "The id before which the page begins; the `Link` header of a page has the next one.",
                &json!({ "type": "string", "format": "uuid" }),
            ),
            limit(100),
        ],
        Paging::Search => [search(), vec![limit(10)], filters()].concat(),
    }
}

/// The fields by which accounts can be sorted and filtered.
const FIELDS: [&str; 6] = [
    "createdAt",
    "updatedAt",
    "expiresAt",
    "email",
    "company",
    "status",
];

fn search() -> Vec<Value> {
    let ascending = FIELDS.iter().map(|field| (*field).to_owned());
    let descending = FIELDS.iter().map(|field| format!("-{field}"));
    let sorts: Vec<String> = ascending.chain(descending).collect();
    vec![
        query(
            "page",
            "The page, from 1 on, at most 100,000 accounts deep.",
            &json!({ "type": "integer", "minimum": 1, "default": 1 }),
        ),
        query(
            "sort",
            "The order, with - in front for descending.",
            &json!({ "type": "string", "enum": sorts, "default": "-createdAt" }),
        ),
        query(
            "after",
            "Instead of `page` and `sort`: the cursor behind which the page begins, from the `Link` header of a page; empty for the start.",
            &json!({ "type": "string" }),
        ),
    ]
}

/// A query parameter for each field and comparison.
fn filters() -> Vec<Value> {
    let comparisons = [
        ("eq", "equal to"),
        ("ne", "other than"),
        ("gt", "greater than"),
        ("gte", "at least"),
        ("lt", "less than"),
        ("lte", "at most"),
        ("in", "one of, separated by commas"),
    ];
    let filter = |field: &str, (comparison, what): (&str, &str)| {
        let schema = if field.ends_with("At") {
            json!({ "type": "string", "format": "date-time" })
        } else {
            json!({ "type": "string" })
        };
        query(
            &format!("{field}[{comparison}]"),
            &format!("`{field}` is {what}"),
            &schema,
        )
    };
    let of_field = |field| comparisons.into_iter().map(move |one| filter(field, one));
    FIELDS.into_iter().flat_map(of_field).collect()
}

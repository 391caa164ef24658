//! This dialect's part of the OpenAPI document, generated from the table of operations and the wire
//! types.

use serde_json::{Map, Value, json};

use super::accounts::list::FIELDS;
use super::ignored_members::{cannot_honour, read_only};
use super::operation::Operation;
use super::operations::OPERATIONS;
use super::page::Paging;
use super::page::QueryParameter;
use super::path_id::Id;
use super::respond::{Described, FailureDocument, PROBLEM, Problem};
use super::snapshot::LINES;
use crate::dialects::operation::Access;
use crate::dialects::schemas::{Parts, describe, idempotency_key};

/// What the header `ETag` of a read has.
const ETAG: &str = "The tag of the document, which `If-None-Match` takes";

/// An example of a UUID.
const UUID: &str = "3f0cbf36-2f0e-4c56-9e0b-6d1f6c9d1d10";

/// The paths and the schemas of this dialect.
pub(in crate::dialects) fn openapi() -> Parts {
    let mut parts = Parts::default();
    let error = parts.written_schema(describe::<FailureDocument>);
    let problem = parts.written_schema(describe::<Problem>);
    for operation in OPERATIONS {
        let mut described = json!({
            "operationId": operation.name,
            "summary": operation.summary,
            "description": operation.access.describe(),
            "tags": [operation.tag],
            "parameters": parameters(operation),
            "responses": responses(operation, &mut parts, &error, &problem),
        });
        if let Value::Object(members) = &mut described {
            if let Some(describe) = operation.request {
                let schema = parts.closed_schema(
                    describe,
                    &closed_name(operation),
                    &more_members(operation),
                );
                parts.require(&schema, operation.required);
                let example = serde_json::from_str(operation.example).unwrap_or_else(|_| json!({}));
                let body = parts.body(&schema, &example);
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

/// The name of the schema of a request that has more members than its type.
fn closed_name(operation: &Operation) -> String {
    let (name, _) = operation
        .request
        .map(|describe| describe())
        .unwrap_or_default();
    let name = name.strip_suffix("Request").unwrap_or(&name);
    match operation.method {
        "PATCH" => format!("{name}Patch"),
        _ if name.ends_with("Creation") => name.to_owned(),
        _ => format!("{name}Creation"),
    }
}

/// The members that the operation ignores.
fn more_members(operation: &Operation) -> Map<String, Value> {
    let read_only = read_only(operation.method, operation.answer)
        .into_iter()
        .map(|name| {
            let description =
                "Read only: ignored, so that a document can be sent back as it was read.";
            let schema = json!({ "readOnly": true, "description": description });
            (name, schema)
        });
    let ignored = cannot_honour(operation.name).iter().map(|name| {
        let description =
            "Accepted from Cryptlex's clients and ignored; the header `Ignored-Members` names it.";
        let schema = json!({ "deprecated": true, "description": description });
        ((*name).to_owned(), schema)
    });
    read_only.chain(ignored).collect()
}

/// A body that is a document in JSON or XML.
fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema }, "application/xml": { "schema": schema } })
}

/// The body of an answer. `None` if it has none.
fn answer_content(answer: Described, parts: &mut Parts) -> Option<Value> {
    match answer {
        Described::Nothing => None,
        Described::One(describe) => Some(content(&parts.written_schema(describe))),
        Described::Many(describe) => {
            let items = parts.written_schema(describe);
            Some(content(&json!({ "type": "array", "items": items })))
        }
        Described::Lines(kinds) => {
            let lines: Vec<Value> = kinds
                .iter()
                .map(|describe| parts.written_schema(*describe))
                .collect();
            // The text as a whole is no document, so its schema is that of a text.
            let text = json!({
                "type": "string",
                "description": "Each line is a document in JSON.",
                "contentMediaType": "application/json",
                "contentSchema": { "oneOf": lines },
            });
            Some(json!({ LINES: { "schema": text } }))
        }
    }
}

fn responses(operation: &Operation, parts: &mut Parts, error: &Value, problem: &Value) -> Value {
    let mut headers = headers(operation);
    let mut success = Map::new();
    if let Some(content) = answer_content(operation.answer, parts) {
        success.insert("content".to_owned(), content);
    }
    if operation.paging != Paging::None {
        headers.insert("Link".to_owned(), header("A link to the next page"));
    }
    if !cannot_honour(operation.name).is_empty() {
        let description = "The members of the request that were ignored, separated by commas";
        headers.insert("Ignored-Members".to_owned(), header(description));
    }
    success.insert(
        "description".to_owned(),
        json!("Success, even if nothing had to change"),
    );
    success.insert("headers".to_owned(), Value::Object(headers));
    let mut responses = Map::from_iter([(operation.success.to_string(), Value::Object(success))]);
    if operation.reads_a_document() {
        let not_modified = json!({
            "description": "`If-None-Match` names the document's ETag: the caller has it already",
            "headers": { "ETag": header(ETAG) },
        });
        responses.insert("304".to_owned(), not_modified);
    }
    for (status, description, applies) in [
        (
            "400",
            "The request is invalid; `message` names the member",
            true,
        ),
        ("401", "The token is missing or invalid", true),
        (
            "403",
            "The token lacks the scope",
            operation.access != Access::Public,
        ),
        ("404", "Not found, or owned by another reseller", true),
        ("405", "Method not allowed", true),
        ("408", "The body did not arrive in time", true),
        (
            "409",
            "The state of the resource forbids the operation",
            true,
        ),
        (
            "412",
            "The account does not have the version that If-Match names",
            operation.conditional,
        ),
        ("413", "The request is too large", true),
        ("415", "Unsupported media type", true),
        (
            "422",
            "The Idempotency-Key was used before with another request",
            operation.idempotent,
        ),
        (
            "429",
            "Too many requests; retry after `Retry-After` seconds",
            true,
        ),
        ("500", "Internal error", true),
        (
            "503",
            "The service is unavailable; a retry after `Retry-After` seconds is safe",
            true,
        ),
    ] {
        if applies {
            let mut content = content(error);
            if let Value::Object(content) = &mut content {
                content.insert(PROBLEM.to_owned(), json!({ "schema": problem }));
            }
            let failure = json!({ "description": description, "content": content });
            responses.insert(status.to_owned(), failure);
        }
    }
    Value::Object(responses)
}

/// The headers of a success.
fn headers(operation: &Operation) -> Map<String, Value> {
    let mut headers = Map::new();
    for (name, description) in [
        (
            "X-Request-Id",
            "The id of the request, as in the log and the journal",
        ),
        (
            "X-Rate-Limit-Limit",
            "The number of requests that the caller may make per minute",
        ),
        (
            "X-Rate-Limit-Remaining",
            "The number of requests that are left",
        ),
        (
            "X-Rate-Limit-Reset",
            "When all requests are available again, in seconds since 1970",
        ),
        (
            "RateLimit",
            "The requests that are left and the seconds until all are, for each limit",
        ),
        ("RateLimit-Policy", "The limits, in requests per minute"),
    ] {
        headers.insert(name.to_owned(), header(description));
    }
    if operation.reads_a_document() {
        headers.insert("ETag".to_owned(), header(ETAG));
    }
    if operation.idempotent {
        let description = "Whether the request changed anything: `true` or `false`";
        headers.insert("Steward-Changed".to_owned(), header(description));
    }
    if operation.success == 201 {
        let description = "The path of what was created";
        headers.insert("Location".to_owned(), header(description));
    }
    headers
}

fn header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let mut parameters: Vec<Value> = path_id(operation.id).into_iter().collect();
    if operation.idempotent {
        parameters.push(idempotency_key());
    }
    if operation.conditional {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "Execute the operation only if the account has the version of this ETag, or of one in this list; `*` is any version.",
            "schema": { "type": "string", "minLength": 1, "pattern": "^(\\*|(W/)?\"[!#-~]*\"(, (W/)?\"[!#-~]*\")*)$" },
        }));
    }
    if operation.reads_a_document() {
        parameters.push(json!({
            "name": "If-None-Match", "in": "header", "required": false,
            "description": "Answer 304 without a body if the document has this ETag, or one in this list; `*` is any.",
            "schema": { "type": "string" },
        }));
    }
    parameters.extend(page_parameters(operation.paging, &sort(operation)));
    parameters.extend(operation.query.iter().map(query_parameter));
    parameters
}

fn path_id(id: Id) -> Option<Value> {
    let uuid = json!({ "type": "string", "format": "uuid", "examples": [UUID] });
    let number = json!({ "type": "integer", "format": "int64", "minimum": 1, "examples": [1] });
    let (description, schema) = match id {
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
        Id::Entry => ("The number of the change", number),
        Id::Reseller => ("The reseller's number", number),
    };
    Some(
        json!({ "name": "id", "in": "path", "required": true, "description": description, "schema": schema }),
    )
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn query_parameter(parameter: &QueryParameter) -> Value {
    let schema = serde_json::from_str(parameter.schema).unwrap_or_default();
    query(parameter.name, parameter.description, &schema)
}

/// The parameter `sort`.
fn sort(operation: &Operation) -> Value {
    let fields = (operation.sorts)();
    let ascending = fields.iter().map(|field| (*field).to_owned());
    let descending = fields.iter().map(|field| format!("-{field}"));
    let sorts: Vec<String> = ascending.chain(descending).collect();
    let is_newest_first = matches!(
        operation.paging,
        Paging::Search | Paging::PageOrId | Paging::PageOrEntry
    );
    let description = if is_newest_first {
        "The field to sort by. A leading - sorts in descending order. If absent, `-createdAt`."
    } else {
        "The field to sort by. A leading - sorts in descending order."
    };
    query(
        "sort",
        description,
        &json!({ "type": "string", "enum": sorts }),
    )
}

/// The parameters that choose a page. `sort` is the one of lists that can be sorted.
fn page_parameters(paging: Paging, sort: &Value) -> Vec<Value> {
    let limit = |default: i64| {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": default });
        query("limit", "The largest number of items on the page.", &schema)
    };
    match paging {
        Paging::None => Vec::new(),
        Paging::Whole => [pages(sort, NAMES), vec![limit(100)]].concat(),
        Paging::PageOrNumber => [
            pages(sort, NAMES),
            page_parameters(Paging::AfterNumber, sort),
        ]
        .concat(),
        Paging::PageOrId => [
            pages(sort, ATTEMPTS),
            page_parameters(Paging::BeforeId, sort),
        ]
        .concat(),
        Paging::PageOrEntry => [
            pages(sort, CHANGES),
            page_parameters(Paging::BeforeNumber, sort),
        ]
        .concat(),
        Paging::AfterNumber => vec![
            query(
                "after",
                "The number after which the page begins. The `Link` header links to the next page.",
                &json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            ),
            limit(100),
        ],
        Paging::AfterCursor => vec![
            query(
                "after",
                "The cursor after which the page begins, from an event or the `Link` header. If absent, the page begins with the first event.",
                &json!({ "type": "string" }),
            ),
            limit(100),
        ],
        Paging::ByTime => vec![
            query(
                "after",
                "The cursor after which the page begins, from a `Link` header. If absent, the page begins now.",
                &json!({ "type": "string" }),
            ),
            limit(100),
        ],
        Paging::BeforeId => vec![
            query(
                "before",
                "The id before which the page begins. The `Link` header links to the next page.",
                &json!({ "type": "string", "format": "uuid" }),
            ),
            limit(100),
        ],
        Paging::BeforeNumber => vec![
            query(
                "before",
                "The number of the entry before which the page begins. The `Link` header links to the next page.",
                &json!({ "type": "integer", "format": "int64", "minimum": 1 }),
            ),
            limit(100),
        ],
        Paging::Search => [search(sort), vec![limit(10)], filters()].concat(),
    }
}

/// What `query` does in the lists that are whole, and in the logs.
const NAMES: &str = "Only rows whose names contain this text, in any case.";
const ATTEMPTS: &str = "Only attempts whose event or problem contains this text, in any case. It is looked for in the newest 100,000 attempts of the reseller; older ones are not found.";
const CHANGES: &str = "Only changes whose action or user contains this text, in any case. It is looked for in the newest 100,000 changes of the reseller; older ones are not found.";

/// The pattern of a text that is searched for: it has no control characters.
const NO_CONTROLS: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// The parameters of a list whose pages have numbers. `searched` says what `query` does.
fn pages(sort: &Value, searched: &str) -> Vec<Value> {
    vec![
        query(
            "page",
            "The number of the page, from 1. The headers `Pagination-Page`, `Pagination-Limit` and `Pagination-Count` describe it.",
            &json!({ "type": "integer", "format": "int64", "minimum": 1 }),
        ),
        sort.clone(),
        query(
            "query",
            searched,
            &json!({ "type": "string", "maxLength": 255, "pattern": NO_CONTROLS }),
        ),
    ]
}

/// The parameters of the list of accounts. `page` and `sort` have no `default`: generated clients
/// would send it, and it cannot be combined with `after`.
fn search(sort: &Value) -> Vec<Value> {
    vec![
        query(
            "page",
            "The number of the page, from 1. A page may skip at most 100,000 accounts.",
            &json!({ "type": "integer", "minimum": 1 }),
        ),
        sort.clone(),
        query(
            "query",
            "Only accounts whose e-mail address, company, companyId or accountAlias contains this text, in any case.",
            &json!({ "type": "string", "maxLength": 255, "pattern": NO_CONTROLS }),
        ),
        query(
            "owner",
            "Only accounts that a hold of this owner blocks, limits or warns, such as `billing`.",
            &json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" }),
        ),
        query(
            "level",
            "Only accounts whose strongest hold in force has this level. With `owner`, the strongest of its holds.",
            &json!({ "type": "string", "enum": ["block", "limit", "warn"] }),
        ),
        query(
            "after",
            "The cursor after which the page begins, from a `Link` header; empty for the first page. Cannot be combined with `page` or `sort`.",
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
    let filter = |field: &str, (comparison, description): (&str, &str)| {
        // Several instants are one text.
        let schema = if field.ends_with("At") && comparison != "in" {
            json!({ "type": "string", "format": "date-time" })
        } else {
            json!({ "type": "string", "pattern": NO_CONTROLS })
        };
        query(
            &format!("{field}[{comparison}]"),
            &format!("`{field}` is {description}"),
            &schema,
        )
    };
    let of_field = |field| {
        comparisons
            .into_iter()
            .map(move |comparison| filter(field, comparison))
    };
    FIELDS.into_iter().flat_map(of_field).collect()
}

//! Every text that a caller can send has a limit, in every dialect. The members are read off the
//! OpenAPI document and the table of `soap`, so a new member is tested by itself.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use steward::dialects::operation::Access;
use steward::dialects::v3::{self, Id};
use steward::dialects::{admin, soap};

use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// Longer than any text may be. The longest are the own members of `save`, with 4 KiB.
const LONG: usize = 5_000;

/// What a `$ref` points to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// The places of all texts in a schema, as paths of names. `0` is the first element of a list.
fn texts(document: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    let schema = resolved(document, schema);
    for part in ["allOf", "oneOf", "anyOf"] {
        for part in schema[part].as_array().into_iter().flatten() {
            texts(document, part, at, found);
        }
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        texts(document, member, &format!("{at}/{name}"), found);
    }
    if schema["items"].is_object() {
        texts(document, &schema["items"], &format!("{at}/0"), found);
    }
    let is_text = |kind: &Value| kind == "string";
    let kinds = &schema["type"];
    if is_text(kinds)
        || kinds
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(is_text))
    {
        found.push(at.to_owned());
    }
}

/// Sets the member at a path, and the objects and lists on the way to it.
fn set(body: &mut Value, path: &str, text: &str) {
    let Some((name, rest)) = path.trim_start_matches('/').split_once('/') else {
        let name = path.trim_start_matches('/');
        if name == "0" {
            *body = json!([text]);
        } else {
            body[name] = json!(text);
        }
        return;
    };
    if name == "0" {
        if !body.is_array() {
            *body = json!([{}]);
        }
        set(&mut body[0], rest, text);
    } else {
        if body[name].is_null() {
            body[name] = if rest.starts_with('0') {
                json!([])
            } else {
                json!({})
            };
        }
        set(&mut body[name], rest, text);
    }
}

/// Fails if a row of any table contains a long text.
async fn nothing_long_is_stored(app: &App) {
    let superuser = app.database.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    assert!(tables.contains(&"journal".to_owned()));
    for table in tables {
        let query = format!(
            "select count(*) from {table} t where t::text like '%' || repeat('x', {LONG}) || '%'"
        );
        let long: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&superuser)
            .await
            .unwrap();
        assert_eq!(long, 0, "{table} has a row with a long text");
    }
}

/// A new thing for the path of an operation; the path.
async fn path_of(v3: &V3, client: &Client, operation: &v3::Operation, number: usize) -> String {
    let made = async |path: &str, body: Value| {
        let document = v3.call("POST", path, &body).await.json();
        let id = &document["id"];
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    };
    let job = json!({"selector": {"all": true}, "operation": {"operation": "restore"}});
    let name = format!("{}-{number}", operation.name);
    let id = match operation.id {
        Id::None => String::new(),
        Id::Account => client.account(&name).await.to_string(),
        Id::Plan => made("/v3/plans", json!({"name": name, "displayName": "x"})).await,
        Id::Token => made("/v3/tokens", json!({})).await,
        Id::Webhook => made("/v3/webhooks", json!({"url": "https://example.com"})).await,
        Id::Entry => {
            made("/v3/accounts", json!({})).await;
            let logs = v3.get("/v3/event-logs?limit=1").await.json();
            logs[0]["id"].as_str().unwrap().to_owned()
        }
        Id::BulkJob => made("/v3/bulk-jobs", job).await,
        Id::Reseller => "1".to_owned(),
        Id::EventLog => "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    operation.path.replace("{id}", &id)
}

#[tokio::test]
async fn no_call_of_v3_stores_a_long_text() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    client.account("a").await;
    let document = v3.get("/openapi.json").await.ok();
    let long = "x".repeat(LONG);
    let (mut tried, mut number) = (0, 0);
    for operation in v3::OPERATIONS.iter().filter(|row| row.method != "GET") {
        let method = operation.method.to_lowercase();
        let described = &document["paths"][operation.path][&method];
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        let mut found = Vec::new();
        texts(&document, schema, "", &mut found);
        let caller = match operation.access {
            Access::Operator(_) => &operator,
            Access::Scope(_) | Access::AnyToken | Access::Public => &v3,
        };
        for text in found {
            number += 1;
            let path = path_of(&v3, &client, operation, number).await;
            let mut body: Value = serde_json::from_str(operation.example).unwrap_or(json!({}));
            set(&mut body, &text, &long);
            let headers = [("x-request-id", long.as_str())];
            let answer = caller
                .send(operation.method, &path, &headers, &body.to_string())
                .await;
            assert!(
                answer.status.as_u16() < 500,
                "{path} {text}: {}",
                answer.body
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
    nothing_long_is_stored(&app).await;
}

#[tokio::test]
async fn no_call_of_admin_stores_a_long_text() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let document = V3::of(&client).get("/openapi.json").await.ok();
    let long = "x".repeat(LONG);
    let mut tried = 0;
    for operation in admin::OPERATIONS {
        let path = format!("{}{}", admin::PREFIX, operation.name);
        let described = &document["paths"][&path]["post"]["requestBody"];
        let mut found = vec!["/something_of_its_own".to_owned()];
        let schema = &described["content"]["application/json"]["schema"];
        texts(&document, schema, "", &mut found);
        for text in found.iter().filter(|text| *text != "/token") {
            let mut body: Value = serde_json::from_str(operation.example).unwrap();
            if operation.name != "save" {
                body["id"] = json!(client.account(&format!("{}-{tried}", operation.name)).await);
            }
            set(&mut body, text, &long);
            let answer = client.call(operation.name, body).await;
            assert!(
                answer.status.as_u16() < 500,
                "{path} {text}: {}",
                answer.body
            );
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
    nothing_long_is_stored(&app).await;
}

#[tokio::test]
async fn a_text_to_search_for_is_no_longer_than_what_it_is_searched_in() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client
        .call("list", json!({"q": "x".repeat(255)}))
        .await
        .ok();
    let refused = client.call("list", json!({"q": "x".repeat(256)})).await;
    refused.is_error(
        400,
        "Incorrect request: q: must be at most 255 characters, not 256",
    );
}

#[tokio::test]
async fn no_operation_of_soap_stores_a_long_text() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let soap = crate::harness::soap::Soap::of(&client);
    let long = "x".repeat(LONG);
    let values = |id: i64| {
        [
            ("accountID", id.to_string()),
            ("email", format!("a{id}@example.com")),
            ("name", "a".to_owned()),
            ("password", "secret".to_owned()),
            ("planID", "0".to_owned()),
            ("sendEmail", "false".to_owned()),
            ("paymentUrl", "https://example.com".to_owned()),
            ("status", "active".to_owned()),
            ("expiryDate", "2027-01-01T00:00:00".to_owned()),
        ]
    };
    let children = values(1).map(|(name, _)| name);
    for operation in soap::OPERATIONS {
        for (position, long_one) in children.iter().enumerate() {
            let id = client
                .account(&format!("{}-{position}", operation.name))
                .await;
            let child = |(name, value): (&str, String)| {
                let value = if name == *long_one {
                    format!("{value}{long}")
                } else {
                    value
                };
                format!("<{name}>{value}</{name}>")
            };
            let token = format!("<authToken>{}</authToken>", client.token);
            let members: String = values(id).into_iter().map(child).collect();
            let name = operation.name;
            let body = format!("<{name} xmlns=\"Zoolz\">{token}{members}</{name}>");
            let answer = soap
                .raw(crate::harness::soap::envelope(
                    crate::harness::soap::NS12,
                    &body,
                ))
                .await;
            // A wrong type is a fault of the sender, which SOAP answers with 500.
            assert!(
                answer.status == 200 || answer.body.contains("Sender"),
                "{name} {long_one}: {}",
                answer.body
            );
        }
    }
    nothing_long_is_stored(&app).await;
}

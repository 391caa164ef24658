//! Unknown members: `v3` refuses them, `admin` and `soap` ignore them.

use serde_json::{Value, json};
use steward::dialects::v3::{Id, OPERATIONS};
use steward::dialects::{admin, soap};

use super::{JSON, Things, XML, written};
use crate::harness::soap::Soap;
use crate::harness::v3::refused;

/// A name that no request has, and that is near to none.
const UNKNOWN: &str = "zzzzz";

/// Copies of a document, each with an unknown member in another object, with the member's path.
fn with_unknown(document: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let name = |path: &str, name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    let mut objects = vec![(String::new(), String::new(), document)];
    while let Some((path, pointer, value)) = objects.pop() {
        match value {
            Value::Object(members) => {
                let mut copy = document.clone();
                copy.pointer_mut(&pointer).unwrap()[UNKNOWN] = json!("x");
                all.push((name(&path, UNKNOWN), copy));
                objects.extend(members.iter().map(|(member, value)| {
                    (name(&path, member), format!("{pointer}/{member}"), value)
                }));
            }
            Value::Array(items) => {
                objects.extend(items.iter().enumerate().map(|(index, value)| {
                    (
                        format!("{path}[{index}]"),
                        format!("{pointer}/{index}"),
                        value,
                    )
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    all
}

fn example(text: &str) -> Value {
    serde_json::from_str(if text.is_empty() { "{}" } else { text }).unwrap()
}

#[tokio::test]
async fn v3_refuses_an_unknown_member_in_each_object_of_each_row_and_accepts_the_example() {
    for format in [JSON, XML] {
        let things = Things::new().await;
        let headers = [("content-type", format)];
        for operation in OPERATIONS {
            let (document, caller) = (example(operation.example), things.caller(operation));
            let path = things.path(operation).await;
            let send = async |document: &Value| {
                let body = written(format, document);
                caller.send(operation.method, &path, &headers, &body).await
            };
            for (member, document) in with_unknown(&document) {
                let expected = format!("{member}: is no member of this request");
                refused(&send(&document).await, 400, "INVALID_REQUEST", &expected);
            }
            let answer = send(&document).await;
            // These need a message that was delivered, a ticket that was issued, and a job that was
            // applied.
            let expected = match operation.name {
                _ if operation.id == Id::EventLog => 404,
                "release_tickets_redeem" => 401,
                "bulk_jobs_revert" => 409,
                _ => operation.success,
            };
            assert_eq!(
                answer.status, expected,
                "{}: {}",
                operation.name, answer.body
            );
        }
    }
}

#[tokio::test]
async fn v3_refuses_an_unknown_query_parameter_of_each_row() {
    let things = Things::new().await;
    for operation in OPERATIONS {
        let path = things.path(operation).await;
        let caller = things.caller(operation);
        let path = format!("{path}?{UNKNOWN}=1");
        let answer = caller
            .send(operation.method, &path, &[], operation.example)
            .await;
        refused(&answer, 400, "INVALID_REQUEST", UNKNOWN);
    }
    let answer = things.v3.get("/v3/accounts/1?as_of=2026-01-01").await;
    refused(
        &answer,
        400,
        "INVALID_REQUEST",
        "as_of: is no parameter of this call; did you mean asOf?",
    );
}

#[tokio::test]
async fn v3_names_the_member_that_was_meant() {
    let things = Things::new().await;
    let reseller = things.app.service.find_reseller("Acme").await.unwrap();
    let reseller = format!("/v3/resellers/{reseller}");
    for (caller, method, path, body, expected) in [
        (
            &things.v3,
            "POST",
            "/v3/bulk-jobs",
            json!({"selector": {"stat": "x"}, "operation": {"operation": "delete"}}),
            "selector.stat: is no member of this request; did you mean selector.state?",
        ),
        (
            &things.v3,
            "POST",
            "/v3/bulk-jobs",
            json!({"selector": {}, "all": true, "operation": {"operation": "delete"}}),
            "all: is no member of this request; did you mean selector.all?",
        ),
        (
            &things.v3,
            "POST",
            "/v3/tokens",
            json!({"scopes": ["account:read"], "expires_in": 60}),
            "expires_in: is no member of this request; did you mean expiresIn?",
        ),
        (
            &things.v3,
            "POST",
            "/v3/tokens",
            json!({"scope": ["account:read"]}),
            "scope: is no member of this request; did you mean scopes?",
        ),
        (
            &things.operator,
            "PATCH",
            reseller.as_str(),
            json!({"account_limit": 10}),
            "account_limit: is no member of this request; did you mean accountLimit?",
        ),
        (
            &things.v3,
            "POST",
            "/v3/bulk",
            json!({"operations": [{"operation": "freeze", "account": 1, "payment_url": "https://e.com"}]}),
            "operations[0].payment_url: is no member of this request; did you mean operations[0].paymentUrl?",
        ),
        (
            &things.v3,
            "POST",
            "/v3/accounts",
            json!({"holds": []}),
            "holds: is no member of this request; the members are resellerId,",
        ),
        (
            &things.v3,
            "POST",
            "/v3/bulk",
            json!({"operations": [["unsuspend", 8]]}),
            "operations[0]: must be an object, not a list",
        ),
    ] {
        refused(
            &caller.call(method, path, &body).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
}

#[tokio::test]
async fn an_operation_refuses_the_members_of_another() {
    let things = Things::new().await;
    let account = things.made("/v3/accounts", json!({})).await;
    let bulk = json!({"operations": [{"operation": "delete", "account": account, "endsAt": "2027-01-01"}]});
    let answer = things.v3.call("POST", "/v3/bulk", &bulk).await.ok();
    assert_eq!(answer["results"][0]["status"], 400, "{answer}");
    assert_eq!(
        answer["results"][0]["message"],
        "endsAt: is no member of the operation delete"
    );
    let named = json!({"operation": "delete", "account": account});
    let simulate = json!({"operations": [named]});
    let path = format!("/v3/accounts/{account}/simulate");
    let answer = things.v3.call("POST", &path, &simulate).await;
    refused(
        &answer,
        400,
        "INVALID_REQUEST",
        "account: is no member here: the path names",
    );
    let job = json!({"selector": {"all": true}, "operation": named});
    let answer = things.v3.call("POST", "/v3/bulk-jobs", &job).await;
    refused(
        &answer,
        400,
        "INVALID_REQUEST",
        "account: is no member here: the selector names",
    );
    let path = format!("/v3/accounts/{account}/suspend");
    let answer = things
        .v3
        .call("POST", &path, &json!({"releaseTicket": true}))
        .await;
    refused(
        &answer,
        400,
        "INVALID_REQUEST",
        "releaseTicket: is for a freeze alone",
    );
}

#[tokio::test]
async fn an_empty_selector_needs_all_and_all_needs_an_empty_selector() {
    let things = Things::new().await;
    things.made("/v3/accounts", json!({})).await;
    for format in [JSON, XML] {
        for (selector, expected) in [
            (json!({}), Err("selector: has no condition")),
            (json!({"all": false}), Err("selector: has no condition")),
            (json!({"all": true}), Ok("all")),
            (
                json!({"all": true, "state": "active"}),
                Err("selector: has \"all\": true and state=active"),
            ),
            (json!({"state": "active"}), Ok("state=active")),
        ] {
            let job = json!({"selector": selector, "operation": {"operation": "restore"}});
            let headers = [("content-type", format)];
            let body = written(format, &job);
            let answer = things
                .v3
                .send("POST", "/v3/bulk-jobs", &headers, &body)
                .await;
            match expected {
                Ok(selector) => assert_eq!(answer.json()["selector"], selector),
                Err(expected) => refused(&answer, 400, "INVALID_REQUEST", expected),
            }
        }
    }
}

#[tokio::test]
async fn members_of_cryptlex_that_cannot_be_honoured_are_ignored_and_named() {
    let things = Things::new().await;
    let account = json!({"firstName": "Jo", "lastName": "Do", "email": "jo@example.com", "password": "secret",
        "company": "Acme", "companyId": "acme"});
    for format in [JSON, XML] {
        let headers = [("content-type", format), ("accept", JSON)];
        let mut account = account.clone();
        account["email"] = json!(format!("{}@example.com", format.len()));
        let body = written(format, &account);
        let answer = things
            .v3
            .send("POST", "/v3/accounts", &headers, &body)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(
            answer.header("ignored-members"),
            "firstName, lastName, password"
        );
        assert_eq!(answer.json()["company"], "Acme");
        let path = format!("/v3/accounts/{}", answer.json()["id"].as_str().unwrap());
        let body = written(
            format,
            &json!({"customDomain": "x.example", "company": "New"}),
        );
        let answer = things.v3.send("PATCH", &path, &headers, &body).await;
        assert_eq!(answer.header("ignored-members"), "customDomain");
        assert_eq!(answer.ok()["company"], "New");
        let body = written(format, &json!({"company": "New"}));
        let answer = things.v3.send("PATCH", &path, &headers, &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("ignored-members")),
            (200, "")
        );
        let webhook = json!({"name": "x", "url": "https://example.com", "token": "x", "active": true,
            "events": ["account.updated"]});
        let body = written(format, &webhook);
        let answer = things
            .v3
            .send("POST", "/v3/webhooks", &headers, &body)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.header("ignored-members"), "");
    }
}

#[tokio::test]
async fn admin_ignores_unknown_members_and_names_them_if_it_is_verbose() {
    let things = Things::new().await;
    let client = &things.client;
    let mut count = 0;
    for operation in admin::OPERATIONS {
        // `save` stores a member of its own.
        let document = example(operation.example);
        let mut cases = with_unknown(&document);
        cases.retain(|(member, _)| operation.name != "save" || member != UNKNOWN);
        cases.push((String::new(), document));
        for (member, mut members) in cases {
            let mut fresh = async |members: &mut Value| {
                count += 1;
                if members.get("id").is_some() {
                    members["id"] = json!(client.account(&format!("a{count}")).await);
                }
                if members.get("email").is_some() {
                    members["email"] = json!(format!("b{count}@example.com"));
                }
            };
            fresh(&mut members).await;
            let answer = client.call(operation.name, members.clone()).await.ok();
            assert_eq!(answer.get("ignored"), None, "{}", operation.name);
            members["verbose"] = json!(true);
            fresh(&mut members).await;
            let answer = client.call(operation.name, members.clone()).await;
            assert_eq!(answer.header("ignored-members"), member);
            let answer = answer.ok();
            let expected = if member.is_empty() {
                Value::Null
            } else {
                json!([member])
            };
            assert_eq!(answer["ignored"], expected, "{}", operation.name);
            fresh(&mut members).await;
            let xml = written(XML, &members);
            let xml = xml
                .strip_prefix("<xml>")
                .unwrap()
                .strip_suffix("</xml>")
                .unwrap();
            let answer = client.call_xml(operation.name, xml).await.body;
            let ignored = format!("<ignored>{member}</ignored>");
            let is_named = answer.contains(&ignored);
            assert_eq!(is_named, !member.is_empty(), "{}: {answer}", operation.name);
        }
    }
    // Every answer names them in a header: a plain one, a repeat, a refusal and an error.
    let id = things.client.account("plain").await;
    let members = json!({
        "id": id, "payment_url": "https://pay.example", "frozen_details": {"public_mesage": "x"},
        "p\u{e4}y, a%": 1,
    });
    let wanted = "frozen_details.public_mesage, payment_url, p%C3%A4y%2C%20a%25";
    for _ in 0..2 {
        let answer = client.call_once("freeze", "header", members.clone()).await;
        assert_eq!(answer.header("ignored-members"), wanted);
        assert_eq!(
            answer.ok(),
            json!({"error": 0, "error_text": "Successful operation"})
        );
    }
    let mut missing = members.clone();
    missing["id"] = json!(999);
    let refused = client.call("freeze", missing).await;
    assert_eq!(refused.header("ignored-members"), wanted);
    // `save` stores a member of its own, and ignores one that is read only.
    let saved = json!({"id": id, "timezone": "Berlin", "paymentUrl": "x"});
    let saved = client.call("save", saved).await;
    assert_eq!(saved.header("ignored-members"), "timezone");
    let many: serde_json::Map<_, _> = (0..200)
        .map(|number| (format!("member_{number}"), json!(1)))
        .chain([("id".to_owned(), json!(id))])
        .collect();
    let many = client.call("suspend", Value::Object(many)).await;
    assert!(many.header("ignored-members").len() <= 1_000);
    assert_eq!(many.ok()["error"], 0);

    // A repeat names them, too.
    let id = things.client.account("repeat").await;
    let members = json!({"id": id, "verbose": true, "reson": "x"});
    let first = things
        .client
        .call_once("suspend", "key", members.clone())
        .await;
    let second = things.client.call_once("suspend", "key", members).await;
    assert_eq!(first.ok()["ignored"], json!(["reson"]));
    assert_eq!(second.ok(), first.ok());
}

#[tokio::test]
async fn soap_ignores_unknown_members() {
    let things = Things::new().await;
    let soap = Soap::of(&things.client);
    for operation in soap::OPERATIONS {
        let with = soap
            .call(
                operation.name,
                &format!("<accountID>0</accountID><{UNKNOWN}>x</{UNKNOWN}>"),
            )
            .await;
        let without = soap.call(operation.name, "<accountID>0</accountID>").await;
        assert_eq!(with, without, "{}", operation.name);
    }
}

//! The same command through every dialect gives the same state, the same journal and the same
//! events.

use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::app::send;
use crate::harness::{App, Client};

/// One command in each dialect: call and members in `admin`, operation and children in `soap`,
/// method, path and members in `v3`.
struct InEachDialect {
    admin: (&'static str, Value),
    soap: (&'static str, &'static str),
    v3: (&'static str, &'static str, Value),
}

fn commands() -> Vec<InEachDialect> {
    let expiry = "2020-01-01T00:00:00Z";
    let pay = "https://p.example";
    let command = |admin, soap, v3| InEachDialect { admin, soap, v3 };
    vec![
        command(
            ("suspend", json!({})),
            ("SuspendAccountUsingAccountID", ""),
            ("POST", "/suspend", json!({})),
        ),
        command(
            ("suspend", json!({})),
            ("SuspendAccountUsingAccountID", ""),
            ("POST", "/suspend", json!({})),
        ),
        command(
            ("freeze", json!({"frozen_details": {"payment_url": pay}})),
            (
                "FreezeAccountUsingAccountID",
                "<paymentUrl>https://p.example</paymentUrl>",
            ),
            ("POST", "/freeze", json!({"paymentUrl": pay})),
        ),
        command(
            ("freeze", json!({})),
            ("FreezeAccountUsingAccountID", ""),
            ("POST", "/freeze", json!({})),
        ),
        command(
            ("status", json!({"status": "inactive"})),
            (
                "UpdateAccountStatusUsingAccountID",
                "<status>inactive</status>",
            ),
            ("PUT", "/status", json!({"status": "inactive"})),
        ),
        command(
            ("expiry_date", json!({"expiry_date": expiry})),
            (
                "ChangeAccountExpiryDateUsingAccountID",
                "<expiryDate>2020-01-01T00:00:00Z</expiryDate>",
            ),
            ("PUT", "/expires-at", json!({"expiresAt": expiry})),
        ),
        command(
            ("unsuspend", json!({})),
            ("ActivateAccountUsingAccountID", ""),
            ("POST", "/unsuspend", json!({})),
        ),
        command(
            ("unfreeze", json!({})),
            ("UnfreezeAccountUsingAccountID", ""),
            ("POST", "/unfreeze", json!({})),
        ),
        command(
            ("delete", json!({})),
            ("DeleteAccountUsingAccountID", ""),
            ("DELETE", "", Value::Null),
        ),
    ]
}

async fn send_in_soap(client: &Client, id: i64, (operation, children): (&str, &str)) {
    let body = format!(
        "<{operation} xmlns='Zoolz'><authToken>{}</authToken><accountID>{id}</accountID>{children}</{operation}>",
        client.token
    );
    let envelope = format!(
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body>{body}</e:Body></e:Envelope>"
    );
    let request = Request::post("/Services/Reseller/Service.asmx")
        .header("content-type", "application/soap+xml")
        .body(envelope.into())
        .unwrap();
    let answer = send(&client.router, request).await;
    assert!(
        answer.body.contains("<Code>Success</Code>"),
        "{operation}: {}",
        answer.body
    );
}

async fn send_in_v3(client: &Client, id: i64, (method, path, members): (&str, &str, Value)) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/v3/accounts/{id}{path}"))
        .header("authorization", format!("Bearer {}", client.token));
    let body = if members.is_null() {
        String::new()
    } else {
        members.to_string()
    };
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let answer = send(&client.router, request.body(body.into()).unwrap()).await;
    assert!(
        answer.status.is_success(),
        "{method} {path}: {}",
        answer.body
    );
}

/// The blocks and the journal of an account, without the members that differ: ids, requests,
/// dialects.
async fn facts(client: &Client, id: i64) -> (Value, Vec<Value>) {
    let entries = client.call("history", json!({"id": id})).await.ok()["data"].clone();
    let blocked_by =
        client.call("explain", json!({"id": id})).await.ok()["data"]["blocked_by"].clone();
    let plain = |entry: &Value| {
        let mut entry = entry.clone();
        for name in ["id", "request_id", "dialect", "at"] {
            entry.as_object_mut().unwrap().remove(name);
        }
        for side in ["before", "after"] {
            for hold in entry[side]
                .as_object_mut()
                .unwrap()
                .values_mut()
                .filter_map(Value::as_object_mut)
            {
                hold.remove("hold_id");
            }
        }
        entry
    };
    let mut entries: Vec<Value> = entries.as_array().unwrap().iter().map(plain).collect();
    // The creation is left out: its entry has the account's own email.
    entries.pop();
    (blocked_by, entries)
}

#[tokio::test]
async fn every_dialect_gives_the_same_state_and_the_same_journal() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (a, b, c) = (
        client.account("a").await,
        client.account("b").await,
        client.account("c").await,
    );
    for command in commands() {
        let (call, mut members) = command.admin;
        members["id"] = json!(a);
        client.call(call, members).await.ok();
        send_in_soap(&client, b, command.soap).await;
        send_in_v3(&client, c, command.v3).await;
        let first = facts(&client, a).await;
        assert_eq!(first, facts(&client, b).await, "{call} in soap");
        assert_eq!(first, facts(&client, c).await, "{call} in v3");
    }
    assert_eq!(facts(&client, a).await.1.len(), commands().len());
}

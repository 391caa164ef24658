//! Which requests are one command, so that one key stands for them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use serde_json::{Value, json};
use steward::dialects::v3;
use steward::domain::ResellerId;
use steward::service::{Clock, Service, Settings};
use steward::store::Store;

use crate::harness::app::{Answer, admin_settings, pool_settings, router, send, soap_settings};
use crate::harness::soap::{NS11, NS12, envelope, post};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

const KEY: (&str, &str) = ("idempotency-key", "k");

#[track_caller]
fn replayed(again: &Answer, first: &Answer, what: &str) {
    assert_eq!(
        again.header("idempotent-replayed"),
        "true",
        "{what}: {}",
        again.body
    );
    assert_eq!(
        (&again.body, again.status),
        (&first.body, first.status),
        "{what}"
    );
    for header in ["content-type", "etag", "steward-changed"] {
        assert_eq!(
            again.header(header),
            first.header(header),
            "{what}: {header}"
        );
    }
}

/// Posts to a call of `admin`, with the token of the header if it is not empty.
async fn post_admin(client: &Client, call: &str, kind: &str, token: &str, body: String) -> Answer {
    let mut request = Request::post(format!("/api/v1.1/admin/accounts/{call}"))
        .header("content-type", kind)
        .header(KEY.0, KEY.1);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(&client.router, request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn the_credential_and_the_form_of_a_body_are_no_part_of_the_command() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let (one, other) = (&client.token, app.token(Some(ResellerId(1)), None).await);
    let json = "application/json";
    let freeze = async |kind: &str, token: &str, body: String| {
        post_admin(&client, "freeze", kind, token, body).await
    };
    let url = "https://pay.example/?a=1&b=2";
    let members =
        json!({"token": one, "id": 1, "frozen_details": {"payment_url": url, "reason": "r"}});
    let first = freeze(json, "", members.to_string()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let spaced = format!(
        "{{ \"frozen_details\" : {{\"reason\":\"\\u0072\", \"payment_url\":\"{url}\"}},\n \"id\":1, \"token\":\"{other}\" }}"
    );
    let verbose = json!({"id": 1, "format": "xml", "verbose": true, "frozen_details": {"payment_url": url, "reason": "r"}});
    let xml = "<?xml version=\"1.0\"?>\n<xml>\n <id>1</id>\n <frozen_details><reason>r</reason>\
               <payment_url>https://pay.example/?a=1&amp;b=2</payment_url></frozen_details></xml>";
    for (what, kind, token, body) in [
        ("another token, order and spaces", json, "", spaced),
        (
            "the token in the header",
            json,
            other.as_str(),
            verbose.to_string(),
        ),
        ("XML", "application/xml", other.as_str(), xml.to_owned()),
    ] {
        replayed(&freeze(kind, token, body).await, &first, what);
    }
    assert_eq!(client.history(1).await.len(), 2);
    for changed in [
        json!({"id": 2, "frozen_details": {"payment_url": url, "reason": "r"}}),
        json!({"id": 1, "frozen_details": {"payment_url": url}}),
        json!({"id": 1, "frozen_details": {"payment_url": url, "reason": "R"}}),
        json!({"id": 1, "payment_url": url, "reason": "r"}),
    ] {
        let answer = freeze(json, &other, changed.to_string()).await;
        answer.is_error(422, "Idempotency-Key was used before");
    }
}

#[tokio::test]
async fn soap_compares_the_values_without_the_token() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let other = app.token(Some(ResellerId(1)), None).await;
    let suspend = async |version: &str, token: &str, id: &str| {
        let element = format!(
            "<SuspendAccountUsingAccountID xmlns=\"Zoolz\"><accountID>{id}</accountID> \
             <authToken>{token}</authToken></SuspendAccountUsingAccountID>"
        );
        let kind = if version == NS12 {
            "application/soap+xml"
        } else {
            "text/xml"
        };
        post(
            &client.router,
            &[KEY, ("content-type", kind)],
            envelope(version, &element),
        )
        .await
    };
    let first = suspend(NS12, &client.token, "1").await;
    assert!(
        first.body.contains("<Code>Success</Code>"),
        "{}",
        first.body
    );
    replayed(&suspend(NS12, &other, "1").await, &first, "another token");
    for another in [
        suspend(NS12, &other, "2").await,
        suspend(NS11, &other, "1").await,
    ] {
        let text = "General Error, the Idempotency-Key was used before with another request";
        assert!(another.body.contains(text), "{}", another.body);
    }
    assert_eq!(client.history(1).await.len(), 2);
}

#[tokio::test]
async fn a_number_and_a_uuid_of_one_account_are_one_key() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    for (v3, who) in [
        (V3::of(&client), "reseller"),
        (V3::of(&app.operator().await), "operator"),
    ] {
        for (position, body) in [
            json!({}),
            json!({"releaseTicket": true, "paymentUrl": "https://pay.example"}),
        ]
        .into_iter()
        .enumerate()
        {
            for first_by_number in [true, false] {
                let id = client
                    .account(&format!("{who}{position}{first_by_number}"))
                    .await;
                let number = id.to_string();
                let uid = client.get(id).await["uid"].as_str().unwrap().to_owned();
                let key = [("idempotency-key", number.as_str())];
                let freeze = async |id: &str| {
                    let path = format!("/v3/accounts/{id}/freeze");
                    v3.send("POST", &path, &key, &body.to_string()).await
                };
                let (one, other) = if first_by_number {
                    (&number, &uid)
                } else {
                    (&uid, &number)
                };
                let first = freeze(one).await;
                assert_eq!(first.status, 200, "{}", first.body);
                let loud = uid.to_uppercase();
                for (what, id) in [
                    ("as before", one.as_str()),
                    ("by the other identity", other.as_str()),
                    ("in capitals", loud.as_str()),
                    ("without hyphens", &uid.replace('-', "")),
                    ("with zeros", &format!("00{number}")),
                    ("escaped", &format!("%3{}{}", &number[..1], &number[1..])),
                ] {
                    replayed(&freeze(id).await, &first, &format!("{who} {body} {what}"));
                }
                assert_eq!(client.history(id).await.len(), 2, "{who} {body}");
                let lift = format!("/v3/accounts/{other}/unfreeze");
                let lifted = v3.send("POST", &lift, &key, "{}").await;
                assert_eq!(
                    lifted.header("steward-changed"),
                    "true",
                    "another operation"
                );
            }
        }
    }
}

#[tokio::test]
async fn json_and_xml_of_one_v3_command_are_one_key() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let body =
        json!({"url": "https://example.com", "events": ["account.updated", "account.frozen"]});
    let first = v3
        .send("POST", "/v3/webhooks", &[KEY], &body.to_string())
        .await;
    assert_eq!(first.status, 201, "{}", first.body);
    let xml = async |events: &str| {
        let body = format!("<xml><events>{events}</events><url>https://example.com</url></xml>");
        let headers = [KEY, ("content-type", "application/xml")];
        v3.send("POST", "/v3/webhooks", &headers, &body).await
    };
    let again = xml("account.updated</events><events>account.frozen").await;
    replayed(&again, &first, "XML");
    let other = xml("account.created</events><events>account.frozen").await;
    refused(&other, 422, "IDEMPOTENCY_KEY_REUSED", "");
}

#[tokio::test]
async fn the_key_is_looked_up_before_anything_else() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let operator = V3::of(&app.operator().await);
    let create = async || {
        v3.send("POST", "/v3/accounts", &[KEY], r#"{"company":"Acme"}"#)
            .await
    };
    let first = create().await;
    let path = first.header("location").to_owned();
    let freeze = async || {
        v3.send("POST", &format!("{path}/freeze"), &[KEY], "{}")
            .await
    };
    let frozen = freeze().await;
    // No quota is left, the account is deleted, its reseller is suspended.
    let limit = json!({"accountLimit": 0});
    operator.call("PATCH", "/v3/resellers/1", &limit).await.ok();
    assert_eq!(v3.call("DELETE", &path, &Value::Null).await.status, 204);
    app.suspend_reseller(ResellerId(1), true).await;
    replayed(&create().await, &first, "without quota");
    replayed(&freeze().await, &frozen, "of a deleted account");
}

#[tokio::test]
async fn answers_of_the_version_before_are_replayed() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let superuser = app.database.superuser().await;
    let account = v3.call("POST", "/v3/accounts", &json!({})).await;
    let path = account
        .header("location")
        .to_uppercase()
        .replace("/V3/ACCOUNTS", "/v3/accounts");
    let status = format!("{path}/status");
    let body = r#"{ "status": "inactive" }"#;
    let put = async |body: &str| v3.send("PUT", &status, &[KEY], body).await;
    let (first, deleted) = (put(body).await, v3.send("DELETE", &path, &[KEY], "").await);
    assert_eq!((first.status.as_u16(), deleted.status.as_u16()), (200, 204));
    // It stored the path as it was written, no headers, and a content type without a body.
    let rows = sqlx::query(
        "update idempotency set command = null, etag = null, location = null, changed = null,
           content_type = 'application/json; charset=utf-8',
           path = case method when 'PUT' then $1 else $2 end",
    );
    let rows = rows
        .bind(&status)
        .bind(&path)
        .execute(&superuser)
        .await
        .unwrap();
    assert_eq!(rows.rows_affected(), 2);
    let again = put(body).await;
    assert_eq!(
        (&again.body, again.header("idempotent-replayed")),
        (&first.body, "true")
    );
    // It compared the bytes.
    refused(
        &put(r#"{"status":"inactive"}"#).await,
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "",
    );
    let again = v3.send("DELETE", &path, &[KEY], "").await;
    assert_eq!(
        (again.status.as_u16(), again.headers.get("content-type")),
        (204, None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_first_request_takes_too_long_is_in_conflict() {
    let app = App::new().await;
    let owner = app.new_reseller("Acme").await;
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::System,
        Settings {
            idempotency_wait: Duration::from_millis(1),
            ..Settings::default()
        },
    ));
    let client = Client {
        router: router(&service, admin_settings(), soap_settings()),
        token: owner.token,
    };
    let v3 = V3::of(&client);
    let superuser = app.database.superuser().await;
    // Another process carries out the first request: it has locked the key.
    let mut first = superuser.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('1 POST /v3/plans k', 0))")
        .execute(&mut *first)
        .await
        .unwrap();
    let create = async || {
        let body = r#"{"name":"x","displayName":"x"}"#;
        v3.send("POST", "/v3/plans", &[KEY], body).await
    };
    let answer = create().await;
    refused(
        &answer,
        409,
        "CONFLICT",
        "key_in_use: the first request with this Idempotency-Key",
    );
    assert_eq!(answer.header("retry-after"), "1");
    first.rollback().await.unwrap();
    assert_eq!(create().await.status, 201, "the conflict was not stored");
    service.stop().await;
}

#[tokio::test]
async fn a_ticket_is_redeemed_once_under_its_key() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let freeze = async || {
        let body = json!({"releaseTicket": true, "paymentUrl": "https://pay.example"});
        let frozen = v3
            .call("POST", &format!("/v3/accounts/{id}/freeze"), &body)
            .await;
        frozen.json()["releaseTicket"].clone()
    };
    let ticket = freeze().await;
    let redeem = async |ticket: &Value| {
        let body = json!({ "ticket": ticket }).to_string();
        let request = Request::post("/v3/release-tickets/redeem")
            .header("content-type", "application/json")
            .header(KEY.0, KEY.1);
        send(&client.router, request.body(body.into()).unwrap()).await
    };
    let first = redeem(&ticket).await;
    assert_eq!(first.json()["changed"], json!(true), "{}", first.body);
    let second = freeze().await;
    replayed(&redeem(&ticket).await, &first, "after another freeze");
    refused(&redeem(&second).await, 422, "IDEMPOTENCY_KEY_REUSED", "");
    refused(
        &redeem(&json!("garbage")).await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    assert_eq!(client.get(id).await["is_frozen"], json!(true));
}

#[tokio::test]
async fn values_of_other_types_are_another_command() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let json = "application/json";
    client.account("a").await;
    let values = [
        "null", "\"\"", "{}", "1", "\"1\"", "true", "\"true\"", "[\"a\"]", "\"a\"",
    ];
    for (position, value) in values.into_iter().enumerate() {
        let save = async |key: &str, value: &str| {
            let body = format!(
                "{{\"token\":\"{}\",\"id\":1,\"tags\":{value}}}",
                client.token
            );
            let request = Request::post("/api/v1.1/admin/accounts/save")
                .header("content-type", json)
                .header("idempotency-key", key);
            send(&client.router, request.body(body.into()).unwrap()).await
        };
        let key = format!("k{position}");
        let first = save(&key, value).await;
        assert_eq!(first.status, 200, "{value}: {}", first.body);
        replayed(&save(&key, &format!(" {value} ")).await, &first, value);
        for other in values.iter().filter(|other| **other != value) {
            let answer = save(&key, other).await;
            answer.is_error(422, "Idempotency-Key was used before");
        }
    }
}

#[tokio::test]
async fn an_indented_document_is_the_same_command() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let status = async |body: &str| {
        let headers = [KEY, ("content-type", "application/xml")];
        let path = format!("/v3/accounts/{id}/status");
        v3.send("PUT", &path, &headers, body).await
    };
    let first = status("<xml><status>inactive</status></xml>").await;
    assert_eq!(first.status, 200, "{}", first.body);
    let indented = status("<xml>\r\n  <status>\r\n    inactive\r\n  </status>\r\n</xml>").await;
    replayed(&indented, &first, "indented");
}

#[tokio::test]
async fn a_malformed_id_is_not_found_with_a_key_too() {
    let app = App::new().await;
    let v3 = V3::of(&app.operator().await);
    for row in v3::OPERATIONS {
        let path = row.path.replace("{id}", "%00");
        if row.method == "GET" || path == row.path {
            continue;
        }
        let body = if row.method == "DELETE" { "" } else { "{}" };
        for headers in [&[KEY][..], &[]] {
            let answer = v3.send(row.method, &path, headers, body).await;
            let is_refusal = answer.status.is_client_error();
            assert!(
                is_refusal,
                "{} {path}: {} {}",
                row.method, answer.status, answer.body
            );
        }
    }
}

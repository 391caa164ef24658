//! Every call of the dialect in one conversation, in JSON and in XML.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::dialects::admin::{OPERATIONS, PREFIX};

use crate::harness::App;
use crate::harness::transcript::Transcript;

/// The story: each call with its members.
fn story() -> Vec<(&'static str, Value)> {
    let shop = json!({
        "name": "shop", "title": "The shop", "tz": "Europe/Berlin", "tariff": 3,
        "reports_day": 1, "reports_hour": 9, "email": "owner@shop.example",
    });
    let simulated = json!([
        {"call": "unfreeze"},
        {"call": "status", "status": "inactive"},
    ]);
    vec![
        ("save", shop),
        ("save", json!({"id": 1, "title": "The corner shop"})),
        ("get", json!({"id": 1})),
        (
            "freeze",
            json!({"id": 1, "frozen_details": {"payment_url": "https://pay.example/1"}}),
        ),
        ("freeze", json!({"id": 1, "verbose": true})),
        (
            "suspend",
            json!({"id": 1, "reason_code": "abuse", "public_message": "Please contact us."}),
        ),
        ("explain", json!({"id": 1})),
        ("simulate", json!({"id": 1, "operations": simulated})),
        ("unfreeze", json!({"id": 1})),
        ("unsuspend", json!({"id": 1})),
        ("deactivate", json!({"id": 1})),
        ("activate", json!({"id": 1})),
        ("status", json!({"id": 1, "status": "inactive"})),
        ("expiry_date", json!({"id": 1, "expiry_date": "2026-06-30"})),
        (
            "exempt",
            json!({"id": 1, "exempt_until": "2026-04-01T00:00:00Z"}),
        ),
        ("retain", json!({"id": 1, "reason_code": "legal"})),
        ("list", json!({"state": "inactive"})),
        ("timeline", json!({"id": 1})),
        ("release", json!({"id": 1})),
        ("delete", json!({"id": 1})),
        ("restore", json!({"id": 1})),
        ("history", json!({"id": 1})),
    ]
}

fn xml(name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| xml(name, item)).collect(),
        Value::Object(members) => {
            let members: String = members
                .iter()
                .map(|(name, value)| xml(name, value))
                .collect();
            format!("<{name}>{members}</{name}>")
        }
        Value::String(text) => format!("<{name}>{text}</{name}>"),
        Value::Null | Value::Bool(_) | Value::Number(_) => format!("<{name}>{value}</{name}>"),
    }
}

async fn drive(media_type: &str, write: fn(&Value) -> String) -> String {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut transcript = Transcript::new(&app.router);
    transcript.name("token", &client.token);
    for (call, mut members) in story() {
        members["token"] = json!(client.token);
        let path = format!("{PREFIX}{call}");
        let headers = [("content-type", media_type)];
        let answer = transcript
            .send(call, "POST", &path, &headers, &write(&members))
            .await;
        assert_eq!(answer.status, 200, "{call}: {}", answer.body);
        app.clock.advance(TimeDelta::minutes(1));
    }
    let calls = OPERATIONS.iter().map(|operation| operation.name);
    assert_eq!(
        transcript.missing(calls),
        [""; 0],
        "calls without an example"
    );
    transcript.finish()
}

#[tokio::test]
async fn every_call_in_json() {
    insta::assert_snapshot!(drive("application/json", Value::to_string).await);
}

#[tokio::test]
async fn every_call_in_xml() {
    insta::assert_snapshot!(drive("application/xml", |members| xml("xml", members)).await);
}

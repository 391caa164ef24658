//! The examples of Altcraft's documentation, byte for byte: requests of its clients, and the
//! answers.

use serde_json::{Value, json};

use crate::harness::App;

/// The documentation's request, with a valid token.
fn with_token(example: &str, token: &str) -> String {
    example.replace("abcdefghijklmnqrstuvwxyz", token)
}

const FREEZE_JSON: &str = include_str!("golden/freeze_request.json");
const FREEZE_XML: &str = include_str!("golden/freeze_request.xml");
const DONE_JSON: &str = include_str!("golden/done_response.json");
const DONE_XML: &str = include_str!("golden/done_response.xml");

/// The documentation prints answers over several lines. On the wire there is no white space between
/// members.
fn on_one_line(printed: &str) -> String {
    match serde_json::from_str::<Value>(printed) {
        Ok(value) => value.to_string(),
        Err(_) => printed.lines().map(str::trim).collect(),
    }
}

async fn seven_accounts(app: &App) -> crate::harness::Client {
    let client = app.new_reseller("Acme").await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        client.account(name).await;
    }
    client
}

#[tokio::test]
async fn altcrafts_freeze_example_works_in_json() {
    let app = App::new().await;
    let client = seven_accounts(&app).await;
    let answer = client
        .raw(
            "freeze",
            "application/json",
            with_token(FREEZE_JSON, &client.token),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, on_one_line(DONE_JSON).as_str())
    );
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    let account = client.get(7).await;
    assert_eq!(
        (
            account["is_frozen"].clone(),
            account["frozen_details"].clone()
        ),
        (json!(true), json!({"payment_url": "https://example.com"}))
    );
}

#[tokio::test]
async fn altcrafts_freeze_and_unfreeze_examples_work_in_xml() {
    let app = App::new().await;
    let client = seven_accounts(&app).await;
    for call in ["freeze", "freeze/", "unfreeze", "unfreeze/"] {
        let answer = client
            .raw(
                call,
                "application/xml",
                with_token(FREEZE_XML, &client.token),
            )
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, on_one_line(DONE_XML).as_str()),
            "{call}"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/xml; charset=utf-8"
        );
        let frozen = call.starts_with('f');
        assert_eq!(client.get(7).await["is_frozen"], json!(frozen));
    }
}

#[tokio::test]
async fn the_envelopes_of_every_call() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let save = |name: &str| {
        format!(
            "<name>{name}</name><title>t</title><tz>Europe/Moscow</tz><tariff>3</tariff><reports_day>1</reports_day><reports_hour>9</reports_hour>"
        )
    };
    let mut transcript = Vec::new();
    for (call, members) in [
        ("list", String::new()),
        ("save", save("first")),
        ("freeze", "<id>1</id>".to_owned()),
        (
            "unfreeze",
            "<id>1</id><frozen_details><payment_url>ignored</payment_url></frozen_details>"
                .to_owned(),
        ),
        ("suspend", "<id>1</id>".to_owned()),
        ("unsuspend", "<id>1</id>".to_owned()),
        ("deactivate", "<id>1</id>".to_owned()),
        ("activate", "<id>1</id>".to_owned()),
        ("status", "<id>1</id><status>inactive</status>".to_owned()),
        (
            "expiry_date",
            "<id>1</id><expiry_date>2027-01-31</expiry_date>".to_owned(),
        ),
        ("expiry_date", "<id>1</id><expiry_date/>".to_owned()),
        ("freeze", "<id>1</id><verbose>true</verbose>".to_owned()),
        (
            "freeze",
            "<id>1</id><verbose>true</verbose><format>json</format>".to_owned(),
        ),
        ("delete", "<id>1</id>".to_owned()),
        ("get", "<id>1</id>".to_owned()),
        ("restore", "<id>1</id>".to_owned()),
        ("history", "<id>1</id><limit>0</limit>".to_owned()),
    ] {
        let answer = client.call_xml(call, &members).await;
        transcript.push(format!(
            "{call} {members}\n    {} {}",
            answer.status.as_u16(),
            answer.body
        ));
    }
    insta::assert_snapshot!(transcript.join("\n"));
}

#[tokio::test]
async fn the_members_of_an_answer_are_in_alphabetical_order() {
    fn check(value: &Value, path: &str, text: &str) {
        if let Value::Object(members) = value {
            let places: Vec<_> = members
                .keys()
                .map(|name| text.find(&format!("\"{name}\":")).unwrap())
                .collect();
            assert!(places.is_sorted(), "{path}: {text}");
        }
    }
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "save",
            json!({"id": id, "zeta": 1, "alpha": {"b": [1, 2]}, "is_odd": true}),
        )
        .await
        .ok();
    let listed = client.call("list", json!({})).await;
    let item = &listed.json()["data"][0];
    assert_eq!(
        (
            item["zeta"].clone(),
            item["alpha"].clone(),
            item["is_odd"].clone()
        ),
        (json!(1), json!({"b": [1, 2]}), json!(true))
    );
    let text = listed.body.split_once("[{").unwrap().1;
    check(item, "item", text);
    let names: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
    for original in [
        "id",
        "is_active",
        "is_smart",
        "is_subscribers_suspend_all",
        "is_tariff_exceed",
        "name",
        "pixels_enabled",
        "pushes_enabled",
        "tariff_id",
        "timezone",
    ] {
        assert!(
            names.iter().any(|name| name == original),
            "{original} is missing in {names:?}"
        );
    }
    assert!(
        listed.body.starts_with(r#"{"data":["#)
            && listed
                .body
                .ends_with(r#"],"error":0,"error_text":"Successful operation","total_count":1}"#)
    );
}

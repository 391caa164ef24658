//! The members of `save` that Steward has no field for: kept as written, up to 4 KiB per account.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use steward::domain::{Extra, MAX_OWN_MEMBERS};
use steward::wire::{Codec, Members, encode};

use crate::harness::{App, Client};

/// Numbers that `f64` and `u64` do not keep as they are.
const NUMBERS: [&str; 8] = [
    "1e308",
    "1.0",
    "-0",
    "12345678901234567890",
    "0.1000",
    "1E+2",
    "-123456789012345678901234567890.5e-400",
    "7",
];

/// A value as JSON text without white space, as `save` stores it.
fn value() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let text = "[ -~äÿ\u{20ac}\u{1f600}\n\t\r]{0,20}";
    let scalar = prop_oneof![
        number,
        prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned),
        text.prop_map(|text| json!(text).to_string()),
        prop::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned),
    ];
    let object = |inner: BoxedStrategy<String>| {
        prop::collection::btree_map(name(), inner, 0..4).prop_map(|members| {
            let members = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    };
    let below_list = scalar.clone().boxed();
    let item = prop_oneof![below_list.clone(), object(below_list)].boxed();
    let list = prop::collection::vec(item.clone(), 0..5)
        .prop_map(|values| format!("[{}]", values.join(",")));
    let any = prop_oneof![3 => item, 1 => list].boxed();
    prop_oneof![2 => any.clone(), 1 => object(any)]
}

fn name() -> impl Strategy<Value = String> {
    "x_[a-zA-Z0-9_]{0,10}"
}

fn extra() -> impl Strategy<Value = Extra> {
    prop::collection::btree_map(name(), value(), 0..5).prop_map(Extra)
}

#[test]
fn the_size_of_own_members_is_what_the_codecs_write() {
    let mut runner = TestRunner::deterministic();
    let check = |extra: Extra| {
        let written = |codec| {
            let mut members = Members::of(codec, serde_json::Map::new());
            for (name, value) in &extra.0 {
                members.add_stored(name, value);
            }
            encode(codec, &members).unwrap()
        };
        let xml = String::from_utf8(written(Codec::Xml)).unwrap();
        let inside = xml
            .strip_prefix("<xml>")
            .and_then(|xml| xml.strip_suffix("</xml>"))
            .unwrap_or("");
        prop_assert_eq!(
            extra.sizes(),
            (written(Codec::Json).len(), inside.len()),
            "{}",
            xml
        );
        prop_assert_eq!(
            String::from_utf8(written(Codec::Json)).unwrap(),
            extra.to_string()
        );
        Ok(())
    };
    runner.run(&extra(), check).unwrap();
}

/// The answer to `get`, as it was written.
async fn written(client: &Client, id: i64, format: &str) -> String {
    let answer = client
        .call("get", json!({"id": id, "format": format}))
        .await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.body
}

/// Sends JSON text whose numbers must not pass through `serde_json`.
async fn save_text(client: &Client, id: i64, members: &str) -> Value {
    let body = format!(
        r#"{{"token":"{}","id":{id},"verbose":true,{members}}}"#,
        client.token
    );
    let answer = client.raw("save", "application/json", body).await;
    answer.ok()
}

#[tokio::test]
async fn numbers_come_back_as_they_were_written() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    for (position, number) in NUMBERS.iter().enumerate() {
        let member = format!(r#""x_{position}": [ {number} , {{"n":{number}}} ]"#);
        assert_eq!(save_text(&client, id, &member).await["changed"], true);
    }
    for (position, number) in NUMBERS.iter().enumerate() {
        let json = format!(r#""x_{position}":[{number},{{"n":{number}}}]"#);
        let xml = format!(
            "<x_{position}>{number}</x_{position}><x_{position}><n>{number}</n></x_{position}>"
        );
        for call in ["get", "list"] {
            let answer = |format: &str| client.call(call, json!({"id": id, "format": format}));
            let (in_json, in_xml) = (answer("json").await.body, answer("xml").await.body);
            assert!(
                in_json.contains(&json),
                "{call}: {json} is not in {in_json}"
            );
            assert!(in_xml.contains(&xml), "{call}: {xml} is not in {in_xml}");
        }
    }
}

#[tokio::test]
async fn what_was_read_can_be_saved_and_changes_nothing() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..20 {
        let extra = extra().new_tree(&mut runner).unwrap().current();
        let text = extra.to_string();
        let Some(members) = text.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
            continue;
        };
        if members.is_empty() || extra.sizes().0.max(extra.sizes().1) > MAX_OWN_MEMBERS / 20 {
            continue;
        }
        save_text(&client, id, members).await;
        let body = written(&client, id, "json").await;
        for (name, value) in &extra.0 {
            let member = format!("\"{name}\":{value}");
            assert!(body.contains(&member), "{member} is not in {body}");
        }
        let repeated = save_text(&client, id, members).await;
        assert_eq!(repeated["changed"], false, "{members}");
        // XML has no types, so what is read in XML and saved in XML reads the same in XML.
        let xml = written(&client, id, "xml").await;
        let scalars = extra
            .0
            .iter()
            .filter(|(_, value)| !value.starts_with(['[', '{']) && !value.contains([' ', '\\']));
        for (name, _) in scalars {
            let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
            let Some((_, rest)) = xml.split_once(&begin) else {
                continue;
            };
            let (content, _) = rest.split_once(&end).unwrap();
            let element = format!("{begin}{content}{end}");
            let saved = client
                .call_xml("save", &format!("<id>{id}</id>{element}"))
                .await;
            assert_eq!(saved.status.as_u16(), 200, "{}", saved.body);
            let again = written(&client, id, "xml").await;
            assert!(again.contains(&element), "{element} is not in {again}");
        }
    }
}

#[tokio::test]
async fn own_members_take_at_most_4_kib_in_either_format() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let save = |members: Value| client.call("save", members);
    // `{"x":"..."}` has eight bytes beside the text.
    let fits = "y".repeat(MAX_OWN_MEMBERS - 8);
    save(json!({"id": id, "x": fits})).await.ok();
    let answer = save(json!({"id": id, "x": format!("{fits}y")})).await;
    answer.is_error(400, "Incorrect request: save: ");
    for part in ["4096 bytes", "4097 in JSON", "is x with"] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    // The limit is that of all members together.
    save(json!({"id": id, "z": 1}))
        .await
        .is_error(400, "Incorrect request: save: ");
    assert!(client.get(id).await["z"].is_null());
    // XML repeats the name for each element of a list.
    let long = "n".repeat(64);
    let ones = |count: usize| json!({"id": id, "x": 1, (long.clone()): vec![1; count]});
    let answer = save(ones(31)).await;
    answer.is_error(400, "Incorrect request: save: ");
    assert!(answer.body.contains("in XML"), "{}", answer.body);
    save(ones(30)).await.ok();
    // A new account has the same limit.
    let new = json!({"name": "b", "title": "b", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "x": "y".repeat(5_000)});
    save(new).await.is_error(400, "Incorrect request: save: ");
}

#[tokio::test]
async fn own_members_of_an_earlier_version_are_kept_and_may_only_shrink() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (small, large) = (client.account("a").await, client.account("b").await);
    // The earlier version allowed 64 KiB for each save, and as many saves as came.
    let statement = format!(
        "update account set profile = (profile::jsonb || jsonb_build_object('extra', json_build_object('x', repeat('y', 2000000), 'z', 1)))::json where id = {large}"
    );
    let superuser = app.database.superuser().await;
    sqlx::query(AssertSqlSafe(statement))
        .execute(&superuser)
        .await
        .unwrap();
    assert_eq!(
        client.get(large).await["x"].as_str().unwrap().len(),
        2_000_000
    );
    let page = client.call("list", json!({})).await.ok();
    assert_eq!(
        (&page["data"][0]["id"], &page["next_from_id"]),
        (&json!(small), &json!(large))
    );
    let page = client.call("list", json!({"from_id": large})).await.ok();
    assert_eq!(page["data"][0]["id"], large);
    assert!(page["data"][0]["x"].as_str().unwrap().len() == 2_000_000);
    let save = |members: Value| client.call("save", members);
    save(json!({"id": large, "company": "Acme"})).await.ok();
    save(json!({"id": large, "w": 1}))
        .await
        .is_error(400, "Incorrect request: save: ");
    save(json!({"id": large, "z": 2})).await.ok();
    save(json!({"id": large, "x": "short"})).await.ok();
    save(json!({"id": large, "w": 1})).await.ok();
    let account = client.get(large).await;
    assert_eq!(
        (&account["x"], &account["z"], &account["w"]),
        (&json!("short"), &json!(2), &json!(1))
    );
}

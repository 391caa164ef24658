//! Metadata: texts that a reseller gives an account for its own programs.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use steward::domain::{Metadata, check_metadata_key};

use crate::harness::App;
use crate::harness::process::until;
use crate::harness::v3::{V3, refused};

async fn created(v3: &V3, metadata: Value) -> (String, Value) {
    let answer = v3
        .call("POST", "/v3/accounts", &json!({"metadata": metadata}))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let account = answer.json();
    (
        format!("/v3/accounts/{}", account["id"].as_str().unwrap()),
        account,
    )
}

#[tokio::test]
async fn a_change_adds_members_and_null_or_an_empty_text_removes_them() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let (path, account) = created(&v3, json!({"crm_id": "4711", "Größe.2": "a b"})).await;
    assert_eq!(
        account["metadata"],
        json!({"crm_id": "4711", "Größe.2": "a b"})
    );
    for (change, expected) in [
        (
            json!({"metadata": {"region": "eu"}}),
            json!({"crm_id": "4711", "Größe.2": "a b", "region": "eu"}),
        ),
        (
            json!({"metadata": {"crm_id": null, "region": "us", "unknown": null}}),
            json!({"Größe.2": "a b", "region": "us"}),
        ),
        (
            json!({"metadata": {"region": ""}}),
            json!({"Größe.2": "a b"}),
        ),
        (json!({"metadata": {}}), json!({"Größe.2": "a b"})),
        (json!({"company": "Acme Ltd"}), json!({"Größe.2": "a b"})),
        (json!({"metadata": null}), json!({})),
    ] {
        let answer = v3.call("PATCH", &path, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["metadata"], expected, "{change}");
        assert_eq!(v3.get(&path).await.json()["metadata"], expected, "{change}");
    }
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_by_name() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let many = |count: usize| -> Value {
        (0..count)
            .map(|n| (format!("k{n}"), json!("v")))
            .collect::<Map<_, _>>()
            .into()
    };
    let (path, account) = created(&v3, many(50)).await;
    assert_eq!(account["metadata"].as_object().unwrap().len(), 50);
    let long_key = "k".repeat(40);
    let long_value = "ä".repeat(500);
    created(&v3, json!({ long_key.as_str(): long_value })).await;
    for (metadata, expected) in [
        (
            json!({"one_more": "v"}),
            "at most 50 members, and would have 51",
        ),
        (
            json!({"k".repeat(41): "v"}),
            "has 41 characters; a name has 1 to 40",
        ),
        (json!({"": "v"}), "has 0 characters; a name has 1 to 40"),
        (
            json!({"2fa": "v"}),
            "\"2fa\" is not accepted; a name begins",
        ),
        (json!({"a b": "v"}), "\"a b\" is not accepted"),
        (json!({"a:b": "v"}), "\"a:b\" is not accepted"),
        (
            json!({"k1": "v".repeat(501)}),
            "k1: the value has 501 characters; a value has at most 500",
        ),
        (
            json!({"k1": "a\u{0}b"}),
            "k1: the value must not contain control characters",
        ),
        (
            json!({"k1": "ad\u{200b}min"}),
            "k1: the value must not contain invisible characters, such as U+200B",
        ),
        (
            json!({"k1": "\u{202e}nimda"}),
            "k1: the value must not contain invisible characters, such as U+202E",
        ),
        (
            json!({"k\u{200d}1": "v"}),
            "must not contain invisible characters, such as U+200D",
        ),
        (
            json!({"k\u{e0041}": "v"}),
            "must not contain invisible characters, such as U+E0041",
        ),
        (json!({"k1": 5}), "metadata"),
        (json!(["k1"]), "metadata"),
        (json!("k1"), "metadata"),
    ] {
        let answer = v3
            .call("PATCH", &path, &json!({ "metadata": metadata }))
            .await;
        refused(&answer, 400, "INVALID_REQUEST", expected);
    }
    let twice = v3
        .send(
            "PATCH",
            &path,
            &[],
            r#"{"metadata":{"k1":"a","k2":"b","k1":"c"}}"#,
        )
        .await;
    refused(&twice, 400, "INVALID_REQUEST", "k1 appears more than once");
    assert_eq!(v3.get(&path).await.json()["version"], 1);
    // An account at the limit can give up one member for another.
    let swapped = v3
        .call(
            "PATCH",
            &path,
            &json!({"metadata": {"k0": null, "new": "v"}}),
        )
        .await;
    assert_eq!(swapped.status, 200, "{}", swapped.body);
}

/// Any metadata that is accepted.
fn metadata() -> impl Strategy<Value = Metadata> {
    let key = "[A-Za-z_äß名][A-Za-z0-9_.äß名-]{0,39}";
    let value = "[ -~äß名😀\n\t]{1,60}".prop_map(|text| text.trim().to_owned());
    proptest::collection::btree_map(key, value, 0..20).prop_map(|members| {
        Metadata(
            members
                .into_iter()
                .filter(|(key, value)| check_metadata_key(key).is_ok() && !value.is_empty())
                .collect(),
        )
    })
}

#[test]
fn what_is_read_can_be_written_back_in_both_formats_and_dialects() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(App::new());
    let client = runtime.block_on(app.new_reseller("Acme"));
    let v3 = V3::of(&client);
    let made = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&metadata(), |metadata| {
            runtime.block_on(async {
                let expected = json!(metadata.0);
                made.set(made.get() + 1);
                let number = client.account(&format!("a{}", made.get())).await;
                let path = format!("/v3/accounts/{number}");
                let change = json!({ "metadata": expected });
                let account = v3.call("PATCH", &path, &change).await.ok();
                prop_assert_eq!(&account["metadata"], &expected);
                let version = account["version"].clone();
                for format in ["application/json", "application/xml"] {
                    let read = v3.send("GET", &path, &[("accept", format)], "").await;
                    let body = if format == "application/xml" {
                        let part = read.body.split("<metadata").nth(1).unwrap_or_default();
                        let part = part.split("</metadata>").next().unwrap_or_default();
                        let part = part.strip_prefix('>').unwrap_or_default();
                        format!("<xml><metadata>{part}</metadata></xml>")
                    } else {
                        json!({"metadata": read.json()["metadata"]}).to_string()
                    };
                    let written = v3
                        .send("PATCH", &path, &[("content-type", format)], &body)
                        .await;
                    prop_assert_eq!(written.status, 200, "{}", written.body);
                    let after = v3.get(&path).await.json();
                    prop_assert_eq!(&after["metadata"], &expected, "{}", body);
                    prop_assert_eq!(&after["version"], &version, "{}", body);
                }
                let got = client.get(number).await;
                let shown = got.get("metadata").cloned().unwrap_or_else(|| json!({}));
                prop_assert_eq!(&shown, &expected);
                let saved = client
                    .call("save", json!({"id": number, "metadata": shown}))
                    .await;
                saved.ok();
                prop_assert_eq!(&client.get(number).await["version"], &version);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn accounts_are_listed_by_their_metadata() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let other = V3::of(&app.new_reseller("Other").await);
    created(&v3, json!({"plan": "gold", "region": "eu"})).await;
    created(&v3, json!({"plan": "gold", "region": "us"})).await;
    created(&v3, json!({"plan": "silver", "region": "eu"})).await;
    created(&other, json!({"plan": "gold", "region": "eu"})).await;
    let regions = |answer: Value| -> Vec<String> {
        let accounts = answer.as_array().unwrap();
        accounts
            .iter()
            .map(|it| format!("{}/{}", it["metadata"]["plan"], it["metadata"]["region"]))
            .map(|it| it.replace('"', ""))
            .collect()
    };
    for (query, expected) in [
        ("metadata[plan]=gold&after=", vec!["gold/eu", "gold/us"]),
        ("metadata%5Bplan%5D=gold", vec!["gold/us", "gold/eu"]),
        ("metadata[plan]=gold&metadata[region]=us", vec!["gold/us"]),
        ("metadata[plan]=Gold", vec![]),
        ("metadata[plan]=gold&status=inactive", vec![]),
        ("metadata[plan]=gold&after=&limit=1", vec!["gold/eu"]),
    ] {
        let answer = v3.get(&format!("/v3/accounts?{query}")).await;
        assert_eq!(regions(answer.ok()), expected, "{query}");
        if query.ends_with("limit=1") {
            let link = answer.header("link").to_owned();
            let next = link.trim_start_matches('<').split('>').next().unwrap();
            assert_eq!(regions(v3.get(next).await.ok()), ["gold/us"], "{link}");
        }
    }
    let operator = V3::of(&app.operator().await);
    let all = operator
        .get("/v3/accounts?metadata[plan]=gold&after=")
        .await;
    assert_eq!(regions(all.ok()), ["gold/eu", "gold/us", "gold/eu"]);
    let ten: Vec<String> = (0..10).map(|n| format!("metadata[k{n}]=v&")).collect();
    let ten = ten.concat();
    assert_eq!(
        regions(v3.get(&format!("/v3/accounts?{ten}")).await.ok()),
        [""; 0]
    );
    let many = format!("metadata[k]=v&{ten}");
    for (query, expected) in [
        ("metadata=gold", "must name one member"),
        ("metadata[plan]=", "must have the value"),
        ("metadata[a%20b]=1", "is not accepted"),
        ("metadata[plan]=a&metadata[plan]=b", "more than once"),
        (
            many.as_str(),
            "metadata[k9]: accounts can be selected by at most 10 members",
        ),
        ("asOf=2026-01-01&metadata[plan]=a", "asOf"),
    ] {
        let answer = v3.get(&format!("/v3/accounts?{query}")).await;
        refused(&answer, 400, "INVALID_REQUEST", expected);
    }
}

#[tokio::test]
async fn a_bulk_job_selects_by_metadata_and_checks_it_again() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    created(&v3, json!({"plan": "gold"})).await;
    let (changed, _) = created(&v3, json!({"plan": "gold"})).await;
    created(&v3, json!({"plan": "silver"})).await;
    let planned = v3
        .call(
            "POST",
            "/v3/bulk-jobs",
            &json!({
                "selector": {"metadata": {"plan": "gold"}},
                "operation": {"operation": "freeze"},
            }),
        )
        .await
        .json();
    assert_eq!(
        (planned["selector"].as_str(), planned["total"].as_i64()),
        (Some("metadata[plan]=gold"), Some(2))
    );
    let silver = json!({"metadata": {"plan": "silver"}});
    v3.call("PATCH", &changed, &silver).await.ok();
    let many: Map<_, _> = (0..11).map(|n| (format!("k{n}"), json!("v"))).collect();
    let refusal = v3
        .call(
            "POST",
            "/v3/bulk-jobs",
            &json!({"selector": {"metadata": many}, "operation": {"operation": "freeze"}}),
        )
        .await;
    refused(&refusal, 400, "INVALID_REQUEST", "at most 10 members");
    let job = format!("/v3/bulk-jobs/{}", planned["id"].as_str().unwrap());
    let applying = v3.call("POST", &format!("{job}/apply"), &Value::Null).await;
    assert_eq!(applying.status, 202, "{}", applying.body);
    let done = until("the job is done", async || {
        let job = v3.get(&job).await.ok();
        (job["state"] == "applied").then_some(job)
    })
    .await;
    assert_eq!(
        (done["changed"].clone(), done["skipped"].clone()),
        (json!(1), json!(1)),
        "{done}"
    );
}

#[tokio::test]
async fn the_history_the_events_and_the_past_have_the_metadata() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let (path, _) = created(&v3, json!({"plan": "gold"})).await;
    app.clock.advance(TimeDelta::hours(1));
    let before = app
        .clock
        .now()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    app.clock.advance(TimeDelta::hours(1));
    let change = json!({"metadata": {"plan": null, "seats": "5"}});
    v3.call("PATCH", &path, &change).await.ok();

    let events = v3.get("/v3/events").await.ok();
    let changes = &events.as_array().unwrap()[1]["changes"]["metadata"];
    assert_eq!(
        *changes,
        json!({"old": {"plan": "gold"}, "new": {"seats": "5"}}),
        "{events}"
    );
    let history = v3.get(&format!("{path}/history")).await.ok();
    let newest = &history.as_array().unwrap()[0];
    assert_eq!(
        (&newest["before"]["metadata"], &newest["after"]["metadata"]),
        (&json!({"plan": "gold"}), &json!({"seats": "5"}))
    );
    let past = v3.get(&format!("{path}?asOf={before}")).await.ok();
    assert_eq!(past["metadata"], json!({"plan": "gold"}));
    assert_eq!(v3.get(&path).await.ok()["metadata"], json!({"seats": "5"}));
}

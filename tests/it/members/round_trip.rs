//! Documents that are sent back as they were read change nothing, in both formats. Texts mean the
//! same in both.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{JSON, Things, XML, written};
use crate::harness::app::Answer;
use crate::harness::v3::V3;

/// The number of accounts of each kind that are generated.
const ACCOUNTS: usize = 24;

/// A text that is accepted in every field: with white space at its ends, and with what is written
/// differently in JSON and in XML.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ a-c<>&\"'\\\\/{}\\[\\]äß€😀\u{a0}\u{3000}\u{fffd}]{1,12}",
        "[ ]{1,3}",
        "[ ]{0,2}(true|null|1e3|0|\\]\\]>|<!--|&amp;|&#32;)[ ]{0,2}",
    ]
}

/// A JSON value as text, without white space between its parts, as `save` stores it.
fn own_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        prop_oneof![text(), "[ \n\r\ta]{0,5}"].prop_map(|text| json!(text).to_string()),
        prop::sample::select(&["null", "true", "false", "{}", "[]", "\"\""][..])
            .prop_map(str::to_owned),
    ];
    let object = |inner: BoxedStrategy<String>| {
        prop::collection::btree_map(own_name(), inner, 0..3).prop_map(|members| {
            let members = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    };
    let is_list = |value: &String| value.starts_with('[');
    let item = scalar
        .clone()
        .prop_filter("no list of lists", move |value| !is_list(value));
    let item = prop_oneof![item.clone(), object(item.boxed())].boxed();
    let list = prop::collection::vec(item.clone(), 0..4)
        .prop_map(|values| format!("[{}]", values.join(",")));
    let any = prop_oneof![scalar, list, item].boxed();
    prop_oneof![2 => any.clone(), 1 => object(any)]
}

fn own_name() -> impl Strategy<Value = String> {
    "own_[a-z0-9_]{0,4}"
}

struct Random(TestRunner);

impl Random {
    fn new() -> Self {
        Self(TestRunner::deterministic())
    }

    fn draw<S: Strategy>(&mut self, strategy: S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }

    /// Some of these members, each with a text, and sometimes null.
    fn texts(&mut self, names: &[&str]) -> Value {
        let mut members = json!({});
        for name in names {
            match self.draw(0..4) {
                0 => {}
                1 => members[*name] = Value::Null,
                _ => members[*name] = json!(self.draw(text())),
            }
        }
        members
    }
}

/// Sends what `GET` answers to `PATCH`. The answer and the next `GET` must be the same document.
async fn sent_back(things: &Things, caller: &V3, path: &str) {
    for format in [JSON, XML] {
        let accept = [("accept", format)];
        let before = caller.send("GET", path, &accept, "").await;
        assert_eq!(before.status, 200, "{}", before.body);
        things.app.clock.advance(TimeDelta::seconds(1));
        let headers = [("accept", format), ("content-type", format)];
        let patched = caller.send("PATCH", path, &headers, &before.body).await;
        assert_eq!(patched.status, 200, "{}\n{}", patched.body, before.body);
        assert_eq!(patched.body, before.body);
        assert_eq!(patched.header("ignored-members"), "");
        let after = caller.send("GET", path, &accept, "").await;
        assert_eq!(after.body, before.body);
    }
}

/// The journal entries of an account that are not `unchanged`.
async fn changes(things: &Things, id: i64) -> usize {
    let history = things.client.history(id).await;
    let changes = history.iter().filter(|(_, outcome)| outcome != "unchanged");
    changes.count()
}

/// An account with random texts in all fields of `v3`. It may have the plan.
async fn account(things: &Things, random: &mut Random, plan: Option<&str>) -> String {
    let mut members = random.texts(&[
        "company",
        "adminPortalDomain",
        "customerPortalDomain",
        "resellerPortalDomain",
        "website",
        "logoUrl",
        "faviconUrl",
        "googleClientId",
        "companyId",
        "accountAlias",
        "region",
        "paymentMethod",
        "psp",
    ]);
    if random.draw(any::<bool>()) {
        members["planId"] = json!(plan);
        members["totalTrialExtensions"] = json!(random.draw(0..9));
        members["email"] = json!(random.draw("[a-zäß<&'+]{1,20}@[a-z]{1,20}"));
        members["trialExpiresAt"] = json!("2026-03-04T05:06:07.123456Z");
    }
    things.made("/v3/accounts", members).await
}

/// Puts an account into a state.
async fn placed(things: &Things, random: &mut Random, path: &str) {
    const EXPIRES_AT: [&str; 2] = ["2020-01-01T00:00:00Z", "2030-06-07T08:09:10.000001Z"];
    let call = async |tail: &str, body: Value| {
        let method = if tail.starts_with(char::is_lowercase) {
            "POST"
        } else {
            "PUT"
        };
        let path = format!("{path}/{}", tail.to_lowercase());
        let answer = things.v3.call(method, &path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    };
    let hold = random.texts(&["reasonCode", "reason", "publicMessage"]);
    for tail in ["freeze", "suspend", "retain"] {
        if random.draw(any::<bool>()) {
            let mut hold = hold.clone();
            if random.draw(any::<bool>()) {
                hold["startsAt"] = json!("2027-01-01T00:00:00Z");
            }
            if random.draw(any::<bool>()) {
                hold["endsAt"] = json!("2028-01-01T00:00:00.5Z");
            }
            call(tail, hold).await;
        }
    }
    if random.draw(any::<bool>()) {
        call("Status", json!({"status": "inactive"})).await;
    }
    if random.draw(any::<bool>()) {
        let at = random.draw(prop::sample::select(&EXPIRES_AT[..]));
        call("Expires-At", json!({ "expiresAt": at })).await;
    }
    if random.draw(any::<bool>()) {
        call(
            "Exempt-Until",
            json!({"exemptUntil": "2027-06-07T08:09:10Z"}),
        )
        .await;
    }
}

async fn number(things: &Things, id: &str) -> i64 {
    let superuser = things.app.database.superuser().await;
    let select = format!("select id::bigint from account where uid = '{id}'");
    sqlx::query_scalar(AssertSqlSafe(select))
        .fetch_one(&superuser)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_account_of_v3_is_sent_back_unchanged_in_every_state() {
    let (things, mut random) = (Things::new().await, Random::new());
    let plan = random.texts(&["interval", "amount", "paddleId"]);
    let mut plan = json!({"name": " x ", "displayName": "x", "amount": plan["amount"]});
    plan["allowedUsers"] = Value::Null;
    let plan = things.made("/v3/plans", plan).await;
    for _ in 0..ACCOUNTS {
        let id = account(&things, &mut random, Some(&plan)).await;
        let path = format!("/v3/accounts/{id}");
        placed(&things, &mut random, &path).await;
        let id = number(&things, &id).await;
        let before = changes(&things, id).await;
        sent_back(&things, &things.v3, &path).await;
        sent_back(&things, &things.operator, &path).await;
        // An earlier version accepted characters in names that this one refuses.
        let superuser = things.app.database.superuser().await;
        let update = format!(
            "update account set profile = jsonb_set(profile::jsonb, '{{company}}', to_jsonb(E' \\u200B'::text))::json where id = {id}"
        );
        sqlx::query(AssertSqlSafe(update))
            .execute(&superuser)
            .await
            .unwrap();
        sent_back(&things, &things.v3, &path).await;
        assert_eq!(changes(&things, id).await, before, "{path}");
    }
}

/// An answer of `get`. The account is kept as it was written.
#[derive(Deserialize)]
struct Got<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What `get` answers, in a format, as the members of a request.
async fn got(things: &Things, id: i64, format: &str) -> String {
    let members = json!({ "id": id });
    if format == JSON {
        let answer = things.client.call("get", members).await;
        let got: Got<'_> = serde_json::from_str(&answer.body).unwrap();
        return got.data.get().to_owned();
    }
    let answer = things
        .client
        .call_xml("get", &format!("<id>{id}</id>"))
        .await
        .body;
    let data = answer.strip_prefix("<xml><data>").unwrap();
    data.rsplit_once("</data><error>0</error>")
        .unwrap()
        .0
        .to_owned()
}

async fn saved(things: &Things, format: &str, members: &str) -> Answer {
    let client = &things.client;
    if format == JSON {
        let rest = members.strip_prefix('{').unwrap();
        let body = format!("{{\"token\":\"{}\",\"verbose\":true,{rest}", client.token);
        client.raw("save", JSON, body).await
    } else {
        let members = format!("<verbose>true</verbose><format>json</format>{members}");
        client.call_xml("save", &members).await
    }
}

#[tokio::test]
async fn what_get_answers_is_saved_unchanged_in_every_state() {
    let (things, mut random) = (Things::new().await, Random::new());
    for _ in 0..2 * ACCOUNTS {
        let id = account(&things, &mut random, None).await;
        placed(&things, &mut random, &format!("/v3/accounts/{id}")).await;
        let id = number(&things, &id).await;
        let texts = random.texts(&["name", "title", "company"]);
        let mut members: Vec<String> = texts
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        for name in ["is_smart", "pushes_enabled", "is_tariff_exceed"] {
            if random.draw(any::<bool>()) {
                members.push(format!("\"{name}\":{}", random.draw(any::<bool>())));
            }
        }
        if random.draw(any::<bool>()) {
            let own = prop::collection::btree_map(own_name(), own_value(), 0..4);
            let own = random.draw(own).into_iter();
            members.extend(own.map(|(name, value)| format!("\"{name}\":{value}")));
        }
        members.push(format!("\"id\":{id}"));
        let answer = saved(&things, JSON, &format!("{{{}}}", members.join(","))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let before = (got(&things, id, JSON).await, got(&things, id, XML).await);
        let changed = changes(&things, id).await;
        for format in [JSON, XML] {
            let members = got(&things, id, format).await;
            things.app.clock.advance(TimeDelta::seconds(1));
            let answer = saved(&things, format, &members).await.ok();
            assert_eq!(answer["changed"], false, "{members}");
            let after = (got(&things, id, JSON).await, got(&things, id, XML).await);
            assert_eq!(after, before);
        }
        assert_eq!(changes(&things, id).await, changed);
    }
}

#[tokio::test]
async fn a_number_among_the_own_members_is_the_same_however_it_is_written() {
    let things = Things::new().await;
    let id = things.client.account("numbers").await;
    let save = async |own: &str| {
        let members = format!("{{\"id\":{id},\"own\":{own}}}");
        saved(&things, JSON, &members).await.ok()["changed"].clone()
    };
    for (stored, same, other) in [
        ("1.0", "1", "1.1"),
        ("100", "1E+2", "1000"),
        ("-0.0", "0", "-1"),
        ("0.1000", "1e-1", "0.01"),
        (
            "12345678901234567890",
            "12345678901234567890.0",
            "12345678901234567891",
        ),
        ("[1,{\"a\":2.0}]", "[1.0,{\"a\":2}]", "[1,2]"),
        ("\"1.0\"", "\"1.0\"", "\"1\""),
        ("1", "1.0", "\"1\""),
    ] {
        assert_eq!(save(stored).await, true, "{stored}");
        assert_eq!(save(same).await, false, "{same}");
        assert_eq!(save(other).await, true, "{other}");
    }
}

#[tokio::test]
async fn plans_webhooks_and_resellers_are_sent_back_unchanged() {
    let (things, mut random) = (Things::new().await, Random::new());
    let superuser = things.app.database.superuser().await;
    for _ in 0..ACCOUNTS / 2 {
        let mut plan = random.texts(&["interval", "paddleId", "paddlePriceId", "amount"]);
        plan["name"] = json!(random.draw(text()));
        plan["displayName"] = json!(random.draw(text()));
        if random.draw(any::<bool>()) {
            plan["allowedUsers"] = json!(7);
            plan["allowSso"] = json!(true);
        }
        let plan = things.made("/v3/plans", plan).await;
        sent_back(&things, &things.v3, &format!("/v3/plans/{plan}")).await;
        let mut webhook = random.texts(&["description"]);
        webhook["url"] = json!("https://example.com/ä?b=c&d=%20");
        webhook["events"] = json!(["account.updated", "account.frozen"]);
        webhook["enabled"] = json!(random.draw(any::<bool>()));
        let webhook = things.made("/v3/webhooks", webhook).await;
        let path = format!("/v3/webhooks/{webhook}");
        sent_back(&things, &things.v3, &path).await;
        for reason in ["failures", "gone"] {
            let update = format!(
                "update webhook_endpoint set suspended_by = '{reason}', failing_since = '2026-01-01' where id = '{webhook}'"
            );
            sqlx::query(AssertSqlSafe(update))
                .execute(&superuser)
                .await
                .unwrap();
            sent_back(&things, &things.v3, &path).await;
        }
    }
    let reseller = things.app.service.find_reseller("Acme").await.unwrap();
    let path = format!("/v3/resellers/{reseller}");
    for (number, change) in [
        json!({}),
        json!({"name": "Äcme & <Söhne>", "accountLimit": 7, "soapCodes": "number"}),
        json!({"accountLimit": null, "timezone": "Europe/Berlin", "purges": true}),
    ]
    .iter()
    .enumerate()
    {
        things.operator.call("PATCH", &path, change).await.ok();
        sent_back(&things, &things.operator, &path).await;
        things.app.suspend_reseller(reseller, number % 2 == 0).await;
        sent_back(&things, &things.operator, &path).await;
    }
}

#[tokio::test]
async fn a_text_is_accepted_or_refused_equally_in_both_formats() {
    let (things, mut random) = (Things::new().await, Random::new());
    let account = format!(
        "/v3/accounts/{}",
        things.made("/v3/accounts", json!({})).await
    );
    let plan = json!({"name": "x", "displayName": "x"});
    let plan = format!("/v3/plans/{}", things.made("/v3/plans", plan).await);
    let reseller = things.app.service.find_reseller("Acme").await.unwrap();
    let reseller = format!("/v3/resellers/{reseller}");
    let suspend = format!("{account}/suspend");
    let fields = [
        ("PATCH", account.as_str(), "company"),
        ("PATCH", account.as_str(), "website"),
        ("POST", suspend.as_str(), "reason"),
        ("POST", suspend.as_str(), "publicMessage"),
        ("PATCH", plan.as_str(), "name"),
        ("PATCH", plan.as_str(), "amount"),
        ("PATCH", reseller.as_str(), "name"),
        ("POST", "/v3/tokens", "name"),
    ];
    for _ in 0..ACCOUNTS {
        // Also with characters that XML can express and that short texts refuse.
        let refused_in_names = "[ \n\ta\u{7f}\u{85}\u{ad}\u{200b}\u{2028}\u{202e}\u{feff}]{1,4}";
        let given = random.draw(prop_oneof![text(), refused_in_names]);
        for (method, path, member) in fields {
            let mut answers = Vec::new();
            for format in [JSON, XML] {
                let headers = [("content-type", format), ("accept", JSON)];
                let body = written(format, &json!({ member: given }));
                let answer = things.operator.send(method, path, &headers, &body).await;
                let document = answer.json();
                let hold = &document["holds"][0][member];
                let stored = if hold.is_null() {
                    &document[member]
                } else {
                    hold
                };
                answers.push((answer.status, stored.clone(), document["message"].clone()));
            }
            assert_eq!(answers[0], answers[1], "{path} {member}: {given:?}");
            if answers[0].0.is_success() {
                assert_eq!(answers[0].1, json!(given), "{path} {member}");
            }
        }
    }
}

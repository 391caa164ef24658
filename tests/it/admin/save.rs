//! The members of Altcraft's `save`: the plan by its name, the flags under the names that `save` has
//! for them, and the members that Steward only keeps.

use serde_json::{Value, json};
use steward::domain::{ResellerId, Scope};

use super::client_with_an_account;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// Creates a plan. Returns its number.
async fn plan(client: &Client, name: &str) -> Value {
    let body = json!({"name": name, "displayName": name});
    let made = V3::of(client).call("POST", "/v3/plans", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["number"].clone()
}

/// An account as `get` answers it in XML.
async fn in_xml(client: &Client, id: i64) -> String {
    client.call_xml("get", &format!("<id>{id}</id>")).await.body
}

/// What an account has after a call of `save` with the members, in JSON.
async fn saved(client: &Client, id: i64, mut members: Value) -> Value {
    members["id"] = json!(id);
    client.call("save", members).await.ok();
    client.get(id).await
}

#[tokio::test]
async fn a_tariff_is_a_number_or_the_name_of_a_plan() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let (basic, digits) = (plan(&client, "Basic").await, plan(&client, "77").await);
    for (sent, expected, has_plan) in [
        (json!("Basic"), basic.clone(), true),
        (json!(99), json!(99), false),
        (json!("98"), json!(98), false),
        (basic.clone(), basic.clone(), true),
        (json!(" Basic "), basic.clone(), true),
        // Digits are a number, as in XML, which does not tell them from a name.
        (json!("77"), json!(77), false),
        (digits.clone(), digits.clone(), true),
    ] {
        let account = saved(&client, 1, json!({"tariff": sent})).await;
        assert_eq!(account["tariff_id"], expected, "{sent}");
        let seen = V3::of(&client).get("/v3/accounts/1").await.ok();
        assert_eq!(
            seen["plan"]["name"]
                .as_str()
                .is_some_and(|name| name == "Basic" || name == "77"),
            has_plan,
            "{sent}"
        );
        saved(&client, 1, json!({"tariff": 5})).await;
        let text = sent
            .as_str()
            .map_or_else(|| sent.to_string(), str::to_owned);
        let answer = client
            .call_xml("save", &format!("<id>1</id><tariff>{text}</tariff>"))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(client.get(1).await["tariff_id"], expected, "{sent} in XML");
    }
    let new = json!({"name": "n", "title": "t", "tz": "UTC", "tariff": "Basic", "reports_day": 1, "reports_hour": 9});
    let id = client.call("save", new).await.ok()["data"]["saved_id"].clone();
    assert_eq!(client.get(id.as_i64().unwrap()).await["tariff_id"], basic);
}

#[tokio::test]
async fn a_name_that_no_plan_has_is_refused_with_the_names_that_there_are() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let other = app.new_reseller("Other").await;
    plan(&other, "Theirs").await;
    let refuse = async |client: &Client, tariff: &str, expected: &str| {
        let answer = client
            .call("save", json!({"id": 1, "tariff": tariff}))
            .await;
        answer.is_error(400, expected);
        assert_eq!(client.get(1).await["tariff_id"], 1);
    };
    refuse(&client, "Theirs", "Incorrect request: tariff: no plan of the reseller has the name \"Theirs\". The reseller has no plans. A whole number is accepted").await;
    plan(&client, "Basic").await;
    plan(&client, "Twice").await;
    plan(&client, "Twice").await;
    refuse(&client, "basic", "Incorrect request: tariff: no plan of the reseller has the name \"basic\". Its plans are \"Basic\", \"Twice\", \"Twice\".").await;
    refuse(&client, "Twice", "Incorrect request: tariff: several plans have the name \"Twice\", among them 2 and 3; give the number").await;
    refuse(
        &client,
        "99999999999",
        "Incorrect request: tariff: must be between 0 and 2147483647",
    )
    .await;
    for wrong in [json!(1.5), json!(true), json!([1])] {
        let answer = client.call("save", json!({"id": 1, "tariff": wrong})).await;
        answer.is_error(
            400,
            "Incorrect request: tariff: must be a whole number or a text, not ",
        );
    }
    // Who may not read accounts and plans learns no names.
    let writer = app.token(Some(ResellerId(1)), Some(&[Scope::AccountWrite]));
    let writer = app.client(&writer.await);
    let answer = writer.call("save", json!({"id": 1, "tariff": "no"})).await;
    let text = answer.json()["error_text"].clone();
    assert_eq!(
        text,
        "Incorrect request: tariff: no plan of the reseller has the name \"no\". A whole number is accepted also if no plan has it"
    );
    // An operator's call is about the account's own reseller.
    let operator = app.operator().await;
    refuse(&operator, "Theirs", "Incorrect request: tariff: no plan").await;
    operator
        .call("save", json!({"id": 1, "tariff": "Basic"}))
        .await
        .ok();
    let missing = operator
        .call("save", json!({"id": 999, "tariff": "Basic"}))
        .await;
    missing.is_error(404, "Account not found");
    let new = json!({"name": "n", "title": "t", "tz": "UTC", "tariff": "Theirs", "reports_day": 1, "reports_hour": 9, "reseller_id": 2});
    operator.call("save", new).await.ok();
}

#[tokio::test]
async fn the_flags_of_save_come_back_under_the_names_of_the_answers() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    for (requested, answered) in [
        ("enable_push", "pushes_enabled"),
        ("enable_pixel", "pixels_enabled"),
        ("enable_smart_settings", "is_smart"),
    ] {
        let account = saved(&client, 1, json!({requested: true})).await;
        assert_eq!(account[answered], true, "{requested}");
        assert!(account.get(requested).is_none(), "{account}");
        assert_eq!(
            client.call("list", json!({})).await.ok()["data"][0][answered],
            true
        );
        // A caller that sends back what it read, with the flag of the original, means the flag.
        let account = saved(&client, 1, json!({answered: true, requested: false})).await;
        assert_eq!(account[answered], false, "{requested}");
        let body = format!("<id>1</id><{requested}>true</{requested}>");
        assert_eq!(client.call_xml("save", &body).await.status, 200);
        assert!(
            in_xml(&client, 1)
                .await
                .contains(&format!("<{answered}>true</{answered}>"))
        );
        // Absent members stay.
        assert_eq!(
            saved(&client, 1, json!({"title": "t"})).await[answered],
            true
        );
        let wrong = client
            .call("save", json!({"id": 1, requested: "yes"}))
            .await;
        wrong.is_error(
            400,
            &format!("Incorrect request: {requested}: must be true or false"),
        );
    }
}

#[tokio::test]
async fn flags_that_an_earlier_version_stored_under_the_names_of_save_are_read() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let superuser = app.database.superuser().await;
    let before = r#"{"enable_push": true, "enable_pixel": "1", "own": 7}"#;
    sqlx::query(
        "update account set profile = jsonb_set(profile::jsonb, '{extra}', $1::jsonb)::json",
    )
    .bind(before)
    .execute(&superuser)
    .await
    .unwrap();
    let account = client.get(1).await;
    assert_eq!(
        (&account["pushes_enabled"], &account["pixels_enabled"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&account["own"], account.get("enable_push")),
        (&json!(7), None)
    );
    let account = saved(&client, 1, json!({"enable_push": false, "title": "new"})).await;
    assert_eq!(
        (&account["pushes_enabled"], &account["pixels_enabled"]),
        (&json!(false), &json!(true))
    );
}

#[tokio::test]
async fn documented_members_are_answered_with_their_types_whichever_format_they_came_in() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    for (member, in_json, in_xml_body) in [
        ("web_version_policy", json!(7), "<m>7</m>"),
        ("web_version_policy", json!("mine"), "<m> mine </m>"),
        ("account_postgresql", json!(2), "<m>2</m>"),
        (
            "account_cache_clickhouse",
            json!("cache 1"),
            "<m>cache 1</m>",
        ),
        (
            "external_data_connectors",
            json!([1, 2, 3, 4]),
            "<m>1</m><m>2</m><m>3</m><m>4</m>",
        ),
        ("external_data_connectors", json!([4]), "<m>4</m>"),
        ("external_data_connectors", json!([]), "<m/>"),
        ("force_2fa_auth", json!(true), "<m>1</m>"),
        ("force_2fa_auth", json!(false), "<m> false </m>"),
        (
            "custom_push_domain",
            json!("push.example.com"),
            "<m>push.example.com</m>",
        ),
        ("enable_track_email_replies", json!(true), "<m>true</m>"),
    ] {
        let in_xml_body = in_xml_body
            .replace("m>", &format!("{member}>"))
            .replace("<m/", &format!("<{member}/"));
        let element = |value: &Value| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("<{member}>{text}</{member}>")
        };
        let written = |value: &Value| match value.as_array() {
            Some(values) if values.is_empty() => format!("<{member}/>"),
            Some(values) => values.iter().map(element).collect(),
            None => element(value),
        };
        saved(&client, 1, json!({member: null})).await;
        let by_json = saved(&client, 1, json!({member: in_json})).await;
        assert_eq!(by_json[member], in_json, "sent in JSON");
        let answer = in_xml(&client, 1).await;
        assert!(answer.contains(&written(&in_json)), "{member}: {answer}");
        // The same in XML changes nothing.
        let body = format!("<id>1</id><verbose>true</verbose>{in_xml_body}");
        let again = client.call_xml("save", &body).await;
        assert!(
            again.body.contains("<changed>false</changed>"),
            "{member}: {}",
            again.body
        );
        saved(&client, 1, json!({member: null})).await;
        let sent = client.call_xml("save", &body).await;
        assert_eq!(sent.status, 200, "{}", sent.body);
        assert_eq!(client.get(1).await[member], in_json, "sent in XML");
        assert!(
            in_xml(&client, 1).await.contains(&written(&in_json)),
            "{member}"
        );
    }
    // Digits as a JSON text stay one: Altcraft's own examples have them.
    assert_eq!(
        saved(&client, 1, json!({"web_version_policy": "0"})).await["web_version_policy"],
        "0"
    );
    // One number alone is a list.
    let account = saved(&client, 1, json!({"external_data_connectors": 5})).await;
    assert_eq!(account["external_data_connectors"], json!([5]));
    assert_eq!(
        client.call("list", json!({})).await.ok()["data"][0]["external_data_connectors"],
        json!([5])
    );
}

#[tokio::test]
async fn documented_members_of_another_type_are_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    for (member, value, expected) in [
        ("force_2fa_auth", json!("true"), "must be true or false"),
        (
            "enable_track_email_replies",
            json!(1),
            "must be true or false",
        ),
        (
            "external_data_connectors",
            json!(["1"]),
            "must be a list of whole numbers",
        ),
        (
            "external_data_connectors",
            json!("1,2"),
            "must be a list of whole numbers",
        ),
        (
            "external_data_connectors",
            json!([1.5]),
            "must be a list of whole numbers",
        ),
        ("custom_push_domain", json!(7), "must be a text"),
        (
            "account_postgresql",
            json!({"id": 7}),
            "must be a whole number or a name",
        ),
    ] {
        let answer = client.call("save", json!({"id": 1, member: value})).await;
        answer.is_error(400, &format!("Incorrect request: {member}: {expected}"));
    }
    let answer = client
        .call_xml(
            "save",
            "<id>1</id><external_data_connectors>1,2</external_data_connectors>",
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let twice = client
        .call_xml("save", "<id>1</id><title>a</title><title>b</title>")
        .await;
    assert!(
        twice.body.contains("title: appears more than once"),
        "{}",
        twice.body
    );
}

#[tokio::test]
async fn texts_that_an_earlier_version_stored_from_xml_are_answered_with_their_types() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let superuser = app.database.superuser().await;
    let before = r#"{"force_2fa_auth": "true", "external_data_connectors": ["1", "2"], "own": ["1"], "custom_push_domain": "x"}"#;
    sqlx::query(
        "update account set profile = jsonb_set(profile::jsonb, '{extra}', $1::jsonb)::json",
    )
    .bind(before)
    .execute(&superuser)
    .await
    .unwrap();
    let account = client.get(1).await;
    let expected = (json!(true), json!([1, 2]), json!(["1"]));
    assert_eq!(
        (
            account["force_2fa_auth"].clone(),
            account["external_data_connectors"].clone(),
            account["own"].clone()
        ),
        expected
    );
    let mut same = account.clone();
    same["verbose"] = json!(true);
    assert_eq!(client.call("save", same).await.ok()["changed"], false);
}

#[tokio::test]
async fn altcrafts_members_of_an_account_are_never_null() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    V3::of(&client)
        .call("POST", "/v3/accounts", &json!({}))
        .await;
    for account in [
        client.get(1).await,
        client.call("list", json!({})).await.ok()["data"][0].clone(),
    ] {
        assert_eq!(account["name"], "");
        assert_eq!(account["timezone"], "");
        assert_eq!(account["tariff_id"], 0);
        for flag in [
            "is_active",
            "is_smart",
            "is_subscribers_suspend_all",
            "is_tariff_exceed",
            "pixels_enabled",
            "pushes_enabled",
        ] {
            assert!(account[flag].is_boolean(), "{flag}");
        }
        let mut same = account.clone();
        same["verbose"] = json!(true);
        for null in [
            "title",
            "company",
            "email",
            "reports_day",
            "reports_hour",
            "expires_at",
        ] {
            same.as_object_mut().unwrap().remove(null);
        }
        assert_eq!(client.call("save", same).await.ok()["changed"], false);
    }
}

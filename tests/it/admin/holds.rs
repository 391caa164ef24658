//! Freezing, suspending and retaining accounts, and what lifts each block.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::App;

#[tokio::test]
async fn a_freeze_shows_its_payment_url_and_adds_one_journal_entry() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let details = json!({"id": id, "frozen_details": {"payment_url": "https://pay.example/?a=1&b=2"}, "public_message": "Please pay."});
    let answer = client.call("freeze", details.clone()).await;
    assert_eq!(
        answer.body,
        r#"{"error":0,"error_text":"Successful operation"}"#
    );
    let account = client.get(id).await;
    assert_eq!(account["effective_status"], "frozen");
    assert_eq!(account["blocked_by"], json!(["frozen"]));
    assert_eq!(
        account["frozen_details"],
        json!({"payment_url": "https://pay.example/?a=1&b=2"})
    );
    assert_eq!(
        account["is_active"],
        json!(true),
        "the switch reads back as it was set"
    );
    assert_eq!(account["holds"][0]["public_message"], "Please pay.");
    assert_eq!(account["version"], 2);

    client.call("freeze", details).await.ok();
    assert_eq!(client.get(id).await, account, "a repeat changes nothing");
    let listed = client.call("list", json!({})).await.ok()["data"][0].clone();
    assert_eq!(
        (
            listed["is_frozen"].clone(),
            listed["frozen_details"].clone()
        ),
        (json!(true), account["frozen_details"].clone())
    );
    let expected = [
        ("save", "create", "applied"),
        ("freeze", "freeze", "applied"),
        ("freeze", "freeze", "unchanged"),
    ];
    assert_eq!(
        client.history(id).await,
        expected.map(|(_, action, outcome)| (action.to_owned(), outcome.to_owned()))
    );
}

#[tokio::test]
async fn verbose_answers_tell_what_changed_and_what_still_blocks() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "secret", "public_message": "Contact us."}),
        )
        .await
        .ok();
    client.call("suspend", json!({"id": id})).await.ok();
    let answer = client
        .call("unsuspend", json!({"id": id, "verbose": true}))
        .await;
    assert_eq!(
        answer.body,
        r#"{"blocked_by":["suspended:operator"],"changed":true,"effective_status":"suspended:operator","error":0,"error_text":"Successful operation","held_by":["suspend:operator"]}"#
    );
    let again = client
        .call("unsuspend", json!({"id": id, "verbose": true}))
        .await
        .ok();
    assert_eq!(
        (again["changed"].clone(), again["effective_status"].clone()),
        (json!(false), json!("suspended:operator"))
    );
}

#[tokio::test]
async fn the_operators_internal_reason_is_not_shown_to_the_reseller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "under investigation", "public_message": "Contact us."}),
        )
        .await
        .ok();
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "investigation closed"}),
        )
        .await
        .ok();
    for call in ["get", "history", "explain", "list"] {
        let seen = client.call(call, json!({"id": id})).await;
        assert!(
            !seen.body.contains("investigation"),
            "{call}: {}",
            seen.body
        );
        assert!(
            call == "list" || seen.body.contains("Contact us."),
            "{call}: {}",
            seen.body
        );
        assert!(
            call == "list"
                || operator
                    .call(call, json!({"id": id}))
                    .await
                    .body
                    .contains("investigation")
        );
    }
}

#[tokio::test]
async fn explain_names_the_call_that_lifts_each_block() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    for (call, mut members) in [
        (
            "freeze",
            json!({"frozen_details": {"payment_url": "https://pay.example"}}),
        ),
        ("suspend", json!({"reason_code": "abuse"})),
        ("deactivate", json!({})),
        ("expiry_date", json!({"expiry_date": "2020-01-01"})),
    ] {
        members["id"] = json!(id);
        client.call(call, members).await.ok();
    }
    operator.call("suspend", json!({"id": id})).await.ok();
    let explained = client.call("explain", json!({"id": id})).await.ok()["data"].clone();
    assert_eq!(explained["effective_status"], "suspended:operator");
    assert_eq!(
        explained["blocked_by"],
        json!([
            "suspended:operator",
            "suspended:reseller",
            "inactive",
            "frozen",
            "expired"
        ])
    );
    let theirs = operator.call("explain", json!({"id": id})).await.ok()["data"].clone();
    let blocks = explained["blocks"].as_array().unwrap().iter();
    for (block, theirs) in blocks.zip(theirs["blocks"].as_array().unwrap()) {
        // The call is named to those who can make it.
        let is_operators = block["lifted_by"][0] == "operator";
        assert_eq!(block["call"].is_null(), is_operators, "{block}");
        let block = if is_operators { theirs } else { block };
        let (path, body) = (
            block["call"]["path"].as_str().unwrap(),
            block["call"]["body"].as_str().unwrap(),
        );
        assert!(
            block["call"]["curl"]
                .as_str()
                .unwrap()
                .contains(&format!("'https://steward.example{path}'"))
        );
        let who = if block["lifted_by"][0] == "operator" {
            &operator
        } else {
            &client
        };
        let call = path.rsplit('/').next().unwrap();
        who.call(call, serde_json::from_str(body).unwrap())
            .await
            .ok();
    }
    assert_eq!(client.get(id).await["effective_status"], "active");
    let explained = client.call("explain", json!({"id": id})).await.ok()["data"].clone();
    assert_eq!(
        explained,
        json!({"blocked_by": [], "blocks": [], "effective_status": "active", "milder": [], "remedy": null, "restriction": "none"})
    );
}

#[tokio::test]
async fn paying_is_the_remedy_only_if_every_other_block_is_gone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2020-01-01"}),
        )
        .await
        .ok();
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["remedy"],
        "pay"
    );
    client.call("suspend", json!({"id": id})).await.ok();
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["remedy"],
        Value::Null
    );
}

#[tokio::test]
async fn freezing_again_records_the_replaced_details_in_the_journal() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id, "reason": "first", "frozen_details": {"payment_url": "https://a.example"}})).await.ok();
    let since = client.get(id).await["holds"][0]["since"].clone();
    app.clock.advance(TimeDelta::days(1));
    client
        .call("freeze", json!({"id": id, "reason": "second"}))
        .await
        .ok();
    client
        .call(
            "freeze",
            json!({"id": id, "frozen_details": {"payment_url": null}}),
        )
        .await
        .ok();
    let hold = client.get(id).await["holds"][0].clone();
    assert_eq!(
        (
            hold["reason"].clone(),
            hold["payment_url"].clone(),
            hold["since"].clone()
        ),
        (json!("second"), Value::Null, since)
    );
    let superuser = app.database.superuser().await;
    let kept: Vec<(i32, Option<String>, Option<String>)> =
        sqlx::query_as("select (b.hold ->> 'revision')::integer, b.hold ->> 'reason', b.hold ->> 'payment_url' from journal j, jsonb_each(j.before) as b(name, hold)
             where b.hold ->> 'id' is not null and j.after -> b.name <> 'null' order by 1")
            .fetch_all(&superuser)
            .await
            .unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        kept,
        [
            (1, text("first"), text("https://a.example")),
            (2, text("second"), text("https://a.example"))
        ]
    );
    client
        .call("unfreeze", json!({"id": id, "hold_id": hold["hold_id"]}))
        .await
        .ok();
    client.call("freeze", json!({"id": id})).await.ok();
    client
        .call("unfreeze", json!({"id": id, "hold_id": hold["hold_id"]}))
        .await
        .is_error(409, "Conflict: stale_hold");
    assert_eq!(app.database.number("select count(*) from held").await, 1);
    assert_eq!(app.database.number("select count(*) from journal where action = 'unfreeze' and outcome = 'applied' and actor like 'reseller 1, token %'").await, 1);
    assert_eq!(
        client.history(id).await.last().unwrap(),
        &("unfreeze".to_owned(), "refused".to_owned())
    );
}

#[tokio::test]
async fn retention_and_the_operators_suspension_forbid_deletion() {
    use steward::domain::{AccountId, Command, Dialect, HoldKind, HoldPatch};
    use steward::service::{Context, Principal};
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    let context = Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: "test".to_owned(),
    };
    let account = AccountId::new(id).unwrap();
    app.service
        .place(
            &context,
            account,
            HoldKind::Retention,
            HoldPatch::default(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(
        client.get(id).await["effective_status"],
        "active",
        "retention blocks no use"
    );
    client
        .call("delete", json!({"id": id}))
        .await
        .is_error(409, "Conflict: retention_hold");
    app.service
        .execute(
            &context,
            account,
            Command::Lift {
                owner: None,
                kind: HoldKind::Retention,
                only: None,
            },
            None,
        )
        .await
        .unwrap();
    operator.call("suspend", json!({"id": id})).await.ok();
    client
        .call("delete", json!({"id": id}))
        .await
        .is_error(409, "Conflict: suspended_by_operator");
    let last = client
        .call("history", json!({"id": id, "limit": 1}))
        .await
        .ok()["data"][0]
        .clone();
    assert_eq!(
        (last["outcome"].as_str(), last["sequence"].clone()),
        (Some("refused"), Value::Null)
    );
    assert!(
        last["refusal"]
            .as_str()
            .unwrap()
            .starts_with("suspended_by_operator")
    );
    operator.call("unsuspend", json!({"id": id})).await.ok();
    client.call("delete", json!({"id": id})).await.ok();
}

#[tokio::test]
async fn a_new_hold_closes_the_lapsed_one_that_it_replaces() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "suspend",
            json!({"id": id, "ends_at": "2026-03-02T00:00:00Z"}),
        )
        .await
        .ok();
    app.clock.advance(TimeDelta::days(3));
    assert_eq!(
        client.get(id).await["holds"],
        json!([]),
        "what has ended is not shown as open"
    );
    client.call("suspend", json!({"id": id})).await.ok();
    assert_eq!(
        client.get(id).await["effective_status"],
        "suspended:reseller"
    );
    let lapsed = "select count(*) from journal where before -> 'suspend:reseller' ->> 'ends_at' = '2026-03-02T00:00:00Z' and after -> 'suspend:reseller' = 'null' and authority = 'system'";
    assert_eq!(app.database.number(lapsed).await, 1);
}

/// Every call that lifts a hold takes the id of the hold that it is for, and so does its simulation.
#[tokio::test]
async fn every_lift_checks_the_id_of_its_hold() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    for (place, lift) in [
        ("freeze", "unfreeze"),
        ("suspend", "unsuspend"),
        ("retain", "release"),
    ] {
        let hold = async || client.get(id).await["holds"][0]["hold_id"].clone();
        let simulate = async |hold: &Value| {
            let calls = json!([{"call": lift, "hold_id": hold}]);
            let members = json!({"id": id, "operations": calls});
            client.call("simulate", members).await.ok()["data"][0]["error"].clone()
        };
        client.call(place, json!({"id": id})).await.ok();
        let first = hold().await;
        client
            .call(lift, json!({"id": id, "hold_id": first}))
            .await
            .ok();
        client.call(place, json!({"id": id})).await.ok();
        let bad = client.call(lift, json!({"id": id, "hold_id": "x"})).await;
        bad.is_error(
            400,
            "Incorrect request: hold_id: must be the UUID of a hold",
        );
        assert!(bad.body.contains(r#"\"x\" is none"#), "{}", bad.body);
        let stale = client.call(lift, json!({"id": id, "hold_id": first})).await;
        stale.is_error(409, "Conflict: stale_hold");
        assert_eq!(simulate(&json!("x")).await, 400, "{lift}");
        assert_eq!(simulate(&first).await, 409, "{lift}");
        let second = hold().await;
        assert_eq!(simulate(&second).await, 0, "{lift}");
        client
            .call(lift, json!({"id": id, "hold_id": second}))
            .await
            .ok();
        assert_eq!(client.get(id).await["holds"], json!([]));
    }
}

//! Holds of several owners, levels, and holds that begin and lapse by time, through the APIs.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::{Owner, ResellerId};
use steward::service::TokenRequest;

use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// A reseller's client whose token is bound to an owner.
pub(super) async fn bound(app: &App, owner: &str) -> Client {
    let request = TokenRequest {
        reseller: Some(ResellerId(1)),
        bound_to: Some(Owner::parse("owner", owner).unwrap()),
        ..TokenRequest::default()
    };
    let issued = app.issue(request).await;
    app.client(secrecy::ExposeSecret::expose_secret(&issued.token))
}

/// The events of the reseller, as their finer names and the instants that they are about.
pub(super) async fn events(v3: &V3) -> Vec<(String, String, Value)> {
    let page = v3.get("/v3/events?limit=100").await.ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = page.as_array().unwrap().iter();
    rows.map(|event| {
        let names = event["events"].as_array().unwrap().iter();
        let finer: Vec<_> = names
            .map(text)
            .filter(|name| name != "account.updated")
            .collect();
        (
            finer.join(" "),
            text(&event["effectiveAt"]),
            event["reason"].clone(),
        )
    })
    .collect()
}

#[tokio::test]
async fn owners_suspend_side_by_side_and_each_lifts_its_own() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (billing, abuse) = (
        bound(&app, "billing").await,
        bound(&app, "abuse-desk").await,
    );
    for (desk, reason) in [(&billing, "unpaid"), (&abuse, "spam")] {
        let members = json!({"id": id, "reason_code": reason, "verbose": true});
        let answer = desk.call("suspend", members).await.ok();
        assert_eq!(answer["changed"], true);
    }
    let holds = client.get(id).await["holds"].clone();
    let shown: Vec<_> = holds
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["owner"], &it["reason_code"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("abuse-desk"), &json!("spam")),
            (&json!("billing"), &json!("unpaid")),
        ]
    );
    // Whatever it names, the billing robot lifts what is billing's.
    let members = json!({"id": id, "owner": "abuse-desk", "verbose": true});
    let lifted = billing.call("unsuspend", members).await.ok();
    assert_eq!(lifted["blocked_by"], json!(["suspended:reseller"]));
    let explained = billing.call("explain", json!({"id": id})).await.ok();
    let block = &explained["data"]["blocks"][0];
    assert_eq!(
        (&block["owner"], &block["call"]),
        (&json!("abuse-desk"), &Value::Null),
        "{block}"
    );
    assert!(
        block["needs"]
            .as_str()
            .unwrap()
            .contains("abuse-desk of the reseller"),
        "{block}"
    );
    // An unbound token lifts what it names, and explain writes down the call.
    let explained = client.call("explain", json!({"id": id})).await.ok();
    let body = explained["data"]["blocks"][0]["call"]["body"]
        .as_str()
        .unwrap()
        .to_owned();
    let call: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(call["owner"], "abuse-desk");
    client
        .call("unsuspend", json!({"id": id, "owner": "billing"}))
        .await
        .ok();
    assert_eq!(
        client.get(id).await["effective_status"],
        "suspended:reseller"
    );
    client.call("unsuspend", call).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
}

#[tokio::test]
async fn a_lift_in_bulk_says_who_still_holds_the_account() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let abuse = bound(&app, "abuse-desk").await;
    abuse.call("suspend", json!({"id": id})).await.ok();
    let v3 = V3::of(&client);
    let lift = json!([{"operation": "suspend"}, {"operation": "unsuspend"}]);
    let simulated = v3
        .call(
            "POST",
            &format!("/v3/accounts/{id}/simulate"),
            &json!({"operations": lift}),
        )
        .await
        .ok();
    let mut operations = lift;
    for operation in operations.as_array_mut().unwrap() {
        operation["account"] = json!(id);
    }
    let done = v3
        .call("POST", "/v3/bulk", &json!({"operations": operations}))
        .await
        .ok();
    for results in [&simulated["results"], &done["results"]] {
        let held_by: Vec<_> = results
            .as_array()
            .unwrap()
            .iter()
            .map(|result| &result["heldBy"])
            .collect();
        assert_eq!(
            held_by,
            [
                &json!(["suspend:reseller", "suspend:reseller:abuse-desk"]),
                &json!(["suspend:reseller:abuse-desk"])
            ],
            "{results:#}"
        );
        assert_eq!(results[1]["blockedBy"], json!(["suspended:reseller"]));
    }
}

#[tokio::test]
async fn the_id_of_anothers_hold_is_refused_in_every_dialect_and_changes_nothing() {
    let app = App::new().await;
    let (client, operator) = (app.new_reseller("Acme").await, app.operator().await);
    let id = client.account("a").await;
    let billing = bound(&app, "billing").await;
    client
        .call("freeze", json!({"id": id, "owner": "abuse-desk"}))
        .await
        .ok();
    operator.call("freeze", json!({"id": id})).await.ok();
    let account = client.get(id).await;
    for hold in account["holds"].as_array().unwrap() {
        let hold = &hold["hold_id"];
        let answer = billing
            .call("unfreeze", json!({"id": id, "hold_id": hold}))
            .await;
        answer.is_error(403, "No access rights: the hold belongs to ");
        let answer = V3::of(&billing)
            .call(
                "POST",
                &format!("/v3/accounts/{id}/unfreeze"),
                &json!({"holdId": hold}),
            )
            .await;
        refused(&answer, 403, "NOT_YOUR_HOLD", "the hold belongs to ");
    }
    assert_eq!(client.get(id).await["holds"], account["holds"]);
    // One that is not open is stale, also if nothing is open instead.
    let stale = json!({"id": id, "hold_id": "00000000-0000-4000-8000-000000000001"});
    billing
        .call("unfreeze", stale)
        .await
        .is_error(409, "Conflict");
}

#[tokio::test]
async fn a_warning_becomes_a_limit_and_then_a_block_as_one_hold() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let access = async || v3.get(&format!("/v3/accounts/{id}/access")).await.ok();
    let mut seen = Vec::new();
    for level in ["warn", "limit", "block"] {
        let body =
            json!({"level": level, "paymentUrl": "https://pay.example/7", "publicMessage": level});
        let frozen = v3
            .call("POST", &format!("/v3/accounts/{id}/freeze"), &body)
            .await
            .ok();
        let access = access().await;
        assert_eq!(access["level"], level);
        assert_eq!(access["publicMessage"], level);
        assert_eq!(access["paymentUrl"], "https://pay.example/7");
        let word = json!(["frozen"]);
        for (name, of) in [
            ("warnedBy", "warn"),
            ("limitedBy", "limit"),
            ("blockedBy", "block"),
        ] {
            let expected = if level == of { &word } else { &json!([]) };
            assert_eq!(&frozen[name], expected, "{name} of {frozen}");
        }
        seen.push((access["allowed"].clone(), frozen["holds"][0]["id"].clone()));
    }
    let allowed: Vec<_> = seen.iter().map(|it| &it.0).collect();
    assert_eq!(allowed, [&json!(true), &json!(true), &json!(false)]);
    assert!(
        seen.iter().all(|it| it.1 == seen[0].1),
        "one hold: {seen:?}"
    );
    let number = app
        .database
        .number("select (holds -> 0 ->> 'revision')::bigint from account")
        .await;
    assert_eq!(number, 3);
    let names: Vec<_> = events(&v3).await.into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["account.created", "", "", "account.frozen"]);
    // A call that names no level wants a block, and one of another word is told the words.
    let bad = v3
        .call(
            "POST",
            &format!("/v3/accounts/{id}/suspend"),
            &json!({"level": "soft"}),
        )
        .await;
    refused(
        &bad,
        400,
        "INVALID_REQUEST",
        "level: must be block, limit or warn, not \"soft\"",
    );
    let retained = v3
        .call(
            "POST",
            &format!("/v3/accounts/{id}/retain"),
            &json!({"level": "warn"}),
        )
        .await;
    refused(
        &retained,
        400,
        "INVALID_REQUEST",
        "level: must be block: a retention hold has no other level",
    );
}

/// What `events` says of a hold from day 5 to day 12, whenever the jobs run.
fn story(placed: &str) -> Vec<(String, String, Value)> {
    let event = |name: &str, at: &str, reason: Value| (name.to_owned(), at.to_owned(), reason);
    vec![
        event("account.created", placed, Value::Null),
        event("account.hold_scheduled", placed, json!("maintenance")),
        event(
            "account.suspended",
            "2026-03-06T00:00:00Z",
            json!("maintenance"),
        ),
        event(
            "account.unsuspended",
            "2026-03-12T23:59:59Z",
            json!("lapsed"),
        ),
    ]
}

pub(super) async fn scheduled() -> (App, Client, V3, i64) {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let members = json!({"id": id, "starts_at": "2026-03-06", "ends_at": "2026-03-12",
        "reason_code": "maintenance"});
    client.call("suspend", members).await.ok();
    let v3 = V3::of(&client);
    (app, client, v3, id)
}

#[tokio::test]
async fn a_hold_that_is_scheduled_is_announced_when_it_begins_and_when_it_lapses() {
    let (app, client, v3, id) = scheduled().await;
    let placed = "2026-03-01T12:00:00Z";
    let states = [
        (0, "active", 2),
        (5, "suspended:reseller", 3),
        (12, "active", 4),
    ];
    let mut days = 0;
    for (day, state, known) in states {
        app.clock.advance(TimeDelta::days(day - days));
        days = day;
        assert_eq!(
            client.get(id).await["effective_status"],
            state,
            "before the job"
        );
        app.service.announce_due().await.unwrap();
        assert_eq!(app.service.announce_due().await.unwrap(), 0, "each once");
        assert_eq!(
            client.get(id).await["effective_status"],
            state,
            "after the job"
        );
        let told: Vec<_> = story(placed).into_iter().take(known).collect();
        assert_eq!(events(&v3).await, told);
    }
    let sequence =
        "select count(*) from journal where outcome = 'applied' and sequence is not null";
    assert_eq!(app.database.number(sequence).await, 4);
    assert_eq!(client.get(id).await["version"], 4);
}

#[tokio::test]
async fn without_jobs_the_state_is_right_and_the_events_come_late_in_their_order() {
    let (app, client, v3, id) = scheduled().await;
    app.clock.advance(TimeDelta::days(13));
    assert_eq!(client.get(id).await["effective_status"], "active");
    assert_eq!(events(&v3).await.len(), 2);
    // A command finds the past announced, and comes after it.
    client.call("freeze", json!({"id": id})).await.ok();
    let mut told = story("2026-03-01T12:00:00Z");
    told.push((
        "account.frozen".to_owned(),
        "2026-03-14T12:00:00Z".to_owned(),
        Value::Null,
    ));
    assert_eq!(events(&v3).await, told);
    app.service.announce_due().await.unwrap();
    assert_eq!(events(&v3).await, told, "each once");
}

#[tokio::test]
async fn a_suspension_by_soap_makes_a_passing_one_last() {
    let (app, client, _, id) = scheduled().await;
    app.clock.advance(TimeDelta::days(6));
    let soap = Soap::of(&client);
    let children = format!("<accountID>{id}</accountID>");
    soap.call("SuspendAccountUsingAccountID", &children).await;
    app.clock.advance(TimeDelta::days(300));
    app.service.announce_due().await.unwrap();
    let account = client.get(id).await;
    assert_eq!(account["effective_status"], "suspended:reseller");
    assert_eq!(account["holds"][0]["ends_at"], Value::Null);
}

/// A bound credential makes no credential, and ends none, that does more than it; and acts on no
/// bulk job of another owner.
#[tokio::test]
async fn a_bound_token_gets_no_further_through_tokens_and_bulk_jobs() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (billing, unbound) = (V3::of(&bound(&app, "billing").await), V3::of(&client));
    let made = billing.call("POST", "/v3/tokens", &json!({})).await.json();
    assert_eq!(made["owner"], "billing");
    let refused_owner = billing
        .call("POST", "/v3/tokens", &json!({"owner": "abuse-desk"}))
        .await;
    refused(
        &refused_owner,
        400,
        "INVALID_REQUEST",
        "owner: must be billing, to which the token that creates this one is bound",
    );
    assert_eq!(billing.get("/v3/me").await.ok()["owner"], "billing");
    let rotated = billing
        .call(
            "POST",
            &format!("/v3/tokens/{}/rotate", made["id"]),
            &json!({"graceSeconds": 0}),
        )
        .await
        .json();
    assert_eq!(rotated["owner"], "billing");
    let tokens = unbound.get("/v3/tokens").await.ok();
    let free = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["owner"].is_null())
        .unwrap();
    let answer = billing
        .call(
            "DELETE",
            &format!("/v3/tokens/{}", free["id"]),
            &Value::Null,
        )
        .await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    // A bulk job freezes for the owner of its maker, and others do not revert it.
    let id = client.account("a").await;
    let job = json!({"selector": {"all": true}, "operation": {"operation": "freeze"}});
    let planned = unbound.call("POST", "/v3/bulk-jobs", &job).await.json();
    let apply = format!("/v3/bulk-jobs/{}/apply", planned["id"].as_str().unwrap());
    let answer = billing.call("POST", &apply, &json!({})).await;
    refused(&answer, 403, "NOT_YOUR_HOLD", "the hold belongs to ");
    assert_eq!(client.get(id).await["effective_status"], "active");
}

/// Anybody with an unbound token may name any owner. What an account holds stays bounded.
#[tokio::test]
async fn an_account_has_at_most_ten_holds_of_one_kind_and_authority() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let freeze = async |owner: u32| {
        let members = json!({"id": id, "owner": format!("desk-{owner}")});
        client.call("freeze", members).await
    };
    for owner in 0..10 {
        freeze(owner).await.ok();
    }
    freeze(10).await.is_error(409, "Conflict: too_many_holds: ");
    freeze(9).await.ok();
    client.call("suspend", json!({"id": id})).await.ok();
    let members = json!({"id": id, "owner": "desk-0"});
    client.call("unfreeze", members).await.ok();
    freeze(10).await.ok();
}

//! Events and the history name members as the account document does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use steward::domain::{AccountId, Authority, Command, Dialect, ResellerId, Scopes, Status};
use steward::service::{Context, Principal};

use crate::harness::App;
use crate::harness::v3::V3;
use crate::lifecycle::pass_days;

/// Facts that the account document of `v3` does not show: those that only `admin` shows, what
/// identifies a purged account, and what an announcement states.
const NOT_SHOWN: [&str; 19] = [
    "daysToExpiry",
    "daysToPurge",
    "deletedAt",
    "extra",
    "isSmart",
    "isSubscribersSuspendAll",
    "isTariffExceed",
    "name",
    "number",
    "pixelsEnabled",
    "planId",
    "purgeAt",
    "purgedAt",
    "pushesEnabled",
    "reportsDay",
    "reportsHour",
    "tariffId",
    "timezone",
    "title",
];

fn names(value: &Value) -> impl Iterator<Item = String> + '_ {
    value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys().cloned())
}

#[tokio::test]
async fn every_member_of_changes_is_a_member_of_the_account_document() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let plan = v3
        .call("POST", "/v3/plans", &json!({"name": "p", "number": 3}))
        .await;
    let all = json!({
        "email": "jo@example.com", "company": "c", "website": "https://a.example",
        "adminPortalDomain": "a.example", "region": "eu", "psp": "p", "paymentMethod": "card",
        "companyId": "7", "accountAlias": "a", "planId": plan.json()["id"],
        "trialExpiresAt": "2026-09-09T00:00:00Z", "totalTrialExtensions": 2,
    });
    let uid = v3.call("POST", "/v3/accounts", &all).await.json()["id"].clone();
    let path = format!("/v3/accounts/{}", uid.as_str().unwrap());
    let other = client.account("other").await;
    let save = json!({"id": other, "name": "n", "title": "t", "tz": "Europe/Berlin", "tariff": 2, "reports_day": 2, "reports_hour": 3, "email": "n@example.com", "is_smart": true, "own": 1});
    client.call("save", save).await.ok();
    for (by, call, body) in [
        (
            &v3,
            "freeze",
            json!({"paymentUrl": "https://pay.example/1", "reasonCode": "r", "reason": "r", "publicMessage": "m", "startsAt": "2026-03-02T00:00:00Z", "endsAt": "2026-05-01T00:00:00Z"}),
        ),
        (
            &v3,
            "freeze",
            json!({"paymentUrl": "https://pay.example/2"}),
        ),
        (&operator, "suspend", json!({"reasonCode": "abuse"})),
        (&operator, "unsuspend", json!({})),
        (&v3, "retain", json!({"reason": "legal"})),
        (&v3, "release", json!({})),
        (&v3, "unfreeze", json!({})),
    ] {
        by.call("POST", &format!("{path}/{call}"), &body).await.ok();
    }
    for (call, body) in [
        ("status", json!({"status": "inactive"})),
        (
            "exempt-until",
            json!({"exemptUntil": "2026-03-05T00:00:00Z"}),
        ),
        ("expires-at", json!({"expiresAt": "2026-03-20T00:00:00Z"})),
    ] {
        v3.call("PUT", &format!("{path}/{call}"), &body).await.ok();
    }
    let document = v3.get(&path).await.ok();
    v3.call(
        "POST",
        &format!("{path}/freeze"),
        &json!({"reason": "again"}),
    )
    .await
    .ok();
    let hold = v3.get(&path).await.ok()["holds"][0].clone();
    operator
        .call("PATCH", "/v3/resellers/1", &json!({"purges": true}))
        .await
        .ok();
    client.call("delete", json!({"id": other})).await.ok();
    client.call("restore", json!({"id": other})).await.ok();
    pass_days(&app, 80).await;

    let mut known: BTreeSet<String> = names(&document).collect();
    known.extend(NOT_SHOWN.map(str::to_owned));
    let hold: BTreeSet<String> = names(&hold).collect();
    let events = v3.get("/v3/events?limit=100").await.ok();
    let history = operator
        .get(&format!("/v3/accounts/{other}/history"))
        .await
        .ok();
    let mut seen = BTreeSet::new();
    let changes = events.as_array().unwrap().iter().flat_map(|event| {
        assert!(event["actor"]["name"].is_string(), "{event}");
        let changes = event["changes"].as_object().unwrap();
        changes.iter().flat_map(|(name, sides)| {
            [&sides["old"], &sides["new"]].map(|side| (name.clone(), side.clone()))
        })
    });
    let entries = history.as_array().unwrap().iter().flat_map(|entry| {
        [&entry["before"], &entry["after"]]
            .into_iter()
            .flat_map(|side| side.as_object().unwrap().clone())
    });
    for (name, value) in changes.chain(entries) {
        assert!(known.contains(&name), "{name} is no member of the account");
        if name == "holds" {
            for changed in value.as_array().unwrap() {
                for name in names(changed) {
                    assert!(hold.contains(&name), "{name} is no member of a hold");
                }
            }
        }
        seen.insert(name);
    }
    for name in [
        "createdAt",
        "holds",
        "status",
        "expiresAt",
        "email",
        "id",
        "purgedAt",
        "deletedAt",
        "daysToExpiry",
    ] {
        assert!(seen.contains(name), "{name} was not changed: {seen:?}");
    }
}

#[tokio::test]
async fn an_actor_is_an_object_with_its_token() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let named = v3
        .call("POST", "/v3/tokens", &json!({"name": "billing"}))
        .await
        .json();
    let billing = V3::with_token(&v3.router, named["token"].as_str().unwrap());
    let id = client.account("a").await;
    let freeze = |by: V3| async move {
        by.call("POST", &format!("/v3/accounts/{id}/freeze"), &json!({}))
            .await
            .ok();
        by.call("POST", &format!("/v3/accounts/{id}/unfreeze"), &json!({}))
            .await
            .ok();
    };
    freeze(billing).await;
    let operator = V3::of(&app.operator().await);
    freeze(V3::with_token(&operator.router, &operator.token)).await;
    let history = v3.get(&format!("/v3/accounts/{id}/history")).await.ok();
    let number = named["id"].as_i64().unwrap();
    assert_eq!(
        history[2]["actor"],
        json!({"kind": "token", "authority": "reseller", "name": format!("reseller 1, token {number}"), "tokenId": number, "tokenName": "billing", "subject": null})
    );
    assert_eq!(
        (
            &history[0]["actor"]["authority"],
            &history[0]["actor"]["tokenName"]
        ),
        (&json!("operator"), &Value::Null)
    );
    let events = v3.get("/v3/events?limit=100").await.ok();
    assert_eq!(events[1]["actor"], history[3]["actor"]);
}

#[tokio::test]
async fn a_subject_is_nothing_else_whatever_its_name_is() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let subjects = [
        "jo",
        "jo, bulk job 0b5f7a52-3c1e-4e8f-9a6b-7d2c4e1f8a01",
        "CN=\"Jo\", O=Acme",
        "\"jo\"",
    ];
    for subject in subjects {
        let mut principal =
            Principal::new(Some(ResellerId(1)), Scopes::all_for(Authority::Reseller));
        principal.subject = Some(subject.to_owned());
        let context = Context {
            principal,
            dialect: Dialect::V3,
            request_id: "test".to_owned(),
        };
        let command = Command::SetStatus(Status::Active);
        let done = app
            .service
            .execute(&context, AccountId::new(id).unwrap(), command, None)
            .await;
        done.unwrap();
        let history = v3.get(&format!("/v3/accounts/{id}/history")).await.ok();
        let actor = &history[0]["actor"];
        assert_eq!(
            json!([actor["kind"], actor["subject"], actor["tokenId"]]),
            json!(["subject", subject, null])
        );
    }
}

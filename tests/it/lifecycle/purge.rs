//! The purge: its plan, retention, and the limit that an operator approves.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::service::ResellerPatch;

use super::pass_days;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};
use crate::v3::cryptlex::{ACCOUNT, typed};

async fn purging(app: &App, name: &str) -> Client {
    let reseller = app
        .reseller_with(
            name,
            ResellerPatch {
                purges: Some(true),
                purge_limit: Some(2),
                ..ResellerPatch::default()
            },
        )
        .await;
    app.client(&app.token(Some(reseller), None).await)
}

async fn planned(v3: &V3) -> Vec<i64> {
    v3.get("/v3/purge-plan")
        .await
        .ok()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["accountId"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn retention_extension_and_restoration_take_an_account_out_of_the_purge_plan() {
    let app = App::new().await;
    let client = purging(&app, "Acme").await;
    let v3 = V3::of(&client);
    let (idle, kept, deleted, live) = (
        client.account("idle").await,
        client.account("kept").await,
        client.account("deleted").await,
        client.account("live").await,
    );
    for id in [idle, kept] {
        client
            .call(
                "expiry_date",
                json!({"id": id, "expiry_date": "2026-03-02T00:00:00Z"}),
            )
            .await
            .ok();
    }
    client.call("delete", json!({"id": deleted})).await.ok();
    pass_days(&app, 15).await;
    assert!(planned(&v3).await.is_empty());
    pass_days(&app, 3).await;
    assert_eq!(planned(&v3).await, [idle, kept, deleted]);
    let one = v3.get("/v3/purge-plan?limit=1").await;
    assert!(one.header("link").contains("after="), "{:?}", one.headers);
    assert_eq!(
        (
            one.json()[0]["rule"].as_str(),
            one.json()[0]["stoppedBy"].clone()
        ),
        (Some("expired"), Value::Null)
    );
    assert_eq!(
        v3.get(&format!("/v3/accounts/{idle}")).await.ok()["purgeDueAt"],
        one.json()[0]["dueAt"]
    );
    let coming = v3.get(&format!("/v3/accounts/{idle}/timeline")).await.ok()["upcoming"].clone();
    assert_eq!(coming[0]["what"], "purge");

    // Retention takes an account out of the plan at once. So do an extension and a restoration.
    v3.call(
        "POST",
        &format!("/v3/accounts/{kept}/retain"),
        &json!({"reasonCode": "legal"}),
    )
    .await
    .ok();
    assert_eq!(planned(&v3).await, [idle, deleted]);
    assert_eq!(
        client.get(kept).await["effective_status"],
        "expired",
        "retention blocks no use"
    );
    client
        .call("delete", json!({"id": kept}))
        .await
        .is_error(409, "Conflict: retention_hold");
    client.call("restore", json!({"id": deleted})).await.ok();
    client
        .call(
            "expiry_date",
            json!({"id": idle, "expiry_date": "2027-01-01"}),
        )
        .await
        .ok();
    assert!(planned(&v3).await.is_empty());
    pass_days(&app, 40).await;
    for id in [idle, kept, deleted, live] {
        client.get(id).await;
    }

    let uid = client.get(kept).await["uid"].clone();
    // After its release the account is planned again, with the whole notice period.
    client.call("release", json!({"id": kept})).await.ok();
    pass_days(&app, 13).await;
    assert_eq!(planned(&v3).await, [kept]);
    client.get(kept).await;
    pass_days(&app, 3).await;
    client
        .call("get", json!({"id": kept}))
        .await
        .is_error(404, "Account not found");
    client
        .call("restore", json!({"id": kept}))
        .await
        .is_error(404, "Account not found");
    let farewell = v3.get("/v3/events").await.ok();
    let farewell = farewell
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["events"] == json!(["account.purged"]))
        .unwrap()
        .clone();
    assert_eq!(farewell["actor"]["name"], "steward");
    // What is left of the account has the types of Cryptlex, and no details.
    let remains = &farewell["data"];
    typed(remains, ACCOUNT);
    assert_eq!(
        (
            &remains["id"],
            &remains["effectiveStatus"],
            &remains["email"]
        ),
        (&uid, &json!("deleted"), &json!(""))
    );
    assert_eq!(remains["version"], farewell["sequence"]);
    let log = v3.get("/v3/event-logs?query=purge&limit=1&page=1").await;
    assert_eq!(log.ok()[0]["resourceId"], uid, "{}", log.body);
    assert!(
        farewell["changes"]["purgedAt"]["new"].is_string(),
        "{farewell}"
    );
    assert_eq!(
        (
            &farewell["changes"]["number"]["old"],
            &farewell["changes"]["id"]["old"]
        ),
        (&json!(kept), &uid)
    );
    assert_eq!(
        app.database.number("select count(*) from tombstone").await,
        1
    );
}

/// An account whose retention was acknowledged is never purged, however close the purge was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retention_during_the_purge_is_either_refused_or_kept() {
    let app = App::new().await;
    let reseller = app
        .reseller_with(
            "Acme",
            ResellerPatch {
                purges: Some(true),
                purge_limit: Some(10_000),
                ..ResellerPatch::default()
            },
        )
        .await;
    let client = app.client(&app.token(Some(reseller), None).await);
    let replica = app.replica(&client);
    let mut ids = Vec::new();
    for number in 0..120 {
        let id = client.account(&format!("a{number}")).await;
        client
            .call(
                "expiry_date",
                json!({"id": id, "expiry_date": "2026-03-01"}),
            )
            .await
            .ok();
        ids.push(id);
    }
    // All accounts are due in the next run.
    app.clock.advance(TimeDelta::days(40));
    app.service.plan_purges().await.unwrap();
    for _ in 0..3 {
        app.service.announce_due().await.unwrap();
        app.clock.advance(TimeDelta::days(7));
    }
    app.service.announce_due().await.unwrap();
    app.clock.advance(TimeDelta::days(1));
    let retain = async {
        let calls = ids
            .iter()
            .rev()
            .map(|id| replica.call("retain", json!({"id": id})));
        futures_util::future::join_all(calls).await
    };
    let (purged, answers) = tokio::join!(app.service.purge_due(), retain);
    let purged = purged.unwrap().accounts;
    // Whether purge or retention comes first depends on the machine.
    let mut retained = 0;
    for (id, answer) in ids.iter().rev().zip(answers) {
        let found = client.call("get", json!({"id": id})).await;
        match answer.status.as_u16() {
            200 => {
                retained += 1;
                assert_eq!(
                    found.ok()["data"]["holds"][0]["kind"],
                    "retention",
                    "{id} was to be kept"
                );
            }
            _ => found.is_error(404, "Account not found"),
        }
    }
    assert_eq!(purged + retained, ids.len());
    assert_eq!(
        app.database.number("select count(*) from tombstone").await,
        i64::try_from(purged).unwrap()
    );
}

#[tokio::test]
async fn a_purge_over_the_limit_waits_for_an_operators_approval() {
    let app = App::new().await;
    let (client, operator) = (purging(&app, "Acme").await, V3::of(&app.operator().await));
    let v3 = V3::of(&client);
    let mut ids = Vec::new();
    for number in 0..3 {
        let id = client.account(&format!("a{number}")).await;
        client.call("delete", json!({"id": id})).await.ok();
        ids.push(id);
    }
    pass_days(&app, 31).await;
    let reseller = operator.get("/v3/resellers/1").await.ok();
    assert_eq!(
        (
            reseller["purgeHeldCount"].as_i64(),
            reseller["purgeHeldAt"].is_string()
        ),
        (Some(3), true),
        "{reseller}"
    );
    assert_eq!(planned(&v3).await, ids);
    refused(
        &v3.call("POST", "/v3/resellers/1/approve-purge", &Value::Null)
            .await,
        403,
        "INSUFFICIENT_SCOPE",
        "Only an operator's token may do this",
    );
    // After one restoration the rest is within the limit.
    client.call("restore", json!({"id": ids[0]})).await.ok();
    client.call("delete", json!({"id": ids[0]})).await.ok();
    assert_eq!(
        operator
            .call("POST", "/v3/resellers/1/approve-purge", &Value::Null)
            .await
            .ok(),
        json!({"approved": true})
    );
    pass_days(&app, 1).await;
    assert_eq!(
        app.database.number("select count(*) from tombstone").await,
        2
    );
    assert_eq!(
        operator.get("/v3/resellers/1").await.ok()["purgeHeldAt"],
        Value::Null
    );
    assert_eq!(
        operator
            .call("POST", "/v3/resellers/1/approve-purge", &Value::Null)
            .await
            .ok(),
        json!({"approved": false})
    );
    refused(
        &operator
            .call("PATCH", "/v3/resellers/1", &json!({"purgeGraceDays": 0}))
            .await,
        400,
        "INVALID_REQUEST",
        "purgeGraceDays",
    );
    // When the reseller turns purging off, nothing is planned or purged.
    operator
        .call("PATCH", "/v3/resellers/1", &json!({"purges": false}))
        .await
        .ok();
    pass_days(&app, 60).await;
    assert!(planned(&v3).await.is_empty());
    assert_eq!(app.database.number("select count(*) from account").await, 1);
}

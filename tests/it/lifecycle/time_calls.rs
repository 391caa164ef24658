//! What the dialects offer about time: exemption, retention, the plan of the purge, what would happen and what will, and several
//! operations at once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::jobs;
use steward::service::ResellerPatch;

use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

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

/// Days go by, with the jobs running twice a day.
async fn days(app: &App, days: u32) {
    for _ in 0..days * 2 {
        app.clock.advance(TimeDelta::hours(12));
        jobs::announce_and_purge(&app.service, true).await.unwrap();
    }
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
async fn automation_waits_for_an_exempt_account_and_people_do_not() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-02T12:00:00Z"}),
        )
        .await
        .ok();
    let account = v3
        .call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({"exemptUntil": "2026-03-05T12:00:00Z"}),
        )
        .await
        .ok();
    assert_eq!(account["exemptUntil"], "2026-03-05T12:00:00Z");
    assert_eq!(client.get(id).await["exempt_until"], "2026-03-05T12:00:00Z");
    refused(
        &v3.call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({"exemptUntil": "2026-02-01"}),
        )
        .await,
        400,
        "INVALID_REQUEST",
        "exemptUntil",
    );
    refused(
        &v3.call(
            "PUT",
            &format!("/v3/accounts/{id}/exempt-until"),
            &json!({}),
        )
        .await,
        400,
        "INVALID_REQUEST",
        "exemptUntil: is required",
    );

    // It would have expired, and has not; what a person does counts at once.
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(client.get(id).await["effective_status"], "active");
    for (state, count) in [("active", 1), ("expired", 0)] {
        assert_eq!(
            client.call("list", json!({"state": state})).await.ok()["total_count"],
            count,
            "{state}"
        );
    }
    client.call("freeze", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "frozen");
    client.call("unfreeze", json!({"id": id})).await.ok();

    // When the exemption ends it is expired, and that is announced then, once.
    days(&app, 3).await;
    assert_eq!(client.get(id).await["blocked_by"], json!(["expired"]));
    days(&app, 1).await;
    let events: Vec<_> = v3
        .get("/v3/events")
        .await
        .ok()
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|event| event["events"].as_array().unwrap().clone())
        .collect();
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "account.expired")
            .count(),
        1,
        "{events:?}"
    );
    // Again, by the other dialect.
    client
        .call("exempt", json!({"id": id, "exempt_until": "2026-12-31"}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
    client
        .call("exempt", json!({"id": id, "exempt_until": null}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "expired");
}

#[tokio::test]
async fn the_plan_of_the_purge_is_read_beforehand_and_whatever_bears_on_it_changes_it() {
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
    days(&app, 15).await;
    assert!(planned(&v3).await.is_empty());
    days(&app, 3).await;
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

    // Retention takes it out, at once; so do an extension and a restoration.
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
    days(&app, 40).await;
    for id in [idle, kept, deleted, live] {
        client.get(id).await;
    }

    let uid = client.get(kept).await["uid"].clone();
    // Released, it is planned anew, with all of its notice.
    client.call("release", json!({"id": kept})).await.ok();
    days(&app, 13).await;
    assert_eq!(planned(&v3).await, [kept]);
    client.get(kept).await;
    days(&app, 3).await;
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
    assert_eq!(
        (farewell["data"].clone(), farewell["actor"].as_str()),
        (Value::Null, Some("steward"))
    );
    assert!(
        farewell["changes"]["purged_at"]["new"].is_string(),
        "{farewell}"
    );
    assert_eq!(
        (
            &farewell["changes"]["id"]["old"],
            &farewell["changes"]["uid"]["old"]
        ),
        (&json!(kept), &uid)
    );
    assert_eq!(
        app.database.number("select count(*) from tombstone").await,
        1
    );
}

/// Whoever is told that an account is retained keeps it, however close the purge was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retention_that_comes_while_the_purge_runs_is_refused_or_holds() {
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
    // All of them are due with the next run.
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
    // Which of them come first is for the machine to say.
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
async fn more_than_the_limit_waits_for_an_operator() {
    let app = App::new().await;
    let (client, operator) = (purging(&app, "Acme").await, V3::of(&app.operator().await));
    let v3 = V3::of(&client);
    let mut ids = Vec::new();
    for number in 0..3 {
        let id = client.account(&format!("a{number}")).await;
        client.call("delete", json!({"id": id})).await.ok();
        ids.push(id);
    }
    days(&app, 31).await;
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
        "reseller:write",
    );
    // One is taken back: what is left is within the limit.
    client.call("restore", json!({"id": ids[0]})).await.ok();
    client.call("delete", json!({"id": ids[0]})).await.ok();
    assert_eq!(
        operator
            .call("POST", "/v3/resellers/1/approve-purge", &Value::Null)
            .await
            .ok(),
        json!({"approved": true})
    );
    days(&app, 1).await;
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
    // Switched off, nothing is planned, and nothing goes.
    operator
        .call("PATCH", "/v3/resellers/1", &json!({"purges": false}))
        .await
        .ok();
    days(&app, 60).await;
    assert!(planned(&v3).await.is_empty());
    assert_eq!(app.database.number("select count(*) from account").await, 1);
}

#[tokio::test]
async fn a_simulation_says_what_the_calls_then_do_and_writes_nothing() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let path = format!("/v3/accounts/{id}/simulate");
    let operations = [
        ("freeze", json!({"paymentUrl": "https://pay.example/7"})),
        ("status", json!({"status": "inactive"})),
        ("status", json!({"status": "inactive"})),
        ("suspend", json!({"endsAt": "2020-01-01"})),
        (
            "unfreeze",
            json!({"holdId": "00000000-0000-4000-8000-000000000000"}),
        ),
        ("expires-at", json!({"expiresAt": "2026-01-01T00:00:00Z"})),
        ("retain", json!({})),
        ("release", json!({})),
        ("unfreeze", json!({})),
        ("restore", json!({})),
    ];
    let asked: Vec<Value> = operations
        .iter()
        .map(|(name, members)| {
            let mut members = members.clone();
            members["operation"] = json!(name);
            members
        })
        .collect();
    let said = v3
        .call("POST", &path, &json!({ "operations": asked }))
        .await
        .ok();
    assert_eq!(client.get(id).await["version"], 1, "nothing was written");
    assert_eq!(client.history(id).await.len(), 1);
    for ((name, members), result) in operations.iter().zip(said["results"].as_array().unwrap()) {
        let (method, tail) = if matches!(*name, "status" | "expires-at") {
            ("PUT", *name)
        } else {
            ("POST", *name)
        };
        let before = client.get(id).await["version"].clone();
        let done = v3
            .call(method, &format!("/v3/accounts/{id}/{tail}"), members)
            .await;
        let document = done.json();
        assert_eq!(
            (result["status"].as_u64(), &result["code"]),
            (Some(u64::from(done.status.as_u16())), &document["code"]),
            "{name}"
        );
        assert_eq!(result["message"], document["message"], "{name}");
        if done.status == 200 {
            assert_eq!(
                (&result["effectiveStatus"], &result["blockedBy"]),
                (&document["effectiveStatus"], &document["blockedBy"]),
                "{name}"
            );
            assert_eq!(result["changed"], before != document["version"], "{name}");
        }
    }
    assert_eq!(
        said["account"]["blockedBy"],
        v3.get(&format!("/v3/accounts/{id}")).await.ok()["blockedBy"]
    );
    assert_eq!(said["results"][0]["events"], json!(["account.frozen"]));

    // In the other dialect, in XML too.
    let calls = json!([{"call": "activate"}, {"call": "nonsense"}, {"call": "expiry_date", "expiry_date": null}]);
    let said = client
        .call("simulate", json!({"id": id, "operations": calls}))
        .await
        .ok();
    assert_eq!(
        said["data"][0],
        json!({"blocked_by": ["expired"], "call": "activate", "changed": true, "effective_status": "expired", "error": 0, "error_text": "Successful operation", "events": ["account.activated"]})
    );
    assert_eq!(
        (
            said["data"][1]["error"].as_i64(),
            said["data"][2]["effective_status"].as_str()
        ),
        (Some(400), Some("active"))
    );
    let xml = client
        .call_xml("simulate", &format!("<id>{id}</id><operations><call>activate</call></operations><operations><call>suspend</call></operations>"))
        .await;
    assert!(
        xml.body
            .contains("<effective_status>suspended:reseller</effective_status>"),
        "{}",
        xml.body
    );
    for bad in [
        json!({}),
        json!({"operations": []}),
        json!({"operations": [{}]}),
        json!({"operations": "freeze"}),
    ] {
        refused(
            &v3.call("POST", &path, &bad).await,
            400,
            "INVALID_REQUEST",
            "operation",
        );
    }
}

#[tokio::test]
async fn many_operations_in_one_request_are_each_for_itself_and_safe_to_repeat() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    let (first, second, theirs) = (
        client.account("a").await,
        client.account("b").await,
        other.account("c").await,
    );
    let uid = client.get(second).await["uid"].clone();
    let operations = json!([
        {"operation": "freeze", "account": first, "paymentUrl": "https://pay.example/7"},
        {"operation": "suspend", "account": uid},
        {"operation": "freeze", "account": theirs},
        {"operation": "freeze", "account": "nonsense"},
        {"operation": "freeze", "account": first, "paymentUrl": "javascript:alert(1)"},
        {"operation": "freeze"},
        {"operation": "unfreeze", "account": first.to_string()},
        {"operation": "delete", "account": second},
        {"operation": "delete", "account": second},
        {"operation": "dance", "account": second},
    ]);
    let body = json!({"operations": operations}).to_string();
    let done = v3
        .send("POST", "/v3/bulk", &[("idempotency-key", "k1")], &body)
        .await
        .ok();
    let statuses = |done: &Value| {
        done["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["status"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        statuses(&done),
        [200, 200, 404, 404, 400, 400, 200, 204, 204, 400]
    );
    assert_eq!(
        (done["succeeded"].as_i64(), done["failed"].as_i64()),
        (Some(5), Some(5))
    );
    assert_eq!(
        done["results"][6]["effectiveStatus"], "active",
        "at one account they are done in order"
    );
    assert_eq!(
        client
            .history(first)
            .await
            .iter()
            .map(|(verb, _)| verb.as_str())
            .collect::<Vec<_>>(),
        ["create", "freeze", "unfreeze"]
    );
    assert_eq!(other.get(theirs).await["version"], 1);

    // Once more with the same key: the same statuses, and nothing is done again.
    let again = v3
        .send("POST", "/v3/bulk", &[("idempotency-key", "k1")], &body)
        .await
        .ok();
    assert_eq!(statuses(&again), statuses(&done));
    assert_eq!(client.history(first).await.len(), 3);
    let changed = v3
        .send(
            "POST",
            "/v3/bulk",
            &[("idempotency-key", "k1")],
            &body.replace("pay.example/7", "pay.example/8"),
        )
        .await
        .ok();
    assert_eq!(changed["results"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    // Without one, a deletion that is repeated is answered as the first was.
    let repeated = v3
        .call(
            "POST",
            "/v3/bulk",
            &json!({"operations": [{"operation": "delete", "account": second}]}),
        )
        .await
        .ok();
    assert_eq!(
        (
            repeated["results"][0]["status"].as_i64(),
            &repeated["results"][0]["changed"]
        ),
        (Some(204), &json!(false))
    );

    // A thousand fit, one more does not; the operator may too, at accounts of several resellers.
    let many = |count: usize| json!({"operations": vec![json!({"operation": "status", "status": "active", "account": first}); count]});
    assert_eq!(
        v3.call("POST", "/v3/bulk", &many(1_000)).await.ok()["succeeded"],
        1_000
    );
    refused(
        &v3.call("POST", "/v3/bulk", &many(1_001)).await,
        400,
        "INVALID_REQUEST",
        "operations: must be 1 to 1000",
    );
    let operator = V3::of(&app.operator().await);
    let both = json!({"operations": [{"operation": "suspend", "account": first}, {"operation": "suspend", "account": theirs}]});
    assert_eq!(
        operator.call("POST", "/v3/bulk", &both).await.ok()["succeeded"],
        2
    );
    assert_eq!(
        other.get(theirs).await["effective_status"],
        "suspended:operator"
    );
    let xml =
        "<xml><operations><operation>freeze</operation><account>1</account></operations></xml>";
    let answer = v3
        .send(
            "POST",
            "/v3/bulk",
            &[
                ("content-type", "application/xml"),
                ("accept", "application/xml"),
            ],
            xml,
        )
        .await;
    assert!(
        answer.body.contains("<succeeded>1</succeeded>"),
        "{}",
        answer.body
    );
}

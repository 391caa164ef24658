//! Every row of every table that writes takes an `Idempotency-Key`, and is carried out once.

use serde_json::{Value, json};
use steward::dialects::{admin, soap, v3};

use super::things::Things;
use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[test]
fn every_row_that_writes_takes_a_key() {
    // Calls that are sent with POST although they change nothing.
    let reads = ["accounts_simulate"];
    for operation in v3::OPERATIONS {
        let writes = operation.method != "GET" && !reads.contains(&operation.name);
        assert_eq!(operation.idempotent, writes, "{}", operation.name);
    }
    let reads = ["list", "get", "simulate", "timeline", "history", "explain"];
    for operation in admin::OPERATIONS {
        let writes = !reads.contains(&operation.name);
        assert_eq!(operation.idempotent, writes, "admin {}", operation.name);
    }
    // Calls that are always refused.
    let refused = ["ResetPassword", "ToggleNetworkDrive"];
    for operation in soap::OPERATIONS {
        let writes = !operation.name.starts_with("Get") && !refused.contains(&operation.name);
        assert_eq!(operation.idempotent, writes, "soap {}", operation.name);
    }
}

#[tokio::test]
async fn every_write_is_carried_out_once_and_answered_alike() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    let requests = things.writes().await;
    for request in &requests {
        let (name, before) = (&request.name, things.state().await);
        let first = request.send(name.replace(' ', "-").as_str()).await;
        things.settle().await;
        let after = things.state().await;
        assert!(first.status.is_success(), "{name}: {}", first.body);
        if request.is_v3() {
            // A repeat of what is done already is written to the journal, although it changes
            // nothing.
            let changed = first.header("steward-changed");
            assert!(["true", "false"].contains(&changed), "{name}: {changed:?}");
            assert!(changed == "false" || before != after, "{name}");
        }
        if first.status == 201 {
            assert!(first.header("location").starts_with("/v3/"), "{name}");
        }
        let again = request.send(name.replace(' ', "-").as_str()).await;
        things.settle().await;
        assert_eq!(
            again.header("idempotent-replayed"),
            "true",
            "{name}: {}",
            again.body
        );
        assert_eq!(
            (&again.body, again.status),
            (&first.body, first.status),
            "{name}"
        );
        for header in ["content-type", "etag", "location", "steward-changed"] {
            assert_eq!(
                again.headers.get(header),
                first.headers.get(header),
                "{name} {header}"
            );
        }
        if again.status == 204 {
            assert_eq!(again.headers.get("content-type"), None, "{name}");
        }
        assert!(
            things.state().await == after,
            "{name}: the repeat changed something"
        );
        let other = request.send_other(name.replace(' ', "-").as_str()).await;
        if name == "release_tickets_redeem" {
            // Its body is its credential, so it is read first. `one_command.rs` sends another one.
            assert_eq!(other.status, 400, "{}", other.body);
        } else if name.starts_with("soap") {
            let text = "General Error, the Idempotency-Key was used before with another request";
            assert!(other.body.contains(text), "{name}: {}", other.body);
        } else {
            assert_eq!(other.status, 422, "{name}: {}", other.body);
        }
        assert!(
            things.state().await == after,
            "{name}: another body changed something"
        );
    }
}

#[tokio::test]
async fn a_created_thing_is_at_its_location() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    let operator = V3::of(&app.operator().await);
    for operation in v3::OPERATIONS.iter().filter(|row| row.success == 201) {
        let created = things.of_v3(operation).await.send("k").await;
        let found = operator.get(created.header("location")).await;
        assert_eq!(found.ok()["id"], created.json()["id"], "{}", operation.name);
    }
}

#[tokio::test]
async fn a_refusal_is_repeated_although_its_cause_is_gone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let key = [("idempotency-key", "k")];
    let freeze = async |who: &V3| who.send("POST", "/v3/accounts/1/freeze", &key, "{}").await;
    let operator = V3::of(&app.operator().await);
    let (first, by_operator) = (freeze(&v3).await, freeze(&operator).await);
    refused(&first, 404, "ACCOUNT_NOT_FOUND", "");
    assert_eq!(first.header("steward-changed"), "false");
    let job = json!({"selector": {"state": "active"}, "operation": {"operation": "suspend"}});
    let account = v3.call("POST", "/v3/accounts", &json!({})).await;
    assert_eq!(account.header("steward-changed"), "true");
    let job = v3.call("POST", "/v3/bulk-jobs", &job).await.json()["id"].clone();
    let revert = format!("/v3/bulk-jobs/{}/revert", job.as_str().unwrap());
    let conflict = v3.send("POST", &revert, &key, "").await;
    refused(&conflict, 409, "BULK_JOB_STATE", "bulk_job");
    let things = Things::of(&app, &client).await;
    let apply = revert.replace("revert", "apply");
    v3.call("POST", &apply, &Value::Null).await;
    things.settle().await;
    for (first, again) in [
        (first, freeze(&v3).await),
        (by_operator, freeze(&operator).await),
        (conflict, v3.send("POST", &revert, &key, "").await),
    ] {
        assert_eq!((&again.body, again.status), (&first.body, first.status));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.header("steward-changed"), "false");
    }
    let fresh = v3
        .send("POST", &revert, &[("idempotency-key", "k2")], "")
        .await;
    assert_eq!(fresh.status, 202, "{}", fresh.body);
    things.settle().await;
}

#[tokio::test]
async fn writes_say_whether_they_changed_anything() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let operator = V3::of(&app.operator().await);
    let made = async |path: &str, body: Value| {
        let made = v3.call("POST", path, &body).await;
        assert_eq!(
            made.header("steward-changed"),
            "true",
            "{path}: {}",
            made.body
        );
        made.header("location").to_owned()
    };
    let account = made("/v3/accounts", json!({"company": "Acme"})).await;
    let plan = made("/v3/plans", json!({"name": "x", "displayName": "x"})).await;
    let webhook = made("/v3/webhooks", json!({"url": "https://example.com"})).await;
    let token = made("/v3/tokens", json!({})).await;
    let twice: [(&V3, &str, String, Value); 10] = [
        (&v3, "PATCH", account.clone(), json!({"company": "Other"})),
        (&v3, "POST", format!("{account}/freeze"), json!({})),
        (
            &v3,
            "PUT",
            format!("{account}/status"),
            json!({"status": "inactive"}),
        ),
        (&v3, "PATCH", plan, json!({"displayName": "y"})),
        (&v3, "PATCH", webhook, json!({"description": "d"})),
        (&v3, "DELETE", token, Value::Null),
        (
            &operator,
            "PATCH",
            "/v3/resellers/1".to_owned(),
            json!({"accountLimit": 9}),
        ),
        (
            &operator,
            "POST",
            "/v3/resellers/1/suspend".to_owned(),
            Value::Null,
        ),
        (
            &operator,
            "POST",
            "/v3/resellers/1/unsuspend".to_owned(),
            Value::Null,
        ),
        (&v3, "DELETE", account.clone(), Value::Null),
    ];
    for (caller, method, path, body) in twice {
        for changed in ["true", "false"] {
            let answer = caller.call(method, &path, &body).await;
            assert!(
                answer.status.is_success(),
                "{method} {path}: {}",
                answer.body
            );
            assert_eq!(answer.header("steward-changed"), changed, "{method} {path}");
        }
    }
    let bulk = json!({"operations": [
        {"operation": "restore", "account": account.rsplit('/').next().unwrap()},
        {"operation": "restore", "account": account.rsplit('/').next().unwrap()},
    ]});
    for changed in ["true", "false"] {
        let answer = v3.call("POST", "/v3/bulk", &bulk).await;
        assert_eq!(answer.header("steward-changed"), changed, "{}", answer.body);
    }
    assert_eq!(v3.get(&account).await.header("steward-changed"), "");
}

#[tokio::test]
async fn every_write_of_admin_says_whether_it_changed_anything() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    for operation in admin::OPERATIONS.iter().filter(|row| row.idempotent) {
        let mut members = things.of_admin(operation).await.verbose();
        for repeats in [false, true] {
            let before = things.state().await;
            let answer = client.call(operation.name, members.clone()).await.ok();
            let changed = answer["changed"].as_bool();
            assert!(changed.is_some(), "{}: {answer}", operation.name);
            assert!(changed == Some(false) || things.state().await != before);
            assert!(changed == Some(false) || !repeats, "{}", operation.name);
            if operation.name == "save" {
                members["id"] = answer["data"]["saved_id"].clone();
            }
            if operation.name == "delete" {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_bulk_request_is_answered_alike_from_its_results_too() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    let bulk = v3::OPERATIONS.iter().find(|row| row.name == "bulk_run");
    let request = things.of_v3(bulk.unwrap()).await;
    let first = request.send("k").await;
    assert_eq!(first.json()["succeeded"], json!(2), "{}", first.body);
    let (state, superuser) = (things.state().await, app.database.superuser().await);
    // As if the process had ended after the operations, and before the whole was stored.
    let whole = sqlx::query("delete from idempotency where path = '/v3/bulk'");
    assert_eq!(whole.execute(&superuser).await.unwrap().rows_affected(), 1);
    let second = request.send("k").await;
    assert_eq!((&second.body, second.status), (&first.body, first.status));
    assert!(things.state().await == state);
    let third = request.send("k").await;
    assert_eq!(
        (&third.body, third.header("idempotent-replayed")),
        (&first.body, "true")
    );
}

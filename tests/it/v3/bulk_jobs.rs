//! Bulk jobs: planned, applied in the background, interrupted, and reverted.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::{Command, Dialect, Email, Error, Status};
use steward::service::{AccountRef, Clock, Completion, Context, Item, Service, Settings};
use steward::store::Store;

use crate::harness::app::pool_settings;
use crate::harness::process::until;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// Waits until the job is in a state.
async fn finished(v3: &V3, id: &str, state: &str) -> Value {
    until(&format!("a job that is {state}"), async || {
        Some(v3.get(&format!("/v3/bulk-jobs/{id}")).await.ok()).filter(|job| job["state"] == state)
    })
    .await
}

async fn plan(v3: &V3, selector: Value, operation: Value) -> (String, Value) {
    let planned = v3
        .call(
            "POST",
            "/v3/bulk-jobs",
            &json!({"selector": selector, "operation": operation}),
        )
        .await;
    assert_eq!(planned.status, 201, "{}", planned.body);
    (
        planned.json()["id"].as_str().unwrap().to_owned(),
        planned.json(),
    )
}

async fn run(v3: &V3, id: &str, verb: &str, state: &str) -> Value {
    assert_eq!(
        v3.call("POST", &format!("/v3/bulk-jobs/{id}/{verb}"), &Value::Null)
            .await
            .status,
        202
    );
    finished(v3, id, state).await
}

async fn accounts(client: &Client, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(client.account(&format!("a{number}")).await);
    }
    ids
}

/// An account without its version and without the ids and times of its holds.
async fn facts(client: &Client, id: i64) -> Value {
    let mut account = client.get(id).await;
    let members = account.as_object_mut().unwrap();
    members.remove("version");
    for hold in members["holds"].as_array_mut().unwrap() {
        for name in ["hold_id", "opened_at", "opened_by", "since"] {
            hold.as_object_mut().unwrap().remove(name);
        }
    }
    account
}

#[tokio::test]
async fn a_job_is_applied_once_and_reverted_except_where_accounts_changed_since() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    let ids = accounts(&client, 5).await;
    let theirs = other.account("b").await;
    client.call("freeze", json!({"id": ids[0], "frozen_details": {"payment_url": "https://pay.example/old"}, "reason": "mine"})).await.ok();
    client.call("suspend", json!({"id": ids[1]})).await.ok();
    let mut before = Vec::new();
    for id in &ids {
        before.push(facts(&client, *id).await);
    }
    let operation = json!({"operation": "freeze", "paymentUrl": "https://pay.example/new", "reasonCode": "all"});
    let (job, planned) = plan(&v3, json!({}), operation).await;
    assert_eq!(
        (
            planned["state"].as_str(),
            planned["total"].as_i64(),
            planned["pending"].as_i64()
        ),
        (Some("planned"), Some(5), Some(5))
    );
    assert_eq!(
        (&planned["preview"], planned["action"].as_str()),
        (
            &json!({"changes": 5, "unchanged": 0, "refused": 0}),
            Some("freeze")
        )
    );
    for (id, was) in ids.iter().zip(&before) {
        assert_eq!(facts(&client, *id).await, *was, "planning changes nothing");
    }
    refused(
        &v3.call("POST", &format!("/v3/bulk-jobs/{job}/revert"), &Value::Null)
            .await,
        409,
        "CONFLICT",
        "bulk_job",
    );

    // After the plan, one account is deleted, one is frozen in the same way, and a new one is
    // created, which is not in the plan.
    client.call("delete", json!({"id": ids[2]})).await.ok();
    client.call("freeze", json!({"id": ids[3], "frozen_details": {"payment_url": "https://pay.example/new"}, "reason_code": "all"})).await.ok();
    let late = client.account("late").await;
    let applied = run(&v3, &job, "apply", "applied").await;
    let counts = |job: &Value| {
        [
            "pending",
            "changed",
            "unchanged",
            "failed",
            "reverted",
            "kept",
        ]
        .map(|name| job[name].as_i64().unwrap())
    };
    assert_eq!(counts(&applied), [0, 3, 1, 1, 0, 0], "{applied}");
    assert_eq!(
        run(&v3, &job, "apply", "applied").await["updatedAt"],
        applied["updatedAt"],
        "applied once"
    );
    assert_eq!(
        (
            client.get(late).await["is_frozen"].clone(),
            other.get(theirs).await["is_frozen"].clone()
        ),
        (json!(false), json!(false))
    );
    let items = v3
        .get(&format!("/v3/bulk-jobs/{job}/items?state=failed"))
        .await
        .ok();
    assert_eq!(
        items,
        json!([{"accountId": ids[2], "state": "failed", "problem": "account is deleted"}])
    );
    assert!(
        v3.get(&format!("/v3/bulk-jobs/{job}/items?limit=2"))
            .await
            .header("link")
            .contains("after=")
    );
    let entry = v3
        .get(&format!("/v3/accounts/{}/history", ids[4]))
        .await
        .ok()[0]
        .clone();
    assert_eq!(
        (entry["authority"].as_str(), entry["requestId"].as_str()),
        (Some("reseller"), Some(format!("bulk job {job}").as_str()))
    );
    assert!(
        entry["actor"]
            .as_str()
            .unwrap()
            .ends_with(&format!("bulk job {job}")),
        "{entry}"
    );

    // One account was unfrozen and frozen again since, so the job must not revert it.
    client.call("unfreeze", json!({"id": ids[4]})).await.ok();
    client.call("freeze", json!({"id": ids[4]})).await.ok();
    let anew = facts(&client, ids[4]).await;
    let reverted = run(&v3, &job, "revert", "reverted").await;
    assert_eq!(counts(&reverted), [0, 0, 1, 1, 2, 1], "{reverted}");
    assert_eq!(
        (facts(&client, ids[0]).await, facts(&client, ids[1]).await),
        (before[0].clone(), before[1].clone())
    );
    assert_eq!(facts(&client, ids[4]).await, anew);
    refused(
        &v3.call("POST", &format!("/v3/bulk-jobs/{job}/apply"), &Value::Null)
            .await,
        409,
        "CONFLICT",
        "bulk_job",
    );
    refused(
        &V3::of(&other).get(&format!("/v3/bulk-jobs/{job}")).await,
        404,
        "BULK_JOB_NOT_FOUND",
        "",
    );
}

#[tokio::test]
async fn every_operation_can_be_reverted() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 2).await;
    client
        .call("freeze", json!({"id": ids[0], "frozen_details": {"payment_url": "https://pay.example/1"}, "reason": "r", "public_message": "m"}))
        .await
        .ok();
    client.call("deactivate", json!({"id": ids[1]})).await.ok();
    client
        .call(
            "expiry_date",
            json!({"id": ids[1], "expiry_date": "2027-01-01T00:00:00Z"}),
        )
        .await
        .ok();
    let operations = [
        json!({"operation": "freeze", "publicMessage": null, "endsAt": "2027-05-05T00:00:00Z"}),
        json!({"operation": "unfreeze"}),
        json!({"operation": "suspend", "reason": "all"}),
        json!({"operation": "retain"}),
        json!({"operation": "status", "status": "active"}),
        json!({"operation": "status", "status": "inactive"}),
        json!({"operation": "expires-at", "expiresAt": "2026-01-01T00:00:00Z"}),
        json!({"operation": "expires-at", "expiresAt": null}),
        json!({"operation": "exempt-until", "exemptUntil": "2026-12-12"}),
        json!({"operation": "delete"}),
    ];
    let before = [facts(&client, ids[0]).await, facts(&client, ids[1]).await];
    for operation in operations {
        let (job, _) = plan(&v3, json!({}), operation.clone()).await;
        let applied = run(&v3, &job, "apply", "applied").await;
        assert!(
            applied["changed"].as_i64().unwrap() > 0 && applied["failed"] == 0,
            "{operation}: {applied}"
        );
        let reverted = run(&v3, &job, "revert", "reverted").await;
        assert_eq!(
            (reverted["reverted"].clone(), reverted["kept"].as_i64()),
            (applied["changed"].clone(), Some(0)),
            "{operation}: {reverted}"
        );
        assert_eq!(
            [facts(&client, ids[0]).await, facts(&client, ids[1]).await],
            before,
            "{operation}"
        );
    }
}

#[tokio::test]
async fn a_job_whose_worker_died_is_resumed_without_repeating_changes() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 4).await;
    let (job, _) = plan(
        &v3,
        json!({"state": "active"}),
        json!({"operation": "suspend"}),
    )
    .await;
    run(&v3, &job, "apply", "applied").await;
    // As if the worker died after its changes and before it recorded them. One suspension was
    // lifted since.
    client.call("unsuspend", json!({"id": ids[0]})).await.ok();
    let superuser = app.database.superuser().await;
    sqlx::raw_sql("update bulk_job set state = 'applying', claimed_until = '2026-03-01T12:00:20Z'; update bulk_item set state = 'pending'")
        .execute(&superuser)
        .await
        .unwrap();
    let replica = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        Settings::default(),
    ));
    replica.resume_bulk_jobs().await.unwrap();
    assert_eq!(
        v3.get(&format!("/v3/bulk-jobs/{job}")).await.ok()["state"],
        "applying",
        "the lease is still held"
    );
    app.clock.advance(TimeDelta::seconds(30));
    replica.resume_bulk_jobs().await.unwrap();
    let applied = v3.get(&format!("/v3/bulk-jobs/{job}")).await.ok();
    assert_eq!(
        (applied["state"].as_str(), applied["changed"].as_i64()),
        (Some("applied"), Some(4))
    );
    assert_eq!(
        client.get(ids[0]).await["is_suspended"],
        false,
        "a change is not made again"
    );
    assert_eq!(client.history(ids[1]).await.len(), 2);
}

#[tokio::test]
async fn invalid_jobs_are_refused() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    client.account("a").await;
    for (body, expected) in [
        (
            json!({"operation": {"operation": "freeze"}}),
            "selector: is required",
        ),
        (json!({"selector": {}}), "operation: is required"),
        (
            json!({"selector": {"state": "frozen"}, "operation": {"operation": "freeze"}}),
            "selector: finds no account",
        ),
        (
            json!({"selector": {"state": "sad"}, "operation": {"operation": "freeze"}}),
            "state: must be one of",
        ),
        (
            json!({"selector": {}, "operation": {"operation": "dance"}}),
            "operation: must be one of",
        ),
        (
            json!({"selector": {}, "operation": {"operation": "unfreeze", "holdId": "00000000-0000-4000-8000-000000000000"}}),
            "operation: cannot be done in bulk",
        ),
        (
            json!({"selector": {}, "operation": {"operation": "freeze", "paymentUrl": "ftp://x"}}),
            "paymentUrl",
        ),
    ] {
        refused(
            &v3.call("POST", "/v3/bulk-jobs", &body).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
    let operator = V3::of(&app.operator().await);
    let body = json!({"selector": {}, "operation": {"operation": "suspend"}});
    refused(
        &operator.call("POST", "/v3/bulk-jobs", &body).await,
        400,
        "INVALID_REQUEST",
        "resellerId: is required",
    );
    // An operator's job runs on the operator's authority, and a reseller cannot revert it.
    let body = json!({"resellerId": 1, "selector": {"state": "active"}, "operation": {"operation": "suspend"}});
    let job = operator.call("POST", "/v3/bulk-jobs", &body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    run(&operator, &job, "apply", "applied").await;
    assert_eq!(
        client.get(1).await["effective_status"],
        "suspended:operator"
    );
    refused(
        &v3.call("POST", &format!("/v3/bulk-jobs/{job}/revert"), &Value::Null)
            .await,
        404,
        "BULK_JOB_NOT_FOUND",
        "",
    );
    run(&operator, &job, "revert", "reverted").await;
    assert_eq!(client.get(1).await["effective_status"], "active");
}

#[tokio::test]
async fn several_commands_may_name_their_accounts_by_address() {
    let app = App::new().await;
    let (acme, globex) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Globex").await,
    );
    let operator = app.operator().await;
    acme.account("shared").await;
    globex.account("shared").await;
    globex.account("single").await;
    let outcomes = async |client: &Client| {
        let context = Context {
            principal: app
                .service
                .authenticate(&client.token.clone().into())
                .await
                .unwrap(),
            dialect: Dialect::V3,
            request_id: "test".to_owned(),
        };
        let items = [
            "Shared@example.com",
            "single@example.com",
            "none@example.com",
        ]
        .map(|email| Item {
            account: AccountRef::Email(Email::parse(email).unwrap()),
            command: Command::SetStatus(Status::Inactive),
            once: None,
        });
        let completions = app.service.bulk(&context, items.into()).await.unwrap();
        completions
            .into_iter()
            .map(|completion| {
                completion
                    .and_then(Completion::done)
                    .map(|done| done.account.id.as_i32())
            })
            .collect::<Vec<_>>()
    };
    let unknown = Err(Error::AccountNotFound);
    assert_eq!(
        outcomes(&acme).await,
        [Ok(1), unknown.clone(), unknown.clone()],
        "an address of another reseller is unknown"
    );
    assert_eq!(outcomes(&globex).await, [Ok(2), Ok(3), unknown.clone()]);
    let ambiguous = Error::invalid("email", "is used by accounts of several resellers");
    assert_eq!(outcomes(&operator).await, [Err(ambiguous), Ok(3), unknown]);
}

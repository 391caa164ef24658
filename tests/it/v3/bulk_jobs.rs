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
    let (job, planned) = plan(&v3, json!({"all": true}), operation).await;
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
        "BULK_JOB_STATE",
        "bulk_job: the job is planned, and only an applied job can be reverted",
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
            "skipped",
            "reverted",
            "kept",
        ]
        .map(|name| job[name].as_i64().unwrap())
    };
    assert_eq!(counts(&applied), [0, 3, 1, 0, 1, 0, 0], "{applied}");
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
        .get(&format!("/v3/bulk-jobs/{job}/items?state=skipped"))
        .await
        .ok();
    assert_eq!(
        items,
        json!([{"accountId": ids[2], "state": "skipped", "problem": "it no longer matches the selector: all"}])
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
        entry["actor"]["name"]
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
    assert_eq!(counts(&reverted), [0, 0, 1, 0, 1, 2, 1], "{reverted}");
    assert_eq!(
        (facts(&client, ids[0]).await, facts(&client, ids[1]).await),
        (before[0].clone(), before[1].clone())
    );
    assert_eq!(facts(&client, ids[4]).await, anew);
    refused(
        &v3.call("POST", &format!("/v3/bulk-jobs/{job}/apply"), &Value::Null)
            .await,
        409,
        "BULK_JOB_STATE",
        "bulk_job: the job is reverted, and only a planned job can be applied",
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
        let (job, _) = plan(&v3, json!({"all": true}), operation.clone()).await;
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

/// Makes a planned or applied job what the previous version would have made of it: its accounts are
/// items, and the job itself has neither them nor its selector.
async fn as_of_the_previous_version(app: &App, job: &str, state: &str) {
    let superuser = app.database.superuser().await;
    let statement = format!(
        "insert into bulk_item (reseller_id, job_id, account_id, hold_id, state)
           select j.reseller_id, j.id, n.id, gen_random_uuid(), 'pending'
           from bulk_job j, unnest(j.accounts) as n(id) where j.id = '{job}'
           on conflict do nothing;
         update bulk_job set state = '{state}', accounts = null, total = null, filled = 0,
           filter = null, preview = null, counts = null where id = '{job}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&superuser)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_job_whose_worker_died_is_resumed_without_repeating_changes() {
    // With the accounts in the job's array, and with items that the previous version inserted.
    for is_old in [false, true] {
        let app = App::new().await;
        let client = app.new_reseller("Acme").await;
        let v3 = V3::of(&client);
        let ids = accounts(&client, 4).await;
        let selector = json!({"state": "active"});
        let (job, _) = plan(&v3, selector, json!({"operation": "suspend"})).await;
        run(&v3, &job, "apply", "applied").await;
        // As if the worker died after its changes and before it recorded them. One suspension was
        // lifted since.
        client.call("unsuspend", json!({"id": ids[0]})).await.ok();
        let superuser = app.database.superuser().await;
        if is_old {
            as_of_the_previous_version(&app, &job, "applying").await;
        }
        sqlx::raw_sql(if is_old {
            "update bulk_item set state = 'pending';
             update bulk_job set claimed_until = '2026-03-01T12:00:20Z'"
        } else {
            "delete from bulk_item;
             update bulk_job set state = 'filling', filled = 0, claimed_until = '2026-03-01T12:00:20Z'"
        })
        .execute(&superuser)
        .await
        .unwrap();
        let replica = Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            Clock::Manual(app.clock.clone()),
            Settings::default(),
        ));
        replica.resume_bulk_jobs().await.unwrap();
        let path = format!("/v3/bulk-jobs/{job}");
        assert_eq!(
            v3.get(&path).await.ok()["state"],
            "applying",
            "the lease is still held"
        );
        app.clock.advance(TimeDelta::seconds(30));
        replica.resume_bulk_jobs().await.unwrap();
        let applied = v3.get(&path).await.ok();
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
}

const ITEMS: &str = "select count(*) from bulk_item";

#[tokio::test]
async fn a_job_of_the_previous_version_is_listed_applied_and_reverted() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 3).await;
    let (job, _) = plan(&v3, json!({"all": true}), json!({"operation": "suspend"})).await;
    as_of_the_previous_version(&app, &job, "planned").await;
    let listed = v3.get("/v3/bulk-jobs").await.ok();
    assert_eq!(
        (
            listed[0]["id"].as_str(),
            listed[0]["state"].as_str(),
            listed[0]["pending"].as_i64()
        ),
        (Some(job.as_str()), Some("planned"), Some(3))
    );
    assert!(listed[0].get("preview").is_none());
    let items = v3.get(&format!("/v3/bulk-jobs/{job}/items")).await.ok();
    assert_eq!(items.as_array().unwrap().len(), 3);
    let applied = run(&v3, &job, "apply", "applied").await;
    assert_eq!(applied["changed"], 3);
    let reverted = run(&v3, &job, "revert", "reverted").await;
    assert_eq!(reverted["reverted"], 3);
    assert_eq!(client.get(ids[0]).await["is_suspended"], false);
}

#[tokio::test]
async fn planning_inserts_one_row_and_its_accounts_are_listed_from_there() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 5).await;
    let (job, planned) = plan(&v3, json!({"all": true}), json!({"operation": "suspend"})).await;
    assert_eq!(app.database.number(ITEMS).await, 0);
    assert_eq!(
        (&planned["total"], &planned["pending"]),
        (&json!(5), &json!(5))
    );
    let path = format!("/v3/bulk-jobs/{job}/items");
    let listed = async |query: &str| -> Vec<(i64, String)> {
        let items = v3.get(&format!("{path}{query}")).await.ok();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                (
                    item["accountId"].as_i64().unwrap(),
                    item["state"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    };
    let with = |range: std::ops::Range<usize>, state: &str| -> Vec<(i64, String)> {
        ids[range]
            .iter()
            .map(|id| (*id, state.to_owned()))
            .collect()
    };
    assert_eq!(listed("").await, with(0..5, "pending"));
    assert_eq!(listed("?limit=2").await, with(0..2, "pending"));
    assert_eq!(
        listed(&format!("?limit=2&after={}", ids[1])).await,
        with(2..4, "pending")
    );
    assert!(listed("?state=changed").await.is_empty());

    // Two of the accounts are done, and three wait.
    let superuser = app.database.superuser().await;
    sqlx::raw_sql(
        "insert into bulk_item select reseller_id, id, n, gen_random_uuid(), 'changed'
           from bulk_job, unnest(accounts[1:2]) as n;
         update bulk_job set state = 'filling', filled = 2, claimed_until = '2030-01-01'",
    )
    .execute(&superuser)
    .await
    .unwrap();
    let job = v3.get(&format!("/v3/bulk-jobs/{job}")).await.ok();
    assert_eq!(
        (
            &job["state"],
            &job["total"],
            &job["pending"],
            &job["changed"]
        ),
        (&json!("applying"), &json!(5), &json!(3), &json!(2))
    );
    let both = [with(0..2, "changed"), with(2..5, "pending")].concat();
    assert_eq!(listed("").await, both);
    assert_eq!(listed("?limit=3").await, both[..3]);
    assert_eq!(
        listed("?state=pending&limit=2").await,
        with(2..4, "pending")
    );
    assert_eq!(listed("?state=changed").await, with(0..2, "changed"));
}

#[tokio::test]
async fn an_account_that_no_longer_matches_is_skipped_when_the_job_is_applied() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 5).await;
    client
        .call("retain", json!({"id": ids[3], "reason": "legal"}))
        .await;
    v3.call(
        "POST",
        &format!("/v3/accounts/{}/retain", ids[3]),
        &json!({}),
    )
    .await
    .ok();
    let selector = json!({"state": "active", "q": "a"});
    let (job, planned) = plan(&v3, selector, json!({"operation": "delete"})).await;
    assert_eq!(
        planned["preview"],
        json!({"changes": 4, "unchanged": 0, "refused": 1})
    );
    // One is frozen and one is renamed meanwhile; a third is frozen and unfrozen again.
    client.call("freeze", json!({"id": ids[0]})).await.ok();
    let renamed = json!({"email": "x@example.com", "name": "x", "title": "x"});
    v3.call(
        "PATCH",
        &format!("/v3/accounts/{}", ids[1]),
        &json!({"email": "x@exbmple.com"}),
    )
    .await
    .ok();
    let members = json!({"id": ids[1], "name": renamed["name"], "title": renamed["title"], "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": "x@x.cx"});
    client.call("save", members).await.ok();
    client.call("freeze", json!({"id": ids[2]})).await.ok();
    client.call("unfreeze", json!({"id": ids[2]})).await.ok();
    let before = client.history(ids[0]).await;
    let applied = run(&v3, &job, "apply", "applied").await;
    assert_eq!(
        ["changed", "failed", "skipped"].map(|name| applied[name].as_i64().unwrap()),
        [2, 1, 2],
        "{applied}"
    );
    let items = v3
        .get(&format!("/v3/bulk-jobs/{job}/items?state=skipped"))
        .await
        .ok();
    let problem = "it no longer matches the selector: state=active q=a";
    let skipped = |id| json!({"accountId": id, "state": "skipped", "problem": problem});
    assert_eq!(items, json!([skipped(ids[0]), skipped(ids[1])]));
    assert_eq!(client.history(ids[0]).await, before);
    assert_eq!(run(&v3, &job, "revert", "reverted").await["reverted"], 2);
}

#[tokio::test]
async fn every_condition_is_checked_again_for_every_operation() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let operations = [
        json!({"operation": "freeze"}),
        json!({"operation": "unfreeze"}),
        json!({"operation": "suspend"}),
        json!({"operation": "unsuspend"}),
        json!({"operation": "retain"}),
        json!({"operation": "release"}),
        json!({"operation": "status", "status": "inactive"}),
        json!({"operation": "expires-at", "expiresAt": null}),
        json!({"operation": "exempt-until", "exemptUntil": "2026-12-12"}),
        json!({"operation": "delete"}),
    ];
    // Each condition with the call that makes the account match it, and the one that ends that.
    let date = |at| json!({ "expiry_date": at });
    let conditions = [
        (
            json!({"state": "active"}),
            ("unfreeze", json!({})),
            ("freeze", json!({})),
        ),
        (
            json!({"state": "frozen"}),
            ("freeze", json!({})),
            ("unfreeze", json!({})),
        ),
        (
            json!({"state": "suspended:reseller"}),
            ("suspend", json!({})),
            ("unsuspend", json!({})),
        ),
        (
            json!({"state": "inactive"}),
            ("deactivate", json!({})),
            ("activate", json!({})),
        ),
        (
            json!({"heldBy": "reseller"}),
            ("freeze", json!({})),
            ("unfreeze", json!({})),
        ),
        (
            json!({"owner": "billing"}),
            ("freeze", json!({"owner": "billing"})),
            ("unfreeze", json!({"owner": "billing"})),
        ),
        (
            json!({"level": "limit"}),
            ("freeze", json!({"level": "limit"})),
            ("freeze", json!({"level": "block"})),
        ),
        (
            json!({"level": "block", "heldBy": "reseller"}),
            ("freeze", json!({})),
            ("unfreeze", json!({})),
        ),
        (
            json!({"expiresBefore": "2027-01-01"}),
            ("expiry_date", date("2026-12-01")),
            ("expiry_date", date("2027-12-01")),
        ),
        (
            json!({"expiresAfter": "2027-01-01"}),
            ("expiry_date", date("2027-12-01")),
            ("expiry_date", date("2026-12-01")),
        ),
    ];
    let id = client.account("a").await;
    let call = async |call: &str, members: &Value| {
        let mut members = members.clone();
        members["id"] = json!(id);
        client.call(call, members).await.ok();
    };
    for (number, (selector, begin, end)) in conditions.iter().enumerate() {
        for operation in operations.iter().skip(number % 2).step_by(2) {
            call(begin.0, &begin.1).await;
            let (job, _) = plan(&v3, selector.clone(), operation.clone()).await;
            call(end.0, &end.1).await;
            let version = client.get(id).await["version"].clone();
            let applied = run(&v3, &job, "apply", "applied").await;
            assert_eq!(applied["skipped"], 1, "{selector} {operation}: {applied}");
            assert_eq!(
                client.get(id).await["version"],
                version,
                "{selector} {operation}"
            );
        }
    }
    // A selector without a condition selects what is not deleted.
    let (job, _) = plan(&v3, json!({"all": true}), operations[0].clone()).await;
    let (restore, _) = {
        call("delete", &json!({})).await;
        plan(
            &v3,
            json!({"state": "deleted"}),
            json!({"operation": "restore"}),
        )
        .await
    };
    assert_eq!(run(&v3, &job, "apply", "applied").await["skipped"], 1);
    call("restore", &json!({})).await;
    assert_eq!(run(&v3, &restore, "apply", "applied").await["skipped"], 1);
}

#[tokio::test]
async fn what_a_worker_changed_that_lost_its_lease_counts_as_changed() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    client.account("a").await;
    let selector = json!({"state": "active"});
    let operation = json!({"operation": "status", "status": "inactive"});
    let (job, _) = plan(&v3, selector, operation).await;
    // The transaction stands for the first worker, whose page takes longer than the lease. This one
    // takes over, and waits for the account.
    let superuser = app.database.superuser().await;
    let mut slow = superuser.begin().await.unwrap();
    let change = format!(
        "update account set status = 'inactive', version = 2 where id = 1;
         insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect, request_id, before, after)
           values (1, 1, '2026-03-01T12:00:00Z', 2, 'deactivate', 'applied', '{{account.deactivated}}', 'reseller',
             'reseller 1, token 1, bulk job {job}', 'v3', 'bulk job {job}', '{{\"status\": \"active\"}}', '{{\"status\": \"inactive\"}}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(change))
        .execute(&mut *slow)
        .await
        .unwrap();
    assert_eq!(
        v3.call("POST", &format!("/v3/bulk-jobs/{job}/apply"), &Value::Null)
            .await
            .status,
        202
    );
    until("a worker that waits for the account", async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        (app.database.number(waiting).await > 0).then_some(())
    })
    .await;
    slow.commit().await.unwrap();
    let applied = finished(&v3, &job, "applied").await;
    assert_eq!(applied["changed"], 1, "{applied}");
    let items = v3.get(&format!("/v3/bulk-jobs/{job}/items")).await.ok();
    assert_eq!(items[0]["problem"], Value::Null);
    assert_eq!(run(&v3, &job, "revert", "reverted").await["reverted"], 1);
    assert_eq!(client.get(1).await["is_active"], true);
}

#[tokio::test]
async fn the_newest_thousand_finished_jobs_are_kept() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    client.account("a").await;
    let (job, _) = plan(&v3, json!({"all": true}), json!({"operation": "suspend"})).await;
    run(&v3, &job, "apply", "applied").await;
    let superuser = app.database.superuser().await;
    sqlx::raw_sql(
        "insert into bulk_job (reseller_id, id, command, selector, state, created_at, created_by, authority, updated_at)
           select 1, ('ffffffff-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, command, selector, 'applied', created_at, created_by,
             case when n > 1000 then 'operator' else authority end, updated_at
           from bulk_job, generate_series(1, 1010) as n",
    )
    .execute(&superuser)
    .await
    .unwrap();
    assert_eq!(app.service.delete_stale_bulk_jobs().await.unwrap(), 1);
    assert_eq!(v3.get(&format!("/v3/bulk-jobs/{job}")).await.status, 404);
    assert_eq!(app.database.number(ITEMS).await, 0);
    let count = "select count(*) from bulk_job";
    assert_eq!(app.database.number(count).await, 1_010);
}

#[tokio::test]
async fn open_jobs_are_limited_and_planned_ones_are_deleted_after_a_day() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (v3, theirs) = (V3::of(&client), V3::of(&other));
    let operator = V3::of(&app.operator().await);
    client.account("a").await;
    other.account("b").await;
    let suspend = json!({"operation": "suspend"});
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(plan(&v3, json!({"all": true}), suspend.clone()).await.0);
    }
    let body = json!({"selector": {"all": true}, "operation": suspend});
    let too_many = async || {
        refused(
            &v3.call("POST", "/v3/bulk-jobs", &body).await,
            409,
            "TOO_MANY_BULK_JOBS",
            "too_many_bulk_jobs: there are 20 planned or running bulk jobs already; apply or delete",
        );
    };
    too_many().await;
    // Neither the operator nor another reseller is limited by them.
    plan(&theirs, json!({"all": true}), suspend.clone()).await;
    let body_for = json!({"resellerId": 1, "selector": {"all": true}, "operation": suspend});
    let operators = operator.call("POST", "/v3/bulk-jobs", &body_for).await;
    assert_eq!(operators.status, 201, "{}", operators.body);
    let operators = operators.json()["id"].as_str().unwrap().to_owned();

    // The list has them, newest first, by page.
    let page = v3.get("/v3/bulk-jobs?limit=15").await;
    assert!(
        page.header("link").contains("before="),
        "{:?}",
        page.headers
    );
    let ids = |page: &Value| -> Vec<String> {
        let jobs = page.as_array().unwrap().iter();
        jobs.map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = ids(&page.ok());
    let rest = v3
        .get(&format!("/v3/bulk-jobs?before={}", first.last().unwrap()))
        .await
        .ok();
    let mut listed = [first, ids(&rest)].concat();
    listed.retain(|id| *id != operators);
    listed.reverse();
    assert_eq!(listed, jobs);

    // A finished or deleted job is not open.
    run(&v3, &jobs[0], "apply", "applied").await;
    plan(&v3, json!({"all": true}), suspend.clone()).await;
    too_many().await;
    let delete = async |by: &V3, id: &str| {
        by.call("DELETE", &format!("/v3/bulk-jobs/{id}"), &Value::Null)
            .await
    };
    assert_eq!(delete(&v3, &jobs[1]).await.status, 204);
    refused(&delete(&v3, &jobs[1]).await, 404, "BULK_JOB_NOT_FOUND", "");
    refused(
        &delete(&theirs, &jobs[2]).await,
        404,
        "BULK_JOB_NOT_FOUND",
        "",
    );
    refused(
        &delete(&v3, &operators).await,
        404,
        "BULK_JOB_NOT_FOUND",
        "",
    );
    plan(&v3, json!({"all": true}), suspend.clone()).await;
    let superuser = app.database.superuser().await;
    sqlx::raw_sql("update bulk_job set state = 'filling', claimed_until = '2030-01-01' where id = (select min(id::text)::uuid from bulk_job where state = 'listed' and reseller_id = 1)")
        .execute(&superuser)
        .await
        .unwrap();
    refused(
        &delete(&v3, &jobs[2]).await,
        409,
        "BULK_JOB_STATE",
        "bulk_job: the job is applying, and only a planned or finished job can be deleted",
    );
    assert_eq!(delete(&v3, &jobs[0]).await.status, 204);

    // After a day, those that were never applied are gone.
    let count = "select count(*) from bulk_job";
    as_of_the_previous_version(&app, &jobs[3], "planned").await;
    app.clock.advance(TimeDelta::hours(23));
    assert_eq!(app.service.delete_stale_bulk_jobs().await.unwrap(), 0);
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(app.service.delete_stale_bulk_jobs().await.unwrap(), 21);
    assert_eq!(app.database.number(count).await, 1);
    assert_eq!(app.database.number(ITEMS).await, 0);
    refused(
        &v3.call(
            "POST",
            &format!("/v3/bulk-jobs/{}/apply", jobs[5]),
            &Value::Null,
        )
        .await,
        404,
        "BULK_JOB_NOT_FOUND",
        "",
    );
}

#[tokio::test]
async fn the_accounts_of_a_finished_job_are_deleted_after_a_while_and_its_counts_stay() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = accounts(&client, 3).await;
    let (job, _) = plan(&v3, json!({"all": true}), json!({"operation": "suspend"})).await;
    let (old, _) = plan(&v3, json!({"all": true}), json!({"operation": "freeze"})).await;
    let applied = run(&v3, &job, "apply", "applied").await;
    as_of_the_previous_version(&app, &old, "planned").await;
    let applied_old = run(&v3, &old, "apply", "applied").await;
    let month = std::time::Duration::from_hours(24 * 30);
    app.clock.advance(TimeDelta::days(29));
    assert_eq!(app.service.trim_bulk_jobs(month).await.unwrap(), 0);
    assert_eq!(app.database.number(ITEMS).await, 6);
    app.clock.advance(TimeDelta::days(1));
    assert_eq!(app.service.trim_bulk_jobs(month).await.unwrap(), 2);
    assert_eq!(app.service.trim_bulk_jobs(month).await.unwrap(), 0);
    assert_eq!(app.database.number(ITEMS).await, 0);
    for (job, applied) in [(&job, applied), (&old, applied_old)] {
        let path = format!("/v3/bulk-jobs/{job}");
        let mut now = v3.get(&path).await.ok();
        now["updatedAt"] = applied["updatedAt"].clone();
        assert_eq!(now, applied);
        assert_eq!(v3.get(&format!("{path}/items")).await.ok(), json!([]));
        refused(
            &v3.call("POST", &format!("{path}/revert"), &Value::Null)
                .await,
            409,
            "BULK_JOB_TRIMMED",
            "bulk_job_trimmed",
        );
    }
    assert_eq!(client.get(ids[0]).await["is_suspended"], true);
}

#[tokio::test]
async fn the_jobs_of_a_suspended_reseller_pause() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let id = client.account("a").await;
    let (job, _) = plan(&v3, json!({"all": true}), json!({"operation": "retain"})).await;
    let body =
        json!({"resellerId": 1, "selector": {"all": true}, "operation": {"operation": "retain"}});
    let operators = operator.call("POST", "/v3/bulk-jobs", &body).await.json();
    app.suspend_reseller(reseller, true).await;
    let superuser = app.database.superuser().await;
    sqlx::raw_sql("update bulk_job set state = 'filling'")
        .execute(&superuser)
        .await
        .unwrap();
    let state = async |id: &Value| {
        let path = format!("/v3/bulk-jobs/{}", id.as_str().unwrap());
        operator.get(&path).await.ok()["state"].clone()
    };
    app.service.resume_bulk_jobs().await.unwrap();
    assert_eq!(state(&operators["id"]).await, "applied");
    assert_eq!(state(&json!(job)).await, "applying");
    app.suspend_reseller(reseller, false).await;
    app.service.resume_bulk_jobs().await.unwrap();
    assert_eq!(state(&json!(job)).await, "applied");
    assert_eq!(client.history(id).await.len(), 3);
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
        (json!({"selector": {"all": true}}), "operation: is required"),
        (
            json!({"selector": {"state": "frozen"}, "operation": {"operation": "freeze"}}),
            "selector: finds no account",
        ),
        (
            json!({"selector": {"state": "sad"}, "operation": {"operation": "freeze"}}),
            "state: must be one of",
        ),
        (
            json!({"selector": {"all": true}, "operation": {"operation": "dance"}}),
            "operation: must be one of",
        ),
        (
            json!({"selector": {"all": true}, "operation": {"operation": "unfreeze", "holdId": "00000000-0000-4000-8000-000000000000"}}),
            "operation: cannot be done in bulk",
        ),
        (
            json!({"selector": {"all": true}, "operation": {"operation": "freeze", "paymentUrl": "ftp://x"}}),
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
    let body = json!({"selector": {"all": true}, "operation": {"operation": "suspend"}});
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

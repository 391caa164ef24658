//! The account limit of a reseller holds on every road on which an account comes to life.

use futures_util::future::join_all;
use serde_json::{Value, json};
use steward::domain::{Error, Patch, ResellerId, Revision};
use steward::service::{Context, Principal, ResellerPatch};

use crate::harness::process::until;
use crate::harness::soap::Soap;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

async fn limited(app: &App, limit: i32) -> (ResellerId, Client) {
    let patch = ResellerPatch {
        account_limit: Patch::Set(limit),
        ..ResellerPatch::default()
    };
    let reseller = app.reseller_with("Acme", patch).await;
    (reseller, app.client(&app.token(Some(reseller), None).await))
}

async fn live(app: &App) -> i64 {
    app.database
        .number("select count(*) from account where deleted_at is null")
        .await
}

async fn job(v3: &V3, id: &str, verb: &str, state: &str) -> Value {
    let path = format!("/v3/bulk-jobs/{id}");
    let started = v3
        .call("POST", &format!("{path}/{verb}"), &Value::Null)
        .await;
    assert_eq!(started.status, 202, "{}", started.body);
    until("a finished job", async || {
        Some(v3.get(&path).await.ok()).filter(|job| job["state"] == state)
    })
    .await
}

#[tokio::test]
async fn no_road_leads_past_the_limit() {
    let app = App::new().await;
    let (reseller, client) = limited(&app, 3).await;
    let v3 = V3::of(&client);
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(client.account(name).await);
    }
    // A job that deletes one, and can be reverted.
    client.call("suspend", json!({"id": ids[0]})).await.ok();
    let body = json!({"selector": {"state": "suspended"}, "operation": {"operation": "delete"}});
    let planned = v3.call("POST", "/v3/bulk-jobs", &body).await.json();
    let deletion = planned["id"].as_str().unwrap();
    assert_eq!(job(&v3, deletion, "apply", "applied").await["changed"], 1);
    let deleted = ids[0];
    let fourth = client.account("d").await;
    assert_eq!(live(&app).await, 3);

    // Restored, in each dialect, in bulk, by a job, and by the revert of a job.
    client
        .call("restore", json!({"id": deleted}))
        .await
        .is_error(402, "Tariff limit reached");
    let path = format!("/v3/accounts/{deleted}/restore");
    let restored = v3.call("POST", &path, &Value::Null).await;
    assert_eq!(restored.status, 409, "{}", restored.body);
    assert!(restored.body.contains("quota_reached"), "{}", restored.body);
    let operations = json!({"operations": [{"operation": "restore", "account": deleted}]});
    let bulk = v3.call("POST", "/v3/bulk", &operations).await.ok();
    assert_eq!(bulk["results"][0]["status"], 409, "{bulk}");
    let body = json!({"selector": {"state": "deleted"}, "operation": {"operation": "restore"}});
    let planned = v3.call("POST", "/v3/bulk-jobs", &body).await.json();
    let restoration = planned["id"].as_str().unwrap();
    let applied = job(&v3, restoration, "apply", "applied").await;
    assert_eq!(applied["failed"], 1, "{applied}");
    let reverted = job(&v3, deletion, "revert", "reverted").await;
    assert_eq!(reverted["kept"], 1, "{reverted}");
    let items = v3
        .get(&format!("/v3/bulk-jobs/{deletion}/items"))
        .await
        .ok();
    assert!(
        items[0]["problem"].as_str().unwrap().contains("quota"),
        "{items}"
    );
    // Created, in each dialect, and as the import does it.
    client
        .call("save", json!({"name": "e", "title": "e", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9}))
        .await
        .is_error(402, "Tariff limit reached");
    assert_eq!(
        v3.call("POST", "/v3/accounts", &json!({})).await.status,
        409
    );
    let members = "<name>e</name><email>e@example.com</email><password>secret</password><planID>0</planID><sendEmail>false</sendEmail>";
    let (code, ..) = Soap::of(&client).call("CreateAccount", members).await;
    assert_eq!(code, "NoCredit");
    let context = Context {
        principal: Principal::command_line(),
        dialect: steward::domain::Dialect::Cli,
        request_id: "import".to_owned(),
    };
    let imported = app
        .service
        .create(&context, Some(reseller), Revision::default(), None);
    assert_eq!(imported.await.unwrap_err(), Error::QuotaReached);
    assert_eq!(live(&app).await, 3);

    // A place that becomes free can be taken, once.
    client.call("delete", json!({"id": fourth})).await.ok();
    client.call("restore", json!({"id": deleted})).await.ok();
    client
        .call("restore", json!({"id": fourth}))
        .await
        .is_error(402, "Tariff limit reached");
    client.call("restore", json!({"id": deleted})).await.ok();
    assert_eq!(live(&app).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_on_two_replicas_do_not_get_past_the_limit() {
    let app = App::new().await;
    let (_, client) = limited(&app, 30).await;
    let replica = app.replica(&client);
    let ids = join_all((0..30).map(async |number| client.account(&format!("a{number}")).await));
    let ids = ids.await;
    join_all(ids[..25].iter().map(async |id| {
        client.call("delete", json!({ "id": id })).await.ok();
    }))
    .await;
    // 5 are live. 25 restorations and 25 creations compete for 25 places.
    let restore = async |number: usize, id: i64| {
        let client = if number.is_multiple_of(2) {
            &client
        } else {
            &replica
        };
        client
            .call("restore", json!({ "id": id }))
            .await
            .status
            .as_u16()
    };
    let create = async |number: usize| {
        let client = if number.is_multiple_of(2) {
            &client
        } else {
            &replica
        };
        let created = V3::of(client)
            .call("POST", "/v3/accounts", &json!({}))
            .await;
        created.status.as_u16()
    };
    let restored = join_all(
        ids[..25]
            .iter()
            .enumerate()
            .map(|(at, id)| restore(at, *id)),
    );
    let created = join_all((0..25).map(create));
    let (restored, created) = tokio::join!(restored, created);
    let done = |statuses: &[u16]| statuses.iter().filter(|it| **it < 300).count();
    assert_eq!(
        done(&restored) + done(&created),
        25,
        "{restored:?} {created:?}"
    );
    assert_eq!(live(&app).await, 30);
    assert!(
        restored.iter().all(|it| [200, 402].contains(it)),
        "{restored:?}"
    );
    assert!(
        created.iter().all(|it| [201, 409].contains(it)),
        "{created:?}"
    );
}

/// Deletions in the same batch free only the places that were below the limit.
#[tokio::test]
async fn a_limit_below_the_number_of_accounts_stays_one_when_some_are_deleted() {
    let app = App::new().await;
    let (reseller, client) = limited(&app, 10).await;
    let ids = join_all((0..10).map(async |number| client.account(&format!("a{number}")).await));
    let ids = ids.await;
    client.call("delete", json!({"id": ids[9]})).await.ok();
    let patch = ResellerPatch {
        account_limit: Patch::Set(5),
        ..ResellerPatch::default()
    };
    app.service
        .revise_reseller(&Principal::command_line(), reseller, patch, None)
        .await
        .unwrap();
    // The operations are queued together, so one batch carries them out.
    let operation = |name: &str, id: i64| json!({"operation": name, "account": id});
    let operations = json!([
        operation("delete", ids[0]),
        operation("delete", ids[1]),
        operation("restore", ids[9]),
    ]);
    let v3 = V3::of(&client);
    let body = json!({ "operations": operations });
    let done = v3.call("POST", "/v3/bulk", &body).await.ok();
    let statuses: Vec<&Value> = (0..3).map(|at| &done["results"][at]["status"]).collect();
    assert_eq!(statuses, [204, 204, 409], "{done}");
    assert_eq!(live(&app).await, 7);
}

#[tokio::test]
async fn the_recount_waits_for_nobody_and_nobody_for_it() {
    let app = App::new().await;
    let (_, client) = limited(&app, 5).await;
    client.account("a").await;
    let superuser = app.database.superuser().await;
    // As a creation does that is not committed yet.
    let mut tx = superuser.begin().await.unwrap();
    sqlx::raw_sql("select id from reseller where id = 1 for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    app.service.recount_accounts().await.unwrap();
    tx.rollback().await.unwrap();
    sqlx::raw_sql("update reseller set counted_accounts = 4 where id = 1")
        .execute(&superuser)
        .await
        .unwrap();
    app.service.recount_accounts().await.unwrap();
    let counted = "select counted_accounts from reseller where id = 1";
    assert_eq!(app.database.number(counted).await, 1);
}

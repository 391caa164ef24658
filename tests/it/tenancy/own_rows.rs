//! A reseller's requests have transactions that may touch its own rows only, and operators'
//! operations are refused before anything is read.

use serde_json::{Value, json};
use sqlx::PgPool;
use steward::dialects::operation::Access;
use steward::dialects::{admin, soap, v3};

use super::two_layers::{run, tenant_tables};
use crate::harness::App;
use crate::harness::soap::Soap;
use crate::harness::v3::V3;

/// Lets every statement of a transaction of the platform fail.
async fn refuse_the_platform(superuser: &PgPool) {
    run(
        superuser,
        "create function refuse_the_platform() returns boolean language plpgsql as $$
         begin
           if current_setting('steward.scope', true) = 'platform' then
             raise exception 'a transaction with the rows of every reseller';
           end if;
           return false;
         end $$",
    )
    .await;
    for (table, _) in tenant_tables(superuser).await {
        let alter = format!("alter policy of_platform on {table} using (refuse_the_platform())");
        run(superuser, alter).await;
    }
}

/// One of everything that an id in a path can name, made by the caller.
async fn path_of(v3: &V3, operation: &v3::Operation) -> String {
    let made = async |path: &str, body: Value| {
        let document = v3.call("POST", path, &body).await.json();
        let id = &document["id"];
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    };
    let job = json!({"selector": {"all": true}, "operation": {"operation": "restore"}});
    let id = match operation.id {
        v3::Id::None => String::new(),
        v3::Id::Account => made("/v3/accounts", json!({})).await,
        v3::Id::Plan => made("/v3/plans", json!({"name": "x", "displayName": "x"})).await,
        v3::Id::Token => made("/v3/tokens", json!({})).await,
        v3::Id::Webhook => made("/v3/webhooks", json!({"url": "https://example.com"})).await,
        v3::Id::Entry => {
            made("/v3/accounts", json!({})).await;
            let logs = v3.get("/v3/event-logs?limit=1").await.json();
            logs[0]["id"].as_str().unwrap().to_owned()
        }
        v3::Id::BulkJob => made("/v3/bulk-jobs", job).await,
        v3::Id::Reseller => "1".to_owned(),
        v3::Id::EventLog => "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    operation.path.replace("{id}", &id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_a_reseller_may_touch_the_rows_of_every_reseller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    let operator = V3::of(&app.operator().await);
    let id = client.account("a").await;
    let superuser = app.database.superuser().await;
    refuse_the_platform(&superuser).await;
    // The operator's reads show that the trap works.
    let refused = operator.get("/v3/accounts").await;
    assert_eq!(refused.status.as_u16(), 500, "{}", refused.body);
    for operation in v3::OPERATIONS {
        if !matches!(operation.access, Access::Scope(_)) {
            continue;
        }
        let path = path_of(&v3, operation).await;
        let answer = v3
            .send(operation.method, &path, &[], operation.example)
            .await;
        // No attempt was made that could be repeated, and a planned job cannot be reverted.
        let expected = match operation.name {
            "webhooks_redeliver_one" => 404,
            "bulk_jobs_revert" => 409,
            _ => operation.success,
        };
        assert_eq!(
            answer.status.as_u16(),
            expected,
            "{}: {}",
            operation.name,
            answer.body
        );
        // Each part of a bulk request has a status of its own.
        assert!(
            !answer.body.contains("\"status\":500"),
            "{}: {}",
            operation.name,
            answer.body
        );
    }
    for operation in admin::OPERATIONS {
        let mut members: Value = serde_json::from_str(operation.example).unwrap();
        if members["id"] == json!(7) {
            members["id"] = json!(client.account(operation.name).await);
        }
        let answer = client.call(operation.name, members).await;
        assert_eq!(
            answer.status.as_u16(),
            200,
            "{}: {}",
            operation.name,
            answer.body
        );
    }
    // The answers of `soap` distinguish an account of another reseller from none, so it looks the
    // account up among all resellers. What names no account needs no look-up.
    let members = "<email>soap@example.com</email><name>n</name>";
    let answer = soap.call("CreateAccount", members).await;
    assert!(format!("{answer:?}").contains("Success"), "{answer:?}");
    for operation in soap::OPERATIONS {
        let names_account = operation.account_child().is_some();
        let members = format!("<accountID>{id}</accountID><email>a@example.com</email>");
        let answer = soap.call(operation.name, &members).await;
        let is_refused = format!("{answer:?}").contains("GeneralError");
        assert_eq!(is_refused, names_account, "{}: {answer:?}", operation.name);
    }
}

#[tokio::test]
async fn an_operation_for_operators_is_refused_before_its_body_is_read() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let operators_only = v3::OPERATIONS
        .iter()
        .filter(|row| matches!(row.access, Access::Operator(_)));
    for operation in operators_only {
        let path = operation.path.replace("{id}", "1");
        let answer = v3
            .send(operation.method, &path, &[], "neither JSON nor XML")
            .await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.json()["message"].as_str().unwrap()
            ),
            (403, "Only an operator's token may do this"),
            "{}",
            operation.name
        );
    }
}

//! Every call of every dialect, tried with every kind of credential. The calls are read off the table of operations,
//! so a new one is in the matrix by itself.

use axum::http::Request;
use serde_json::{Value, json};
use steward::dialects::admin::OPERATIONS;
use steward::dialects::operation::Access;
use steward::domain::Scope;
use steward::service::Principal;

use crate::harness::app::send;
use crate::harness::process::until;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// Members that every call accepts.
fn members(id: i64) -> Value {
    json!({"id": id, "status": "active", "expiry_date": "2027-01-01", "title": "t", "exempt_until": null, "operations": [{"call": "activate"}]})
}

async fn try_call(client: &Client, call: &str, token: Option<&str>, id: i64) -> (u16, String) {
    let mut body = members(id);
    if let Some(token) = token {
        body["token"] = json!(token);
    }
    let answer = client.raw(call, "application/json", body.to_string()).await;
    (
        answer.status.as_u16(),
        answer.json()["error_text"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn every_call_with_every_kind_of_credential() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (mine, theirs) = (client.account("a").await, other.account("b").await);
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let revoked = app.token(Some(reseller), None).await;
    let principal = app
        .service
        .authenticate(&revoked.clone().into())
        .await
        .unwrap();
    app.service
        .revoke_token(&Principal::command_line(), principal.token.unwrap(), None)
        .await
        .unwrap();
    let other_letter = if client.token.as_bytes()[20] == b'a' {
        "b"
    } else {
        "a"
    };
    let mutated = format!(
        "{}{other_letter}{}",
        &client.token[..20],
        &client.token[21..]
    );

    for operation in OPERATIONS {
        let call = operation.name;
        let scope = operation.access.scope().unwrap();
        let other = if scope == Scope::AccountRead {
            Scope::AccountWrite
        } else {
            Scope::AccountRead
        };
        let wrong = app.token(Some(reseller), Some(&[other])).await;
        let right = app.token(Some(reseller), Some(&[scope])).await;
        assert_eq!(
            try_call(&client, call, None, mine).await,
            (401, "API token required".to_owned()),
            "{call}, no token"
        );
        assert_eq!(
            try_call(&client, call, Some(""), mine).await,
            (401, "API token required".to_owned()),
            "{call}, empty token"
        );
        for (kind, token) in [
            ("garbage", "abcdefghijklmnqrstuvwxyz"),
            ("mutated", &mutated),
            ("revoked", &revoked),
        ] {
            assert_eq!(
                try_call(&client, call, Some(token), mine).await,
                (401, "API token is invalid".to_owned()),
                "{call}, {kind} token"
            );
        }
        let (status, text) = try_call(&client, call, Some(&wrong), mine).await;
        assert_eq!(
            (status, text.as_str()),
            (
                403,
                format!("No access rights: the token lacks {scope}").as_str()
            ),
            "{call}"
        );
        if call != "list" {
            let foreign = try_call(&client, call, Some(&client.token), theirs).await;
            let unknown = try_call(&client, call, Some(&client.token), 2_000_000_000).await;
            assert_eq!(
                foreign,
                (404, "Account not found".to_owned()),
                "{call}, another reseller's"
            );
            assert_eq!(
                foreign, unknown,
                "{call}: another reseller's account must look like none"
            );
        }
        let (status, text) = try_call(&client, call, Some(&right), mine).await;
        assert_eq!(
            (status, text.as_str()),
            (200, "Successful operation"),
            "{call}, the right token"
        );
        if call == "delete" {
            client.call("restore", json!({"id": mine})).await.ok();
        }
    }
    assert_eq!(
        other.get(theirs).await["version"],
        1,
        "nothing reached the other reseller's account"
    );
    assert_eq!(other.history(theirs).await.len(), 1);
}

#[tokio::test]
async fn an_expired_token_is_not_valid_and_a_rotated_one_is_for_the_grace_period() {
    use chrono::TimeDelta;
    use secrecy::ExposeSecret as _;
    use std::time::Duration;
    use steward::service::TokenRequest;
    let app = App::new().await;
    let reseller = app.reseller("Acme").await;
    let hour = Duration::from_hours(1);
    let request = TokenRequest {
        reseller: Some(reseller),
        expires_in: Some(hour * 10),
        ..TokenRequest::default()
    };
    let issued = app.issue(request).await;
    let by = Principal::command_line();
    let old = app.client(issued.token.expose_secret());
    let id = old.account("a").await;
    let rotated = app
        .service
        .rotate_token(&by, issued.credential.id, hour, None)
        .await
        .unwrap()
        .done()
        .unwrap();
    let new = app.client(rotated.token.expose_secret());
    assert_eq!(
        (
            old.get(id).await["id"].clone(),
            new.get(id).await["id"].clone()
        ),
        (json!(id), json!(id))
    );
    app.clock.advance(TimeDelta::hours(1));
    old.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    new.get(id).await;
    app.clock.advance(TimeDelta::hours(9));
    new.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    assert!(
        app.service
            .rotate_token(&by, issued.credential.id, hour, None)
            .await
            .is_err(),
        "an expired token cannot be rotated"
    );
}

#[tokio::test]
async fn nobody_without_a_token_learns_whether_a_request_was_right() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    for body in ["{}", r#"{"id":"x"}"#, r#"{"id":1,"id":1}"#] {
        client
            .raw("freeze", "application/json", body)
            .await
            .is_error(401, "API token required");
    }
    let request = Request::post("/api/v1.1/admin/accounts/freeze")
        .header("content-type", "application/json")
        .header("authorization", "Bearer x");
    send(&app.router, request.body("{}".into()).unwrap())
        .await
        .is_error(401, "API token is invalid");
}

#[tokio::test]
async fn every_v3_operation_with_every_kind_of_credential() {
    use axum::body::Body;
    use steward::dialects::v3::{self, Id};
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (mine, theirs) = (client.account("a").await, other.account("b").await);
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let try_operation = |operation: &'static v3::Operation, token: Option<String>, id: String| {
        let path = operation.path.replace("{id}", &id);
        let mut request = Request::builder().method(operation.method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !operation.example.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let (router, request) = (
            app.router.clone(),
            request.body(Body::from(operation.example)).unwrap(),
        );
        async move {
            let answer = send(&router, request).await;
            let document = if answer.body.starts_with('{') {
                answer.json()
            } else {
                Value::Null
            };
            (
                answer.status.as_u16(),
                document["code"].as_str().unwrap_or_default().to_owned(),
                document["id"].clone(),
            )
        }
    };
    let named = |name: &str| {
        v3::OPERATIONS
            .iter()
            .find(|operation| operation.name == name)
            .unwrap()
    };
    let made = |name: &'static str, token: String| {
        let answer = try_operation(named(name), Some(token), String::new());
        async move {
            let (status, _, id) = answer.await;
            assert_eq!(status, 201, "{name}");
            id.as_str().map_or_else(|| id.to_string(), str::to_owned)
        }
    };
    let (my_plan, their_plan) = (
        made("plans_create", client.token.clone()).await,
        made("plans_create", other.token.clone()).await,
    );
    let (my_token, their_token) = (
        made("tokens_create", client.token.clone()).await,
        made("tokens_create", other.token.clone()).await,
    );
    let (my_webhook, their_webhook) = (
        made("webhooks_create", client.token.clone()).await,
        made("webhooks_create", other.token.clone()).await,
    );
    let (my_job, their_job) = (
        made("bulk_jobs_create", client.token.clone()).await,
        made("bulk_jobs_create", other.token.clone()).await,
    );
    let logged = async |webhook: &str, reseller: i64| {
        let superuser = app.database.superuser().await;
        let insert = "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, duration_ms)
            select reseller_id, id, id, 1, 'account.updated', 1, created_at, 1, created_at, true, 1 from webhook_endpoint where id = $1::text::uuid and reseller_id = $2";
        assert_eq!(
            sqlx::query(insert)
                .bind(webhook)
                .bind(reseller)
                .execute(&superuser)
                .await
                .unwrap()
                .rows_affected(),
            1
        );
        webhook.to_owned()
    };
    let (my_log, their_log) = (
        logged(&my_webhook, 1).await,
        logged(&their_webhook, 2).await,
    );
    let newest = async |client: &Client| {
        let logs = V3::of(client).get("/v3/event-logs?limit=1").await.ok();
        logs[0]["id"].as_str().unwrap().to_owned()
    };
    let (my_entry, their_entry) = (newest(&client).await, newest(&other).await);
    let their_uid = other.get(theirs).await["uid"].as_str().unwrap().to_owned();
    let nobody = "00000000-0000-4000-8000-000000000000";
    for operation in v3::OPERATIONS {
        let name = format!("{} {}", operation.method, operation.path);
        let uuids = |theirs: &String| vec![theirs.clone(), nobody.to_owned(), "1".to_owned()];
        let (mine, foreign, missing) = match operation.id {
            Id::Account => (
                mine.to_string(),
                vec![
                    theirs.to_string(),
                    their_uid.clone(),
                    nobody.to_owned(),
                    "2000000000".to_owned(),
                ],
                "ACCOUNT_NOT_FOUND",
            ),
            Id::BulkJob => (my_job.clone(), uuids(&their_job), "BULK_JOB_NOT_FOUND"),
            Id::Plan => (my_plan.clone(), uuids(&their_plan), "PLAN_NOT_FOUND"),
            Id::Webhook => (
                my_webhook.clone(),
                uuids(&their_webhook),
                "WEBHOOK_NOT_FOUND",
            ),
            Id::EventLog => (my_log.clone(), uuids(&their_log), "EVENT_LOG_NOT_FOUND"),
            Id::Entry => (
                my_entry.clone(),
                vec![
                    their_entry.clone(),
                    "2000000000".to_owned(),
                    nobody.to_owned(),
                ],
                "EVENT_LOG_NOT_FOUND",
            ),
            Id::Token => (
                my_token.clone(),
                vec![
                    their_token.clone(),
                    "2000000000".to_owned(),
                    nobody.to_owned(),
                ],
                "TOKEN_NOT_FOUND",
            ),
            Id::Reseller => (
                reseller.to_string(),
                vec!["2000000000".to_owned(), nobody.to_owned()],
                "RESELLER_NOT_FOUND",
            ),
            Id::None => (String::new(), Vec::new(), ""),
        };
        let is = |(status, code, _): (u16, String, Value), wanted: (u16, &str), case: &str| {
            assert_eq!((status, code.as_str()), wanted, "{name}, {case}");
        };
        if operation.access == Access::AnyToken {
            let unauthenticated = (401, "AUTHENTICATION_FAILED");
            for token in [None, Some("garbage".to_owned())] {
                let answer = try_operation(operation, token, mine.clone()).await;
                is(answer, unauthenticated, "no token of this service");
            }
            for scope in [Scope::AccountRead, Scope::TokenWrite] {
                let token = app.token(Some(reseller), Some(&[scope])).await;
                let answer = try_operation(operation, Some(token), mine.clone()).await;
                is(answer, (200, ""), "any scope");
            }
            continue;
        }
        let Some(scope) = operation.access.scope() else {
            // The ticket of the example is none of ours: refused as a credential, not for the lack of one.
            is(
                try_operation(operation, None, mine).await,
                (401, "AUTHENTICATION_FAILED"),
                "without a token",
            );
            continue;
        };
        is(
            try_operation(operation, None, mine.clone()).await,
            (401, "AUTHENTICATION_FAILED"),
            "no token",
        );
        is(
            try_operation(operation, Some("garbage".to_owned()), mine.clone()).await,
            (401, "AUTHENTICATION_FAILED"),
            "garbage",
        );
        let wrong = if scope == Scope::AccountRead {
            Scope::WebhookWrite
        } else {
            Scope::AccountRead
        };
        let wrong = app.token(Some(reseller), Some(&[wrong])).await;
        is(
            try_operation(operation, Some(wrong), mine.clone()).await,
            (403, "INSUFFICIENT_SCOPE"),
            "wrong scope",
        );
        let owner = Some(reseller).filter(|_| matches!(operation.access, Access::Scope(_)));
        let right = app.token(owner, Some(&[scope])).await;
        if operation.path.contains("{id}") {
            let malformed = ["0", "-1", "99999999999999999999", "nonsense"].map(str::to_owned);
            for id in foreign.into_iter().chain(malformed) {
                is(
                    try_operation(operation, Some(right.clone()), id.clone()).await,
                    (404, missing),
                    &id,
                );
            }
            if operation.name == "resellers_get" {
                let theirs = app
                    .service
                    .find_reseller("Other")
                    .await
                    .unwrap()
                    .to_string();
                is(
                    try_operation(operation, Some(right.clone()), theirs).await,
                    (404, missing),
                    "another reseller",
                );
            }
        }
        // What is applied in the background is reverted once it is, and then deleted.
        let needed = match operation.name {
            "bulk_jobs_revert" => Some("applied"),
            "bulk_jobs_delete" => Some("reverted"),
            _ => None,
        };
        if let Some(state) = needed {
            let (v3, path) = (V3::of(&client), format!("/v3/bulk-jobs/{mine}"));
            until("the job reached its state", async || {
                (v3.get(&path).await.ok()["state"] == state).then_some(())
            })
            .await;
        }
        let (status, code, _) = try_operation(operation, Some(right), mine).await;
        assert_eq!(
            (status, code.as_str()),
            (operation.success, ""),
            "{name}, the right token"
        );
    }
    assert_eq!(
        other.get(theirs).await["version"],
        1,
        "nothing reached the other reseller's account"
    );
    assert!(
        app.service
            .authenticate(&other.token.clone().into())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn every_soap_operation_with_every_kind_of_credential() {
    use steward::dialects::soap;
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (mine, theirs) = (client.account("a").await, other.account("b").await);
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let (readable, writable) = (
        app.token(Some(reseller), Some(&[Scope::AccountRead])).await,
        app.token(Some(reseller), Some(&[Scope::AccountWrite]))
            .await,
    );
    let call = |name: &'static str, token: String, id: i64, email: &'static str| {
        let children = format!(
            "<authToken>{token}</authToken><accountID>{id}</accountID><email>{email}@example.com</email><expiryDate>2030-01-01</expiryDate><status>active</status><name>n</name><password>secret</password><planID>1</planID><planName>p</planName>"
        );
        let envelope = format!(
            "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body><{name} xmlns='Zoolz'>{children}</{name}></e:Body></e:Envelope>"
        );
        let request = Request::post(soap::PATH)
            .header("content-type", "application/soap+xml")
            .body(envelope.into())
            .unwrap();
        let router = app.router.clone();
        async move {
            let answer = send(&router, request).await;
            assert_eq!(answer.status.as_u16(), 200, "{name}: {}", answer.body);
            answer
                .body
                .split_once("<Code>")
                .unwrap()
                .1
                .split_once("</Code>")
                .unwrap()
                .0
                .to_owned()
        }
    };
    let plan = json!({"name": "p", "displayName": "p"});
    let plan = V3::of(&client).call("POST", "/v3/plans", &plan).await;
    assert_eq!(plan.status, 201);
    for (index, operation) in soap::OPERATIONS.iter().enumerate() {
        let name = operation.name;
        let reads = name.starts_with("Get");
        let (right, wrong) = if reads {
            (&readable, &writable)
        } else {
            (&writable, &readable)
        };
        for token in ["", "garbage", wrong.as_str()] {
            assert_eq!(
                call(name, token.to_owned(), mine, "a").await,
                "InvalidAuth",
                "{name}"
            );
        }
        if let Some(child) = operation.account_child() {
            let refused = match child {
                "accountID" => "InvalidAccount",
                _ => "InvalidEmail",
            };
            assert_eq!(
                call(name, right.clone(), theirs, "b").await,
                refused,
                "{name}, another reseller's"
            );
            assert_eq!(
                call(name, right.clone(), 2_000_000_000, "nobody").await,
                refused,
                "{name}, nobody's"
            );
        }
        let created = ["created", "second", "third", "fourth"];
        let email = if name.starts_with("CreateAccount") {
            created[index % created.len()]
        } else {
            "a"
        };
        let expected = match name {
            "GetAccountInfoUsingEmailAndPass" | "GetAccountInfoByEmailAndPass" => "InvalidPassword",
            "ResetPassword" | "ToggleNetworkDrive" => "GeneralError",
            _ => "Success",
        };
        assert_eq!(
            call(name, right.clone(), mine, email).await,
            expected,
            "{name}"
        );
        if name.starts_with("DeleteAccount") {
            client.call("restore", json!({"id": mine})).await.ok();
        }
    }
    assert_eq!(
        other.get(theirs).await["version"],
        1,
        "nothing reached the other reseller's account"
    );
}

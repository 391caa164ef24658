//! Every operation of the dialect in one conversation, in JSON.

use chrono::TimeDelta;
use serde_json::json;
use steward::dialects::v3::OPERATIONS;

use crate::harness::app::Answer;
use crate::harness::process::until;
use crate::harness::transcript::Transcript;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

struct Story {
    app: App,
    transcript: Transcript,
    token: String,
}

impl Story {
    /// Drives an operation, with `id` in place of `{id}` in its path. Fails unless it succeeds.
    async fn call(&mut self, method: &str, path: &str, id: &str, body: &str) -> Answer {
        self.app.clock.advance(TimeDelta::minutes(1));
        let template = path.split('?').next().unwrap();
        let token = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", token.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let operation = format!("{method} {template}");
        let path = path.replace("{id}", id);
        let answer = self
            .transcript
            .send(&operation, method, &path, &headers, body)
            .await;
        assert!(
            answer.status.is_success(),
            "{operation}: {} {}",
            answer.status,
            answer.body
        );
        answer
    }

    /// Creates something, and names the random `id` of the answer.
    async fn create(&mut self, name: &str, path: &str, body: &str) -> String {
        let answer = self.call("POST", path, "", body).await.json();
        let id = answer["id"].as_str().unwrap().to_owned();
        self.transcript.name(name, &id);
        id
    }
}

#[tokio::test]
async fn every_operation() {
    let app = App::new().await;
    let operator = app.operator().await;
    let acme = app.new_reseller("Acme").await;
    let mut transcript = Transcript::new(&app.router);
    transcript.name("operator's token", &operator.token);
    transcript.name("token", &acme.token);
    let mut story = Story {
        app,
        transcript,
        token: operator.token.clone(),
    };
    resellers(&mut story).await;
    story.token = acme.token.clone();
    let plan = plans_and_accounts(&mut story).await;
    holds(&mut story, &plan).await;
    bulk(&mut story, &acme).await;
    tokens(&mut story).await;
    webhooks(&mut story).await;
    story.token = operator.token;
    let suspensions = "/v3/resellers/{id}/suspensions";
    story.call("GET", suspensions, "2", "").await;

    let operations: Vec<String> = OPERATIONS
        .iter()
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .map(|row| {
            row.split_once(' ')
                .map(|(method, path)| format!("{} {path}", method.to_uppercase()))
                .unwrap()
        })
        .collect();
    let missing = story
        .transcript
        .missing(operations.iter().map(String::as_str));
    assert_eq!(missing, [""; 0], "operations without an example");
    insta::assert_snapshot!(story.transcript.finish());
}

/// The operator's calls.
async fn resellers(story: &mut Story) {
    let new = r#"{"name":"Beta","timezone":"Europe/Berlin"}"#;
    story.call("POST", "/v3/resellers", "", new).await;
    story.call("GET", "/v3/resellers", "", "").await;
    let limit = r#"{"accountLimit":1000}"#;
    story.call("PATCH", "/v3/resellers/{id}", "2", limit).await;
    for path in ["suspend", "unsuspend", "approve-purge"] {
        let path = format!("/v3/resellers/{{id}}/{path}");
        story.call("POST", &path, "2", "").await;
    }
    story.call("GET", "/v3/resellers/{id}", "2", "").await;
}

/// Answers the id of the plan.
async fn plans_and_accounts(story: &mut Story) -> String {
    let plan = r#"{"name":"pro","displayName":"Pro","interval":"month","amount":"49.00"}"#;
    let plan = story.create("plan", "/v3/plans", plan).await;
    story.call("GET", "/v3/plans", "", "").await;
    story.call("GET", "/v3/plans/{id}", &plan, "").await;
    let deprecated = r#"{"deprecated":true}"#;
    story
        .call("PATCH", "/v3/plans/{id}", &plan, deprecated)
        .await;

    let account = r#"{"email":"jo@example.com","company":"Jo's"}"#;
    story.create("account", "/v3/accounts", account).await;
    story.call("GET", "/v3/accounts/{id}", "1", "").await;
    story.call("GET", "/v3/accounts?limit=10", "", "").await;
    for (method, path, body) in [
        ("PATCH", "", r#"{"company":"Jo & Co"}"#),
        ("PUT", "/status", r#"{"status":"active"}"#),
        (
            "PUT",
            "/expires-at",
            r#"{"expiresAt":"2026-12-31T23:59:59Z"}"#,
        ),
        (
            "PUT",
            "/exempt-until",
            r#"{"exemptUntil":"2026-06-30T00:00:00Z"}"#,
        ),
    ] {
        let path = format!("/v3/accounts/{{id}}{path}");
        story.call(method, &path, "1", body).await;
    }
    plan
}

async fn holds(story: &mut Story, plan: &str) {
    let freeze = r#"{"paymentUrl":"https://pay.example/1","releaseTicket":true}"#;
    let frozen = story
        .call("POST", "/v3/accounts/{id}/freeze", "1", freeze)
        .await;
    let ticket = frozen.json()["releaseTicket"].as_str().unwrap().to_owned();
    story.transcript.name("ticket", &ticket);
    let suspend = r#"{"reasonCode":"abuse","publicMessage":"Please contact us."}"#;
    let simulate = r#"{"operations":[{"operation":"unfreeze"},{"operation":"delete"}]}"#;
    for (method, path, body) in [
        ("POST", "/suspend", suspend),
        ("GET", "/holds", ""),
        ("GET", "/access", ""),
        ("GET", "/explain", ""),
        ("POST", "/simulate", simulate),
        ("POST", "/unsuspend", ""),
        ("POST", "/retain", r#"{"reasonCode":"legal"}"#),
        ("POST", "/release", ""),
    ] {
        let path = format!("/v3/accounts/{{id}}{path}");
        story.call(method, &path, "1", body).await;
    }
    let redeem = json!({ "ticket": ticket }).to_string();
    story
        .call("POST", "/v3/release-tickets/redeem", "", &redeem)
        .await;
    story
        .call("POST", "/v3/accounts/{id}/unfreeze", "1", "")
        .await;
    story.call("DELETE", "/v3/accounts/{id}", "1", "").await;
    story
        .call("POST", "/v3/accounts/{id}/restore", "1", "")
        .await;
    story
        .call("GET", "/v3/accounts/{id}/timeline", "1", "")
        .await;
    story
        .call("GET", "/v3/accounts/{id}/history", "1", "")
        .await;
    story.call("GET", "/v3/purge-plan", "", "").await;
    story.call("GET", "/v3/upcoming?limit=10", "", "").await;
    story.call("GET", "/v3/snapshot", "", "").await;
    story.call("GET", "/v3/events?limit=2", "", "").await;
    let logs = "/v3/event-logs?page=1&limit=2";
    let logs = story.call("GET", logs, "", "").await.json();
    let log = logs[0]["id"].as_str().unwrap().to_owned();
    story.call("GET", "/v3/event-logs/{id}", &log, "").await;
    let assign = json!({ "planId": plan }).to_string();
    story
        .call("PUT", "/v3/accounts/{id}/plan", "1", &assign)
        .await;
}

async fn bulk(story: &mut Story, client: &Client) {
    let operations = r#"{"operations":[{"operation":"status","status":"inactive","account":"1"}]}"#;
    story.call("POST", "/v3/bulk", "", operations).await;
    let job =
        r#"{"selector":{"state":"inactive"},"operation":{"operation":"status","status":"active"}}"#;
    let job = story.create("job", "/v3/bulk-jobs", job).await;
    let (v3, path) = (V3::of(client), format!("/v3/bulk-jobs/{job}"));
    let reached = async |state: &str| {
        until(state, async || {
            (v3.get(&path).await.ok()["state"] == state).then_some(())
        })
        .await;
    };
    story
        .call("POST", "/v3/bulk-jobs/{id}/apply", &job, "")
        .await;
    reached("applied").await;
    story.call("GET", "/v3/bulk-jobs/{id}", &job, "").await;
    story
        .call("GET", "/v3/bulk-jobs/{id}/items", &job, "")
        .await;
    story
        .call("POST", "/v3/bulk-jobs/{id}/revert", &job, "")
        .await;
    reached("reverted").await;
    story.call("GET", "/v3/bulk-jobs", "", "").await;
    story.call("DELETE", "/v3/bulk-jobs/{id}", &job, "").await;
}

async fn tokens(story: &mut Story) {
    let new = r#"{"name":"reports","scopes":["account:read"],"expiresIn":7776000}"#;
    let made = story.call("POST", "/v3/tokens", "", new).await.json();
    let id = made["id"].to_string();
    story
        .transcript
        .name("reports' token", made["token"].as_str().unwrap());
    story.call("GET", "/v3/tokens", "", "").await;
    story.call("GET", "/v3/tokens/{id}", &id, "").await;
    let grace = r#"{"graceSeconds":604800}"#;
    let rotated = story
        .call("POST", "/v3/tokens/{id}/rotate", &id, grace)
        .await
        .json();
    story
        .transcript
        .name("rotated token", rotated["token"].as_str().unwrap());
    story.call("DELETE", "/v3/tokens/{id}", &id, "").await;
    story.call("GET", "/v3/me", "", "").await;

    let new = r#"{"name":"exports","scopes":["account:read"],"expiresAt":"2026-12-31"}"#;
    let path = "/v3/personal-access-tokens";
    let made = story.call("POST", path, "", new).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let secret = made["accessToken"].as_str().unwrap();
    story.transcript.name("exports' token", secret);
    let list = "/v3/personal-access-tokens?query=exports";
    story.call("GET", list, "", "").await;
    let path = "/v3/personal-access-tokens/{id}";
    story.call("GET", path, &id, "").await;
    let revoke = r#"{"revoked":true}"#;
    story.call("PATCH", path, &id, revoke).await;
    story.call("DELETE", path, &id, "").await;
}

async fn webhooks(story: &mut Story) {
    let new = r#"{"url":"https://example.com/hooks","events":["account.updated"]}"#;
    let made = story.call("POST", "/v3/webhooks", "", new).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    story.transcript.name("webhook", &id);
    story
        .transcript
        .name("webhook's secret", made["secret"].as_str().unwrap());
    story.call("GET", "/v3/webhooks", "", "").await;
    story.call("GET", "/v3/webhooks/events", "", "").await;
    story.call("GET", "/v3/webhooks/{id}", &id, "").await;
    let disable = r#"{"enabled":false}"#;
    story.call("PATCH", "/v3/webhooks/{id}", &id, disable).await;
    let grace = r#"{"graceSeconds":86400}"#;
    let rotated = story
        .call("POST", "/v3/webhooks/{id}/rotate-secret", &id, grace)
        .await
        .json();
    story
        .transcript
        .name("webhook's new secret", rotated["secret"].as_str().unwrap());
    story.call("POST", "/v3/webhooks/{id}/test", &id, "").await;
    let since = r#"{"since":"2026-01-01T00:00:00Z"}"#;
    story
        .call("POST", "/v3/webhooks/{id}/redeliver", &id, since)
        .await;
    let log = logged_attempt(story, &id).await;
    story.call("GET", "/v3/webhook-event-logs", "", "").await;
    story
        .call("POST", "/v3/webhook-event-logs/{id}/redeliver", &log, "")
        .await;
    story.call("DELETE", "/v3/webhooks/{id}", &id, "").await;
}

/// Writes an attempt into the log, since this test runs no dispatcher. Answers its id.
async fn logged_attempt(story: &mut Story, webhook: &str) -> String {
    let superuser = story.app.database.superuser().await;
    let insert = "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id, event_at, number, at, succeeded, status, duration_ms)
        select reseller_id, id, gen_random_uuid(), 1, 'account.updated', 1, created_at, 1, created_at, true, 204, 1 from webhook_endpoint where id = $1::text::uuid
        returning id::text";
    let id: String = sqlx::query_scalar(insert)
        .bind(webhook)
        .fetch_one(&superuser)
        .await
        .unwrap();
    story.transcript.name("attempt", &id);
    id
}

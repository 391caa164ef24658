//! Answers with a secret are replayed to the same caller, and the database does not reveal them.

use serde_json::{Value, json};
use steward::domain::{ResellerId, Scope};

use crate::harness::app::Answer;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// An operation whose answer has a secret: its path, its body, and the member with the secret.
type Secret = (&'static str, String, Value, &'static str);

async fn operations(v3: &V3, account: i64) -> Vec<Secret> {
    let body = json!({"url": "https://hooks.example.com/"});
    let webhook = v3.call("POST", "/v3/webhooks", &body).await.json()["id"].clone();
    let token = v3.call("POST", "/v3/tokens", &json!({})).await.json()["id"].clone();
    let webhook = format!("/v3/webhooks/{}/rotate-secret", webhook.as_str().unwrap());
    let ticket = json!({"paymentUrl": "https://pay.example/", "releaseTicket": true});
    vec![
        (
            "token",
            "/v3/tokens".to_owned(),
            json!({"name": "n"}),
            "token",
        ),
        (
            "rotated token",
            format!("/v3/tokens/{token}/rotate"),
            json!({"graceSeconds": 60}),
            "token",
        ),
        ("webhook", "/v3/webhooks".to_owned(), body, "secret"),
        ("rotated secret", webhook, json!({}), "secret"),
        (
            "ticket",
            format!("/v3/accounts/{account}/freeze"),
            ticket,
            "releaseTicket",
        ),
    ]
}

async fn post(v3: &V3, path: &str, key: &str, body: &Value) -> Answer {
    v3.send("POST", path, &[("idempotency-key", key)], &body.to_string())
        .await
}

/// Everything that the table of stored answers has, as text.
async fn stored(app: &App) -> String {
    let superuser = app.database.superuser().await;
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', method, path, key, encode(fingerprint, 'escape'),
           encode(body, 'escape'), encode(nonce, 'escape')) from idempotency",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    rows.join("\n")
}

fn replayed(first: &Answer, again: &Answer, what: &str) {
    assert_eq!(
        (
            again.status,
            &again.body,
            again.header("idempotent-replayed")
        ),
        (first.status, &first.body, "true"),
        "{what}"
    );
}

#[tokio::test]
async fn the_database_does_not_reveal_an_answer_and_its_caller_gets_it_again() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    for (what, path, body, member) in operations(&v3, id).await {
        let key = format!("canary-key-of-{}", what.replace(' ', "-"));
        let first = post(&v3, &path, &key, &body).await;
        let secret = first.json()[member].as_str().unwrap_or_default().to_owned();
        assert!(!secret.is_empty(), "{what}: {}", first.body);
        replayed(&first, &post(&v3, &path, &key, &body).await, what);
        // At the same time, too: the second one waits for the first.
        let key = format!("canary-key-twice-of-{}", what.replace(' ', "-"));
        let (one, two) = tokio::join!(post(&v3, &path, &key, &body), post(&v3, &path, &key, &body));
        assert_eq!(one.body, two.body, "{what}");
        refused(
            &post(&v3, &path, &key, &json!({"graceSeconds": 77})).await,
            422,
            "IDEMPOTENCY_KEY_REUSED",
            "",
        );
        let all = stored(&app).await;
        for canary in [secret.as_str(), "canary-key", "steward_release_", "whsec_"] {
            assert!(!all.contains(canary), "{what}: {canary} is in {all}");
        }
    }
    // In the admin dialect.
    let members = json!({"id": id, "release_ticket": true});
    let freeze = async || {
        client
            .call_once("freeze", "canary-key", members.clone())
            .await
    };
    let first = freeze().await;
    let ticket = first.ok()["data"]["release_ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    replayed(&first, &freeze().await, "admin");
    let all = stored(&app).await;
    assert!(
        !all.contains(&ticket) && !all.contains("canary-key"),
        "{all}"
    );
    // Without a ticket the answer is no secret. The same key is then another request.
    let other = client
        .call_once("freeze", "canary-key", json!({"id": id}))
        .await;
    other.is_error(422, "");
}

#[tokio::test]
async fn a_rotated_token_is_the_same_caller_and_a_weaker_one_is_not() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let body = json!({"name": "n"});
    let first = post(&v3, "/v3/tokens", "k", &body).await;
    let id = v3.get("/v3/tokens").await.ok()[0]["id"].clone();
    let grace = json!({"graceSeconds": 0});
    let rotated = v3
        .call("POST", &format!("/v3/tokens/{id}/rotate"), &grace)
        .await;
    let token = rotated.json()["token"].as_str().unwrap().to_owned();
    let renewed = V3::with_token(&app.router, &token);
    replayed(
        &first,
        &post(&renewed, "/v3/tokens", "k", &body).await,
        "the rotated token",
    );
    let weaker = app
        .token(Some(ResellerId(1)), Some(&[Scope::TokenWrite]))
        .await;
    let weaker = V3::with_token(&app.router, &weaker);
    refused(
        &post(&weaker, "/v3/tokens", "k", &body).await,
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "",
    );
}

#[tokio::test]
async fn an_answer_that_the_previous_version_stored_is_replayed() {
    let app = App::new().await;
    let client: Client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let (path, body) = (
        format!("/v3/accounts/{id}/freeze"),
        json!({"releaseTicket": true}),
    );
    let fingerprint = steward::hash::sha256(body.to_string().as_bytes());
    let superuser = app.database.superuser().await;
    sqlx::query(
        "insert into idempotency (reseller_id, method, path, key, fingerprint, status,
           content_type, body, created_at, expires_at)
         values (1, 'POST', $1, 'k', $2, 200, 'application/json', '{\"old\":true}', '2026-03-01', '2026-04-01')",
    )
    .bind(&path)
    .bind(fingerprint.to_vec())
    .execute(&superuser)
    .await
    .unwrap();
    let again = post(&v3, &path, "k", &body).await;
    assert_eq!(
        (again.body.as_str(), again.header("idempotent-replayed")),
        (r#"{"old":true}"#, "true")
    );
    assert_eq!(client.get(id).await["is_frozen"], false);
}

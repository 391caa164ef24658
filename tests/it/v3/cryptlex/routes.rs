//! The operations of Cryptlex besides accounts, plans and webhooks.

use serde_json::{Value, json};
use steward::domain::{EVENTS, Scope};

use super::{EVENT_LOG, TOKEN, USER, typed};
use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn me_is_the_credential_of_the_caller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let made = json!({"name": "CRM", "scopes": ["webhook:read"]});
    let made = v3.call("POST", "/v3/tokens", &made).await.json();
    let caller = V3::with_token(&app.router, made["token"].as_str().unwrap());
    let me = caller.get("/v3/me").await.ok();
    typed(&me, USER);
    assert_eq!(
        (
            &me["id"],
            &me["name"],
            &me["company"],
            &me["role"],
            &me["scopes"]
        ),
        (
            &json!(made["id"].to_string()),
            &json!("CRM"),
            &json!("Acme"),
            &json!("reseller"),
            &json!(["webhook:read"])
        )
    );
    assert_eq!(
        (&me["createdAt"], &me["resellerId"]),
        (&made["createdAt"], &json!(1))
    );
    let operator = V3::of(&app.operator().await).get("/v3/me").await.ok();
    typed(&operator, USER);
    assert_eq!(
        (&operator["role"], &operator["company"]),
        (&json!("operator"), &json!(""))
    );
    assert_eq!(operator.get("resellerId"), None);
    for document in [&me, &operator] {
        let nulls = document
            .as_object()
            .unwrap()
            .values()
            .filter(|it| it.is_null());
        assert_eq!(nulls.count(), 0, "{document}");
    }
    let accept = [("accept", "application/xml")];
    let xml = caller.send("GET", "/v3/me", &accept, "").await;
    assert!(xml.body.contains("<company>Acme</company>"), "{}", xml.body);
    app.suspend_reseller(steward::domain::ResellerId(1), true)
        .await;
    assert_eq!(
        caller.get("/v3/me").await.status,
        200,
        "also while suspended"
    );
    refused(
        &v3.call("PATCH", "/v3/me", &json!({})).await,
        405,
        "METHOD_NOT_ALLOWED",
        "",
    );
}

#[tokio::test]
async fn the_events_are_listed_by_resource() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    assert_eq!(
        v3.get("/v3/webhooks/events").await.ok(),
        json!({"account": EVENTS})
    );
    // An endpoint is still read by its id, and no other path is shadowed.
    refused(
        &v3.get("/v3/webhooks/eventz").await,
        404,
        "WEBHOOK_NOT_FOUND",
        "",
    );
    let other = app
        .token(
            Some(steward::domain::ResellerId(1)),
            Some(&[Scope::AccountRead]),
        )
        .await;
    let other = V3::with_token(&app.router, &other);
    refused(
        &other.get("/v3/webhooks/events").await,
        403,
        "INSUFFICIENT_SCOPE",
        "webhook:read",
    );
}

#[tokio::test]
async fn a_change_is_an_event_log() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let named = json!({"name": "CRM"});
    let token = v3.call("POST", "/v3/tokens", &named).await.json();
    let caller = V3::with_token(&app.router, token["token"].as_str().unwrap());
    let account = caller.call("POST", "/v3/accounts", &json!({})).await.json();
    let path = format!("/v3/accounts/{}", account["id"].as_str().unwrap());
    let change = json!({"company": "Acme", "trialExpiresAt": "2027-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00Z"});
    caller.call("PATCH", &path, &change).await.ok();
    let log = v3.get("/v3/event-logs?limit=1").await.ok()[0].clone();
    typed(&log, EVENT_LOG);
    typed(&log["user"], USER);
    assert_eq!(
        (
            &log["resource"],
            &log["resourceId"],
            &log["user"]["name"],
            &log["user"]["id"]
        ),
        (
            &json!("account"),
            &account["id"],
            &json!("CRM"),
            &json!(token["id"].to_string())
        )
    );
    let changes = log["changes"].as_array().unwrap();
    let of = |name: &str| {
        changes
            .iter()
            .find(|it| it["propertyName"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        of("company"),
        json!({"propertyName": "company", "oldValue": "", "newValue": "Acme"})
    );
    assert_eq!(of("trialExpiresAt")["oldValue"], account["createdAt"]);
    // Ours may have no value; then it is absent.
    assert_eq!(of("expiresAt").get("oldValue"), None);
    let id = log["id"].as_str().unwrap();
    assert_eq!(v3.get(&format!("/v3/event-logs/{id}")).await.ok(), log);
    let operator = V3::of(&app.operator().await);
    let path = format!("/v3/event-logs/{id}?resellerId=1");
    assert_eq!(operator.get(&path).await.ok()["id"], log["id"]);
    refused(
        &operator.get("/v3/event-logs").await,
        400,
        "INVALID_REQUEST",
        "resellerId",
    );
}

#[tokio::test]
async fn an_event_log_hides_the_reasons_of_the_operator() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let operator = V3::of(&app.operator().await);
    let suspend = json!({"reason": "a secret of the operator"});
    let path = format!("/v3/accounts/{id}/suspend");
    operator.call("POST", &path, &suspend).await.ok();
    let log = v3.get("/v3/event-logs?limit=1").await;
    assert!(
        log.ok()[0]["action"] == "suspend" && !log.body.contains("secret"),
        "{}",
        log.body
    );
    let log = operator.get("/v3/event-logs?limit=1&resellerId=1").await;
    assert!(
        log.body.contains("a secret of the operator"),
        "{}",
        log.body
    );
}

#[tokio::test]
async fn a_personal_access_token_is_made_read_and_revoked() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let path = "/v3/personal-access-tokens";
    let new = json!({"name": "CRM", "revoked": false, "scopes": ["account:read"],
        "expiresAt": "2026-12-31T00:00:00+00:00"});
    let made = v3.call("POST", path, &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    typed(&made, TOKEN);
    let caller = V3::with_token(&app.router, made["accessToken"].as_str().unwrap());
    caller.get("/v3/accounts").await.ok();
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    let read = v3.get(&one).await.ok();
    typed(&read, TOKEN);
    assert_eq!(read.get("accessToken"), None);
    assert_eq!(
        (
            &read["name"],
            &read["expiresAt"],
            &read["revoked"],
            &read["scopes"]
        ),
        (
            &json!("CRM"),
            &json!("2026-12-31T00:00:00Z"),
            &json!(false),
            &json!(["account:read"])
        )
    );
    // The same token in our own words.
    let token = v3
        .get(&one.replace("personal-access-tokens", "tokens"))
        .await
        .ok();
    assert_eq!(
        (&token["name"], &token["updatedAt"]),
        (&json!("CRM"), &read["createdAt"])
    );
    for (body, changed) in [
        (json!({"revoked": false}), "false"),
        (json!({}), "false"),
        (json!({"revoked": true}), "true"),
        (json!({"revoked": true}), "false"),
    ] {
        let answer = v3.call("PATCH", &one, &body).await;
        assert_eq!(
            answer.header("steward-changed"),
            changed,
            "{body} {}",
            answer.body
        );
        typed(&answer.ok(), TOKEN);
    }
    assert_eq!(v3.get(&one).await.ok()["revoked"], true);
    refused(
        &caller.get("/v3/accounts").await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    let again = v3.call("PATCH", &one, &json!({"revoked": false})).await;
    refused(
        &again,
        400,
        "INVALID_REQUEST",
        "revoked: cannot be false again",
    );
    let sent_back = v3.call("PATCH", &one, &read).await;
    refused(
        &sent_back,
        400,
        "INVALID_REQUEST",
        "revoked: cannot be false again",
    );
    assert_eq!(
        sent_back.header("ignored-members"),
        "name, expiresAt, scopes"
    );
    for (body, problem) in [
        (
            json!({"expiresAt": "2020-01-01"}),
            "expiresAt: must be in the future",
        ),
        (json!({"expiresAt": ""}), "expiresAt: must be"),
        (json!({"revoked": true}), "revoked: must be false"),
        (
            json!({"scopes": ["license:read", "eventLog:read"]}),
            "is not a scope; the scopes are",
        ),
        (json!({"scopes": null}), "scopes: must be a list"),
    ] {
        refused(
            &v3.call("POST", path, &body).await,
            400,
            "INVALID_REQUEST",
            problem,
        );
    }
    let nameless = v3.call("POST", path, &json!({"name": ""})).await.json();
    typed(&nameless, TOKEN);
    assert_eq!(
        (&nameless["name"], &nameless["expiresAt"]),
        (&json!(""), &Value::Null)
    );
    let one = format!("{path}/{}", nameless["id"].as_str().unwrap());
    assert_eq!(v3.call("DELETE", &one, &Value::Null).await.status, 204);
    assert_eq!(v3.get(&one).await.ok()["revoked"], true);
}

#[tokio::test]
async fn nobody_signs_in_with_a_password() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let anonymous = V3::with_token(&app.router, "");
    let body = json!({"email": "jo@example.com", "password": "secret"});
    for (path, problem) in [
        (
            "/v3/accounts/login",
            "Nobody signs in to Steward with a password",
        ),
        (
            "/v3/accounts/login/",
            "Nobody signs in to Steward with a password",
        ),
        (
            "/v3/accounts/login-google",
            "Nobody signs in to Steward with a password",
        ),
        (
            "/v3/accounts/reset-password-request",
            "Steward stores no passwords",
        ),
        (
            "/v3/accounts/login/saml/verify",
            "There is no such resource",
        ),
        ("/v3/users", "There is no such resource"),
    ] {
        for caller in [&v3, &anonymous] {
            let answer = caller.call("POST", path, &body).await;
            refused(&answer, 404, "NOT_FOUND", problem);
        }
    }
    let account = v3.call("POST", "/v3/accounts/1", &body).await;
    refused(&account, 405, "METHOD_NOT_ALLOWED", "");
    assert!(account.header("allow").contains("PATCH"));
    refused(
        &v3.get("/v3/accounts/login").await,
        404,
        "ACCOUNT_NOT_FOUND",
        "",
    );
}

#[tokio::test]
async fn scopes_of_cryptlex_become_those_of_the_same_calls() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let body = json!({"name": "CRM", "scopes": ["account:read", "eventLog:read", "webhook:write"]});
    let made = v3.call("POST", "/v3/personal-access-tokens", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    assert_eq!(made["scopes"], json!(["account:read", "webhook:write"]));
    let logs = V3::with_token(&app.router, made["accessToken"].as_str().unwrap());
    logs.get("/v3/event-logs").await.ok();
    let another = json!({"name": "x"});
    let refused = logs
        .call("POST", "/v3/personal-access-tokens", &another)
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);

    let body = json!({"scopes": ["personalAccessToken:write"]});
    let made = v3.call("POST", "/v3/personal-access-tokens", &body).await;
    let made = made.json();
    assert_eq!(made["scopes"], json!(["token:write"]));
    let tokens = V3::with_token(&app.router, made["accessToken"].as_str().unwrap());
    let made = tokens
        .call("POST", "/v3/personal-access-tokens", &body)
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(tokens.get("/v3/accounts").await.status, 403);
}

//! Tokens managed over REST.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::Scope;

use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

#[tokio::test]
async fn a_token_cannot_create_a_token_with_more_scopes_than_its_own() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let v3 = V3::of(&acme);
    let made = v3
        .call(
            "POST",
            "/v3/tokens",
            &json!({"name": "reports", "scopes": ["account:read"], "expiresIn": 3600}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    assert_eq!(
        (
            made["kind"].clone(),
            made["scopes"].clone(),
            made["expiresAt"].clone()
        ),
        (
            json!("key"),
            json!(["account:read"]),
            json!("2026-03-01T13:00:00Z")
        )
    );
    let reports = V3::with_token(&app.router, made["token"].as_str().unwrap());
    assert_eq!(reports.get("/v3/accounts").await.status, 200);
    let (path, id) = (format!("/v3/tokens/{}", made["id"]), made["id"].clone());
    app.service.write_down_use().await;
    let read = v3.get(&path).await.ok();
    assert_eq!(
        (
            read["token"].clone(),
            read["lastUsedAt"].clone(),
            read["id"].clone()
        ),
        (Value::Null, json!("2026-03-01T12:00:00Z"), id)
    );
    assert!(
        v3.get("/v3/tokens")
            .await
            .ok()
            .as_array()
            .unwrap()
            .iter()
            .all(|token| token.get("token").is_none())
    );

    // A JSON Web Token issued by Steward works in every dialect, and can be rotated and revoked.
    let jwt = v3
        .call("POST", "/v3/tokens", &json!({"kind": "jwt"}))
        .await
        .json();
    assert_eq!(jwt["expiresAt"], "2026-05-30T12:00:00Z");
    let by_jwt = Client {
        router: app.router.clone(),
        token: jwt["token"].as_str().unwrap().to_owned(),
    };
    let account = by_jwt.account("a").await;
    assert_eq!(by_jwt.history(account).await.len(), 1);
    let other_replica = app.replica(&by_jwt);
    other_replica.get(account).await;
    let rotated = v3
        .call(
            "POST",
            &format!("/v3/tokens/{}/rotate", jwt["id"]),
            &json!({"graceSeconds": 60}),
        )
        .await;
    assert_eq!(
        (rotated.status.as_u16(), rotated.json()["kind"].clone()),
        (201, json!("jwt"))
    );
    let next = Client {
        router: app.router.clone(),
        token: rotated.json()["token"].as_str().unwrap().to_owned(),
    };
    by_jwt.get(account).await;
    next.get(account).await;
    app.clock.advance(TimeDelta::seconds(60));
    by_jwt
        .call("get", json!({"id": account}))
        .await
        .is_error(401, "API token is invalid");
    next.get(account).await;
    assert_eq!(
        v3.call(
            "DELETE",
            &format!("/v3/tokens/{}", rotated.json()["id"]),
            &Value::Null
        )
        .await
        .status,
        204
    );
    next.call("get", json!({"id": account}))
        .await
        .is_error(401, "API token is invalid");
    refused(
        &v3.call(
            "POST",
            &format!("/v3/tokens/{}/rotate", rotated.json()["id"]),
            &json!({"graceSeconds": 60}),
        )
        .await,
        404,
        "TOKEN_NOT_FOUND",
        "",
    );

    let small = V3::with_token(
        &app.router,
        &app.token(
            Some(reseller),
            Some(&[Scope::TokenWrite, Scope::AccountRead]),
        )
        .await,
    );
    let all = small.call("POST", "/v3/tokens", &json!({})).await.json();
    assert_eq!(all["scopes"], json!(["account:read", "token:write"]));
    refused(
        &small
            .call("POST", "/v3/tokens", &json!({"scopes": ["account:write"]}))
            .await,
        403,
        "INSUFFICIENT_SCOPE",
        "account:write",
    );
    let owner = app
        .service
        .authenticate(&acme.token.clone().into())
        .await
        .unwrap()
        .token
        .unwrap();
    refused(
        &small
            .call(
                "POST",
                &format!("/v3/tokens/{owner}/rotate"),
                &json!({"graceSeconds": 1}),
            )
            .await,
        403,
        "INSUFFICIENT_SCOPE",
        "",
    );
    for (body, expected) in [
        (
            json!({"scopes": ["reseller:write"]}),
            "scopes: reseller:write is for an operator",
        ),
        (
            json!({"scopes": ["x"]}),
            "scopes: \"x\" is not a scope; the scopes are account:read",
        ),
        (json!({"scopes": []}), "scopes: must name at least one"),
        (json!({"kind": "cookie"}), "kind: must be key or jwt"),
        (json!({"name": ""}), "name: must not be empty"),
        (json!({"expiresIn": -1}), "expiresIn"),
        (json!({"expiresIn": 0}), "expiresIn: must be longer"),
        (
            json!({"expiresIn": 9_000_000_000_000_u64}),
            "expiresIn: must be at most",
        ),
        (
            json!({"resellerId": 2_000_000_000}),
            "resellerId: no such reseller",
        ),
    ] {
        refused(
            &v3.call("POST", "/v3/tokens", &body).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
}

#[tokio::test]
async fn a_repeated_creation_makes_no_second_token() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let operator = V3::of(&app.operator().await);
    let token = async |key: &'static str| {
        v3.send("POST", "/v3/tokens", &[("idempotency-key", key)], "{}")
            .await
    };
    let (first, second) = (token("k").await, token("k").await);
    assert!(first.json()["token"].is_string());
    assert_eq!(
        (
            second.status.as_u16(),
            second.header("idempotent-replayed"),
            second.json()["id"].clone()
        ),
        (201, "true", first.json()["id"].clone())
    );
    assert_eq!(first.body, second.body);
    let plan = async |key: &'static str, name: &'static str| {
        v3.send(
            "POST",
            "/v3/plans",
            &[("idempotency-key", key)],
            &json!({"name": name}).to_string(),
        )
        .await
    };
    let both = tokio::join!(plan("p", "pro"), plan("p", "pro"), plan("p", "pro"));
    assert_eq!(
        (both.0.json()["id"].clone(), both.0.json()["id"].clone()),
        (both.1.json()["id"].clone(), both.2.json()["id"].clone())
    );
    refused(&plan("p", "other").await, 422, "IDEMPOTENCY_KEY_REUSED", "");
    assert_eq!(v3.get("/v3/plans").await.ok().as_array().unwrap().len(), 1);
    // A creation that failed is not stored under the key, so a repeat tries again.
    let reseller = async |name: &'static str| {
        operator
            .send(
                "POST",
                "/v3/resellers",
                &[("idempotency-key", "r")],
                &json!({"name": name}).to_string(),
            )
            .await
    };
    refused(
        &reseller("Acme").await,
        400,
        "INVALID_REQUEST",
        "name: another reseller",
    );
    assert_eq!(reseller("Fresh").await.status, 201);
}

#[tokio::test]
async fn a_token_rotates_none_that_lasts_longer_and_revokes_any_with_its_scopes() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let v3 = V3::of(&acme);
    let make = async |expires_in: Value| {
        let body = json!({ "expiresIn": expires_in });
        v3.call("POST", "/v3/tokens", &body).await.json()
    };
    let (hour, day, other_day, forever) = (
        make(json!(3_600)).await,
        make(json!(86_400)).await,
        make(json!(86_400)).await,
        make(Value::Null).await,
    );
    let holder = |token: &Value| V3::with_token(&app.router, token["token"].as_str().unwrap());
    let rotate = async |by: &Value, token: &Value| {
        let path = format!("/v3/tokens/{}/rotate", token["id"]);
        holder(by)
            .call("POST", &path, &json!({"graceSeconds": 0}))
            .await
    };
    let revoke = async |by: &Value, token: &Value| {
        let path = format!("/v3/tokens/{}", token["id"]);
        holder(by).call("DELETE", &path, &Value::Null).await
    };
    let problem = "expires before the token that it is to rotate";
    for (by, token) in [(&hour, &day), (&hour, &forever), (&day, &forever)] {
        refused(&rotate(by, token).await, 403, "INSUFFICIENT_SCOPE", problem);
        assert_eq!(holder(token).get("/v3/accounts").await.status, 200);
    }
    // The same time, a shorter one, and itself.
    assert_eq!(revoke(&day, &other_day).await.status, 204);
    let rotated = rotate(&day, &hour).await;
    assert_eq!(rotated.status, 201, "{}", rotated.body);
    let shorter = rotated.json();
    assert_eq!(rotate(&shorter, &shorter).await.status, 201);
    // A token that leaked is revoked by whoever has its rights.
    assert_eq!(revoke(&day, &forever).await.status, 204);
    assert_eq!(revoke(&day, &day).await.status, 204);
}

#[tokio::test]
async fn a_token_is_valid_for_at_most_a_hundred_years_however_its_end_is_given() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    // 36,525 days from the first of March 2026 on.
    let last = "2126-03-02T12:00:00Z";
    for (path, body, problem) in [
        ("/v3/tokens", json!({"expiresIn": 3_155_760_000_u64}), None),
        (
            "/v3/tokens",
            json!({"expiresIn": 3_155_760_001_u64}),
            Some("expiresIn: must be at most a hundred years"),
        ),
        (
            "/v3/tokens",
            json!({"kind": "jwt", "expiresIn": 3_155_760_001_u64}),
            Some("expiresIn: must be at most a hundred years"),
        ),
        (
            "/v3/personal-access-tokens",
            json!({"expiresAt": last}),
            None,
        ),
        (
            "/v3/personal-access-tokens",
            json!({"expiresAt": "2126-03-02T12:00:01Z"}),
            Some("expiresAt: must be at most a hundred years from now"),
        ),
        (
            "/v3/personal-access-tokens",
            json!({"expiresAt": "9999-12-31T23:59:59Z"}),
            Some("expiresAt: must be at most a hundred years from now; leave it out for never"),
        ),
        (
            "/v3/personal-access-tokens",
            json!({"expiresAt": "2026-03-01T12:00:00Z"}),
            Some("expiresAt: must be in the future"),
        ),
    ] {
        let answer = v3.call("POST", path, &body).await;
        match problem {
            None => {
                assert_eq!(answer.status, 201, "{body}: {}", answer.body);
                assert_eq!(answer.json()["expiresAt"], last);
            }
            Some(problem) => refused(&answer, 400, "INVALID_REQUEST", problem),
        }
    }
}

#[tokio::test]
async fn a_token_that_was_made_for_longer_is_rotated_for_a_hundred_years() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let body = json!({"expiresIn": 3600, "scopes": ["account:read"]});
    let made = v3.call("POST", "/v3/tokens", &body).await.json();
    // An earlier version accepted any expiresAt.
    let superuser = app.database.superuser().await;
    sqlx::query("update api_token set expires_at = '2300-01-01' where expires_at is not null")
        .execute(&superuser)
        .await
        .unwrap();
    let rotate = async |seconds: u64| {
        let path = format!("/v3/tokens/{}/rotate", made["id"]);
        v3.call("POST", &path, &json!({"graceSeconds": seconds}))
            .await
    };
    refused(
        &rotate(3_155_760_001).await,
        400,
        "INVALID_REQUEST",
        "graceSeconds: must be at most a hundred years",
    );
    let rotated = rotate(0).await;
    assert_eq!(rotated.status, 201, "{}", rotated.body);
    assert_eq!(rotated.json()["expiresAt"], "2126-03-02T12:00:00Z");
}

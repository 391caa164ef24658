//! Credentials over REST, JSON Web Tokens in every dialect, what is remembered of them, and how often one may ask.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use steward::domain::{ResellerId, Scope};
use steward::jwt::{self, Verifier};
use steward::service::{Clock, Limits, Principal, Service, Settings, TokenKind, TokenRequest};
use steward::store::Store;

use crate::harness::app::{
    Answer, admin_settings, http_settings, pool_settings, router, send, soap_settings,
    start_of_time,
};
use crate::harness::process::until;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

const SECRET: &str = "a secret of thirty-two bytes, at least";
/// Ed25519 keys, from RFC 8410 and of our own making; RSA keys of our own making.
const ED_PRIVATE: &str = include_str!("golden/jwt/ed25519.pem");
const ED_PUBLIC: &str = include_str!("golden/jwt/ed25519.pub.pem");
const RSA_PRIVATE: &str = include_str!("golden/jwt/rsa.pem");
const RSA_PUBLIC: &str = include_str!("golden/jwt/rsa.pub.pem");

fn settings() -> jwt::Settings {
    jwt::Settings {
        issuer: "https://login.example".to_owned(),
        audience: "steward".to_owned(),
        leeway: Duration::from_secs(30),
        ..jwt::Settings::default()
    }
}

/// A replica of the app that trusts somebody's tokens.
fn trusting(app: &App, settings: jwt::Settings) -> Router {
    let service = Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        Settings::default(),
    );
    router(
        &Arc::new(service.trusting(Verifier::new(settings).unwrap())),
        admin_settings(),
        soap_settings(),
    )
}

/// The claims of a token that is good, with others in their place.
fn claims(reseller: ResellerId, other: &Value) -> Value {
    let now = start_of_time().timestamp();
    let mut claims = json!({"iss": "https://login.example", "aud": "steward", "exp": now + 600, "sub": "backend", "reseller_id": reseller.0,
        "scope": "account:read account:write openid"});
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name).map(drop)
        } else {
            claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone())
                .map(drop)
        };
    }
    claims
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn hs256(claims: &Value) -> String {
    signed(
        Algorithm::HS256,
        None,
        &EncodingKey::from_secret(SECRET.as_bytes()),
        claims,
    )
}

fn with_token(router: &Router, token: &str) -> V3 {
    V3 {
        router: router.clone(),
        token: token.to_owned(),
    }
}

#[tokio::test]
async fn a_trusted_token_opens_every_dialect_and_stands_in_the_journal() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let id = acme.account("a").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let router = trusting(
        &app,
        jwt::Settings {
            secret: Some(SECRET.into()),
            ..settings()
        },
    );
    let token = hs256(&claims(reseller, &json!({})));
    let v3 = with_token(&router, &token);
    assert_eq!(v3.get(&format!("/v3/accounts/{id}")).await.status, 200);
    let client = Client {
        router: router.clone(),
        token: token.clone(),
    };
    client.call("freeze", json!({"id": id})).await.ok();
    let soap = format!(
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body><SuspendAccountUsingAccountID xmlns='Zoolz'><authToken>{token}</authToken><accountID>{id}</accountID></SuspendAccountUsingAccountID></e:Body></e:Envelope>"
    );
    let request = Request::post(steward::dialects::soap::PATH)
        .header("content-type", "application/soap+xml")
        .body(Body::from(soap))
        .unwrap();
    assert!(
        send(&router, request)
            .await
            .body
            .contains("<Code>Success</Code>")
    );
    let history = v3.get(&format!("/v3/accounts/{id}/history")).await.ok();
    assert_eq!(
        history[0]["actor"],
        format!("reseller {reseller}, subject backend")
    );
    // It has no right to manage tokens, and without the configuration it opens nothing.
    refused(
        &v3.get("/v3/tokens").await,
        403,
        "INSUFFICIENT_SCOPE",
        "token:write",
    );
    refused(
        &with_token(&app.router, &token).get("/v3/accounts").await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
}

#[tokio::test]
async fn a_token_that_proves_nothing_opens_nothing() {
    let app = App::new().await;
    let acme = app.reseller("Acme").await;
    let folder = tempfile::tempdir().unwrap();
    let (ed, rsa) = (folder.path().join("ed.pem"), folder.path().join("rsa.pem"));
    std::fs::write(&ed, ED_PUBLIC).unwrap();
    std::fs::write(&rsa, RSA_PUBLIC).unwrap();
    let router = trusting(
        &app,
        jwt::Settings {
            secret: Some(SECRET.into()),
            public_key_file: Some(ed),
            ..settings()
        },
    );
    let rsa_router = trusting(
        &app,
        jwt::Settings {
            public_key_file: Some(rsa),
            ..settings()
        },
    );
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let good = claims(acme, &json!({}));
    let now = start_of_time().timestamp();
    let list =
        async |router: &Router, token: &str| with_token(router, token).get("/v3/accounts").await;
    let ed_key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let rsa_key = EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap();
    for (router, token) in [
        (&router, hs256(&good)),
        (
            &router,
            signed(Algorithm::EdDSA, Some("any"), &ed_key, &good),
        ),
        (&rsa_router, signed(Algorithm::RS256, None, &rsa_key, &good)),
        (
            &router,
            hs256(&claims(
                acme,
                &json!({"aud": ["other", "steward"], "reseller_id": acme.to_string(), "scope": ["account:read"]}),
            )),
        ),
        (
            &router,
            hs256(&claims(acme, &json!({"exp": now - 29, "nbf": now + 30}))),
        ),
    ] {
        assert_eq!(list(router, &token).await.status, 200, "{token}");
    }
    let base64 = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let none = format!(
        "{}.{}.",
        base64(r#"{"alg":"none","typ":"JWT"}"#),
        base64(&good.to_string())
    );
    let hs512 = signed(Algorithm::HS512, None, &secret, &good);
    let foreign = signed(
        Algorithm::HS256,
        None,
        &EncodingKey::from_secret(b"another secret of thirty-two bytes"),
        &good,
    );
    // The public key as a shared secret: what a verifier falls for that lets the token choose the algorithm.
    let confused = signed(
        Algorithm::HS256,
        None,
        &EncodingKey::from_secret(RSA_PUBLIC.as_bytes()),
        &good,
    );
    let mut damaged = hs256(&good);
    damaged.replace_range(damaged.len() - 3.., "AAA");
    let own = signed(
        Algorithm::HS256,
        Some("steward-1"),
        &secret,
        &claims(acme, &json!({"iss": "steward"})),
    );
    let mut refused_tokens = vec![
        none,
        hs512,
        foreign,
        damaged,
        own,
        format!("{}.{}", hs256(&good), "x"),
        "a.b.c".to_owned(),
        "..".to_owned(),
        hs256(&good).replace('.', "!"),
    ];
    for other in [
        json!({"exp": null}),
        json!({"exp": now - 31}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 31}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"reseller_id": 2_000_000_000}),
        json!({"reseller_id": 0}),
        json!({"reseller_id": -1}),
        json!({"reseller_id": null}),
        json!({"reseller_id": "acme"}),
        json!({"reseller_id": null, "role": "operator"}),
        json!({"role": "operator"}),
        json!({"sub": "x".repeat(9_000)}),
    ] {
        refused_tokens.push(hs256(&claims(acme, &other)));
    }
    for token in refused_tokens {
        refused(
            &list(&router, &token).await,
            401,
            "AUTHENTICATION_FAILED",
            "The token is invalid",
        );
    }
    refused(
        &list(&rsa_router, &confused).await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    refused(
        &list(&rsa_router, &hs256(&good)).await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    refused(
        &list(&router, &hs256(&claims(acme, &json!({"scope": null})))).await,
        403,
        "INSUFFICIENT_SCOPE",
        "account:read",
    );
    let operators = trusting(
        &app,
        jwt::Settings {
            secret: Some(SECRET.into()),
            operators: true,
            ..settings()
        },
    );
    let operator = hs256(&claims(
        acme,
        &json!({"reseller_id": null, "role": "operator", "scope": "reseller:write account:read"}),
    ));
    assert_eq!(
        with_token(&operators, &operator)
            .call("POST", "/v3/resellers", &json!({"name": "Fresh"}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_key_set_is_asked_again_for_a_key_that_is_not_known_but_not_for_every_token() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let app = App::new().await;
    let acme = app.reseller("Acme").await;
    let (asked, set) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(std::sync::Mutex::new(json!({"keys": []}))),
    );
    let (count, served) = (Arc::clone(&asked), Arc::clone(&set));
    let issuer = Router::new().route(
        "/jwks.json",
        axum::routing::get(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            served.lock().unwrap().to_string()
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, issuer).await });
    let router = trusting(
        &app,
        jwt::Settings {
            jwks_url: Some(format!("http://{address}/jwks.json")),
            ..settings()
        },
    );

    let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let mut jwk = serde_json::to_value(
        jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap(),
    )
    .unwrap();
    jwk["kid"] = json!("one");
    let long = claims(acme, &json!({"exp": start_of_time().timestamp() + 100_000}));
    let token = signed(Algorithm::EdDSA, Some("one"), &key, &long);
    let ask = async || {
        with_token(&router, &token)
            .get("/v3/accounts")
            .await
            .status
            .as_u16()
    };

    assert_eq!((ask().await, asked.load(Ordering::SeqCst)), (401, 1));
    *set.lock().unwrap() = json!({"keys": [jwk, {"kty": "oct", "kid": "x", "k": "c2VjcmV0"}, {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]});
    for _ in 0..20 {
        assert_eq!(ask().await, 401, "the address was asked just now");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    app.clock.advance(TimeDelta::seconds(30));
    assert_eq!(
        (ask().await, ask().await, asked.load(Ordering::SeqCst)),
        (200, 200, 2)
    );
    let other = signed(Algorithm::EdDSA, Some("two"), &key, &long);
    refused(
        &with_token(&router, &other).get("/v3/accounts").await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    // A key that is withdrawn goes after ten minutes; an issuer that is away takes no key with it.
    serving.abort();
    let _ended = serving.await;
    app.clock.advance(TimeDelta::minutes(11));
    assert_eq!(ask().await, 200);
}

#[tokio::test]
async fn tokens_are_managed_over_rest_and_none_makes_more_than_itself() {
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
    let reports = with_token(&app.router, made["token"].as_str().unwrap());
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

    // A JSON Web Token of ours works everywhere, can be rotated and revoked.
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

    let small = with_token(
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
    for (body, says) in [
        (
            json!({"scopes": ["reseller:write"]}),
            "scope: reseller:write is for an operator",
        ),
        (json!({"scopes": ["x"]}), "scopes: \"x\" is no scope"),
        (json!({"scopes": []}), "scope: must name at least one"),
        (json!({"kind": "cookie"}), "kind: must be key or jwt"),
        (json!({"name": ""}), "name: must be 1 to 255"),
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
            says,
        );
    }
}

#[tokio::test]
async fn a_repeat_of_a_creation_makes_nothing_more_and_never_shows_the_secret_again() {
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
    assert!(second.json().get("token").is_none());
    let secret = first.json()["token"].as_str().unwrap().to_owned();
    let kept = app.database.superuser().await;
    let bodies: Vec<String> =
        sqlx::query_scalar("select convert_from(body, 'UTF8') from idempotency")
            .fetch_all(&kept)
            .await
            .unwrap();
    assert!(!bodies.is_empty() && bodies.iter().all(|body| !body.contains(&secret)));
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
    // What failed was not done, so a repeat tries anew.
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
async fn what_is_remembered_of_a_credential_ends_with_it_on_every_replica() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let issued = app
        .issue(TokenRequest {
            reseller: Some(reseller),
            ..TokenRequest::default()
        })
        .await;
    let token = issued.token.expose_secret().to_owned();
    let replica = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        Settings::default(),
    ));
    let here = app.client(&token);
    let there = Client {
        router: router(&replica, admin_settings(), soap_settings()),
        token: token.clone(),
    };
    app.service.remember_credentials();
    replica.remember_credentials();
    until("listening", async || {
        (app.service.remembers_credentials() && replica.remembers_credentials()).then_some(())
    })
    .await;
    here.get(id).await;
    there.get(id).await;
    // Behind the service's back nothing tells anybody: what is remembered still counts, for a minute.
    let superuser = app.database.superuser().await;
    sqlx::query("update api_token set revoked_at = created_at where id = $1")
        .bind(issued.credential.id.0)
        .execute(&superuser)
        .await
        .unwrap();
    here.get(id).await;
    there.get(id).await;
    app.clock.advance(TimeDelta::seconds(61));
    here.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    sqlx::query("update api_token set revoked_at = null where id = $1")
        .bind(issued.credential.id.0)
        .execute(&superuser)
        .await
        .unwrap();
    here.get(id).await;
    there.get(id).await;
    app.service
        .revoke_token(&Principal::command_line(), issued.credential.id)
        .await
        .unwrap();
    here.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    until("the other replica's refusal", async || {
        (there.call("get", json!({"id": id})).await.status == 401).then_some(())
    })
    .await;
    // The ear is lost: nothing is remembered until it is back.
    client.get(id).await;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'")
        .execute(&superuser)
        .await
        .unwrap();
    until("the loss", async || {
        (!app.service.remembers_credentials()).then_some(())
    })
    .await;
    client.get(id).await;
    replica.stop().await;
    app.service.stop().await;
    assert!(!app.service.remembers_credentials());
    let used: i64 = app
        .database
        .number("select count(*) from api_token where last_used_at is not null")
        .await;
    assert_eq!(
        used, 2,
        "both tokens' use was written down when listening stopped"
    );
}

#[tokio::test]
async fn a_credential_in_use_is_asked_about_again_before_its_minute_is_over() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let idle = client.clone();
    let client = app.client(
        &app.token(Some(app.service.find_reseller("Acme").await.unwrap()), None)
            .await,
    );
    app.service.remember_credentials();
    until("listening", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    // One of them comes twice: looked up, then recalled.
    for client in [&client, &idle, &client] {
        client.get(id).await;
    }
    let superuser = app.database.superuser().await;
    let revoke = async |is_revoked: bool| {
        let to = if is_revoked { "created_at" } else { "null" };
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "update api_token set revoked_at = {to}"
        )))
        .execute(&superuser)
        .await
        .unwrap();
    };
    app.clock.advance(TimeDelta::seconds(45));
    app.service.renew_credentials().await.unwrap();
    // Nobody is told of what happens behind the service's back: what is remembered counts.
    revoke(true).await;
    app.clock.advance(TimeDelta::seconds(45));
    client.get(id).await;
    idle.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    // What is asked about is found to be revoked, before its minute is over.
    app.service.renew_credentials().await.unwrap();
    client
        .call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    revoke(false).await;
    client.get(id).await;
}

#[tokio::test]
async fn credentials_that_are_looked_up_together_stay_who_they_are() {
    let app = App::new().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let client = app.new_reseller(&format!("Reseller {number}")).await;
        let id = client.account(&format!("a{number}")).await;
        clients.push((client, id));
    }
    // A token as it should be, of another service.
    let nobody = app.client(&App::new().await.operator().await.token);
    let (nobody, clients) = (&nobody, &clients);
    // Nothing is remembered here, so all of these ask: at once, and for everybody's accounts.
    let asked = clients.iter().enumerate().flat_map(|(who, (client, _))| {
        clients
            .iter()
            .enumerate()
            .map(move |(whose, (_, id))| async move {
                let answer = client.call("get", json!({"id": id})).await;
                assert_eq!(
                    answer.status,
                    if who == whose { 200 } else { 404 },
                    "{who} asks for the account of {whose}"
                );
                nobody
                    .call("get", json!({"id": id}))
                    .await
                    .is_error(401, "API token is invalid");
            })
    });
    futures_util::future::join_all(asked).await;
}

fn limited(app: &App, limits: Limits, http: &steward::http::Settings) -> Router {
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    crate::harness::app::router_with(&service, admin_settings(), soap_settings(), http)
}

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back_in_every_dialect() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let other = app.new_reseller("Other").await;
    let router = limited(
        &app,
        Limits {
            per_token: Some(3),
            per_address: None,
        },
        &http_settings(),
    );
    let v3 = with_token(&router, &acme.token);
    let rate = |answer: &Answer| {
        ["limit", "remaining", "reset"]
            .map(|name| answer.header(&format!("x-rate-limit-{name}")).to_owned())
    };
    let now = start_of_time().timestamp();
    for left in [2, 1, 0] {
        let answer = v3.get("/v3/accounts").await;
        assert_eq!(
            (answer.status.as_u16(), rate(&answer)),
            (
                200,
                [
                    "3".to_owned(),
                    left.to_string(),
                    (now + (3 - left) * 20).to_string()
                ]
            )
        );
    }
    let refusal = v3.get("/v3/accounts").await;
    refused(&refusal, 429, "RATE_LIMITED", "Too many requests");
    assert_eq!(
        (refusal.header("retry-after"), rate(&refusal)[1].as_str()),
        ("20", "0")
    );
    let client = Client {
        router: router.clone(),
        token: acme.token.clone(),
    };
    let refusal = client.call("list", json!({})).await;
    refusal.is_error(429, "Too many requests");
    assert_eq!(refusal.header("retry-after"), "20");
    let soap = format!(
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body><GetAccountInfoUsingAccountID xmlns='Zoolz'><authToken>{}</authToken><accountID>1</accountID></GetAccountInfoUsingAccountID></e:Body></e:Envelope>",
        acme.token
    );
    let request = Request::post(steward::dialects::soap::PATH)
        .header("content-type", "application/soap+xml")
        .body(Body::from(soap))
        .unwrap();
    let refusal = send(&router, request).await;
    assert_eq!(
        (refusal.status.as_u16(), refusal.header("retry-after")),
        (429, "20"),
        "{}",
        refusal.body
    );
    assert_eq!(
        with_token(&router, &other.token)
            .get("/v3/accounts")
            .await
            .status,
        200,
        "tokens do not share"
    );
    app.clock.advance(TimeDelta::seconds(20));
    assert_eq!(v3.get("/v3/accounts").await.status, 200);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_before_anything_else_is_looked_at() {
    let app = App::new().await;
    let http = steward::http::Settings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..http_settings()
    };
    let router = limited(
        &app,
        Limits {
            per_token: None,
            per_address: Some(2),
        },
        &http,
    );
    let ask = async |peer: &str, forwarded: &str, path: &str| {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let request = Request::post(path)
            .header("x-forwarded-for", forwarded)
            .extension(ConnectInfo(peer))
            .body(Body::empty())
            .unwrap();
        send(&router, request).await
    };
    let from = async |peer: &str, forwarded: &str| {
        ask(peer, forwarded, "/v3/accounts").await.status.as_u16()
    };
    assert_eq!(
        [
            from("203.0.113.7:1", "1.1.1.1").await,
            from("203.0.113.7:2", "2.2.2.2").await,
            from("203.0.113.7:3", "3.3.3.3").await
        ],
        [401, 401, 429]
    );
    assert_eq!(
        [
            from("10.1.1.1:1", "198.51.100.1").await,
            from("10.1.1.1:1", "9.9.9.9, 198.51.100.1").await,
            from("10.1.1.1:1", "198.51.100.1").await
        ],
        [401, 401, 429]
    );
    assert_eq!(
        [
            from("[2001:db8::1]:1", "").await,
            from("[2001:db8::2]:1", "").await,
            from("[2001:db8::3]:1", "").await
        ],
        [401, 401, 429]
    );
    let refusal = ask("203.0.113.7:4", "", "/v3/accounts").await;
    refused(&refusal, 429, "RATE_LIMITED", "");
    assert_eq!(
        (
            refusal.header("retry-after"),
            refusal.header("x-rate-limit-remaining")
        ),
        ("30", "0")
    );
    assert_eq!(
        ask("203.0.113.7:4", "", "/api/v1.1/admin/accounts/freeze")
            .await
            .status,
        429
    );
    assert_eq!(
        ask("203.0.113.7:4", "", steward::dialects::soap::PATH)
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn only_the_configured_web_pages_may_call() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let http = steward::http::Settings {
        cors_origins: vec!["https://panel.example".to_owned()],
        ..http_settings()
    };
    let router = limited(&app, Limits::default(), &http);
    let preflight = async |router: &Router, origin: &str| {
        let request = Request::options("/v3/accounts/1/status")
            .header("origin", origin)
            .header("access-control-request-method", "PUT");
        send(
            router,
            request
                .header("access-control-request-headers", "authorization,if-match")
                .body(Body::empty())
                .unwrap(),
        )
        .await
    };
    let allowed = preflight(&router, "https://panel.example").await;
    assert_eq!(
        (
            allowed.status.as_u16(),
            allowed.header("access-control-allow-origin")
        ),
        (200, "https://panel.example")
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .contains("PUT")
            && allowed
                .header("access-control-allow-headers")
                .contains("if-match")
    );
    assert_eq!(
        preflight(&router, "https://evil.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    assert_eq!(
        preflight(&app.router, "https://panel.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let v3 = with_token(&router, &client.token);
    let answer = v3
        .send(
            "GET",
            "/v3/accounts",
            &[("origin", "https://panel.example")],
            "",
        )
        .await;
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("x-rate-limit-remaining"),
        "{:?}",
        answer.headers
    );
    let wrong = with_token(&router, "garbage")
        .send(
            "GET",
            "/v3/accounts",
            &[("origin", "https://panel.example")],
            "",
        )
        .await;
    assert_eq!(
        (
            wrong.status.as_u16(),
            wrong.header("access-control-allow-origin")
        ),
        (401, "https://panel.example"),
        "errors can be read too"
    );
}

#[tokio::test]
async fn a_token_from_the_command_line_may_be_a_json_web_token() {
    let app = App::new().await;
    let reseller = app.reseller("Acme").await;
    let request = |kind| TokenRequest {
        reseller: Some(reseller),
        kind,
        expires_in: Some(Duration::from_hours(1)),
        ..TokenRequest::default()
    };
    let issued = app.issue(request(TokenKind::Jwt)).await;
    let text = issued.token.expose_secret().to_owned();
    let payload = text.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(
        &data_encoding::BASE64URL_NOPAD
            .decode(payload.as_bytes())
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (
            claims["iss"].clone(),
            claims["reseller_id"].clone(),
            claims["exp"].clone()
        ),
        (
            json!("steward"),
            json!(reseller.0),
            json!(start_of_time().timestamp() + 3_600)
        )
    );
    let again = app.issue(request(TokenKind::Jwt)).await;
    assert_ne!(again.token.expose_secret(), text, "two are never the same");
    let client = app.client(&text);
    client.account("a").await;
    // The rights stand in the database: what the token itself claims is for others to read.
    let scopes = claims["scope"].as_str().unwrap();
    assert!(
        scopes.contains("account:write") && !scopes.contains("reseller:write"),
        "{scopes}"
    );
    app.clock.advance(TimeDelta::hours(1));
    client
        .call("list", json!({}))
        .await
        .is_error(401, "API token is invalid");
}

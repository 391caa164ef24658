//! JSON Web Tokens: issued by Steward, and by an issuer that the configuration trusts.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use steward::domain::ResellerId;
use steward::jwt::{self, Verifier};
use steward::service::{Clock, Service, Settings, TokenKind, TokenRequest};
use steward::store::Store;

use crate::harness::app::{
    admin_settings, pool_settings, router, send, soap_settings, start_of_time,
};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

pub(super) const SECRET: &str = "a secret of thirty-two bytes, at least";

/// Keys for these tests only: Ed25519 in the form of RFC 8410, and RSA.
const ED_PRIVATE: &str = include_str!("golden/jwt/ed25519.pem");
const ED_PUBLIC: &str = include_str!("golden/jwt/ed25519.pub.pem");
const RSA_PRIVATE: &str = include_str!("golden/jwt/rsa.pem");
const RSA_PUBLIC: &str = include_str!("golden/jwt/rsa.pub.pem");

pub(super) fn settings() -> jwt::Settings {
    jwt::Settings {
        issuer: "https://login.example".to_owned(),
        audience: "steward".to_owned(),
        leeway: Duration::from_secs(30),
        ..jwt::Settings::default()
    }
}

/// The router of a replica that trusts the tokens of an issuer.
fn trusting(app: &App, settings: jwt::Settings) -> Router {
    router(
        &trusting_service(app, settings),
        admin_settings(),
        soap_settings(),
    )
}

/// The service of a replica that trusts the tokens of an issuer.
pub(super) fn trusting_service(app: &App, settings: jwt::Settings) -> Arc<Service> {
    let service = Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        Settings::default(),
    );
    Arc::new(service.trusting(Verifier::new(settings).unwrap()))
}

/// The claims of a valid token, some replaced by `other`. Null removes a claim.
pub(super) fn claims(reseller: ResellerId, other: &Value) -> Value {
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

pub(super) fn hs256(claims: &Value) -> String {
    signed(
        Algorithm::HS256,
        None,
        &EncodingKey::from_secret(SECRET.as_bytes()),
        claims,
    )
}

#[tokio::test]
async fn a_trusted_jwt_works_in_every_dialect_and_the_journal_names_its_subject() {
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
    let v3 = V3::with_token(&router, &token);
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
        (
            &history[0]["actor"]["name"],
            &history[0]["actor"]["subject"]
        ),
        (
            &json!(format!("reseller {reseller}, subject backend")),
            &json!("backend")
        )
    );
    // The token lacks the scope to manage tokens, and a replica without the configuration refuses
    // it.
    refused(
        &v3.get("/v3/tokens").await,
        403,
        "INSUFFICIENT_SCOPE",
        "token:write",
    );
    refused(
        &V3::with_token(&app.router, &token)
            .get("/v3/accounts")
            .await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
}

#[tokio::test]
async fn invalid_jwts_are_refused() {
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
    let list = async |router: &Router, token: &str| {
        V3::with_token(router, token).get("/v3/accounts").await
    };
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
    // HS256 with the public key as the secret: a verifier must not let the token choose the
    // algorithm.
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
        json!({"iss": ["https://login.example"]}),
        json!({"iss": ["https://evil.example", "https://login.example"]}),
        json!({"exp": now * 1_000}),
        json!({"exp": 253_402_300_800_i64}),
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
        V3::with_token(&operators, &operator)
            .call("POST", "/v3/resellers", &json!({"name": "Fresh"}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn an_unknown_key_id_refetches_the_key_set_at_most_every_30_seconds() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let app = App::new().await;
    let acme = app.reseller("Acme").await;
    let (fetches, set) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(std::sync::Mutex::new(json!({"keys": []}))),
    );
    let (count, served) = (Arc::clone(&fetches), Arc::clone(&set));
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
            jwks_url: Some(format!("http://{address}/jwks.json").into()),
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
    let list_status = async || {
        V3::with_token(&router, &token)
            .get("/v3/accounts")
            .await
            .status
            .as_u16()
    };

    assert_eq!(
        (list_status().await, fetches.load(Ordering::SeqCst)),
        (401, 1)
    );
    *set.lock().unwrap() = json!({"keys": [jwk, {"kty": "oct", "kid": "x", "k": "c2VjcmV0"}, {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]});
    for _ in 0..20 {
        assert_eq!(list_status().await, 401, "the key set was fetched just now");
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    app.clock.advance(TimeDelta::seconds(30));
    assert_eq!(
        (
            list_status().await,
            list_status().await,
            fetches.load(Ordering::SeqCst)
        ),
        (200, 200, 2)
    );
    let other = signed(Algorithm::EdDSA, Some("two"), &key, &long);
    refused(
        &V3::with_token(&router, &other).get("/v3/accounts").await,
        401,
        "AUTHENTICATION_FAILED",
        "",
    );
    // Keys are fetched again after ten minutes. If the issuer cannot be reached, the old keys stay.
    serving.abort();
    let _ended = serving.await;
    app.clock.advance(TimeDelta::minutes(11));
    assert_eq!(list_status().await, 200);
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
    // Steward reads the scopes from the database. The claim is only for other readers.
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

#[tokio::test]
async fn scopes_may_be_in_three_claims_and_critical_extensions_are_refused() {
    let app = App::new().await;
    let acme = app.new_reseller("Acme").await;
    let id = acme.account("a").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let trusted = jwt::Settings {
        secret: Some(SECRET.into()),
        ..settings()
    };
    let router = trusting(&app, trusted);
    let path = format!("/v3/accounts/{id}");
    // Whether the token may read and write accounts.
    let rights = async |scopes: Value| {
        let v3 = V3::with_token(&router, &hs256(&claims(reseller, &scopes)));
        let read = v3.get(&path).await.status.as_u16();
        let write = v3.call("PATCH", &path, &json!({})).await.status.as_u16();
        (read, write)
    };
    for (scopes, expected) in [
        (json!({"scopes": ["account:write"]}), (200, 200)),
        (
            json!({"scope": "account:read", "scopes": ["account:write"], "scp": "x y"}),
            (200, 200),
        ),
        (
            json!({"scope": null, "scp": ["account:read"], "scopes": 7}),
            (200, 403),
        ),
        (
            json!({"scope": "openid", "scp": "account:write"}),
            (403, 200),
        ),
        (json!({"scope": null}), (403, 403)),
    ] {
        assert_eq!(rights(scopes.clone()).await, expected, "{scopes}");
    }

    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let with_crit = |crit: Option<Vec<String>>| {
        let header = Header {
            crit,
            ..Header::new(Algorithm::HS256)
        };
        jsonwebtoken::encode(&header, &claims(reseller, &json!({})), &key).unwrap()
    };
    for (crit, status) in [
        (None, 200),
        (Some(vec!["b64".to_owned()]), 401),
        (Some(Vec::new()), 401),
    ] {
        let v3 = V3::with_token(&router, &with_crit(crit.clone()));
        assert_eq!(v3.get(&path).await.status.as_u16(), status, "{crit:?}");
    }
}

//! A right is not authority: what a reseller's or a lesser credential cannot do, whatever scopes it names.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use steward::dialects::operation::Access;
use steward::dialects::{admin, soap, v3};
use steward::domain::{Authority, ResellerId, Scope, Scopes, Time};
use steward::jwt;
use steward::service::{Principal, Service, TokenKind, TokenRequest};

use super::jwt::{SECRET, claims, hs256, settings, trusting_service};
use crate::harness::App;
use crate::harness::app::{admin_settings, router, send, soap_settings};
use crate::harness::v3::{V3, refused};

fn trusting(app: &App) -> (Arc<Service>, Router) {
    let jwt = jwt::Settings {
        secret: Some(SECRET.into()),
        ..settings()
    };
    let service = trusting_service(app, jwt);
    let router = router(&service, admin_settings(), soap_settings());
    (service, router)
}

fn every_scope() -> String {
    Scope::ALL.map(Scope::as_str).join(" ")
}

/// One credential of each kind that names every scope, although it is a reseller's: a JSON Web Token of the trusted
/// issuer, and a key and a JSON Web Token of ours whose rows somebody has changed.
async fn with_every_scope(app: &App, reseller: ResellerId) -> [(&'static str, String); 3] {
    let external = hs256(&claims(reseller, &json!({"scope": every_scope()})));
    let issue = async |kind| {
        let request = TokenRequest {
            reseller: Some(reseller),
            kind,
            ..TokenRequest::default()
        };
        let issued = app.issue(request).await;
        sqlx::query("update api_token set scopes = $1 where id = $2")
            .bind(Scope::ALL.map(Scope::as_str).to_vec())
            .bind(issued.credential.id.0)
            .execute(&app.database.superuser().await)
            .await
            .unwrap();
        issued.token.expose_secret().to_owned()
    };
    [
        ("external JWT", external),
        ("own JWT", issue(TokenKind::Jwt).await),
        ("key", issue(TokenKind::Key).await),
    ]
}

#[tokio::test]
async fn wherever_a_principal_is_made_its_scopes_are_cut_to_its_authority() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let acme = app.service.find_reseller("Acme").await.unwrap();
    let (service, _) = trusting(&app);
    let possible = Scopes::all_for(Authority::Reseller);
    assert!(!possible.contains(Scope::ResellerWrite));
    for (kind, token) in with_every_scope(&app, acme).await {
        let principal = service.authenticate(&token.into()).await.unwrap();
        assert_eq!(principal.scopes(), &possible, "{kind}");
    }
    let everything: Scopes = Scope::ALL.into_iter().collect();
    let agent = |authority| steward::domain::Actor {
        bound_to: None,
        authority,
        name: "agent".to_owned(),
    };
    for principal in [
        Principal::new(Some(acme), everything.clone()),
        Principal::of_reseller(acme),
        Principal::automation(acme),
        Principal::new(None, everything.clone()).acting_as(agent(Authority::Reseller)),
    ] {
        assert_eq!(principal.scopes(), &possible, "{principal:?}");
    }
    assert_eq!(
        Principal::new(None, everything.clone()).scopes(),
        &everything
    );
}

#[tokio::test]
async fn an_operators_operation_refuses_a_reseller_with_every_scope() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    app.new_reseller("Other").await;
    let (acme, other) = (
        app.service.find_reseller("Acme").await.unwrap(),
        app.service.find_reseller("Other").await.unwrap(),
    );
    let (_, router) = trusting(&app);
    let operator = V3::with_token(&router, &app.token(None, None).await);
    let before = operator.get("/v3/resellers").await.body;
    let operators_only: Vec<_> = v3::OPERATIONS
        .iter()
        .filter(|operation| matches!(operation.access, Access::Operator(_)))
        .collect();
    assert!(
        operators_only.len() >= 5,
        "the table has operator's operations"
    );
    for (kind, token) in with_every_scope(&app, acme).await {
        for operation in &operators_only {
            for id in [acme, other] {
                let path = operation.path.replace("{id}", &id.to_string());
                let mut request = Request::builder()
                    .method(operation.method)
                    .uri(&path)
                    .header("authorization", format!("Bearer {token}"));
                if !operation.example.is_empty() {
                    request = request.header("content-type", "application/json");
                }
                let answer = send(
                    &router,
                    request.body(Body::from(operation.example)).unwrap(),
                )
                .await;
                let document = answer.json();
                assert_eq!(
                    (
                        answer.status.as_u16(),
                        document["code"].as_str(),
                        document["message"].as_str()
                    ),
                    (
                        403,
                        Some("INSUFFICIENT_SCOPE"),
                        Some("Only an operator's token may do this")
                    ),
                    "{kind}: {} {path}",
                    operation.method
                );
            }
        }
    }
    assert_eq!(operator.get("/v3/resellers").await.body, before);
    // The other dialects have no operator's operations yet. One that comes has to be tried above.
    assert!(
        admin::OPERATIONS
            .iter()
            .map(|operation| operation.access)
            .chain(soap::OPERATIONS.iter().map(|operation| operation.access))
            .all(|access| matches!(access, Access::Scope(_)))
    );
}

#[tokio::test]
async fn the_service_itself_refuses_what_is_for_operators() {
    use steward::domain::Error;
    use steward::service::{NewReseller, ResellerPatch};
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let acme = app.service.find_reseller("Acme").await.unwrap();
    let reseller = Principal::of_reseller(acme);
    let patch = || ResellerPatch {
        account_limit: steward::domain::Patch::Set(0),
        ..ResellerPatch::default()
    };
    let new = NewReseller {
        name: "New".to_owned(),
        patch: patch(),
    };
    let refused = Some(Error::OperatorRequired);
    let service = &app.service;
    assert_eq!(
        service.create_reseller(&reseller, new, None).await.err(),
        refused
    );
    assert_eq!(
        service
            .revise_reseller(&reseller, acme, patch(), None)
            .await
            .err(),
        refused
    );
    for suspend in [true, false] {
        assert_eq!(
            service
                .suspend_reseller(&reseller, acme, suspend, None)
                .await
                .err(),
            refused
        );
    }
    assert_eq!(
        service.approve_purge(&reseller, acme, None).await.err(),
        refused
    );
}

fn expiry(document: &Value) -> Option<Time> {
    document["expiresAt"].as_str().map(|at| at.parse().unwrap())
}

#[tokio::test]
async fn a_credential_makes_none_that_outlives_it() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let acme = app.service.find_reseller("Acme").await.unwrap();
    let minute = TokenRequest {
        reseller: Some(acme),
        expires_in: Some(Duration::from_mins(1)),
        ..TokenRequest::default()
    };
    let short = app.issue(minute).await;
    let long = app.token(Some(acme), None).await;
    let (_, router) = trusting(&app);
    let external = hs256(&claims(acme, &json!({"scope": every_scope()})));
    let leeway = settings().leeway;
    let in_ten_minutes = app.service.now() + Duration::from_mins(10) + leeway;
    for (maker, ends) in [
        (
            short.token.expose_secret().to_owned(),
            short.credential.expires_at.unwrap(),
        ),
        (external, in_ten_minutes),
    ] {
        let maker = V3::with_token(&router, &maker);
        for request in [
            json!({}),
            json!({"expiresIn": 7_776_000}),
            json!({"kind": "jwt"}),
            json!({"kind": "jwt", "expiresIn": 7_776_000}),
        ] {
            let made = maker.call("POST", "/v3/tokens", &request).await;
            assert_eq!(made.status, 201, "{request}: {}", made.body);
            assert_eq!(expiry(&made.json()), Some(ends), "{request}");
        }
        let shorter = maker
            .call("POST", "/v3/tokens", &json!({"expiresIn": 5}))
            .await;
        assert_eq!(
            expiry(&shorter.json()),
            Some(app.service.now() + Duration::from_secs(5))
        );
    }
    // Nor does it renew itself beyond its own end, or end one that lasts longer.
    let maker = V3::with_token(&router, short.token.expose_secret());
    let rotate = async |id| {
        let path = format!("/v3/tokens/{id}/rotate");
        maker
            .call("POST", &path, &json!({"graceSeconds": 60}))
            .await
    };
    let principal = app.service.authenticate(&long.into()).await.unwrap();
    let longer = rotate(principal.token.unwrap()).await;
    refused(&longer, 403, "INSUFFICIENT_SCOPE", "expires before");
    let rotated = rotate(short.credential.id).await;
    assert_eq!(rotated.status, 201, "{}", rotated.body);
    assert_eq!(expiry(&rotated.json()), short.credential.expires_at);
    let operator = V3::with_token(&router, &app.token(None, None).await);
    let made = operator
        .call("POST", "/v3/tokens", &json!({"resellerId": acme.0}))
        .await;
    assert_eq!(expiry(&made.json()), None, "nothing ends for an operator");
}

#[tokio::test]
async fn a_lesser_credential_neither_revokes_nor_rotates_a_stronger_one() {
    let app = App::new().await;
    app.new_reseller("Acme").await;
    let acme = app.service.find_reseller("Acme").await.unwrap();
    let lesser = app.token(Some(acme), Some(&[Scope::TokenWrite])).await;
    let stronger = app.token(Some(acme), None).await;
    let equal = app.token(Some(acme), Some(&[Scope::TokenWrite])).await;
    let id = async |token: &str| {
        let token = token.to_owned().into();
        app.service
            .authenticate(&token)
            .await
            .unwrap()
            .token
            .unwrap()
    };
    let v3 = V3::with_token(&app.router, &lesser);
    let path = format!("/v3/tokens/{}", id(&stronger).await);
    let text = "The token lacks account:read";
    for answer in [
        v3.call("DELETE", &path, &json!({})).await,
        v3.call(
            "POST",
            &format!("{path}/rotate"),
            &json!({"graceSeconds": 0}),
        )
        .await,
    ] {
        assert_eq!(
            (answer.status.as_u16(), answer.json()["message"].as_str()),
            (403, Some(text)),
            "{}",
            answer.body
        );
    }
    id(&stronger).await;
    for token in [&equal, &lesser] {
        let path = format!("/v3/tokens/{}", id(token).await);
        assert_eq!(
            v3.call("DELETE", &path, &json!({})).await.status,
            204,
            "one as strong"
        );
    }
}

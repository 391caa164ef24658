//! Suspended resellers: their credentials read and change nothing, the operator goes on, and every
//! suspension is remembered.

use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use steward::dialects::{admin, soap, v3};
use steward::domain::{ResellerId, Scope};
use steward::service::TokenRequest;

use crate::harness::app::send;
use crate::harness::process::until;
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

const ADMIN_REFUSAL: &str = "No access rights: the operator has suspended the reseller";

async fn acme(app: &App) -> (ResellerId, Client) {
    let client = app.new_reseller("Acme").await;
    (app.service.find_reseller("Acme").await.unwrap(), client)
}

/// Every row of the tables that changes something is judged by its method and its scope here, and
/// not by the attribute that the dispatchers read.
#[tokio::test]
async fn a_suspended_resellers_writes_are_refused_in_every_dialect_and_its_reads_answer() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    let before = client.get(id).await;
    app.suspend_reseller(reseller, true).await;
    let is_refused = |answer: &crate::harness::app::Answer| {
        answer.status == 403 && answer.body.contains("RESELLER_SUSPENDED")
    };
    for operation in v3::OPERATIONS {
        // Nothing has this id: what is admitted finds nothing.
        let path = operation.path.replace("{id}", "987654");
        let (name, body) = (operation.name, operation.example);
        let answer = v3.send(operation.method, &path, &[], body).await;
        let is_safe = matches!(
            name,
            "accounts_simulate"
                | "tokens_delete"
                | "personal_access_tokens_patch"
                | "personal_access_tokens_delete"
                | "release_tickets_redeem"
        );
        let is_operators = operation.access.scope() == Some(Scope::ResellerWrite);
        let is_write = operation.method != "GET" && !is_safe && !is_operators;
        assert_eq!(is_refused(&answer), is_write, "{name}: {}", answer.body);
        // The operator acts on its accounts as before.
        let answer = operator.send(operation.method, &path, &[], "").await;
        assert!(!is_refused(&answer), "{name}: {}", answer.body);
    }
    for operation in admin::OPERATIONS {
        let members: Value = serde_json::from_str(operation.example).unwrap();
        let answer = client.call(operation.name, members).await;
        if operation.access.scope() == Some(Scope::AccountWrite) {
            answer.is_error(403, ADMIN_REFUSAL);
        } else {
            assert_ne!(answer.status, 403, "{}: {}", operation.name, answer.body);
        }
    }
    for operation in soap::OPERATIONS {
        let members = format!("<accountID>{id}</accountID><email>a@example.com</email>");
        let (code, message, _) = Soap::of(&client).call(operation.name, &members).await;
        // What Steward has no use for: nothing is ever written.
        let is_idle = ["ResetPassword", "ToggleNetworkDrive"].contains(&operation.name);
        let is_write = operation.access.scope() == Some(Scope::AccountWrite) && !is_idle;
        assert_eq!(
            (code.as_str(), message.as_str())
                == ("GeneralError", "General Error, the reseller is suspended"),
            is_write,
            "{}: {code} {message}",
            operation.name
        );
        // These want more than the account.
        let is_incomplete = [
            "GetAccountInfoUsingEmailAndPass",
            "GetAccountInfoByEmailAndPass",
            "GetPlanInfo",
        ]
        .contains(&operation.name);
        let is_answered = is_idle || is_incomplete || code == "Success";
        assert!(is_write || is_answered, "{code} {message}");
    }
    // A refused call leaves no trace, and lifting the suspension finds everything as it was.
    app.suspend_reseller(reseller, false).await;
    assert_eq!(client.get(id).await, before);
    assert_eq!(client.history(id).await.len(), 2);
    client.call("unfreeze", json!({"id": id})).await.ok();
}

#[tokio::test]
async fn the_operator_acts_for_a_suspended_reseller_and_makes_tokens_for_it() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    app.suspend_reseller(reseller, true).await;
    operator.call("suspend", json!({"id": id})).await.ok();
    operator.call("unsuspend", json!({"id": id})).await.ok();
    let made = V3::of(&operator)
        .call("POST", "/v3/accounts", &json!({"resellerId": reseller.0}))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let request = TokenRequest {
        reseller: Some(reseller),
        ..TokenRequest::default()
    };
    let token = app.issue(request).await.token;
    let new = app.client(token.expose_secret());
    assert_eq!(
        new.get(id).await["effective_status"],
        "suspended:reseller_account"
    );
    new.call("activate", json!({"id": id}))
        .await
        .is_error(403, ADMIN_REFUSAL);
    // Its own token makes none, and can be revoked by it.
    let v3 = V3::of(&new);
    let body = json!({"name": "another"});
    refused(
        &v3.call("POST", "/v3/tokens", &body).await,
        403,
        "RESELLER_SUSPENDED",
        "tokens can read",
    );
    let own = v3.get("/v3/tokens").await.ok()[0]["id"].clone();
    let path = format!("/v3/tokens/{own}");
    assert_eq!(v3.call("DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(V3::of(&client).get("/v3/tokens").await.status, 401);
}

#[tokio::test]
async fn a_customer_of_a_suspended_reseller_pays_with_a_ticket() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let id = client.account("a").await;
    let members = json!({"id": id, "release_ticket": true});
    let frozen = client.call("freeze", members).await.ok();
    app.suspend_reseller(reseller, true).await;
    let redeemed = send(
        &app.router,
        Request::post("/v3/release-tickets/redeem")
            .header("content-type", "application/json")
            .body(Body::from(
                json!({"ticket": frozen["data"]["release_ticket"]}).to_string(),
            ))
            .unwrap(),
    );
    assert_eq!(
        redeemed.await.ok(),
        json!({"changed": true, "effectiveStatus": "suspended:reseller_account"})
    );
}

/// A suspension that is committed after a batch has read the accounts, and before it writes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_that_lands_while_a_write_is_under_way_refuses_it() {
    let app = App::new().await;
    let (_, client) = acme(&app).await;
    let operator = app.operator().await;
    let superuser = app.database.superuser().await;
    let (id, other) = (client.account("a").await, client.account("b").await);
    let freeze = async |client: &Client, id: i64| {
        client
            .call_once("freeze", "bill-7", json!({"id": id}))
            .await
    };
    let create = async |client: &Client| {
        V3::of(client)
            .send("POST", "/v3/accounts", &[], r#"{"company":"New"}"#)
            .await
    };
    let simple = async |client: &Client, id: i64| client.call("suspend", json!({"id": id})).await;
    // The suspension holds the locks that batches take: those that create accounts wait for the
    // row of the reseller before they decide, the others for its journal before they write.
    let suspend = async || {
        let mut suspension = superuser.begin().await.unwrap();
        sqlx::raw_sql(
            "update reseller set suspended_at = now() where id = 1; select pg_advisory_xact_lock(1)",
        )
        .execute(&mut *suspension)
        .await
        .unwrap();
        suspension
    };
    let land = async |suspension: sqlx::Transaction<'_, sqlx::Postgres>| {
        until("a batch that waits for a lock", async || {
            let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            (app.database.number(waiting).await > 0).then_some(())
        })
        .await;
        suspension.commit().await.unwrap();
    };
    let suspension = suspend().await;
    let (frozen, blocked, by_operator, ()) = tokio::join!(
        freeze(&client, id),
        simple(&client, id),
        simple(&operator, other),
        land(suspension)
    );
    frozen.is_error(403, ADMIN_REFUSAL);
    blocked.is_error(403, ADMIN_REFUSAL);
    app.suspend_reseller(ResellerId(1), false).await;
    let suspension = suspend().await;
    let (created, ()) = tokio::join!(create(&client), land(suspension));
    assert_eq!(created.status, 403, "{}", created.body);
    by_operator.ok();
    let accounts = app.database.number("select count(*) from account").await;
    assert_eq!(accounts, 2);
    assert_eq!(client.get(id).await["version"], 1);
    assert_eq!(client.history(id).await.len(), 1, "no trace");
    assert_eq!(client.get(other).await["version"], 2);
    // The refusal is not stored under the key: the same request succeeds once it is lifted.
    freeze(&client, id).await.is_error(403, ADMIN_REFUSAL);
    app.suspend_reseller(ResellerId(1), false).await;
    let later = freeze(&client, id).await;
    assert_eq!(later.header("idempotent-replayed"), "");
    later.ok();
    // A repeat of what was done before is answered as before.
    app.suspend_reseller(ResellerId(1), true).await;
    let repeated = freeze(&client, id).await;
    assert_eq!(repeated.header("idempotent-replayed"), "true");
    repeated.ok();
}

/// The cache of credentials has whether the reseller is suspended. It is told of every change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_credentials_follow_a_suspension_at_once() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let v3 = V3::of(&client);
    app.service.remember_credentials();
    until("listening", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    let plan = async || {
        v3.call(
            "POST",
            "/v3/plans",
            &json!({"name": "x", "displayName": "x"}),
        )
        .await
        .status
        .as_u16()
    };
    for _ in 0..3 {
        assert_eq!(plan().await, 201);
        app.suspend_reseller(reseller, true).await;
        assert_eq!(plan().await, 403);
        app.suspend_reseller(reseller, false).await;
    }
}

fn spans(suspensions: &Value) -> Vec<(String, Option<String>)> {
    let text = |it: &Value| it.as_str().map(|text| text[11..16].to_owned());
    let suspensions = suspensions.as_array().unwrap().iter();
    suspensions
        .map(|it| (text(&it["suspendedAt"]).unwrap(), text(&it["liftedAt"])))
        .collect()
}

#[tokio::test]
async fn the_past_of_a_resellers_suspensions_is_kept() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let other = V3::of(&app.new_reseller("Other").await);
    let id = client.account("a").await;
    let set = async |verb: &str| {
        app.clock.advance(TimeDelta::hours(1));
        let path = format!("/v3/resellers/{reseller}/{verb}");
        operator.call("POST", &path, &Value::Null).await.ok();
    };
    // It is 12:00. Suspended from 13:00 to 14:00, and from 16:00 on; repeats change nothing.
    set("suspend").await;
    set("unsuspend").await;
    set("unsuspend").await;
    set("suspend").await;
    set("suspend").await;
    app.clock.advance(TimeDelta::hours(1));
    let path = format!("/v3/resellers/{reseller}/suspensions");
    let all = v3.get(&path).await.ok();
    let expected = vec![
        ("16:00".to_owned(), None),
        ("13:00".to_owned(), Some("14:00".to_owned())),
    ];
    assert_eq!(spans(&all), expected);
    assert!(
        all[1]["suspendedBy"]
            .as_str()
            .unwrap()
            .starts_with("operator, token ")
            && all[1]["liftedBy"] == all[1]["suspendedBy"]
            && all[0]["liftedBy"] == Value::Null,
        "{all}"
    );
    let first = v3.get(&format!("{path}?limit=1")).await;
    assert_eq!(spans(&first.ok()), expected[..1]);
    let next = first.header("link").split(['<', '>']).nth(1).unwrap();
    assert_eq!(spans(&v3.get(next).await.ok()), expected[1..]);
    refused(&other.get(&path).await, 404, "RESELLER_NOT_FOUND", "");
    assert_eq!(operator.get(&path).await.ok(), all);

    // The timeline has them, and reads of the past are right at every instant.
    let timeline = v3.get(&format!("/v3/accounts/{id}/timeline")).await.ok();
    assert_eq!(timeline["resellerSuspensions"], all);
    let timeline = client.call("timeline", json!({"id": id})).await.ok();
    let items = timeline["data"]["reseller_suspensions"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[1]["lifted_at"], all[1]["liftedAt"]);
    for (at, is_suspended) in [
        ("12:59:59", false),
        ("13:00:00", true),
        ("13:59:59", true),
        ("14:00:00", false),
        ("15:59:59", false),
        ("16:00:00", true),
        ("17:30:00", true),
    ] {
        let expected = if is_suspended {
            "suspended:reseller_account"
        } else {
            "active"
        };
        let at = format!("2026-03-01T{at}Z");
        let path = format!("/v3/accounts/{id}?asOf={at}");
        let seen = [
            v3.get(&path).await.ok()["effectiveStatus"].clone(),
            v3.get(&format!("/v3/accounts?asOf={at}")).await.ok()[0]["effectiveStatus"].clone(),
            v3.get(&format!("/v3/accounts/{id}/access?asOf={at}"))
                .await
                .ok()["effectiveStatus"]
                .clone(),
            client
                .call("get", json!({"id": id, "as_of": at}))
                .await
                .ok()["data"]["effective_status"]
                .clone(),
        ];
        assert!(seen.iter().all(|word| word == expected), "{at}: {seen:?}");
    }
}

#[tokio::test]
async fn suspensions_that_an_earlier_version_began_or_lifted_are_completed() {
    let app = App::new().await;
    let (reseller, client) = acme(&app).await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let superuser = app.database.superuser().await;
    // What an earlier version does: it writes the reseller only.
    let earlier = async |set: &'static str| {
        let update = format!("update reseller set {set} where id = 1");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update))
            .execute(&superuser)
            .await
            .unwrap();
    };
    let path = format!("/v3/resellers/{reseller}/suspensions");
    let state = async |at: &str| {
        let path = format!("/v3/accounts/{id}?asOf=2026-03-01T{at}:00Z");
        v3.get(&path).await.ok()["effectiveStatus"].clone()
    };
    app.clock.advance(TimeDelta::hours(8));
    earlier("suspended_at = '2026-03-01T13:00Z'").await;
    assert_eq!(state("13:30").await, "suspended:reseller_account");
    app.suspend_reseller(reseller, false).await;
    let all = v3.get(&path).await.ok();
    assert_eq!(
        spans(&all),
        vec![("13:00".to_owned(), Some("20:00".to_owned()))]
    );
    assert_eq!(
        (&all[0]["suspendedBy"], &all[0]["liftedBy"]),
        (&Value::Null, &json!("operator, command line"))
    );
    app.clock.advance(TimeDelta::hours(1));
    app.suspend_reseller(reseller, true).await;
    earlier("suspended_at = null, suspension_lifted_at = '2026-03-01T22:00Z'").await;
    app.clock.advance(TimeDelta::hours(2));
    let twice = vec![
        ("21:00".to_owned(), Some("22:00".to_owned())),
        ("13:00".to_owned(), Some("20:00".to_owned())),
    ];
    assert_eq!(
        spans(&v3.get(&path).await.ok()),
        twice,
        "lifted, although its row is open"
    );
    assert_eq!(state("21:30").await, "suspended:reseller_account");
    assert_eq!(state("22:30").await, "active");
    app.suspend_reseller(reseller, true).await;
    assert_eq!(spans(&v3.get(&path).await.ok())[1..], twice);
    assert_eq!(state("22:30").await, "active");
}

//! The cache of credentials: how long an entry lives, and how a revocation reaches every replica.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use serde_json::json;
use steward::service::{Clock, Principal, Service, Settings, TokenRequest};
use steward::store::Store;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::process::until;
use crate::harness::{App, Client};

#[tokio::test]
async fn a_revoked_credential_leaves_the_cache_of_every_replica() {
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
    // An update by hand sends no NOTIFY, so the cached credential stays valid for a minute.
    let superuser = app.database.superuser().await;
    sqlx::query("update api_token set revoked_at = created_at where id = $1")
        .bind(issued.credential.id.0)
        .execute(&superuser)
        .await
        .unwrap();
    here.get(id).await;
    there.get(id).await;
    app.clock.advance(TimeDelta::seconds(61));
    until_the_cache_is_used(&app).await;
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
        .revoke_token(&Principal::command_line(), issued.credential.id, None)
        .await
        .unwrap();
    here.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    until("the other replica's refusal", async || {
        (there.call("get", json!({"id": id})).await.status == 401).then_some(())
    })
    .await;
    // When the LISTEN connection is lost, the cache is off until it is back.
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
async fn a_credential_in_use_is_refreshed_before_its_cache_entry_expires() {
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
    // One client comes twice: first from the database, then from the cache.
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
    // An update by hand sends no NOTIFY, so the cached credentials stay valid.
    revoke(true).await;
    app.clock.advance(TimeDelta::seconds(45));
    until("a heartbeat at the new time", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    client.get(id).await;
    idle.call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    // The refresh finds the revocation before the entry's minute is over.
    app.service.renew_credentials().await.unwrap();
    client
        .call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");
    revoke(false).await;
    client.get(id).await;
}

#[tokio::test]
async fn credentials_looked_up_in_one_batch_are_not_mixed_up() {
    let app = App::new().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let client = app.new_reseller(&format!("Reseller {number}")).await;
        let id = client.account(&format!("a{number}")).await;
        clients.push((client, id));
    }
    // A well-formed token of another service.
    let stranger = app.client(&App::new().await.operator().await.token);
    let (stranger, clients) = (&stranger, &clients);
    // The cache is off, so each request looks its token up. All requests run at once, each client
    // for every account.
    let requests = clients.iter().enumerate().flat_map(|(who, (client, _))| {
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
                stranger
                    .call("get", json!({"id": id}))
                    .await
                    .is_error(401, "API token is invalid");
            })
    });
    futures_util::future::join_all(requests).await;
}

/// Waits until entries are used at the time of the manual clock. After each advance of the clock a
/// heartbeat has to come back first; until then every request looks its credential up, and a test
/// would show nothing about the cache.
async fn until_the_cache_is_used(app: &App) {
    until("a heartbeat at the new time", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
}

/// Opens a transaction that keeps every look-up of a credential waiting after it has read the
/// credential: the look-up reads the reseller's row next, and its table is locked.
async fn hold_look_ups(superuser: &sqlx::PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut lock = superuser.begin().await.unwrap();
    sqlx::raw_sql("lock table reseller in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    lock
}

/// Waits until a look-up waits for the table of resellers.
async fn until_a_look_up_waits(app: &App) {
    until("a look-up that waits", async || {
        let waiting = app
            .database
            .number("select count(*) from pg_locks where relation = 'reseller'::regclass and not granted and database = (select oid from pg_database where datname = current_database())")
            .await;
        (waiting > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_during_a_look_up_is_not_overwritten_by_it() {
    let app = App::new().await;
    let reseller = app.reseller("Acme").await;
    let issued = app
        .issue(TokenRequest {
            reseller: Some(reseller),
            ..TokenRequest::default()
        })
        .await;
    let client = app.client(issued.token.expose_secret());
    app.service.remember_credentials();
    until("listening", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    let superuser = app.database.superuser().await;
    let lock = hold_look_ups(&superuser).await;
    let late = tokio::spawn({
        let client = client.clone();
        async move { client.call("list", json!({"from_id": 1, "limit": 1})).await }
    });
    // The look-up has read the credential as valid. Now it is revoked, and then the look-up ends.
    until_a_look_up_waits(&app).await;
    let is_revoked = app
        .service
        .revoke_token(&Principal::command_line(), issued.credential.id, None)
        .await;
    assert!(is_revoked.unwrap().done().unwrap().is_changed);
    lock.rollback().await.unwrap();
    // This request began before the revocation, so it may be answered.
    late.await.unwrap();
    until_the_cache_is_used(&app).await;
    client
        .call("list", json!({"from_id": 1, "limit": 1}))
        .await
        .is_error(401, "API token is invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_during_a_renewal_is_not_overwritten_by_it() {
    let app = App::new().await;
    let reseller = app.reseller("Acme").await;
    let issued = app
        .issue(TokenRequest {
            reseller: Some(reseller),
            ..TokenRequest::default()
        })
        .await;
    let client = app.client(issued.token.expose_secret());
    app.service.remember_credentials();
    until("listening", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    // The first comes from the database, the second from the cache, so that the entry is in use.
    for _ in 0..2 {
        let list = json!({"from_id": 1, "limit": 1});
        client.call("list", list).await.ok();
    }
    app.clock.advance(TimeDelta::seconds(45));
    let superuser = app.database.superuser().await;
    let lock = hold_look_ups(&superuser).await;
    let renewal = tokio::spawn({
        let service = Arc::clone(&app.service);
        async move { service.renew_credentials().await }
    });
    until_a_look_up_waits(&app).await;
    let is_revoked = app
        .service
        .revoke_token(&Principal::command_line(), issued.credential.id, None)
        .await;
    assert!(is_revoked.unwrap().done().unwrap().is_changed);
    lock.rollback().await.unwrap();
    assert_eq!(renewal.await.unwrap(), Ok(()));
    until_the_cache_is_used(&app).await;
    client
        .call("list", json!({"from_id": 1, "limit": 1}))
        .await
        .is_error(401, "API token is invalid");
}

#[tokio::test]
async fn a_cached_credential_expires_at_its_time() {
    let app = App::new().await;
    let reseller = app.reseller("Acme").await;
    let issued = app
        .issue(TokenRequest {
            reseller: Some(reseller),
            expires_in: Some(std::time::Duration::from_secs(20)),
            ..TokenRequest::default()
        })
        .await;
    let client = app.client(issued.token.expose_secret());
    app.service.remember_credentials();
    until("listening", async || {
        app.service.remembers_credentials().then_some(())
    })
    .await;
    let list = json!({"from_id": 1, "limit": 1});
    client.call("list", list.clone()).await.ok();
    app.clock.advance(TimeDelta::seconds(19));
    until_the_cache_is_used(&app).await;
    client.call("list", list.clone()).await.ok();
    app.clock.advance(TimeDelta::seconds(1));
    until_the_cache_is_used(&app).await;
    client
        .call("list", list)
        .await
        .is_error(401, "API token is invalid");
}

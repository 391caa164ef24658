//! The database becomes unreachable and comes back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use serde_json::json;
use steward::service::{Clock, Principal, Service, Settings, TokenRequest};
use steward::store::Store;

use crate::harness::app::{admin_settings, pool_settings, send};
use crate::harness::process::until;
use crate::harness::{App, Client, TestDatabase};

/// A proxy before the database. When it is shut, it cuts all connections and closes new ones at
/// once. It can also freeze LISTEN connections: they stay open and deliver nothing.
struct Proxy {
    folder: tempfile::TempDir,
    is_shut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    listening: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

/// Passes on what a server sends until the connection is frozen.
fn pass(mut from: UnixStream, mut to: UnixStream, is_frozen: &AtomicBool) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if is_frozen.load(Ordering::SeqCst) {
            // Reads on, so that the connection stays open, and passes nothing on.
            continue;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

const SOCKET: &str = ".s.PGSQL.5432";

impl Proxy {
    fn to(server: &Path) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let (is_shut, open, listening) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(Mutex::new(Vec::new())),
        );
        let target: PathBuf = server.join(SOCKET);
        {
            let (is_shut, open) = (Arc::clone(&is_shut), Arc::clone(&open));
            let listening = Arc::clone(&listening);
            thread::spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if is_shut.load(Ordering::SeqCst) {
                        continue;
                    }
                    let server = UnixStream::connect(&target).unwrap();
                    let mut kept = open.lock().unwrap();
                    kept.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                    drop(kept);
                    let is_frozen = Arc::new(AtomicBool::new(false));
                    let (mut from, mut to) =
                        (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let (flag, listening) = (Arc::clone(&is_frozen), Arc::clone(&listening));
                    thread::spawn(move || {
                        let mut bytes = [0; 8192];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            if bytes[..count].windows(8).any(|it| it == b"LISTEN \"") {
                                listening.lock().unwrap().push(Arc::clone(&flag));
                            }
                            if to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                    thread::spawn(move || pass(server, client, &is_frozen));
                }
            });
        }
        Self {
            folder,
            is_shut,
            open,
            listening,
        }
    }

    /// Freezes the LISTEN connections that are open now.
    fn freeze_listening(&self) {
        for flag in self.listening.lock().unwrap().drain(..) {
            flag.store(true, Ordering::SeqCst);
        }
    }

    fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
        self.cut();
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
    }
}

async fn app_behind_a_door() -> (App, Proxy) {
    let database = TestDatabase::new().await;
    // The proxy needs a Unix socket; a server that listens only on TCP has none.
    let socket = database
        .socket()
        .expect("TEST_DATABASE_URL must name a Unix socket");
    let proxy = Proxy::to(&socket);
    let options = database.options().socket(proxy.folder.path());
    (App::on(database, options, admin_settings()), proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_requests_get_503_and_retry_after() {
    let (app, proxy) = app_behind_a_door().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    proxy.shut();
    for call in ["freeze", "get", "list"] {
        let answer = client.call(call, json!({"id": id})).await;
        answer.is_error(503, "Service unavailable");
        assert_eq!(answer.header("retry-after"), "2");
        assert!(!answer.body.contains("socket") && !answer.body.contains("sql"));
    }
    assert!(app.service.ping().await.is_err());
    let envelope = format!(
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Body><SuspendAccountUsingAccountID xmlns='Zoolz'><authToken>{}</authToken><accountID>{id}</accountID></SuspendAccountUsingAccountID></e:Body></e:Envelope>",
        client.token
    );
    let request = Request::post("/Services/Reseller/Service.asmx")
        .header("content-type", "application/soap+xml")
        .body(envelope.into())
        .unwrap();
    let answer = send(&app.router, request).await;
    let expected = "<Code>GeneralError</Code><Message>General Error. DB error</Message><Joson />";
    assert!(
        answer.status.as_u16() == 200 && answer.body.contains(expected),
        "{}",
        answer.body
    );
    proxy.open();
    client.call("freeze", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["is_frozen"], json!(true));
    assert!(app.service.ping().await.is_ok());
}

/// What became of the requests of one worker.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<String>,
    created: Vec<String>,
    refused: Vec<String>,
}

/// Sends changes without idempotency keys, each with a name of its own, and repeats none: holds,
/// which one statement writes, profiles and new accounts, which have a transaction, and accounts
/// that must be refused.
async fn send_changes(client: &Client, proxy: &Proxy, id: i64, worker: usize) -> Sent {
    let mut sent = Sent::default();
    for number in 0..60 {
        let name = format!("w{worker}n{number}");
        let new = |email: &str| json!({"name": name, "title": name, "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": format!("{email}@example.com")});
        let (call, members) = match number % 4 {
            0 => ("suspend", json!({"id": id, "reason": name})),
            1 => ("save", json!({"id": id, "title": name})),
            2 => ("save", new(&name)),
            _ => ("save", new("a")),
        };
        let answer = client.call(call, members).await;
        match (number % 4, answer.status.as_u16()) {
            (0 | 1, 200) => sent.acknowledged.push(name),
            (2, 200) => sent.created.push(name),
            (3, 409) => sent.refused.push(name),
            (_, 503) => {}
            (_, other) => panic!("{other}: {}", answer.body),
        }
        if worker == 0 && number % 10 == 5 {
            proxy.cut();
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_database_connections_lose_no_acknowledged_change_and_make_none_twice() {
    let (app, proxy) = app_behind_a_door().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let proxy = Arc::new(proxy);
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (client, proxy) = (client.clone(), Arc::clone(&proxy));
            tokio::spawn(async move { send_changes(&client, &proxy, id, worker).await })
        })
        .collect();
    let mut all = Sent::default();
    for worker in workers {
        let sent = worker.await.unwrap();
        all.acknowledged.extend(sent.acknowledged);
        all.created.extend(sent.created);
        all.refused.extend(sent.refused);
    }
    let (changes, creations, refusals) =
        (all.acknowledged.len(), all.created.len(), all.refused.len());
    assert!(
        changes > 120 && creations > 60 && refusals > 60,
        "most get through: {changes}, {creations}, {refusals}"
    );
    let superuser = app.database.superuser().await;
    let texts = async |query: &'static str| -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&superuser)
            .await
            .unwrap()
    };
    let made = texts(
        "select coalesce(after->'suspend:reseller'->>'reason', after->>'title') from journal where account_id = (select min(id) from account) and outcome = 'applied'",
    )
    .await;
    for name in &all.acknowledged {
        assert!(
            made.contains(name),
            "{name} was acknowledged and is not there"
        );
    }
    let accounts = texts("select profile ->> 'name' from account").await;
    for name in &all.created {
        assert!(
            accounts.contains(name),
            "{name} was created and is not there"
        );
    }
    for name in &all.refused {
        assert!(!accounts.contains(name), "{name} was refused and is there");
    }
    let none = Vec::<String>::new();
    let repeated = "select request_id from journal group by request_id having count(*) > 1";
    assert_eq!(texts(repeated).await, none, "requests with two entries");
    let repeated = "select min(profile ->> 'name') from account group by profile ->> 'name' having count(*) > 1";
    assert_eq!(texts(repeated).await, none, "accounts that were made twice");
    let half = "select a.profile ->> 'name' from account a where a.version <> (select count(*) from journal j where j.account_id = a.id and j.outcome = 'applied')";
    assert_eq!(texts(half).await, none, "nothing is half applied");
    assert_eq!(app.database.wrong_held_rows().await, 0);
    let holds = "select count(*) from held";
    assert_eq!(app.database.number(holds).await, 1, "one suspension");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (app, proxy) = app_behind_a_door().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    proxy.shut();
    let settings = Settings {
        queue: 4,
        batch: 1,
        ..Settings::default()
    };
    let store = Store::new(
        app.database.options().socket(proxy.folder.path()),
        &pool_settings(),
    );
    let service = Arc::new(Service::start(store, Clock::System, settings));
    let principal = Principal::of_reseller(steward::domain::ResellerId(1));
    let context = steward::service::Context {
        principal,
        dialect: steward::domain::Dialect::Cli,
        request_id: "test".to_owned(),
    };
    let account = steward::domain::AccountId::new(id).unwrap();
    let attempts: Vec<_> = (0..40)
        .map(|_| {
            let (service, context) = (Arc::clone(&service), context.clone());
            tokio::spawn(async move { service.delete(&context, account, None).await })
        })
        .collect();
    let mut overloaded = 0;
    for attempt in attempts {
        overloaded += i32::from(matches!(
            attempt.await.unwrap(),
            Err(steward::domain::Error::Overloaded | steward::domain::Error::ShareUsedUp { .. })
        ));
    }
    assert!(overloaded >= 30, "{overloaded}");
}

#[tokio::test]
async fn a_changed_column_type_costs_one_retry() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let send_three = async || {
        let bearer = format!("Bearer {}", client.token);
        let read = Request::get(format!("/v3/accounts/{id}/history"))
            .header("authorization", bearer)
            .body(Body::empty())
            .unwrap();
        [
            send(&app.router, read).await.status,
            client.call("get", json!({"id": id})).await.status,
            client.call("freeze", json!({"id": id})).await.status,
        ]
    };
    assert_eq!(send_three().await, [200, 200, 200]);
    let superuser = app.database.superuser().await;
    sqlx::raw_sql("alter table account alter column email_key type varchar(400); alter table journal alter column actor type varchar(400)")
        .execute(&superuser)
        .await
        .unwrap();
    // Each connection fails once with each of its prepared statements.
    for _ in 0..16 {
        assert!(
            send_three()
                .await
                .into_iter()
                .all(|status| status == 200 || status == 503)
        );
    }
    assert_eq!(send_three().await, [200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_listen_connection_delays_a_revocation_by_a_second_at_most() {
    let (app, proxy) = app_behind_a_door().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let issued = app
            .issue(TokenRequest {
                reseller: Some(reseller),
                ..TokenRequest::default()
            })
            .await;
        tokens.push((
            issued.credential.id,
            app.client(issued.token.expose_secret()),
        ));
    }
    // The other replica does not go through the proxy.
    let other = Service::start(
        Store::new(app.database.options(), &pool_settings()),
        Clock::Manual(app.clock.clone()),
        Settings::default(),
    );
    app.service.remember_credentials();
    let remembers = async || app.service.remembers_credentials().then_some(());
    until("the first heartbeat", remembers).await;
    for (_, client) in &tokens {
        client.get(id).await;
    }
    proxy.freeze_listening();
    let operator = Principal::command_line();
    other
        .revoke_token(&operator, tokens[0].0, None)
        .await
        .unwrap();
    app.clock.advance(TimeDelta::seconds(1));
    tokens[0]
        .1
        .call("get", json!({"id": id}))
        .await
        .is_error(401, "API token is invalid");

    // The frozen connection is given up, and a new one is opened, although nobody closed the old
    // one. Notifications arrive again: the clock stands still, so no entry expires.
    until("a heartbeat on the new connection", remembers).await;
    tokens[1].1.get(id).await;
    other
        .revoke_token(&operator, tokens[1].0, None)
        .await
        .unwrap();
    until("the refusal", async || {
        let status = tokens[1].1.call("get", json!({"id": id})).await.status;
        (status == 401).then_some(())
    })
    .await;
    app.service.stop().await;
}

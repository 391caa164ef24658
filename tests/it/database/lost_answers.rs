//! The database commits, and its answer is lost. Nobody knows then whether the change was made, so
//! the service must not make it again.
//!
//! A proxy before the database waits for the request that commits a certain change. It passes the
//! request on, waits until the server has answered, and drops the answer.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use steward::service::{Clock, Service, Settings};
use steward::store::Store;

use crate::harness::app::{Answer, admin_settings, pool_settings, router, soap_settings};
use crate::harness::v3::V3;
use crate::harness::{App, TestDatabase};

const SOCKET: &str = ".s.PGSQL.5432";
/// The last message of every answer is `ReadyForQuery`: this, and a byte for the state.
const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];

/// What becomes of the connection whose answer was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is cut.
    Cut,
    /// It stays open, and nothing more comes.
    Silence,
}

/// The request whose answer is dropped: on one connection, the client has sent these texts one
/// after the other.
struct Trap {
    texts: Vec<Vec<u8>>,
    then: Then,
}

/// A proxy before the database. Its trap catches one answer.
struct Door {
    folder: tempfile::TempDir,
    trap: Arc<Mutex<Option<Trap>>>,
    caught: Arc<AtomicUsize>,
}

impl Door {
    fn to(server: &Path) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let door = Self {
            folder,
            trap: Arc::default(),
            caught: Arc::default(),
        };
        let (target, trap, caught): (PathBuf, _, _) = (
            server.join(SOCKET),
            Arc::clone(&door.trap),
            Arc::clone(&door.caught),
        );
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&target).unwrap();
                let then = Arc::new(Mutex::new(None));
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (trap, caught) = (Arc::clone(&trap), Arc::clone(&caught));
                let of_requests = Arc::clone(&then);
                thread::spawn(move || pass_requests(from, to, &trap, &of_requests));
                thread::spawn(move || pass_answers(server, client, &then, &caught));
            }
        });
        door
    }

    /// Drops the answer to the request that follows these texts.
    fn catch(&self, texts: &[&str], then: Then) {
        let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let before = self.trap.lock().unwrap().replace(Trap { texts, then });
        assert!(before.is_none(), "the trap before was never sprung");
    }

    /// How many answers were dropped.
    fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}

/// Passes requests on, and looks for the texts of the trap in them.
fn pass_requests(
    mut client: UnixStream,
    mut server: UnixStream,
    trap: &Mutex<Option<Trap>>,
    then: &Mutex<Option<Then>>,
) {
    let (mut chunk, mut seen, mut found) = (vec![0; 65_536], Vec::new(), 0);
    while let Ok(length @ 1..) = client.read(&mut chunk) {
        seen.extend_from_slice(&chunk[..length]);
        let mut set = trap.lock().unwrap();
        match &*set {
            None => (seen, found) = (Vec::new(), 0),
            Some(Trap { texts, .. }) => {
                while let Some(at) = texts.get(found).and_then(|text| find(&seen, text)) {
                    seen.drain(..at + texts[found].len());
                    found += 1;
                }
                if found == texts.len() {
                    *then.lock().unwrap() = set.take().map(|trap| trap.then);
                }
            }
        }
        drop(set);
        if server.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Both);
}

/// Passes answers on. After the trap is sprung it reads one whole answer and drops it.
fn pass_answers(
    mut server: UnixStream,
    mut client: UnixStream,
    then: &Mutex<Option<Then>>,
    caught: &AtomicUsize,
) {
    let (mut chunk, mut dropped) = (vec![0; 65_536], Vec::new());
    while let Ok(length @ 1..) = server.read(&mut chunk) {
        let Some(then) = *then.lock().unwrap() else {
            if client.write_all(&chunk[..length]).is_err() {
                break;
            }
            continue;
        };
        dropped.extend_from_slice(&chunk[..length]);
        let end = dropped.len().saturating_sub(READY.len() + 1);
        if dropped[end..].starts_with(&READY) {
            // What was to commit has committed now.
            caught.fetch_add(1, Ordering::SeqCst);
            if then == Then::Cut {
                break;
            }
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A service behind the proxy, with one reseller.
struct Behind {
    app: App,
    door: Door,
    v3: V3,
    operator: V3,
}

impl Behind {
    async fn start(settings: Settings) -> Self {
        let database = TestDatabase::new().await;
        // The proxy needs a Unix socket; a server that listens only on TCP has none.
        let socket = database
            .socket()
            .expect("TEST_DATABASE_URL must name a Unix socket");
        let door = Door::to(&socket);
        let options = database.options();
        let through = options.clone().socket(door.folder.path());
        let app = App::on(database, options, admin_settings());
        let client = app.new_reseller("Acme").await;
        let service = Arc::new(Service::start(
            Store::new(through, &pool_settings()),
            Clock::Manual(app.clock.clone()),
            settings,
        ));
        let routes = router(&service, admin_settings(), soap_settings());
        let operator = app.token(None, None).await;
        Self {
            door,
            v3: V3::with_token(&routes, &client.token),
            operator: V3::with_token(&routes, &operator),
            app,
        }
    }

    /// Sends a request that names itself `name`. The answer to its commit is dropped.
    async fn lose(&self, request: &Lost<'_>, then: Then) -> Answer {
        let caught = self.door.caught();
        self.door.catch(request.commits_after, then);
        let answer = request.send(self).await;
        assert_eq!(
            self.door.caught(),
            caught + 1,
            "{}: {}",
            request.path,
            answer.body
        );
        answer
    }

    async fn number(&self, query: &str) -> i64 {
        let superuser = self.app.database.superuser().await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&superuser)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// How many journal entries a request has.
    async fn entries(&self, request: &str) -> i64 {
        self.number(&format!(
            "select count(*) from journal where request_id = '{request}'"
        ))
        .await
    }
}

/// A request whose commit is not answered.
struct Lost<'a> {
    method: &'a str,
    path: String,
    headers: &'a [(&'a str, &'a str)],
    body: Value,
    by_operator: bool,
    /// The texts after which its commit is sent. A change that one statement makes has no `commit`.
    commits_after: &'a [&'a str],
}

impl Lost<'_> {
    async fn send(&self, behind: &Behind) -> Answer {
        let body = if self.body.is_null() {
            String::new()
        } else {
            self.body.to_string()
        };
        let caller = if self.by_operator {
            &behind.operator
        } else {
            &behind.v3
        };
        caller
            .send(self.method, &self.path, self.headers, &body)
            .await
    }
}

const COMMIT: &str = "commit\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_not_changed_again_after_an_unanswered_commit() {
    let behind = Behind::start(Settings::default()).await;
    let made = behind.v3.call("POST", "/v3/accounts", &json!({})).await;
    let path = format!("/v3/accounts/{}", made.json()["id"].as_str().unwrap());
    // The first two are one statement, which commits by itself. The others have a transaction.
    for (number, (method, below, body, is_one_statement)) in [
        ("POST", "/suspend", json!({"reason": "x"}), true),
        ("PUT", "/status", json!({"status": "inactive"}), true),
        ("PATCH", "", json!({"company": "Acme"}), false),
        (
            "PUT",
            "/expires-at",
            json!({"expiresAt": "2031-01-01T00:00:00Z"}),
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("lost-{number}");
        let both = [id.as_str(), COMMIT];
        let lost = Lost {
            method,
            path: format!("{path}{below}"),
            headers: &[("x-request-id", &id)],
            body,
            by_operator: false,
            commits_after: if is_one_statement { &both[..1] } else { &both },
        };
        let before = behind.number("select version from account").await;
        let answer = behind.lose(&lost, Then::Cut).await;
        assert_eq!(behind.entries(&id).await, 1, "{method} {below}: {id} twice");
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.body);
        assert_eq!(
            behind.number("select version from account").await,
            before + 1,
            "{method} {below}"
        );
    }
    assert_eq!(behind.number("select count(*) from held").await, 1);
    assert_eq!(behind.number("select count(*) from account").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_again_after_an_unanswered_commit() {
    let behind = Behind::start(Settings::default()).await;
    let webhook = json!({"url": "https://lost.example/hook", "description": "lost-webhook"});
    let job = json!({"selector": {"state": "active"}, "operation": {"operation": "suspend", "reason": "lost-job"}});
    for (path, body, text, table, by_operator) in [
        (
            "/v3/accounts",
            json!({"company": "lost-account"}),
            "lost-account",
            "account",
            false,
        ),
        (
            "/v3/plans",
            json!({"name": "lost-plan", "displayName": "x"}),
            "lost-plan",
            "plan",
            false,
        ),
        (
            "/v3/tokens",
            json!({"name": "lost-token"}),
            "lost-token",
            "api_token",
            false,
        ),
        (
            "/v3/webhooks",
            webhook,
            "lost-webhook",
            "webhook_endpoint",
            false,
        ),
        ("/v3/bulk-jobs", job, "lost-job", "bulk_job", false),
        (
            "/v3/resellers",
            json!({"name": "lost-reseller"}),
            "lost-reseller",
            "reseller",
            true,
        ),
    ] {
        let count = format!("select count(*) from {table}");
        let before = behind.number(&count).await;
        let lost = Lost {
            method: "POST",
            path: path.to_owned(),
            headers: &[],
            body,
            by_operator,
            commits_after: &[text, COMMIT],
        };
        let answer = behind.lose(&lost, Then::Cut).await;
        assert_eq!(
            behind.number(&count).await,
            before + 1,
            "{path}: made twice"
        );
        assert_eq!(answer.status.as_u16(), 503, "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_with_the_key_finds_what_an_unanswered_commit_stored() {
    let behind = Behind::start(Settings::default()).await;
    let lost = Lost {
        method: "POST",
        path: "/v3/accounts".to_owned(),
        headers: &[("idempotency-key", "once"), ("x-request-id", "lost-first")],
        body: json!({"company": "Acme"}),
        by_operator: false,
        commits_after: &["lost-first", COMMIT],
    };
    let first = behind.lose(&lost, Then::Cut).await;
    assert_eq!(first.status.as_u16(), 503, "{}", first.body);
    let second = lost.send(&behind).await;
    assert_eq!(second.status.as_u16(), 201, "{}", second.body);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(behind.number("select count(*) from account").await, 1);
    assert_eq!(behind.number("select count(*) from journal").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_not_carried_out_again_when_its_commit_takes_too_long() {
    let settings = Settings {
        transaction_timeout: Duration::from_secs(2),
        ..Settings::default()
    };
    let behind = Behind::start(settings).await;
    for (number, then) in [Then::Silence, Then::Cut].into_iter().enumerate() {
        let id = format!("lost-{number}");
        let lost = Lost {
            method: "POST",
            path: "/v3/accounts".to_owned(),
            headers: &[("x-request-id", &id)],
            body: json!({}),
            by_operator: false,
            commits_after: &[&id, COMMIT],
        };
        let answer = behind.lose(&lost, then).await;
        assert_eq!(behind.entries(&id).await, 1, "{id} twice");
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.body);
    }
    assert_eq!(behind.number("select count(*) from account").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_a_batch_is_carried_out_again_after_an_unanswered_commit() {
    let behind = Behind::start(Settings::default()).await;
    let mut paths = Vec::new();
    for _ in 0..8 {
        let made = behind.v3.call("POST", "/v3/accounts", &json!({})).await;
        paths.push(format!(
            "/v3/accounts/{}",
            made.json()["id"].as_str().unwrap()
        ));
    }
    // While the first account is locked, the lane waits, and the other requests queue up.
    let superuser = behind.app.database.superuser().await;
    let mut lock = superuser.begin().await.unwrap();
    sqlx::query("select from account order by id limit 1 for update")
        .fetch_one(&mut *lock)
        .await
        .unwrap();
    behind.door.catch(&["lost-in-batch-5"], Then::Cut);
    let requests = paths.iter().enumerate().map(|(number, path)| {
        let behind = &behind;
        async move {
            let id = format!("lost-in-batch-{number}");
            let headers = [("x-request-id", id.as_str())];
            let path = format!("{path}/freeze");
            let answer = behind.v3.send("POST", &path, &headers, "{}").await;
            (id, answer.status.as_u16())
        }
    });
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    let release = async {
        crate::harness::process::until("the lane waits", async || {
            (behind.number(waiting).await > 0).then_some(())
        })
        .await;
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(requests), release);
    assert_eq!(behind.door.caught(), 1);
    let mut unanswered = 0;
    for (id, status) in &answers {
        assert_eq!(behind.entries(id).await, 1, "{id} was answered {status}");
        assert!([200, 503].contains(status), "{id}: {status}");
        unanswered += i32::from(*status == 503);
    }
    assert!(unanswered > 0, "{answers:?}");
    assert_eq!(
        behind
            .number("select count(*) from account where version <> 2")
            .await,
        0
    );
    assert_eq!(behind.number("select count(*) from held").await, 8);
}

//! Every attribute of a row in the tables of operations is enforced by the dispatcher of its dialect.
//! The rows are read off the tables, so a new operation is tested by itself.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::{Stream, poll};
use serde_json::{Value, json};
use steward::dialects::operation::{Access, BodyLimit, Cost};
use steward::dialects::v3::{self, Id, Paging};
use steward::dialects::{admin, soap};
use steward::domain::ResellerId;
use steward::domain::Scope;
use steward::shares::{Holder, Permit};
use tokio::sync::Notify;
use tokio::task::coop::unconstrained;

use crate::harness::app::{admin_settings, send};
use crate::harness::soap::Soap;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A body that never ends. It tells when somebody begins to read it.
struct Endless(Arc<Notify>);

impl Stream for Endless {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.notify_one();
        Poll::Pending
    }
}

/// Sends a request with an endless body. Returns the status, or `None` once the body is read.
async fn send_endless(
    app: &App,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<u16> {
    let is_read = Arc::new(Notify::new());
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::from_stream(Endless(Arc::clone(&is_read)));
    tokio::select! {
        answer = send(&app.router, request.body(body).unwrap()) => Some(answer.status.as_u16()),
        () = is_read.notified() => None,
    }
}

/// Sends a request whose body must not be read. Returns the status.
async fn refused_unread(app: &App, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let status = send_endless(app, method, path, headers).await;
    status.unwrap_or_else(|| panic!("{method} {path}: the body was read"))
}

/// The longest body that an operation accepts, in bytes.
fn longest(limit: BodyLimit) -> usize {
    let configured = admin_settings().max_body;
    match limit {
        BodyLimit::Configured => configured,
        BodyLimit::Times(factor) => factor * configured,
    }
}

/// One of everything that an id in a path can name.
struct Things {
    v3: V3,
    operator: V3,
    reseller: i64,
}

impl Things {
    async fn of(app: &App, client: &Client) -> Self {
        let operator = app.operator().await;
        let reseller = app.service.find_reseller("Acme").await.unwrap();
        Self {
            v3: V3::of(client),
            operator: V3::of(&operator),
            reseller: reseller.0,
        }
    }

    /// Makes a new thing for the path of an operation; the path.
    async fn path(&self, operation: &v3::Operation) -> String {
        let made = async |path: &str, body: Value| {
            let document = self.v3.call("POST", path, &body).await.json();
            let id = &document["id"];
            id.as_str().map_or_else(|| id.to_string(), str::to_owned)
        };
        let job = json!({"selector": {"all": true}, "operation": {"operation": "restore"}});
        let id = match operation.id {
            Id::None => String::new(),
            Id::Account => made("/v3/accounts", json!({})).await,
            Id::Plan => made("/v3/plans", json!({"name": "x", "displayName": "x"})).await,
            Id::Token => made("/v3/tokens", json!({})).await,
            Id::Webhook => made("/v3/webhooks", json!({"url": "https://example.com"})).await,
            Id::Entry => {
                made("/v3/accounts", json!({})).await;
                let logs = self.v3.get("/v3/event-logs?limit=1").await.json();
                logs[0]["id"].as_str().unwrap().to_owned()
            }
            Id::BulkJob => made("/v3/bulk-jobs", job).await,
            Id::Reseller => self.reseller.to_string(),
            // Only what was delivered has an attempt.
            Id::EventLog => "00000000-0000-4000-8000-000000000000".to_owned(),
        };
        operation.path.replace("{id}", &id)
    }

    /// Who may call an operation.
    fn caller(&self, operation: &v3::Operation) -> &V3 {
        match operation.access {
            Access::Operator(_) => &self.operator,
            Access::Scope(_) | Access::AnyToken | Access::Public => &self.v3,
        }
    }
}

#[tokio::test]
async fn no_body_is_read_before_its_credential_and_its_length_are_judged() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    let json = ("content-type", "application/json");
    for operation in v3::OPERATIONS {
        if operation.access == Access::Public {
            continue;
        }
        let (method, path) = (operation.method, operation.path.replace("{id}", "7"));
        let status = refused_unread(&app, method, &path, &[json]).await;
        assert_eq!(status, 401, "{} without a token", operation.name);
        let garbage = ("authorization", "Bearer garbage");
        let status = refused_unread(&app, method, &path, &[json, garbage]).await;
        assert_eq!(status, 401, "{} with a wrong token", operation.name);
        let token = format!("Bearer {}", things.caller(operation).token);
        let right = ("authorization", token.as_str());
        let limit = longest(operation.body_limit);
        let (fits, exceeds) = (limit.to_string(), (limit + 1).to_string());
        let headers = [json, right, ("content-length", &exceeds)];
        let status = refused_unread(&app, method, &path, &headers).await;
        assert_eq!(status, 413, "{} with too long a body", operation.name);
        let headers = [json, right, ("content-length", &fits)];
        let status = send_endless(&app, method, &path, &headers).await;
        assert_ne!(status, Some(413), "{}: the longest body", operation.name);
        let text = ("content-type", "text/plain");
        let status = refused_unread(&app, method, &path, &[text, right]).await;
        assert_eq!(status, 415, "{} with another media type", operation.name);
    }
    for operation in admin::OPERATIONS {
        let path = format!("{}{}", admin::PREFIX, operation.name);
        let garbage = ("authorization", "Bearer garbage");
        let status = refused_unread(&app, "POST", &path, &[json, garbage]).await;
        assert_eq!(status, 401, "{}", operation.name);
        let limit = longest(operation.body_limit);
        let (fits, exceeds) = (limit.to_string(), (limit + 1).to_string());
        let headers = [json, ("content-length", exceeds.as_str())];
        assert_eq!(
            refused_unread(&app, "POST", &path, &headers).await,
            413,
            "{}",
            operation.name
        );
        let headers = [json, ("content-length", fits.as_str())];
        let status = send_endless(&app, "POST", &path, &headers).await;
        assert_eq!(status, None, "{}: the longest body", operation.name);
        let text = ("content-type", "text/plain");
        let status = refused_unread(&app, "POST", &path, &[text]).await;
        assert_eq!(status, 415, "{}", operation.name);
    }
    let limits = soap::OPERATIONS
        .iter()
        .map(|operation| operation.body_limit);
    let exceeds = (limits.map(longest).max().unwrap() + 1).to_string();
    let soap = [
        ("content-type", "application/soap+xml"),
        ("content-length", exceeds.as_str()),
    ];
    assert_eq!(refused_unread(&app, "POST", soap::PATH, &soap).await, 413);
}

#[tokio::test]
async fn access_is_judged_before_the_members() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let token_without = async |scope: Option<Scope>| {
        let scopes = [Scope::AccountRead, Scope::AccountWrite].into_iter();
        let others: Vec<_> = scopes.filter(|other| Some(*other) != scope).collect();
        app.token(Some(reseller), Some(&others)).await
    };
    for operation in admin::OPERATIONS {
        let token = token_without(operation.access.scope()).await;
        let members = json!({"token": token, "id": "nonsense", "operations": "nonsense"});
        let answer = client
            .raw(operation.name, "application/json", members.to_string())
            .await;
        assert_eq!(
            answer.status.as_u16(),
            403,
            "{}: {}",
            operation.name,
            answer.body
        );
    }
    for operation in soap::OPERATIONS {
        let token = token_without(operation.access.scope()).await;
        let with = |token: String| Soap {
            token,
            ..Soap::of(&client)
        };
        let members = "<accountID>99</accountID><email/><name/><status>nonsense</status>";
        let refused = with(token).call(operation.name, members).await;
        let unknown = with("garbage".to_owned());
        let unknown = unknown.call(operation.name, members).await;
        assert_eq!(refused, unknown, "{}", operation.name);
    }
}

#[tokio::test]
async fn a_key_replays_the_answer_exactly_where_the_row_says_so() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS {
        // A stream has no end, and a ticket that is not ours has no caller.
        if matches!(operation.name, "events_list" | "release_tickets_redeem") {
            continue;
        }
        let (name, path) = (operation.name, things.path(operation).await);
        let caller = things.caller(operation);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let key = [("idempotency-key", name)];
            let (method, body) = (operation.method, operation.example);
            answers.push(caller.send(method, &path, &key, body).await);
        }
        let (method, body) = (operation.method, operation.example);
        let no_key = [("idempotency-key", "")];
        let answer = caller.send(method, &path, &no_key, body).await;
        let is_refused = answer.status.as_u16() == 400 && answer.body.contains("Idempotency-Key");
        assert_eq!(is_refused, operation.idempotent, "{name}: {}", answer.body);
        let replayed = answers[1].headers.contains_key("idempotent-replayed");
        assert_eq!(
            replayed, operation.idempotent,
            "{name}: {}",
            answers[1].body
        );
        if replayed {
            assert_eq!(answers[0].status, answers[1].status, "{name}");
            assert_eq!(answers[0].body, answers[1].body, "{name}");
        }
    }
    for operation in admin::OPERATIONS {
        let mut members: Value = serde_json::from_str(operation.example).unwrap();
        if members["id"] == json!(7) {
            members["id"] = json!(client.account(operation.name).await);
        }
        let first = client
            .call_once(operation.name, operation.name, members.clone())
            .await;
        let second = client
            .call_once(operation.name, operation.name, members)
            .await;
        let replayed = second.headers.contains_key("idempotent-replayed");
        assert_eq!(replayed, operation.idempotent, "{}", operation.name);
        assert!(!replayed || first.body == second.body, "{}", operation.name);
    }
}

#[tokio::test]
async fn a_repeat_is_answered_although_what_it_names_has_gone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let account = v3.call("POST", "/v3/accounts", &json!({})).await.json();
    let path = format!("/v3/accounts/{}", account["id"].as_str().unwrap());
    let key = [("idempotency-key", "once")];
    let freeze = format!("{path}/freeze");
    let first = v3.send("POST", &freeze, &key, "{}").await;
    assert_eq!(first.status.as_u16(), 200);
    let part = json!({"operation": "suspend", "account": account["id"]});
    let parts = json!({"operations": [part]}).to_string();
    let bulk = async || v3.send("POST", "/v3/bulk", &key, &parts).await.json();
    let (both, status) = (bulk().await, |both: &Value| {
        both["results"][0]["status"].clone()
    });
    assert_eq!(status(&both), json!(200), "{both}");
    let superuser = app.database.superuser().await;
    for table in ["held", "account"] {
        let delete = format!("delete from {table}");
        sqlx::query(sqlx::AssertSqlSafe(delete))
            .execute(&superuser)
            .await
            .unwrap();
    }
    let gone = v3.get(&path).await;
    assert_eq!(gone.status.as_u16(), 404);
    let second = v3.send("POST", &freeze, &key, "{}").await;
    assert_eq!((second.status, second.body), (first.status, first.body));
    let again = bulk().await;
    assert_eq!(status(&again), json!(200), "{again}");
}

#[tokio::test]
async fn if_match_is_honoured_exactly_where_the_row_says_so() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS {
        let (name, path) = (operation.name, things.path(operation).await);
        let caller = things.caller(operation);
        let other_version = [("if-match", "\"987654321\"")];
        let (method, body) = (operation.method, operation.example);
        let answer = caller.send(method, &path, &other_version, body).await;
        let is_refused = answer.status.as_u16() == 412;
        assert_eq!(is_refused, operation.conditional, "{name}: {}", answer.body);
        // Other writes do not ignore it, because the caller relies on it.
        let is_refused = answer.status.as_u16() == 400 && answer.body.contains("If-Match");
        let has_no_version = operation.idempotent && !operation.conditional;
        assert_eq!(is_refused, has_no_version, "{name}: {}", answer.body);
    }
}

#[tokio::test]
async fn lists_refuse_parameters_that_their_row_does_not_have() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS
        .iter()
        .filter(|row| row.paging != Paging::None)
    {
        let path = things.path(operation).await;
        let answer = things.v3.get(&format!("{path}?nonsense=1")).await;
        assert_eq!(answer.status.as_u16(), 400, "{}", operation.name);
        assert!(
            answer.body.contains("nonsense"),
            "{}: {}",
            operation.name,
            answer.body
        );
        if operation.paging != Paging::Whole {
            let answer = things.v3.get(&format!("{path}?limit=0")).await;
            assert_eq!(answer.status.as_u16(), 400, "{}", operation.name);
        }
    }
}

/// A holder that no request in these tests has.
fn nobody(number: usize) -> Holder {
    Holder::Reseller(ResellerId(1_000_000 + i64::try_from(number).unwrap()))
}

/// Takes all permits for heavy requests, as many resellers.
async fn all_permits(app: &App) -> Vec<Permit> {
    let mut permits = Vec::new();
    loop {
        let holder = nobody(permits.len());
        match poll!(pin!(unconstrained(app.service.permit(Cost::Heavy, holder)))) {
            Poll::Ready(permit) => permits.push(permit.unwrap().expect("heavy work has a permit")),
            Poll::Pending => return permits,
        }
        assert!(permits.len() < 10_000, "the number of permits is bounded");
    }
}

/// Awaits a request while all permits but one are taken. Returns whether the request held that one.
async fn held_a_permit<T>(app: &App, request: impl Future<Output = T>) -> bool {
    let mut permits = all_permits(app).await;
    permits.pop();
    let mut request = pin!(request);
    let mut is_held = false;
    poll_fn(|context| {
        let answer = request.as_mut().poll(context);
        let mut another = pin!(unconstrained(app.service.permit(Cost::Heavy, nobody(0))));
        let mut noop = Context::from_waker(Waker::noop());
        is_held |= another.as_mut().poll(&mut noop).is_pending();
        answer.map(drop)
    })
    .await;
    is_held
}

#[tokio::test]
async fn exactly_the_heavy_requests_hold_a_permit() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS {
        let path = things.path(operation).await;
        let caller = things.caller(operation);
        let request = caller.send(operation.method, &path, &[], operation.example);
        let is_heavy = operation.cost == Cost::Heavy;
        assert_eq!(
            held_a_permit(&app, request).await,
            is_heavy,
            "{}",
            operation.name
        );
    }
    for operation in admin::OPERATIONS {
        let mut members: Value = serde_json::from_str(operation.example).unwrap();
        if members["id"] == json!(7) {
            members["id"] = json!(client.account(operation.name).await);
        }
        let request = client.call_once(operation.name, operation.name, members);
        let is_heavy = operation.cost == Cost::Heavy;
        assert_eq!(
            held_a_permit(&app, request).await,
            is_heavy,
            "{}",
            operation.name
        );
    }
}

#[tokio::test]
async fn a_slow_body_holds_no_permit() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    let _permits = all_permits(&app).await;
    let json = ("content-type", "application/json");
    for operation in v3::OPERATIONS.iter().filter(|row| row.cost == Cost::Heavy) {
        let path = operation.path.replace("{id}", "7");
        let token = format!("Bearer {}", things.caller(operation).token);
        let headers = [json, ("authorization", token.as_str())];
        let status = send_endless(&app, operation.method, &path, &headers).await;
        assert_eq!(status, None, "{}: the body was not read", operation.name);
    }
}

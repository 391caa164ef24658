//! Every attribute of a row in the tables of operations is enforced by the dispatcher of its dialect.
//! The rows are read off the tables, so a new operation is tested by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::Stream;
use serde_json::{Value, json};
use steward::dialects::operation::Access;
use steward::dialects::v3::{self, Id, Paging};
use steward::dialects::{admin, soap};

use crate::harness::app::send;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A body that never ends, and remembers whether anybody wanted to read it.
struct Endless(Arc<AtomicBool>);

impl Stream for Endless {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.store(true, Ordering::SeqCst);
        Poll::Pending
    }
}

/// Sends a request whose body must not be read; its status.
async fn refused_unread(app: &App, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let was_read = Arc::new(AtomicBool::new(false));
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::from_stream(Endless(Arc::clone(&was_read)));
    let answer = send(&app.router, request.body(body).unwrap()).await;
    let was_read = was_read.load(Ordering::SeqCst);
    assert!(!was_read, "{method} {path}: the body was read");
    answer.status.as_u16()
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
        let job = json!({"selector": {}, "operation": {"operation": "restore"}});
        let id = match operation.id {
            Id::None => String::new(),
            Id::Account => made("/v3/accounts", json!({})).await,
            Id::Plan => made("/v3/plans", json!({"name": "x", "displayName": "x"})).await,
            Id::Token => made("/v3/tokens", json!({})).await,
            Id::Webhook => made("/v3/webhooks", json!({"url": "https://example.com"})).await,
            Id::BulkJob => made("/v3/bulk-jobs", job).await,
            Id::Reseller => self.reseller.to_string(),
            // Only what was delivered has an attempt; its operation takes neither key nor version.
            Id::EventLog => "00000000-0000-4000-8000-000000000000".to_owned(),
        };
        operation.path.replace("{id}", &id)
    }

    /// Who may call an operation.
    fn caller(&self, operation: &v3::Operation) -> &V3 {
        match operation.access {
            Access::Operator(_) => &self.operator,
            Access::Scope(_) | Access::Public => &self.v3,
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
        let long = ("content-length", "100000000");
        let status = refused_unread(&app, method, &path, &[json, right, long]).await;
        assert_eq!(status, 413, "{} with too long a body", operation.name);
        let text = ("content-type", "text/plain");
        let status = refused_unread(&app, method, &path, &[text, right]).await;
        assert_eq!(status, 415, "{} with another media type", operation.name);
    }
    for operation in admin::OPERATIONS {
        let path = format!("{}{}", admin::PREFIX, operation.name);
        let garbage = ("authorization", "Bearer garbage");
        let status = refused_unread(&app, "POST", &path, &[json, garbage]).await;
        assert_eq!(status, 401, "{}", operation.name);
        let long = ("content-length", "100000000");
        let status = refused_unread(&app, "POST", &path, &[json, long]).await;
        assert_eq!(status, 413, "{}", operation.name);
        let text = ("content-type", "text/plain");
        let status = refused_unread(&app, "POST", &path, &[text]).await;
        assert_eq!(status, 415, "{}", operation.name);
    }
    let soap = [
        ("content-type", "application/soap+xml"),
        ("content-length", "100000000"),
    ];
    assert_eq!(refused_unread(&app, "POST", soap::PATH, &soap).await, 413);
}

#[tokio::test]
async fn a_key_replays_the_answer_exactly_where_the_row_says_so() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS {
        // Each of many operations in one request is replayed by itself, with the status of the whole.
        if matches!(operation.name, "bulk_run" | "events_list") {
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
        let replayed = answers[1].headers.contains_key("idempotent-replayed");
        assert_eq!(
            replayed, operation.idempotent,
            "{name}: {}",
            answers[1].body
        );
        if replayed {
            assert_eq!(answers[0].status.as_u16(), operation.success, "{name}");
            assert_eq!(answers[0].status, answers[1].status, "{name}");
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
    let superuser = app.database.superuser().await;
    for table in ["hold_revision", "hold", "account"] {
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

#[tokio::test]
async fn heavy_requests_wait_for_a_permit_and_light_ones_do_not() {
    use futures_util::poll;
    use std::pin::pin;
    use steward::dialects::operation::Cost;
    let app = App::new().await;
    let mut permits = Vec::new();
    let one_more = loop {
        let mut permit = Box::pin(app.service.permit(Cost::Heavy));
        match poll!(&mut permit) {
            Poll::Ready(permit) => permits.push(permit.unwrap()),
            Poll::Pending => break permit,
        }
        assert!(permits.len() < 10_000, "the number of permits is bounded");
    };
    let light = pin!(app.service.permit(Cost::Light));
    assert!(poll!(light).is_ready());
    permits.pop();
    one_more.await.unwrap();
}

//! `GET /v3/snapshot`: all accounts at an event cursor, from which a consumer starts.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use chrono::TimeDelta;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::send;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

fn request(v3: &V3, path: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {}", v3.token));
    request.body(Body::empty()).unwrap()
}

async fn open(v3: &V3, path: &str) -> Response {
    let response = v3.router.clone().oneshot(request(v3, path)).await;
    response.unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A whole snapshot: its lines.
async fn read(v3: &V3, path: &str) -> Vec<Value> {
    let answer = send(&v3.router, request(v3, path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    lines(&answer.body)
}

/// The accounts of a list, deleted ones apart, by UUID.
async fn listed(v3: &V3) -> BTreeMap<String, Value> {
    let mut accounts = BTreeMap::new();
    let mut next = Some("/v3/accounts?after=&limit=100".to_owned());
    while let Some(path) = next {
        let page = v3.get(&path).await;
        for account in page.ok().as_array().unwrap() {
            accounts.insert(account["id"].as_str().unwrap().to_owned(), account.clone());
        }
        let link = page.header("link").split(['<', '>']).nth(1);
        next = link.map(str::to_owned);
    }
    accounts
}

/// A consumer that starts from a snapshot and follows the events. It keeps each account as the
/// latest document says, and beside it counts the changes one by one.
#[derive(Default)]
struct Consumer {
    cursor: String,
    accounts: BTreeMap<String, Value>,
    versions: BTreeMap<String, i64>,
    skipped: usize,
    is_complete: bool,
}

impl Consumer {
    fn take_line(&mut self, line: &Value) {
        assert!(!self.is_complete, "a line after the last one: {line}");
        if let Some(cursor) = line["cursor"].as_str() {
            assert!(self.accounts.is_empty(), "the cursor comes first");
            cursor.clone_into(&mut self.cursor);
        } else if line["complete"] == true {
            assert_eq!(line["accounts"], self.accounts.len());
            self.is_complete = true;
        } else {
            let id = line["id"].as_str().unwrap().to_owned();
            let version = line["version"].as_i64().unwrap();
            self.versions.insert(id.clone(), version);
            assert!(self.accounts.insert(id, line.clone()).is_none(), "{line}");
        }
    }

    fn take_event(&mut self, event: &Value) {
        let id = event["data"]["id"].as_str().unwrap().to_owned();
        let sequence = event["sequence"].as_i64().unwrap();
        let known = self.versions.get(&id).copied().unwrap_or_default();
        if sequence <= known {
            self.skipped += 1;
            return;
        }
        let names = event["events"].as_array().unwrap();
        if names.contains(&json!("account.purged")) {
            // One that a later page no longer had: its earlier events came before this one.
            self.versions.insert(id.clone(), i64::MAX);
            self.accounts.remove(&id);
            return;
        }
        assert_eq!(sequence, known + 1, "a change is missing before {event}");
        self.versions.insert(id.clone(), sequence);
        self.accounts.insert(id, event["data"].clone());
    }

    /// Reads all events behind the cursor.
    async fn follow(&mut self, v3: &V3, reseller: &str) {
        assert!(self.is_complete);
        loop {
            let path = format!("/v3/events?after={}&limit=100{reseller}", self.cursor);
            let page = v3.get(&path).await.ok();
            for event in page.as_array().unwrap() {
                self.take_event(event);
                event["cursor"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut self.cursor);
            }
            if page.as_array().unwrap().is_empty() {
                return;
            }
        }
    }

    /// The accounts that a list has: deleted ones are left out of it.
    fn live(&self) -> BTreeMap<String, Value> {
        let live = |(_, account): &(&String, &Value)| account["effectiveStatus"] != "deleted";
        self.accounts
            .iter()
            .filter(live)
            .map(|(id, account)| (id.clone(), account.clone()))
            .collect()
    }
}

#[tokio::test]
async fn a_snapshot_has_a_cursor_every_account_and_an_end() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let empty = read(&v3, "/v3/snapshot").await;
    assert_eq!(empty.len(), 2, "{empty:?}");
    assert_eq!(empty[1], json!({"complete": true, "accounts": 0}));
    let (kept, deleted) = (
        client.account("kept").await,
        client.account("deleted").await,
    );
    let path = format!("/v3/accounts/{kept}/freeze");
    let hold = json!({"paymentUrl": "https://pay.example", "reason": "unpaid"});
    v3.call("POST", &path, &hold).await.ok();
    let path = format!("/v3/accounts/{kept}/suspend");
    operator
        .call("POST", &path, &json!({"reason": "a secret"}))
        .await
        .ok();
    client.call("delete", json!({"id": deleted})).await.ok();
    other.account("hidden").await;
    let found = read(&v3, "/v3/snapshot").await;
    let account = v3.get(&format!("/v3/accounts/{kept}")).await.ok();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0]["resellerId"], 1);
    assert_eq!(found[1], account, "as the account is read alone");
    assert_eq!(found[2]["effectiveStatus"], "deleted");
    assert_eq!(found[3], json!({"complete": true, "accounts": 2}));
    assert!(!found[1].to_string().contains("a secret"), "{}", found[1]);
    let cursor = found[0]["cursor"].as_str().unwrap();
    let rest = v3.get(&format!("/v3/events?after={cursor}")).await.ok();
    assert_eq!(rest, json!([]), "nothing has happened since");
    // The cursor from before anything happened leads to all of it.
    let cursor = empty[0]["cursor"].as_str().unwrap();
    let rest = v3.get(&format!("/v3/events?after={cursor}")).await.ok();
    assert_eq!(rest.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn an_operator_gets_the_resellers_one_after_the_other_or_one() {
    let app = App::new().await;
    let operator = V3::of(&app.operator().await);
    let mut clients = Vec::new();
    for name in ["Acme", "Empty", "Other"] {
        clients.push(app.new_reseller(name).await);
    }
    for (index, accounts) in [(0, 120), (2, 3)] {
        for number in 0..accounts {
            let body = json!({"email": format!("n{number}@example.com")});
            let made = V3::of(&clients[index])
                .call("POST", "/v3/accounts", &body)
                .await;
            assert_eq!(made.status, 201);
        }
    }
    let all = read(&operator, "/v3/snapshot").await;
    let mut expected = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        let own = read(&V3::of(client), "/v3/snapshot").await;
        let path = format!("/v3/snapshot?resellerId={}", index + 1);
        assert_eq!(read(&operator, &path).await, own, "{index}");
        expected.extend_from_slice(&own[..own.len() - 1]);
    }
    expected.push(json!({"complete": true, "accounts": 123}));
    assert_eq!(all, expected);
    let own = V3::of(&clients[0]);
    assert_eq!(read(&own, "/v3/snapshot?resellerId=1").await.len(), 122);
    for (v3, id) in [(&own, 3), (&operator, 4)] {
        let foreign = v3.get(&format!("/v3/snapshot?resellerId={id}")).await;
        refused(
            &foreign,
            400,
            "INVALID_REQUEST",
            "resellerId: no such reseller",
        );
    }
    refused(
        &own.get("/v3/snapshot?limit=1").await,
        400,
        "INVALID_REQUEST",
        "limit: is no parameter",
    );
}

/// Changes accounts: some that exist, and new ones.
async fn change(client: &Client, ids: &mut Vec<i64>, round: usize) {
    let v3 = V3::of(client);
    for step in 0..8 {
        let id = ids[(round * 37 + step * 11) % ids.len()];
        let path = format!("/v3/accounts/{id}");
        let call = async |method: &str, path: &str, body: Value| {
            // What has been deleted meanwhile refuses most of them.
            v3.call(method, path, &body).await
        };
        match step {
            0 => drop(
                call(
                    "POST",
                    &format!("{path}/suspend"),
                    json!({"reasonCode": format!("r{round}")}),
                )
                .await,
            ),
            1 => drop(call("POST", &format!("{path}/unsuspend"), json!({})).await),
            2 => drop(call("PATCH", &path, json!({"company": format!("c{round}")})).await),
            3 => drop(call("DELETE", &path, Value::Null).await),
            4 => drop(call("POST", &format!("{path}/restore"), json!({})).await),
            5 => drop(
                call(
                    "PUT",
                    &format!("{path}/expires-at"),
                    json!({"expiresAt": "2026-02-01"}),
                )
                .await,
            ),
            6 => drop(
                call(
                    "POST",
                    &format!("{path}/freeze"),
                    json!({"level": "limit", "owner": "billing"}),
                )
                .await,
            ),
            _ => ids.push(client.account(&format!("new{round}")).await),
        }
    }
}

/// How many accounts there are at first: more than two pages.
const ACCOUNTS: usize = 260;

async fn many_accounts(client: &Client) -> Vec<i64> {
    let numbers = 0..ACCOUNTS;
    let create = numbers.map(|number| async move { client.account(&format!("a{number}")).await });
    futures_util::future::join_all(create).await
}

#[tokio::test]
async fn a_consumer_misses_no_change_that_happens_while_it_reads_a_snapshot() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let mut ids = many_accounts(&client).await;
    change(&client, &mut ids, 0).await;
    let response = open(&v3, "/v3/snapshot").await;
    let (mut body, mut text, mut round) = (response.into_body(), String::new(), 1);
    // Changes after every piece, on accounts of pages that were sent, and of those that were not.
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        text += std::str::from_utf8(&data).unwrap();
        change(&client, &mut ids, round).await;
        round += 1;
    }
    assert!(round > 10, "{round} pieces");
    let mut consumer = Consumer::default();
    for line in lines(&text) {
        consumer.take_line(&line);
    }
    consumer.follow(&v3, "").await;
    assert!(
        consumer.skipped > 0,
        "some accounts were read after they changed"
    );
    assert_eq!(consumer.live(), listed(&v3).await);
    let versions: BTreeSet<i64> = consumer.versions.values().copied().collect();
    assert!(versions.len() > 2, "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_events_agree_while_others_write() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let ids = many_accounts(&client).await;
    let writers = (0..4).map(|writer| {
        let (client, mut ids) = (client.clone(), ids.clone());
        tokio::spawn(async move {
            for round in 0..12 {
                change(&client, &mut ids, writer * 100 + round).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut consumers = Vec::new();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let mut consumer = Consumer::default();
        for line in read(&v3, "/v3/snapshot").await {
            consumer.take_line(&line);
        }
        consumers.push(consumer);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected = listed(&v3).await;
    for mut consumer in consumers {
        consumer.follow(&v3, "").await;
        assert_eq!(consumer.live(), expected);
    }
}

#[tokio::test]
async fn an_account_that_is_purged_meanwhile_is_gone_for_the_consumer() {
    let app = App::new().await;
    let patch = steward::service::ResellerPatch {
        purges: Some(true),
        ..Default::default()
    };
    let reseller = app.reseller_with("Acme", patch).await;
    let client = app.client(&app.token(Some(reseller), None).await);
    let v3 = V3::of(&client);
    let ids = many_accounts(&client).await;
    for id in [ids[0], ids[ACCOUNTS - 1]] {
        client.call("delete", json!({"id": id})).await.ok();
    }
    let due = "update account set purge_due_at = deleted_at + interval '40 days' where deleted_at is not null";
    let superuser = app.database.superuser().await;
    sqlx::query(due).execute(&superuser).await.unwrap();
    app.clock.advance(TimeDelta::days(40));
    let response = open(&v3, "/v3/snapshot").await;
    assert_eq!(app.service.purge_due().await.unwrap().accounts, 2);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let mut consumer = Consumer::default();
    for line in lines(std::str::from_utf8(&text).unwrap()) {
        consumer.take_line(&line);
    }
    // The first page still had one of them, the last page did not have the other.
    assert_eq!(consumer.accounts.len(), ACCOUNTS - 1);
    consumer.follow(&v3, "").await;
    assert_eq!(consumer.accounts, listed(&v3).await);
    assert_eq!(consumer.accounts.len(), ACCOUNTS - 2);
}

#[tokio::test]
async fn a_snapshot_ends_without_its_last_line_when_it_must_not_go_on() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    many_accounts(&client).await;
    let rest = async |response: Response| {
        let (mut body, mut text) = (response.into_body(), String::new());
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap(),
                Err(_) => return (text, true),
            }
        }
        (text, false)
    };
    let is_cut = |(text, is_broken): &(String, bool)| {
        *is_broken && text.contains("cursor") && !text.contains("complete")
    };
    // The reader takes longer than a minute for its first page.
    let slow = open(&v3, "/v3/snapshot").await;
    app.clock.advance(TimeDelta::seconds(61));
    assert!(is_cut(&rest(slow).await));
    let steady = open(&v3, "/v3/snapshot").await;
    app.clock.advance(TimeDelta::seconds(59));
    let (text, is_broken) = rest(steady).await;
    assert!(!is_broken && text.contains("complete"));
    // Its token is revoked meanwhile.
    let token = v3
        .call("POST", "/v3/tokens", &json!({"scopes": ["account:read"]}))
        .await
        .json();
    let mortal = V3::with_token(&app.router, token["token"].as_str().unwrap());
    let revoked = open(&mortal, "/v3/snapshot").await;
    let path = format!("/v3/tokens/{}", token["id"]);
    assert_eq!(v3.call("DELETE", &path, &Value::Null).await.status, 204);
    assert!(is_cut(&rest(revoked).await));
    // The service stops.
    let stopped = open(&v3, "/v3/snapshot").await;
    app.service.begin_stopping();
    assert!(is_cut(&rest(stopped).await));
}

#[tokio::test]
async fn a_reader_that_hangs_up_gives_back_what_its_snapshot_held() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    many_accounts(&client).await;
    let mut open_ones = Vec::new();
    let last = loop {
        let response = open(&v3, "/v3/snapshot").await;
        if response.status() != 200 {
            break response;
        }
        open_ones.push(response);
        assert!(open_ones.len() < 1_000, "their number is bounded");
    };
    assert_eq!((open_ones.len(), last.status().as_u16()), (64, 429));
    assert!(last.headers().contains_key("retry-after"));
    // The others of the reseller, and its writes, go on.
    let other = V3::with_token(
        &app.router,
        &app.token(app.service.find_reseller("Acme").await.ok(), None)
            .await,
    );
    assert_eq!(open(&other, "/v3/snapshot").await.status(), 200);
    client.account("new").await;
    open_ones.pop();
    assert_eq!(open(&v3, "/v3/snapshot").await.status(), 200);
    // One that was read to its end.
    let whole = open_ones.pop().unwrap().into_body();
    whole.collect().await.unwrap();
    assert_eq!(open(&v3, "/v3/snapshot").await.status(), 200);
}

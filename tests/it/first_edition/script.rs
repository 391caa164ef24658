//! The maker's language: one command a line.
//!
//! ```text
//! # a comment
//! +2d                                   the clock advances
//! job all                               background jobs run once
//! sql update ...                        what no request can do, as superuser
//! acme POST /v3/accounts 201 {...}      a request of `v3`, by a credential, with the expected status
//! acme admin freeze 200 {...}           a call of `admin`, in JSON (`adminxml`: in XML)
//! acme soap SuspendAccount Success ...  an operation of `soap`, with the expected code
//! acme POST /v3/bulk 200 key=k {...}    with an idempotency key; the request is repeated later
//! let a /id                             `${a}` is this member of the latest answer
//! credential robot /token               the secret in the latest answer is the credential `robot`
//! wait acme /v3/bulk-jobs/${j} /state applied
//! each a b : select ...  ...  end       for each row of a query
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use chrono::TimeDelta;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use steward::dialects::{admin, soap};
use steward::jobs;
use steward::webhooks::Dispatcher;
use tokio_util::sync::CancellationToken;

use super::deliveries::settings;
use super::exchange::Exchange;
use super::{fixture, make};
use crate::harness::App;
use crate::harness::process::until;
use crate::harness::receiver::Receiver;
use crate::harness::soap::{NS12, envelope};

pub(super) struct Script {
    pub(super) app: App,
    pub(super) credentials: BTreeMap<String, String>,
    /// Every request so far, with its answer.
    pub(super) exchanges: Vec<Exchange>,
    /// Those with an idempotency key whose answer is stored.
    pub(super) stored: Vec<Exchange>,
    variables: HashMap<String, String>,
    receivers: HashMap<String, Receiver>,
    /// Whether the lines have an expected status.
    expects: bool,
    /// What was answered otherwise than expected.
    unexpected: Vec<String>,
}

impl Script {
    pub(super) fn new(app: App, credentials: BTreeMap<String, String>, expects: bool) -> Self {
        Self {
            app,
            credentials,
            exchanges: Vec::new(),
            stored: Vec::new(),
            variables: HashMap::new(),
            receivers: HashMap::new(),
            expects,
            unexpected: Vec::new(),
        }
    }

    pub(super) async fn play(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        self.lines(&lines, 1).await;
        let problems = self.unexpected.join("\n");
        assert!(problems.is_empty(), "{problems}");
    }

    async fn lines(&mut self, lines: &[&str], first: usize) {
        let mut place = 0;
        while let Some(line) = lines.get(place) {
            if let Some(head) = line.strip_prefix("each ") {
                let end = end_of(lines, place);
                self.each(head, &lines[place + 1..end], first + place + 1)
                    .await;
                place = end;
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let line = self.substitute(line);
                self.line(&line, first + place).await;
            }
            place += 1;
        }
    }

    async fn each(&mut self, head: &str, lines: &[&str], first: usize) {
        let (names, query) = head.split_once(" : ").unwrap();
        let names: Vec<&str> = names.split_whitespace().collect();
        let query = self.substitute(query);
        for row in self.rows(&query, names.len()).await {
            for (name, value) in names.iter().zip(row) {
                self.variables.insert((*name).to_owned(), value);
            }
            Box::pin(self.lines(lines, first)).await;
        }
    }

    async fn rows(&self, query: &str, columns: usize) -> Vec<Vec<String>> {
        let options = self.app.database.superuser_options();
        let mut superuser = options.connect().await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut superuser)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        superuser.close().await.unwrap();
        rows.iter()
            .map(|row| {
                let value = |it| row.get::<Option<String>, _>(it).unwrap_or_default();
                (0..columns).map(value).collect()
            })
            .collect()
    }

    fn substitute(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.variables {
            line = line.replace(&format!("${{{name}}}"), value);
        }
        assert!(!line.contains("${"), "an unknown variable: {line}");
        line
    }

    async fn line(&mut self, line: &str, number: usize) {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(by) = first.strip_prefix('+') {
            let by = humantime::parse_duration(by).unwrap();
            self.app.clock.advance(TimeDelta::from_std(by).unwrap());
            return;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        match first {
            "job" => self.job(rest).await,
            "sql" => fixture::run(&self.app.database, rest).await,
            "import" => make::import(&self.app, rest.parse().unwrap()).await,
            "hold-by-system" => make::hold_by_system(&self.app, rest.parse().unwrap()).await,
            "let" => {
                let value = self.member(words[1]);
                self.variables.insert(words[0].to_owned(), value);
            }
            "credential" => {
                let secret = self.member(words[1]);
                self.credentials.insert(words[0].to_owned(), secret);
            }
            "wait" => self.wait(&words).await,
            "receiver" => {
                let receiver = Receiver::start().await;
                self.variables.insert(rest.to_owned(), receiver.url());
                self.receivers.insert(rest.to_owned(), receiver);
            }
            "answer" => {
                let status = StatusCode::from_bytes(words[1].as_bytes()).unwrap();
                self.receivers[words[0]].answer(move |_| (status, "noted").into_response());
            }
            "deliver" => self.deliver(rest).await,
            _ => self.request(line, number).await,
        }
    }

    /// A member of the latest answer, as text.
    fn member(&self, pointer: &str) -> String {
        let body = &self.exchanges.last().unwrap().answer.body;
        let answer: Value = serde_json::from_str(body).unwrap();
        match answer.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => panic!("no {pointer} in {body}\n{}", self.unexpected.join("\n")),
        }
    }

    async fn job(&self, name: &str) {
        let service = &self.app.service;
        let (name, days) = name.split_once(' ').unwrap_or((name, "0"));
        let days: i32 = days.parse().unwrap();
        match name {
            "prepare" => drop(service.prepare_journal(days).await.unwrap()),
            "drop" => {
                let keep = TimeDelta::days(days.into()).to_std().unwrap();
                assert_ne!(service.drop_journal(keep).await.unwrap(), 0);
            }
            "all" => jobs::announce_and_purge(service, true).await.unwrap(),
            "trim" => drop(service.trim_bulk_jobs(Duration::ZERO).await.unwrap()),
            _ => panic!("no job {name}"),
        }
    }

    async fn wait(&self, words: &[&str]) {
        let [by, path, pointer, expected] = words else {
            panic!("{words:?}")
        };
        let exchange = Exchange::new(by, "GET", path, "").header("authorization", "Bearer {token}");
        until(expected, async || {
            let answer = exchange.send(&self.app.router, &self.credentials).await;
            let answer: Value = serde_json::from_str(&answer.body).unwrap();
            (answer.pointer(pointer).unwrap() == *expected).then_some(())
        })
        .await;
    }

    /// Delivers until a query says that it is done.
    async fn deliver(&self, done: &str) {
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::new(Arc::clone(&self.app.service), settings()).unwrap();
        let running = tokio::spawn(dispatcher.run(stop.clone()));
        let query = format!("select ({done})::text");
        until(done, async || {
            (self.rows(&query, 1).await[0][0] == "true").then_some(())
        })
        .await;
        stop.cancel();
        running.await.unwrap();
    }

    /// A request, and the pages after it if its path ends with `*`.
    async fn request(&mut self, line: &str, number: usize) {
        let mut parts = line.splitn(4, ' ');
        let [by, method, path] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let mut rest = parts.next().unwrap_or_default();
        let mut expected = "";
        if self.expects {
            (expected, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        }
        let mut key = None;
        if let Some(after) = rest.strip_prefix("key=") {
            let (given, after) = after.split_once(' ').unwrap_or((after, ""));
            (key, rest) = (Some(given), after);
        }
        let all_pages = path.ends_with('*');
        let mut exchange = self.exchange(by, method, path.trim_end_matches('*'), rest);
        if let Some(key) = key {
            exchange = exchange.header("idempotency-key", key);
        }
        loop {
            exchange.answer = exchange.send(&self.app.router, &self.credentials).await;
            if self.expects {
                let problem = unexpected(&exchange, method, expected);
                self.unexpected
                    .extend(problem.map(|it| format!("line {number}: {line}\n{it}")));
            }
            let next = next_page(&mut exchange).filter(|_| all_pages);
            self.exchanges.push(exchange.clone());
            if key.is_some() {
                self.stored.push(exchange.clone());
            }
            // The end of the events links to itself.
            match next {
                Some(next) if next != exchange.path => exchange.path = next,
                _ => break,
            }
        }
    }

    fn exchange(&self, by: &str, method: &str, path: &str, rest: &str) -> Exchange {
        let id = format!("first-edition-{}", self.exchanges.len() + 1);
        let exchange = match method {
            "admin" | "adminxml" => {
                let (kind, body) = if method == "admin" {
                    ("application/json", rest.to_owned())
                } else {
                    ("application/xml", format!("<xml>{rest}</xml>"))
                };
                Exchange::new(by, "POST", &format!("{}{path}", admin::PREFIX), &body)
                    .header("content-type", kind)
                    .header("authorization", "Bearer {token}")
            }
            "soap" => {
                let body = format!(
                    "<{path} xmlns=\"Zoolz\"><authToken>{{token}}</authToken>{rest}</{path}>"
                );
                Exchange::new(by, "POST", soap::PATH, &envelope(NS12, &body))
                    .header("content-type", "application/soap+xml; charset=utf-8")
            }
            _ => {
                let exchange = Exchange::new(by, method, path, rest);
                let exchange = if by == "nobody" {
                    exchange
                } else {
                    exchange.header("authorization", "Bearer {token}")
                };
                if rest.is_empty() {
                    exchange
                } else {
                    exchange.header("content-type", "application/json")
                }
            }
        };
        exchange.header("x-request-id", &id)
    }
}

/// The place of the `end` of the `each` at a place.
fn end_of(lines: &[&str], from: usize) -> usize {
    let mut open = 0;
    for (place, line) in lines.iter().enumerate().skip(from) {
        open += i32::from(line.starts_with("each ")) - i32::from(*line == "end");
        if open == 0 {
            return place;
        }
    }
    panic!("no end: {}", lines[from]);
}

/// The answer, if it is not the expected one.
fn unexpected(exchange: &Exchange, method: &str, expected: &str) -> Option<String> {
    let answer = &exchange.answer;
    let is_expected = if method == "soap" {
        answer.body.contains(&format!("<Code>{expected}<"))
    } else {
        answer.status.to_string() == expected
    };
    (!is_expected).then(|| format!("{} {}", answer.status, answer.body))
}

/// The path of the next page, from the header `link`. The first edition left the reseller out of an
/// operator's link of events; such a link is not recorded.
fn next_page(exchange: &mut Exchange) -> Option<String> {
    let link = exchange.answer.headers.get("link")?;
    let next = link.split(',').find(|it| it.contains("rel=\"next\""))?;
    let url = next.split(['<', '>']).nth(1)?;
    let next = url.trim_start_matches("https://steward.example").to_owned();
    let (_, reseller) = exchange.path.split_once("resellerId=").unwrap_or_default();
    if reseller.is_empty() || !next.starts_with("/v3/events?") {
        return Some(next);
    }
    let reseller = reseller.split('&').next()?.to_owned();
    exchange.answer.headers.remove("link");
    Some(format!("{next}&resellerId={reseller}"))
}

//! Recorded requests with their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use steward::domain::{Time, WebhookTargets};
use steward::service::{Clock, ManualClock, Service, Settings};
use steward::store::Store;

use super::compare;
use super::deliveries::Deliveries;
use super::fixture::{read_packed, write_packed};
use crate::harness::app::{Answer, admin_settings, pool_settings, router, send, soap_settings};
use crate::harness::{App, TestDatabase};

const FILE: &str = "answers.json.gz";
/// The headers of answers that are recorded. The tag of a document that is a hash of the whole
/// document changes with every new member, so tags are not.
const HEADERS: [&str; 6] = [
    "content-type",
    "idempotent-replayed",
    "link",
    "location",
    "retry-after",
    "x-total-count",
];
/// Stands in requests for the token of the credential.
const TOKEN: &str = "{token}";

/// All recorded requests.
#[derive(Serialize, Deserialize)]
pub(super) struct Recorded {
    /// When they were asked.
    pub(super) instant: Time,
    /// The secret of each credential.
    pub(super) credentials: BTreeMap<String, String>,
    pub(super) exchanges: Vec<Exchange>,
    /// What a dispatcher delivers that begins at the instant.
    pub(super) deliveries: Deliveries,
}

/// A request, and the answer that it had.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Exchange {
    /// The credential.
    pub(super) by: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) answer: Recording,
}

/// What is compared of an answer.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recording {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Recording {
    pub(super) fn of(answer: Answer) -> Self {
        let header = |name: &&str| {
            let value = answer.headers.get(*name)?.to_str().unwrap();
            Some(((*name).to_owned(), value.to_owned()))
        };
        Self {
            status: answer.status.as_u16(),
            headers: HEADERS.iter().filter_map(header).collect(),
            body: answer.body,
        }
    }
}

impl Exchange {
    /// A request that was not sent yet.
    pub(super) fn new(by: &str, method: &str, path: &str, body: &str) -> Self {
        Self {
            by: by.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: body.to_owned(),
            answer: Recording::default(),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) async fn send(
        &self,
        router: &Router,
        credentials: &BTreeMap<String, String>,
    ) -> Recording {
        let token = credentials.get(&self.by).map_or("", String::as_str);
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value.replace(TOKEN, token));
        }
        let body = Body::from(self.body.replace(TOKEN, token));
        Recording::of(send(router, request.body(body).unwrap()).await)
    }

    /// Where an answer differs from the recorded one: the request, and a line for each difference.
    pub(super) fn differences(&self, now: &Recording) -> Option<String> {
        let before = &self.answer;
        let mut lines = Vec::new();
        if before.status != now.status {
            lines.push(format!(
                "  status {} before, {} after",
                before.status, now.status
            ));
        }
        for (name, value) in &before.headers {
            let after = now.headers.get(name).map_or("(missing)", String::as_str);
            if value != after {
                lines.push(format!(
                    "  {name}\n    before: {value}\n    after:  {after}"
                ));
            }
        }
        lines.extend(compare::differences(&before.body, &now.body));
        let Self {
            by,
            method,
            path,
            body,
            ..
        } = self;
        (!lines.is_empty()).then(|| format!("{by}: {method} {path} {body}\n{}", lines.join("\n")))
    }
}

impl Recorded {
    pub(super) fn load() -> Self {
        serde_json::from_str(&read_packed(FILE)).unwrap()
    }

    pub(super) fn save(&self) {
        write_packed(FILE, &serde_json::to_string(self).unwrap());
    }

    /// Asks again what is wanted, and compares.
    pub(super) async fn differences(
        &self,
        served: &App,
        is_wanted: impl Fn(&Exchange) -> bool,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for exchange in self.exchanges.iter().filter(|it| is_wanted(it)) {
            let now = exchange.send(&served.router, &self.credentials).await;
            differences.extend(exchange.differences(&now));
        }
        differences
    }

    /// A service on the database, whose clock stands at the instant of the recording.
    pub(super) async fn serve(&self, database: TestDatabase) -> App {
        serve(database, self.instant).await
    }
}

/// A service on the database, whose clock stands at an instant. Its webhooks may be on this machine.
pub(super) async fn serve(database: TestDatabase, instant: Time) -> App {
    let clock = ManualClock::at(instant);
    let settings = Settings {
        webhook_targets: WebhookTargets {
            allow_http: true,
            networks: vec!["127.0.0.0/8".parse().unwrap()],
        },
        ..Settings::default()
    };
    let store = Store::new(database.options(), &pool_settings());
    let service = Service::start(store, Clock::Manual(clock.clone()), settings);
    service.load_restorations().await.unwrap();
    let service = Arc::new(service);
    App {
        router: router(&service, admin_settings(), soap_settings()),
        service,
        clock,
        database,
    }
}

//! A service on the machine's clock, with a dispatcher.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::dialects::v3;
use steward::domain::WebhookTargets;
use steward::service::{Clock, Service, Settings as ServiceSettings};
use steward::store::Store;
use steward::webhooks::{Dispatcher, Settings, Writer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::process::until;
use crate::harness::receiver::{Received, Receiver};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// Endpoints anywhere, over http: a service that accepts them may stop delivering to them later.
pub fn local_targets() -> WebhookTargets {
    WebhookTargets {
        allow_http: true,
        networks: ["0.0.0.0/0", "::/0"].map(|it| it.parse().unwrap()).to_vec(),
    }
}

pub fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        retries: vec![Duration::from_millis(20)],
        suspend_after: TimeDelta::days(5),
        lease: Duration::from_secs(30),
        concurrency: 64,
        reseller_concurrency: 64,
        endpoint_concurrency: 16,
        turns: 4,
        reseller_turns: 2,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        writer: Writer {
            event: v3::message,
            test: v3::test_message,
        },
    }
}

/// A service on the machine's clock, with a dispatcher.
pub struct Live {
    pub app: App,
    pub service: Arc<Service>,
    pub client: Client,
    pub v3: V3,
    pub stop: CancellationToken,
    pub running: Vec<JoinHandle<()>>,
}

impl Live {
    pub async fn new() -> Self {
        Self::on(App::new().await, Clock::System).await
    }

    /// On the test's clock, which stands still until the test moves it.
    pub async fn on_manual_clock() -> Self {
        let app = App::new().await;
        let clock = Clock::Manual(app.clock.clone());
        Self::on(app, clock).await
    }

    async fn on(app: App, clock: Clock) -> Self {
        let owner = app.new_reseller("Acme").await;
        let service_settings = ServiceSettings {
            webhook_targets: local_targets(),
            ..ServiceSettings::default()
        };
        let service = Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            clock,
            service_settings,
        ));
        service.remember_credentials();
        let client = Client {
            router: router(&service, admin_settings(), soap_settings()),
            token: owner.token.clone(),
        };
        let v3 = V3::of(&client);
        Self {
            app,
            service,
            client,
            v3,
            stop: CancellationToken::new(),
            running: Vec::new(),
        }
    }

    /// A client of another reseller, and the reseller's number.
    pub async fn another_reseller(&self, name: &str) -> (Client, i64) {
        let reseller = self.app.reseller(name).await;
        let token = self.app.token(Some(reseller), None).await;
        let client = Client {
            router: self.client.router.clone(),
            token,
        };
        (client, reseller.0)
    }

    pub fn dispatch(&mut self, settings: Settings) {
        let dispatcher = Dispatcher::new(Arc::clone(&self.service), settings).unwrap();
        self.running
            .push(tokio::spawn(dispatcher.run(self.stop.clone())));
    }

    pub async fn endpoint(&self, receiver: &Receiver, more: Value) -> Value {
        let mut body = json!({"url": receiver.url()});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = self.v3.call("POST", "/v3/webhooks", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()
    }

    pub async fn finish(self) {
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
        self.service.stop().await;
    }
}

pub fn sequence(delivery: &Received) -> (String, i64) {
    let body = delivery.json();
    (
        body["data"]["email"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        body["sequence"].as_i64().unwrap(),
    )
}

impl Live {
    /// Waits until the endpoint satisfies `is_so`, and answers its document.
    pub async fn finish_when(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until("the endpoint's state", async || {
            Some(self.v3.get(path).await.ok()).filter(&is_so)
        })
        .await
    }
}

//! Members of requests: unknown ones, and documents that are sent back as they were read.

mod round_trip;
mod unknown;

use serde_json::{Value, json};
use steward::dialects::operation::Access;
use steward::dialects::v3::{Id, Operation};

use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// An account's, a reseller's or an operator's calls of `v3`, and things that a path can name.
struct Things {
    app: App,
    client: Client,
    v3: V3,
    operator: V3,
}

impl Things {
    async fn new() -> Self {
        let app = App::new().await;
        let client = app.new_reseller("Acme").await;
        let operator = V3::of(&app.operator().await);
        Self {
            v3: V3::of(&client),
            app,
            client,
            operator,
        }
    }

    /// Makes something with a request of `v3`. Returns its id.
    async fn made(&self, path: &str, body: Value) -> String {
        let answer = self.v3.call("POST", path, &body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        let id = answer.json()["id"].clone();
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    }

    /// Makes a thing for the path of an operation. Returns the path.
    async fn path(&self, operation: &Operation) -> String {
        let job = json!({"selector": {"all": true}, "operation": {"operation": "restore"}});
        let id = match operation.id {
            Id::None => String::new(),
            Id::Account => self.made("/v3/accounts", json!({})).await,
            Id::Plan => {
                let plan = json!({"name": "x", "displayName": "x"});
                self.made("/v3/plans", plan).await
            }
            Id::Token => self.made("/v3/tokens", json!({})).await,
            Id::Webhook => {
                let webhook = json!({"url": "https://example.com"});
                self.made("/v3/webhooks", webhook).await
            }
            Id::BulkJob => self.made("/v3/bulk-jobs", job).await,
            Id::Reseller => self
                .app
                .service
                .find_reseller("Acme")
                .await
                .unwrap()
                .to_string(),
            Id::Entry => {
                self.made("/v3/accounts", json!({})).await;
                let logs = self.v3.get("/v3/event-logs?limit=1").await.ok();
                logs[0]["id"].as_str().unwrap().to_owned()
            }
            // Only a delivered message has one.
            Id::EventLog => "00000000-0000-4000-8000-000000000000".to_owned(),
        };
        operation.path.replace("{id}", &id)
    }

    /// A caller that may call the operation.
    fn caller(&self, operation: &Operation) -> &V3 {
        match operation.access {
            Access::Operator(_) => &self.operator,
            Access::Scope(_) | Access::AnyToken | Access::Public => &self.v3,
        }
    }
}

/// The media types of the two formats.
const JSON: &str = "application/json";
const XML: &str = "application/xml";

/// A document in a format.
fn written(format: &str, document: &Value) -> String {
    match format {
        JSON => document.to_string(),
        _ => element("xml", document),
    }
}

fn element(name: &str, value: &Value) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    match value {
        Value::Array(items) => items.iter().map(|item| element(name, item)).collect(),
        Value::Object(members) => {
            let members: String = members
                .iter()
                .map(|(name, value)| element(name, value))
                .collect();
            format!("<{name}>{members}</{name}>")
        }
        Value::Null => format!("<{name}/>"),
        Value::String(text) => format!("<{name}>{}</{name}>", escape(text)),
        Value::Bool(_) | Value::Number(_) => format!("<{name}>{value}</{name}>"),
    }
}

//! A reseller with one of everything that a row can name, and calls as the clients of the three
//! originals make them.

use axum::http::Request;
use serde_json::{Value, json};
use steward::dialects::operation::Access;
use steward::dialects::{admin, soap, v3};

use super::table::Original;
use crate::harness::app::{Answer, send};
use crate::harness::soap::{NS12, envelope};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// What came of a call.
#[derive(Debug)]
pub struct Outcome {
    /// `None` if the call succeeded, otherwise the code of the refusal: the number in Altcraft's
    /// dialect, the word in the others.
    pub refusal: Option<String>,
    /// The answer as JSON.
    pub document: Value,
    pub answer: Answer,
}

pub struct Place {
    client: Client,
    operator: Client,
    number: i64,
    uid: String,
    email: String,
    plan: Value,
    /// A word that nothing else has.
    fresh: String,
}

impl Place {
    /// A new reseller with an account, whose plan is new too.
    pub async fn new(app: &App, number: usize) -> Self {
        let fresh = format!("row-{number}");
        let client = app.new_reseller(&fresh).await;
        let name = format!("plan-{fresh}");
        let body = json!({"name": name, "displayName": name});
        let plan = V3::of(&client)
            .call("POST", "/v3/plans", &body)
            .await
            .json();
        let email = format!("{fresh}@example.com");
        let members = json!({"name": fresh, "title": fresh, "tz": "UTC", "tariff": plan["number"], "reports_day": 1, "reports_hour": 9, "email": email});
        let made = client.call("save", members).await.ok();
        let number = made["data"]["saved_id"].as_i64().unwrap();
        let account = client.get(number).await;
        Self {
            operator: app.operator().await,
            client,
            number,
            uid: account["uid"].as_str().unwrap().to_owned(),
            email,
            plan,
            fresh,
        }
    }

    /// The text with the placeholders of a body replaced.
    pub fn filled(&self, text: &str) -> String {
        let plan = |name: &str| self.plan[name].to_string().trim_matches('"').to_owned();
        [
            ("{id}", self.uid.clone()),
            ("{number}", self.number.to_string()),
            ("{email}", self.email.clone()),
            ("{new}", format!("new-{}@example.com", self.fresh)),
            ("{name}", format!("name-{}", self.fresh)),
            ("{plan}", plan("number")),
            ("{planId}", plan("id")),
            ("{planName}", plan("name")),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, &value)
        })
    }

    /// A call with a body, with a query and headers if they are given.
    pub async fn call(
        &self,
        original: Original,
        operation: &str,
        body: &Value,
        query: Option<(&str, &str)>,
        header: Option<(&str, &str)>,
    ) -> Outcome {
        let query = query.map_or_else(String::new, |(name, value)| {
            let mut pair = url::form_urlencoded::Serializer::new(String::new());
            format!("?{}", pair.append_pair(name, value).finish())
        });
        match original {
            Original::Altcraft => self.call_admin(operation, body, &query, header).await,
            Original::Zoolz => self.call_soap(operation, body, header).await,
            Original::Cryptlex => self.call_v3(operation, body, &query, header).await,
        }
    }

    async fn call_admin(
        &self,
        operation: &str,
        body: &Value,
        query: &str,
        header: Option<(&str, &str)>,
    ) -> Outcome {
        let path = operation.strip_prefix("POST ");
        let path = path.map_or_else(|| format!("{}{operation}", admin::PREFIX), str::to_owned);
        let mut body = body.clone();
        if body.get("token").is_none() {
            body["token"] = json!(self.client.token);
        }
        body["verbose"] = json!(true);
        let mut request =
            Request::post(format!("{path}{query}")).header("content-type", "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = send(
            &self.client.router,
            request.body(body.to_string().into()).unwrap(),
        )
        .await;
        let document: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let is_done = answer.status == 200 && document["error"] == 0;
        Outcome {
            refusal: (!is_done).then(|| document["error"].to_string()),
            document,
            answer,
        }
    }

    async fn call_soap(
        &self,
        operation: &str,
        body: &Value,
        header: Option<(&str, &str)>,
    ) -> Outcome {
        let mut members = vec![format!("<authToken>{}</authToken>", self.client.token)];
        for (name, value) in body.as_object().into_iter().flatten() {
            if name == "authToken" {
                members.clear();
            }
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            members.push(format!("<{name}>{text}</{name}>"));
        }
        let element = format!(
            "<{operation} xmlns=\"Zoolz\">{}</{operation}>",
            members.concat()
        );
        let mut request =
            Request::post(soap::PATH).header("content-type", "application/soap+xml; charset=utf-8");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let body = envelope(NS12, &element);
        let answer = send(&self.client.router, request.body(body.into()).unwrap()).await;
        let document = result(&answer.body, operation);
        let code = document["Code"].as_str().unwrap_or_default().to_owned();
        Outcome {
            refusal: (code != "Success").then_some(code),
            document,
            answer,
        }
    }

    async fn call_v3(
        &self,
        operation: &str,
        body: &Value,
        query: &str,
        header: Option<(&str, &str)>,
    ) -> Outcome {
        let (method, path) = operation.split_once(' ').unwrap_or_default();
        let caller = V3::of(self.caller(method, path));
        let path = match path.split_once("{id}") {
            Some((before, after)) => format!("{before}{}{after}", self.id(&caller, before).await),
            None => path.to_owned(),
        };
        let is_empty = body.as_object().is_some_and(serde_json::Map::is_empty);
        let body = if is_empty && method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let headers = Vec::from_iter(header);
        let answer = caller
            .send(method, &format!("{path}{query}"), &headers, &body)
            .await;
        let document: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let code = document["code"].as_str().unwrap_or_default();
        Outcome {
            refusal: (!answer.status.is_success())
                .then(|| format!("{} {code}", answer.status.as_u16())),
            document,
            answer,
        }
    }

    /// The operator if the table of operations admits nobody else.
    fn caller(&self, method: &str, path: &str) -> &Client {
        let is_it = |row: &&v3::Operation| row.method == method && row.path == path;
        match v3::OPERATIONS.iter().find(is_it).map(|row| row.access) {
            Some(Access::Operator(_)) => &self.operator,
            _ => &self.client,
        }
    }

    /// The id of a new thing of the collection that the path begins with.
    async fn id(&self, caller: &V3, path: &str) -> String {
        let collection = path.trim_end_matches('/');
        let body = match collection.rsplit('/').next() {
            Some("webhooks") => {
                json!({"url": "https://example.com/hook", "events": ["account.updated"]})
            }
            Some("plans") => json!({"name": "another", "displayName": "another"}),
            Some("tokens" | "personal-access-tokens") => json!({"name": "another"}),
            Some("event-logs") => {
                let newest = caller.send("GET", collection, &[], "").await.json();
                return newest[0]["id"].to_string().trim_matches('"').to_owned();
            }
            _ => return self.uid.clone(),
        };
        let made = caller.call("POST", collection, &body).await;
        let id = made.json()["id"].clone();
        id.as_str().map_or_else(|| id.to_string(), str::to_owned)
    }

    /// Makes a webhook endpoint, so that lists of them are not empty.
    pub async fn add_endpoint(&self) {
        let body = json!({"url": "https://example.com/hook", "events": ["account.updated"]});
        let made = V3::of(&self.client)
            .call("POST", "/v3/webhooks", &body)
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
    }

    /// The newest account, as `v3` and `admin` answer it.
    pub async fn account(&self) -> [Value; 2] {
        let listed = self.client.call("list", json!({})).await.ok();
        let newest = listed["data"].as_array().unwrap().last().cloned();
        let Some(newest) = newest else {
            return [Value::Null, Value::Null];
        };
        let v3 = V3::of(&self.client);
        let read = v3.get(&format!("/v3/accounts/{}", newest["id"])).await;
        [
            read.json(),
            self.client.get(newest["id"].as_i64().unwrap()).await,
        ]
    }
}

/// The result of a SOAP operation as JSON, with the JSON text in `Joson` read. Of a fault the word
/// of its code.
fn result(body: &str, operation: &str) -> Value {
    let Ok(document) = roxmltree::Document::parse(body) else {
        return Value::Null;
    };
    let named = |name: &str| {
        let mut all = document.descendants();
        all.find(|node| node.tag_name().name() == name)
    };
    if let Some(code) = named("Fault").and(named("Value")) {
        let word = code.text().unwrap_or_default();
        return json!({"Code": word.rsplit(':').next()});
    }
    named(&format!("{operation}Result")).map_or(Value::Null, element)
}

fn element(node: roxmltree::Node<'_, '_>) -> Value {
    let mut members = serde_json::Map::new();
    for child in node.children().filter(roxmltree::Node::is_element) {
        members.insert(child.tag_name().name().to_owned(), element(child));
    }
    if !members.is_empty() {
        return Value::Object(members);
    }
    let text = node.text().unwrap_or_default();
    let read = serde_json::from_str(text).ok();
    read.filter(|value: &Value| value.is_object() || value.is_array())
        .unwrap_or_else(|| json!(text))
}

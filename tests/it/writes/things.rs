//! What the operations of the tables are tried on.

use serde_json::{Value, json};
use sqlx::PgPool;
use steward::dialects::v3::{self, Id};
use steward::dialects::{admin, operation::Access};
use uuid::Uuid;

use crate::harness::app::Answer;
use crate::harness::process::until;
use crate::harness::soap::{NS12, envelope, post};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A request, ready to be sent with a key.
pub struct Request {
    pub name: String,
    method: &'static str,
    path: String,
    content_type: &'static str,
    pub token: String,
    body: String,
    router: axum::Router,
}

impl Request {
    pub async fn send(&self, key: &str) -> Answer {
        self.send_body(key, &self.body).await
    }

    /// Sends another body under the key.
    pub async fn send_other(&self, key: &str) -> Answer {
        let body = match self.content_type {
            "application/json" => {
                let body = if self.body.is_empty() { "{}" } else { &self.body };
                let mut members: Value = serde_json::from_str(body).unwrap();
                members["another"] = json!("member");
                members.to_string()
            }
            // Each operation has an account number, an address or a name, and the first counts.
            _ => self.body.replacen("</authToken>", "</authToken><accountID>99</accountID><email>o@example.com</email><name>other</name><planName>other</planName>", 1),
        };
        self.send_body(key, &body).await
    }

    /// Sends it with more headers.
    pub async fn send_with(&self, key: &str, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("idempotency-key", key));
        let v3 = V3::with_token(&self.router, &self.token);
        v3.send(self.method, &self.path, &headers, &self.body).await
    }

    async fn send_body(&self, key: &str, body: &str) -> Answer {
        let key = ("idempotency-key", key);
        if self.path == steward::dialects::soap::PATH {
            let headers = [key, ("content-type", self.content_type)];
            return post(&self.router, &headers, body.to_owned()).await;
        }
        let v3 = V3::with_token(&self.router, &self.token);
        v3.send(self.method, &self.path, &[key], body).await
    }

    /// The members of its body, and `verbose`.
    pub fn verbose(&self) -> Value {
        let mut members: Value = serde_json::from_str(&self.body).unwrap();
        members["verbose"] = json!(true);
        members
    }

    /// Whether the answers of its dialect say in a header whether anything changed.
    pub fn is_v3(&self) -> bool {
        self.path.starts_with("/v3")
    }
}

/// One of everything that an operation can be carried out on.
pub struct Things<'a> {
    app: &'a App,
    client: &'a Client,
    v3: V3,
    operator: V3,
    superuser: PgPool,
    made: u32,
}

impl<'a> Things<'a> {
    pub async fn of(app: &'a App, client: &'a Client) -> Self {
        let operator = app.operator().await;
        Self {
            app,
            client,
            v3: V3::of(client),
            operator: V3::of(&operator),
            superuser: app.database.superuser().await,
            made: 0,
        }
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.v3.call("POST", path, &body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.json()
    }

    /// All writes of all dialects, each on new things.
    pub async fn writes(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        for operation in v3::OPERATIONS.iter().filter(|row| row.idempotent) {
            requests.push(self.of_v3(operation).await);
        }
        for operation in admin::OPERATIONS.iter().filter(|row| row.idempotent) {
            requests.push(self.of_admin(operation).await);
        }
        let writes = steward::dialects::soap::OPERATIONS.iter();
        for operation in writes.filter(|row| row.idempotent) {
            requests.push(self.of_soap(operation.name).await);
        }
        requests
    }

    pub async fn of_v3(&mut self, operation: &v3::Operation) -> Request {
        let mut body = operation.example.to_owned();
        let id = match operation.id {
            Id::None => Value::Null,
            Id::Account => self.made("/v3/accounts", json!({})).await["id"].clone(),
            Id::Plan => self
                .made("/v3/plans", json!({"name": "x", "displayName": "x"}))
                .await["id"]
                .clone(),
            Id::Token => self.made("/v3/tokens", json!({})).await["id"].clone(),
            Id::Webhook | Id::EventLog => {
                let url = json!({"url": "https://example.com"});
                self.made("/v3/webhooks", url).await["id"].clone()
            }
            // Nothing writes one.
            Id::Entry => json!("1"),
            Id::BulkJob => {
                let account = self.made("/v3/accounts", json!({})).await;
                let job = json!({
                    "selector": {"state": "active"},
                    "operation": {"operation": "suspend"},
                });
                let job = self.made("/v3/bulk-jobs", job).await["id"].clone();
                assert!(account["id"].is_string());
                job
            }
            Id::Reseller => {
                let held =
                    "update reseller set purge_held_at = now(), purge_held_count = 1 where id = 1";
                sqlx::query(held).execute(&self.superuser).await.unwrap();
                json!(1)
            }
        };
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let id = match operation.name {
            "accounts_restore" => {
                let path = format!("/v3/accounts/{id}");
                self.v3.call("DELETE", &path, &Value::Null).await;
                id
            }
            "bulk_jobs_revert" => {
                self.finish(&id).await;
                id
            }
            "webhooks_redeliver_one" => self.attempt(&id).await.to_string(),
            _ => id,
        };
        if operation.name == "release_tickets_redeem" {
            let account = self.made("/v3/accounts", json!({})).await["id"].clone();
            let freeze = format!("/v3/accounts/{}/freeze", account.as_str().unwrap());
            let ticket = json!({"releaseTicket": true, "paymentUrl": "https://pay.example"});
            let frozen = self.made(&freeze, ticket).await;
            body = json!({"ticket": frozen["releaseTicket"]}).to_string();
        }
        if operation.name == "bulk_run" {
            let account = self.made("/v3/accounts", json!({})).await["id"].clone();
            body = json!({"operations": [
                {"operation": "suspend", "account": account},
                {"operation": "delete", "account": account},
                {"operation": "freeze", "account": "2147483647"},
                {"operation": "nonsense", "account": account},
            ]})
            .to_string();
        }
        let caller = match operation.access {
            Access::Operator(_) => &self.operator,
            Access::Scope(_) | Access::AnyToken | Access::Public => &self.v3,
        };
        Request {
            name: operation.name.to_owned(),
            method: operation.method,
            path: operation.path.replace("{id}", &id),
            content_type: "application/json",
            token: caller.token.clone(),
            body: self.with_fresh_name(&body),
            router: self.app.router.clone(),
        }
    }

    /// The body with names that nothing else has.
    fn with_fresh_name(&mut self, body: &str) -> String {
        self.made += 1;
        body.replace("new@example.com", &format!("new{}@example.com", self.made))
            .replace(
                "admin@acme.example",
                &format!("admin{}@acme.example", self.made),
            )
            .replace("Acme Hosting", &format!("Acme Hosting {}", self.made))
    }

    /// Applies a bulk job.
    async fn finish(&self, job: &str) {
        let path = format!("/v3/bulk-jobs/{job}");
        let path = format!("{path}/apply");
        assert_eq!(self.v3.call("POST", &path, &Value::Null).await.status, 202);
        self.settle().await;
    }

    /// Waits until no bulk job is under way.
    pub async fn settle(&self) {
        let busy = "select count(*) from bulk_job where state not in ('planned', 'listed', 'applied', 'reverted')";
        until("the bulk jobs", async || {
            (self.app.database.number(busy).await == 0).then_some(())
        })
        .await;
    }

    /// An attempt to deliver an event of an endpoint.
    async fn attempt(&self, endpoint: &str) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id,
               event_at, number, at, succeeded, duration_ms)
             values (1, $1, $2, 1, 'account.updated', 1, now(), 1, now(), true, 1)",
        )
        .bind(Uuid::try_parse(endpoint).unwrap())
        .bind(id)
        .execute(&self.superuser)
        .await
        .unwrap();
        id
    }

    pub async fn of_admin(&mut self, operation: &admin::Operation) -> Request {
        let mut members: Value =
            serde_json::from_str(&self.with_fresh_name(operation.example)).unwrap();
        if members["id"] == json!(7) {
            let account = self.made("/v3/accounts", json!({})).await["number"].clone();
            let account = if account.is_null() {
                json!(
                    self.app
                        .database
                        .number("select max(id)::bigint from account")
                        .await
                )
            } else {
                account
            };
            members["id"] = account;
        }
        Request {
            name: format!("admin {}", operation.name),
            method: "POST",
            path: format!("{}{}", admin::PREFIX, operation.name),
            content_type: "application/json",
            token: self.client.token.clone(),
            body: members.to_string(),
            router: self.app.router.clone(),
        }
    }

    async fn of_soap(&mut self, operation: &str) -> Request {
        self.made += 1;
        let number = self.made("/v3/plans", json!({"name": "x", "displayName": "x"}));
        let number = number.await["number"].clone();
        let email = format!("soap{}@example.com", self.made);
        let new = json!({ "email": email });
        let id = if operation.starts_with("CreateAccount") {
            0
        } else {
            self.made("/v3/accounts", new).await;
            self.app
                .database
                .number("select max(id)::bigint from account")
                .await
        };
        let members = format!(
            "<authToken>{}</authToken><accountID>{id}</accountID><email>{email}</email>\
             <name>n</name><password>secret</password><planID>{number}</planID><sendEmail>false</sendEmail>\
             <expiryDate>2027-01-01T00:00:00Z</expiryDate><status>inactive</status>\
             <paymentUrl>https://pay.example</paymentUrl><planName>x</planName>",
            self.client.token
        );
        let element = format!("<{operation} xmlns=\"Zoolz\">{members}</{operation}>");
        Request {
            name: format!("soap {operation}"),
            method: "POST",
            path: steward::dialects::soap::PATH.to_owned(),
            content_type: "application/soap+xml; charset=utf-8",
            token: self.client.token.clone(),
            body: envelope(NS12, &element),
            router: self.app.router.clone(),
        }
    }

    /// A digest of everything that is stored, except stored answers and when tokens were last used.
    pub async fn state(&self) -> Vec<(String, Option<String>)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_class c
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
               and not c.relispartition and c.relname not in ('idempotency', '_sqlx_migrations')
             order by 1",
        )
        .fetch_all(&self.superuser)
        .await
        .unwrap();
        let mut state = Vec::new();
        for table in tables {
            let query = format!(
                "select md5(string_agg(row, e'\\n' order by row)) from
                   (select (to_jsonb(t) - 'last_used_at')::text as row from {table} t) rows"
            );
            let digest = sqlx::query_scalar(sqlx::AssertSqlSafe(query));
            state.push((table, digest.fetch_one(&self.superuser).await.unwrap()));
        }
        state
    }
}

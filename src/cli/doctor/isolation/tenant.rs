//! A reseller made for the test, with one of everything that an id can name.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::CommandError;
use crate::cli::doctor::prober::{ProbeRequest, ProbeResponse, Prober, admin};

/// A reseller that has one of everything.
pub(super) struct Tenant {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) token: String,
    pub(super) account: i64,
    pub(super) uid: String,
    pub(super) email: String,
    pub(super) plan: String,
    pub(super) credential: i64,
    pub(super) webhook: String,
    pub(super) job: String,
    pub(super) hold: String,
}

impl Tenant {
    /// Makes a reseller, and with its token one of everything.
    pub(super) async fn make(
        prober: &Prober,
        operator: &str,
        name: String,
    ) -> Result<Self, CommandError> {
        let reseller = prober
            .made(
                operator,
                &ProbeRequest::post("/v3/resellers", &json!({ "name": name })),
            )
            .await?;
        let id = number(&reseller, "id")?;
        let issued = prober
            .made(
                operator,
                &ProbeRequest::post(
                    "/v3/tokens",
                    &json!({"resellerId": id, "name": "doctor isolation"}),
                ),
            )
            .await?;
        let token = text(&issued, "token")?;
        let email = format!("{name}@isolation.invalid");
        let account = prober
            .made(
                &token,
                &ProbeRequest::post(
                    "/v3/accounts",
                    &json!({"email": email, "company": "isolation"}),
                ),
            )
            .await?;
        let uid = text(&account, "id")?;
        let freeze = json!({"paymentUrl": "https://isolation.invalid/pay"});
        prober
            .made(
                &token,
                &ProbeRequest::post(format!("/v3/accounts/{uid}/freeze"), &freeze)
                    .with("idempotency-key", &name),
            )
            .await?;
        let holds = prober
            .made(
                &token,
                &ProbeRequest::get(format!("/v3/accounts/{uid}/holds")),
            )
            .await?;
        let plan = prober
            .made(
                &token,
                &ProbeRequest::post(
                    "/v3/plans",
                    &json!({"name": name, "displayName": "Isolation"}),
                ),
            )
            .await?;
        let other = prober
            .made(
                &token,
                &ProbeRequest::post(
                    "/v3/tokens",
                    &json!({"name": "isolation", "scopes": ["account:read"]}),
                ),
            )
            .await?;
        let hook = json!({
            "url": "https://isolation.invalid/hook", "events": ["account.updated"],
            "enabled": false
        });
        let webhook = prober
            .made(&token, &ProbeRequest::post("/v3/webhooks", &hook))
            .await?;
        let job = json!({
            "selector": {"state": "frozen"},
            "operation": {"operation": "status", "status": "active"}
        });
        let job = prober
            .made(&token, &ProbeRequest::post("/v3/bulk-jobs", &job))
            .await?;
        let found = prober
            .made(&token, &admin("list", &json!({"from_id": 1, "limit": 1})))
            .await?;
        let account = found
            .pointer("/data/0/id")
            .and_then(Value::as_i64)
            .ok_or_else(|| unexpected("the list of accounts", &found))?;
        Ok(Self {
            id,
            token,
            account,
            uid,
            email,
            plan: text(&plan, "id")?,
            credential: number(&other, "id")?,
            webhook: text(&webhook, "id")?,
            job: text(&job, "id")?,
            hold: text(holds.get(0).unwrap_or(&Value::Null), "id")?,
            name,
        })
    }

    /// Texts that identify this reseller's data. They must not appear in answers to others.
    pub(super) fn marks(&self) -> [&str; 7] {
        [
            &self.name,
            &self.uid,
            &self.email,
            &self.plan,
            &self.webhook,
            &self.job,
            &self.hold,
        ]
    }

    /// Everything that it has, read with its own token.
    pub(super) async fn everything(
        &self,
        prober: &Prober,
    ) -> Result<Vec<ProbeResponse>, CommandError> {
        let account = format!("/v3/accounts/{}", self.uid);
        let mut all = Vec::new();
        for path in [
            account.clone(),
            format!("{account}/holds"),
            format!("{account}/history"),
            format!("/v3/plans/{}", self.plan),
            format!("/v3/tokens/{}", self.credential),
            format!("/v3/webhooks/{}", self.webhook),
            format!("/v3/bulk-jobs/{}", self.job),
            format!("/v3/resellers/{}", self.id),
            "/v3/accounts".to_owned(),
        ] {
            all.push(
                prober
                    .send(Some(&self.token), &ProbeRequest::get(path))
                    .await?,
            );
        }
        Ok(all)
    }

    /// Deletes the data, and suspends the reseller, because resellers cannot be deleted.
    pub(super) async fn leave(&self, prober: &Prober, operator: &str) -> Result<(), CommandError> {
        for (method, path) in [
            (Method::DELETE, format!("/v3/webhooks/{}", self.webhook)),
            (Method::DELETE, format!("/v3/accounts/{}", self.uid)),
            (Method::POST, format!("/v3/resellers/{}/suspend", self.id)),
        ] {
            prober
                .send(Some(operator), &ProbeRequest::new(method.as_str(), path))
                .await?;
        }
        let tokens = prober
            .made(&self.token, &ProbeRequest::get("/v3/tokens"))
            .await?;
        // The operator's token deletes them; the list is read before its own token is gone.
        for token in tokens
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|token| token.get("id")?.as_i64())
        {
            prober
                .send(
                    Some(operator),
                    &ProbeRequest::new("DELETE", format!("/v3/tokens/{token}")),
                )
                .await?;
        }
        Ok(())
    }
}

fn text(document: &Value, member: &str) -> Result<String, CommandError> {
    document
        .get(member)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| unexpected(member, document))
}

fn number(document: &Value, member: &str) -> Result<i64, CommandError> {
    document
        .get(member)
        .and_then(Value::as_i64)
        .ok_or_else(|| unexpected(member, document))
}

fn unexpected(what: &str, document: &Value) -> CommandError {
    CommandError::Other(format!("{what} is not in the answer {document}"))
}

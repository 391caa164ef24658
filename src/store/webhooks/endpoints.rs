//! Webhook endpoints and their secrets.

use uuid::Uuid;

use crate::domain::{Endpoint, Error, ResellerId, SignatureStyle, SuspendedBy, Time};
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

struct EndpointRow {
    reseller_id: i64,
    id: Uuid,
    display_name: Option<String>,
    url: String,
    description: Option<String>,
    events: Vec<String>,
    signature_style: String,
    suspended_by: Option<String>,
    revision: i64,
    position: i64,
    failing_since: Option<Time>,
    last_success_at: Option<Time>,
    created_at: Time,
    updated_at: Time,
}

impl TryFrom<EndpointRow> for Endpoint {
    type Error = Error;

    fn try_from(row: EndpointRow) -> Result<Self, Error> {
        let suspended_by = row.suspended_by.map(|word| {
            SuspendedBy::parse(&word)
                .ok_or_else(|| internal("webhook_endpoint has an unknown suspended_by"))
        });
        Ok(Self {
            id: row.id,
            reseller_id: ResellerId(row.reseller_id),
            name: row.display_name,
            url: row.url,
            description: row.description,
            events: row.events,
            style: SignatureStyle::parse(&row.signature_style)
                .ok_or_else(|| internal("webhook_endpoint has an unknown signature_style"))?,
            suspended_by: suspended_by.transpose()?,
            revision: row.revision,
            position: row.position,
            failing_since: row.failing_since,
            last_success_at: row.last_success_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// How many endpoints work, over all resellers of the transaction.
#[derive(Debug)]
pub struct EndpointHealth {
    /// Endpoints whose latest attempt succeeded, or that had no attempt yet.
    pub healthy: i64,
    /// Endpoints whose latest attempt failed.
    pub failing: i64,
    /// Endpoints that get no deliveries.
    pub suspended: i64,
    /// When the longest failure began; `None` if no endpoint fails.
    pub failing_since: Option<Time>,
}

impl Tx {
    /// Every endpoint that is not suspended, with its URL.
    pub async fn list_targets(&mut self) -> Result<Vec<(ResellerId, Uuid, String)>, Error> {
        let rows = sqlx::query!(
            "select reseller_id, id, url from webhook_endpoint where suspended_by is null
             order by reseller_id, id"
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id, row.url))
            .collect())
    }

    /// How many endpoints work, over all resellers of the transaction.
    pub async fn fetch_endpoint_health(&mut self) -> Result<EndpointHealth, Error> {
        sqlx::query_as!(
            EndpointHealth,
            r#"select count(*) filter (where suspended_by is null
                 and failing_since is null) as "healthy!",
                 count(*) filter (where suspended_by is null
                   and failing_since is not null) as "failing!",
                 count(*) filter (where suspended_by is not null) as "suspended!",
                 min(failing_since) filter (where suspended_by is null) as failing_since
               from webhook_endpoint"#
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The endpoints of a reseller, oldest first.
    pub async fn list_endpoints(&mut self, reseller: ResellerId) -> Result<Vec<Endpoint>, Error> {
        let rows = sqlx::query_as!(
            EndpointRow,
            "select reseller_id, id, display_name, url, description, events, signature_style, suspended_by,
               revision,
               position, failing_since, last_success_at, created_at, updated_at
             from webhook_endpoint where reseller_id = $1 order by created_at, id",
            reseller.0
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter().map(Endpoint::try_from).collect()
    }

    /// An endpoint. Without a reseller it looks at all resellers of the transaction.
    pub async fn fetch_endpoint(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Endpoint>, Error> {
        let row = sqlx::query_as!(
            EndpointRow,
            "select reseller_id, id, display_name, url, description, events, signature_style, suspended_by,
               revision,
               position, failing_since, last_success_at, created_at, updated_at
             from webhook_endpoint where ($1::bigint is null or reseller_id = $1) and id = $2",
            reseller.map(|it| it.0),
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        row.map(Endpoint::try_from).transpose()
    }

    /// An endpoint, locked until the transaction ends. Without a reseller it looks at all resellers
    /// of the transaction.
    pub async fn lock_endpoint(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Endpoint>, Error> {
        let row = sqlx::query_as!(
            EndpointRow,
            "select reseller_id, id, display_name, url, description, events, signature_style, suspended_by,
               revision,
               position, failing_since, last_success_at, created_at, updated_at
             from webhook_endpoint where ($1::bigint is null or reseller_id = $1) and id = $2
             for no key update",
            reseller.map(|it| it.0),
            id
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        row.map(Endpoint::try_from).transpose()
    }

    /// Inserts an endpoint.
    pub async fn insert_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        sqlx::query!(
            "insert into webhook_endpoint (reseller_id, id, url, description, events,
               signature_style, suspended_by, revision, position, created_at,
               updated_at, display_name) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            endpoint.reseller_id.0,
            endpoint.id,
            endpoint.url,
            endpoint.description,
            &endpoint.events,
            endpoint.style.as_str(),
            endpoint.suspended_by.map(SuspendedBy::as_str),
            endpoint.revision,
            endpoint.position,
            endpoint.created_at,
            endpoint.updated_at,
            endpoint.name
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the fields that the owner of an endpoint may change.
    pub async fn update_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        sqlx::query!(
            "update webhook_endpoint set url = $3, description = $4, events = $5,
               signature_style = $6, suspended_by = $7, revision = $8,
               failing_since = $9, updated_at = $10, display_name = $11 where reseller_id = $1 and id = $2",
            endpoint.reseller_id.0,
            endpoint.id,
            endpoint.url,
            endpoint.description,
            &endpoint.events,
            endpoint.style.as_str(),
            endpoint.suspended_by.map(SuspendedBy::as_str),
            endpoint.revision,
            endpoint.failing_since,
            endpoint.updated_at,
            endpoint.name
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Deletes an endpoint with its secrets and pending deliveries. Its attempts stay until they
    /// are old enough to be deleted.
    pub async fn delete_endpoint(&mut self, reseller: ResellerId, id: Uuid) -> Result<(), Error> {
        sqlx::query!(
            "delete from webhook_endpoint where reseller_id = $1 and id = $2",
            reseller.0,
            id
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Inserts a secret.
    pub async fn insert_secret(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        secret: &str,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into webhook_secret (reseller_id, endpoint_id, id, secret, created_at)
             values ($1, $2, $3, $4, $5)",
            reseller.0,
            endpoint,
            Uuid::now_v7(),
            secret,
            now
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Lets the secrets of an endpoint expire at `at`, unless they expire earlier, and deletes
    /// those that have expired.
    pub async fn expire_secrets(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        at: Time,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "delete from webhook_secret where reseller_id = $1 and endpoint_id = $2
               and expires_at <= $3",
            reseller.0,
            endpoint,
            now
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        sqlx::query!(
            "update webhook_secret set expires_at = least(expires_at, $3)
             where reseller_id = $1 and endpoint_id = $2",
            reseller.0,
            endpoint,
            at
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The secrets of an endpoint that are valid now, newest first.
    pub async fn fetch_secrets(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        now: Time,
    ) -> Result<Vec<String>, Error> {
        sqlx::query_scalar!(
            "select secret from webhook_secret
             where reseller_id = $1 and endpoint_id = $2
               and (expires_at is null or expires_at > $3)
             order by created_at desc, id desc",
            reseller.0,
            endpoint,
            now
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }
}

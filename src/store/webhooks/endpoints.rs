//! Webhook endpoints and their secrets.

use uuid::Uuid;

use crate::domain::{Endpoint, Error, ResellerId, SignatureStyle, SuspendedBy, Time};
use crate::store::errors::{OrDomain as _, internal};
use crate::store::transaction::Tx;

pub(in crate::store) struct Row {
    pub(in crate::store) reseller_id: i64,
    pub(in crate::store) id: Uuid,
    pub(in crate::store) url: String,
    pub(in crate::store) description: Option<String>,
    pub(in crate::store) events: Vec<String>,
    pub(in crate::store) signature_style: String,
    pub(in crate::store) suspended_by: Option<String>,
    pub(in crate::store) revision: i64,
    pub(in crate::store) position: i64,
    pub(in crate::store) failing_since: Option<Time>,
    pub(in crate::store) last_success_at: Option<Time>,
    pub(in crate::store) created_at: Time,
    pub(in crate::store) updated_at: Time,
}

impl TryFrom<Row> for Endpoint {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let suspended_by = row.suspended_by.map(|word| {
            SuspendedBy::parse(&word)
                .ok_or_else(|| internal("an endpoint has an unknown suspension"))
        });
        Ok(Self {
            id: row.id,
            reseller_id: ResellerId(row.reseller_id),
            url: row.url,
            description: row.description,
            events: row.events,
            style: SignatureStyle::parse(&row.signature_style)
                .ok_or_else(|| internal("an endpoint has an unknown style"))?,
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

/// How all endpoints are.
#[derive(Debug)]
pub struct EndpointHealth {
    /// Those whose latest attempt succeeded, or that had none.
    pub healthy: i64,
    /// Those whose latest attempt failed.
    pub failing: i64,
    /// Those that nothing is delivered to.
    pub suspended: i64,
    /// Since when the one that has failed longest has.
    pub failing_since: Option<Time>,
}

/// `query_as!` of endpoints.
macro_rules! select_endpoints {
    ([$($part:tt)+]; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select reseller_id, id, url, description, events, signature_style, suspended_by, revision, position, failing_since, last_success_at,
               created_at, updated_at from webhook_endpoint " + $($part)+,
            $($argument),*
        )
    };
}

impl Tx {
    /// Where deliveries are made to: every endpoint that is not suspended, with its URL.
    pub async fn list_targets(&mut self) -> Result<Vec<(ResellerId, Uuid, String)>, Error> {
        let rows = sqlx::query!("select reseller_id, id, url from webhook_endpoint where suspended_by is null order by reseller_id, id")
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        Ok(rows
            .into_iter()
            .map(|row| (ResellerId(row.reseller_id), row.id, row.url))
            .collect())
    }

    /// How all endpoints are.
    pub async fn fetch_endpoint_health(&mut self) -> Result<EndpointHealth, Error> {
        sqlx::query_as!(
            EndpointHealth,
            r#"select count(*) filter (where suspended_by is null and failing_since is null) as "healthy!",
                 count(*) filter (where suspended_by is null and failing_since is not null) as "failing!",
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
        let rows =
            select_endpoints!(["where reseller_id = $1 order by created_at, id"]; reseller.0)
                .fetch_all(self.connection())
                .await
                .or_domain()?;
        rows.into_iter().map(Endpoint::try_from).collect()
    }

    /// An endpoint of a reseller, or of any within the transaction's tenancy.
    pub async fn fetch_endpoint(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Endpoint>, Error> {
        let row = select_endpoints!(["where ($1::bigint is null or reseller_id = $1) and id = $2"]; reseller.map(|it| it.0), id)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        row.map(Endpoint::try_from).transpose()
    }

    /// The same, locked until the transaction ends.
    pub async fn lock_endpoint(
        &mut self,
        reseller: Option<ResellerId>,
        id: Uuid,
    ) -> Result<Option<Endpoint>, Error> {
        let row = select_endpoints!(["where ($1::bigint is null or reseller_id = $1) and id = $2 for no key update"]; reseller.map(|it| it.0), id)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        row.map(Endpoint::try_from).transpose()
    }

    /// Keeps a new endpoint.
    pub async fn insert_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        sqlx::query!(
            "insert into webhook_endpoint (reseller_id, id, url, description, events, signature_style, suspended_by, revision, position, created_at,
               updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
            endpoint.updated_at
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes what the owner of an endpoint decides.
    pub async fn update_endpoint(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        sqlx::query!(
            "update webhook_endpoint set url = $3, description = $4, events = $5, signature_style = $6, suspended_by = $7, revision = $8,
               failing_since = $9, updated_at = $10 where reseller_id = $1 and id = $2",
            endpoint.reseller_id.0,
            endpoint.id,
            endpoint.url,
            endpoint.description,
            &endpoint.events,
            endpoint.style.as_str(),
            endpoint.suspended_by.map(SuspendedBy::as_str),
            endpoint.revision,
            endpoint.failing_since,
            endpoint.updated_at
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Removes an endpoint with its secrets and what is pending; its attempts stay until they are trimmed.
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

    /// Keeps a secret.
    pub async fn insert_secret(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        secret: &str,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into webhook_secret (reseller_id, endpoint_id, id, secret, created_at) values ($1, $2, $3, $4, $5)",
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

    /// Lets the secrets of an endpoint end at an instant, those that end earlier excepted; forgets those that have ended.
    pub async fn expire_secrets(
        &mut self,
        reseller: ResellerId,
        endpoint: Uuid,
        at: Time,
        now: Time,
    ) -> Result<(), Error> {
        sqlx::query!("delete from webhook_secret where reseller_id = $1 and endpoint_id = $2 and expires_at <= $3", reseller.0, endpoint, now)
            .execute(self.connection())
            .await
            .or_domain()?;
        sqlx::query!(
            "update webhook_secret set expires_at = least(expires_at, $3) where reseller_id = $1 and endpoint_id = $2",
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
            "select secret from webhook_secret where reseller_id = $1 and endpoint_id = $2 and (expires_at is null or expires_at > $3)
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

//! NOTIFY and LISTEN: replicas notify each other of changed credentials and of new events.

use std::collections::BTreeSet;

use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::errors::OrDomain as _;
use super::tenancy::list_of;
use super::transaction::{ENDPOINTS, EVENTS};
use super::{SERVICE_ROLE, Store};
use crate::domain::{Error, ResellerId};

/// The NOTIFY channel for changed credentials. The payload is the reseller's id.
pub(super) const CREDENTIALS: &str = "steward_credentials";
/// A notification that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// The credentials of this reseller have changed.
    Credentials(ResellerId),
    /// These resellers have new events. An empty list means any reseller.
    Events(Vec<ResellerId>),
    /// This reseller's endpoints have changed, or have due deliveries.
    Endpoints(ResellerId),
    /// A notification that this process sent.
    Own,
    /// The heartbeat with this number, which this process sent. Everything that was sent before it
    /// has arrived.
    Heartbeat(u64),
}

/// A LISTEN connection. It is not one of the pools' connections: if it is frozen, it is abandoned
/// and must take nothing from them.
#[derive(Debug)]
pub struct Listener {
    listener: PgListener,
    own: Uuid,
}

impl Store {
    /// Listens from now on. `own` is the id of this process.
    pub async fn listen(&self, own: Uuid) -> Result<Listener, Error> {
        let set_role = format!("set role {SERVICE_ROLE}");
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.pool.options().get_acquire_timeout())
            .after_connect(move |connection, _| {
                let set_role = set_role.clone();
                Box::pin(async move {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(set_role))
                        .execute(connection)
                        .await
                        .map(drop)
                })
            })
            .connect_lazy_with(self.pool.connect_options().as_ref().clone());
        let mut listener = PgListener::connect_with(&pool).await.or_domain()?;
        listener
            .listen_all([CREDENTIALS, EVENTS, &heartbeats_of(own)])
            .await
            .or_domain()?;
        Ok(Listener { listener, own })
    }

    /// Sends this process a notification over another connection than the LISTEN connection. If it
    /// does not come back, the LISTEN connection is frozen, or reaches another server than the
    /// pools. Nothing is written to disk for it.
    pub async fn send_heartbeat(&self, own: Uuid, number: u64) -> Result<(), Error> {
        let mut connection = self.background.acquire().await.or_domain()?;
        sqlx::query_scalar!(
            r#"select set_config('synchronous_commit', 'off', true) as "setting!"
               from pg_notify($1, $2)"#,
            heartbeats_of(own),
            number.to_string()
        )
        .fetch_one(&mut *connection)
        .await
        .or_domain()?;
        connection.finish();
        Ok(())
    }

    /// Notifies every process that these resellers have new events. A process that misses the
    /// notification finds them at its next poll.
    pub async fn announce_events(
        &self,
        own: Uuid,
        resellers: &BTreeSet<ResellerId>,
    ) -> Result<(), Error> {
        // PostgreSQL refuses payloads of 8,000 bytes and more. An empty one covers every reseller.
        let payload = Some(format!("{own} {}", list_of(resellers)))
            .filter(|payload| payload.len() < 7_900)
            .unwrap_or_default();
        let mut connection = self.background.acquire().await.or_domain()?;
        sqlx::query!("select pg_notify($1, $2)", EVENTS, payload)
            .execute(&mut *connection)
            .await
            .or_domain()?;
        connection.finish();
        Ok(())
    }
}

impl Listener {
    /// Waits for the next notification.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection was lost. Notifications sent meanwhile are lost
    /// too.
    pub async fn next(&mut self) -> Result<Notification, Error> {
        match self.listener.try_recv().await {
            Ok(Some(notification)) => {
                parse(notification.channel(), notification.payload(), self.own)
                    .ok_or(Error::Unavailable)
            }
            Ok(None) => Err(Error::Unavailable),
            Err(error) => Err(error).or_domain(),
        }
    }
}

/// The NOTIFY channel for the heartbeats of a process. Other processes do not listen on it.
fn heartbeats_of(process: Uuid) -> String {
    format!("steward_heartbeat_{}", process.simple())
}

/// The notification in a payload; `None` if the text is malformed.
fn parse(channel: &str, payload: &str, own: Uuid) -> Option<Notification> {
    if channel == heartbeats_of(own) {
        return payload.parse().ok().map(Notification::Heartbeat);
    }
    if channel != EVENTS {
        return payload
            .parse()
            .ok()
            .map(|reseller| Notification::Credentials(ResellerId(reseller)));
    }
    let Some((sender, resellers)) = payload.split_once(' ') else {
        return Some(Notification::Events(Vec::new()));
    };
    if sender.parse() == Ok(own) {
        return Some(Notification::Own);
    }
    if sender == ENDPOINTS {
        let reseller = resellers.parse().ok();
        return reseller.map(|reseller| Notification::Endpoints(ResellerId(reseller)));
    }
    resellers
        .split(',')
        .map(|name| name.parse().map(ResellerId))
        .collect::<Result<_, _>>()
        .ok()
        .map(Notification::Events)
}

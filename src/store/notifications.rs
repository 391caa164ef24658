//! NOTIFY and LISTEN: replicas notify each other of changed credentials and of new events.

use std::collections::BTreeSet;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::Store;
use super::errors::OrDomain as _;
use super::tenancy::list_of;
use super::transaction::EVENTS;
use crate::domain::{Error, ResellerId};

/// The NOTIFY channel for changed credentials. The payload is the reseller's id.
pub(super) const CREDENTIALS: &str = "steward_credentials";
/// A notification that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// The credentials of this reseller have changed.
    Credentials(ResellerId),
    /// These resellers have new events or due deliveries. An empty list means any reseller.
    Events(Vec<ResellerId>),
    /// A notification that this process sent.
    Own,
}

/// A LISTEN connection. It keeps one connection of the pool.
#[derive(Debug)]
pub struct Listener {
    listener: PgListener,
    own: Uuid,
}

impl Store {
    /// Listens from now on. `own` is the id of this process.
    pub async fn listen(&self, own: Uuid) -> Result<Listener, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await.or_domain()?;
        listener
            .listen_all([CREDENTIALS, EVENTS])
            .await
            .or_domain()?;
        Ok(Listener { listener, own })
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
        sqlx::query!("select pg_notify($1, $2)", EVENTS, payload)
            .execute(&self.pool)
            .await
            .map(drop)
            .or_domain()
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

/// The notification in a payload; `None` if the text is malformed.
fn parse(channel: &str, payload: &str, own: Uuid) -> Option<Notification> {
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
    resellers
        .split(',')
        .map(|name| name.parse().map(ResellerId))
        .collect::<Result<_, _>>()
        .ok()
        .map(Notification::Events)
}

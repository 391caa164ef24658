//! What other replicas did, as far as this one must forget or do something because of it.

use std::collections::BTreeSet;

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::Store;
use super::errors::OrDomain as _;
use super::tenancy::list_of;
use crate::domain::{Error, ResellerId};

/// The channel on which changes of credentials are announced; the payload is the reseller.
pub(super) const CREDENTIALS: &str = "steward_credentials";
/// The channel on which new events are announced; the payload is who says so and the resellers, or nothing: any may have some.
pub(super) const EVENTS: &str = "steward_events";

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// Credentials of this reseller changed.
    Credentials(ResellerId),
    /// These resellers have new events, or deliveries to be made; none named: any may.
    Events(Vec<ResellerId>),
    /// What this process has said itself.
    Own,
}

/// An open ear. It holds one connection of the pool.
#[derive(Debug)]
pub struct News {
    listener: PgListener,
    own: Uuid,
}

impl Store {
    /// Listens from now on.
    pub async fn listen(&self, own: Uuid) -> Result<News, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await.or_domain()?;
        listener
            .listen_all([CREDENTIALS, EVENTS])
            .await
            .or_domain()?;
        Ok(News { listener, own })
    }

    /// Tells every other process that these resellers have new events; one that hears nothing looks every few seconds.
    pub async fn announce_events(
        &self,
        own: Uuid,
        resellers: &BTreeSet<ResellerId>,
    ) -> Result<(), Error> {
        // A payload has at most 8,000 bytes; without one every reseller's are looked at.
        let payload = Some(format!("{own} {}", list_of(resellers)))
            .filter(|payload| payload.len() < 7_900)
            .unwrap_or_default();
        let told = sqlx::query!("select pg_notify($1, $2)", EVENTS, payload)
            .execute(&self.pool)
            .await;
        told.map(drop).or_domain()
    }
}

impl News {
    /// What is told next; waits until something is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost: something may have been missed.
    pub async fn next(&mut self) -> Result<Notification, Error> {
        match self.listener.try_recv().await {
            Ok(Some(notification)) => {
                read(notification.channel(), notification.payload(), self.own)
                    .ok_or(Error::Unavailable)
            }
            Ok(None) => Err(Error::Unavailable),
            Err(error) => Err(error).or_domain(),
        }
    }
}

fn read(channel: &str, payload: &str, own: Uuid) -> Option<Notification> {
    if channel != EVENTS {
        return payload
            .parse()
            .ok()
            .map(|reseller| Notification::Credentials(ResellerId(reseller)));
    }
    let Some((by, resellers)) = payload.split_once(' ') else {
        return Some(Notification::Events(Vec::new()));
    };
    if by.parse() == Ok(own) {
        return Some(Notification::Own);
    }
    resellers
        .split(',')
        .map(|name| name.parse().map(ResellerId))
        .collect::<Result<_, _>>()
        .ok()
        .map(Notification::Events)
}

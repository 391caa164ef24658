//! What other replicas did, as far as this one must forget or do something because of it.

use sqlx::postgres::{PgListener, PgNotification};

use super::Store;
use super::errors::domain_error;
use crate::domain::{Error, ResellerId};

/// The channel on which changes of credentials are announced; the payload is the reseller.
pub(super) const CREDENTIALS: &str = "steward_credentials";
/// The channel on which new events are announced, once a batch; the payload is the resellers, or nothing for all.
pub(super) const EVENTS: &str = "steward_events";

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Credentials of this reseller changed.
    Credentials(ResellerId),
    /// These resellers have new events, or deliveries to be made; none named: any may.
    Events(Vec<ResellerId>),
}

/// An open ear. It holds one connection of the pool.
#[derive(Debug)]
pub struct News(PgListener);

impl Store {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn listen(&self) -> Result<News, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await.map_err(|error| domain_error(&error))?;
        listener.listen_all([CREDENTIALS, EVENTS]).await.map_err(|error| domain_error(&error))?;
        Ok(News(listener))
    }
}

impl News {
    /// What is told next; waits until something is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost: something may have been missed.
    pub async fn next(&mut self) -> Result<Told, Error> {
        match self.0.try_recv().await {
            Ok(Some(notification)) => read(&notification).ok_or(Error::Unavailable),
            Ok(None) => Err(Error::Unavailable),
            Err(error) => Err(domain_error(&error)),
        }
    }
}

fn read(notification: &PgNotification) -> Option<Told> {
    let mut resellers = notification.payload().split(',').filter(|name| !name.is_empty()).map(|name| name.parse().map(ResellerId));
    if notification.channel() == EVENTS {
        return resellers.collect::<Result<_, _>>().ok().map(Told::Events);
    }
    resellers.next()?.ok().map(Told::Credentials)
}

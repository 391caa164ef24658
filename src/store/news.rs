//! What other replicas did, as far as this one must forget something because of it.

use sqlx::postgres::PgListener;

use super::Store;
use super::errors::domain_error;
use crate::domain::{Error, ResellerId};

/// The channel on which changes of credentials are announced; the payload is the reseller.
pub(super) const CREDENTIALS: &str = "steward_credentials";

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
        listener.listen(CREDENTIALS).await.map_err(|error| domain_error(&error))?;
        Ok(News(listener))
    }
}

impl News {
    /// Whose credentials changed; waits until some did.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost: something may have been missed.
    pub async fn next(&mut self) -> Result<ResellerId, Error> {
        match self.0.try_recv().await {
            Ok(Some(notification)) => notification.payload().parse().map(ResellerId).map_err(|_| Error::Unavailable),
            Ok(None) => Err(Error::Unavailable),
            Err(error) => Err(domain_error(&error)),
        }
    }
}

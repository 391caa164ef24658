//! A transaction that is for somebody, and that nobody can leave open by accident.

use std::collections::BTreeSet;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tracing::{Span, debug_span};

use super::errors::{OrDomain as _, is_connection_loss};
use super::notifications::EVENTS;
use super::tenancy::Tenancy;
use crate::domain::{Error, ResellerId};
use crate::telemetry;

/// An open transaction. Dropped without [`Tx::commit`] or [`Tx::rollback`] it closes its connection: whatever
/// state the protocol was in when a future was dropped, no other caller ever meets it.
pub struct Tx {
    connection: PoolConnection<Postgres>,
    /// Whether it is told with the commit that any endpoint may have something to be delivered.
    announces: bool,
    /// Nothing was begun: each statement is a transaction of its own.
    is_standalone: bool,
    finished: bool,
    /// As long as the transaction.
    _span: Span,
}

impl Tx {
    /// Begins, and says for whom, in one round trip. A pooled connection whose server has gone fails here, before
    /// anything was asked of it, so another one is tried; there are never more stale ones than the pool is large.
    pub(super) async fn begin(
        pool: &PgPool,
        begin: &str,
        tenancy: &Tenancy,
    ) -> Result<Self, Error> {
        let statement = format!("{begin}; {}", tenancy.statement());
        let mut stale_left = pool.options().get_max_connections();
        loop {
            let connection = pool.acquire().await.or_domain()?;
            let mut tx = Self {
                connection,
                announces: false,
                is_standalone: false,
                finished: false,
                _span: debug_span!(target: telemetry::SPANS, "transaction"),
            };
            match sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
                .execute(&mut *tx.connection)
                .await
            {
                Ok(_) => return Ok(tx),
                Err(error) if stale_left > 0 && is_connection_loss(&error) => {
                    stale_left -= 1;
                }
                Err(error) => return Err(error).or_domain(),
            }
        }
    }

    /// A connection on which nothing is begun; may be stale. Whose rows its statements may touch is said by the first of them
    /// and stays said on the connection: whatever is begun on it later says it anew.
    pub(super) async fn standalone(pool: &PgPool) -> Result<Self, Error> {
        let connection = pool.acquire().await.or_domain()?;
        Ok(Self {
            connection,
            announces: false,
            is_standalone: true,
            finished: false,
            _span: debug_span!(target: telemetry::SPANS, "transaction"),
        })
    }

    /// Lets this transaction touch the rows of resellers too: those of credentials that it has just proved.
    pub(super) async fn admit(&mut self, resellers: BTreeSet<ResellerId>) -> Result<(), Error> {
        let statement = Tenancy::Resellers(resellers).statement();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut *self.connection)
            .await;
        done.map(drop).or_domain()
    }

    /// Whether each statement is a transaction of its own, so that only one can be asked for what belongs together.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.is_standalone
    }

    /// Where the statements of this folder run.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Tells every replica, when this transaction commits, that an endpoint changed, or that something is to be delivered
    /// once more.
    pub fn announce_endpoints(&mut self) {
        self.announces = true;
    }

    /// Commits; what is announced goes along in the same round trip.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the answer did not arrive: whether it was committed is then unknown.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.is_standalone {
            self.finished = true;
            return Ok(());
        }
        let statement = if self.announces {
            format!("select pg_notify('{EVENTS}', ''); commit")
        } else {
            "commit".to_owned()
        };
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut *self.connection)
            .await;
        self.finished = done.is_ok();
        done.map(drop).or_domain()
    }

    /// Rolls back after an error; after one that may be the connection's own doing, closes the connection instead.
    pub async fn abort(self, error: &Error) {
        if *error == Error::Unavailable {
            drop(self);
        } else {
            self.rollback().await;
        }
    }

    /// Rolls back.
    pub async fn rollback(mut self) {
        if self.is_standalone {
            self.finished = true;
            return;
        }
        self.finished = sqlx::raw_sql("rollback")
            .execute(&mut *self.connection)
            .await
            .is_ok();
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}

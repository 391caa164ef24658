//! A transaction scoped to tenants, which is never left open.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use tracing::{Span, debug_span};

use super::connections::{Connections, Lent};
use super::errors::{OrDomain as _, is_connection_loss};
use super::tenancy::Tenancy;
use crate::domain::{Error, ResellerId};
use crate::telemetry;

/// The NOTIFY channel for new events. The payload is the id of the sending process and a list of
/// resellers, or empty if any reseller may have new events.
pub(super) const EVENTS: &str = "steward_events";
/// The first word of a payload on the channel for events that is about endpoints. The reseller
/// follows. Builds that do not know it take it for new events of the reseller.
pub(super) const ENDPOINTS: &str = "endpoints";

/// An open transaction. When it is dropped without [`Tx::commit`] or [`Tx::rollback`], it closes
/// its connection: a dropped future may have left the protocol in any state, so the connection must
/// not go back to the pool.
pub struct Tx {
    connection: Lent,
    /// The reseller whose endpoints the commit announces; `None` if it announces none.
    announced: Option<ResellerId>,
    /// Whether no transaction was begun, so that each statement commits by itself.
    is_standalone: bool,
    /// The trace span; it ends with the transaction.
    _span: Span,
}

impl Tx {
    /// Begins a transaction and sets its tenancy, in one round trip. This fails on a pooled
    /// connection whose server has gone. Nothing has run on it yet, so the next connection is
    /// tried, at most once for each connection of the pool.
    pub(super) async fn begin(
        pool: &Connections,
        begin: &str,
        tenancy: &Tenancy,
    ) -> Result<Self, Error> {
        let statement = format!("{begin}; {}", tenancy.statement());
        let mut stale_left = pool.options().get_max_connections();
        loop {
            let connection = pool.acquire().await.or_domain()?;
            let mut tx = Self {
                connection,
                announced: None,
                is_standalone: false,
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

    /// A connection without a transaction; its server may have gone. The first statement sets the
    /// resellers that the connection may touch. The setting stays until another transaction on the
    /// connection sets its own.
    pub(super) async fn standalone(pool: &Connections) -> Result<Self, Error> {
        let connection = pool.acquire().await.or_domain()?;
        Ok(Self {
            connection,
            announced: None,
            is_standalone: true,
            _span: debug_span!(target: telemetry::SPANS, "transaction"),
        })
    }

    /// Lets this transaction touch the rows of resellers too, after it has found their credentials.
    pub(super) async fn admit(&mut self, resellers: BTreeSet<ResellerId>) -> Result<(), Error> {
        let statement = Tenancy::Resellers(resellers).statement();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut *self.connection)
            .await
            .map(drop)
            .or_domain()
    }

    /// Whether each statement commits by itself. Changes that belong together must then be one
    /// statement.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.is_standalone
    }

    /// The connection that the statements of this room run on.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Notifies every replica at the commit that a reseller's endpoints have changed or have due
    /// deliveries.
    pub fn announce_endpoints(&mut self, reseller: ResellerId) {
        self.announced = Some(reseller);
    }

    /// Commits, and sends the notification in the same round trip.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the answer did not arrive. It is then unknown whether the
    /// transaction has committed.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.is_standalone {
            self.connection.finish();
            return Ok(());
        }
        let statement = if let Some(reseller) = self.announced {
            format!("select pg_notify('{EVENTS}', '{ENDPOINTS} {reseller}'); commit")
        } else {
            "commit".to_owned()
        };
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut *self.connection)
            .await;
        if done.is_ok() {
            self.connection.finish();
        }
        done.map(drop).or_domain()
    }

    /// Rolls back after an error. After [`Error::Unavailable`] it closes the connection, which may
    /// be broken.
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
            self.connection.finish();
            return;
        }
        let done = sqlx::raw_sql("rollback")
            .execute(&mut *self.connection)
            .await;
        if done.is_ok() {
            self.connection.finish();
        }
    }
}

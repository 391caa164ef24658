//! What an error of the driver means, by SQLSTATE and constraint name.

use tracing::{error, warn};
use uuid::Uuid;

use crate::domain::{Conflict, Error};

/// The outcome of a statement, with the driver's error as the domain's.
pub(super) trait OrDomain<T> {
    /// Turns the driver's error into the domain's, and logs the cause.
    fn or_domain(self) -> Result<T, Error>;
}

impl<T> OrDomain<T> for Result<T, sqlx::Error> {
    fn or_domain(self) -> Result<T, Error> {
        self.map_err(|error| domain_error(&error))
    }
}

/// Logs the cause without the values that the statement carried.
fn domain_error(error: &sqlx::Error) -> Error {
    if let Some(constraint) = error
        .as_database_error()
        .and_then(|database| database.constraint())
    {
        match constraint {
            "account_email_uq" => return Error::Conflict(Conflict::EmailInUse),
            "reseller_name_uq" => return Error::invalid("name", "another reseller has this name"),
            "account_reseller_fk" | "api_token_reseller_fk" => return Error::ResellerNotFound,
            "account_plan_fk" => return Error::invalid("plan_id", "no such plan"),
            "plan_number_uq" => return Error::invalid("number", "another plan has this number"),
            _ => {}
        }
    }
    if is_unavailable(error) {
        warn!(cause = %describe(error), "database unavailable");
        return Error::Unavailable;
    }
    internal(&describe(error))
}

/// An [`Error::Internal`] whose cause is in the log.
pub(super) fn internal(cause: &str) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %cause, "store failed");
    Error::Internal { incident }
}

/// The error without the values that PostgreSQL quotes in its detail.
fn describe(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) => format!(
            "{} ({})",
            database.message(),
            database.code().unwrap_or_default()
        ),
        None => error.to_string(),
    }
}

/// Whether `require_rows` has said no.
pub(super) fn is_stale(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "SW001")
}

/// Whether the connection itself is gone, or leads to a server that cannot take writes.
pub(super) fn is_connection_loss(error: &sqlx::Error) -> bool {
    match error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
    {
        Some(code) => matches!(
            code.as_ref(),
            "57P01" | "57P02" | "57P03" | "25006" | "25P03"
        ),
        None => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::WorkerCrashed
        ),
    }
}

/// Whether asking again after a while may help.
fn is_unavailable(error: &sqlx::Error) -> bool {
    if is_connection_loss(error)
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
    {
        return true;
    }
    // Too many connections, out of disk or memory, cancelled by a timeout, serialization failure, deadlock; a statement that was
    // prepared before somebody changed a column's type (0A000), which fails on this connection for ever.
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("58")
                || matches!(
                    code.as_ref(),
                    "57014" | "40001" | "40P01" | "55P03" | "0A000"
                )
        })
}

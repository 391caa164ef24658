//! Translates errors of the driver into errors of the domain, by SQLSTATE and constraint name.

use tracing::{error, warn};
use uuid::Uuid;

use crate::domain::{Conflict, Error};

/// The unique keys of the numbers and UUIDs of accounts.
const IDENTITIES: [&str; 4] = [
    "account_pkey",
    "account_number_uq",
    "account_uid_uq",
    "account_uuid_uq",
];

/// Gives the result of a statement the error type of the domain.
pub(super) trait OrDomain<T> {
    /// Translates the driver's error and logs its cause.
    fn or_domain(self) -> Result<T, Error>;
}

impl<T> OrDomain<T> for Result<T, sqlx::Error> {
    fn or_domain(self) -> Result<T, Error> {
        self.map_err(|error| domain_error(&error))
    }
}

/// The domain's error for a driver's error. Logs the cause, without values from the statement.
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
    if is_exhausted(error) {
        warn!(cause = %describe(error), "no account number is left");
        return Error::AccountNumbersExhausted;
    }
    if is_unavailable(error) {
        warn!(cause = %describe(error), "the database is unavailable");
        return Error::Unavailable;
    }
    internal(&describe(error))
}

/// An [`Error::Internal`]. Logs the cause under the incident's id.
pub(super) fn internal(cause: &str) -> Error {
    let incident = Uuid::new_v4();
    error!(%incident, %cause, "the store failed; the client was given this incident id");
    Error::Internal { incident }
}

/// The message of an error, without its detail: PostgreSQL quotes values there.
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

/// Whether the database function `require_rows` has counted too few rows, or an account was to get
/// a number or a UUID that another one has got meanwhile. Either way, what was read is no longer
/// true.
pub(super) fn is_stale(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "SW001")
            || error
                .constraint()
                .is_some_and(|it| IDENTITIES.contains(&it))
    })
}

/// Whether another transaction has kept a lock for longer than `lock_timeout`.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "55P03")
}

/// Whether a sequence has reached its end. Only that of the account ids can: the others have 64
/// bits.
fn is_exhausted(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "2200H")
}

/// Whether the connection is lost, or its server no longer takes writes.
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

/// Whether the same statement may succeed later.
fn is_unavailable(error: &sqlx::Error) -> bool {
    if is_connection_loss(error)
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
    {
        return true;
    }
    // 08: connection lost. 53: too many connections, disk or memory full. 58: system error. 57014:
    // cancelled by a timeout. 40001, 40P01: serialization failure, deadlock. 55P03: lock not
    // available. 0A000: a column's type has changed since the statement was prepared; only a new
    // connection helps.
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

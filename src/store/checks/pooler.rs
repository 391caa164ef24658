//! Detects a connection pooler in transaction mode between this process and the database.
//!
//! Such a pooler runs each transaction on any free server connection. The settings of a session
//! (the role that row level security applies to, time limits, prepared statements) then apply to
//! transactions of other clients. PgBouncer before 1.21 has even answered a statement with the rows
//! of another one.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Error, Row as _};

use super::Finding;

/// The order in which the connections begin and end their transactions. It changes from round to
/// round. So in the second round a pooler gives at least one connection another server connection,
/// whether it takes the one that became free first or last.
const ROUNDS: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
/// How long the check may take. A pooler with fewer than three server connections keeps the last
/// one waiting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs three transactions at a time on three connections, in several rounds, and compares which
/// server processes they reach.
///
/// # Errors
/// The errors of the driver.
pub(super) async fn check(options: &PgConnectOptions) -> Result<Option<Finding>, Error> {
    let remedy = "connect to PostgreSQL directly, or set the pooler to session mode \
        (PgBouncer: pool_mode = session)";
    let problem = match tokio::time::timeout(TIMEOUT, is_mixed(options)).await {
        Ok(Ok(false)) => return Ok(None),
        Ok(Ok(true)) => {
            "a pooler in front of the database runs the transactions of one connection on several \
             server connections"
        }
        Ok(Err(error)) => return Err(error),
        Err(_elapsed) => "three connections cannot have a transaction open at the same time",
    };
    Ok(Some(Finding::new(problem, remedy)))
}

/// Whether a connection reached two server processes.
async fn is_mixed(options: &PgConnectOptions) -> Result<bool, Error> {
    let mut connections = [
        options.connect().await?,
        options.connect().await?,
        options.connect().await?,
    ];
    let mut servers: [Option<String>; 3] = [None, None, None];
    let mut is_mixed = false;
    for round in ROUNDS {
        for place in round {
            if let (Some(connection), Some(known)) =
                (connections.get_mut(place), servers.get_mut(place))
            {
                let server = begin(connection).await?;
                is_mixed |= *known.get_or_insert_with(|| server.clone()) != server;
            }
        }
        for place in round {
            if let Some(connection) = connections.get_mut(place) {
                sqlx::raw_sql("commit").execute(connection).await?;
            }
        }
    }
    for connection in connections {
        connection.close().await?;
    }
    Ok(is_mixed)
}

/// Begins a transaction and returns the id of the server process that runs it. Uses no prepared
/// statement, because a pooler may send it to the wrong server connection.
async fn begin(connection: &mut PgConnection) -> Result<String, Error> {
    sqlx::raw_sql("begin").execute(&mut *connection).await?;
    sqlx::raw_sql("select pg_backend_pid()::text")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

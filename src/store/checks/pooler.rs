//! Whether something between us and the database mixes sessions up.
//!
//! A pooler in transaction mode gives each transaction whichever server connection is free. What was said on a connection
//! (the role that row level security holds for, time limits, prepared statements) then holds for somebody else: PgBouncer
//! before 1.21 was seen to answer one statement with another one's rows.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Error, Row as _};

use super::Finding;

/// In which order the connections begin their transactions, and end them: whether a pooler takes the server connection
/// that became free first or last, in the second round somebody gets another one's.
const ROUNDS: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
/// How long all of it may take: a pooler with fewer server connections than that has the last one wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks three connections again and again who their server is, each in a transaction while the others have theirs.
///
/// # Errors
/// Those of the driver.
pub(in crate::store) async fn check(options: &PgConnectOptions) -> Result<Option<Finding>, Error> {
    let remedy = "connect to PostgreSQL itself, or let the pooler work in session mode (PgBouncer: pool_mode = session)";
    let problem = match tokio::time::timeout(PATIENCE, is_mixed(options)).await {
        Ok(Ok(false)) => return Ok(None),
        Ok(Ok(true)) => {
            "a pooler in front of the database gives the transactions of one connection to several server connections"
        }
        Ok(Err(error)) => return Err(error),
        Err(_elapsed) => "three connections cannot have a transaction each at the same time",
    };
    Ok(Some(Finding {
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }))
}

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

/// The process that serves the transaction now begun. Nothing is prepared: that is what such a pooler mixes up first.
async fn begin(connection: &mut PgConnection) -> Result<String, Error> {
    sqlx::raw_sql("begin").execute(&mut *connection).await?;
    sqlx::raw_sql("select pg_backend_pid()::text")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

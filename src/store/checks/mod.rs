//! Checks of the database: at each start of the service, and by `steward doctor`.
//!
//! `startup.rs` finds what the service cannot run with: with `migrate.rs` a schema of another
//! version, with `access.rs` a role that reaches more than it should. `server.rs` finds what an
//! operator should know besides, `email_keys.rs` accounts with the same address, and `held.rs` holds that
//! lists do not have as they are. `restored.rs` has
//! the steps of a restore.

mod access;
mod account_texts;
mod email_keys;
mod held;
mod migrate;
mod pooler;
pub(super) mod restored;
mod server;
mod startup;

pub use migrate::MIGRATOR;
pub use server::ServerReport;
pub use startup::SchemaReport;

use sqlx::postgres::PgConnectOptions;

/// A problem, and how the operator solves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The problem.
    pub problem: String,
    /// How to solve it.
    pub remedy: String,
}

impl Finding {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Why a connection failed, with the address that was tried.
fn unreachable(options: &PgConnectOptions, error: &sqlx::Error) -> String {
    let place = options.get_socket().map_or_else(
        || format!("{}:{}", options.get_host(), options.get_port()),
        |folder| format!("the socket in {}", folder.display()),
    );
    format!("cannot connect to {place}, which the key database.url (DATABASE_URL) names: {error}")
}

fn cannot_connect(options: &PgConnectOptions, error: &sqlx::Error) -> Finding {
    Finding::new(
        unreachable(options, error),
        "check the database URL, and that the server is running and accepts this login",
    )
}

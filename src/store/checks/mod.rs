//! What must be true of the database, checked at the start and by `steward doctor`.

mod pooler;
mod server;
mod startup;

pub use server::ServerReport;
pub use startup::MIGRATOR;

/// Something that must be mended before the service can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: String,
    /// What mends it.
    pub remedy: String,
}

fn cannot_connect(error: &sqlx::Error) -> Finding {
    Finding {
        problem: format!("cannot connect: {error}"),
        remedy: "check the database URL, and that the server runs and lets this login in"
            .to_owned(),
    }
}

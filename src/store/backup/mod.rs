//! Backups: the rows of all tables in one file, and a database made from such a file.
//!
//! - **The file** (`archive.rs`) is gzip over lines of text: a header, each table as PostgreSQL's
//!   `copy` writes it, the sequences, and a checksum.
//! - **A backup** (`dump.rs`) reads everything in one snapshot, while the service goes on writing.
//! - **A restore** (`load.rs`) is one transaction: the migrations that the backup was made with, the
//!   rows, and then the migrations that came later. If it is interrupted, the database is as empty
//!   as before.
//! - **Ids of events** (`restorations.rs`) continue far above those of the backup, so that no id is
//!   given a second time that was given after the backup was made.
//!
//! Decision 0012 explains why this is not `pg_dump`.

mod archive;
mod dump;
mod load;
mod restorations;
mod tables;

use std::io;
use std::path::PathBuf;

pub use archive::{AppliedMigration, Header, Part, Reader, Record, write};
pub use load::{Report, Restore, check_known};
pub use restorations::Restoration;

/// Why a backup or a restore failed. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a backup.
    #[error("{path} is not a backup of Steward: {problem}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The file is a backup that was changed or cut off.
    #[error("the backup {path} is damaged: {problem}. Nothing was restored; use another backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The backup was made by a build that knows migrations which this one does not.
    #[error(
        "the backup was made by Steward {version} with schema {schema}, which this build does not \
         know (it knows {known}): restore it with the Steward that made it, or a newer one"
    )]
    Newer {
        /// The version that made it.
        version: String,
        /// Its newest migration.
        schema: i64,
        /// The newest migration of this build.
        known: i64,
    },
    /// The database to restore into, which this is the name of, has tables.
    #[error("the database {0} has tables of Steward already")]
    NotEmpty(String),
    /// The database to back up cannot be backed up.
    #[error("{0}")]
    Unfit(String),
    /// A statement failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("migration: {0}")]
    Migration(String),
    /// The other side of the work has failed; its error says why.
    #[error("interrupted")]
    Interrupted,
}

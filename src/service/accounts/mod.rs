//! Accounts: changed, found, read and listed.

mod change;
mod find;
mod list;
mod read;
mod snapshot;
mod upcoming;

pub use find::AccountRef;
pub use list::Page;
pub use read::Explained;
pub(super) use snapshot::SNAPSHOT_PAGE_BYTES;
pub use snapshot::{SnapshotPage, SnapshotPlace};
pub use upcoming::{ComingChange, ComingQuery};

//! Accounts: changed, found, read and listed.

mod change;
mod find;
mod list;
mod read;

pub use find::AccountRef;
pub use list::Page;
pub use read::Explained;

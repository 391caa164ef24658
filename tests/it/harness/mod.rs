//! Shared parts of the tests.

pub mod app;
pub mod database;
pub mod process;
pub mod receiver;
pub mod soap;
pub mod transcript;
pub mod v3;

pub use app::{App, Client};
pub use database::TestDatabase;

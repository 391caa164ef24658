//! The integration tests: one binary, every test on a real PostgreSQL and a database of its own.
//!
//! Without `TEST_DATABASE_URL` (a superuser's) the harness starts one throwaway cluster on a memory file system.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that meets the unexpected has failed"
)]

mod admin;
mod cli;
mod database;
mod docs;
mod group_commit;
mod harness;
mod http;
mod layers;
mod lifecycle;
mod soap;
mod tenancy;
mod v3;
mod webhooks;

//! The integration tests, in folders by feature. One binary; every test has a database of its own
//! on a real PostgreSQL.
//!
//! `TEST_DATABASE_URL` names a server, as a superuser. Without it the harness starts a throwaway
//! cluster on a memory file system.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test fails where it meets the unexpected, and tells one story from beginning to end"
)]

mod admin;
mod backup;
mod cli;
mod database;
mod dates;
mod docs;
mod first_edition;
mod group_commit;
mod harness;
mod http;
mod layers;
mod lifecycle;
mod members;
mod sizes;
mod soap;
mod tenancy;
mod v3;
mod webhooks;
mod writes;

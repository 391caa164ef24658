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

mod access_matrix;
mod admin_bad_input;
mod admin_calls;
mod admin_golden;
mod admin_lists;
mod as_of;
mod bulk_jobs;
mod cli;
mod clock_sweep;
mod concurrency;
mod configuration;
mod connections;
mod doctor;
mod documents;
mod embedded;
mod equivalence;
mod foresight;
mod harness;
mod idempotency;
mod isolation;
mod kill;
mod layers;
mod lifecycle_model;
mod lifecycle_sequences;
mod lifecycle_time;
mod notice;
mod outage;
mod plans;
mod release_tickets;
mod replay;
mod retention;
mod scale_out;
mod serving;
mod soap_calls;
mod time_calls;
mod traces;
mod v3_accounts;
mod v3_credentials;
mod v3_plans;
mod webhooks;
mod webhooks_chaos;

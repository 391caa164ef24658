//! The `v3` dialect: REST, compatible with Cryptlex.

mod accounts;
mod as_of;
mod bulk_jobs;
mod plans;
mod release_tickets;

//! The `v3` dialect: REST, compatible with Cryptlex.

mod account_lists;
mod accounts;
mod as_of;
mod bulk;
mod bulk_jobs;
mod bulk_reverts;
mod conditional_reads;
pub(crate) mod cryptlex;
mod email_addresses;
mod errors;
mod history_pages;
mod journal_names;
mod metadata;
mod plans;
mod release_tickets;
mod resellers;
mod snapshot;
mod transcript;
mod upcoming;

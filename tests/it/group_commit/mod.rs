//! Commands that are committed together, retried and repeated.

mod concurrency;
mod idempotency;
mod replay;
mod scale_out;

//! Commands that are committed together, retried and repeated.

mod account_numbers;
mod answer_space;
mod concurrency;
mod idempotency;
mod replay;
mod scale_out;
mod secret_answers;

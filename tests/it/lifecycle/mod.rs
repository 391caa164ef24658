//! The rules of an account's life: holds, expiry, exemption, retention, purge.

mod clock_sweep;
mod equivalence;
mod foresight;
mod model;
mod sequences;
mod time;
mod time_calls;

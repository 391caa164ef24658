//! How each API speaks: requests into commands, outcomes into replies, one code table each.
//!
//! A dialect knows no rule of the lifecycle and no SQL. It has its own words, its own envelopes, and one table
//! (`codes.rs`) from [`domain::Error`](crate::domain::Error) to its codes. All dialects call the same service, so
//! the same operation has the same effect whichever one it came through.

pub mod admin;
pub(crate) mod dates;

use std::fmt;

/// The identity of a request, for logs, the journal and the caller. Made or accepted by the HTTP layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestId(pub String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

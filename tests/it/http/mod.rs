//! The server: start and stop, connections, traces, pages.

mod connections;
mod notice;
mod serving;
mod traces;

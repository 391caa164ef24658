//! The documents: every key and every command in them is tried.

mod documents;
mod migration;

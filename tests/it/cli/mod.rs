//! The command line and the configuration.

mod commands;
mod configuration;
mod import;
mod listen;
mod manage;

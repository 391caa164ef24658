//! The command line and the configuration.

mod commands;
mod configuration;
mod demo;
mod import;
mod listen;
mod manage;
mod messages;

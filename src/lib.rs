//! Steward
pub mod app;
pub mod cli;
pub mod config;
pub mod dialects;
pub mod domain;
pub mod hash;
pub mod http;
pub mod jobs;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod wire;

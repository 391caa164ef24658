//! Steward
pub mod domain;
pub mod hash;
pub mod service;
pub mod store;
pub mod wire;

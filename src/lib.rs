//! Steward
pub mod domain;
pub mod hash;
pub mod store;
pub mod wire;

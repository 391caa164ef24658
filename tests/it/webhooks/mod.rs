//! Webhooks and events.

mod chaos;
mod endpoints;
mod events;
mod failures;
mod lease_loss;
mod live;
mod network;
mod redelivery;
mod signing;

//! Webhooks and events.

mod answers;
mod backlog;
mod chaos;
mod cryptlex;
mod endpoints;
mod events;
mod failures;
mod lease_loss;
mod leases;
mod live;
mod network;
mod redelivery;
mod shares;
mod signing;
mod streams;

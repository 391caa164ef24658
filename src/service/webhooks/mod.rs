//! Webhook endpoints, and what is delivered to them.

mod deliveries;
mod endpoints;

pub use deliveries::{Due, PendingRead};
pub use endpoints::{AttemptFilter, EndpointView, EventRead, NewEndpoint};

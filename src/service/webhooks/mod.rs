//! Webhooks: the endpoints of resellers, the events, and the deliveries of events to endpoints.

mod deliveries;
mod dispatch;
mod endpoints;
mod events;
mod feed;

pub use dispatch::{Due, PendingRead};
pub use endpoints::{EndpointView, NewEndpoint};
pub use events::EventRead;
pub use feed::FeedPage;
pub(super) use feed::Feeds;

//! Webhooks and events.

mod chaos;
mod deliveries;

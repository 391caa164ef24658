//! Webhooks go on at their positions.

use std::time::Duration;

use chrono::TimeDelta;
use steward::dialects::v3;
use steward::webhooks::{Settings, Writer};

/// Settings of a dispatcher that delivers to this machine.
pub(super) fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        retries: vec![Duration::from_mins(1), Duration::from_hours(1)],
        suspend_after: TimeDelta::days(5),
        lease: Duration::from_secs(30),
        concurrency: 16,
        reseller_concurrency: 16,
        endpoint_concurrency: 4,
        turns: 4,
        reseller_turns: 2,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        writer: Writer {
            event: v3::message,
            test: v3::test_message,
        },
    }
}

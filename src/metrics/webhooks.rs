//! Metrics of webhook deliveries.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Seconds;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// Attempts, and the state of the endpoints.
#[derive(Debug)]
pub struct Webhooks {
    attempts: Family<AttemptLabels, Counter>,
    lag: Histogram,
    endpoints: Family<EndpointLabels, Gauge>,
    failing: Seconds,
    late_endpoints: Family<CauseLabels, Gauge>,
    oldest_undelivered: Seconds,
}

/// Buckets from 10 ms to about two days, because deliveries are retried for days.
fn lags() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 13))
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            lag: lags(),
            endpoints: Family::default(),
            failing: Seconds::default(),
            late_endpoints: Family::default(),
            oldest_undelivered: Seconds::default(),
        }
    }
}

impl Webhooks {
    pub(super) fn register(&self, ours: &mut Registry) {
        ours.register(
            "webhook_attempts",
            "Delivery attempts, by outcome",
            self.attempts.clone(),
        );
        ours.register_with_unit(
            "webhook_lag",
            "Time from an event to its delivery",
            Unit::Seconds,
            self.lag.clone(),
        );
        ours.register(
            "webhook_endpoints",
            "Webhook endpoints, by state",
            self.endpoints.clone(),
        );
        let help = "Time since the longest failing endpoint began to fail";
        ours.register_with_unit(
            "webhook_longest_failing",
            help,
            Unit::Seconds,
            self.failing.clone(),
        );
        ours.register(
            "webhook_late_endpoints",
            "Webhook endpoints with an event that has waited for more than 2 s, by cause",
            self.late_endpoints.clone(),
        );
        let help = "Age of the oldest event that such an endpoint has not got";
        ours.register_with_unit(
            "webhook_oldest_undelivered",
            help,
            Unit::Seconds,
            self.oldest_undelivered.clone(),
        );
    }

    /// Counts a delivery attempt. `delivered_after` is the age of the event if it was delivered,
    /// and `None` if the attempt failed.
    pub fn attempt(&self, delivered_after: Option<Duration>) {
        let outcome = if delivered_after.is_some() {
            "delivered"
        } else {
            "failed"
        };
        self.attempts
            .get_or_create(&AttemptLabels { outcome })
            .inc();
        if let Some(age) = delivered_after {
            self.lag.observe(age.as_secs_f64());
        }
    }

    /// Sets how many endpoints are in each state. `longest` is the time since the longest failing
    /// endpoint began to fail.
    pub fn set_endpoints(&self, healthy: i64, failing: i64, suspended: i64, longest: Duration) {
        for (state, count) in [
            ("healthy", healthy),
            ("failing", failing),
            ("suspended", suspended),
        ] {
            self.endpoints
                .get_or_create(&EndpointLabels { state })
                .set(count);
        }
        self.failing.set(longest.as_secs_f64());
    }

    /// Sets how many endpoints have an event that has waited for more than 2 s, and the age of the
    /// oldest one. `unleased` endpoints wait for a process to deliver to them, `leased` ones for
    /// its turns or for their receivers.
    pub fn set_late_endpoints(&self, unleased: i64, leased: i64, oldest: Duration) {
        for (cause, count) in [("no_runner", unleased), ("runner", leased)] {
            self.late_endpoints
                .get_or_create(&CauseLabels { cause })
                .set(count);
        }
        self.oldest_undelivered.set(oldest.as_secs_f64());
    }
}

//! Metrics for Prometheus: requests, lanes, database pools, webhook deliveries, jobs, the process.
//!
//! Each service has its own registry, so the services of several tests in one process do not add
//! up. Names, labels and units are a contract with dashboards and alerts; `docs/operator.md` lists
//! them. Label values come from fixed lists in this program, never from a request, so their number
//! is bounded. The one exception is `share_waiting`, which lists at most
//! 20 holders of each share.

mod process;
mod prometheus;
mod shares;
mod webhooks;

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use process::Process;
use shares::Shares;
pub use webhooks::Webhooks;

/// The format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which every scraper and `promtool` read.
    Prometheus,
}

impl TextFormat {
    /// The content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The metrics in this format. `open_metrics` is what [`Metrics::encode`] returns.
    #[must_use]
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus::prometheus(&open_metrics),
        }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
/// A gauge in seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// The labels of a request: the API and the operation that it called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    /// `admin`, `soap` or `v3`; `none` for paths outside these APIs.
    pub dialect: &'static str,
    /// The name of the operation; `unknown` if the request matches none.
    pub operation: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    dialect: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

/// The metrics of one service. Updates are atomic and cheap, so any thread may make them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<Call>,
    in_flight: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    batches: Histograms<LaneLabels>,
    batch_seconds: Histograms<LaneLabels>,
    waiting: Family<LaneLabels, Gauge>,
    refused: Family<LaneLabels, Counter>,
    shares: Shares,
    pool: Family<PoolLabels, Gauge>,
    webhooks: Webhooks,
    account_numbers: Gauge,
    job_success: Family<JobLabels, Seconds>,
    job_failures: Family<JobLabels, Counter>,
    process: Process,
}

/// Buckets from 0.1 ms to 13 s.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
}

/// Buckets from 1 to 1,024.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all metrics, with every value at 0.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latencies),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            batches: Family::new_with_constructor(sizes),
            batch_seconds: Family::new_with_constructor(latencies),
            waiting: Family::default(),
            refused: Family::default(),
            shares: Shares::default(),
            pool: Family::default(),
            webhooks: Webhooks::default(),
            account_numbers: Gauge::default(),
            job_success: Family::default(),
            job_failures: Family::default(),
            process: Process::default(),
        };
        metrics.register()
    }

    fn register(mut self) -> Self {
        let ours = self.registry.sub_registry_with_prefix("steward");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "The version of Steward", version);
        ours.register(
            "http_requests",
            "Requests answered, by dialect, operation and outcome",
            self.requests.clone(),
        );
        let help = "Time from the head of a request to the head of its response";
        ours.register_with_unit(
            "http_request_duration",
            help,
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register(
            "http_requests_in_flight",
            "Requests in flight",
            self.in_flight.clone(),
        );
        ours.register(
            "http_connections",
            "Open connections to the API",
            self.connections.clone(),
        );
        ours.register(
            "http_connections_refused",
            "Connections refused because the limit was reached",
            self.connections_refused.clone(),
        );
        ours.register(
            "lane_batch_size",
            "Requests in one batch of a lane",
            self.batches.clone(),
        );
        ours.register_with_unit(
            "lane_batch_duration",
            "Time to run one batch of a lane",
            Unit::Seconds,
            self.batch_seconds.clone(),
        );
        ours.register(
            "lane_waiting",
            "Requests in the queue of a lane",
            self.waiting.clone(),
        );
        ours.register(
            "lane_refused",
            "Requests refused because the lane's queue was full",
            self.refused.clone(),
        );
        self.shares.register(ours);
        ours.register(
            "database_connections",
            "Database connections, by pool and state",
            self.pool.clone(),
        );
        self.webhooks.register(ours);
        let help = "Account numbers given away, of 2147483647; none is given twice";
        ours.register("account_numbers_used", help, self.account_numbers.clone());
        let help = "Unix time of the last success of each job in this process";
        ours.register_with_unit(
            "job_last_success_timestamp",
            help,
            Unit::Seconds,
            self.job_success.clone(),
        );
        ours.register(
            "job_failures",
            "Failed runs of each job",
            self.job_failures.clone(),
        );
        self.process.register(&mut self.registry);
        self
    }

    /// Counts a request that begins.
    pub fn request_begins(&self) {
        self.in_flight.inc();
    }

    /// Counts a request that was answered after `took`.
    pub fn request_ends(&self, call: Call, outcome: &'static str, took: Duration) {
        let Call { dialect, operation } = call;
        self.in_flight.dec();
        self.requests
            .get_or_create(&RequestLabels {
                dialect,
                operation,
                outcome,
            })
            .inc();
        self.request_seconds
            .get_or_create(&call)
            .observe(took.as_secs_f64());
    }

    /// Counts a request whose client disconnected before the answer.
    pub fn request_abandoned(&self, call: Call) {
        self.in_flight.dec();
        self.requests
            .get_or_create(&RequestLabels {
                dialect: call.dialect,
                operation: call.operation,
                outcome: "abandoned",
            })
            .inc();
    }

    /// Counts a client connection that opens.
    pub fn connection_opens(&self) {
        self.connections.inc();
    }

    /// Counts a client connection that closes.
    pub fn connection_closes(&self) {
        self.connections.dec();
    }

    /// Counts a connection refused because of the connection limit.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Records a batch of `size` requests that a lane ran in `took`.
    pub fn batch(&self, lane: &'static str, size: usize, took: Duration) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.batches
            .get_or_create(&LaneLabels { lane })
            .observe(f64::from(size));
        self.batch_seconds
            .get_or_create(&LaneLabels { lane })
            .observe(took.as_secs_f64());
    }

    /// Counts a request refused because the lane's queue was full.
    pub fn refused(&self, lane: &'static str) {
        self.refused.get_or_create(&LaneLabels { lane }).inc();
    }

    /// Sets how many requests are in a lane's queue.
    pub fn set_waiting(&self, lane: &'static str, waiting: usize) {
        self.waiting
            .get_or_create(&LaneLabels { lane })
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Sets how many connections of a pool are idle and how many are in use.
    pub fn set_pool(&self, pool: &'static str, idle: u32, used: u32) {
        self.pool
            .get_or_create(&PoolLabels {
                pool,
                state: "idle",
            })
            .set(i64::from(idle));
        self.pool
            .get_or_create(&PoolLabels {
                pool,
                state: "used",
            })
            .set(i64::from(used));
    }

    /// The metrics of webhook deliveries.
    #[must_use]
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// Sets how many account numbers have been given away.
    pub fn set_account_numbers(&self, used: i64) {
        self.account_numbers.set(used);
    }

    /// Sets when the process started, as a Unix time in seconds.
    pub fn set_started(&self, at: f64) {
        self.process.started.set(at);
    }

    /// Records a run of a job that ended at `at`, a Unix time in seconds.
    pub fn job(&self, job: &'static str, succeeded: bool, at: f64) {
        // The counter must exist before the first failure, so that an alert sees it increase.
        let failures = self.job_failures.get_or_create_owned(&JobLabels { job });
        if succeeded {
            self.job_success.get_or_create(&JobLabels { job }).set(at);
        } else {
            failures.inc();
        }
    }

    /// Encodes all metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.process.refresh();
        let mut text = String::with_capacity(16 * 1024);
        if let Err(error) = text::encode(&mut text, &self.registry) {
            // This happens only if the encoder of a metric fails.
            text.clear();
            let _cannot_fail = write!(text, "# {error}\n# EOF\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_exposed_under_their_documented_names() {
        let metrics = Metrics::new();
        let call = Call {
            dialect: "admin",
            operation: "freeze",
        };
        metrics.request_begins();
        metrics.request_ends(call, "ok", Duration::from_millis(3));
        metrics.request_begins();
        metrics.request_abandoned(call);
        metrics.batch("write", 7, Duration::from_millis(2));
        metrics.set_pool("keyed", 1, 2);
        metrics.webhooks().attempt(Some(Duration::from_secs(1)));
        metrics.webhooks().attempt(None);
        metrics.job("announce", false, 7.0);
        let text = metrics.encode();
        for line in [
            "steward_http_requests_total{dialect=\"admin\",operation=\"freeze\",outcome=\"ok\"} 1\n",
            "steward_http_requests_total{dialect=\"admin\",operation=\"freeze\",outcome=\"abandoned\"} 1\n",
            "steward_http_request_duration_seconds_count{dialect=\"admin\",operation=\"freeze\"} 1\n",
            "steward_http_requests_in_flight 0\n",
            "steward_lane_batch_size_sum{lane=\"write\"} 7.0\n",
            "steward_database_connections{pool=\"keyed\",state=\"used\"} 2\n",
            "steward_webhook_attempts_total{outcome=\"failed\"} 1\n",
            "steward_webhook_lag_seconds_count 1\n",
            "steward_job_failures_total{job=\"announce\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(
            !text.contains("process_resident_memory_bytes 0\n"),
            "{text}"
        );
    }
}

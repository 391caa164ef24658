//! What is counted, for Prometheus: requests, the lanes, the pool, deliveries, jobs, the process.
//!
//! Every service has a registry of its own, so that several in one process (as in the tests) do not add up. Names, labels
//! and units are a contract with dashboards and alerts (`docs/operator.md` lists them); labels only have values that this
//! program knows beforehand, never a caller's.

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

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// Which call a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    /// `admin`, `soap`, `v3`, or `none` for everything else.
    pub dialect: &'static str,
    /// The operation's own name, `unknown` where there is none.
    pub operation: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    dialect: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    pool: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Job {
    job: &'static str,
}

/// Everything that is counted. Cheap to update from anywhere; a count that nobody reads costs next to nothing.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request_seconds: Histograms<Call>,
    in_flight: Gauge,
    connections: Gauge,
    connections_refused: Counter,
    batches: Histograms<OfLane>,
    batch_seconds: Histograms<OfLane>,
    waiting: Family<OfLane, Gauge>,
    refused: Family<OfLane, Counter>,
    pool: Family<OfPool, Gauge>,
    attempts: Family<Outcome, Counter>,
    lag: Histogram,
    endpoints: Family<State, Gauge>,
    failing: Seconds,
    job_success: Family<Job, Seconds>,
    job_failures: Family<Job, Counter>,
    process: Process,
}

/// A tenth of a millisecond to 13 s.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
}

/// 1 to 1,024.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

/// A hundredth of a second to three days: deliveries are tried again for days.
fn lags() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 13))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// With nothing counted yet.
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
            pool: Family::default(),
            attempts: Family::default(),
            lag: lags(),
            endpoints: Family::default(),
            failing: Seconds::default(),
            job_success: Family::default(),
            job_failures: Family::default(),
            process: Process::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let ours = self.registry.sub_registry_with_prefix("steward");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "Which Steward this is", version);
        ours.register(
            "http_requests",
            "Requests answered, by dialect, operation and outcome",
            self.requests.clone(),
        );
        let help = "From the head of a request to the head of its answer";
        ours.register_with_unit(
            "http_request_duration",
            help,
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register(
            "http_requests_in_flight",
            "Requests that are being answered",
            self.in_flight.clone(),
        );
        ours.register(
            "http_connections",
            "Open connections of callers",
            self.connections.clone(),
        );
        ours.register(
            "http_connections_refused",
            "Connections closed at once because there were too many",
            self.connections_refused.clone(),
        );
        ours.register(
            "lane_batch_size",
            "How many requests were carried out together",
            self.batches.clone(),
        );
        ours.register_with_unit(
            "lane_batch_duration",
            "How long carrying them out took",
            Unit::Seconds,
            self.batch_seconds.clone(),
        );
        ours.register(
            "lane_waiting",
            "Requests that wait for their lane",
            self.waiting.clone(),
        );
        ours.register(
            "lane_refused",
            "Requests refused because the lane's queue was full",
            self.refused.clone(),
        );
        ours.register(
            "database_connections",
            "Connections to the database, by pool and state",
            self.pool.clone(),
        );
        ours.register(
            "webhook_attempts",
            "Attempts to deliver, by outcome",
            self.attempts.clone(),
        );
        ours.register_with_unit(
            "webhook_lag",
            "From an event to its delivery",
            Unit::Seconds,
            self.lag.clone(),
        );
        ours.register(
            "webhook_endpoints",
            "Webhook endpoints, by state",
            self.endpoints.clone(),
        );
        let help = "For how long the endpoint that has failed longest has failed";
        ours.register_with_unit(
            "webhook_longest_failing",
            help,
            Unit::Seconds,
            self.failing.clone(),
        );
        let help = "When each job last succeeded here, as a Unix time";
        ours.register_with_unit(
            "job_last_success_timestamp",
            help,
            Unit::Seconds,
            self.job_success.clone(),
        );
        ours.register(
            "job_failures",
            "Runs of each job that failed",
            self.job_failures.clone(),
        );
        self.process.register(&mut self.registry);
        self
    }

    /// A request has come.
    pub fn request_begins(&self) {
        self.in_flight.inc();
    }

    /// It is answered.
    pub fn request_ends(&self, call: Call, outcome: &'static str, took: Duration) {
        let Call { dialect, operation } = call;
        self.in_flight.dec();
        self.requests
            .get_or_create(&Answered {
                dialect,
                operation,
                outcome,
            })
            .inc();
        self.request_seconds
            .get_or_create(&call)
            .observe(took.as_secs_f64());
    }

    /// Its caller hung up before it was answered.
    pub fn request_abandoned(&self, call: Call) {
        self.in_flight.dec();
        self.requests
            .get_or_create(&Answered {
                dialect: call.dialect,
                operation: call.operation,
                outcome: "abandoned",
            })
            .inc();
    }

    /// A caller has connected.
    pub fn connection_opens(&self) {
        self.connections.inc();
    }

    /// That connection is gone.
    pub fn connection_closes(&self) {
        self.connections.dec();
    }

    /// A caller was turned away.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// A lane has carried out so many requests together.
    pub fn batch(&self, lane: &'static str, size: usize, took: Duration) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.batches
            .get_or_create(&OfLane { lane })
            .observe(f64::from(size));
        self.batch_seconds
            .get_or_create(&OfLane { lane })
            .observe(took.as_secs_f64());
    }

    /// A lane's queue was full.
    pub fn refused(&self, lane: &'static str) {
        self.refused.get_or_create(&OfLane { lane }).inc();
    }

    /// How many wait for a lane now.
    pub fn set_waiting(&self, lane: &'static str, waiting: usize) {
        self.waiting
            .get_or_create(&OfLane { lane })
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// How many connections of a pool do nothing, and how many are at work.
    pub fn set_pool(&self, pool: &'static str, idle: u32, used: u32) {
        self.pool
            .get_or_create(&OfPool {
                pool,
                state: "idle",
            })
            .set(i64::from(idle));
        self.pool
            .get_or_create(&OfPool {
                pool,
                state: "used",
            })
            .set(i64::from(used));
    }

    /// An attempt to deliver; with the event's age, if it succeeded.
    pub fn attempt(&self, delivered_after: Option<Duration>) {
        let outcome = if delivered_after.is_some() {
            "delivered"
        } else {
            "failed"
        };
        self.attempts.get_or_create(&Outcome { outcome }).inc();
        if let Some(age) = delivered_after {
            self.lag.observe(age.as_secs_f64());
        }
    }

    /// How many endpoints there are, and for how long one has failed.
    pub fn set_endpoints(&self, healthy: i64, failing: i64, suspended: i64, longest: Duration) {
        for (state, count) in [
            ("healthy", healthy),
            ("failing", failing),
            ("suspended", suspended),
        ] {
            self.endpoints.get_or_create(&State { state }).set(count);
        }
        self.failing.set(longest.as_secs_f64());
    }

    /// When the process started, in Unix seconds.
    pub fn set_started(&self, at: f64) {
        self.process.started.set(at);
    }

    /// A job ran, and was over at `at`, in Unix seconds.
    pub fn job(&self, job: &'static str, succeeded: bool, at: f64) {
        // There from the first run on, so that an alert can be made of its growth.
        let failures = self.job_failures.get_or_create_owned(&Job { job });
        if succeeded {
            self.job_success.get_or_create(&Job { job }).set(at);
        } else {
            failures.inc();
        }
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.process.look();
        let mut text = String::with_capacity(16 * 1024);
        if let Err(error) = text::encode(&mut text, &self.registry) {
            // Writing to a string fails only where a metric's own encoding does.
            text.clear();
            let _cannot_fail = write!(text, "# {error}\n# EOF\n");
        }
        text
    }
}

/// The process, under the names that every exporter uses.
#[derive(Debug, Default)]
struct Process {
    resident: Gauge,
    files: Gauge,
    threads: Gauge,
    cpu: Counter<f64, AtomicU64>,
    started: Seconds,
}

impl Process {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            self.resident.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open file descriptors",
            self.files.clone(),
        );
        registry.register("process_threads", "Threads", self.threads.clone());
        registry.register_with_unit(
            "process_cpu",
            "Processor time used",
            Unit::Seconds,
            self.cpu.clone(),
        );
        registry.register_with_unit(
            "process_start_time",
            "When it started, as a Unix time",
            Unit::Seconds,
            self.started.clone(),
        );
    }

    /// Where /proc is not, the gauges stay at 0.
    #[cfg(target_os = "linux")]
    fn look(&self) {
        let Ok(process) = procfs::process::Process::myself() else {
            return;
        };
        if let Ok(stat) = process.stat() {
            let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let used =
                (count(stat.utime) + count(stat.stime)) / count(procfs::ticks_per_second().max(1));
            self.cpu.inc_by((used - self.cpu.get()).max(0.0));
            self.resident.set(
                i64::try_from(stat.rss.saturating_mul(procfs::page_size())).unwrap_or(i64::MAX),
            );
            self.threads.set(stat.num_threads);
        }
        if let Ok(files) = process.fd_count() {
            self.files.set(i64::try_from(files).unwrap_or(i64::MAX));
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn look(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_exposed_under_its_contracted_name() {
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
        metrics.attempt(Some(Duration::from_secs(1)));
        metrics.attempt(None);
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

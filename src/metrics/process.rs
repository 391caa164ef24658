//! Metrics of the process.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Seconds;

/// Metrics of the process, under the names that Prometheus client libraries share.
#[derive(Debug, Default)]
pub(super) struct Process {
    resident: Gauge,
    files: Gauge,
    threads: Gauge,
    cpu: Counter<f64, AtomicU64>,
    pub(super) started: Seconds,
}

impl Process {
    pub(super) fn register(&self, registry: &mut Registry) {
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
            "Unix time at which the process started",
            Unit::Seconds,
            self.started.clone(),
        );
    }

    /// Reads the values from /proc. Where there is no /proc, they stay at 0.
    #[cfg(target_os = "linux")]
    pub(super) fn refresh(&self) {
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
    pub(super) fn refresh(&self) {}
}

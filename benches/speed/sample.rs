//! Measurements, their medians and ratios, and the tables that show them.

use std::collections::BTreeMap;
use std::time::Duration;

/// What was used since the processes started: seconds of CPU and bytes of WAL.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub service: f64,
    pub database: f64,
    pub driver: f64,
    pub wal: f64,
}

/// The figures of one measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// Latencies in microseconds.
    pub p50: u32,
    pub p99: u32,
    /// Microseconds of CPU per request.
    pub service: f64,
    pub database: f64,
    pub driver: f64,
    /// Bytes of WAL per request, with full-page images.
    pub wal: f64,
    /// How many requests were answered, and the WAL positions before and after them.
    pub requests: f64,
    pub wal_range: (f64, f64),
}

impl Sample {
    #[must_use]
    pub fn new(mut latencies: Vec<u32>, elapsed: Duration, before: &Usage, after: &Usage) -> Self {
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            latencies
                .get(latencies.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        let count = latencies.len().max(1) as f64;
        Self {
            rate: count / elapsed.as_secs_f64(),
            p50: percentile(50),
            p99: percentile(99),
            service: (after.service - before.service) * 1e6 / count,
            database: (after.database - before.database) * 1e6 / count,
            driver: (after.driver - before.driver) * 1e6 / count,
            wal: (after.wal - before.wal) / count,
            requests: count,
            wal_range: (before.wal, after.wal),
        }
    }
}

/// All measurements, by number of connections and name.
#[derive(Default)]
pub struct Samples(BTreeMap<(usize, &'static str), Vec<Sample>>);

impl Samples {
    pub fn add(&mut self, connections: usize, name: &'static str, sample: Sample) {
        self.0.entry((connections, name)).or_default().push(sample);
    }

    /// The median of a value. `None` if this was not measured.
    pub fn median(
        &self,
        connections: usize,
        name: &'static str,
        value: impl Fn(&Sample) -> f64,
    ) -> Option<f64> {
        let samples = self.0.get(&(connections, name))?;
        Some(median(&mut samples.iter().map(value).collect::<Vec<_>>()))
    }

    /// The ratios of two rates within each round, sorted. `None` if one was not measured.
    fn ratios(
        &self,
        connections: usize,
        ours: &'static str,
        theirs: &'static str,
    ) -> Option<Vec<f64>> {
        let ours = self.0.get(&(connections, ours))?;
        let theirs = self.0.get(&(connections, theirs))?;
        let rates = ours.iter().zip(theirs);
        let mut ratios: Vec<f64> = rates
            .map(|(ours, theirs)| ours.rate / theirs.rate)
            .collect();
        ratios.sort_by(f64::total_cmp);
        Some(ratios)
    }

    /// The median of the ratios of two rates within each round.
    pub fn ratio(
        &self,
        connections: usize,
        ours: &'static str,
        theirs: &'static str,
    ) -> Option<f64> {
        let mut ratios = self.ratios(connections, ours, theirs)?;
        Some(median(&mut ratios))
    }

    pub fn print(&self) {
        println!(
            "| connections | | per second | p50 ms | p99 ms | CPU us: service | database | driver | WAL bytes |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for (connections, name) in self.0.keys() {
            let of = |value: fn(&Sample) -> f64| {
                self.median(*connections, name, value).unwrap_or_default()
            };
            println!(
                "| {connections} | {name} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {:.0} |",
                of(|it| it.rate),
                of(|it| f64::from(it.p50) / 1e3),
                of(|it| f64::from(it.p99) / 1e3),
                of(|it| it.service),
                of(|it| it.database),
                of(|it| it.driver),
                of(|it| it.wal)
            );
        }
    }

    /// Prints the ratios of these pairs of names.
    pub fn print_ratios(&self, pairs: &[(&'static str, &'static str)]) {
        println!("\n| connections | ratio | median | lowest, highest |\n| --- | --- | --- | --- |");
        let mut connections: Vec<usize> = self.0.keys().map(|(count, _)| *count).collect();
        connections.dedup();
        for connections in connections {
            for (ours, theirs) in pairs {
                let Some(mut each) = self.ratios(connections, ours, theirs) else {
                    continue;
                };
                let middle = median(&mut each);
                let (lowest, highest) = (
                    each.first().copied().unwrap_or_default(),
                    each.last().copied().unwrap_or_default(),
                );
                println!(
                    "| {connections} | {ours} / {theirs} | {middle:.1} | {lowest:.1}, {highest:.1} |"
                );
            }
        }
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

//! The figures: which bars they pass, and how they are printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum as _;
use serde_json::{Value, json};

use crate::attacks::Attack;
use crate::probes::{Observed, Probe, Samples};

/// The second's p99 must stay below this, in milliseconds.
const SLOWEST: f64 = 500.0;
/// The second's p99 must stay below so many times what it is beside harmless calls.
const TIMES: f64 = 5.0;
/// The service's memory must stay below this, in MiB.
const MEMORY: f64 = 256.0;

/// What one attack did to the second.
#[derive(Debug)]
pub struct Outcome {
    pub attack: Attack,
    pub observed: Observed,
    /// What the second gets while the third makes as many harmless calls.
    pub baseline: Option<Observed>,
    /// The service's largest resident memory in MiB. `None` if the process ended.
    pub peak: Option<f64>,
    /// The polls of `/readyz`.
    pub polls: u64,
    /// Those that were not answered with 200.
    pub not_ready: BTreeMap<String, u64>,
    /// What the first got.
    pub first: BTreeMap<String, u64>,
    pub calls_per_second: f64,
    /// The connections that the first wanted to hold open.
    pub held: u64,
    /// How far the sequence of account numbers moved.
    pub drawn: i64,
}

#[derive(Debug)]
pub struct Report {
    pub seconds: u64,
    pub rate: u32,
    pub is_functional: bool,
    pub quiet: Observed,
    pub outcomes: Vec<Outcome>,
}

/// The name of an attack, as on the command line.
pub fn name(attack: Attack) -> String {
    attack
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| {
        if value < 100.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        }
    })
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{count} x {what}"))
        .collect();
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(", ")
    }
}

impl Outcome {
    fn samples(&self, probe: Probe) -> Option<&Samples> {
        self.observed.get(&probe)
    }

    fn percentile(&self, probe: Probe, percent: usize) -> Option<f64> {
        self.samples(probe)?.percentile(percent)
    }

    fn baseline(&self, probe: Probe) -> Option<f64> {
        self.baseline.as_ref()?.get(&probe)?.percentile(99)
    }

    /// The p99 as a multiple of the one beside harmless calls.
    fn ratio(&self, probe: Probe) -> Option<f64> {
        Some(self.percentile(probe, 99)? / self.baseline(probe)?)
    }

    /// The errors of the second, over all probes.
    fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors = BTreeMap::new();
        for (what, count) in self.observed.values().flat_map(|samples| &samples.errors) {
            *errors.entry(what.clone()).or_default() += count;
        }
        errors
    }

    /// The bars that it fails.
    fn failures(&self, is_functional: bool) -> Vec<String> {
        let mut failures = Vec::new();
        for probe in Probe::ALL {
            let name = probe.name();
            let samples = self.samples(probe);
            let errors = samples.map(|samples| samples.errors.clone());
            let errors = errors.unwrap_or_default();
            // On a slow machine, some events may still be on their way when the measurement ends.
            let missing = errors.get("missing").copied().unwrap_or_default();
            let is_starved = samples.is_some_and(Samples::is_starved);
            let others = errors.keys().any(|what| what != "missing");
            if others || is_starved || (missing > 0 && !is_functional) {
                failures.push(format!("{name}: {}", counts(&errors)));
            }
            if is_functional {
                continue;
            }
            match self.percentile(probe, 99) {
                None => failures.push(format!("{name}: no answer")),
                Some(p99) if p99 >= SLOWEST => failures.push(format!("{name}: p99 {p99:.0} ms")),
                Some(_) => {}
            }
            if let Some(ratio) = self.ratio(probe).filter(|ratio| *ratio >= TIMES) {
                failures.push(format!("{name}: {ratio:.1} times"));
            }
        }
        match self.peak {
            None => failures.push("the service ended".to_owned()),
            Some(peak) if peak >= MEMORY => failures.push(format!("memory: {peak:.0} MiB")),
            Some(_) => {}
        }
        if !self.not_ready.is_empty() {
            failures.push(format!("readyz: {}", counts(&self.not_ready)));
        }
        failures
    }

    fn verdict(&self, is_functional: bool) -> String {
        let failures = self.failures(is_functional);
        if failures.is_empty() {
            "PASS".to_owned()
        } else {
            format!("FAIL: {}", failures.join("; "))
        }
    }

    /// One line for the terminal.
    pub fn summary(&self, is_functional: bool) -> String {
        self.verdict(is_functional)
    }

    /// What the first did and got, in words.
    fn first(&self) -> String {
        let mut text = format!(
            "{:.0} calls/s: {}",
            self.calls_per_second,
            counts(&self.first)
        );
        if self.attack == Attack::RefusedCreations {
            let _infallible = write!(text, "; account numbers used up: {}", self.drawn);
        }
        text
    }

    fn json(&self, is_functional: bool) -> Value {
        let probes: serde_json::Map<_, _> = Probe::ALL
            .into_iter()
            .map(|probe| {
                let samples = self.samples(probe);
                let value = json!({
                    "samples": samples.map(|samples| samples.latencies.len()),
                    "p50_ms": self.percentile(probe, 50),
                    "p99_ms": self.percentile(probe, 99),
                    "p99_ms_beside_harmless": self.baseline(probe),
                    "ratio": self.ratio(probe),
                    "errors": samples.map(|samples| &samples.errors),
                });
                (probe.name().to_owned(), value)
            })
            .collect();
        json!({
            "scenario": name(self.attack),
            "second": probes,
            "memory_mib": self.peak,
            "readyz": { "polls": self.polls, "failures": self.not_ready },
            "first": self.first,
            "calls_per_second": self.calls_per_second,
            "account_numbers_used_up": self.drawn,
            "failures": self.failures(is_functional),
        })
    }
}

impl Report {
    pub fn is_passed(&self) -> bool {
        self.outcomes
            .iter()
            .all(|outcome| outcome.failures(self.is_functional).is_empty())
    }

    fn quiet(&self, probe: Probe, percent: usize) -> Option<f64> {
        self.quiet.get(&probe)?.percentile(percent)
    }

    fn heading(&self) -> String {
        format!(
            "{} s a measurement, {} calls of each kind a second; milliseconds.\n",
            self.seconds, self.rate
        )
    }

    /// A table for each scenario.
    pub fn details(&self) -> String {
        let mut text = self.heading();
        for outcome in &self.outcomes {
            let _infallible = write!(
                text,
                "\n## {}\n\n| the second's | quiet p50 | p99 | beside harmless p99 | p50 | p99 | times | errors |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
                name(outcome.attack)
            );
            for probe in Probe::ALL {
                let errors = outcome
                    .samples(probe)
                    .map(|samples| counts(&samples.errors));
                let _infallible = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} | {} |",
                    probe.name(),
                    milliseconds(self.quiet(probe, 50)),
                    milliseconds(self.quiet(probe, 99)),
                    milliseconds(outcome.baseline(probe)),
                    milliseconds(outcome.percentile(probe, 50)),
                    milliseconds(outcome.percentile(probe, 99)),
                    milliseconds(outcome.ratio(probe)),
                    errors.unwrap_or_default(),
                );
            }
            let _infallible = write!(
                text,
                "\n- memory at most {} MiB; {} polls of /readyz, failures: {}\n- the first: {}\n- {}\n",
                outcome
                    .peak
                    .map_or("?".to_owned(), |peak| format!("{peak:.0}")),
                outcome.polls,
                counts(&outcome.not_ready),
                outcome.first(),
                outcome.verdict(self.is_functional),
            );
        }
        text
    }

    /// One table: a row for each scenario.
    pub fn markdown(&self) -> String {
        let mut text = self.heading();
        let names: Vec<_> = Probe::ALL.into_iter().map(Probe::name).collect();
        let _infallible = write!(
            text,
            "\n| the first | {} | errors of the second | memory MiB | readyz failures | result |\n| --- |{} --- | --- | --- | --- |\n",
            names.join(" | "),
            " --- |".repeat(names.len()),
        );
        let quiet: Vec<_> = Probe::ALL
            .into_iter()
            .map(|probe| {
                format!(
                    "{} / {}",
                    milliseconds(self.quiet(probe, 50)),
                    milliseconds(self.quiet(probe, 99))
                )
            })
            .collect();
        let _infallible = writeln!(text, "| quiet | {} | | | | |", quiet.join(" | "));
        for outcome in &self.outcomes {
            let figures: Vec<_> = Probe::ALL
                .into_iter()
                .map(|probe| {
                    let ratio = outcome.ratio(probe);
                    format!(
                        "{} / {}{}",
                        milliseconds(outcome.percentile(probe, 50)),
                        milliseconds(outcome.percentile(probe, 99)),
                        ratio.map_or(String::new(), |ratio| format!(" ({ratio:.1}x)"))
                    )
                })
                .collect();
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                name(outcome.attack),
                figures.join(" | "),
                counts(&outcome.errors()),
                outcome
                    .peak
                    .map_or("?".to_owned(), |peak| format!("{peak:.0}")),
                counts(&outcome.not_ready),
                if outcome.failures(self.is_functional).is_empty() {
                    "pass"
                } else {
                    "fail"
                },
            );
        }
        text.push_str("\nWhat the first did and got:\n\n");
        for outcome in &self.outcomes {
            let _infallible = writeln!(text, "- {}: {}", name(outcome.attack), outcome.first());
        }
        text
    }

    pub fn json(&self) -> Value {
        let quiet: serde_json::Map<_, _> = Probe::ALL
            .into_iter()
            .map(|probe| {
                let value = json!({
                    "p50_ms": self.quiet(probe, 50),
                    "p99_ms": self.quiet(probe, 99),
                    "errors": self.quiet.get(&probe).map(|samples| &samples.errors),
                });
                (probe.name().to_owned(), value)
            })
            .collect();
        let outcomes = self.outcomes.iter();
        json!({
            "seconds": self.seconds,
            "calls_per_second": self.rate,
            "quiet": quiet,
            "scenarios": outcomes.map(|outcome| outcome.json(self.is_functional)).collect::<Vec<_>>(),
        })
    }
}

//! The bars of the service's speed, and how far one run meets them.

use crate::sample::{Sample, Samples};
use crate::yardstick::{PLAIN, PeerKind, READ, SAME_WORK};
use crate::{FREEZE, GET, LIST, Memory};

/// `None` is not measured, or there is no such bar.
#[derive(Clone, Copy)]
struct Figure {
    must: Option<f64>,
    stretch: Option<f64>,
    now: Option<f64>,
}

/// A bar with one or several figures.
struct Bar {
    name: &'static str,
    figures: Vec<Figure>,
    /// How many digits the figures have after the point.
    digits: usize,
    /// Whether more is better.
    is_floor: bool,
}

impl Bar {
    fn row(&self) -> String {
        let join = |cell: &dyn Fn(Figure) -> String| {
            let cells: Vec<String> = self.figures.iter().copied().map(cell).collect();
            cells.join(" / ")
        };
        let show = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |it| format!("{it:.*}", self.digits))
        };
        let now = |figure: Figure| {
            let is_missed = figure.must.zip(figure.now).is_some_and(|(must, now)| {
                if self.is_floor {
                    now < must
                } else {
                    now > must
                }
            });
            let mark = if is_missed { "**" } else { "" };
            format!("{mark}{}{mark}", show(figure.now))
        };
        format!(
            "| {} | {} | {} | {} |",
            self.name,
            join(&|it| show(it.must)),
            join(&|it| show(it.stretch)),
            join(&now)
        )
    }
}

/// What the bars need besides the samples.
pub struct Extra {
    /// WAL bytes of a change without full-page images.
    pub wal: Option<f64>,
    pub memory: Option<Memory>,
}

/// Prints every bar with what this run measured. What misses its must is bold.
pub fn print(samples: &Samples, extra: &Extra) {
    println!("\n| bar | must | stretch | now |\n| --- | --- | --- | --- |");
    for bar in bars_of_writes(samples, extra)
        .into_iter()
        .chain(bars_of_reads(samples, extra))
    {
        println!("{}", bar.row());
    }
    println!(
        "| 10 M accounts, lists with totals; text search; exact e-mail | | | cargo bench --bench scale |"
    );
}

fn ratios(
    samples: &Samples,
    (ours, theirs): (&'static str, &'static str),
    bars: &[(usize, Option<f64>, Option<f64>)],
) -> Vec<Figure> {
    bars.iter()
        .map(|(connections, must, stretch)| Figure {
            must: *must,
            stretch: *stretch,
            now: samples.ratio(*connections, ours, theirs),
        })
        .collect()
}

fn figure(must: f64, stretch: impl Into<Option<f64>>, now: Option<f64>) -> Figure {
    Figure {
        must: Some(must),
        stretch: stretch.into(),
        now,
    }
}

fn bars_of_writes(samples: &Samples, extra: &Extra) -> Vec<Bar> {
    let of = |connections, value: fn(&Sample) -> f64| samples.median(connections, FREEZE, value);
    let p99 = |it: &Sample| f64::from(it.p99) / 1e3;
    let open: [_; 4] = [1, 8, 32, 128].map(|connections| (connections, None, None));
    vec![
        Bar {
            name: "writes against the Fastify peer at 1 / 8 / 32 / 128",
            figures: ratios(
                samples,
                (FREEZE, PeerKind::Simple.name()),
                &[
                    (1, Some(0.9), Some(1.0)),
                    (8, Some(1.1), Some(1.3)),
                    (32, Some(1.7), Some(2.0)),
                    (128, Some(2.7), Some(3.5)),
                ],
            ),
            digits: 2,
            is_floor: true,
        },
        Bar {
            name: "writes against pgbench plain at 32 / 128 / 512",
            figures: ratios(
                samples,
                (FREEZE, PLAIN.name),
                &[
                    (32, Some(1.7), Some(2.1)),
                    (128, Some(3.5), Some(4.0)),
                    (512, Some(10.0), Some(12.0)),
                ],
            ),
            digits: 2,
            is_floor: true,
        },
        Bar {
            name: "writes against a Fastify peer that does the same work at 1 / 8 / 32 / 128",
            figures: ratios(samples, (FREEZE, PeerKind::Same.name()), &open),
            digits: 2,
            is_floor: true,
        },
        Bar {
            name: "writes against pgbench with the same work at 1 / 8 / 32 / 128",
            figures: ratios(samples, (FREEZE, SAME_WORK.name), &open),
            digits: 2,
            is_floor: true,
        },
        Bar {
            name: "PostgreSQL us a change at 128",
            figures: vec![figure(40.0, 32.0, of(128, |it| it.database))],
            digits: 1,
            is_floor: false,
        },
        Bar {
            name: "WAL bytes a change at 128, without full-page images",
            figures: vec![figure(850.0, 700.0, extra.wal)],
            digits: 0,
            is_floor: false,
        },
        Bar {
            name: "service us a write at 128 / at 1",
            figures: vec![
                figure(27.0, 20.0, of(128, |it| it.service)),
                figure(280.0, 200.0, of(1, |it| it.service)),
            ],
            digits: 1,
            is_floor: false,
        },
        Bar {
            name: "p99 of writes at 32 / 128, ms",
            figures: vec![
                figure(3.5, 3.0, of(32, p99)),
                figure(11.0, 8.0, of(128, p99)),
            ],
            digits: 1,
            is_floor: false,
        },
    ]
}

fn bars_of_reads(samples: &Samples, extra: &Extra) -> Vec<Bar> {
    let page = |value: fn(&Sample) -> f64| samples.median(32, LIST, value);
    let memory = |value: fn(&Memory) -> f64| extra.memory.as_ref().map(value);
    vec![
        Bar {
            name: "reads by id against pgbench by key, 32 / 128",
            figures: ratios(
                samples,
                (GET, READ.name),
                &[(32, Some(0.65), Some(0.8)), (128, Some(0.95), Some(1.1))],
            ),
            digits: 2,
            is_floor: true,
        },
        Bar {
            name: "page of 50 at 32: us of PostgreSQL / of the service",
            figures: vec![
                figure(200.0, 120.0, page(|it| it.database)),
                figure(150.0, 100.0, page(|it| it.service)),
            ],
            digits: 0,
            is_floor: false,
        },
        Bar {
            name: "page of 50 at 32: pages a second",
            figures: vec![figure(4500.0, None, page(|it| it.rate))],
            digits: 0,
            is_floor: true,
        },
        Bar {
            name: "memory, MiB: idle / with 512 connections",
            figures: vec![
                figure(22.0, None, memory(|it| it.idle)),
                figure(50.0, None, memory(|it| it.busy)),
            ],
            digits: 0,
            is_floor: false,
        },
        Bar {
            name: "start on existing data, s",
            figures: vec![figure(0.04, None, memory(|it| it.start))],
            digits: 2,
            is_floor: false,
        },
    ]
}

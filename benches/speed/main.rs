//! The speed of the service compared with hand-written code on the same PostgreSQL:
//! `cargo bench --bench speed`.
//!
//! Starts its own PostgreSQL with durability on and loads the same accounts into two databases, one
//! for the service and one for the yardsticks it is compared with. They take turns in one run, over
//! several rounds. Compare the ratios rather than the absolute figures, because everything shares
//! the machine. `cargo bench --bench speed -- --help` lists the options.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "the figures are printed for people"
)]
#![expect(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod driver;
mod machine;
mod world;
mod yardstick;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use driver::{Accounts, Kind, Target, drive};
use world::{Serving, World};
use yardstick::{CTE, PLAIN, Peer, READ, pgbench};

type Failure = Box<dyn std::error::Error>;

/// Measures the service, pgbench and, with --peer, a Fastify service.
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a command-line switch"
)]
struct Options {
    /// The number of accounts.
    #[arg(long, default_value_t = 1_000_000)]
    accounts: u64,
    /// The number of resellers that own them.
    #[arg(long, default_value_t = 10_000)]
    resellers: u64,
    /// The number of rounds. In each round everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The duration of one measurement in seconds, after one second of warm-up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// The numbers of connections to measure with, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    connections: Vec<usize>,
    /// What to measure: writes, status, reads, lists, memory, bloat.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "writes,status,reads,lists,memory,bloat"
    )]
    what: Vec<String>,
    /// Also measure a Fastify service, which needs packages from npm.
    #[arg(long)]
    peer: bool,
    /// Add a millisecond to every fdatasync, as on cloud disks. Needs a C compiler.
    #[arg(long)]
    slow_disk: bool,
    /// The folder for the database while it is measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Measure only the service, for use with a profiler.
    #[arg(long)]
    alone: bool,
    /// Cargo passes this option; it is ignored.
    #[arg(long, hide = true)]
    bench: bool,
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
}

impl Sample {
    #[must_use]
    pub fn new(
        mut latencies: Vec<u32>,
        elapsed: Duration,
        service: f64,
        database: f64,
        driver: f64,
    ) -> Self {
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            latencies
                .get(latencies.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        let count = latencies.len().max(1) as f64;
        let per_request = |seconds: f64| seconds * 1e6 / count;
        Self {
            rate: count / elapsed.as_secs_f64(),
            p50: percentile(50),
            p99: percentile(99),
            service: per_request(service),
            database: per_request(database),
            driver: per_request(driver),
        }
    }
}

/// All measurements, by number of connections and name.
type Samples = BTreeMap<(usize, &'static str), Vec<Sample>>;

const FREEZE: &str = "steward, freeze and unfreeze";
const STATUS: &str = "steward, status";
const GET: &str = "steward, account by id";
const LIST: &str = "steward, page of 50 accounts";
const PEER: &str = "Fastify and pg, one CTE";

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.slow_disk && std::env::var_os("LD_PRELOAD").is_none() {
        return with_slow_disk();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let world = runtime.block_on(async {
        let world = World::make(
            options.accounts,
            options.resellers,
            &format!("(n - 1) % {} + 1", options.resellers),
            options.folder.as_deref(),
        )
        .await?;
        if !options.alone {
            world
                .load_yardstick(options.accounts, options.resellers)
                .await?;
        }
        Ok::<_, Failure>(world)
    })?;
    let measured = measure(&options, &world, &runtime);
    runtime.block_on(world.cluster.stop());
    measured
}

/// Runs this program again with a preloaded fdatasync that takes a millisecond longer.
fn with_slow_disk() -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("steward-slow-disk-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()?;
    let (source, library) = (
        folder.path().join("slow_disk.c"),
        folder.path().join("slow_disk.so"),
    );
    std::fs::write(&source, include_str!("slow_disk.c"))?;
    let compiled = std::process::Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()?;
    if !compiled.success() {
        return Err("the C compiler failed".into());
    }
    let again = std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("LD_PRELOAD", &library)
        .status()?;
    if again.success() {
        Ok(())
    } else {
        Err("the run with the slow disk failed; its error is above".into())
    }
}

fn measure(
    options: &Options,
    world: &World,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    let wants = |what: &str| options.what.iter().any(|wanted| wanted == what);
    let serving = world.serve(&[])?;
    let peer = options.peer.then(|| Peer::start(world)).transpose()?;
    let mut accounts = Accounts::new(options.accounts, world.tokens.clone());
    let mut samples = Samples::new();
    let (warm_up, measured) = (Duration::from_secs(1), Duration::from_secs(options.seconds));
    let target = Target {
        address: serving.address,
        service: serving.pid(),
        database: world.database_pid(),
    };
    for round in 0..options.rounds {
        for &connections in &options.connections {
            let mut record = |name: &'static str, sample: Sample| {
                eprintln!(
                    "round {round}, {connections:>3} connections, {name:<30} {:>8.0}/s, p99 {:>6.2} ms",
                    sample.rate,
                    f64::from(sample.p99) / 1e3
                );
                samples.entry((connections, name)).or_default().push(sample);
            };
            let mut ours =
                |kind| drive(&target, kind, &mut accounts, connections, warm_up, measured);
            let with_pgbench = |script| {
                pgbench(
                    world,
                    script,
                    options.accounts,
                    options.resellers,
                    connections,
                    measured,
                )
            };
            if wants("writes") {
                record(FREEZE, ours(Kind::Freeze)?);
                if !options.alone {
                    record(PLAIN.name, with_pgbench(&PLAIN)?);
                    record(CTE.name, with_pgbench(&CTE)?);
                }
            }
            if let Some(peer) = &peer {
                let sample = drive_peer(options, world, peer, connections, warm_up, measured)?;
                record(PEER, sample);
            }
            if wants("status") {
                record(STATUS, ours(Kind::Status)?);
            }
            if wants("reads") {
                record(GET, ours(Kind::Read)?);
                if !options.alone {
                    record(READ.name, with_pgbench(&READ)?);
                }
            }
            if wants("lists") {
                record(LIST, ours(Kind::List)?);
            }
        }
    }
    report(options, world, &samples)?;
    drop((serving, peer));
    if wants("memory") {
        memory(world, &mut accounts)?;
    }
    if wants("bloat") {
        bloat(world, &mut accounts, runtime)?;
    }
    Ok(())
}

/// Sends freeze calls to the Fastify service.
fn drive_peer(
    options: &Options,
    world: &World,
    peer: &Peer,
    connections: usize,
    warm_up: Duration,
    measured: Duration,
) -> Result<Sample, Failure> {
    let target = Target {
        address: peer.address,
        service: peer.pid(),
        database: world.database_pid(),
    };
    let no_tokens = vec![String::new(); usize::try_from(options.resellers)?];
    let mut accounts = Accounts::new(options.accounts, no_tokens);
    drive(
        &target,
        Kind::Peer,
        &mut accounts,
        connections,
        warm_up,
        measured,
    )
}

/// Prints the machine, the settings, all figures and the ratios.
fn report(options: &Options, world: &World, samples: &Samples) -> Result<(), Failure> {
    println!(
        "{}, PostgreSQL {}, durability on{}",
        machine::shape(),
        version(world)?,
        if options.slow_disk {
            ", 1 ms added to every fdatasync"
        } else {
            ""
        }
    );
    println!(
        "{} accounts of {} resellers; medians of {} rounds of {} s in turn\n",
        options.accounts, options.resellers, options.rounds, options.seconds
    );
    table(samples);
    ratios(samples);
    Ok(())
}

/// How much the tables grow by a million changes, and the share of heap-only updates.
fn bloat(
    world: &World,
    accounts: &mut Accounts,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    const CHANGES: f64 = 1e6;
    let before = runtime.block_on(world.sizes())?;
    let serving = world.serve(&[])?;
    let target = Target {
        address: serving.address,
        service: serving.pid(),
        database: world.database_pid(),
    };
    let (period, mut made) = (Duration::from_secs(10), 0.0);
    while made < CHANGES {
        made += drive(&target, Kind::Freeze, accounts, 128, Duration::ZERO, period)?.rate
            * period.as_secs_f64();
    }
    drop(serving);
    let after = runtime.block_on(world.sizes())?;
    println!(
        "\n| table, {made:.0} changes | MiB before | MiB after | updates | heap-only updates |\n| --- | --- | --- | --- | --- |"
    );
    for (old, new) in before.iter().zip(&after) {
        let (updates, hot) = (new.updates - old.updates, new.hot - old.hot);
        let share = if updates > 0 {
            format!("{:.1} %", hot as f64 / updates as f64 * 100.0)
        } else {
            "-".to_owned()
        };
        println!(
            "| {} | {:.0} | {:.0} | {updates} | {share} |",
            new.table, old.mib, new.mib
        );
    }
    Ok(())
}

/// Memory use with 512 connections, and the duration of a start. Each is measured on a new process.
fn memory(world: &World, accounts: &mut Accounts) -> Result<(), Failure> {
    let mut starts = (0..5)
        .map(|_| world.serve(&[]).map(|serving| serving.took.as_secs_f64()))
        .collect::<Result<Vec<_>, _>>()?;
    let serving: Serving = world.serve(&[])?;
    let (idle, _) = machine::memory(serving.pid());
    let target = Target {
        address: serving.address,
        service: serving.pid(),
        database: world.database_pid(),
    };
    let sample = drive(
        &target,
        Kind::Freeze,
        accounts,
        512,
        Duration::from_secs(1),
        Duration::from_secs(5),
    )?;
    let (now, highest) = machine::memory(serving.pid());
    println!(
        "\n- memory: {idle:.0} MiB idle, {now:.0} MiB with 512 connections (peak {highest:.0} MiB) at {:.0} writes/s",
        sample.rate
    );
    println!(
        "- from start to ready, with existing data: {:.3} s",
        median(&mut starts)
    );
    Ok(())
}

fn table(samples: &Samples) {
    println!(
        "| connections | | per second | p50 ms | p99 ms | CPU us: service | database | driver |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for ((connections, name), samples) in samples {
        let median_of =
            |value: fn(&Sample) -> f64| median(&mut samples.iter().map(value).collect::<Vec<_>>());
        println!(
            "| {connections} | {name} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} |",
            median_of(|it| it.rate),
            median_of(|it| f64::from(it.p50) / 1e3),
            median_of(|it| f64::from(it.p99) / 1e3),
            median_of(|it| it.service),
            median_of(|it| it.database),
            median_of(|it| it.driver)
        );
    }
}

/// The ratio of the rates within each round, and the median of these ratios.
fn ratios(samples: &Samples) {
    println!("\n| connections | ratio | median | lowest, highest |\n| --- | --- | --- | --- |");
    let pairs = [
        (FREEZE, PLAIN.name),
        (FREEZE, CTE.name),
        (FREEZE, PEER),
        (GET, READ.name),
    ];
    let mut connections: Vec<usize> = samples
        .keys()
        .map(|(connections, _)| *connections)
        .collect();
    connections.dedup();
    for connections in connections {
        for (ours, theirs) in pairs {
            let (Some(our_samples), Some(their_samples)) = (
                samples.get(&(connections, ours)),
                samples.get(&(connections, theirs)),
            ) else {
                continue;
            };
            let mut each: Vec<f64> = our_samples
                .iter()
                .zip(their_samples)
                .map(|(ours, theirs)| ours.rate / theirs.rate)
                .collect();
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

fn version(world: &World) -> Result<String, Failure> {
    let data = std::fs::read_dir(world.folder.path().join("postgres"))?
        .flatten()
        .find_map(|entry| std::fs::read_to_string(entry.path().join("PG_VERSION")).ok());
    Ok(data.unwrap_or_default().trim().to_owned())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

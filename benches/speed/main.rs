//! The speed of the service compared with hand-written code on the same PostgreSQL:
//! `cargo bench --bench speed`.
//!
//! Starts its own PostgreSQL with durability on and loads the same accounts into three databases: of
//! the service, of simple hand-written code, and of hand-written code that does the same work as
//! the service. They take turns in one run, over
//! several rounds. Compare the ratios rather than the absolute figures, because everything shares
//! the machine. `cargo bench --bench speed -- --help` lists the options.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "the figures are printed for people"
)]
#![expect(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod bars;
mod driver;
mod growth;
mod machine;
mod sample;
mod server;
#[expect(dead_code, reason = "benches/scale.rs uses the rest of it")]
mod world;
mod yardstick;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;

use driver::{Accounts, Kind, Target, drive};
use sample::{Sample, Samples, median};
use server::Server;
use world::{Serving, World};
use yardstick::{
    CTE, FROZEN, OPERATOR, PAGE, PLAIN, Peer, PeerKind, READ, SAME_WORK, Script, pgbench,
};

type Failure = Box<dyn std::error::Error>;

/// Measures the service, pgbench and, with --peer, a Fastify service.
#[derive(Debug, Parser)]
struct Options {
    /// The number of accounts.
    #[arg(long, default_value_t = 1_000_000)]
    accounts: u64,
    /// The number of resellers that own them.
    #[arg(long, default_value_t = 10_000)]
    resellers: u64,
    /// One of how many accounts is frozen at first. Random changes make it every second one.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    frozen_every: u64,
    /// The number of rounds. In each round everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The duration of one measurement in seconds, after one second of warm-up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// The numbers of connections to measure with, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    connections: Vec<usize>,
    /// What to measure: writes, status, reads, pages (of accounts), lists (pages, and frozen
    /// accounts), wal (bytes a change), memory, bloat; all; bars (what the table of the bars needs,
    /// which it prints).
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "writes,status,reads,lists,memory,bloat"
    )]
    what: Vec<String>,
    /// Also measure a Fastify service, which needs packages from npm. `--peer` alone is the simple
    /// one; `--peer=simple,same` are both.
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "simple"
    )]
    peer: Vec<PeerKind>,
    /// How many changes the growth of the tables is measured with.
    #[arg(long, default_value_t = 1_000_000)]
    changes: u32,
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

impl Options {
    fn wants(&self, what: &str) -> bool {
        let all = |wanted: &str| wanted == what || wanted == "all";
        let of_bars = ["writes", "reads", "pages", "wal", "memory"];
        self.what.iter().any(|wanted| {
            all(wanted)
                || (wanted == "bars" && of_bars.contains(&what))
                || (wanted == "lists" && what == "pages")
        })
    }
}

const FREEZE: &str = "steward, freeze and unfreeze";
const STATUS: &str = "steward, status";
const GET: &str = "steward, account by id";
const LIST: &str = "steward, page of 50 accounts";
const LIST_BY_OPERATOR: &str = "steward, page of 50 by operator";
const LIST_FROZEN: &str = "steward, list of frozen accounts";

/// The names whose rates are compared.
const PAIRS: [(&str, &str); 9] = [
    (FREEZE, PLAIN.name),
    (FREEZE, CTE.name),
    (FREEZE, SAME_WORK.name),
    (FREEZE, PeerKind::Simple.name()),
    (FREEZE, PeerKind::Same.name()),
    (GET, READ.name),
    (LIST, PAGE.name),
    (LIST_BY_OPERATOR, OPERATOR.name),
    (LIST_FROZEN, FROZEN.name),
];

/// A bar of writes has this many connections. Only writes are measured with them, because reads
/// have no such bar.
const MANY: usize = 512;

/// What is measured in one turn.
enum Lane<'a> {
    Service(&'static str, Kind),
    Pgbench(&'static Script),
    Peer(&'a Peer),
}

impl Lane<'_> {
    fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Service(_, Kind::List | Kind::Operator | Kind::Frozen)
        )
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Service(name, _) => name,
            Self::Pgbench(script) => script.name,
            Self::Peer(peer) => peer.kind.name(),
        }
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.slow_disk && std::env::var_os("LD_PRELOAD").is_none() {
        return with_slow_disk();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let world = runtime.block_on(async {
        let world = World::with_frozen(
            options.accounts,
            options.resellers,
            options.frozen_every,
            options.folder.as_deref(),
        )
        .await?;
        if !options.alone {
            world
                .load_yardsticks(options.accounts, options.resellers, options.frozen_every)
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

fn measure(options: &Options, world: &World, runtime: &Runtime) -> Result<(), Failure> {
    let server = Server::connect(world, runtime)?;
    let every = usize::try_from(options.frozen_every)?;
    let mut bench = Bench {
        options,
        world,
        server: &server,
        accounts: Accounts::new(
            options.accounts,
            world.tokens.clone(),
            world.operator.clone(),
            every,
        ),
        peer_accounts: Accounts::new(
            options.accounts,
            vec![String::new(); usize::try_from(options.resellers)?],
            String::new(),
            every,
        ),
        serving: world.serve(&[])?,
    };
    let peers = if options.wants("writes") {
        let kinds = options.peer.iter();
        kinds
            .map(|kind| Peer::start(world, *kind))
            .collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    let mut samples = Samples::default();
    let measured = bench.measure_in_turns(&lanes(options, &peers), &mut samples);
    drop(peers);
    // Also what was measured before an error.
    report(options, world, &samples)?;
    measured?;
    let wal = if options.wants("wal") {
        bench.measure_wal()?
    } else {
        None
    };
    let Bench {
        mut accounts,
        serving,
        ..
    } = bench;
    drop(serving);
    let memory = options
        .wants("memory")
        .then(|| memory(world, &server, &mut accounts))
        .transpose()?;
    if options.wants("bloat") {
        growth::growth(world, &server, &mut accounts, options.changes)?;
    }
    if options.what.iter().any(|what| what == "bars") {
        bars::print(&samples, &bars::Extra { wal, memory });
    }
    Ok(())
}

/// What takes turns.
fn lanes<'a>(options: &Options, peers: &'a [Peer]) -> Vec<Lane<'a>> {
    let mut lanes = Vec::new();
    if options.wants("writes") {
        lanes.push(Lane::Service(FREEZE, Kind::Freeze));
        lanes.extend([&PLAIN, &CTE, &SAME_WORK].map(Lane::Pgbench));
        lanes.extend(peers.iter().map(Lane::Peer));
    }
    if options.wants("status") {
        lanes.push(Lane::Service(STATUS, Kind::Status));
    }
    if options.wants("reads") {
        lanes.push(Lane::Service(GET, Kind::Read));
        lanes.push(Lane::Pgbench(&READ));
    }
    if options.wants("pages") {
        lanes.push(Lane::Service(LIST, Kind::List));
        lanes.push(Lane::Pgbench(&PAGE));
        lanes.push(Lane::Service(LIST_BY_OPERATOR, Kind::Operator));
        lanes.push(Lane::Pgbench(&OPERATOR));
    }
    if options.wants("lists") {
        lanes.push(Lane::Service(LIST_FROZEN, Kind::Frozen));
        lanes.push(Lane::Pgbench(&FROZEN));
    }
    if options.alone {
        lanes.retain(|lane| matches!(lane, Lane::Service(..)));
    }
    lanes
}

/// The service and what it is compared with.
struct Bench<'a> {
    options: &'a Options,
    world: &'a World,
    server: &'a Server<'a>,
    accounts: Accounts,
    /// The same for the Fastify services.
    peer_accounts: Accounts,
    serving: Serving,
}

impl Bench<'_> {
    fn measure_in_turns(
        &mut self,
        lanes: &[Lane<'_>],
        samples: &mut Samples,
    ) -> Result<(), Failure> {
        let bars = self.options.what.iter().any(|what| what == "bars");
        let is_extra = bars && !self.options.connections.contains(&MANY);
        let mut turns = self.options.connections.clone();
        turns.extend(is_extra.then_some(MANY));
        for round in 0..self.options.rounds {
            for &connections in &turns {
                for lane in lanes {
                    let name = lane.name();
                    if is_extra && connections == MANY && ![FREEZE, PLAIN.name].contains(&name) {
                        continue;
                    }
                    let sample = match self.measure_lane(lane, connections) {
                        Ok(sample) => sample,
                        // A list may be too slow for so many connections.
                        Err(error) if lane.is_list() => {
                            eprintln!(
                                "round {round}, {connections:>3} connections, {name}: {error}"
                            );
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    eprintln!(
                        "round {round}, {connections:>3} connections, {name:<34} {:>8.0}/s, p99 {:>6.2} ms",
                        sample.rate,
                        f64::from(sample.p99) / 1e3
                    );
                    samples.add(connections, name, sample);
                }
            }
        }
        Ok(())
    }

    fn measure_lane(&mut self, lane: &Lane<'_>, connections: usize) -> Result<Sample, Failure> {
        // So many clients of pgbench need seconds for their first transactions.
        let least = if connections < MANY { 0 } else { 5 };
        let measured = Duration::from_secs(self.options.seconds.max(least));
        let (kind, address, service, accounts) = match lane {
            Lane::Pgbench(script) => {
                return pgbench(
                    self.world,
                    self.server,
                    script,
                    (self.options.accounts, self.options.resellers),
                    connections,
                    measured,
                );
            }
            Lane::Service(_, kind) => (
                *kind,
                self.serving.address,
                self.serving.pid(),
                &mut self.accounts,
            ),
            Lane::Peer(peer) => (
                Kind::Peer,
                peer.address,
                peer.pid(),
                &mut self.peer_accounts,
            ),
        };
        let target = Target {
            address,
            service,
            database: self.server,
        };
        let warm_up = Duration::from_secs(1);
        drive(&target, kind, accounts, connections, warm_up, measured)
    }

    /// Prints the WAL bytes of a change without full-page images, whose number depends on the last
    /// checkpoint. Returns those of the service.
    fn measure_wal(&mut self) -> Result<Option<f64>, Failure> {
        const CONNECTIONS: usize = 128;
        let mut lanes = vec![Lane::Service(FREEZE, Kind::Freeze)];
        if !self.options.alone {
            lanes.extend([&PLAIN, &CTE, &SAME_WORK].map(Lane::Pgbench));
        }
        println!(
            "\n| WAL bytes a change at {CONNECTIONS} connections, without full-page images | |\n| --- | --- |"
        );
        let mut of_service = None;
        for lane in &lanes {
            // The server keeps the WAL from here on until the next checkpoint has ended.
            self.server.run("checkpoint")?;
            let sample = self.measure_lane(lane, CONNECTIONS)?;
            match self.server.wal_records(sample.wal_range) {
                Ok(bytes) => {
                    let bytes = bytes / sample.requests;
                    println!("| {} | {bytes:.0} |", lane.name());
                    if matches!(lane, Lane::Service(..)) {
                        of_service = Some(bytes);
                    }
                }
                Err(error) => eprintln!("{}: {error}", lane.name()),
            }
        }
        Ok(of_service)
    }
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
    samples.print();
    samples.print_ratios(&PAIRS);
    Ok(())
}

/// The memory of the service in MiB, and the seconds from its start until it is ready.
pub struct Memory {
    pub idle: f64,
    /// With 512 connections.
    pub busy: f64,
    pub start: f64,
}

/// Memory use with 512 connections, and the duration of a start. Each is measured on a new process.
fn memory(world: &World, server: &Server<'_>, accounts: &mut Accounts) -> Result<Memory, Failure> {
    let mut starts = (0..5)
        .map(|_| world.serve(&[]).map(|serving| serving.took.as_secs_f64()))
        .collect::<Result<Vec<_>, _>>()?;
    let serving: Serving = world.serve(&[])?;
    let (idle, _) = machine::memory(serving.pid());
    let target = Target {
        address: serving.address,
        service: serving.pid(),
        database: server,
    };
    let sample = drive(
        &target,
        Kind::Freeze,
        accounts,
        512,
        Duration::from_secs(1),
        Duration::from_secs(5),
    )?;
    let (busy, highest) = machine::memory(serving.pid());
    println!(
        "\n- memory: {idle:.0} MiB idle, {busy:.0} MiB with 512 connections (peak {highest:.0} MiB) at {:.0} writes/s",
        sample.rate
    );
    let start = median(&mut starts);
    println!("- from start to ready, with existing data: {start:.3} s");
    Ok(Memory { idle, busy, start })
}

fn version(world: &World) -> Result<String, Failure> {
    let data = std::fs::read_dir(world.folder.path().join("postgres"))?
        .flatten()
        .find_map(|entry| std::fs::read_to_string(entry.path().join("PG_VERSION")).ok());
    Ok(data.unwrap_or_default().trim().to_owned())
}

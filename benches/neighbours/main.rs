//! What one reseller can do to another: `cargo bench --bench neighbours`.
//!
//! Starts its own PostgreSQL with durability on and the service as a separate process. The first
//! reseller is a bad neighbour. The second makes steady calls, which are measured: while all is
//! quiet, while the first does one bad thing after the other, and while the third makes as many
//! harmless calls. Each bad thing gets a fresh copy of the database and a fresh process. `cargo
//! bench --bench neighbours -- --help` lists the options.

#![expect(unreachable_pub, reason = "a program, not a library")]

mod attacks;
mod client;
mod probes;
mod receiver;
mod report;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use attacks::{Attack, Attacker, harmless};
use client::{Caller, Pacer, Tally};
use probes::{Observed, Prober, watch_readiness};
use receiver::Received;
use report::{Outcome, Report};
use world::{Serving, THIRD_FROM, World};

type Failure = Box<dyn std::error::Error>;

/// The database of the quiet measurement and of the harmless comparisons.
const CALM: &str = "calm";
/// The pause between the start of harmless calls and the measurement.
const RAMP: Duration = Duration::from_millis(500);

/// Measures what one reseller can do to another.
#[derive(Debug, Parser)]
struct Options {
    /// What the bad neighbour does, separated by commas. If absent, everything, one after the other.
    #[arg(long, value_delimiter = ',', value_name = "SCENARIO")]
    only: Vec<Attack>,
    /// The duration of one measurement in seconds.
    #[arg(long, default_value_t = 7)]
    seconds: u64,
    /// How often a second each kind of call of the second reseller is made.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// The program to measure. If absent, the one that was built with this benchmark.
    #[arg(long, alias = "url-of-binary", value_name = "PATH")]
    binary: Option<PathBuf>,
    /// The folder for the database while it is measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write all figures to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print one table with a row for each scenario, as in docs/neighbours.md.
    #[arg(long)]
    markdown: bool,
    /// Judge only what does not depend on the machine's speed: the second's answers, /readyz and
    /// the memory. Leaves the harmless comparisons out.
    #[arg(long)]
    functional: bool,
    /// Cargo passes this option; it is ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all scenarios share. The probes and the bad neighbour have one thread each, so that the
/// load does not delay the probes' clock more than it must.
struct Lab {
    world: World,
    probing: Runtime,
    attacking: Runtime,
    delivered: Received,
    hook: String,
    bad_receivers: String,
    seconds: Duration,
    rate: u32,
}

fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse();
    world::open_files();
    let main = Builder::new_current_thread().enable_all().build()?;
    let binary = options
        .binary
        .clone()
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_steward")));
    let started = Instant::now();
    let making = World::make(&binary, options.folder.as_deref());
    let world = main.block_on(unless_interrupted(making))?;
    let thread = || {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
    };
    let (probing, attacking) = (thread()?, thread()?);
    let delivered = Received::default();
    let hook = probing.block_on(receiver::start(Arc::clone(&delivered)))?;
    let bad_receivers = attacking.block_on(receiver::start_bad())?;
    let mut lab = Lab {
        world,
        probing,
        attacking,
        delivered,
        hook,
        bad_receivers,
        seconds: Duration::from_secs(options.seconds),
        rate: options.rate,
    };
    let measured = main.block_on(unless_interrupted(lab.measure_all(&options)));
    main.block_on(lab.world.stop());
    lab.probing.shutdown_background();
    lab.attacking.shutdown_background();
    let report = measured?;
    eprintln!("took {} s", started.elapsed().as_secs());
    if options.markdown {
        print!("{}", report.markdown());
    } else {
        print!("{}", report.details());
    }
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report.json()))?;
    }
    Ok(if report.is_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does some work, or gives it up on SIGTERM or Ctrl-C, so that PostgreSQL and the service end too.
async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        () = steward::app::signal() => Err("interrupted".into()),
    }
}

impl Lab {
    async fn measure_all(&mut self, options: &Options) -> Result<Report, Failure> {
        let attacks = if options.only.is_empty() {
            Attack::value_variants().to_vec()
        } else {
            options.only.clone()
        };
        self.world.database(CALM).await?;
        let calm_parties = self.world.parties.clone();
        let calm = self.world.serve(CALM, 16_384).await?;
        let prober = Prober::new(&calm_parties.second, &calm, Arc::clone(&self.delivered));
        let hook = self.hook.clone();
        self.probe(async move {
            prober.register(&hook).await?;
            prober.warm_up().await
        })
        .await?;
        eprintln!("quiet");
        let quiet = self.harmless(&calm, &calm_parties, None).await?;
        let mut report = Report {
            seconds: options.seconds,
            rate: options.rate,
            is_functional: options.functional,
            quiet,
            outcomes: Vec::new(),
        };
        for attack in attacks {
            eprintln!("{}", report::name(attack));
            let mut outcome = self.attack(attack).await?;
            if !options.functional {
                let bounds = attack.bounds();
                let load = (outcome.calls_per_second, bounds.parallel, outcome.held > 0);
                let baseline = self.harmless(&calm, &calm_parties, Some(load)).await?;
                outcome.baseline = Some(baseline);
            }
            eprintln!("  {}", outcome.summary(options.functional));
            report.outcomes.push(outcome);
        }
        Ok(report)
    }

    /// Runs a future on the probes' thread.
    async fn probe<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.probing.spawn(work).await??)
    }

    /// Measures the second while all is quiet, or while the third makes harmless calls: so many a
    /// second, so many at a time, over a new connection each or not.
    async fn harmless(
        &self,
        calm: &Serving,
        parties: &world::Parties,
        load: Option<(f64, usize, bool)>,
    ) -> Result<Observed, Failure> {
        let calls = load.map(|(per_second, parallel, is_new_connection)| {
            let third = &parties.third;
            let make = if is_new_connection {
                Caller::without_keep_alive
            } else {
                Caller::new
            };
            let caller = make(calm.api, third.source, &third.token);
            let (pacer, tally) = (Arc::new(Pacer::new(per_second)), Arc::<Tally>::default());
            self.attacking
                .spawn(harmless(caller, parallel, pacer, tally, THIRD_FROM))
        });
        tokio::time::sleep(RAMP).await;
        let prober = Prober::new(&parties.second, calm, Arc::clone(&self.delivered));
        let (seconds, rate) = (self.seconds, self.rate);
        let observed = self
            .probe(async move { Ok(prober.measure(seconds, rate).await) })
            .await;
        if let Some(calls) = calls {
            calls.abort();
        }
        observed
    }

    /// Measures the second while the first does something bad.
    async fn attack(&mut self, attack: Attack) -> Result<Outcome, Failure> {
        let database = report::name(attack);
        self.world.database(&database).await?;
        let (accepted, idle) = connection_limits();
        let mut serving = self.world.serve(&database, accepted).await?;
        let parties = self.world.parties.clone();
        let prober = Prober::new(&parties.second, &serving, Arc::clone(&self.delivered));
        let attacker = Attacker {
            attack,
            target: serving.api,
            parties,
            receivers: self.bad_receivers.clone(),
            held: attack.held(idle),
            opened: Arc::default(),
            tally: Arc::default(),
            pacer: Arc::new(Pacer::new(attack.bounds().per_second)),
            stop: CancellationToken::new(),
        };
        let (hook, warm) = (self.hook.clone(), prober.clone());
        self.probe(async move {
            warm.register(&hook).await?;
            warm.warm_up().await
        })
        .await?;
        let numbers = "select last_value from account_id_seq";
        let drawn = self.world.number(&database, numbers).await?;
        let preparing = attacker.clone();
        let prepared = self
            .attacking
            .spawn(async move { preparing.prepare().await });
        prepared.await??;
        serving.forget_peak()?;

        let watched = CancellationToken::new();
        let readiness = self
            .probing
            .spawn(watch_readiness(serving.management, watched.clone()));
        let (began, bad) = (Instant::now(), self.attacking.spawn(attacker.clone().run()));
        attacker.at_its_height().await;
        let (seconds, rate) = (self.seconds, self.rate);
        let observed = self
            .probe(async move { Ok(prober.measure(seconds, rate).await) })
            .await?;
        let calls_per_second = per_second(attacker.pacer.started(), began.elapsed());
        let peak = serving.peak();
        watched.cancel();
        let (polls, not_ready) = readiness.await?;
        attacker.stop.cancel();
        bad.await?;
        let drawn = self.world.number(&database, numbers).await? - drawn;
        serving.end();
        self.world.remove(&database).await;
        Ok(Outcome {
            attack,
            observed,
            baseline: None,
            peak,
            polls,
            not_ready,
            first: attacker.tally.counts(),
            calls_per_second,
            held: attacker.held,
            drawn,
        })
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

/// How many connections the service accepts, and how many idle ones the bad neighbour opens: some
/// more than that. Both need open files.
fn connection_limits() -> (u64, u64) {
    let files = world::open_files();
    let accepted = files.saturating_sub(1_500).min(16_384);
    (accepted, accepted + 200)
}

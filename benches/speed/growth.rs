//! How much the tables grow by many changes, how many of them stay within their page, and what
//! autovacuum costs.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::FromRow;

use crate::Failure;
use crate::driver::{Accounts, Kind, Target, drive};
use crate::server::Server;
use crate::world::World;

/// A table that changes write to, with all its partitions.
#[derive(Debug, FromRow)]
struct Table {
    name: String,
    mib: f64,
    index_mib: f64,
    updates: i64,
    /// The updates that changed no index (heap-only tuples).
    hot: i64,
    dead: i64,
    vacuums: i64,
}

const TABLES: &str = "select kind as name, sum(pg_table_size(relid)) / 1048576.0::float8 as mib,
    sum(pg_indexes_size(relid)) / 1048576.0::float8 as index_mib, sum(n_tup_upd)::bigint as updates,
    sum(n_tup_hot_upd)::bigint as hot, sum(n_dead_tup)::bigint as dead,
    sum(autovacuum_count)::bigint as vacuums
  from (select regexp_replace(relname, '_[0-9]{8}$', '') as kind, * from pg_stat_user_tables) as s
  where kind in ('account', 'held', 'journal') group by kind order by kind";

/// Freezes and unfreezes accounts through the service until about this many changes are made, and
/// prints the sizes before and after.
pub fn growth(
    world: &World,
    server: &Server<'_>,
    accounts: &mut Accounts,
    changes: u32,
) -> Result<(), Failure> {
    const CONNECTIONS: usize = 128;
    let period = Duration::from_secs(10);
    // PostgreSQL 15 counts the runs of autovacuum, but only its log has their durations.
    server.set("log_autovacuum_min_duration", "0")?;
    let logged = log(server)?.len();
    let before: Vec<Table> = server.fetch_all(TABLES)?;
    let serving = world.serve(&[])?;
    let target = Target {
        address: serving.address,
        service: serving.pid(),
        database: server,
    };
    let mut made = 0.0;
    while made < f64::from(changes) {
        let sample = drive(
            &target,
            Kind::Freeze,
            accounts,
            CONNECTIONS,
            Duration::ZERO,
            period,
        )?;
        made += sample.rate * period.as_secs_f64();
        eprintln!(
            "growth: {made:>9.0} changes, {:>6.0}/s; {}",
            sample.rate,
            sizes(&server.fetch_all(TABLES)?)
        );
    }
    drop(serving);
    // The server's processes report their statistics a second after they become idle.
    std::thread::sleep(Duration::from_secs(2));
    let after: Vec<Table> = server.fetch_all(TABLES)?;
    server.set("log_autovacuum_min_duration", "-1")?;
    let log = log(server)?;
    print(
        made,
        &before,
        &after,
        &vacuums(log.get(logged..).unwrap_or(&log)),
    );
    Ok(())
}

/// The server's current log.
fn log(server: &Server<'_>) -> Result<String, Failure> {
    let (text,): (String,) = server.fetch_one("select pg_read_file(pg_current_logfile())")?;
    Ok(text)
}

fn sizes(tables: &[Table]) -> String {
    let sizes: Vec<String> = tables
        .iter()
        .map(|it| format!("{} {:.0} + {:.0} MiB", it.name, it.mib, it.index_mib))
        .collect();
    sizes.join(", ")
}

/// What the log says about the runs of autovacuum and autoanalyze on a table.
#[derive(Debug, Default, Clone, Copy)]
struct Vacuums {
    cpu: f64,
    elapsed: f64,
}

/// The runs that a log mentions, by table.
fn vacuums(log: &str) -> BTreeMap<String, Vacuums> {
    let mut found: BTreeMap<String, Vacuums> = BTreeMap::new();
    let mut table = String::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once(" of table \"steward.public.") {
            let name = rest.split('"').next().unwrap_or_default();
            let day = |it: char| it.is_ascii_digit() || it == '_';
            name.trim_end_matches(day).clone_into(&mut table);
        } else if let Some((_, usage)) = line.split_once("system usage: CPU: ") {
            let mut seconds = usage
                .split([' ', ','])
                .filter_map(|part| part.parse::<f64>().ok());
            let mut next = || seconds.next().unwrap_or_default();
            let (user, system, elapsed) = (next(), next(), next());
            let sum = found.entry(std::mem::take(&mut table)).or_default();
            sum.cpu += user + system;
            sum.elapsed += elapsed;
        }
    }
    found
}

fn print(made: f64, before: &[Table], after: &[Table], vacuums: &BTreeMap<String, Vacuums>) {
    println!(
        "\n| table, {made:.0} changes | MiB before: rows + indexes | MiB after: rows + indexes | updates | heap-only updates | dead rows | autovacuums | their s: elapsed | CPU |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (old, new) in before.iter().zip(after) {
        let (updates, hot) = (new.updates - old.updates, new.hot - old.hot);
        let share = if updates > 0 {
            format!("{:.1} %", hot as f64 / updates as f64 * 100.0)
        } else {
            "-".to_owned()
        };
        let took = vacuums.get(&new.name).copied().unwrap_or_default();
        println!(
            "| {} | {:.0} + {:.0} | {:.0} + {:.0} | {updates} | {share} | {} | {} | {:.1} | {:.1} |",
            new.name,
            old.mib,
            old.index_mib,
            new.mib,
            new.index_mib,
            new.dead,
            new.vacuums - old.vacuums,
            took.elapsed,
            took.cpu
        );
    }
}

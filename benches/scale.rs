//! How look-ups, lists and scans scale with the number of accounts: `cargo bench --bench scale`.
//!
//! Loads 1 million and then 10 million accounts of 10,000 resellers. One reseller owns a tenth of
//! all accounts. The journal has one entry for each account. Each call is for another account or
//! page; pages of lists have 50 accounts and the total.

#![expect(unreachable_pub, dead_code, reason = "a program, not a library")]

#[path = "speed/world.rs"]
mod world;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clap::Parser;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use steward::domain::{
    AccountFilter, AccountId, Authority, Block, Dialect, Email, Error, Level, Metadata, Owner,
    ResellerId, StateFilter,
};
use steward::service::{AccountRef, Clock, Context, Principal, Service, Settings};
use steward::store::{PoolSettings, Store};

use world::{STEWARD, World, run};

type Failure = Box<dyn std::error::Error>;

/// How many calls of each query are measured.
const TIMES: u32 = 200;
/// No more calls of a query are made after this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The reseller that owns a tenth of all accounts.
const LARGE: ResellerId = ResellerId(1);
/// One of the other resellers.
const ORDINARY: ResellerId = ResellerId(77);

/// Measures look-ups, lists and scans at several sizes.
#[derive(Debug, Parser)]
struct Options {
    /// The numbers of accounts to measure with, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
    accounts: Vec<u64>,
    /// The number of resellers that own them.
    #[arg(long, default_value_t = 10_000)]
    resellers: u64,
    /// The folder for the database while it is measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Cargo passes this option; it is ignored.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut columns = Vec::new();
    for accounts in &options.accounts {
        columns.push(runtime.block_on(measure(&options, *accounts))?);
    }
    let heads: Vec<String> = options
        .accounts
        .iter()
        .map(|accounts| format!("{accounts} accounts: p50 | p99, ms"))
        .collect();
    println!(
        "| | {} |\n| --- |{}",
        heads.join(" | "),
        " --- | --- |".repeat(heads.len())
    );
    let names: Vec<&str> = columns
        .first()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    for (row, name) in names.into_iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .filter_map(|column| column.get(row))
            .map(|(_, took)| format!("{:.2} | {:.2}", took.p50, took.p99))
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}

async fn measure(options: &Options, accounts: u64) -> Result<Rows, Failure> {
    let owner = format!(
        "case when n % 10 = 0 then {LARGE} else (n - 1) % {} + 1 end",
        options.resellers
    );
    let world = World::make(
        accounts,
        options.resellers,
        &owner,
        options.folder.as_deref(),
    )
    .await?;
    run(
        &world.cluster.superuser_options(STEWARD),
        include_str!("history.sql"),
    )
    .await?;
    run(
        &world.cluster.superuser_options(STEWARD),
        include_str!("variety.sql"),
    )
    .await?;
    let pool = PoolSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_mins(2),
    };
    let settings = Settings {
        transaction_timeout: Duration::from_mins(5),
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(world.cluster.options(STEWARD), &pool),
        Clock::System,
        settings,
    ));
    let measured = measure_queries(
        &service,
        &world.cluster.superuser_options(STEWARD),
        i64::try_from(accounts)?,
    )
    .await?;
    service.stop().await;
    world.cluster.stop().await;
    Ok(measured)
}

/// How long the calls of a query took, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Took {
    p50: f64,
    p99: f64,
}

impl Took {
    fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            ms.get((ms.len() * percent / 100).min(ms.len() - 1))
                .copied()
        };
        Self {
            p50: at(50).unwrap_or_default(),
            p99: at(99).unwrap_or_default(),
        }
    }
}

/// How long a query takes. Each call of `query` gets another number. The first calls are not
/// measured: they make the plans.
async fn time<W: Future<Output = Result<(), Error>>>(
    query: impl Fn(u32) -> W,
) -> Result<Took, Failure> {
    for number in 0..2 {
        query(number).await?;
    }
    time_of(TIMES, query).await
}

/// As [`time`], with this number of calls, all of which are measured.
async fn time_of<W: Future<Output = Result<(), Error>>>(
    times: u32,
    query: impl Fn(u32) -> W,
) -> Result<Took, Failure> {
    let (mut took, begun) = (Vec::new(), Instant::now());
    for number in 0..times {
        let started = Instant::now();
        query(number).await?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
        if begun.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(Took::of(took))
}

/// The name of each query, and how long it took.
type Rows = Vec<(String, Took)>;

async fn measure_queries(
    service: &Arc<Service>,
    database: &PgConnectOptions,
    accounts: i64,
) -> Result<Rows, Failure> {
    let mut rows = measure_lookups(service, accounts).await?;
    rows.extend(measure_lists(service, accounts).await?);
    rows.push(measure_events(service, accounts).await?);
    rows.push((
        "500 accounts in order of expiry".to_owned(),
        time_expiry_scan(service, database).await?,
    ));
    Ok(rows)
}

/// An account of the large reseller. Each `number` gives another one.
fn account(accounts: i64, number: u32) -> Result<AccountId, Error> {
    AccountId::new(accounts / i64::from(TIMES) / 10 * 10 * i64::from(number) + 10)
}

async fn measure_lookups(service: &Arc<Service>, accounts: i64) -> Result<Rows, Failure> {
    let (large, operator) = (&context_of(Some(LARGE)), &context_of(None));
    let account = |number| account(accounts, number);
    let email = |number| -> Result<AccountRef, Error> {
        let id = account(number)?.as_i32();
        Ok(AccountRef::Email(Email::parse(&format!(
            "user{id}@example{}.test",
            id % 997
        ))?))
    };
    Ok(vec![
        (
            "account by number".to_owned(),
            time(|number| async move {
                service
                    .account_or_deleted(large, account(number)?)
                    .await
                    .map(drop)
            })
            .await?,
        ),
        (
            "account by e-mail address".to_owned(),
            time(|number| async move { service.find(large, email(number)?).await.map(drop) })
                .await?,
        ),
        (
            "account by e-mail address, by an operator".to_owned(),
            time(|number| async move { service.find(operator, email(number)?).await.map(drop) })
                .await?,
        ),
    ])
}

/// Every filter alone, with its name.
fn filters(now: steward::domain::Time) -> Result<Vec<(String, AccountFilter)>, Error> {
    let all = AccountFilter::default();
    let states = [StateFilter::Active, StateFilter::Suspended]
        .into_iter()
        .chain(Block::ALL.map(StateFilter::BlockedBy));
    let mut filters = vec![("all".to_owned(), all.clone())];
    for state in states {
        filters.push((
            format!("state {}", state.as_str()),
            AccountFilter {
                state: Some(state),
                ..all.clone()
            },
        ));
    }
    for authority in [Authority::Operator, Authority::Reseller] {
        filters.push((
            format!("held by the {}", authority.as_str()),
            AccountFilter {
                held_by: Some(authority),
                ..all.clone()
            },
        ));
    }
    for level in [Level::Block, Level::Warn] {
        filters.push((
            format!("level {}", level.as_str()),
            AccountFilter {
                held_at: Some(level),
                ..all.clone()
            },
        ));
    }
    let soon = now + TimeDelta::days(100);
    filters.extend([
        (
            "owner of the hold".to_owned(),
            AccountFilter {
                held_by_owner: Some(Owner::parse("owner", "billing")?),
                ..all.clone()
            },
        ),
        (
            "metadata of 1 % of the accounts".to_owned(),
            AccountFilter {
                metadata: Metadata([("plan".to_owned(), "gold".to_owned())].into()),
                ..all.clone()
            },
        ),
        (
            "expires within a given hour".to_owned(),
            AccountFilter {
                expires_after: Some(soon),
                expires_before: Some(soon + TimeDelta::hours(1)),
                ..all.clone()
            },
        ),
        (
            "expires after a given day".to_owned(),
            AccountFilter {
                expires_after: Some(soon),
                ..all
            },
        ),
    ]);
    Ok(filters)
}

async fn measure_lists(service: &Arc<Service>, accounts: i64) -> Result<Rows, Failure> {
    let contexts = [
        ("usual reseller", context_of(Some(ORDINARY)), false),
        ("reseller with a tenth", context_of(Some(LARGE)), true),
        ("operator", context_of(None), true),
    ];
    let mut rows = Rows::new();
    for (who, context, is_all) in &contexts {
        for (name, filter) in filters(service.now())? {
            if !is_all && name != "all" {
                continue;
            }
            let list = |number| {
                let filter = filter.clone();
                async move {
                    service
                        .list(context, filter, Vec::new(), account(accounts, number)?, 50)
                        .await
                        .map(drop)
                }
            };
            // The first call of a large list has the totals built; that takes seconds.
            if *who == "reseller with a tenth" && name == "state active" {
                let first = time_of(1, list).await?;
                rows.push((format!("{who}, {name}: the very first call"), first));
                service.keep_totals(LARGE).await?;
            }
            let took = time(list).await?;
            // A run takes long; what is known is shown at once.
            eprintln!("{who}, {name}: {:.2} | {:.2}", took.p50, took.p99);
            rows.push((format!("{who}, {name}"), took));
        }
    }
    Ok(rows)
}

async fn measure_events(service: &Arc<Service>, accounts: i64) -> Result<(String, Took), Failure> {
    let large = &context_of(Some(LARGE));
    let events = service.events(large, Some(LARGE), 0, 1).await?.1;
    let first = events
        .rows
        .first()
        .map(|event| event.entry.id)
        .unwrap_or_default();
    Ok((
        "100 events of the journal after a cursor".to_owned(),
        time(|number| async move {
            let after = first + (accounts / i64::from(TIMES)) * i64::from(number);
            service
                .events(large, Some(LARGE), after, 100)
                .await
                .map(drop)
        })
        .await?,
    ))
}

/// How long the query that finds expired accounts takes.
async fn time_expiry_scan(service: &Service, database: &PgConnectOptions) -> Result<Took, Failure> {
    let mut connection = database.connect().await?;
    let mut took = Vec::new();
    for number in 0..TIMES {
        let from = service.now() + TimeDelta::days(i64::from(number));
        let started = Instant::now();
        let due: Vec<(i64, i32)> = sqlx::query_as("select reseller_id, id from account where expires_at >= $1 order by expires_at, id limit 500")
            .bind(from)
            .fetch_all(&mut connection)
            .await?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
        drop(due);
    }
    Ok(Took::of(took))
}

/// A context with all rights, of a reseller or (`None`) of the operator.
fn context_of(reseller: Option<ResellerId>) -> Context {
    Context {
        principal: reseller.map_or_else(Principal::command_line, Principal::of_reseller),
        dialect: Dialect::Cli,
        request_id: "bench".to_owned(),
    }
}

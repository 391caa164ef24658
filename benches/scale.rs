//! How look-ups, lists and scans scale with the number of accounts: `cargo bench --bench scale`.
//!
//! Loads 1 million and then 10 million accounts of 10,000 resellers. One reseller owns a tenth of
//! all accounts. The journal has one entry for each account. The figures are medians of several
//! calls, each for another account.

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
    AccountFilter, AccountId, Block, Dialect, Email, Error, ResellerId, StateFilter,
};
use steward::service::{AccountRef, Clock, Context, Principal, Service, Settings};
use steward::store::{PoolSettings, Store};

use world::{STEWARD, World, run};

type Failure = Box<dyn std::error::Error>;

/// How often each query is measured.
const TIMES: u32 = 15;
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
        .map(|accounts| format!("{accounts} accounts, ms"))
        .collect();
    println!(
        "| | {} |\n| --- |{}",
        heads.join(" | "),
        " --- |".repeat(heads.len())
    );
    let names: Vec<&str> = columns
        .first()
        .into_iter()
        .flatten()
        .map(|(name, _)| *name)
        .collect();
    for (row, name) in names.into_iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .filter_map(|column| column.get(row))
            .map(|(_, ms)| format!("{ms:.2}"))
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

/// The median duration of a query in milliseconds. Each call of `query` gets another number.
async fn time<W: Future<Output = Result<(), Error>>>(
    query: impl Fn(u32) -> W,
) -> Result<f64, Failure> {
    time_of(TIMES, query).await
}

/// As [`time`], with this number of calls.
async fn time_of<W: Future<Output = Result<(), Error>>>(
    times: u32,
    query: impl Fn(u32) -> W,
) -> Result<f64, Failure> {
    let mut took = Vec::new();
    for number in 0..times {
        let started = Instant::now();
        query(number).await?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(took))
}

/// The name of each query and its median duration in milliseconds.
type Rows = Vec<(&'static str, f64)>;

async fn measure_queries(
    service: &Arc<Service>,
    database: &PgConnectOptions,
    accounts: i64,
) -> Result<Rows, Failure> {
    let mut rows = measure_lookups(service, accounts).await?;
    rows.extend(measure_lists(service, accounts).await?);
    rows.push(measure_events(service, accounts).await?);
    rows.push((
        "500 accounts in order of expiry",
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
            "account by number",
            time(|number| async move {
                service
                    .account_or_deleted(large, account(number)?)
                    .await
                    .map(drop)
            })
            .await?,
        ),
        (
            "account by e-mail address",
            time(|number| async move { service.find(large, email(number)?).await.map(drop) })
                .await?,
        ),
        (
            "account by e-mail address, by an operator",
            time(|number| async move { service.find(operator, email(number)?).await.map(drop) })
                .await?,
        ),
    ])
}

async fn measure_lists(service: &Arc<Service>, accounts: i64) -> Result<Rows, Failure> {
    let (large, ordinary) = (&context_of(Some(LARGE)), &context_of(Some(ORDINARY)));
    let account = |number| account(accounts, number);
    let list = |context, filter: &AccountFilter, number| {
        let filter = filter.clone();
        async move {
            service
                .list(context, filter, Vec::new(), account(number)?, 50)
                .await
                .map(drop)
        }
    };
    let soon = service.now() + TimeDelta::days(100);
    let all = &AccountFilter::default();
    let frozen = &AccountFilter {
        state: Some(StateFilter::BlockedBy(Block::Frozen)),
        ..AccountFilter::default()
    };
    let expired = &AccountFilter {
        state: Some(StateFilter::BlockedBy(Block::Expired)),
        ..AccountFilter::default()
    };
    let hour = &AccountFilter {
        expires_after: Some(soon),
        expires_before: Some(soon + TimeDelta::hours(1)),
        ..AccountFilter::default()
    };
    Ok(vec![
        (
            "page of 50, ordinary reseller",
            time(|number| list(ordinary, all, number)).await?,
        ),
        (
            "page of 50, reseller with a tenth of all, first page (counts)",
            time_of(1, |_| list(large, all, 0)).await?,
        ),
        (
            "page of 50, reseller with a tenth of all, at any depth",
            time(|number| list(large, all, number)).await?,
        ),
        (
            "frozen accounts, reseller with a tenth of all, first page (counts)",
            time_of(1, |_| list(large, frozen, 0)).await?,
        ),
        (
            "frozen accounts, reseller with a tenth of all, at any depth",
            time(|number| list(large, frozen, number)).await?,
        ),
        (
            "expired accounts, reseller with a tenth of all, first page (counts)",
            time_of(1, |_| list(large, expired, 0)).await?,
        ),
        (
            "expired accounts, reseller with a tenth of all, at any depth",
            time(|number| list(large, expired, number)).await?,
        ),
        (
            "accounts that expire within a given hour, reseller with a tenth of all",
            time(|number| list(large, hour, number)).await?,
        ),
    ])
}

async fn measure_events(
    service: &Arc<Service>,
    accounts: i64,
) -> Result<(&'static str, f64), Failure> {
    let large = &context_of(Some(LARGE));
    let events = service.events(large, Some(LARGE), 0, 1).await?.1;
    let first = events
        .rows
        .first()
        .map(|event| event.entry.id)
        .unwrap_or_default();
    Ok((
        "100 events of the journal after a cursor",
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

/// The median duration of the query that finds expired accounts, in milliseconds.
async fn time_expiry_scan(service: &Service, database: &PgConnectOptions) -> Result<f64, Failure> {
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
    Ok(median(took))
}

/// A context with all rights, of a reseller or (`None`) of the operator.
fn context_of(reseller: Option<ResellerId>) -> Context {
    Context {
        principal: reseller.map_or_else(Principal::command_line, Principal::of_reseller),
        dialect: Dialect::Cli,
        request_id: "bench".to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

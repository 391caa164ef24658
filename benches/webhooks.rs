//! The rate of webhook deliveries, and how much they slow down changes: `cargo bench --bench
//! webhooks`.
//!
//! Starts its own PostgreSQL with durability on, a receiver on loopback that answers 204, and one
//! dispatcher, all on this machine. Rounds without and with an endpoint alternate in one run.
//! Compare the ratios rather than the absolute figures, because everything shares the machine.
//!
//! `cargo bench --bench webhooks -- shares` measures instead how long the events of a reseller with
//! one endpoint take while other resellers have all theirs busy, or all theirs hanging.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "the figures are printed for people"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use chrono::TimeDelta;
use steward::dialects::v3;
use steward::domain::{
    Command, Dialect, Email, EndpointPatch, Patch, ProfilePatch, ResellerId, Revision, Status,
};
use steward::service::{Clock, Context, NewEndpoint, NewReseller, Principal, Service, Settings};
use steward::store::embedded::{Cluster, Search, Settings as ClusterSettings};
use steward::store::{PoolSettings, Store};
use steward::webhooks::{Dispatcher, Settings as WebhookSettings, Writer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The accounts that are changed.
const ACCOUNTS: usize = 2_000;
/// How many changes are made at a time.
const WRITERS: usize = 128;
/// How many changes one round makes.
const ROUND: usize = 30_000;
/// How many rounds are made without an endpoint, and how many with one.
const ROUNDS: usize = 3;
/// How many events wait when the endpoint is enabled again at the end.
const BACKLOG: usize = 100_000;

type Failure = Box<dyn std::error::Error>;

async fn receive(State(count): State<Arc<AtomicU64>>, _body: Bytes) -> StatusCode {
    count.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if std::env::args().any(|argument| argument == "shares") {
        runtime.block_on(shares())
    } else {
        runtime.block_on(bench())
    }
}

/// Starts PostgreSQL with durability on, in a folder that is removed at the end.
async fn start_cluster() -> Result<(tempfile::TempDir, Cluster), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("steward-bench-")
        .tempdir_in("/tmp")?;
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let settings = ClusterSettings {
        data_dir: folder.path().to_owned(),
        search: Search::usual(None),
        fetch: true,
        durable: true,
        max_connections: 50,
    };
    let cluster = Cluster::start(&settings).await?;
    cluster.ensure_database("bench").await?;
    Ok((folder, cluster))
}

async fn make_reseller(service: &Service, name: &str) -> Result<ResellerId, Failure> {
    let new = NewReseller {
        name: name.to_owned(),
        ..NewReseller::default()
    };
    let created = service
        .create_reseller(&Principal::command_line(), new, None)
        .await?;
    Ok(created.done()?.id)
}

async fn bench() -> Result<(), Failure> {
    let (_folder, cluster) = start_cluster().await?;
    let service = start_service(&cluster).await?;
    let reseller = make_reseller(&service, "Bench").await?;
    let accounts = make_accounts(&service, reseller, ACCOUNTS).await?;

    let count = Arc::new(AtomicU64::new(0));
    let url = start_receiver(Arc::clone(&count)).await?;
    let dispatcher = Dispatcher::new(Arc::clone(&service), webhook_settings())?;
    let stop = CancellationToken::new();
    let dispatching = tokio::spawn(dispatcher.run(stop.clone()));
    let endpoint = create_disabled_endpoint(&service, reseller, url).await?;
    let switch = async |on: bool| {
        service
            .revise_webhook(
                &operator(),
                endpoint,
                EndpointPatch {
                    enabled: Some(on),
                    ..EndpointPatch::default()
                },
                None,
                None,
            )
            .await
    };

    let mut expected = 0_u64;
    let (mut without, mut with, mut live, mut lag) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        without.push(write(&service, &accounts, round * 2, ROUND).await);
        expected += ROUND as u64;
        switch(true).await?;
        drain(&count, expected).await;
        let started = Instant::now();
        with.push(write(&service, &accounts, round * 2 + 1, ROUND).await);
        let written = Instant::now();
        expected += ROUND as u64;
        drain(&count, expected).await;
        live.push(ROUND as f64 / started.elapsed().as_secs_f64());
        lag.push(written.elapsed().as_secs_f64());
        switch(false).await?;
    }
    let mut rounds = ROUNDS * 2;
    let mut backlog = 0;
    while backlog < BACKLOG {
        write(&service, &accounts, rounds, ROUND.min(BACKLOG - backlog)).await;
        backlog += ROUND.min(BACKLOG - backlog);
        rounds += 1;
    }
    let started = Instant::now();
    switch(true).await?;
    drain(&count, expected + BACKLOG as u64).await;
    let drained = BACKLOG as f64 / started.elapsed().as_secs_f64();

    let (without, with, live, lag) = (median(without), median(with), median(live), median(lag));
    println!(
        "medians of {ROUNDS} rounds of {ROUND} changes of {ACCOUNTS} accounts by {WRITERS} concurrent writers; durability on; everything on one machine"
    );
    println!("| | per second |\n| --- | --- |");
    println!("| changes without an endpoint | {without:.0} |");
    println!(
        "| changes while they are delivered | {with:.0} ({:.2} of the rate without) |",
        with / without
    );
    println!(
        "| deliveries during these changes, until the last one | {live:.0} (the last delivery {lag:.1} s after the last change) |"
    );
    println!("| deliveries from a backlog of {BACKLOG} events | {drained:.0} |");
    stop.cancel();
    dispatching.await?;
    service.stop().await;
    cluster.stop().await;
    Ok(())
}

async fn start_service(cluster: &Cluster) -> Result<Arc<Service>, Failure> {
    let options = cluster.options("bench");
    Store::migrate(&options).await?;
    let pool = PoolSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_mins(1),
    };
    let service_settings = Settings {
        webhook_targets: steward::domain::WebhookTargets {
            allow_http: true,
            networks: vec!["127.0.0.0/8".parse()?],
        },
        transaction_timeout: Duration::from_mins(1),
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(options, &pool),
        Clock::System,
        service_settings,
    ));
    service.prepare_journal(2).await?;
    service.remember_credentials();
    Ok(service)
}

/// How many resellers keep all their endpoints busy, and how many endpoints each of them has.
const BUSY_RESELLERS: usize = 3;
const BUSY_ENDPOINTS: usize = 50;
/// How often an account of each busy reseller changes, which is an event for each of its endpoints.
const BUSY_INTERVAL: Duration = Duration::from_millis(1_500);
/// How many events of the quiet reseller are timed, and the time between two of them. A runner is
/// idle for 5 s at most, so each of them has to start one.
const QUIET_EVENTS: usize = 12;
const QUIET_INTERVAL: Duration = Duration::from_millis(5_500);
/// How long an event of the quiet reseller is waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// Measures the deliveries of a quiet reseller: alone, beside healthy receivers that are always
/// busy, and beside receivers that never answer.
async fn shares() -> Result<(), Failure> {
    println!(
        "| {BUSY_RESELLERS} resellers x {BUSY_ENDPOINTS} endpoints, an event for each every {BUSY_INTERVAL:?} | p50 | p99 |"
    );
    println!("| --- | --- | --- |");
    for (resellers, path, name) in [
        (0, "busy", "none: the quiet reseller is alone"),
        (BUSY_RESELLERS, "busy", "healthy receivers"),
        (BUSY_RESELLERS, "hang", "receivers that never answer"),
    ] {
        let mut taken = time_quiet_events(resellers, path).await?;
        taken.sort_by(f64::total_cmp);
        let worst = taken.last().copied().unwrap_or_default();
        println!("| {name} | {:.3} s | {worst:.3} s |", median(taken));
    }
    Ok(())
}

/// The seconds from each event of a quiet reseller to its delivery.
async fn time_quiet_events(resellers: usize, path: &str) -> Result<Vec<f64>, Failure> {
    let (_folder, cluster) = start_cluster().await?;
    let service = start_service(&cluster).await?;
    let (arrivals, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let receiver = Router::new()
        .route("/busy", post(|| async { StatusCode::NO_CONTENT }))
        .route("/hang", post(std::future::pending::<StatusCode>))
        .route(
            "/quiet",
            post(move |_body: Bytes| async move {
                let _ended = arrivals.send(Instant::now());
                StatusCode::NO_CONTENT
            }),
        );
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let enabled = EndpointPatch {
        enabled: Some(true),
        ..EndpointPatch::default()
    };
    let stop = CancellationToken::new();
    let mut tasks = Vec::new();
    for number in 0..resellers {
        let reseller = make_reseller(&service, &format!("Busy {number}")).await?;
        let accounts = make_accounts(&service, reseller, 40).await?;
        for _ in 0..BUSY_ENDPOINTS {
            let url = format!("{base}/{path}");
            let endpoint = create_disabled_endpoint(&service, reseller, url).await?;
            service
                .revise_webhook(&operator(), endpoint, enabled.clone(), None, None)
                .await?;
        }
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BUSY_INTERVAL);
            for (number, (reseller, account)) in accounts.into_iter().cycle().enumerate() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                change(&service, reseller, account, format!("busy {number}")).await;
            }
        }));
    }
    let dispatcher = Dispatcher::new(Arc::clone(&service), webhook_settings())?;
    tasks.push(tokio::spawn(dispatcher.run(stop.clone())));
    let quiet = make_reseller(&service, "Quiet").await?;
    let accounts = make_accounts(&service, quiet, 1).await?;
    let endpoint = create_disabled_endpoint(&service, quiet, format!("{base}/quiet")).await?;
    service
        .revise_webhook(&operator(), endpoint, enabled, None, None)
        .await?;
    tokio::time::sleep(QUIET_INTERVAL).await;
    let mut taken = Vec::new();
    for number in 0..QUIET_EVENTS {
        for (reseller, account) in &accounts {
            let started = Instant::now();
            change(&service, *reseller, *account, format!("quiet {number}")).await;
            let arrival = tokio::time::timeout(PATIENCE, arrived.recv()).await;
            let seconds = arrival.map_or(PATIENCE, |at| {
                at.map_or(PATIENCE, |at| at.duration_since(started))
            });
            taken.push(seconds.as_secs_f64());
        }
        tokio::time::sleep(QUIET_INTERVAL).await;
    }
    stop.cancel();
    for task in tasks {
        task.await?;
    }
    service.stop().await;
    cluster.stop().await;
    Ok(taken)
}

/// Starts a receiver on loopback that counts requests. Returns its URL.
async fn start_receiver(count: Arc<AtomicU64>) -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let receiver = Router::new()
        .route("/hook", post(receive))
        .with_state(count);
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    Ok(url)
}

async fn create_disabled_endpoint(
    service: &Service,
    reseller: ResellerId,
    url: String,
) -> Result<Uuid, Failure> {
    let patch = EndpointPatch {
        url: Some(url),
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    let new = NewEndpoint {
        reseller: Some(reseller),
        patch,
        secret: None,
    };
    let created = service.create_webhook(&operator(), new, None).await?;
    Ok(created.done()?.endpoint.id)
}

fn webhook_settings() -> WebhookSettings {
    WebhookSettings {
        timeout: Duration::from_secs(15),
        retries: vec![Duration::from_secs(5)],
        suspend_after: TimeDelta::days(5),
        lease: Duration::from_secs(30),
        concurrency: 256,
        reseller_concurrency: 64,
        endpoint_concurrency: 32,
        turns: 4,
        reseller_turns: 2,
        allowed_networks: "127.0.0.0/8".parse().into_iter().collect(),
        writer: Writer {
            event: v3::message,
            test: v3::test_message,
        },
    }
}

fn operator() -> Context {
    Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: "bench".to_owned(),
    }
}

fn owner(reseller: ResellerId) -> Context {
    Context {
        principal: Principal::of_reseller(reseller),
        ..operator()
    }
}

async fn make_accounts(
    service: &Arc<Service>,
    reseller: ResellerId,
    count: usize,
) -> Result<Vec<(ResellerId, steward::domain::AccountId)>, Failure> {
    let mut accounts = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(200) {
        let made = batch.iter().map(|number| async move {
            let email = Email::parse(&format!("n{number}@example.com"))?;
            let profile = ProfilePatch {
                email: Patch::Set(email),
                ..ProfilePatch::default()
            };
            service
                .create(
                    &owner(reseller),
                    None,
                    Revision {
                        profile,
                        ..Revision::default()
                    },
                    None,
                )
                .await?
                .done()
        });
        for done in futures_util::future::join_all(made).await {
            accounts.push((reseller, done?.account.id));
        }
    }
    Ok(accounts)
}

/// Makes changes, each writer to accounts of its own. Returns the rate in changes per second.
async fn write(
    service: &Arc<Service>,
    accounts: &[(ResellerId, steward::domain::AccountId)],
    round: usize,
    changes: usize,
) -> f64 {
    let started = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (service, mine): (_, Vec<_>) = (
                Arc::clone(service),
                accounts
                    .iter()
                    .copied()
                    .skip(writer)
                    .step_by(WRITERS)
                    .collect(),
            );
            let share = changes / WRITERS + usize::from(writer < changes % WRITERS);
            tokio::spawn(async move {
                for (number, (reseller, account)) in
                    mine.into_iter().cycle().take(share).enumerate()
                {
                    change(&service, reseller, account, format!("{round} {number}")).await;
                }
            })
        })
        .collect();
    for writer in writers {
        let _done = writer.await;
    }
    changes as f64 / started.elapsed().as_secs_f64()
}

/// Changes an account. The title has to differ each time, so that the call changes something.
async fn change(
    service: &Service,
    reseller: ResellerId,
    account: steward::domain::AccountId,
    title: String,
) {
    let revision = Revision {
        profile: ProfilePatch {
            title: Patch::Set(title),
            ..ProfilePatch::default()
        },
        status: Some(Status::Active),
        ..Revision::default()
    };
    let done = service
        .execute(
            &owner(reseller),
            account,
            Command::Revise(Box::new(revision)),
            None,
        )
        .await;
    drop(done.and_then(steward::service::Completion::done));
}

/// Waits until the receiver has counted this many requests.
async fn drain(count: &AtomicU64, expected: u64) {
    while count.load(Ordering::Relaxed) < expected {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

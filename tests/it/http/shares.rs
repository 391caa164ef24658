//! Fair shares: what one reseller, token or address takes is not taken from another.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::{StreamExt as _, poll, stream};
use http_body_util::BodyExt as _;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use steward::domain::ResellerId;
use steward::service::{Clock, Cost, Service, Settings, ShareSettings};
use steward::shares::Holder;
use steward::store::{PoolSettings, Store};
use tower::ServiceExt as _;

use super::connections::{connect, metric, post, rest};
use crate::harness::app::{admin_settings, pool_settings, router, send, soap_settings};
use crate::harness::process::{Served, eventually, folder};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A replica with other shares, and optionally with more database connections.
fn replica(app: &App, shares: ShareSettings, pool: &PoolSettings) -> (Arc<Service>, Router) {
    let settings = Settings {
        shares,
        ..Settings::default()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), pool),
        Clock::Manual(app.clock.clone()),
        settings,
    ));
    let router = router(&service, admin_settings(), soap_settings());
    (service, router)
}

async fn two_resellers(app: &App) -> (Client, Client, ResellerId, ResellerId) {
    let (acme, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let number = async |name| app.service.find_reseller(name).await.unwrap();
    (acme, other, number("Acme").await, number("Other").await)
}

#[tokio::test]
async fn heavy_requests_of_one_reseller_wait_for_each_other_and_not_for_others() {
    let app = App::new().await;
    let (acme, other, first, _) = two_resellers(&app).await;
    let shares = ShareSettings {
        heavy: 4,
        heavy_per_reseller: 2,
        queue: 1,
        ..ShareSettings::default()
    };
    let (service, router) = replica(&app, shares, &pool_settings());
    let [acme, other] = [&acme, &other].map(|client| V3::with_token(&router, &client.token));
    let holder = Holder::Reseller(first);
    let held = service.permit(Cost::Heavy, holder).await.unwrap();
    let _second = service.permit(Cost::Heavy, holder).await.unwrap();
    let mut waiting = pin!(acme.get("/v3/accounts"));
    // The request first looks its token up, so it is polled until it waits.
    while !service
        .render_metrics()
        .contains(r#"steward_share_waiting{share="heavy",holder="reseller 1"} 1"#)
    {
        assert!(poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    let refused = acme.get("/v3/accounts").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (429, "1"),
        "{}",
        refused.body
    );
    assert_eq!(
        refused.json()["message"],
        "Too many requests for lists, searches and bulk operations at a time"
    );
    assert_eq!(other.get("/v3/accounts").await.status, 200);
    let light = acme.get("/v3/accounts/1").await;
    assert_eq!(light.status, 404, "a look-up needs no permit");
    drop(held);
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test]
async fn a_reseller_whose_transactions_hang_leaves_connections_to_others() {
    let app = App::new().await;
    let (acme, other, first, _) = two_resellers(&app).await;
    let pool = PoolSettings {
        max_connections: 12,
        ..pool_settings()
    };
    let shares = ShareSettings {
        transaction_wait: Duration::from_millis(1),
        ..ShareSettings::default()
    };
    let (service, router) = replica(&app, shares, &pool);
    let [acme, other] = [&acme, &other].map(|client| V3::with_token(&router, &client.token));
    let operator = V3::with_token(&router, &app.token(None, None).await);
    // A new token's foreign key needs the reseller's row, which this transaction keeps.
    let mut superuser = app.database.superuser().await.begin().await.unwrap();
    sqlx::query("select from reseller where id = $1 for update")
        .bind(first.0)
        .execute(&mut *superuser)
        .await
        .unwrap();
    let body = json!({"name": "hangs"});
    let hanging = (0..8).map(|_| acme.call("POST", "/v3/tokens", &body));
    let mut hanging = pin!(futures_util::future::join_all(hanging));
    while service
        .render_metrics()
        .lines()
        .all(|line| line != r#"steward_share_used{share="transactions"} 2"#)
    {
        assert!(poll!(&mut hanging).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(other.get("/v3/tokens").await.status, 200);
    assert_eq!(operator.get("/v3/resellers").await.status, 200);
    service.ping().await.unwrap();
    let refused = acme.get("/v3/tokens").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (503, "1"),
        "its own requests wait: {}",
        refused.body
    );
    superuser.rollback().await.unwrap();
    let made = hanging.await;
    let statuses: Vec<u16> = made.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(statuses.contains(&201), "{statuses:?}");
}

/// A body that sends `bytes` and then nothing more.
fn half(bytes: usize) -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))]);
    Body::from_stream(first.chain(stream::pending()))
}

fn bulk(token: &str, body: Body) -> Request<Body> {
    Request::post("/v3/bulk")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn unfinished_bodies_of_one_caller_leave_memory_for_the_bodies_of_others() {
    let app = App::new().await;
    let (acme, other, ..) = two_resellers(&app).await;
    let shares = ShareSettings {
        body_bytes: 1 << 20,
        body_bytes_per_caller: 512 << 10,
        wait: Duration::from_millis(1),
        ..ShareSettings::default()
    };
    let (service, router) = replica(&app, shares, &pool_settings());
    let used = |bytes: usize| {
        let line = format!(r#"steward_share_used{{share="body_bytes"}} {bytes}"#);
        service.render_metrics().lines().any(|it| it == line)
    };
    let large = || Body::from(format!("{}{{}}", " ".repeat(200 << 10)));
    let half_sent = |token: &str, bytes| {
        let request = bulk(token, half(bytes));
        let router = router.clone();
        Box::pin(async move { router.oneshot(request).await.unwrap().status().as_u16() })
    };
    // 448 KiB count: 4 KiB of each are free, and permits are taken for 16 KiB at a time.
    let mut held: Vec<_> = (0..7).map(|_| half_sent(&acme.token, 60 << 10)).collect();
    while !used(448 << 10) {
        for request in &mut held {
            assert!(poll!(request).is_pending());
        }
        tokio::task::yield_now().await;
    }
    let refused = send(&router, bulk(&acme.token, large())).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (429, "1"),
        "{}",
        refused.body
    );
    assert!(
        refused
            .body
            .contains("Too many bytes of request bodies and answers at a time"),
        "{}",
        refused.body
    );
    let accepted = send(&router, bulk(&other.token, large())).await;
    assert_eq!(
        accepted.status, 400,
        "it is read, and its content is refused: {}",
        accepted.body
    );
    let small = send(&router, bulk(&acme.token, Body::from("{}"))).await;
    assert_eq!(small.status, 400, "a small body needs no permit");
    // Callers that are unknown until their body is read have a fourth of the memory for all of them.
    let admin = |body: Body| {
        Request::post("/api/v1.1/admin/accounts/get")
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    };
    let mut unknown: Vec<_> = (0..2)
        .map(|_| Box::pin(router.clone().oneshot(admin(half(60 << 10)))))
        .collect();
    let line = r#"steward_share_used{share="unknown_body_bytes"} 131072"#;
    while service.render_metrics().lines().all(|it| it != line) {
        for request in &mut unknown {
            assert!(poll!(request).is_pending());
        }
        tokio::task::yield_now().await;
    }
    let body = format!("{}{{}}", " ".repeat(60 << 10));
    let refused = send(&router, admin(Body::from(body.clone()))).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (429, "1"),
        "the address has its share: {}",
        refused.body
    );
    let accepted = send(&router, bulk(&other.token, Body::from(body))).await;
    assert_eq!(accepted.status, 400, "who is known has its own share");
    drop((held, unknown));
    let accepted = send(&router, bulk(&acme.token, large())).await;
    assert_eq!(accepted.status, 400, "{}", accepted.body);
}

#[tokio::test]
async fn answers_that_nobody_reads_count_as_their_callers_memory() {
    let app = App::new().await;
    let (acme, other, ..) = two_resellers(&app).await;
    for client in [&acme, &other] {
        for number in 0..100 {
            client.account(&format!("a{number}")).await;
        }
    }
    let shares = ShareSettings {
        body_bytes: 1 << 20,
        // Four of these answers leave less than the answer of the write below.
        body_bytes_per_caller: 215_000,
        wait: Duration::from_millis(1),
        ..ShareSettings::default()
    };
    let (service, router) = replica(&app, shares, &pool_settings());
    let list = async |client: &Client| {
        let request = Request::get("/v3/accounts?limit=100")
            .header("accept", "application/xml")
            .header("authorization", format!("Bearer {}", client.token))
            .body(Body::empty())
            .unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let mut unread = Vec::new();
    let refused = loop {
        let answer = list(&acme).await;
        if answer.status() != 200 {
            break answer;
        }
        unread.push(answer);
        assert!(unread.len() < 10, "each answer has some 50 KiB");
    };
    assert_eq!(refused.status(), 429);
    assert!(!unread.is_empty());
    // A write may have been carried out, so its answer is sent always.
    let operation = json!({"operation": "activate", "account": 1});
    let operations = json!({"operations": vec![operation; 80]}).to_string();
    assert!(operations.len() < 4 << 10, "the body needs no permit");
    let answer = send(&router, bulk(&acme.token, Body::from(operations))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.len() > 16 << 10, "{}", answer.body.len());
    assert_eq!(list(&other).await.status(), 200);
    for answer in unread {
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.ends_with("</xml>"), "the answer is whole");
        assert_eq!(text.matches("<item>").count(), 100);
    }
    let nothing = r#"steward_share_used{share="body_bytes"} 0"#;
    assert!(service.render_metrics().lines().any(|it| it == nothing));
    assert_eq!(list(&acme).await.status(), 200);
}

#[tokio::test]
async fn event_streams_are_limited_by_token_and_by_reseller() {
    let app = App::new().await;
    let (acme, other, first, _) = two_resellers(&app).await;
    let shares = ShareSettings {
        streams: 4,
        streams_per_reseller: 3,
        streams_per_token: 2,
        ..ShareSettings::default()
    };
    let (_, router) = replica(&app, shares, &pool_settings());
    let second = app.token(Some(first), None).await;
    let open = async |token: &str| {
        let request = Request::get("/v3/events")
            .header("accept", "text/event-stream")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let retry = response.headers().get("retry-after").cloned();
        (response.status().as_u16(), retry, response.into_body())
    };
    let refused = async |token: &str, status, text: &str| {
        let (found, retry, body) = open(token).await;
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!((found, retry.is_some()), (status, true), "{body}");
        assert!(body.contains(text), "{body}");
    };
    let (one, two) = (open(&acme.token).await, open(&acme.token).await);
    assert_eq!((one.0, two.0), (200, 200));
    let of_token = "Too many event streams and snapshots of this token at a time";
    refused(&acme.token, 429, of_token).await;
    let three = open(&second).await;
    assert_eq!(three.0, 200);
    refused(
        &second,
        429,
        "Too many event streams and snapshots at a time",
    )
    .await;
    let four = open(&other.token).await;
    assert_eq!(four.0, 200);
    refused(&other.token, 503, "Too many requests are waiting").await;
    drop(one);
    assert_eq!(open(&acme.token).await.0, 200, "a closed stream makes room");
}

/// Connects from a loopback address, so that the service takes it for another client.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn idle_connections_of_one_address_leave_the_others_their_own() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command
            .env("STEWARD_LIMITS__CONNECTIONS", "4")
            .env("STEWARD_SHARES__CONNECTIONS_PER_ADDRESS", "2")
            .env("STEWARD_SERVER__TRUSTED_PROXIES", "[\"127.0.0.9/32\"]");
    });
    let open = |count: f64| {
        eventually("the connections", || {
            (metric(&served, "steward_http_connections") == Some(count)).then_some(())
        });
    };
    let _idle: Vec<_> = (0..2)
        .map(|_| connect_from("127.0.0.66", served.listen))
        .collect();
    open(2.0);
    let refused = rest(connect_from("127.0.0.66", served.listen));
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 1"),
        "{refused}"
    );
    let ask = |mut stream: TcpStream| {
        let body = json!({"id": 1}).to_string();
        stream
            .write_all(post(body.len(), &body).as_bytes())
            .unwrap();
        rest(stream)
    };
    let answer = ask(connect(served.listen));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    open(2.0);
    // A trusted proxy may open what is left.
    let proxied: Vec<_> = (0..2)
        .map(|_| connect_from("127.0.0.9", served.listen))
        .collect();
    open(4.0);
    let refused = rest(connect(served.listen));
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop(proxied);
    open(2.0);
    let one: Vec<_> = (0..2)
        .map(|_| connect_from("127.0.0.9", served.listen))
        .collect();
    open(4.0);
    drop(one);
}

#[tokio::test]
async fn readyz_and_the_jobs_do_not_wait_for_requests() {
    let app = App::new().await;
    let (acme, _, first, _) = two_resellers(&app).await;
    let (service, router) = replica(&app, ShareSettings::default(), &pool_settings());
    let acme = V3::with_token(&router, &acme.token);
    let mut superuser = app.database.superuser().await.begin().await.unwrap();
    sqlx::query("select from reseller where id = $1 for update")
        .bind(first.0)
        .execute(&mut *superuser)
        .await
        .unwrap();
    // These settings leave one general connection, and this request keeps it.
    let body = json!({"name": "hangs"});
    let mut hanging = pin!(acme.call("POST", "/v3/tokens", &body));
    while service
        .render_metrics()
        .lines()
        .all(|line| line != r#"steward_share_used{share="transactions"} 1"#)
    {
        assert!(poll!(&mut hanging).is_pending());
        tokio::task::yield_now().await;
    }
    service.ping().await.unwrap();
    let jobs = steward::jobs::Settings {
        keep_attempts: Duration::from_hours(24),
        keep_journal: None,
        keep_bulk_items: Duration::from_hours(24),
    };
    steward::jobs::run_once(&service, &jobs).await.unwrap();
    steward::jobs::announce_and_purge(&service, true)
        .await
        .unwrap();
    service.resume_bulk_jobs().await.unwrap();
    service.observe_endpoints().await.unwrap();
    assert!(matches!(poll!(&mut hanging), Poll::Pending));
    superuser.rollback().await.unwrap();
    assert_eq!(hanging.await.status, 201);
}

#[tokio::test]
async fn a_reseller_plans_one_bulk_job_at_a_time() {
    let app = App::new().await;
    let (acme, ..) = two_resellers(&app).await;
    acme.account("a").await;
    let pool = PoolSettings {
        max_connections: 12,
        ..pool_settings()
    };
    let (service, router) = replica(&app, ShareSettings::default(), &pool);
    let acme = V3::with_token(&router, &acme.token);
    let mut superuser = app.database.superuser().await.begin().await.unwrap();
    sqlx::query("lock table account in access exclusive mode")
        .execute(&mut *superuser)
        .await
        .unwrap();
    let job = json!({"selector": {"all": true}, "operation": {"operation": "freeze"}});
    let plans = (0..2).map(|_| acme.call("POST", "/v3/bulk-jobs", &job));
    let mut plans = pin!(futures_util::future::join_all(plans));
    let shown = |line: &str| service.render_metrics().lines().any(|it| it == line);
    while !shown(r#"steward_share_used{share="planning"} 1"#)
        || !shown(r#"steward_share_waiting{share="planning",holder="reseller 1"} 1"#)
    {
        assert!(poll!(&mut plans).is_pending());
        tokio::task::yield_now().await;
    }
    superuser.rollback().await.unwrap();
    for planned in plans.await {
        assert_eq!(planned.status, 201, "{}", planned.body);
    }
}

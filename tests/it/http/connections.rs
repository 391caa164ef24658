//! Connections of careless and hostile clients to the real program, and the metrics of requests.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use steward::http::{Limits, serve};
use steward::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::harness::process::{PATIENCE, Served, eventually, folder, request, succeed};

pub(super) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(super) fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

pub(super) fn post(length: usize, body: &str) -> String {
    format!(
        "POST /api/v1.1/admin/accounts/get HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The value of a metric. `name` includes the labels.
pub(super) fn metric(served: &Served, name: &str) -> Option<f64> {
    let (status, text) = request(served.management, "GET", "/metrics", &[], "");
    assert_eq!(status, 200);
    let line = text.lines().find_map(|line| {
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
    });
    line.map(|value| value.parse().unwrap())
}

#[test]
fn connections_that_send_no_complete_request_are_closed() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command
            .env("STEWARD_SERVER__IDLE_TIMEOUT_SECONDS", "1")
            .env("STEWARD_SERVER__REQUEST_TIMEOUT_SECONDS", "1");
    });
    let silent = connect(served.listen);
    let mut half_a_head = connect(served.listen);
    half_a_head
        .write_all(b"POST /api/v1.1/admin/accounts/get HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .unwrap();
    let mut half_a_body = connect(served.listen);
    half_a_body
        .write_all(post(100, "{\"id\":").as_bytes())
        .unwrap();
    // The connection must end; the time that it takes does not matter.
    assert_eq!(rest(silent), "");
    assert!(!rest(half_a_head).contains("200 OK"));
    let answer = rest(half_a_body);
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("the body did not arrive in time"),
        "{answer}"
    );
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
}

#[test]
fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let folder = folder();
    let served = Served::start(folder.path());
    let body = json!({"id": 1}).to_string();
    let mut stream = connect(served.listen);
    stream
        .write_all(post(body.len(), &body).as_bytes())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // More than the socket buffers of both sides can take, so that the service has to wait.
    let answer = axum::body::Bytes::from(vec![b'x'; 64 << 20]);
    let router = axum::Router::new().route("/", axum::routing::get(async move || answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut caller = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let limits = Limits {
        connections: 10,
        connections_per_address: 10,
        trusted_proxies: Arc::new([]),
        head: PATIENCE,
        unread: Duration::from_millis(500),
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(
        listener,
        router,
        limits,
        Arc::new(Metrics::new()),
        stop.clone(),
    ));
    caller
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    caller.read_exact(&mut [0]).await.unwrap();
    // A graceful stop waits for running answers, and this one would never end.
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving)
        .await
        .expect("the connection is given up")
        .unwrap();
    drop(caller);
}

#[test]
fn a_connection_over_the_limit_is_refused_until_another_closes() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command.env("STEWARD_LIMITS__CONNECTIONS", "2");
    });
    let (one, _other) = (connect(served.listen), connect(served.listen));
    eventually("two connections", || {
        (metric(&served, "steward_http_connections") == Some(2.0)).then_some(())
    });
    let refused = rest(connect(served.listen));
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"),
        "{refused}"
    );
    assert_eq!(
        metric(&served, "steward_http_connections_refused_total"),
        Some(1.0)
    );
    drop(one);
    eventually("room again", || {
        (metric(&served, "steward_http_connections") == Some(1.0)).then_some(())
    });
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
}

#[test]
fn ten_thousand_idle_connections_cost_little_memory_and_block_nobody() {
    const MANY: usize = 10_000;
    assert!(
        steward::http::raise_file_limit() > 12_000,
        "this test opens 10,000 files"
    );
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command.env("STEWARD_SHARES__CONNECTIONS_PER_ADDRESS", "12000");
    });
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
    let before = metric(&served, "process_resident_memory_bytes").unwrap();
    let mut idle = Vec::with_capacity(MANY);
    while idle.len() < MANY {
        let mut stream = connect(served.listen);
        // The first byte of a request, so that the service has to keep state for each connection.
        stream.write_all(b"P").unwrap();
        idle.push(stream);
    }
    eventually("10,000 connections", || {
        (metric(&served, "steward_http_connections") == Some(10_000.0)).then_some(())
    });
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
    let each = (metric(&served, "process_resident_memory_bytes").unwrap() - before) / 10_000.0;
    assert!(each < 20_480.0, "{each} bytes a connection");
    drop(idle);
    eventually("no open connection", || {
        (metric(&served, "steward_http_connections") == Some(0.0)).then_some(())
    });
}

#[test]
fn requests_are_counted_by_dialect_operation_and_outcome() {
    let folder = folder();
    let served = Served::start(folder.path());
    succeed(folder.path(), &["reseller", "create", "--name", "Acme"]);
    let token = succeed(folder.path(), &["token", "create", "--reseller", "1"])
        .trim()
        .to_owned();
    succeed(
        folder.path(),
        &[
            "account",
            "create",
            "--reseller",
            "1",
            "--email",
            "one@example.com",
        ],
    );

    assert_eq!(
        served.post("suspend", &json!({"token": token, "id": 1})).0,
        200
    );
    assert_eq!(
        served.post("suspend", &json!({"token": token, "id": 99})).0,
        404
    );
    assert_eq!(served.post("no-such-call", &json!({})).0, 404);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(
        request(served.listen, "GET", "/v3/accounts/1", &headers, "").0,
        200
    );
    assert_eq!(
        request(served.listen, "GET", "/v3/accounts/one", &headers, "").0,
        404
    );
    assert_eq!(
        request(served.listen, "GET", "/a-path-of-an-attacker", &[], "").0,
        404
    );
    let envelope = |id: i64| {
        format!(
            "<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\"><soap:Body><GetAccountInfoUsingAccountID xmlns=\"Zoolz\">\
             <authToken>{token}</authToken><accountID>{id}</accountID></GetAccountInfoUsingAccountID></soap:Body></soap:Envelope>"
        )
    };
    for id in [1, 99] {
        let soap = request(
            served.listen,
            "POST",
            "/Services/Reseller/Service.asmx",
            &[("content-type", "application/soap+xml")],
            &envelope(id),
        );
        assert_eq!(soap.0, 200, "{}", soap.1);
    }

    let counted = |dialect: &str, operation: &str, outcome: &str| {
        metric(
            &served,
            &format!(
                "steward_http_requests_total{{dialect=\"{dialect}\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
            ),
        )
    };
    assert_eq!(counted("admin", "suspend", "ok"), Some(1.0));
    assert_eq!(counted("admin", "suspend", "refused"), Some(1.0));
    assert_eq!(counted("admin", "unknown", "refused"), Some(1.0));
    assert_eq!(counted("v3", "accounts_get", "ok"), Some(1.0));
    assert_eq!(counted("v3", "accounts_get", "refused"), Some(1.0));
    assert_eq!(counted("none", "unknown", "refused"), Some(1.0));
    let (_, text) = request(served.management, "GET", "/metrics", &[], "");
    let soap: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("steward_http_requests_total{dialect=\"soap\""))
        .collect();
    assert_eq!(soap.len(), 2, "{soap:?}");
    assert!(
        soap.iter().all(|line| line.contains("GetAccountInfo")),
        "{soap:?}"
    );
    assert!(
        !text.contains("attacker"),
        "labels have no values of callers"
    );
    assert!(metric(&served, "steward_lane_batch_size_count{lane=\"read\"}").unwrap() >= 1.0);
    assert!(
        metric(
            &served,
            "steward_database_connections{pool=\"keyed\",state=\"idle\"}"
        )
        .unwrap()
            >= 1.0
    );
    eventually("a job that ran", || {
        metric(
            &served,
            "steward_job_last_success_timestamp_seconds{job=\"announce\"}",
        )
    });
}

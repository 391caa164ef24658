//! The program as an operator runs it: start, readiness, log and graceful stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::TestDatabase;
use crate::harness::process::{
    Served, eventually, folder, request, run, steward, succeed, try_request,
};

#[test]
fn the_service_starts_answers_and_stops_gracefully() {
    let folder = folder();
    let mut served = Served::start(folder.path());
    assert_eq!(
        request(served.management, "GET", "/livez", &[], ""),
        (200, "alive\n".to_owned())
    );
    assert_eq!(
        request(served.management, "GET", "/readyz", &[], ""),
        (200, "ready\n".to_owned())
    );
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);

    // A request whose body is still being sent at the stop is finished.
    let body = json!({"token": "x", "id": 1}).to_string();
    let (first, second) = body.split_at(5);
    let mut slow = TcpStream::connect(served.listen).unwrap();
    let head = format!(
        "POST /api/v1.1/admin/accounts/get HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    // An answer to a later connection shows that the service has accepted the first one.
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
    served.signal(Signal::SIGTERM);
    eventually("a withdrawn readiness", || {
        try_request(served.management, "GET", "/readyz", &[], "")
            .ok()
            .filter(|(status, _)| *status == 503)
    });
    eventually("a closed door", || {
        TcpStream::connect(served.listen).is_err().then_some(())
    });
    slow.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(served.wait().code(), Some(0));
    let log = served.log();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{log}"
    );
    assert!(log.contains("\"message\":\"stopped\""));
}

#[test]
fn a_stream_of_events_ends_when_the_service_stops() {
    let folder = folder();
    let mut served = Served::start(folder.path());
    succeed(folder.path(), &["reseller", "create", "--name", "Acme"]);
    let token = succeed(
        folder.path(),
        &["token", "create", "--reseller", "Acme", "--jwt"],
    );
    let mut stream = TcpStream::connect(served.listen).unwrap();
    let head = format!(
        "GET /v3/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut begins = [0; 15];
    stream.read_exact(&mut begins).unwrap();
    assert_eq!(&begins, b"HTTP/1.1 200 OK");
    served.signal(Signal::SIGTERM);
    assert_eq!(served.wait().code(), Some(0));
    assert!(
        !served.log().contains("still in flight"),
        "{}",
        served.log()
    );
}

#[test]
fn tokens_and_bodies_never_reach_the_log() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command
            .env("STEWARD_LOG__LEVEL", "trace")
            .env("STEWARD_ADMIN__TOKEN_IN_QUERY", "true")
            // Nothing listens there, so both are errors that the log has.
            .env(
                "STEWARD_TRACES__ENDPOINT",
                "http://canary-of:canary-traces@127.0.0.1:1",
            )
            .env(
                "STEWARD_JWT__JWKS_URL",
                "http://canary-of:canary-keys@127.0.0.1:1/?key=canary-query",
            )
            .env("STEWARD_JWT__ISSUER", "issuer")
            .env("STEWARD_JWT__AUDIENCE", "audience");
    });
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
            "canary-address@example.com",
        ],
    );
    let canary = "canary-in-the-body";
    let url = format!("https://pay.example/{canary}");
    assert_eq!(served.post("freeze", &json!({"token": token, "id": 1, "reason": canary, "frozen_details": {"payment_url": url}})).0, 200);
    let header = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", header.as_str()),
        ("x-request-id", "seen-in-the-log"),
    ];
    assert_eq!(
        request(
            served.listen,
            "POST",
            "/api/v1.1/admin/accounts/get",
            &headers,
            r#"{"id":1}"#
        )
        .0,
        200
    );
    let path = format!("/api/v1.1/admin/accounts/get?token={token}");
    assert_eq!(
        request(
            served.listen,
            "POST",
            &path,
            &[("content-type", "application/json")],
            r#"{"id":1}"#
        )
        .0,
        200
    );
    assert_eq!(
        served
            .post("freeze", &json!({"token": token, "id": canary}))
            .0,
        400
    );
    // A JSON Web Token of an unknown key makes the service fetch the key set.
    let foreign = "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJpc3N1ZXIifQ.c2ln";
    let headers = [("authorization", foreign)];
    let answer = request(served.listen, "GET", "/v3/accounts", &headers, "");
    assert_eq!(answer.0, 401);
    let log = {
        let mut served = served;
        served.signal(Signal::SIGTERM);
        served.wait();
        served.log()
    };
    assert!(
        log.contains("cannot fetch the JSON Web Key Set"),
        "the key set was fetched"
    );
    assert!(
        log.contains("seen-in-the-log"),
        "the request id stands in the log"
    );
    for secret in [
        &token[4..],
        canary,
        "canary-address",
        "canary-of",
        "canary-traces",
        "canary-keys",
        "canary-query",
    ] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} is in the log");
    }
}

#[test]
fn a_valid_request_id_is_kept_and_an_invalid_one_replaced() {
    let folder = folder();
    let served = Served::start(folder.path());
    let ask = |id: &str| {
        let mut stream = TcpStream::connect(served.listen).unwrap();
        write!(
            stream,
            "POST /api/v1.1/admin/accounts/get HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(ask("abc-123"), "abc-123");
    for unfit in ["", "with space", &"x".repeat(129)] {
        assert_eq!(ask(unfit).len(), 36, "{unfit}");
    }
}

#[test]
fn a_listen_address_in_use_is_an_error_and_postgres_is_stopped() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(
        folder.path(),
        [
            "serve",
            "--listen",
            &address,
            "--management-listen",
            "127.0.0.1:0",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains(&format!("cannot listen on {address}")),
        "{stderr}"
    );
    assert_eq!(crate::harness::process::postmaster(folder.path()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_database_is_checked_or_migrated_at_startup() {
    let database = TestDatabase::blank().await;
    let Some(socket) = database.socket() else {
        return;
    };
    let url = format!(
        "postgres://{}@localhost:{}/{}?host={}",
        database.options().get_username(),
        database.options().get_port(),
        database.name,
        socket.display()
    );
    let folder = folder();
    let run = |arguments: &[&str]| {
        steward(folder.path())
            .env("DATABASE_URL", &url)
            .args(arguments)
            .output()
            .unwrap()
    };
    let refused = run(&["reseller", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("run `steward migrate`"),
        "{refused:?}"
    );
    let refused = run(&[
        "serve",
        "--no-migrate",
        "--listen",
        "127.0.0.1:0",
        "--management-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&run(&["migrate"]).stdout),
        format!(
            "applied {} migrations\n",
            steward::store::MIGRATOR.iter().count()
        )
    );
    assert_eq!(
        String::from_utf8_lossy(&run(&["migrate"]).stdout),
        "the database is up to date\n"
    );
    let served = tokio::task::spawn_blocking({
        let (url, path) = (url.clone(), folder.path().to_owned());
        move || {
            Served::start_with(&path, |command| {
                command.env("DATABASE_URL", url).arg("--no-migrate");
            })
        }
    })
    .await
    .unwrap();
    assert!(
        !folder.path().join("postgres").exists(),
        "no embedded cluster is made beside it"
    );
    assert_eq!(served.post("get", &json!({"id": 1})).0, 401);
    assert!(served.stop().success());
}

#[test]
fn the_demo_prints_calls_that_work_and_a_second_start_finds_the_same_data() {
    let folder = folder();
    for start in 0..2 {
        let (mut demo, text) = crate::harness::process::demo(folder.path());
        let calls: Vec<String> = text
            .split("\ncurl ")
            .skip(1)
            .map(|call| format!("curl {}", call.split("\n\n").next().unwrap()))
            .collect();
        assert_eq!(calls.len(), 9, "{text}");
        for call in calls {
            let answer = std::process::Command::new("sh")
                .args([
                    "-c",
                    &format!("{} -s", call.split("\ncurl").next().unwrap()),
                ])
                .output()
                .unwrap();
            let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
            assert!(
                answer.contains("Successful operation") || answer.contains("<Code>Success</Code>"),
                "{call}: {answer}"
            );
            assert!(
                !call.contains("list/") || answer.contains("\"total_count\":8"),
                "{answer}"
            );
        }
        let environment = succeed(folder.path(), &["demo", "--print-env"]);
        assert_eq!(
            environment
                .lines()
                .filter(|line| line.starts_with("export "))
                .count(),
            4
        );
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(demo.id()).unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        assert_eq!(demo.wait().unwrap().code(), Some(0), "start {start}");
    }
    let resellers: serde_json::Value =
        serde_json::from_str(&succeed(folder.path(), &["reseller", "list", "--json"])).unwrap();
    assert_eq!(resellers.as_array().unwrap().len(), 2);
    let tokens: serde_json::Value =
        serde_json::from_str(&succeed(folder.path(), &["token", "list", "--json"])).unwrap();
    assert_eq!(tokens.as_array().unwrap().len(), 3);
}

//! Traces that a collector receives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::harness::process::{Served, eventually, folder, request, succeed};

/// A collector that keeps the bodies of all requests.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, kept) = (
        listener.local_addr().unwrap(),
        Arc::new(Mutex::new(Vec::new())),
    );
    let into = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, into) = (stream.unwrap(), Arc::clone(&into));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut length = 0;
                    let mut line = String::new();
                    while reader.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
                        length = line
                            .to_ascii_lowercase()
                            .strip_prefix("content-length: ")
                            .map_or(length, |length| length.trim().parse().unwrap());
                        line.clear();
                    }
                    if line.is_empty() {
                        return;
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    into.lock().unwrap().extend_from_slice(&body);
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .unwrap();
                }
            });
        }
    });
    (address, kept)
}

fn count(kept: &Mutex<Vec<u8>>, wanted: &[u8]) -> usize {
    kept.lock()
        .unwrap()
        .windows(wanted.len())
        .filter(|part| *part == wanted)
        .count()
}

#[test]
fn every_layer_adds_a_span_to_the_callers_trace() {
    let (address, kept) = collector();
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
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
            "one@example.com",
        ],
    );
    let authorization = format!("Bearer {token}");
    let ask = |id: &str, traceparent: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", authorization.as_str()),
            ("x-request-id", id),
            ("traceparent", traceparent),
        ];
        request(
            served.listen,
            "PUT",
            "/v3/accounts/1/status",
            &headers,
            r#"{"status":"inactive"}"#,
        )
        .0
    };
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(
        ask("traced-request", &format!("00-{trace}-b7ad6b7169203331-01")),
        200
    );
    assert_eq!(
        ask(
            "request-not-sampled",
            "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        ),
        200
    );
    assert_eq!(served.stop().code(), Some(0));

    let id: Vec<u8> = (0..16)
        .map(|place| u8::from_str_radix(&trace[2 * place..2 * place + 2], 16).unwrap())
        .collect();
    eventually("the trace", || {
        (count(&kept, b"traced-request") > 0).then_some(())
    });
    for name in ["request", "call", "change", "batch", "transaction"] {
        // In protobuf a text follows its length.
        let encoded = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        assert!(count(&kept, &encoded) > 0, "there is no span {name}");
    }
    assert!(
        count(&kept, b"traced-request") >= 3,
        "request, call and change have the request's id"
    );
    assert!(
        count(&kept, &id) >= 3,
        "they are part of the caller's trace"
    );
    assert_eq!(
        count(&kept, b"request-not-sampled"),
        0,
        "the caller decides whether its requests are traced"
    );
    assert_eq!(count(&kept, &token.as_bytes()[4..]), 0);
}

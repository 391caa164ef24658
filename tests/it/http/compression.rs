//! Answers compressed with gzip for callers that ask for it.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::process::{Served, folder, succeed};
use crate::harness::v3::V3;
use crate::harness::{App, Client};

const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br");

async fn ask(
    client: &Client,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: String,
) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "steward.example")
        .header("authorization", format!("Bearer {}", client.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).unwrap();
    let response = client.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, bytes.to_vec())
}

fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_string(&mut text).unwrap();
    text
}

/// A reseller with an account that has a long description, and 30 more.
async fn accounts(app: &App) -> (Client, String) {
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let metadata = json!({"a": "x".repeat(255), "b": "y".repeat(255), "c": "z".repeat(255)});
    let body = json!({"email": "a@example.com", "metadata": metadata});
    let made = v3.call("POST", "/v3/accounts", &body).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for number in 0..30 {
        client.account(&format!("other{number}")).await;
    }
    (client, id)
}

#[tokio::test]
async fn lists_and_documents_of_every_dialect_are_compressed_for_those_who_ask() {
    let app = App::new().await;
    let (client, id) = accounts(&app).await;
    let json = ("content-type", "application/json");
    let xml = ("content-type", "text/xml");
    let account = format!("/v3/accounts/{id}");
    let history = format!("/v3/accounts/{id}/history");
    let calls = [
        (("GET", account.as_str()), json, String::new()),
        (("GET", history.as_str()), json, String::new()),
        (
            ("GET", "/v3/accounts?page=1&limit=100"),
            json,
            String::new(),
        ),
        (("GET", "/v3/events"), json, String::new()),
        (
            ("POST", "/api/v1.1/admin/accounts/list"),
            json,
            "{}".to_owned(),
        ),
        (
            ("GET", "/Services/Reseller/Service.asmx?wsdl"),
            xml,
            String::new(),
        ),
        (
            ("GET", "/Services/Reseller/Service.asmx"),
            xml,
            String::new(),
        ),
        (("GET", "/openapi.json"), json, String::new()),
        (("GET", "/openapi-3.0.json"), json, String::new()),
        (("GET", "/docs"), json, String::new()),
    ];
    for (call, kind, body) in calls {
        let (status, headers, plain) = ask(&client, call, &[kind], body.clone()).await;
        assert_eq!(
            (status, headers.get("content-encoding")),
            (200, None),
            "{call:?}"
        );
        assert_eq!(headers["vary"], "Accept-Encoding", "{call:?}");
        let (status, headers, bytes) = ask(&client, call, &[kind, GZIP], body.clone()).await;
        assert_eq!(status, 200, "{call:?}");
        assert_eq!(headers["content-encoding"], "gzip", "{call:?}");
        assert_eq!(headers["vary"], "Accept-Encoding", "{call:?}");
        assert!(bytes.len() < plain.len(), "{call:?}");
        // Up to 64 KiB are compressed before they are sent.
        if plain.len() <= 64 << 10 {
            assert_eq!(
                headers["content-length"],
                bytes.len().to_string(),
                "{call:?}"
            );
        }
        assert_eq!(unzipped(&bytes).as_bytes(), plain, "{call:?}");
        let refusing = ("accept-encoding", "gzip;q=0, br");
        let (_, headers, bytes) = ask(&client, call, &[kind, refusing], body).await;
        assert_eq!(
            (headers.get("content-encoding"), bytes),
            (None, plain),
            "{call:?}"
        );
    }
    let (status, headers, _) = ask(&client, ("GET", "/v3/nothing"), &[GZIP], String::new()).await;
    assert_eq!(status, 404);
    assert_eq!(headers.get("content-encoding"), None, "a short answer");
    assert_eq!(headers.get("vary"), None);
}

#[tokio::test]
async fn the_tag_of_a_compressed_account_is_its_own_and_works_in_if_match() {
    let app = App::new().await;
    let (client, id) = accounts(&app).await;
    let path = format!("/v3/accounts/{id}");
    let (_, plain, _) = ask(&client, ("GET", &path), &[], String::new()).await;
    let (_, zipped, _) = ask(&client, ("GET", &path), &[GZIP], String::new()).await;
    assert_eq!(
        (&plain["etag"], &zipped["etag"]),
        (&"\"1\"".parse().unwrap(), &"\"1-gzip\"".parse().unwrap())
    );
    let (_, head, bytes) = ask(&client, ("HEAD", &path), &[GZIP], String::new()).await;
    assert_eq!(bytes, b"");
    for name in [
        "etag",
        "content-encoding",
        "content-length",
        "vary",
        "content-type",
    ] {
        assert_eq!(head.get(name), zipped.get(name), "{name}");
    }
    let v3 = V3::of(&client);
    for (tag, status) in [
        ("\"1-gzip\"", 200),
        ("\"1-gzip\"", 412),
        ("\"2\"", 200),
        ("\"3-br\"", 412),
    ] {
        let company = json!({"company": format!("{tag}{status}")}).to_string();
        let answer = v3
            .send("PATCH", &path, &[("if-match", tag)], &company)
            .await;
        assert_eq!(answer.status, status, "{tag}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_answer_with_a_secret_is_never_compressed() {
    let app = App::new().await;
    let (client, id) = accounts(&app).await;
    let json = ("content-type", "application/json");
    let long = "x".repeat(255);
    let wide = "y".repeat(1_500);
    // Each answer is larger than what is compressed.
    let calls = [
        (format!("/v3/accounts/{id}/freeze"), json!({"reason": long})),
        (
            "/v3/webhooks".to_owned(),
            json!({"url": format!("https://example.com/{wide}")}),
        ),
    ];
    for (path, body) in calls {
        let call = ("POST", path.as_str());
        let (status, headers, bytes) = ask(&client, call, &[json, GZIP], body.to_string()).await;
        assert!(status == 200 || status == 201, "{path}: {status}");
        assert_eq!(headers.get("content-encoding"), None, "{path}");
        assert!(bytes.len() > 1_024, "{path}: {}", bytes.len());
    }
}

#[test]
fn a_long_page_is_compressed_on_a_real_connection_and_an_event_stream_is_not() {
    let folder = folder();
    let served = Served::start(folder.path());
    succeed(folder.path(), &["reseller", "create", "--name", "Acme"]);
    let token = succeed(folder.path(), &["token", "create", "--reseller", "1"]);
    let token = token.trim();
    let create = "account create --reseller 1 --email a@example.com --count 500";
    succeed(folder.path(), &create.split(' ').collect::<Vec<_>>());
    let curl = |arguments: &[&str]| {
        let url = format!("http://{}/v3/accounts?page=1&limit=100", served.listen);
        let output = std::process::Command::new("curl")
            .args(["-sS", "-H", &format!("Authorization: Bearer {token}"), &url])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = curl(&[]);
    let accounts: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(accounts.as_array().map(Vec::len), Some(100));
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&["--compressed", version]), plain, "{version}");
        let head = curl(&["--compressed", version, "-I"]);
        assert!(
            head.to_lowercase().contains("content-encoding: gzip"),
            "{version}: {head}"
        );
    }
    let mut stream = super::connections::connect(served.listen);
    let head = format!(
        "GET /v3/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\naccept-encoding: gzip\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut begins = [0; 1_024];
    let length = stream.read(&mut begins).unwrap();
    let begins = String::from_utf8_lossy(&begins[..length]).to_lowercase();
    assert!(
        begins.starts_with("http/1.1 200 ok") && !begins.contains("content-encoding"),
        "{begins}"
    );
}

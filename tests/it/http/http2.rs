//! HTTP/2 without TLS: the same answers, limits and time-outs as in HTTP/1.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use h2::client::SendRequest;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use steward::http::{Limits, serve};
use steward::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connections::{connect, rest};
use crate::harness::process::{PATIENCE, Served, eventually, folder, request, succeed};

const JSON: (&str, &str) = ("content-type", "application/json");
const GET: &str = "/api/v1.1/admin/accounts/get";
/// What a client sends first: the preface, and empty settings.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection with HTTP/2.
struct Client {
    to: SocketAddr,
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(to: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            to,
            send,
            connection: tokio::spawn(connection),
        }
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.to));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, HeaderMap, String) {
        let mut send = self.send.clone().ready().await.unwrap();
        let head = self.head(method, path, headers);
        let (response, mut stream) = send.send_request(head, body.is_empty()).unwrap();
        if !body.is_empty() {
            let body = Bytes::copy_from_slice(body.as_bytes());
            stream.send_data(body, true).unwrap();
        }
        answer(response).await
    }

    /// Resolves when the service has closed the connection.
    async fn closed(self) {
        drop(self.send);
        let closed = tokio::time::timeout(PATIENCE, self.connection).await;
        let _how = closed.expect("the connection is closed").unwrap();
    }
}

async fn answer(response: h2::client::ResponseFuture) -> (u16, HeaderMap, String) {
    let response = tokio::time::timeout(PATIENCE, response)
        .await
        .expect("an answer")
        .unwrap();
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    let text = String::from_utf8(bytes).unwrap();
    (parts.status.as_u16(), parts.headers, text)
}

/// A service of one reseller with one account, and the reseller's token.
fn served(
    data_dir: &std::path::Path,
    adapt: impl FnOnce(&mut std::process::Command),
) -> (Served, String) {
    let served = Served::start_with(data_dir, adapt);
    succeed(data_dir, &["reseller", "create", "--name", "Acme"]);
    let token = succeed(data_dir, &["token", "create", "--reseller", "1"]);
    let create = "account create --reseller 1 --email one@example.com";
    succeed(data_dir, &create.split(' ').collect::<Vec<_>>());
    (served, token.trim().to_owned())
}

/// Router, listener and limits in this process.
pub(super) async fn serving(
    router: axum::Router,
    unread: Duration,
) -> (SocketAddr, CancellationToken) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        connections: 1_000,
        connections_per_address: 1_000,
        trusted_proxies: Arc::new([]),
        head: PATIENCE,
        unread,
    };
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(serve(listener, router, limits, metrics, stop.clone()));
    (address, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_answered_as_http_1_is() {
    let folder = folder();
    let (served, token) = served(folder.path(), |_| {});
    let client = Client::connect(served.listen).await;
    let bearer = format!("Bearer {token}");
    let soap = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <GetAccountInfoUsingAccountID xmlns=\"Zoolz\"><authToken>{token}</authToken>\
         <accountID>1</accountID></GetAccountInfoUsingAccountID></s:Body></s:Envelope>"
    );
    let service = "/Services/Reseller/Service.asmx";
    let get = json!({"token": token, "id": 1}).to_string();
    let auth = ("authorization", bearer.as_str());
    let xml = ("content-type", "text/xml");
    let calls = [
        ("GET", "/v3/accounts/1", vec![auth], ""),
        (
            "GET",
            "/v3/accounts",
            vec![auth, ("accept", "application/xml")],
            "",
        ),
        (
            "GET",
            "/v3/accounts/7777",
            vec![auth, ("x-request-id", "a")],
            "",
        ),
        ("POST", GET, vec![JSON], &get),
        ("POST", service, vec![xml], &soap),
        (
            "GET",
            "/Services/Reseller/Service.asmx?wsdl",
            Vec::new(),
            "",
        ),
        ("GET", "/openapi.json", vec![], ""),
        ("GET", "/", vec![], ""),
    ];
    for (method, path, headers, body) in calls {
        let (status, _, text) = client.call(method, path, &headers, body).await;
        // The address of the service is in some of these, from :authority or from Host.
        let host = served.listen.to_string();
        let headers = [headers, vec![("host", host.as_str())]].concat();
        let expected = request(served.listen, method, path, &headers, body);
        assert_eq!((status, text), expected, "{path}");
    }
    let (status, headers, body) = client.call("HEAD", "/openapi.json", &[], "").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(headers.contains_key("content-length"), "{headers:?}");
    let (status, _, text) = client.call("GET", "/livez", &[], "").await;
    assert_eq!(status, 404, "that is on the management address: {text}");
    let management = Client::connect(served.management).await;
    assert_eq!(management.call("GET", "/livez", &[], "").await.0, 200);
}

#[test]
fn the_withdrawn_upgrade_is_answered_in_http_1() {
    let folder = folder();
    let served = Served::start(folder.path());
    let mut stream = connect(served.listen);
    let head = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A HEADERS frame of stream 1 with `:method: GET`, `:scheme: http`, `:path: /` and these fields.
fn head_frame(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let length = u8::try_from(block.len()).unwrap();
    // END_STREAM and END_HEADERS.
    [vec![0, 0, length, 1, 5, 0, 0, 0, 1], block].concat()
}

/// The index of the status among the static fields that begins the first HEADERS frame.
fn status_index(mut stream: impl std::io::Read) -> u8 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == 1 {
            return payload[0] & 0x7f;
        }
    }
}

#[test]
fn a_request_names_its_host_once() {
    const OK: u8 = 8;
    const BAD_REQUEST: u8 = 12;
    let folder = folder();
    let served = Served::start(folder.path());
    let cases: [(&[(&str, &str)], u8); 5] = [
        (&[(":authority", "one.example")], OK),
        (&[("host", "one.example")], OK),
        (
            &[(":authority", "one.example"), ("host", "one.example")],
            OK,
        ),
        (
            &[(":authority", "one.example"), ("host", "two.example")],
            BAD_REQUEST,
        ),
        (&[], BAD_REQUEST),
    ];
    for (fields, expected) in cases {
        let mut stream = connect(served.listen);
        stream.write_all(BEGIN).unwrap();
        stream.write_all(&head_frame(fields)).unwrap();
        assert_eq!(status_index(&stream), expected, "{fields:?}");
    }
    // In HTTP/1.1 the host of the request line counts.
    let mut stream = connect(served.listen);
    let head = "GET http://one.example/ HTTP/1.1\r\nhost: two.example\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = rest(stream);
    assert!(answer.contains("http://one.example/v3"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_send_no_complete_request_are_closed() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command
            .env("STEWARD_SERVER__IDLE_TIMEOUT_SECONDS", "1")
            .env("STEWARD_SERVER__REQUEST_TIMEOUT_SECONDS", "1");
    });
    let headers = head_frame(&[(":authority", "x")]);
    let beginnings = [
        BEGIN[..10].to_vec(),
        BEGIN[..24].to_vec(),
        BEGIN.to_vec(),
        // Half a frame, and one without END_HEADERS that is never continued.
        [BEGIN, &headers[..12]].concat(),
        [BEGIN, &headers[..4], &[0], &headers[5..]].concat(),
    ];
    for beginning in beginnings {
        let mut stream = connect(served.listen);
        stream.write_all(&beginning).unwrap();
        // The connection must end; the time that it takes does not matter.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    let client = Client::connect(served.listen).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let head = client.head("POST", GET, &[JSON, ("content-length", "100")]);
    let (response, mut body) = send.send_request(head, false).unwrap();
    body.send_data(Bytes::from_static(b"{\"id\":"), false)
        .unwrap();
    let (status, _, text) = answer(response).await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("the body did not arrive in time"), "{text}");
    // The same client is served until it is idle.
    assert_eq!(client.call("POST", GET, &[JSON], "{}").await.0, 401);
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_never_takes_its_answer_is_cut_off() {
    let answer = Bytes::from(vec![b'x'; 1 << 20]);
    let router = axum::Router::new().route("/", axum::routing::get(async move || answer));
    let (to, _stop) = serving(router, Duration::from_millis(500)).await;
    let client = Client::connect(to).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let head = client.head("GET", "/", &[]);
    let (response, _) = send.send_request(head, true).unwrap();
    let response = response.await.unwrap();
    drop(send);
    // The window of the stream is never enlarged.
    let mut body = response.into_body();
    body.data().await.unwrap().unwrap();
    client.closed().await;
    drop(body);
}

#[tokio::test]
async fn a_stream_that_waits_for_the_service_is_not_cut_off() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
    let once = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let body = async move || {
        let receiver = once.lock().unwrap().take().unwrap();
        let first = futures_util::stream::iter([Ok(Bytes::from_static(b"1"))]);
        let last = futures_util::stream::once(receiver);
        axum::body::Body::from_stream(futures_util::StreamExt::chain(first, last))
    };
    let router = axum::Router::new().route("/", axum::routing::get(body));
    let (to, _stop) = serving(router, Duration::from_millis(50)).await;
    let client = Client::connect(to).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let (response, _) = send
        .send_request(client.head("GET", "/", &[]), true)
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "1");
    // Ten times the limit on untaken answers: nothing is untaken here.
    let waited = tokio::time::timeout(Duration::from_millis(500), body.data()).await;
    assert!(waited.is_err(), "{waited:?}");
    sender.send(Bytes::from_static(b"2")).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_its_requests_is_cut_off() {
    let folder = folder();
    let (served, token) = served(folder.path(), |_| {});
    let bearer = format!("Bearer {token}");
    let client = Client::connect(served.listen).await;
    let auth = [("authorization", bearer.as_str())];
    let mut tries = 0;
    while let Ok(mut send) = client.send.clone().ready().await {
        let head = client.head("GET", "/v3/accounts", &auth);
        let Ok((_response, mut stream)) = send.send_request(head, true) else {
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
        tries += 1;
        assert!(tries < 10_000, "nothing stops this client");
    }
    client.closed().await;
    // A cancelled request now and then is no attack.
    let client = Client::connect(served.listen).await;
    for _ in 0..150 {
        let mut send = client.send.clone().ready().await.unwrap();
        let head = client.head("GET", "/v3/accounts", &auth);
        let (_, mut stream) = send.send_request(head, true).unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        assert_eq!(client.call("GET", "/v3/accounts", &auth, "").await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beside_each_other_count_as_connections() {
    let folder = folder();
    let served = Served::start_with(folder.path(), |command| {
        command.env("STEWARD_SHARES__CONNECTIONS_PER_ADDRESS", "2");
    });
    let client = Client::connect(served.listen).await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        let mut send = client.send.clone().ready().await.unwrap();
        let head = client.head("POST", GET, &[JSON, ("content-length", "2")]);
        let (response, mut body) = send.send_request(head, false).unwrap();
        body.send_data(Bytes::from_static(b"{"), false).unwrap();
        begun.push((response, body));
    }
    let (status, headers, text) = client.call("GET", "/", &[], "").await;
    assert_eq!(
        (status, headers["retry-after"].as_bytes()),
        (429, b"1".as_slice())
    );
    assert_eq!(text, "Too many open connections from this address: 429\n");
    for (response, mut body) in begun {
        body.send_data(Bytes::from_static(b"}"), true).unwrap();
        assert_eq!(answer(response).await.0, 401);
    }
    eventually_answered(&client).await;
}

/// Waits until the permits of answered requests are given back.
async fn eventually_answered(client: &Client) {
    let look = async || (client.call("GET", "/", &[], "").await.0 == 200).then_some(());
    crate::harness::process::until("an answer", look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_the_limits_of_http_1() {
    let folder = folder();
    let (served, token) = served(folder.path(), |command| {
        command.env("STEWARD_ADMIN__MAX_BODY_BYTES", "262144");
    });
    let client = Client::connect(served.listen).await;
    let large = "x".repeat(60 << 10);
    let (status, _, text) = client.call("GET", "/", &[("x-large", &large)], "").await;
    assert_eq!(status, 200, "{text}");
    let larger = "x".repeat(70 << 10);
    let (status, _, _) = client.call("GET", "/", &[("x-large", &larger)], "").await;
    assert_eq!(status, 431);
    // Each is more than the window of a stream, and all are more than that of the connection.
    let body = json!({"token": token, "id": 1, "note": "x".repeat(100 << 10)}).to_string();
    for _ in 0..3 {
        let (status, _, text) = client.call("POST", GET, &[JSON], &body).await;
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &document["data"]["id"]),
            (200, &json!(1)),
            "{text}"
        );
    }
    let body = json!({"token": token, "id": 1, "note": "x".repeat(400 << 10)}).to_string();
    assert_eq!(client.call("POST", GET, &[JSON], &body).await.0, 413);
    assert_eq!(client.send.current_max_send_streams(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish_and_ends_streams() {
    let folder = folder();
    let (mut served, token) = served(folder.path(), |_| {});
    let bearer = format!("Bearer {token}");
    let client = Client::connect(served.listen).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let head = client.head("POST", GET, &[JSON, ("content-length", "2")]);
    let (slow, mut body) = send.send_request(head, false).unwrap();
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    let events = [
        ("authorization", bearer.as_str()),
        ("accept", "text/event-stream"),
    ];
    let head = client.head("GET", "/v3/events", &events);
    let (stream, _) = client.send.clone().send_request(head, true).unwrap();
    assert_eq!(stream.await.unwrap().status(), 200);
    let idle = Client::connect(served.listen).await;
    assert_eq!(idle.call("GET", "/", &[], "").await.0, 200);
    served.signal(Signal::SIGTERM);
    eventually("a closed door", || {
        std::net::TcpStream::connect(served.listen)
            .is_err()
            .then_some(())
    });
    body.send_data(Bytes::from_static(b"}"), true).unwrap();
    assert_eq!(answer(slow).await.0, 401);
    idle.closed().await;
    assert_eq!(served.wait().code(), Some(0));
    assert!(
        !served.log().contains("still in flight"),
        "{}",
        served.log()
    );
}

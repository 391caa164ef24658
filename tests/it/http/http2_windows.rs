//! Answers that a client of HTTP/2 has no room for: it decides by the windows of its streams.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::Request;
use axum::routing::get;
use h2::client::SendRequest;
use tokio::task::JoinHandle;

use super::http2::serving;
use crate::harness::process::PATIENCE;

/// A connection whose streams begin with this window, in bytes.
async fn connect(
    to: SocketAddr,
    window: u32,
) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_window_size(window).handshake(stream);
    let (send, connection) = handshake.await.unwrap();
    (send, tokio::spawn(connection))
}

fn head(to: SocketAddr) -> Request<()> {
    let request = Request::builder().uri(format!("http://{to}/"));
    request.body(()).unwrap()
}

/// A router that answers with this many bytes.
fn answering(bytes: usize) -> Router {
    let answer = Bytes::from(vec![b'x'; bytes]);
    Router::new().route("/", get(async move || answer))
}

#[tokio::test]
async fn a_client_without_room_for_the_end_of_its_answer_is_cut_off() {
    const PART: u32 = 16 << 10;
    for (bytes, window) in [
        (1, 0),
        (100, 0),
        (100, 1),
        (100, 99),
        (20 << 10, PART),
        (20 << 10, PART + 1),
        (20 << 10, (20 << 10) - 1),
    ] {
        let (to, _stop) = serving(answering(bytes), Duration::from_millis(50)).await;
        let (mut send, connection) = connect(to, window).await;
        let (response, _) = send.send_request(head(to), true).unwrap();
        let body = response.await.unwrap().into_body();
        drop(send);
        let closed = tokio::time::timeout(PATIENCE, connection).await;
        let _how = closed
            .unwrap_or_else(|_| panic!("{bytes} bytes and a window of {window}: still open"))
            .unwrap();
        drop(body);
    }
}

#[tokio::test]
async fn an_answer_that_fits_the_window_exactly_is_whole() {
    for bytes in [0, 1, 2, 16 << 10, (16 << 10) + 1, 20 << 10] {
        let (to, _stop) = serving(answering(bytes), PATIENCE).await;
        let (mut send, _connection) = connect(to, u32::try_from(bytes).unwrap()).await;
        let (response, _) = send.send_request(head(to), true).unwrap();
        let response = response.await.unwrap();
        let announced = response.headers()["content-length"].to_str().unwrap();
        assert_eq!(announced, bytes.to_string());
        let mut body = response.into_body();
        let mut got = 0;
        // The window is not enlarged.
        while let Some(data) = body.data().await {
            got += data.unwrap().len();
        }
        assert_eq!(got, bytes);
    }
}

#[tokio::test]
async fn to_cancel_an_answer_without_room_for_it_is_to_cancel_a_request() {
    let (to, _stop) = serving(answering(100), PATIENCE).await;
    let (send, connection) = connect(to, 0).await;
    let mut tries = 0;
    while let Ok(mut send) = send.clone().ready().await {
        let Ok((response, mut stream)) = send.send_request(head(to), true) else {
            break;
        };
        // The service has the whole answer by now.
        if response.await.is_err() {
            break;
        }
        stream.send_reset(h2::Reason::CANCEL);
        tries += 1;
        assert!(tries < 1_000, "nothing stops this client");
    }
    drop(send);
    let closed = tokio::time::timeout(PATIENCE, connection).await;
    let _how = closed.expect("the connection is closed").unwrap();
}

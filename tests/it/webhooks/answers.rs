//! What a receiver may answer: its status decides, whatever its body does.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::live::{Live, settings};

/// A receiver that answers each request with these bytes, and then keeps the connection open or
/// closes it. Answers its URL.
async fn receiver(answer: &'static [u8], stays_open: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            let mut length = 0;
            // The whole request: a JSON object after the head.
            while !request[..length].ends_with(b"}") {
                match stream.read(&mut request[length..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
            let _closed = stream.write_all(answer).await;
            if stays_open {
                open.push(stream);
            }
        }
    });
    url
}

#[tokio::test]
async fn a_receivers_status_counts_whatever_its_body_does() {
    let mut live = Live::new().await;
    let answers: [(&str, &[u8], bool, bool); 9] = [
        (
            "a body that never comes",
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
            true,
            true,
        ),
        (
            "a body that breaks off",
            b"HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\nhalf",
            false,
            true,
        ),
        (
            "broken chunks",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            false,
            true,
        ),
        ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nfine", false, true),
        (
            "an interim answer",
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            true,
            true,
        ),
        (
            "a header that is none",
            b"HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 0\r\n\r\n",
            true,
            true,
        ),
        (
            "a status without a reason",
            b"HTTP/1.1 299\r\ncontent-length: 0\r\n\r\n",
            true,
            true,
        ),
        (
            "a redirect",
            b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            true,
            false,
        ),
        (
            "a failure whose body never comes",
            b"HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\n",
            true,
            false,
        ),
    ];
    let mut endpoints = Vec::new();
    for (what, answer, stays_open, succeeds) in answers {
        let url = receiver(answer, stays_open).await;
        let body = json!({ "url": url });
        let created = live.v3.call("POST", "/v3/webhooks", &body).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let id = created.json()["id"].as_str().unwrap().to_owned();
        endpoints.push((what, format!("/v3/webhooks/{id}"), succeeds));
    }
    live.dispatch(settings());
    live.client.account("a").await;
    for (what, path, succeeds) in endpoints {
        let health = if succeeds { "Healthy" } else { "Unhealthy" };
        let settled = live
            .finish_when(&path, |endpoint| {
                endpoint["health"] == health
                    && (!succeeds
                        || (endpoint["pending"] == 0 && endpoint["lastSuccessAt"].is_string()))
            })
            .await;
        let pending = i32::from(!succeeds);
        assert_eq!(settled["pending"], pending, "{what}: {settled}");
    }
    live.finish().await;
}

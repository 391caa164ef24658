//! A receiver of webhooks, on a real socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::mpsc;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

type Answer = Arc<Mutex<dyn FnMut(&Received) -> Response + Send>>;

/// A receiver whose answers the test decides. It hands on every request.
pub struct Receiver {
    pub address: SocketAddr,
    pub arrived: mpsc::UnboundedReceiver<Received>,
    answer: Arc<Mutex<Answer>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = mpsc::unbounded_channel();
        let ok: Answer = Arc::new(Mutex::new(|_: &Received| {
            StatusCode::NO_CONTENT.into_response()
        }));
        let answer = Arc::new(Mutex::new(ok));
        let state = (tell, Arc::clone(&answer));
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            address,
            arrived,
            answer,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Sets how the receiver answers from now on.
    pub fn answer(&self, answer: impl FnMut(&Received) -> Response + Send + 'static) {
        *self.answer.lock().unwrap() = Arc::new(Mutex::new(answer));
    }

    pub async fn next(&mut self) -> Received {
        let patience = super::process::PATIENCE;
        tokio::time::timeout(patience, self.arrived.recv())
            .await
            .expect("nothing arrived")
            .unwrap()
    }
}

async fn receive(
    State((tell, answer)): State<(mpsc::UnboundedSender<Received>, Arc<Mutex<Answer>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received {
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let current = Arc::clone(&answer.lock().unwrap());
    let response = (current.lock().unwrap())(&received);
    // Sent after the answer is made, so that the test can set the next answer.
    let _ended = tell.send(received);
    response
}

//! The receivers of webhooks: the second reseller's, which notes when each event came, and the bad
//! neighbour's, which answer at once or never.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::time::Instant;

use crate::Failure;
use crate::client::locked;

/// When each event came, by account and version.
pub type Received = Arc<Mutex<HashMap<String, Instant>>>;

/// The key of an event: the account's id and its version after the change.
pub fn event_key(event: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(event).ok()?;
    let (account, version) = (event.get("data")?.get("id")?, event.get("sequence")?);
    Some(format!("{}/{version}", account.as_str()?))
}

/// Notes an event, unless it has come before.
pub fn note(received: &Received, event: &[u8]) {
    let now = Instant::now();
    if let Some(key) = event_key(event) {
        locked(received).entry(key).or_insert(now);
    }
}

async fn receive(State(received): State<Received>, body: Bytes) -> StatusCode {
    note(&received, &body);
    StatusCode::NO_CONTENT
}

/// Starts the second reseller's receiver. Returns its URL.
pub async fn start(received: Received) -> Result<String, Failure> {
    let router = Router::new()
        .route("/hook", post(receive))
        .with_state(received);
    Ok(format!("{}/hook", serve(router).await?))
}

/// Starts the bad neighbour's receivers: `/prompt` answers at once, `/hang` never. Returns the
/// beginning of their URLs.
pub async fn start_bad() -> Result<String, Failure> {
    let hang = async |_body: Bytes| {
        std::future::pending::<()>().await;
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/prompt", post(async |_body: Bytes| StatusCode::NO_CONTENT))
        .route("/hang", post(hang));
    serve(router).await
}

async fn serve(router: Router) -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

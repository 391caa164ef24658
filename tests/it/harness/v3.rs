//! A caller of the `v3` dialect.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::Client;
use super::app::{Answer, send};

/// A caller of the `v3` dialect.
pub struct V3 {
    pub router: axum::Router,
    pub token: String,
}

impl V3 {
    pub fn of(client: &Client) -> Self {
        Self {
            router: client.router.clone(),
            token: client.token.clone(),
        }
    }

    pub fn with_token(router: &axum::Router, token: &str) -> Self {
        Self {
            router: router.clone(),
            token: token.to_owned(),
        }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token));
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(
            &self.router,
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, path, &[], &body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null).await
    }
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str, expected: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status.as_u16(), body["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.body
    );
    assert!(
        body["message"].as_str().unwrap().contains(expected),
        "{expected:?} is not in {}",
        answer.body
    );
    assert_eq!(
        (
            body["error"].clone(),
            body["error_text"].clone(),
            body["requestId"].as_str()
        ),
        (
            json!(status),
            body["message"].clone(),
            Some(answer.header("x-request-id"))
        )
    );
}

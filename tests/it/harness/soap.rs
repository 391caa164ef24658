//! A caller of the `soap` dialect.

use axum::http::Request;
use steward::dialects::soap;

use crate::harness::Client;
use crate::harness::app::{Answer, send};

pub const NS12: &str = "http://www.w3.org/2003/05/soap-envelope";

pub const NS11: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// A caller of the `soap` dialect in version 1.2.
pub struct Soap {
    pub router: axum::Router,
    pub token: String,
}

pub fn envelope(namespace: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<q:Envelope xmlns:q=\"{namespace}\"><q:Body>{body}</q:Body></q:Envelope>"
    )
}

pub async fn post(router: &axum::Router, headers: &[(&str, &str)], body: String) -> Answer {
    let mut request = Request::post(soap::PATH);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(body.into()).unwrap()).await
}

impl Soap {
    pub fn of(client: &Client) -> Self {
        Self {
            router: client.router.clone(),
            token: client.token.clone(),
        }
    }

    pub async fn raw(&self, body: String) -> Answer {
        post(
            &self.router,
            &[("content-type", "application/soap+xml; charset=utf-8")],
            body,
        )
        .await
    }

    /// The code, the message, and the elements after the message.
    pub async fn call(&self, operation: &str, children: &str) -> (String, String, String) {
        let token = format!("<authToken>{}</authToken>", self.token);
        self.call_with(operation, &format!("{token}{children}"))
            .await
    }

    pub async fn call_with(&self, operation: &str, children: &str) -> (String, String, String) {
        let answer = self
            .raw(envelope(
                NS12,
                &format!("<{operation} xmlns=\"Zoolz\">{children}</{operation}>"),
            ))
            .await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        let between = |from: &str, to: &str| {
            answer
                .body
                .split_once(from)
                .and_then(|(_, rest)| rest.split_once(to))
                .map_or("", |(text, _)| text)
                .to_owned()
        };
        let after = between("</Message>", &format!("</{operation}Result>"));
        (
            between("<Code>", "</Code>"),
            between("<Message>", "</Message>"),
            after,
        )
    }
}

//! An HTTP client for the isolation check. It compares answers byte by byte, and measures how long
//! they take.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, redirect};
use serde_json::{Value, json};

use crate::cli::CommandError;

/// Every request sends the same id, because answers repeat it and are compared.
const REQUEST_ID: &str = "doctor-isolation";
/// Headers whose values differ between two answers to the same request.
const VARYING: [&str; 5] = [
    "date",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "keep-alive",
];
/// The timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request, without the credential that sends it.
#[derive(Debug, Clone)]
pub(super) struct ProbeRequest {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl ProbeRequest {
    pub(super) fn new(method: &str, path: impl Into<String>) -> Self {
        let method = method.to_uppercase().parse().unwrap_or_default();
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(super) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).json(body.to_string())
    }

    pub(super) fn json(self, body: impl Into<String>) -> Self {
        self.with("content-type", "application/json")
            .containing(body)
    }

    pub(super) fn containing(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(super) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

/// The parts of an answer that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProbeResponse {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl ProbeResponse {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Replaces `id` by `{id}` in headers and body, where it stands as a whole word. Answers to
    /// requests for two different ids can then be compared.
    pub(super) fn without(&self, id: &str) -> Self {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-');
        let plain = |text: &str| {
            let (mut plain, mut seen) = (String::new(), 0);
            for (at, _) in text.match_indices(id) {
                let (before, after) = (
                    text.get(..at).unwrap_or_default(),
                    text.get(at + id.len()..).unwrap_or_default(),
                );
                if !is_part(before.chars().next_back()) && !is_part(after.chars().next()) {
                    plain.push_str(text.get(seen..at).unwrap_or_default());
                    plain.push_str("{id}");
                    seen = at + id.len();
                }
            }
            plain.push_str(text.get(seen..).unwrap_or_default());
            plain
        };
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| name != "content-length");
        Self {
            status: self.status,
            headers: headers
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
            body: plain(&self.body),
        }
    }
}

/// An HTTP client for one server.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    client: Client,
    base: String,
}

impl Prober {
    pub(super) fn new(base: &str) -> Result<Self, CommandError> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .http1_only()
            .build();
        let client = client.map_err(|error| CommandError::Other(error.to_string()))?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Sends a request, with a bearer token if one is given.
    pub(super) async fn send(
        &self,
        token: Option<&str>,
        request: &ProbeRequest,
    ) -> Result<ProbeResponse, CommandError> {
        let failed = |error: reqwest::Error| {
            // The base address may contain a password.
            let error = error.without_url();
            CommandError::Other(format!("{} {}: {error}", request.method, request.path))
        };
        let mut builder = self
            .client
            .request(
                request.method.clone(),
                format!("{}{}", self.base, request.path),
            )
            .header("x-request-id", REQUEST_ID);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(token) = token {
            builder = builder.bearer_auth(token);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .filter(|(name, _)| !VARYING.contains(&name.as_str()))
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        headers.sort();
        Ok(ProbeResponse {
            status,
            headers,
            body: response.text().await.map_err(failed)?,
        })
    }

    /// Sends a request that must succeed, and returns the answer's JSON.
    pub(super) async fn made(
        &self,
        token: &str,
        request: &ProbeRequest,
    ) -> Result<Value, CommandError> {
        let answer = self.send(Some(token), request).await?;
        if answer.status < 300 {
            return Ok(answer.json());
        }
        Err(CommandError::Other(format!(
            "{} {} answered {}: {}",
            request.method, request.path, answer.status, answer.body
        )))
    }

    /// Sends two requests alternately, `pairs` times. Returns, sorted, by how many microseconds the
    /// first took longer than the second in each pair.
    pub(super) async fn race(
        &self,
        token: &str,
        one: &ProbeRequest,
        other: &ProbeRequest,
        pairs: u32,
    ) -> Result<Vec<i64>, CommandError> {
        let mut differences = Vec::new();
        for pair in 0..pairs {
            // The second request of a pair may find warm caches, so the order alternates.
            let (first, second) = if pair % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            let mut took = [0, 0];
            for (place, request) in took.iter_mut().zip([first, second]) {
                let started = Instant::now();
                self.send(Some(token), request).await?;
                *place = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
            }
            let [first, second] = took;
            differences.push(if pair % 2 == 0 {
                first - second
            } else {
                second - first
            });
        }
        differences.sort_unstable();
        Ok(differences)
    }
}

/// A SOAP request, in version 1.2 or 1.1.
pub(super) fn soap(operation: &str, version_12: bool, token: &str, children: &str) -> ProbeRequest {
    let (namespace, content_type) = if version_12 {
        (
            "http://www.w3.org/2003/05/soap-envelope",
            "application/soap+xml",
        )
    } else {
        ("http://schemas.xmlsoap.org/soap/envelope/", "text/xml")
    };
    let body = format!(
        "<{operation} xmlns=\"Zoolz\"><authToken>{token}</authToken>{children}</{operation}>"
    );
    let request =
        ProbeRequest::new("POST", crate::dialects::soap::PATH).with("content-type", content_type);
    let request = if version_12 {
        request
    } else {
        request.with("soapaction", format!("\"Zoolz/{operation}\""))
    };
    request.containing(format!(
        "<e:Envelope xmlns:e=\"{namespace}\"><e:Body>{body}</e:Body></e:Envelope>"
    ))
}

/// A call of the `admin` dialect.
pub(super) fn admin(call: &str, members: &Value) -> ProbeRequest {
    ProbeRequest::post(format!("{}{call}", crate::dialects::admin::PREFIX), members)
}

/// A copy of the object with this member added or replaced.
pub(super) fn with(object: &Value, name: &str, value: &Value) -> Value {
    let mut object = if object.is_object() {
        object.clone()
    } else {
        json!({})
    };
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value.clone());
    }
    object
}

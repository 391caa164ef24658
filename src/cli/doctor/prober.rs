//! A client that compares answers: byte for byte, and by the time they take.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, redirect};
use serde_json::{Value, json};

use crate::cli::CommandError;

/// The same for every request, so that answers which repeat it can be compared.
const REQUEST_ID: &str = "doctor-isolation";
/// Headers that differ from one answer to the next whatever was asked.
const VARYING: [&str; 5] = [
    "date",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "keep-alive",
];
/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, whoever makes it.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

impl Ask {
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

/// What came back, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// With the identity that was asked for written as `{id}` where it is repeated, as a whole word.
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

/// The client.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    client: Client,
    base: String,
}

impl Prober {
    pub(super) fn new(base: &str) -> Result<Self, CommandError> {
        let client = Client::builder()
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none())
            .http1_only()
            .build();
        let client = client.map_err(|error| CommandError::Other(error.to_string()))?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Asks, with a token if there is one.
    pub(super) async fn ask(&self, token: Option<&str>, ask: &Ask) -> Result<Answer, CommandError> {
        let failed = |error: reqwest::Error| {
            CommandError::Other(format!("{} {}: {error}", ask.method, ask.path))
        };
        let mut request = self
            .client
            .request(ask.method.clone(), format!("{}{}", self.base, ask.path))
            .header("x-request-id", REQUEST_ID);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(failed)?;
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
        Ok(Answer {
            status,
            headers,
            body: response.text().await.map_err(failed)?,
        })
    }

    /// Asks for what must be there; its JSON.
    pub(super) async fn made(&self, token: &str, ask: &Ask) -> Result<Value, CommandError> {
        let answer = self.ask(Some(token), ask).await?;
        if answer.status < 300 {
            return Ok(answer.json());
        }
        Err(CommandError::Other(format!(
            "{} {} answered {}: {}",
            ask.method, ask.path, answer.status, answer.body
        )))
    }

    /// Asks two things in turn, many times; for each pair, by how many microseconds the first took longer.
    pub(super) async fn race(
        &self,
        token: &str,
        one: &Ask,
        other: &Ask,
        pairs: u32,
    ) -> Result<Vec<i64>, CommandError> {
        let mut differences = Vec::new();
        for pair in 0..pairs {
            // Whoever comes second may find something warm.
            let (first, second) = if pair % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            let mut took = [0, 0];
            for (place, ask) in took.iter_mut().zip([first, second]) {
                let started = Instant::now();
                self.ask(Some(token), ask).await?;
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

/// A SOAP request.
pub(super) fn soap(operation: &str, version_12: bool, token: &str, children: &str) -> Ask {
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
    let ask = Ask::new("POST", crate::dialects::soap::PATH).with("content-type", content_type);
    let ask = if version_12 {
        ask
    } else {
        ask.with("soapaction", format!("\"Zoolz/{operation}\""))
    };
    ask.containing(format!(
        "<e:Envelope xmlns:e=\"{namespace}\"><e:Body>{body}</e:Body></e:Envelope>"
    ))
}

/// An `admin` call.
pub(super) fn admin(call: &str, members: &Value) -> Ask {
    Ask::post(format!("{}{call}", crate::dialects::admin::PREFIX), members)
}

/// An object with one member more, or another one.
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

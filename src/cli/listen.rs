//! `steward listen`: sends the events of a service to a local receiver, signed, while it runs.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use data_encoding::BASE64;
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{CommandError, output, web_address};
use crate::app;
use crate::config::Config;
use crate::dialects::v3;
use crate::domain::{EVENTS, ResellerId, SignatureStyle, UPDATED};
use crate::service::Clock;
use crate::webhooks;

/// How long one answer of the receiver, or the head of an answer of the service, may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before the stream is opened again. It doubles with each failure, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// How long the stream may be silent. The service sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// The largest event that is read, in bytes. An account is smaller than 512 KiB.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Listen {
    /// The address of the receiver; each event is posted to it.
    #[arg(long, value_name = "URL", value_parser = web_address)]
    forward_to: String,
    /// The events to forward; if absent, account.updated, which every change causes.
    #[arg(long, value_delimiter = ',', value_name = "EVENT,EVENT", value_parser = event)]
    events: Vec<String>,
    /// The address of the service; if absent, the running demo's.
    #[arg(long, value_name = "URL", env = "STEWARD_URL", value_parser = web_address)]
    url: Option<String>,
    /// A token of the service with the scope webhook:read; if absent, the demo's.
    #[arg(long, value_name = "TOKEN", env = "TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// The number of the reseller; needed with an operator's token.
    #[arg(long, value_name = "ID")]
    reseller: Option<i64>,
    /// Begin behind this cursor of an event instead of now.
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<String>,
    /// The secret that signs the requests; if absent, a new one is made.
    #[arg(long, value_name = "SECRET", value_parser = secret, hide_env_values = true)]
    secret: Option<SecretString>,
}

fn event(name: &str) -> Result<String, String> {
    let names = [name.to_owned()];
    match v3::unknown_event(&names) {
        Some(problem) => Err(problem),
        None => Ok(name.to_owned()),
    }
}

/// Checks the form of a cursor. Whether it is one of the reseller's events is checked by the service.
fn cursor(text: &str) -> Result<String, String> {
    if v3::is_cursor_of_events(text) {
        Ok(text.to_owned())
    } else {
        Err("must be the cursor of an event, as GET /v3/events shows it".to_owned())
    }
}

fn secret(text: &str) -> Result<SecretString, String> {
    let bytes = text
        .strip_prefix("whsec_")
        .and_then(|rest| BASE64.decode(rest.as_bytes()).ok());
    match bytes {
        Some(bytes) if (24..=64).contains(&bytes.len()) => Ok(SecretString::from(text)),
        _ => Err("must be whsec_ and the base64 of 24 to 64 bytes".to_owned()),
    }
}

/// Why a stream ended.
enum Ended {
    /// The connection broke; the stream is opened again.
    Dropped(String),
    /// Opening it again would fail in the same way.
    Refused(CommandError),
}

impl Listen {
    pub(super) async fn run(self, config: &Config) -> Result<(), CommandError> {
        let mut stop = std::pin::pin!(app::signal());
        let follower = Follower::new(self, config)?;
        tokio::select! {
            outcome = follower.follow() => outcome,
            () = &mut stop => Ok(()),
        }
    }
}

/// What `steward demo` stores: its address and the first reseller's token.
fn demo(config: &Config) -> Option<(String, SecretString)> {
    let path = config.data_dir().ok()?.join("demo.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let url = file.get("url")?.as_str().filter(|url| !url.is_empty())?;
    let token = file.pointer("/reseller_tokens/0")?.as_str()?;
    Some((url.to_owned(), SecretString::from(token)))
}

struct Follower {
    client: Client,
    forward_to: String,
    events: Vec<String>,
    url: String,
    token: SecretString,
    reseller: Option<i64>,
    after: Option<String>,
    secret: SecretString,
}

impl Follower {
    fn new(listen: Listen, config: &Config) -> Result<Self, CommandError> {
        let demo = || demo(config);
        let url = listen.url.or_else(|| demo().map(|(url, _)| url));
        let token = listen.token.or_else(|| demo().map(|(_, token)| token));
        let (Some(url), Some(token)) = (url, token) else {
            return Err(CommandError::Other(
                "which service? Name its address with --url (or STEWARD_URL) and a token with \
                 --token (or TOKEN), or start a demo with `steward demo`"
                    .to_owned(),
            ));
        };
        let client = Client::builder()
            .connect_timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| CommandError::Other(error.to_string()))?;
        let secret = match listen.secret {
            Some(secret) => secret,
            None => new_secret()?,
        };
        let events = if listen.events.is_empty() {
            vec![UPDATED.to_owned()]
        } else {
            // In the order in which an endpoint gets them.
            let wanted = |event: &&&str| listen.events.iter().any(|name| name == *event);
            EVENTS
                .iter()
                .filter(wanted)
                .map(|event| (*event).to_owned())
                .collect()
        };
        Ok(Self {
            client,
            forward_to: listen.forward_to,
            events,
            url,
            token,
            reseller: listen.reseller,
            after: listen.after,
            secret,
        })
    }

    /// Follows the events until the service refuses the stream. A stream that breaks is opened
    /// again behind the last event.
    async fn follow(mut self) -> Result<(), CommandError> {
        if self.after.is_none() {
            let reseller = self.reseller().await?;
            self.after = Some(v3::end_of_events(reseller));
        }
        output::note(&format!(
            "forwarding {} to {}; Ctrl-C stops",
            self.events.join(", "),
            self.forward_to
        ));
        output::line(&format!("signing secret: {}", self.secret.expose_secret()));
        let mut pause = PAUSE;
        loop {
            let opened = Instant::now();
            match self.stream().await {
                Ended::Refused(error) => return Err(error),
                Ended::Dropped(problem) => {
                    // A stream that was open for a while breaks for a new reason.
                    if opened.elapsed() > LONGEST {
                        pause = PAUSE;
                    }
                    output::note(&format!(
                        "the stream of events ended: {problem}; opening it again"
                    ));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// The reseller whose events are followed.
    async fn reseller(&self) -> Result<ResellerId, CommandError> {
        if let Some(reseller) = self.reseller {
            return Ok(ResellerId(reseller));
        }
        let request = self.get("/v3/resellers?limit=2").timeout(TIMEOUT);
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let body = answer
            .text()
            .await
            .map_err(|error| self.unreachable(error))?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        let resellers: Value = serde_json::from_str(&body).unwrap_or_default();
        match resellers.as_array().map(Vec::as_slice) {
            Some([only]) => only
                .get("id")
                .and_then(Value::as_i64)
                .map(ResellerId)
                .ok_or_else(|| CommandError::Other(format!("{} is no Steward", self.url))),
            Some([_, ..]) => Err(CommandError::Other(
                "the token is an operator's: name the reseller with --reseller".to_owned(),
            )),
            _ => Err(CommandError::Other(format!("{} is no Steward", self.url))),
        }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client
            .get(format!("{}{path}", self.url))
            .bearer_auth(self.token.expose_secret())
    }

    fn unreachable(&self, error: reqwest::Error) -> CommandError {
        let reason = reason(error);
        CommandError::Other(format!(
            "cannot reach {}: {reason}; is the service running there? --url (or STEWARD_URL) names \
             another address",
            self.url
        ))
    }

    fn refusal(&self, status: StatusCode, body: &str) -> CommandError {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let message = answer
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or(body);
        let hint = match status.as_u16() {
            401 => "; --token (or TOKEN) names another token",
            403 => "; the token needs the scope webhook:read",
            _ => "",
        };
        CommandError::Other(format!(
            "{} answered {}: {message}{hint}",
            self.url,
            status.as_u16()
        ))
    }

    /// Opens the stream, and forwards its events until it ends.
    async fn stream(&mut self) -> Ended {
        let path = match self.reseller {
            Some(reseller) => format!("/v3/events?resellerId={reseller}"),
            None => "/v3/events".to_owned(),
        };
        let mut request = self.get(&path).header("accept", "text/event-stream");
        if let Some(after) = &self.after {
            request = request.header("last-event-id", after);
        }
        let mut answer = match tokio::time::timeout(TIMEOUT, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ended::Dropped(reason(error)),
            Err(_elapsed) => return Ended::Dropped("the service does not answer".to_owned()),
        };
        let status = answer.status();
        if !status.is_success() {
            let body = answer.text().await.unwrap_or_default();
            let refusal = self.refusal(status, &body);
            return if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                Ended::Dropped(refusal.to_string())
            } else {
                Ended::Refused(refusal)
            };
        }
        output::note(&format!("connected to {}", self.url));
        let mut lines = Lines::default();
        loop {
            match tokio::time::timeout(SILENCE, answer.chunk()).await {
                Ok(Ok(Some(bytes))) => lines.push(&bytes),
                Ok(Ok(None)) => return Ended::Dropped("the service closed it".to_owned()),
                Ok(Err(error)) => return Ended::Dropped(reason(error)),
                Err(_elapsed) => return Ended::Dropped("the service is silent".to_owned()),
            }
            while let Some(message) = lines.next() {
                self.forward(&message.data).await;
                self.after = message.id.or(self.after.take());
            }
            if lines.is_too_long() {
                return Ended::Dropped("an event is too large".to_owned());
            }
        }
    }

    /// Posts one event, once for each of the names that it has and the receiver wants, as a webhook
    /// endpoint gets it.
    async fn forward(&self, data: &str) {
        let Ok(Value::Object(mut event)) = serde_json::from_str::<Value>(data) else {
            return output::note("an event could not be read");
        };
        let specific = event.remove("events").unwrap_or_default();
        event.remove("cursor");
        let has = |name: &String| {
            name == UPDATED
                || specific
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|it| it == name)
        };
        let number = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let number = number
            .rsplit_once('_')
            .map_or(number, |(number, _)| number)
            .to_owned();
        for name in self.events.iter().filter(|name| has(name)) {
            let id = format!("{number}_{}", name.rsplit('.').next().unwrap_or(name));
            event.insert("event".to_owned(), Value::from(name.as_str()));
            event.insert("id".to_owned(), Value::from(id.as_str()));
            let body = Value::Object(event.clone()).to_string();
            let began = Instant::now();
            let result = self.post(&id, body).await;
            let account = event
                .get("data")
                .and_then(|data| data.get("number").or(data.get("id")));
            output::line(&format!(
                "{} {name} {id}{} -> {} in {} ms",
                text(event.get("triggeredAt")),
                account.map_or_else(String::new, |id| format!(" account {}", text(Some(id)))),
                coloured(&result),
                began.elapsed().as_millis()
            ));
        }
    }

    /// Posts a signed message. Returns the status, or why there is none.
    async fn post(&self, id: &str, body: String) -> Result<u16, String> {
        let now = Clock::System.now().timestamp();
        let secrets = [self.secret.expose_secret().to_owned()];
        let mut request = self
            .client
            .post(&self.forward_to)
            .timeout(TIMEOUT)
            .header("content-type", "application/json");
        for (name, value) in webhooks::signature(SignatureStyle::Standard, &secrets, id, now, &body)
        {
            request = request.header(name, value);
        }
        match request.body(body).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(reason(error)),
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn coloured(result: &Result<u16, String>) -> String {
    let (text, is_fine) = match result {
        Ok(status) => (status.to_string(), (200..300).contains(status)),
        Err(problem) => (format!("failed: {problem}"), false),
    };
    if std::io::stdout().is_terminal() {
        let colour = if is_fine { "32" } else { "31" };
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text
    }
}

/// The innermost cause of an error, without the URL, which may have a password.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn new_secret() -> Result<SecretString, CommandError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| CommandError::Other(error.to_string()))?;
    Ok(SecretString::from(format!(
        "whsec_{}",
        BASE64.encode(&bytes)
    )))
}

/// One message of a stream of server-sent events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    data: String,
}

/// Splits the bytes of a stream into messages.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    message: Message,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn is_too_long(&self) -> bool {
        self.bytes.len() + self.message.data.len() > LARGEST
    }

    /// The next complete message. `None` means that more bytes are needed.
    fn next(&mut self) -> Option<Message> {
        loop {
            let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                if !message.data.is_empty() {
                    return Some(message);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.message.id = Some(value.to_owned()),
                "data" if self.message.data.is_empty() => value.clone_into(&mut self.message.data),
                "data" => {
                    self.message.data.push('\n');
                    self.message.data.push_str(value);
                }
                // A comment, the name of the event, or a field of later days.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_whatever_pieces_it_comes_in() {
        let stream = ": hello\n\nid: a\nevent: x\ndata: {\"n\":1}\n\nid:b\r\ndata: two\r\ndata: lines\r\n\r\nid: c\ndata: cut";
        let message = |id: &str, data: &str| Message {
            id: Some(id.to_owned()),
            data: data.to_owned(),
        };
        for size in 1..stream.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                lines.push(piece);
                while let Some(message) = lines.next() {
                    found.push(message);
                }
            }
            let expected = [message("a", "{\"n\":1}"), message("b", "two\nlines")];
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}

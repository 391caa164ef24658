//! The configuration: defaults, then a file, then the environment. Later values override earlier
//! ones. Commands apply their flags afterwards.
//!
//! The defaults are read from `config/default.toml`, so that file documents the real values.

mod check;
mod settings;

use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Toml};
use figment::value::{Dict, Value};
use ipnet::IpNet;
use nix::unistd::Uid;
use secrecy::SecretString;
use serde::Deserialize;

use crate::secret_url::{MASK, SecretUrl, mask};

const DEFAULTS: &str = include_str!("../../config/default.toml");
/// The prefix of environment variables.
const PREFIX: &str = "STEWARD_";
/// Keys whose values are masked in output.
const SECRET: [&str; 2] = ["database.url", "jwt.secret"];
/// Keys with a URL that may have a password or a token.
const URLS: [&str; 2] = ["traces.endpoint", "jwt.jwks_url"];
/// The maximum number of connections to the embedded cluster, over all processes.
const EMBEDDED_CONNECTIONS: u32 = 100;

/// The environment that the service runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Production. A database URL is required.
    Production,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

section! {
    /// The whole configuration. `config/default.toml` explains each key.
    Config {
        /// The environment that the service runs in.
        environment: Environment,
        /// HTTP: addresses, timeouts, browsers and proxies.
        server: Server,
        /// The database.
        database: Database,
        /// Group commit.
        commit: Commit,
        /// Rate limits and the connection limit.
        limits: Limits,
        /// What resellers and addresses share.
        shares: Shares,
        /// JSON Web Tokens from an identity provider.
        jwt: Jwt,
        /// Webhooks.
        webhooks: Webhooks,
        /// How long data is kept.
        lifecycle: Lifecycle,
        /// Idempotency keys.
        idempotency: Idempotency,
        /// The `admin` dialect.
        admin: Admin,
        /// The `soap` dialect.
        soap: Soap,
        /// The `v3` dialect.
        v3: V3,
        /// The log.
        log: Log,
        /// Traces.
        traces: Traces,
    }
}
section! {
    /// `[server]`
    Server {
        /// The address of the API.
        listen: SocketAddr,
        /// The address of the management endpoints.
        management_listen: SocketAddr,
        /// The service's address as callers see it. `None` means the request's Host header is used.
        public_url: Option<String>,
        /// The time limit for one request, in seconds.
        request_timeout_seconds: u64,
        /// How long the service waits for requests in flight when it stops, in seconds.
        shutdown_timeout_seconds: u64,
        /// How long a connection may take to send the head of its next request, in seconds.
        idle_timeout_seconds: u64,
        /// The origins of web pages that may call the API.
        cors_origins: Vec<String>,
        /// The networks of proxies whose `X-Forwarded-For` header is used.
        trusted_proxies: Vec<IpNet>,
    }
}
section! {
    /// `[database]`
    Database {
        /// The PostgreSQL URL. `None` or an empty text means the embedded cluster.
        url: Option<SecretString>,
        /// The folder of the embedded cluster. `None` means the default folder of the user.
        data_dir: Option<PathBuf>,
        /// The folder of the PostgreSQL programs. `None` means that they are searched for.
        pg_bin_dir: Option<PathBuf>,
        /// Whether PostgreSQL may be downloaded when none is installed.
        fetch: bool,
        /// The maximum number of connections.
        max_connections: u32,
        /// How long a request waits for a free connection, in seconds.
        acquire_timeout_seconds: u64,
        /// The time limit for one statement, in seconds.
        statement_timeout_seconds: u64,
    }
}
section! {
    /// `[commit]`
    Commit {
        /// The maximum number of queued changes.
        queue: usize,
        /// The maximum number of changes in one transaction.
        batch: usize,
        /// Which changes may share a transaction.
        scope: CommitScope,
    }
}
section! {
    /// `[limits]`
    Limits {
        /// Requests a minute per token. 0 = unlimited.
        token_per_minute: u32,
        /// Requests a minute per client address. 0 = unlimited.
        address_per_minute: u32,
        /// The maximum number of open connections.
        connections: usize,
    }
}
section! {
    /// `[shares]`
    Shares {
        /// Heavy requests at a time, in all.
        heavy: usize,
        /// Heavy requests of one reseller at a time.
        heavy_per_reseller: usize,
        /// Event streams in all.
        streams: usize,
        /// Event streams of one reseller.
        streams_per_reseller: usize,
        /// Event streams of one token.
        streams_per_token: usize,
        /// Bytes of request bodies in memory, in all.
        body_bytes: usize,
        /// Bytes of request bodies in memory, of one caller.
        body_bytes_per_caller: usize,
        /// Open connections of one client address.
        connections_per_address: usize,
        /// Requests of one caller that wait for the same share.
        waiting_per_caller: usize,
        /// How long a request waits, in seconds.
        wait_seconds: u64,
    }
}
section! {
    /// `[jwt]`
    Jwt {
        /// The expected claim `iss`. `None` is allowed only without a key.
        issuer: Option<String>,
        /// The expected claim `aud`. `None` is allowed only without a key.
        audience: Option<String>,
        /// The shared secret for HS256.
        secret: Option<SecretString>,
        /// The PEM file with a public key.
        public_key_file: Option<PathBuf>,
        /// The file with a JSON Web Key Set.
        jwks_file: Option<PathBuf>,
        /// The address of a JSON Web Key Set.
        jwks_url: Option<SecretUrl>,
        /// How far the issuer's clock may differ, in seconds.
        leeway_seconds: u64,
        /// Whether tokens with the claim `role` "operator" are accepted.
        operators: bool,
    }
}
section! {
    /// `[webhooks]`
    Webhooks {
        /// Whether endpoints may have http URLs.
        allow_http: bool,
        /// Private networks that endpoints may be in.
        allowed_networks: Vec<IpNet>,
        /// The time limit for one attempt, in seconds.
        timeout_seconds: f64,
        /// The pauses between attempts, in seconds. The last one repeats.
        retry_seconds: Vec<f64>,
        /// How many days of failures suspend an endpoint.
        suspend_after_days: u64,
        /// How many attempts may run at once, over all endpoints.
        concurrency: usize,
        /// How many attempts may run at once to the endpoints of one reseller.
        reseller_concurrency: usize,
        /// How many attempts may run at once to one endpoint.
        endpoint_concurrency: usize,
        /// How many endpoints may read or write at once.
        turns: usize,
        /// How many endpoints of one reseller may read or write at once.
        reseller_turns: usize,
        /// How long a dispatcher keeps its endpoints without renewing its lease, in seconds.
        lease_seconds: u64,
        /// How many days attempts stay in the log.
        keep_attempts_days: u64,
    }
}
section! {
    /// `[lifecycle]`
    Lifecycle {
        /// How many days a deleted account can be restored.
        purge_window_days: u64,
        /// How many days the journal is kept. 0 = forever.
        keep_journal_days: u64,
        /// How many days the list of accounts of a finished bulk job is kept.
        keep_bulk_items_days: u64,
    }
}
section! {
    /// `[idempotency]`
    Idempotency {
        /// How many hours an answer is kept.
        window_hours: u64,
    }
}
section! {
    /// `[admin]`
    Admin {
        /// Whether errors are answered with HTTP 200.
        always_200: bool,
        /// Whether `?token=` is accepted.
        token_in_query: bool,
        /// The maximum size of a request body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[soap]`
    Soap {
        /// Whether another reseller's account is answered like one that does not exist.
        hide_foreign_accounts: bool,
        /// The maximum size of a request body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[v3]`
    V3 {
        /// The maximum size of a request body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[log]`
    Log {
        /// A level, or a filter by module.
        level: String,
        /// The format of the log.
        format: LogFormat,
    }
}

section! {
    /// `[traces]`
    Traces {
        /// The collector's OTLP address over HTTP. `None` means that nothing is traced.
        endpoint: Option<SecretUrl>,
        /// The share of requests that are traced, 0 to 1.
        sample: f64,
    }
}

/// Which changes may share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitScope {
    /// Changes of any resellers.
    All,
    /// Only changes of the same reseller.
    Reseller,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable text on a terminal, JSON elsewhere.
    Auto,
    /// Readable text.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What is wrong with the configuration. The text names the key and is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// The configuration, and the sources that it was merged from.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    figment: Figment,
}

/// Leaves out the sources, because they have the secrets in clear.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads the defaults, then `file`, then the environment. `None` means the file that
    /// `STEWARD_CONFIG` names, if any.
    ///
    /// # Errors
    /// [`Problem`] names the key and its source. For an unknown key it suggests the nearest known
    /// one.
    pub fn read(file: Option<&Path>) -> Result<Self, Problem> {
        let from_environment = env::var_os("STEWARD_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file.map(Path::to_owned).or(from_environment) {
            if !file.is_file() {
                return Err(Problem(format!(
                    "{}: there is no such file",
                    file.display()
                )));
            }
            figment = figment.merge(Toml::file_exact(&file));
        }
        let database_url = Env::raw()
            .only(&["DATABASE_URL"])
            .map(|_| "database.url".into())
            .filter(|_| env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()));
        // The standard variable of OpenTelemetry.
        let collector = Env::raw()
            .only(&["OTEL_EXPORTER_OTLP_ENDPOINT"])
            .map(|_| "traces.endpoint".into());
        let figment = figment
            .merge(database_url.lowercase(false))
            .merge(collector.lowercase(false))
            .merge(Env::prefixed(PREFIX).ignore(&["config", "url"]).split("__"));
        let config: Config = figment.extract().map_err(|error| {
            Problem(
                error
                    .into_iter()
                    .map(|error| explain(&error))
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        })?;
        config.check()?;
        Ok(Self { config, figment })
    }

    /// Formats every key with its value and the source of that value, as a configuration file.
    /// Secrets are masked.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        let Ok(all) = self.figment.extract::<Dict>() else {
            return text;
        };
        let (tables, plain): (Vec<_>, Vec<_>) =
            all.iter().partition(|(_, value)| value.as_dict().is_some());
        for (key, value) in plain {
            self.show_key(&mut text, key, key, value);
        }
        for (section, values) in tables {
            // Writing to a String never fails.
            let _written = writeln!(text, "\n[{section}]");
            for (key, value) in values.as_dict().into_iter().flatten() {
                self.show_key(&mut text, &format!("{section}.{key}"), key, value);
            }
        }
        text
    }

    fn show_key(&self, text: &mut String, path: &str, key: &str, value: &Value) {
        let shown = if SECRET.contains(&path) {
            format!("\"{MASK}\"")
        } else {
            shown(value)
        };
        let origin = self
            .figment
            .find_metadata(path)
            .map_or_else(|| "default".to_owned(), origin);
        let _written = writeln!(text, "{key} = {shown}  # {origin}");
    }
}

/// A value as in a configuration file. Every URL is masked, whatever its key is.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) if text.contains("://") => format!("{:?}", mask(text)),
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, value) => value.to_i128().map_or_else(
            || format!("{:?}", value.to_f64().unwrap_or_default()),
            |value| value.to_string(),
        ),
        Value::Array(_, values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => format!("{value:?}"),
    }
}

/// The source of a value: a file's path, `environment` or `default`.
fn origin(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ => "default".to_owned(),
    }
}

/// The message of a parser without the lines of the file that it quotes, which may have a secret.
fn without_quotes(message: &str) -> String {
    let is_quote = |line: &&str| {
        let text = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        text.trim_start().starts_with('|')
    };
    let lines: Vec<&str> = message.lines().filter(|line| !is_quote(line)).collect();
    lines.join("; ")
}

/// Formats an error of figment for the operator.
fn explain(error: &figment::Error) -> String {
    let path = error.path.join(".");
    let from = error
        .metadata
        .as_ref()
        .map(origin)
        .filter(|origin| origin != "default")
        .map_or_else(String::new, |origin| format!(" (from {origin})"));
    let Kind::UnknownField(key, known) = &error.kind else {
        // The error of a value of the wrong type quotes the value.
        if SECRET.contains(&path.as_str()) || URLS.contains(&path.as_str()) {
            return format!(
                "{path}: must be a text{from}; a text that looks like a number or a list needs \
                 double quotes, in the environment too"
            );
        }
        return format!("{path}: {}{from}", without_quotes(&error.kind.to_string()));
    };
    let section = path
        .strip_suffix(key.as_str())
        .unwrap_or(&path)
        .trim_end_matches('.');
    let full = |key: &str| {
        if section.is_empty() {
            key.to_owned()
        } else {
            format!("{section}.{key}")
        }
    };
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    let hint = nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean {}?", full(nearest))
    });
    format!("unknown key {}{from}{hint}", full(key))
}

impl Config {
    /// The database URL. `None` means that the embedded cluster is used.
    #[must_use]
    pub fn database_url(&self) -> Option<&SecretString> {
        use secrecy::ExposeSecret as _;
        self.database
            .url
            .as_ref()
            .filter(|url| !url.expose_secret().is_empty())
    }

    /// The folder of the embedded cluster: the configured one, or the default folder of the user.
    ///
    /// # Errors
    /// [`Problem`] if none is configured and the user has no home folder.
    pub fn data_dir(&self) -> Result<PathBuf, Problem> {
        if let Some(configured) = &self.database.data_dir {
            return std::path::absolute(configured)
                .map_err(|error| Problem(format!("database.data_dir: {error}")));
        }
        if Uid::effective().is_root() {
            return Ok(PathBuf::from("/var/lib/steward"));
        }
        let folder_in = |name| {
            env::var_os(name)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let share = folder_in("XDG_DATA_HOME")
            .or_else(|| folder_in("HOME").map(|home| home.join(".local/share")));
        share.map(|share| share.join("steward")).ok_or_else(|| {
            Problem("database.data_dir: is required, because HOME is not set".to_owned())
        })
    }
}

//! The configuration: defaults, a file, the environment, in this order. Flags are applied by the commands.
//!
//! The defaults are `config/default.toml` itself, so what it says is what is so.

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

const DEFAULTS: &str = include_str!("../../config/default.toml");
/// What the environment's variables begin with.
const PREFIX: &str = "STEWARD_";
/// Keys whose values are never shown.
const SECRET: [&str; 2] = ["database.url", "jwt.secret"];
/// The most connections of the embedded cluster.
const EMBEDDED_CONNECTIONS: u32 = 100;

/// Where the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// On somebody's machine.
    Development,
    /// For real: a database URL is required.
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
    /// Everything that can be configured; `config/default.toml` explains each key.
    Config {
        /// Where the service runs.
        environment: Environment,
        /// Listeners and limits of HTTP.
        server: Server,
        /// The database.
        database: Database,
        /// The write lane.
        commit: Commit,
        /// How often one may ask.
        limits: Limits,
        /// JSON Web Tokens of others.
        jwt: Jwt,
        /// Webhooks.
        webhooks: Webhooks,
        /// Windows of the lifecycle.
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
        /// Where the API listens.
        listen: SocketAddr,
        /// Where the management endpoints are.
        management_listen: SocketAddr,
        /// The service's address as callers see it.
        public_url: Option<String>,
        /// The longest that one request may take, in seconds.
        request_timeout_seconds: u64,
        /// The longest that requests in flight may take when the service stops, in seconds.
        shutdown_timeout_seconds: u64,
        /// How long a connection may take to send the head of its next request.
        idle_timeout_seconds: u64,
        /// The origins of web pages that may call the API.
        cors_origins: Vec<String>,
        /// The networks of proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<IpNet>,
    }
}
section! {
    /// `[database]`
    Database {
        /// A PostgreSQL; none: the embedded one.
        url: Option<SecretString>,
        /// Where the embedded cluster lives.
        data_dir: Option<PathBuf>,
        /// The folder of its programs.
        pg_bin_dir: Option<PathBuf>,
        /// Whether its programs may be fetched.
        fetch: bool,
        /// The most connections.
        max_connections: u32,
        /// How long a request waits for a connection, in seconds.
        acquire_timeout_seconds: u64,
        /// The longest that one statement may run, in seconds.
        statement_timeout_seconds: u64,
    }
}
section! {
    /// `[commit]`
    Commit {
        /// How many changes may wait.
        queue: usize,
        /// The most changes that are committed together.
        batch: usize,
        /// Which changes may be committed together.
        scope: CommitScope,
    }
}
section! {
    /// `[limits]`
    Limits {
        /// Requests a minute of one credential; 0: as many as come.
        token_per_minute: u32,
        /// Requests a minute of one client address; 0: as many as come.
        address_per_minute: u32,
        /// How many connections there may be at once.
        connections: usize,
    }
}
section! {
    /// `[jwt]`
    Jwt {
        /// Who issues them.
        issuer: Option<String>,
        /// For whom.
        audience: Option<String>,
        /// A shared secret.
        secret: Option<SecretString>,
        /// A public key.
        public_key_file: Option<PathBuf>,
        /// A key set.
        jwks_file: Option<PathBuf>,
        /// The address of a key set.
        jwks_url: Option<String>,
        /// How far the issuer's clock may be off, in seconds.
        leeway_seconds: u64,
        /// Whether an operator's are accepted.
        operators: bool,
    }
}
section! {
    /// `[webhooks]`
    Webhooks {
        /// Whether endpoints may have http URLs.
        allow_http: bool,
        /// Networks that are not for everybody and that endpoints may nevertheless be in.
        allowed_networks: Vec<IpNet>,
        /// The longest that one attempt may take, in seconds.
        timeout_seconds: f64,
        /// How long after a failure it is tried again, in seconds; after the last one again and again.
        retry_seconds: Vec<f64>,
        /// After how many days of failures only an endpoint is suspended.
        suspend_after_days: u64,
        /// How many attempts may be under way at once, in all.
        concurrency: usize,
        /// How many of them to one endpoint.
        endpoint_concurrency: usize,
        /// For how long a dispatcher that says nothing keeps its endpoints, in seconds.
        lease_seconds: u64,
        /// How long attempts are kept in the log, in days.
        keep_attempts_days: u64,
    }
}
section! {
    /// `[lifecycle]`
    Lifecycle {
        /// How long a deleted account can be restored, in days.
        purge_window_days: u64,
        /// How many days the journal is kept; 0: for ever.
        keep_journal_days: u64,
    }
}
section! {
    /// `[idempotency]`
    Idempotency {
        /// How long answers are kept, in hours.
        window_hours: u64,
    }
}
section! {
    /// `[admin]`
    Admin {
        /// Answer errors with HTTP 200.
        always_200: bool,
        /// Accept `?token=`.
        token_in_query: bool,
        /// The largest body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[soap]`
    Soap {
        /// Answer "does not exist" where an account is another reseller's.
        hide_foreign_accounts: bool,
        /// The largest body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[v3]`
    V3 {
        /// The largest body, in bytes.
        max_body_bytes: usize,
    }
}
section! {
    /// `[log]`
    Log {
        /// A level or a filter.
        level: String,
        /// How it is written.
        format: LogFormat,
    }
}

section! {
    /// `[traces]`
    Traces {
        /// A collector's OTLP address over HTTP; none: nothing is traced.
        endpoint: Option<String>,
        /// Which share of the requests is traced.
        sample: f64,
    }
}

/// Which changes may be committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitScope {
    /// All that wait.
    All,
    /// Those of one reseller.
    Reseller,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is wrong with the configuration, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// The configuration as it was put together, before and after it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    figment: Figment,
}

impl Loaded {
    /// Reads defaults, then `file` (or the one that `STEWARD_CONFIG` names), then the environment.
    ///
    /// # Errors
    /// [`Problem`] names the key, where it comes from, and for an unknown key the nearest one.
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
        // The variable that every program has that sends traces.
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
                    .map(|one| explain(&one))
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        })?;
        config.check()?;
        Ok(Self { config, figment })
    }

    /// Every key with its value and where that came from, secrets masked, in the form of a configuration file.
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
            // Writing to a String cannot fail.
            let _written = writeln!(text, "\n[{section}]");
            for (key, value) in values.as_dict().into_iter().flatten() {
                self.show_key(&mut text, &format!("{section}.{key}"), key, value);
            }
        }
        text
    }

    fn show_key(&self, text: &mut String, path: &str, key: &str, value: &Value) {
        let shown = match value {
            _ if SECRET.contains(&path) => "\"********\"".to_owned(),
            Value::String(_, value) => format!("{value:?}"),
            Value::Bool(_, value) => value.to_string(),
            Value::Num(_, value) => value.to_i128().map_or_else(
                || format!("{:?}", value.to_f64()),
                |value| value.to_string(),
            ),
            Value::Char(..) | Value::Empty(..) | Value::Dict(..) | Value::Array(..) => {
                format!("{value:?}")
            }
        };
        let origin = self
            .figment
            .find_metadata(path)
            .map_or_else(|| "default".to_owned(), origin);
        let _written = writeln!(text, "{key} = {shown}  # {origin}");
    }
}

/// Where a value came from, in a word.
fn origin(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ => "default".to_owned(),
    }
}

/// An error of the reader, in our words.
fn explain(error: &figment::Error) -> String {
    let path = error.path.join(".");
    let from = error
        .metadata
        .as_ref()
        .map(origin)
        .filter(|origin| origin != "default")
        .map_or_else(String::new, |origin| format!(" (from {origin})"));
    let Kind::UnknownField(key, known) = &error.kind else {
        return format!("{path}: {}{from}", error.kind);
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
    /// The database's address, if one is configured.
    #[must_use]
    pub fn database_url(&self) -> Option<&SecretString> {
        use secrecy::ExposeSecret as _;
        self.database
            .url
            .as_ref()
            .filter(|url| !url.expose_secret().is_empty())
    }

    /// Where everything of the embedded cluster is.
    ///
    /// # Errors
    /// [`Problem`] if nothing says where it could be.
    pub fn data_dir(&self) -> Result<PathBuf, Problem> {
        if let Some(configured) = &self.database.data_dir {
            return std::path::absolute(configured)
                .map_err(|error| Problem(format!("database.data_dir: {error}")));
        }
        if Uid::effective().is_root() {
            return Ok(PathBuf::from("/var/lib/steward"));
        }
        let from = |name| {
            env::var_os(name)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let share =
            from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
        share.map(|share| share.join("steward")).ok_or_else(|| {
            Problem("database.data_dir: is needed, because HOME is not set".to_owned())
        })
    }
}

//! The sections of the configuration and their keys.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;

use crate::secret_url::SecretUrl;

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
        /// How many bytes of answers each process stores for one reseller. 0 = any number.
        max_bytes_per_reseller: u64,
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

//! Checks the values of the configuration beyond their types.

use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    Commit, Config, Database, Environment, Idempotency, Jwt, Lifecycle, Log, Server, Shares,
    Traces, Webhooks,
};
use crate::dialects::v3;
use crate::secret_url::{SecretUrl, mask};

/// The maximum of a period: a hundred years in days, four in hours.
const MAX_PERIOD: u64 = 36_500;
/// The minimum of the shares of bytes. It holds the largest request that is accepted by default.
const MIN_BODY_BYTES: usize = 2 << 20;
/// The maximum of `jwt.leeway_seconds`.
const MAX_LEEWAY: u64 = 600;
/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The form of a database URL, for messages.
const DATABASE_URL_FORM: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// Collects what is wrong, a line for each mistake.
#[derive(Debug, Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn require(&mut self, is_valid: bool, problem: &str) {
        if !is_valid {
            self.0.push(problem.to_owned());
        }
    }

    fn positive<T: Copy + Default + PartialEq>(&mut self, key: &str, value: T) {
        self.require(
            value != T::default(),
            &format!("{key}: must be at least 1, not 0"),
        );
    }

    fn at_most(&mut self, key: &str, value: u64, max: u64) {
        self.require(
            value <= max,
            &format!("{key}: must be at most {max}, not {value}"),
        );
    }

    fn web_address(&mut self, key: &str, url: Option<&str>) {
        self.require(
            url.is_none_or(is_web_address),
            &format!(
                "{key}: must begin with https:// or http://{}",
                not(key, url)
            ),
        );
    }
}

/// What was given, unless it may have a secret in a place that only a right address shows.
fn not(key: &str, url: Option<&str>) -> String {
    let given = url.filter(|_| key == "server.public_url");
    given.map_or_else(String::new, |given| {
        let given = if given.contains("://") {
            mask(given)
        } else {
            given.to_owned()
        };
        format!(", not \"{given}\"")
    })
}

impl Config {
    /// Checks every section. Returns a line for each mistake, which names the key. Keys in `masked`
    /// have no real value, so they are left out.
    pub(super) fn mistakes(&self, masked: &[String]) -> Vec<String> {
        let is_masked = |key: &str| masked.iter().any(|masked| masked == key);
        let mut mistakes = Mistakes::default();
        self.server.check(&mut mistakes);
        self.database.check(&mut mistakes);
        self.commit.check(&mut mistakes);
        self.shares.check(&mut mistakes);
        self.jwt.check(&mut mistakes);
        self.webhooks.check(&mut mistakes);
        self.lifecycle.check(&mut mistakes);
        self.idempotency.check(&mut mistakes);
        self.log.check(&mut mistakes);
        self.traces.check(&mut mistakes);
        self.check_largest_body(&mut mistakes);
        if !is_masked("database.url") {
            self.check_database_url(&mut mistakes);
        }
        // A masked secret is too short for a key, and the rest is right or wrong with the secret.
        if !is_masked("jwt.secret")
            && let Err(problem) = self.verifier()
        {
            mistakes.0.push(problem.to_string());
        }
        mistakes.0
    }

    fn check_database_url(&self, mistakes: &mut Mistakes) {
        let Some(url) = self.database_url() else {
            return mistakes.require(
                self.environment == Environment::Development,
                "database.url: is required in production; set DATABASE_URL, or \
                 STEWARD_ENVIRONMENT=development for the embedded database",
            );
        };
        // Only the scheme is shown: the rest may have a password, in any part of a wrong URL.
        let given = url.expose_secret();
        let scheme = given.split_once("://").map(|(scheme, _)| scheme);
        let problem = match (scheme, Url::parse(given)) {
            (Some("postgres" | "postgresql"), Ok(_)) => return,
            (Some("postgres" | "postgresql"), Err(error)) => error.to_string(),
            (Some(scheme), _) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                format!("{scheme}:// is not PostgreSQL")
            }
            _ => "is no URL".to_owned(),
        };
        mistakes.0.push(format!(
            "database.url: {problem}; write {DATABASE_URL_FORM}, or leave database.url and \
             DATABASE_URL empty for the embedded database"
        ));
    }

    /// Checks that the largest body that an operation accepts fits into one caller's share.
    fn check_largest_body(&self, mistakes: &mut Mistakes) {
        let limits = v3::OPERATIONS
            .iter()
            .map(|operation| operation.max_body(self.v3.max_body_bytes))
            .chain([self.admin.max_body_bytes, self.soap.max_body_bytes]);
        let largest = limits.max().unwrap_or_default();
        mistakes.require(
            self.shares.body_bytes_per_caller >= largest,
            &format!(
                "shares.body_bytes_per_caller: must be at least {largest}, the largest body that \
                 admin.max_body_bytes, soap.max_body_bytes and v3.max_body_bytes (16 times for \
                 bulk requests) accept, not {}",
                self.shares.body_bytes_per_caller
            ),
        );
    }
}

impl Server {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.positive(
            "server.request_timeout_seconds",
            self.request_timeout_seconds,
        );
        mistakes.web_address("server.public_url", self.public_url.as_deref());
        mistakes.require(
            self.public_url
                .as_ref()
                .is_none_or(|url| !url.ends_with('/')),
            "server.public_url: must not end with a slash",
        );
        let is_origin = |origin: &str| is_web_address(origin) && origin.matches('/').count() == 2;
        for wrong in self.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            let wrong = if wrong.contains("://") {
                mask(wrong)
            } else {
                wrong.clone()
            };
            mistakes.0.push(format!(
                "server.cors_origins: {wrong}: must be an origin such as \
                 https://panel.example.com, without a path"
            ));
        }
    }
}

impl Database {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.positive("database.max_connections", self.max_connections);
        mistakes.positive(
            "database.acquire_timeout_seconds",
            self.acquire_timeout_seconds,
        );
        mistakes.positive(
            "database.statement_timeout_seconds",
            self.statement_timeout_seconds,
        );
    }
}

impl Commit {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.positive("commit.queue", self.queue);
        mistakes.positive("commit.batch", self.batch);
    }
}

impl Shares {
    fn check(&self, mistakes: &mut Mistakes) {
        for (key, value) in [
            ("heavy", self.heavy),
            ("heavy_per_reseller", self.heavy_per_reseller),
            ("streams", self.streams),
            ("streams_per_reseller", self.streams_per_reseller),
            ("streams_per_token", self.streams_per_token),
            ("connections_per_address", self.connections_per_address),
        ] {
            mistakes.positive(&format!("shares.{key}"), value);
        }
        for (key, value) in [
            ("body_bytes", self.body_bytes),
            ("body_bytes_per_caller", self.body_bytes_per_caller),
        ] {
            mistakes.require(
                value >= MIN_BODY_BYTES,
                &format!("shares.{key}: must be at least {MIN_BODY_BYTES}, not {value}"),
            );
        }
        for (key, part, whole) in [
            ("heavy", self.heavy_per_reseller, self.heavy),
            ("streams", self.streams_per_reseller, self.streams),
        ] {
            mistakes.require(
                part <= whole,
                &format!(
                    "shares.{key}_per_reseller: must be at most shares.{key}, which is {whole}, \
                     not {part}"
                ),
            );
        }
        mistakes.require(
            self.body_bytes_per_caller <= self.body_bytes,
            &format!(
                "shares.body_bytes_per_caller: must be at most shares.body_bytes, which is {}, \
                 not {}",
                self.body_bytes, self.body_bytes_per_caller
            ),
        );
    }
}

impl Jwt {
    fn check(&self, mistakes: &mut Mistakes) {
        let url = self.jwks_url.as_ref().map(SecretUrl::expose);
        mistakes.web_address("jwt.jwks_url", url);
        mistakes.at_most("jwt.leeway_seconds", self.leeway_seconds, MAX_LEEWAY);
    }
}

impl Webhooks {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.positive("webhooks.suspend_after_days", self.suspend_after_days);
        mistakes.positive("webhooks.lease_seconds", self.lease_seconds);
        mistakes.positive("webhooks.concurrency", self.concurrency);
        mistakes.positive("webhooks.reseller_concurrency", self.reseller_concurrency);
        mistakes.positive("webhooks.endpoint_concurrency", self.endpoint_concurrency);
        mistakes.positive("webhooks.turns", self.turns);
        mistakes.positive("webhooks.reseller_turns", self.reseller_turns);
        mistakes.positive("webhooks.keep_attempts_days", self.keep_attempts_days);
        mistakes.at_most(
            "webhooks.suspend_after_days",
            self.suspend_after_days,
            MAX_PERIOD,
        );
        mistakes.at_most(
            "webhooks.keep_attempts_days",
            self.keep_attempts_days,
            MAX_PERIOD,
        );
        let up_to_a_week = |seconds: &f64| (0.001..=604_800.0).contains(seconds);
        for (key, seconds) in [("timeout_seconds", &[self.timeout_seconds][..])]
            .into_iter()
            .chain([("retry_seconds", self.retry_seconds.as_slice())])
        {
            let wrong = seconds.iter().find(|seconds| !up_to_a_week(seconds));
            if let Some(wrong) = wrong {
                mistakes.0.push(format!(
                    "webhooks.{key}: must be 0.001 to 604800 (a week), not {wrong}"
                ));
            }
        }
        mistakes.require(
            !self.retry_seconds.is_empty(),
            "webhooks.retry_seconds: must have at least one number",
        );
    }
}

impl Lifecycle {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.at_most(
            "lifecycle.purge_window_days",
            self.purge_window_days,
            MAX_PERIOD,
        );
        mistakes.at_most(
            "lifecycle.keep_journal_days",
            self.keep_journal_days,
            MAX_PERIOD,
        );
        mistakes.positive("lifecycle.keep_bulk_items_days", self.keep_bulk_items_days);
        mistakes.at_most(
            "lifecycle.keep_bulk_items_days",
            self.keep_bulk_items_days,
            MAX_PERIOD,
        );
    }
}

impl Idempotency {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.positive("idempotency.window_hours", self.window_hours);
        mistakes.at_most("idempotency.window_hours", self.window_hours, MAX_PERIOD);
    }
}

impl Log {
    /// Refuses unknown levels. The filter would read a misspelt level as the name of a module, and
    /// log nothing.
    fn check(&self, mistakes: &mut Mistakes) {
        let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        for part in self.level.split(',').map(str::trim) {
            let level = part
                .rsplit_once('=')
                .map_or(part, |(_, level)| level.trim());
            mistakes.require(
                part.is_empty() || is_level(level),
                &format!(
                    "log.level: {level} is no level; the levels are {}, and MODULE=LEVEL",
                    LEVELS.join(", ")
                ),
            );
        }
    }
}

impl Traces {
    fn check(&self, mistakes: &mut Mistakes) {
        let url = self.endpoint.as_ref().map(SecretUrl::expose);
        mistakes.web_address("traces.endpoint", url);
        mistakes.require(
            url.is_none_or(|url| !url.contains('?')),
            "traces.endpoint: must not have a query; to send a token, set \
             OTEL_EXPORTER_OTLP_HEADERS, such as authorization=Bearer%20...",
        );
        mistakes.require(
            (0.0..=1.0).contains(&self.sample),
            &format!(
                "traces.sample: must be between 0 and 1, not {}",
                self.sample
            ),
        );
    }
}

fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

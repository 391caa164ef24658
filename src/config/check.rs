//! Checks the values of the configuration beyond their types.

use crate::secret_url::mask;

use super::{
    Commit, Config, Database, Environment, Idempotency, Jwt, Lifecycle, Log, Problem, Server,
    Shares, Traces, Webhooks,
};
use crate::dialects::v3;

/// The maximum of a period: a hundred years in days, four in hours.
const MAX_PERIOD: u64 = 36_500;
/// The minimum of the shares of bytes. It holds the largest request that is accepted by default.
const MIN_BODY_BYTES: usize = 2 << 20;
/// The maximum of `jwt.leeway_seconds`.
const MAX_LEEWAY: u64 = 600;
/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Config {
    /// Checks every section, and stops at the first problem.
    ///
    /// # Errors
    /// [`Problem`] names the key.
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.server.check()?;
        self.database.check()?;
        self.commit.check()?;
        self.shares.check()?;
        self.jwt.check()?;
        self.webhooks.check()?;
        self.lifecycle.check()?;
        self.idempotency.check()?;
        self.log.check()?;
        self.traces.check()?;
        self.check_largest_body()?;
        self.verifier()?;
        require(
            self.environment == Environment::Development || self.database_url().is_some(),
            "database.url: is required in production; set DATABASE_URL, or \
             STEWARD_ENVIRONMENT=development for the embedded database",
        )
    }
}

impl Config {
    /// Checks that the largest body that an operation accepts fits into one caller's share.
    fn check_largest_body(&self) -> Result<(), Problem> {
        let limits = v3::OPERATIONS
            .iter()
            .map(|operation| operation.max_body(self.v3.max_body_bytes))
            .chain([self.admin.max_body_bytes, self.soap.max_body_bytes]);
        let largest = limits.max().unwrap_or_default();
        require(
            self.shares.body_bytes_per_caller >= largest,
            &format!(
                "shares.body_bytes_per_caller: must be at least {largest}, the largest body that \
                 admin.max_body_bytes, soap.max_body_bytes and v3.max_body_bytes (16 times for \
                 bulk requests) accept"
            ),
        )
    }
}

impl Server {
    fn check(&self) -> Result<(), Problem> {
        positive(
            "server.request_timeout_seconds",
            self.request_timeout_seconds,
        )?;
        let url = self.public_url.as_ref();
        require(
            url.is_none_or(|url| is_web_address(url) && !url.ends_with('/')),
            "server.public_url: must be an https or http address without a slash at the end",
        )?;
        let is_origin = |origin: &str| is_web_address(origin) && origin.matches('/').count() == 2;
        match self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            None => Ok(()),
            Some(wrong) => Err(Problem(format!(
                "server.cors_origins: {}: must be an origin such as \
                 https://panel.example.com, without a path",
                mask(wrong)
            ))),
        }
    }
}

impl Database {
    fn check(&self) -> Result<(), Problem> {
        positive("database.max_connections", self.max_connections)?;
        positive(
            "database.acquire_timeout_seconds",
            self.acquire_timeout_seconds,
        )?;
        positive(
            "database.statement_timeout_seconds",
            self.statement_timeout_seconds,
        )
    }
}

impl Commit {
    fn check(&self) -> Result<(), Problem> {
        positive("commit.queue", self.queue)?;
        positive("commit.batch", self.batch)
    }
}

impl Shares {
    fn check(&self) -> Result<(), Problem> {
        for (key, value) in [
            ("heavy", self.heavy),
            ("heavy_per_reseller", self.heavy_per_reseller),
            ("streams", self.streams),
            ("streams_per_reseller", self.streams_per_reseller),
            ("streams_per_token", self.streams_per_token),
            ("connections_per_address", self.connections_per_address),
        ] {
            positive(&format!("shares.{key}"), value)?;
        }
        for (key, value) in [
            ("body_bytes", self.body_bytes),
            ("body_bytes_per_caller", self.body_bytes_per_caller),
        ] {
            require(
                value >= MIN_BODY_BYTES,
                &format!("shares.{key}: must be at least {MIN_BODY_BYTES}"),
            )?;
        }
        for (key, part, whole) in [
            ("heavy", self.heavy_per_reseller, self.heavy),
            ("streams", self.streams_per_reseller, self.streams),
        ] {
            require(
                part <= whole,
                &format!("shares.{key}_per_reseller: must be at most shares.{key}"),
            )?;
        }
        require(
            self.body_bytes_per_caller <= self.body_bytes,
            "shares.body_bytes_per_caller: must be at most shares.body_bytes",
        )
    }
}

impl Jwt {
    fn check(&self) -> Result<(), Problem> {
        require(
            self.jwks_url
                .as_ref()
                .is_none_or(|url| is_web_address(url.expose())),
            "jwt.jwks_url: must be an https or http address",
        )?;
        at_most("jwt.leeway_seconds", self.leeway_seconds, MAX_LEEWAY)
    }
}

impl Webhooks {
    fn check(&self) -> Result<(), Problem> {
        positive("webhooks.suspend_after_days", self.suspend_after_days)?;
        positive("webhooks.lease_seconds", self.lease_seconds)?;
        positive("webhooks.concurrency", self.concurrency)?;
        positive("webhooks.reseller_concurrency", self.reseller_concurrency)?;
        positive("webhooks.endpoint_concurrency", self.endpoint_concurrency)?;
        positive("webhooks.turns", self.turns)?;
        positive("webhooks.reseller_turns", self.reseller_turns)?;
        positive("webhooks.keep_attempts_days", self.keep_attempts_days)?;
        at_most(
            "webhooks.suspend_after_days",
            self.suspend_after_days,
            MAX_PERIOD,
        )?;
        at_most(
            "webhooks.keep_attempts_days",
            self.keep_attempts_days,
            MAX_PERIOD,
        )?;
        let up_to_a_week = |seconds: &f64| (0.001..=604_800.0).contains(seconds);
        require(
            up_to_a_week(&self.timeout_seconds)
                && !self.retry_seconds.is_empty()
                && self.retry_seconds.iter().all(up_to_a_week),
            "webhooks: timeout_seconds and each of retry_seconds must be more than 0 and at most \
             a week",
        )
    }
}

impl Lifecycle {
    fn check(&self) -> Result<(), Problem> {
        at_most(
            "lifecycle.purge_window_days",
            self.purge_window_days,
            MAX_PERIOD,
        )?;
        at_most(
            "lifecycle.keep_journal_days",
            self.keep_journal_days,
            MAX_PERIOD,
        )?;
        positive("lifecycle.keep_bulk_items_days", self.keep_bulk_items_days)?;
        at_most(
            "lifecycle.keep_bulk_items_days",
            self.keep_bulk_items_days,
            MAX_PERIOD,
        )
    }
}

impl Idempotency {
    fn check(&self) -> Result<(), Problem> {
        positive("idempotency.window_hours", self.window_hours)?;
        at_most("idempotency.window_hours", self.window_hours, MAX_PERIOD)
    }
}

impl Log {
    /// Refuses unknown levels. The filter would read a misspelt level as the name of a module, and
    /// log nothing.
    fn check(&self) -> Result<(), Problem> {
        let is_valid = |part: &str| {
            part.is_empty()
                || part.contains('=')
                || LEVELS.contains(&part.to_ascii_lowercase().as_str())
        };
        let mut parts = self.level.split(',').map(str::trim);
        match parts.find(|part| !is_valid(part)) {
            None => Ok(()),
            Some(wrong) => Err(Problem(format!(
                "log.level: {wrong} is no level; the levels are {}, and MODULE=LEVEL",
                LEVELS.join(", ")
            ))),
        }
    }
}

impl Traces {
    fn check(&self) -> Result<(), Problem> {
        require(
            self.endpoint
                .as_ref()
                .is_none_or(|url| is_web_address(url.expose())),
            "traces.endpoint: must be an https or http address",
        )?;
        require(
            self.endpoint
                .as_ref()
                .is_none_or(|url| !url.expose().contains('?')),
            "traces.endpoint: must not have a query; to send a token, set \
             OTEL_EXPORTER_OTLP_HEADERS, such as authorization=Bearer%20...",
        )?;
        require(
            (0.0..=1.0).contains(&self.sample),
            "traces.sample: must be between 0 and 1",
        )
    }
}

fn require(is_valid: bool, problem: &str) -> Result<(), Problem> {
    if is_valid {
        Ok(())
    } else {
        Err(Problem(problem.to_owned()))
    }
}

fn positive<T: Copy + Default + PartialEq>(key: &str, value: T) -> Result<(), Problem> {
    require(value != T::default(), &format!("{key}: must be at least 1"))
}

fn at_most(key: &str, value: u64, max: u64) -> Result<(), Problem> {
    require(value <= max, &format!("{key}: must be at most {max}"))
}

fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

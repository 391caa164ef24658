//! What a value must be beyond its type.

use super::{Config, Environment, Problem};

impl Config {
    /// # Errors
    /// [`Problem`] names the key.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let positive = [
            (
                "server.request_timeout_seconds",
                self.server.request_timeout_seconds,
            ),
            (
                "database.max_connections",
                self.database.max_connections.into(),
            ),
            (
                "database.acquire_timeout_seconds",
                self.database.acquire_timeout_seconds,
            ),
            (
                "database.statement_timeout_seconds",
                self.database.statement_timeout_seconds,
            ),
            (
                "commit.queue",
                u64::try_from(self.commit.queue).unwrap_or(u64::MAX),
            ),
            (
                "commit.batch",
                u64::try_from(self.commit.batch).unwrap_or(u64::MAX),
            ),
            ("idempotency.window_hours", self.idempotency.window_hours),
            (
                "webhooks.suspend_after_days",
                self.webhooks.suspend_after_days,
            ),
            ("webhooks.lease_seconds", self.webhooks.lease_seconds),
            (
                "webhooks.concurrency",
                u64::try_from(self.webhooks.concurrency).unwrap_or(u64::MAX),
            ),
            (
                "webhooks.endpoint_concurrency",
                u64::try_from(self.webhooks.endpoint_concurrency).unwrap_or(u64::MAX),
            ),
            (
                "webhooks.keep_attempts_days",
                self.webhooks.keep_attempts_days,
            ),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Problem(format!("{key}: must be at least 1")));
        }
        let too_long = [
            (
                "lifecycle.purge_window_days",
                self.lifecycle.purge_window_days,
            ),
            (
                "lifecycle.keep_journal_days",
                self.lifecycle.keep_journal_days,
            ),
            ("idempotency.window_hours", self.idempotency.window_hours),
            (
                "webhooks.suspend_after_days",
                self.webhooks.suspend_after_days,
            ),
            (
                "webhooks.keep_attempts_days",
                self.webhooks.keep_attempts_days,
            ),
        ];
        if let Some((key, _)) = too_long.iter().find(|(_, value)| *value > 36_500) {
            return Err(Problem(format!("{key}: must be at most 36500")));
        }
        let is_web_address =
            |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if !self
            .server
            .public_url
            .as_ref()
            .is_none_or(|url| is_web_address(url) && !url.ends_with('/'))
        {
            return Err(Problem(
                "server.public_url: must be an https or http address without a slash at its end"
                    .to_owned(),
            ));
        }
        if !self.traces.endpoint.as_ref().is_none_or(is_web_address) {
            return Err(Problem(
                "traces.endpoint: must be an https or http address".to_owned(),
            ));
        }
        if !(0.0..=1.0).contains(&self.traces.sample) {
            return Err(Problem("traces.sample: must be between 0 and 1".to_owned()));
        }
        let is_span = |seconds: f64| (0.001..=604_800.0).contains(&seconds);
        if !is_span(self.webhooks.timeout_seconds)
            || self.webhooks.retry_seconds.is_empty()
            || !self.webhooks.retry_seconds.iter().all(|one| is_span(*one))
        {
            return Err(Problem("webhooks: timeout_seconds and each of retry_seconds must be more than 0 and at most a week".to_owned()));
        }
        let is_origin =
            |origin: &&String| is_web_address(origin) && origin.matches('/').count() == 2;
        if let Some(wrong) = self
            .server
            .cors_origins
            .iter()
            .find(|origin| !is_origin(origin))
        {
            return Err(Problem(format!(
                "server.cors_origins: {wrong}: must be an origin such as https://panel.example.com, without a path"
            )));
        }
        if !self.jwt.jwks_url.as_ref().is_none_or(is_web_address) {
            return Err(Problem(
                "jwt.jwks_url: must be an https or http address".to_owned(),
            ));
        }
        if self.jwt.leeway_seconds > 600 {
            return Err(Problem(
                "jwt.leeway_seconds: must be at most 600".to_owned(),
            ));
        }
        // The filter would take a misspelt level for the name of a module, and log nothing.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let is_level = |word: &str| {
            word.is_empty()
                || word.contains('=')
                || levels.contains(&word.to_ascii_lowercase().as_str())
        };
        if let Some(wrong) = self
            .log
            .level
            .split(',')
            .map(str::trim)
            .find(|part| !is_level(part))
        {
            return Err(Problem(format!(
                "log.level: {wrong} is no level; the levels are {}, and MODULE=LEVEL",
                levels.join(", ")
            )));
        }
        self.verifier()?;
        if self.environment == Environment::Production && self.database_url().is_none() {
            return Err(Problem(
                "database.url: is required in production; set DATABASE_URL, or STEWARD_ENVIRONMENT=development for the embedded database".to_owned(),
            ));
        }
        Ok(())
    }
}

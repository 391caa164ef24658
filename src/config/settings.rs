//! Converts the configuration into the settings of each room.

use std::time::Duration;

use chrono::TimeDelta;

use super::{CommitScope, Config, EMBEDDED_CONNECTIONS, Jwt, LogFormat, Problem};
use crate::dialects::{admin, soap, v3};
use crate::http;
use crate::jobs;
use crate::jwt;
use crate::service;
use crate::store::PoolSettings;
use crate::store::embedded;
use crate::telemetry;
use crate::webhooks;

impl Config {
    /// The settings of the embedded cluster.
    ///
    /// # Errors
    /// The same as [`Config::data_dir`].
    pub fn embedded(&self) -> Result<embedded::Settings, Problem> {
        Ok(embedded::Settings {
            data_dir: self.data_dir()?,
            search: embedded::Search::usual(self.database.pg_bin_dir.clone()),
            fetch: self.database.fetch,
            durable: true,
            max_connections: EMBEDDED_CONNECTIONS,
        })
    }

    /// The settings of the connection pool.
    #[must_use]
    pub fn pool(&self) -> PoolSettings {
        PoolSettings {
            max_connections: self.database.max_connections,
            acquire_timeout: Duration::from_secs(self.database.acquire_timeout_seconds),
            statement_timeout: Duration::from_secs(self.database.statement_timeout_seconds),
        }
    }

    /// The settings of the service.
    #[must_use]
    pub fn service(&self) -> service::Settings {
        let database = &self.database;
        service::Settings {
            purge_window: Duration::from_hours(24 * self.lifecycle.purge_window_days),
            idempotency_window: Duration::from_hours(self.idempotency.window_hours),
            idempotency_wait: service::Settings::default().idempotency_wait,
            max_answer_bytes: Some(self.idempotency.max_bytes_per_reseller)
                .filter(|bytes| *bytes > 0),
            queue: self.commit.queue,
            batch: self.commit.batch,
            scope: match self.commit.scope {
                CommitScope::All => service::CommitScope::All,
                CommitScope::Reseller => service::CommitScope::Reseller,
            },
            webhook_targets: service::WebhookTargets {
                allow_http: self.webhooks.allow_http,
                networks: self.webhooks.allowed_networks.clone(),
            },
            limits: service::Limits {
                per_token: Some(self.limits.token_per_minute).filter(|limit| *limit > 0),
                per_address: Some(self.limits.address_per_minute).filter(|limit| *limit > 0),
            },
            shares: service::ShareSettings {
                heavy: self.shares.heavy,
                heavy_per_reseller: self.shares.heavy_per_reseller,
                streams: self.shares.streams,
                streams_per_reseller: self.shares.streams_per_reseller,
                streams_per_token: self.shares.streams_per_token,
                body_bytes: self.shares.body_bytes,
                body_bytes_per_caller: self.shares.body_bytes_per_caller,
                queue: self.shares.waiting_per_caller,
                wait: Duration::from_secs(self.shares.wait_seconds),
                transaction_wait: Duration::from_secs(database.acquire_timeout_seconds),
                ..service::ShareSettings::default()
            },
            transaction_timeout: Duration::from_secs(
                2 * database.acquire_timeout_seconds + database.statement_timeout_seconds + 2,
            ),
        }
    }

    /// The verifier of JSON Web Tokens from an identity provider. `None` means that no key is
    /// configured.
    ///
    /// # Errors
    /// [`Problem`] if `issuer` or `audience` is missing, or a key cannot be read.
    pub fn verifier(&self) -> Result<Option<jwt::Verifier>, Problem> {
        let Jwt {
            issuer,
            audience,
            secret,
            public_key_file,
            jwks_file,
            jwks_url,
            leeway_seconds,
            operators,
        } = self.jwt.clone();
        if secret.is_none()
            && public_key_file.is_none()
            && jwks_file.is_none()
            && jwks_url.is_none()
        {
            let without_key = [("issuer", issuer), ("audience", audience)]
                .into_iter()
                .find(|(_, value)| value.is_some());
            return match without_key {
                None => Ok(None),
                Some((key, _)) => Err(Problem(format!(
                    "jwt.{key}: needs a key that verifies the tokens; set jwt.secret, \
                     jwt.public_key_file, jwt.jwks_file or jwt.jwks_url, or leave out jwt.{key}"
                ))),
            };
        }
        let required = |key: &str| {
            Problem(format!(
                "jwt.{key}: is required when a key for JSON Web Tokens is configured"
            ))
        };
        let settings = jwt::Settings {
            issuer: issuer.ok_or_else(|| required("issuer"))?,
            audience: audience.ok_or_else(|| required("audience"))?,
            secret,
            public_key_file,
            jwks_file,
            jwks_url,
            leeway: Duration::from_secs(leeway_seconds),
            operators,
        };
        jwt::Verifier::new(settings).map(Some).map_err(Problem)
    }

    /// The settings of the log and the traces.
    #[must_use]
    pub fn telemetry(&self) -> telemetry::Settings {
        telemetry::Settings {
            level: self.log.level.clone(),
            format: match self.log.format {
                LogFormat::Auto => telemetry::Format::Auto,
                LogFormat::Pretty => telemetry::Format::Pretty,
                LogFormat::Json => telemetry::Format::Json,
            },
            traces: self.traces.endpoint.clone(),
            sample: self.traces.sample,
        }
    }

    /// The settings of the background jobs.
    #[must_use]
    pub fn jobs(&self) -> jobs::Settings {
        let days = |days: u64| Duration::from_hours(24 * days);
        jobs::Settings {
            keep_attempts: days(self.webhooks.keep_attempts_days),
            keep_journal: Some(self.lifecycle.keep_journal_days)
                .filter(|kept| *kept > 0)
                .map(days),
            keep_bulk_items: days(self.lifecycle.keep_bulk_items_days),
        }
    }

    /// The settings of the webhook dispatcher.
    #[must_use]
    pub fn dispatcher(&self) -> webhooks::Settings {
        webhooks::Settings {
            timeout: Duration::from_secs_f64(self.webhooks.timeout_seconds),
            retries: self
                .webhooks
                .retry_seconds
                .iter()
                .map(|seconds| Duration::from_secs_f64(*seconds))
                .collect(),
            suspend_after: TimeDelta::days(
                i64::try_from(self.webhooks.suspend_after_days).unwrap_or(36_500),
            ),
            lease: Duration::from_secs(self.webhooks.lease_seconds),
            concurrency: self.webhooks.concurrency,
            reseller_concurrency: self.webhooks.reseller_concurrency,
            endpoint_concurrency: self.webhooks.endpoint_concurrency,
            turns: self.webhooks.turns,
            reseller_turns: self.webhooks.reseller_turns,
            allowed_networks: self.webhooks.allowed_networks.clone(),
            writer: webhooks::Writer {
                event: v3::message,
                test: v3::test_message,
            },
        }
    }

    /// The settings of the HTTP server.
    #[must_use]
    pub fn http(&self) -> http::Settings {
        http::Settings {
            request_timeout: Duration::from_secs(self.server.request_timeout_seconds),
            cors_origins: self.server.cors_origins.clone(),
            trusted_proxies: self.server.trusted_proxies.clone(),
        }
    }

    /// The settings of the `v3` dialect.
    #[must_use]
    pub fn v3(&self) -> v3::Settings {
        v3::Settings {
            max_body: self.v3.max_body_bytes,
            public_url: self.server.public_url.clone(),
        }
    }

    /// The settings of the `soap` dialect.
    #[must_use]
    pub fn soap(&self) -> soap::Settings {
        soap::Settings {
            hide_foreign_accounts: self.soap.hide_foreign_accounts,
            max_body: self.soap.max_body_bytes,
            public_url: self.server.public_url.clone(),
        }
    }

    /// The settings of the `admin` dialect.
    #[must_use]
    pub fn admin(&self) -> admin::Settings {
        admin::Settings {
            always_200: self.admin.always_200,
            token_in_query: self.admin.token_in_query,
            max_body: self.admin.max_body_bytes,
            public_url: self.server.public_url.clone(),
        }
    }
}

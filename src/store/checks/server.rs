//! Checks of the server's version, settings and clock.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{Finding, account_texts, email_keys, held};
use crate::domain::{Error, Time};
use crate::store::errors::OrDomain as _;
use crate::store::{ACCOUNT_NUMBERS, ACCOUNT_NUMBERS_ALARM, Store};

/// The oldest supported PostgreSQL, as a `server_version_num`.
const MIN_VERSION: i32 = 150_000;
/// How far apart the two clocks may be, in seconds.
const MAX_CLOCK_DIFFERENCE: f64 = 2.0;
/// How many connections must remain free.
const SPARE_CONNECTIONS: i64 = 3;

/// The findings about a server.
#[derive(Debug)]
pub struct ServerReport {
    /// The server's version.
    pub server: String,
    /// How far its clock is ahead of this machine's, in seconds.
    pub clock_ahead: f64,
    /// Problems with its version, settings and clock.
    pub server_findings: Vec<Finding>,
    /// Accounts with the same e-mail address, from before addresses were normalized.
    pub email_findings: Vec<Finding>,
    /// Accounts whose holds lists do not have as they are.
    pub held_findings: Vec<Finding>,
    /// Accounts that text searches may miss.
    pub text_finding: Option<Finding>,
}

impl Store {
    /// Checks the server's version, settings and clock. `now` reads this machine's clock.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost meanwhile.
    pub async fn examine(&self, now: impl Fn() -> Time) -> Result<ServerReport, Error> {
        let mut connection = self.pool.connect_options().connect().await.or_domain()?;
        let (server, mut server_findings) = check_settings(&mut connection, self.connections())
            .await
            .or_domain()?;
        let before = now();
        let theirs = sqlx::query_scalar!(r#"select clock_timestamp() as "at!""#)
            .fetch_one(&mut connection)
            .await
            .or_domain()?;
        // The server read its clock about halfway between the two.
        let ours = before + (now() - before) / 2;
        let clock_ahead = (theirs - ours).as_seconds_f64();
        if clock_ahead.abs() > MAX_CLOCK_DIFFERENCE {
            server_findings.push(Finding::new(
                format!("the database's clock differs from this machine's by {clock_ahead:+.1} s"),
                "synchronize both clocks with NTP: expiry and retries depend on them",
            ));
        }
        server_findings.extend(check_account_numbers(&mut connection).await.or_domain()?);
        // No reseller's accounts can be read without the scope.
        sqlx::raw_sql("set steward.scope = 'platform'")
            .execute(&mut connection)
            .await
            .or_domain()?;
        let email_findings = email_keys::check(&mut connection).await.or_domain()?;
        let held_findings = held::check(&mut connection).await.or_domain()?;
        let text_finding = account_texts::check(&mut connection).await.or_domain()?;
        connection.close().await.or_domain()?;
        Ok(ServerReport {
            server,
            clock_ahead,
            server_findings,
            email_findings,
            held_findings,
            text_finding,
        })
    }

    /// Writes the rows by which lists find holds anew, for every account where they are wrong. Returns
    /// for how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost meanwhile.
    pub async fn renew_held(&self) -> Result<u64, Error> {
        let mut connection = self.pool.connect_options().connect().await.or_domain()?;
        sqlx::raw_sql("set steward.scope = 'platform'")
            .execute(&mut connection)
            .await
            .or_domain()?;
        let written = held::renew(&mut connection).await.or_domain()?;
        connection.close().await.or_domain()?;
        Ok(written)
    }

    /// The most connections that one process opens: those of the pools, and the LISTEN connection.
    fn connections(&self) -> i64 {
        i64::from(self.max_connections() + 1)
    }
}

/// The server's version, and problems with its version and settings. `connections` is the most that
/// one process of the service opens.
async fn check_settings(
    connection: &mut PgConnection,
    connections: i64,
) -> Result<(String, Vec<Finding>), sqlx::Error> {
    let mut findings = Vec::new();
    let mut find = |problem: &str, remedy: &str| findings.push(Finding::new(problem, remedy));
    let server = sqlx::query!(
        r#"select current_setting('server_version') as "version!",
             current_setting('server_version_num')::int as "number!",
             current_setting('fsync') as "fsync!",
             current_setting('full_page_writes') as "full_page_writes!",
             current_setting('synchronous_commit') as "synchronous_commit!",
             current_setting('max_connections')::bigint as "max_connections!",
             pg_is_in_recovery() as "is_standby!",
             (select count(*) from pg_stat_activity
              where usesysid is not null and datid is not null
                and application_name <> 'steward') as "others!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if server.number < MIN_VERSION {
        find(
            &format!("PostgreSQL is version {}", server.version),
            "upgrade to PostgreSQL 15 or newer",
        );
    }
    if server.is_standby {
        find(
            "the server is a standby, which accepts no writes",
            "set the database URL to the primary",
        );
    }
    for (name, value, consequence) in [
        (
            "fsync",
            &server.fsync,
            "a crash of the machine destroys the database",
        ),
        (
            "full_page_writes",
            &server.full_page_writes,
            "a crash of the machine can destroy pages",
        ),
        (
            "synchronous_commit",
            &server.synchronous_commit,
            "a crash of the server loses changes that were acknowledged",
        ),
    ] {
        if value == "off" {
            find(
                &format!("{name} is off: {consequence}"),
                &format!("`alter system set {name} = on; select pg_reload_conf()`"),
            );
        }
    }
    if server.others + connections + SPARE_CONNECTIONS > server.max_connections {
        find(
            &format!(
                "max_connections is {}, other clients use {}, and one process of this service \
                 uses up to {connections}",
                server.max_connections, server.others
            ),
            "raise max_connections on the server, or lower database.max_connections in the \
             configuration",
        );
    }
    Ok((server.version, findings))
}

/// Whether more than half of the account numbers have been given away.
async fn check_account_numbers(
    connection: &mut PgConnection,
) -> Result<Option<Finding>, sqlx::Error> {
    let used = sqlx::query_scalar!(
        r#"select coalesce(pg_sequence_last_value('account_id_seq'), 0) as "count!""#
    )
    .fetch_one(connection)
    .await?;
    Ok((used >= ACCOUNT_NUMBERS_ALARM).then(|| {
        Finding::new(
            format!(
                "{used} of {ACCOUNT_NUMBERS} account numbers have been given away, which is more \
                 than half; when none is left, no account can be created"
            ),
            "find out who creates so many accounts, and plan a second installation: a number is \
             never given twice, also after a purge",
        )
    }))
}

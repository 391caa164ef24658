//! What an operator should know of the database beyond whether the service can start on it.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::Finding;
use crate::domain::{Error, Time};
use crate::store::Store;
use crate::store::errors::OrDomain as _;

/// The oldest PostgreSQL that is supported, as `server_version_num` has it.
const OLDEST: i32 = 150_000;
/// How far apart the two clocks may be, in seconds.
const CLOCKS: f64 = 2.0;
/// How many connections are to be left for others.
const SPARE: i64 = 3;
/// The policies of every table, in the order of their names; a reseller's rows are seen by those for whom they are.
const POLICIES: &str = "of_platform,of_resellers";
/// A token is looked for before it is known whose it is.
const POLICIES_OF_TOKENS: &str = "of_credential,of_platform,of_resellers";

/// What was found.
#[derive(Debug)]
pub struct ServerReport {
    /// The server's version, and where it is.
    pub server: String,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_ahead: f64,
    /// What is wrong with its version, its settings and its clock.
    pub server_findings: Vec<Finding>,
    /// What is wrong with row level security.
    pub policy_findings: Vec<Finding>,
}

impl Store {
    /// Looks at the server's version, settings and clock, and at every policy.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost on the way.
    pub async fn examine(&self, now: impl Fn() -> Time) -> Result<ServerReport, Error> {
        let mut connection = self.pool.connect_options().connect().await.or_domain()?;
        let (server, mut server_findings) = settings(&mut connection, self.connections())
            .await
            .or_domain()?;
        let asked = now();
        let theirs = sqlx::query_scalar!(r#"select clock_timestamp() as "at!""#)
            .fetch_one(&mut connection)
            .await
            .or_domain()?;
        // The answer was written somewhere between asking and hearing it.
        let ours = asked + (now() - asked) / 2;
        let clock_ahead = (theirs - ours).as_seconds_f64();
        if clock_ahead.abs() > CLOCKS {
            server_findings.push(Finding {
                problem: format!("the database's clock is {clock_ahead:+.1} s from ours"),
                remedy:
                    "keep both machines' clocks with NTP: expiry and retries are computed from them"
                        .to_owned(),
            });
        }
        let policy_findings = policies(&mut connection).await.or_domain()?;
        connection.close().await.or_domain()?;
        Ok(ServerReport {
            server,
            clock_ahead,
            server_findings,
            policy_findings,
        })
    }

    fn connections(&self) -> i64 {
        i64::from(
            self.pool.options().get_max_connections() + self.keyed.options().get_max_connections(),
        )
    }
}

async fn settings(
    connection: &mut PgConnection,
    wanted: i64,
) -> Result<(String, Vec<Finding>), sqlx::Error> {
    let mut findings = Vec::new();
    let mut find = |problem: String, remedy: &str| {
        findings.push(Finding {
            problem,
            remedy: remedy.to_owned(),
        });
    };
    let server = sqlx::query!(
        r#"select current_setting('server_version') as "version!", current_setting('server_version_num')::int as "number!",
             current_setting('fsync') as "fsync!", current_setting('full_page_writes') as "pages!", current_setting('synchronous_commit') as "commits!",
             current_setting('max_connections')::bigint as "most!", pg_is_in_recovery() as "standby!",
             (select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name <> 'steward') as "others!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if server.number < OLDEST {
        find(
            format!("PostgreSQL is version {}", server.version),
            "upgrade to PostgreSQL 15 or newer",
        );
    }
    if server.standby {
        find(
            "the server is a standby: nothing can be written".to_owned(),
            "let the database URL lead to the primary",
        );
    }
    for (name, value, means) in [
        (
            "fsync",
            &server.fsync,
            "a crash of the machine destroys the database",
        ),
        (
            "full_page_writes",
            &server.pages,
            "a crash of the machine can destroy pages",
        ),
        (
            "synchronous_commit",
            &server.commits,
            "a crash of the server loses changes that were acknowledged",
        ),
    ] {
        if value == "off" {
            find(
                format!("{name} is off: {means}"),
                &format!("`alter system set {name} = on; select pg_reload_conf()`"),
            );
        }
    }
    if server.others + wanted + SPARE > server.most {
        find(
            format!(
                "max_connections is {}, {} are taken by others, and one process of ours takes up to {wanted}",
                server.most, server.others
            ),
            "raise max_connections of the server, or lower database.max_connections here",
        );
    }
    Ok((server.version, findings))
}

/// Each table has its policies and no other, and each of them depends on what a transaction said of whom it is for.
async fn policies(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let tables = sqlx::query!(
        r#"select c.relname::text as "name!", coalesce(string_agg(p.polname::text, ',' order by p.polname), '') as "policies!",
             coalesce(bool_and(p.polpermissive and pg_get_expr(p.polqual, p.polrelid) like '%current_setting(''steward.%'
               and pg_get_expr(p.polqual, p.polrelid) !~* '\mor\M'), false) as "bound!"
           from pg_class c left join pg_policy p on p.polrelid = c.oid
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> '_sqlx_migrations'
           group by c.relname order by 1"#
    )
    .fetch_all(connection)
    .await?;
    let mut findings = Vec::new();
    for table in tables {
        let wanted = if table.name == "api_token" {
            POLICIES_OF_TOKENS
        } else {
            POLICIES
        };
        if table.policies != wanted || !table.bound {
            findings.push(Finding {
                problem: format!(
                    "the row level security policies of table {} are not those of the migrations",
                    table.name
                ),
                remedy: format!(
                    "create them anew as the migrations do: {wanted}; somebody has changed them"
                ),
            });
        }
    }
    Ok(findings)
}

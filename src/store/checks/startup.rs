//! The migrations, and the checks that must pass before the service starts.

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Finding, cannot_connect, pooler};
use crate::domain::Error;
use crate::store::errors::OrDomain as _;
use crate::store::{SERVICE_ROLE, Store};

/// The migrations of this build.
pub static MIGRATOR: Migrator = sqlx::migrate!();

impl Store {
    /// Applies the missing migrations, as the owner of the schema. Returns how many. Several
    /// replicas may call it at once: they take an advisory lock.
    ///
    /// # Errors
    /// A message for the operator.
    pub async fn migrate(owner: &PgConnectOptions) -> Result<usize, String> {
        let mut connection = owner
            .clone()
            .application_name("steward-migrate")
            .connect()
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        let before = connection
            .list_applied_migrations("_sqlx_migrations")
            .await
            .map_or(0, |applied| applied.len());
        MIGRATOR.run(&mut connection).await.map_err(|error| {
            if let MigrateError::VersionMissing(version) = error {
                format!("the database has migration {version}, which this build does not know: a newer Steward has migrated it")
            } else {
                error.to_string()
            }
        })?;
        connection
            .close()
            .await
            .map_err(|error| error.to_string())?;
        Ok(MIGRATOR.iter().count().saturating_sub(before))
    }

    /// Checks that the service can connect, that the schema is the one of this build, and that row
    /// level security applies to the service's role.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost meanwhile.
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        // Not from the pool: it would try again and again, and would not return the reason.
        let mut connection = match self.pool.connect_options().connect().await {
            Ok(connection) => connection,
            Err(error) => return Ok(vec![cannot_connect(&error)]),
        };
        match pooler::check(&self.pool.connect_options()).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(cannot_connect(&error)),
        }
        if !findings.is_empty() {
            return Ok(findings);
        }
        let mut find = |problem: String, remedy: &str| {
            findings.push(Finding {
                problem,
                remedy: remedy.to_owned(),
            });
        };
        let role_exists = sqlx::query_scalar!(
            r#"select exists (select from pg_roles where rolname = $1) as "exists!""#,
            SERVICE_ROLE
        );
        if !role_exists.fetch_one(&mut connection).await.or_domain()? {
            find(
                format!("there is no role {SERVICE_ROLE}"),
                "run `steward migrate`",
            );
            return Ok(findings);
        }
        if let Err(error) = sqlx::raw_sql("set role steward_service")
            .execute(&mut connection)
            .await
        {
            find(
                format!("cannot work as {SERVICE_ROLE}: {error}"),
                "run `grant steward_service to` the login of the database URL",
            );
            return Ok(findings);
        }

        let version = sqlx::query_scalar::<_, Option<i64>>(
            "select max(version) from _sqlx_migrations where success",
        )
        .fetch_one(&mut connection)
        .await
        .ok()
        .flatten();
        let wanted = MIGRATOR.iter().map(|migration| migration.version).max();
        if version != wanted {
            let name = |version: Option<i64>| {
                version.map_or_else(|| "none".to_owned(), |version| version.to_string())
            };
            find(
                format!(
                    "the schema is at migration {}, this build needs {}",
                    name(version),
                    name(wanted)
                ),
                "run `steward migrate`",
            );
            return Ok(findings);
        }
        let role = sqlx::query!(
            r#"select current_user::text as "name!", rolsuper as "superuser!",
                 rolbypassrls as "bypass!" from pg_roles where rolname = current_user"#
        )
        .fetch_one(&mut connection)
        .await
        .or_domain()?;
        if role.superuser || role.bypass {
            find(
                format!("the role {} is exempt from row level security", role.name),
                "use a login in the database URL that may `set role steward_service`",
            );
        }
        let tables = sqlx::query!(
            r#"select c.relname::text as "name!", c.relrowsecurity
                 and c.relforcerowsecurity as "forced!",
                 pg_has_role(current_user, c.relowner, 'usage') as "owned!"
               from pg_class c where c.relnamespace = 'public'::regnamespace
                 and c.relkind in ('r', 'p')
                 and not c.relispartition and c.relname <> '_sqlx_migrations' order by 1"#
        )
        .fetch_all(&mut connection)
        .await
        .or_domain()?;
        for table in tables {
            if !table.forced {
                find(
                    format!("row level security is not forced on table {}", table.name),
                    "`alter table ... enable row level security; alter table ... force row level security`",
                );
            }
            if table.owned {
                find(
                    format!("the role {SERVICE_ROLE} owns table {}", table.name),
                    "make the role that runs the migrations the owner of the tables",
                );
            }
        }
        connection.close().await.or_domain()?;
        Ok(findings)
    }
}

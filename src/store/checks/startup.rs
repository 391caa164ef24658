//! The migrations, and the checks that must pass before the service starts.

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{Finding, cannot_connect, pooler};
use crate::domain::Error;
use crate::store::errors::OrDomain as _;
use crate::store::{SERVICE_ROLE, Store};

/// The migrations of this build.
pub static MIGRATOR: Migrator = sqlx::migrate!();

impl Store {
    /// Applies the missing migrations, as the owner of the schema. Returns how many it applied.
    /// Several replicas may call it at once: they take an advisory lock.
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
                format!(
                    "the database has migration {version}, which this build does not know: \
                     a newer Steward has migrated it"
                )
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
        // Not from the pool: it would try again and again, and would not return the reason.
        let mut connection = match self.pool.connect_options().connect().await {
            Ok(connection) => connection,
            Err(error) => return Ok(vec![cannot_connect(&error)]),
        };
        let mut finding = match pooler::check(&self.pool.connect_options()).await {
            Ok(finding) => finding,
            Err(error) => Some(cannot_connect(&error)),
        };
        if finding.is_none() {
            finding = set_role(&mut connection).await.or_domain()?;
        }
        if finding.is_none() {
            finding = check_version(&mut connection).await;
        }
        if let Some(finding) = finding {
            return Ok(vec![finding]);
        }
        let findings = check_row_security(&mut connection).await.or_domain()?;
        connection.close().await.or_domain()?;
        Ok(findings)
    }
}

/// Takes the service's role on this connection.
async fn set_role(connection: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let exists = sqlx::query_scalar!(
        r#"select exists (select from pg_roles where rolname = $1) as "exists!""#,
        SERVICE_ROLE
    )
    .fetch_one(&mut *connection)
    .await?;
    if !exists {
        return Ok(Some(Finding::new(
            format!("there is no role {SERVICE_ROLE}"),
            "run `steward migrate`",
        )));
    }
    let taken = sqlx::raw_sql("set role steward_service")
        .execute(connection)
        .await;
    Ok(taken.err().map(|error| {
        Finding::new(
            format!("cannot work as {SERVICE_ROLE}: {error}"),
            "run `grant steward_service to` the login of the database URL",
        )
    }))
}

/// Checks that the schema has exactly the migrations of this build.
async fn check_version(connection: &mut PgConnection) -> Option<Finding> {
    let version = sqlx::query_scalar::<_, Option<i64>>(
        "select max(version) from _sqlx_migrations where success",
    )
    .fetch_one(connection)
    .await
    .ok()
    .flatten();
    let needed = MIGRATOR.iter().map(|migration| migration.version).max();
    let name = |version: Option<i64>| {
        version.map_or_else(|| "none".to_owned(), |version| version.to_string())
    };
    (version != needed).then(|| {
        Finding::new(
            format!(
                "the schema is at migration {}, this build needs {}",
                name(version),
                name(needed)
            ),
            "run `steward migrate`",
        )
    })
}

/// Checks that row level security applies to the current role on every table.
async fn check_row_security(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::new();
    let role = sqlx::query!(
        r#"select current_user::text as "name!", rolsuper as "superuser!",
             rolbypassrls as "bypass!"
           from pg_roles where rolname = current_user"#
    )
    .fetch_one(&mut *connection)
    .await?;
    if role.superuser || role.bypass {
        findings.push(Finding::new(
            format!("the role {} is exempt from row level security", role.name),
            "use a login in the database URL that may `set role steward_service`",
        ));
    }
    let tables = sqlx::query!(
        r#"select c.relname::text as "name!",
             c.relrowsecurity and c.relforcerowsecurity as "forced!",
             pg_has_role(current_user, c.relowner, 'usage') as "owned!"
           from pg_class c
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
             and not c.relispartition and c.relname <> '_sqlx_migrations'
           order by 1"#
    )
    .fetch_all(connection)
    .await?;
    for table in tables {
        if !table.forced {
            findings.push(Finding::new(
                format!("row level security is not forced on table {}", table.name),
                "`alter table ... enable row level security; \
                 alter table ... force row level security`",
            ));
        }
        if table.owned {
            findings.push(Finding::new(
                format!("the role {SERVICE_ROLE} owns table {}", table.name),
                "make the role that runs the migrations the owner of the tables",
            ));
        }
    }
    Ok(findings)
}

//! The migrations: applying them, and which builds may work with which schema.
//!
//! A schema may be newer than a build: after a rollback, or while replicas of two versions run. The
//! function `schema_minimum()` of the schema says which migration a build must know at least.

use std::collections::BTreeMap;

use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tracing::info;

use super::access::Schema;
use super::{Finding, email_keys};
use crate::store::{SERVICE_ROLE, Store};

/// The migrations of this build.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The table in which sqlx lists the applied migrations.
const APPLIED: &str = "_sqlx_migrations";
/// PostgreSQL's error code for a missing right.
const NO_RIGHT: &str = "42501";

/// The number of the newest migration of this build.
pub(in crate::store) fn newest_known() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

impl Store {
    /// Applies the missing migrations, as the owner of the schema. Returns how many it applied.
    /// Several replicas may call it at once: they take an advisory lock. Does nothing if a newer
    /// build has migrated the schema and this build may still work with it.
    ///
    /// # Errors
    /// A message for the operator.
    pub async fn migrate(owner: &PgConnectOptions) -> Result<usize, String> {
        let mut connection = owner
            .clone()
            .application_name("steward-migrate")
            .connect()
            .await
            .map_err(|error| super::unreachable(owner, &error))?;
        let applied = apply(&mut connection).await?;
        connection
            .close()
            .await
            .map_err(|error| error.to_string())?;
        Ok(applied)
    }

    /// Whether a migration has been applied to the database.
    ///
    /// # Errors
    /// A message for the operator.
    pub async fn has_tables(owner: &PgConnectOptions) -> Result<bool, String> {
        let mut connection = owner
            .connect()
            .await
            .map_err(|error| super::unreachable(owner, &error))?;
        let applied = applied(&mut connection)
            .await
            .map_err(|error| error.to_string())?;
        connection
            .close()
            .await
            .map_err(|error| error.to_string())?;
        Ok(!applied.is_empty())
    }
}

pub(super) async fn apply(connection: &mut PgConnection) -> Result<usize, String> {
    // The owner of the tables is subject to row level security too. Without the scope, a migration
    // that changes rows would find none. The level hides notices such as "relation already exists".
    sqlx::raw_sql("set client_min_messages = warning; set steward.scope = 'platform'")
        .execute(&mut *connection)
        .await
        .map_err(|error| error.to_string())?;
    let before = applied(connection)
        .await
        .map_err(|error| error.to_string())?;
    let is_complete = MIGRATOR.iter().all(|migration| {
        let checksum = before.get(&migration.version);
        checksum.is_some_and(|checksum| *checksum == *migration.checksum)
    });
    let newest = before.keys().max().copied().unwrap_or_default();
    if newest > newest_known() {
        let minimum = minimum(connection)
            .await
            .map_err(|error| error.to_string())?;
        return match too_old(newest, minimum) {
            Some(finding) => Err(format!("{}: {}", finding.problem, finding.remedy)),
            None if is_complete => Ok(0),
            None => Err(format!(
                "the schema is at migration {newest}, but lacks some of the first {}, or has \
                 others under their numbers: migrate it with a build that knows migration {newest}",
                newest_known()
            )),
        };
    }
    let mut applied = 0;
    if !is_complete {
        prepare_role(connection).await?;
        if let Err(error) = MIGRATOR.run(&mut *connection).await {
            return Err(explain(connection, error).await);
        }
        applied = MIGRATOR.iter().count().saturating_sub(before.len());
    }
    email_keys::renew(connection)
        .await
        .map_err(|error| format!("cannot make the keys of e-mail addresses: {error}"))?;
    Ok(applied)
}

/// Whether the database has sqlx's table of migrations.
async fn has_table(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select to_regclass($1) is not null as "exists!""#,
        APPLIED
    )
    .fetch_one(connection)
    .await
}

/// The finding that the database has no tables of Steward, if it has none.
pub(super) async fn check_tables(
    connection: &mut PgConnection,
) -> Result<Option<Finding>, sqlx::Error> {
    if has_table(connection).await? {
        return Ok(None);
    }
    Ok(Some(no_tables(connection).await))
}

/// The checksums of the applied migrations by their numbers; none in a new database.
async fn applied(connection: &mut PgConnection) -> Result<BTreeMap<i64, Vec<u8>>, MigrateError> {
    if !has_table(connection).await? {
        return Ok(BTreeMap::new());
    }
    let applied = connection.list_applied_migrations(APPLIED).await?;
    Ok(applied
        .into_iter()
        .map(|migration| (migration.version, migration.checksum.into_owned()))
        .collect())
}

/// Creates the role of the service if it is missing, and grants it to the current login unless the
/// login can take it already. Since PostgreSQL 16, a login that creates a role cannot take it
/// without a grant.
pub(in crate::store) async fn prepare_role(connection: &mut PgConnection) -> Result<(), String> {
    let role = sqlx::query!(
        r#"select current_user::text as "login!",
             exists (select from pg_roles where rolname = $1) as "exists!""#,
        SERVICE_ROLE
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| error.to_string())?;
    let login = role.login.replace('"', "\"\"");
    if !role.exists {
        let create = format!(
            "create role {SERVICE_ROLE} nologin nosuperuser nobypassrls nocreatedb nocreaterole"
        );
        run_for_role(connection, &create, &login).await?;
    }
    if role.login != SERVICE_ROLE && !can_take(connection).await? {
        let grant = format!("grant {SERVICE_ROLE} to \"{login}\"");
        run_for_role(connection, &grant, &login).await?;
    }
    Ok(())
}

/// Whether the current login can `set role steward_service`.
async fn can_take(connection: &mut PgConnection) -> Result<bool, String> {
    sqlx::query_scalar!(
        r#"select pg_has_role(current_user, $1,
             case when current_setting('server_version_num')::int >= 160000 then 'set'
               else 'member' end) as "can!""#,
        SERVICE_ROLE
    )
    .fetch_one(connection)
    .await
    .map_err(|error| error.to_string())
}

async fn run_for_role(
    connection: &mut PgConnection,
    statement: &str,
    login: &str,
) -> Result<(), String> {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await;
    match done {
        // Another replica, or the migration of another database of the cluster, was faster.
        Err(error) if matches!(code(&error).as_deref(), Some("42710" | "23505")) => Ok(()),
        Err(error) if code(&error).as_deref() == Some(NO_RIGHT) => Err(format!(
            "the login {login} may not `{statement}` ({error}). Ask a database administrator to \
             run this once, and migrate again:\n  \
             create role {SERVICE_ROLE} nologin nosuperuser nobypassrls nocreatedb nocreaterole;  \
             -- unless it exists\n  grant {SERVICE_ROLE} to \"{login}\";"
        )),
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    database.code().map(std::borrow::Cow::into_owned)
}

/// The message for a migration that failed.
async fn explain(connection: &mut PgConnection, error: MigrateError) -> String {
    let cause =
        if let MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) = &error {
            Some(cause)
        } else {
            None
        };
    if cause.and_then(code).as_deref() != Some(NO_RIGHT) {
        return error.to_string();
    }
    // A failed migration has been rolled back: the connection can be used.
    let names = sqlx::query!(
        r#"select current_user::text as "login!", current_database()::text as "database!""#
    )
    .fetch_one(connection)
    .await;
    match names {
        Ok(names) => format!(
            "{error}. The login {} must own the database and its tables. Ask a database \
             administrator to run this once, and migrate again:\n  alter database \"{}\" owner to \
             \"{}\";",
            names.login,
            names.database.replace('"', "\"\""),
            names.login.replace('"', "\"\"")
        ),
        Err(_) => error.to_string(),
    }
}

/// Checks that this build may work with the schema.
///
/// # Errors
/// The finding, if it may not.
pub(super) async fn check_version(connection: &mut PgConnection) -> Result<Schema, Finding> {
    let migrations = sqlx::query_scalar::<_, i64>(
        "select version from _sqlx_migrations where success order by version",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap_or_default();
    let (known, newest) = (newest_known(), migrations.last().copied());
    let is_complete = MIGRATOR
        .iter()
        .all(|migration| migrations.contains(&migration.version));
    let Some(newest) = newest else {
        return Err(no_tables(connection).await);
    };
    if !is_complete {
        let remedy = if newest > known {
            "run `steward migrate` of the newest build: an earlier migration is missing"
        } else {
            "run `steward migrate`"
        };
        return Err(Finding::new(
            format!("the schema is at migration {newest}, this build needs {known}"),
            remedy,
        ));
    }
    if newest <= known {
        return Ok(Schema::Known);
    }
    let minimum = minimum(connection)
        .await
        .map_err(|error| Finding::new(error.to_string(), "start the service again"))?;
    if let Some(finding) = too_old(newest, minimum) {
        return Err(finding);
    }
    info!(
        schema = newest,
        known, minimum, "a newer build has migrated the schema; this build may still work with it"
    );
    Ok(Schema::Newer)
}

/// The finding that nothing has been migrated yet, or that the URL names the wrong database.
async fn no_tables(connection: &mut PgConnection) -> Finding {
    let name = sqlx::query_scalar!(r#"select current_database()::text as "name!""#)
        .fetch_one(connection)
        .await
        .unwrap_or_default();
    Finding::new(
        format!("the database \"{name}\" has no tables of Steward"),
        "check that database.url (DATABASE_URL) names the right database; if it is a new one, run \
         `steward migrate`, or `steward restore` with a backup",
    )
}

/// The finding that this build is too old for a schema at migration `newest`, if it is.
fn too_old(newest: i64, minimum: i64) -> Option<Finding> {
    let known = newest_known();
    (known < minimum).then(|| {
        Finding::new(
            format!(
                "the schema is at migration {newest} and needs a build that knows migration \
                 {minimum} or newer; this build knows {known}"
            ),
            format!(
                "start a build that knows migration {minimum}: migrations are not undone, so only \
                 a backup from before leads back to this build"
            ),
        )
    })
}

/// The oldest build that the schema still serves.
async fn minimum(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select schema_minimum() as "minimum!""#)
        .fetch_one(connection)
        .await
}

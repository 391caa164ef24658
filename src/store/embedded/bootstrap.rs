//! Makes the login that the service uses in the embedded cluster, and gives it the database.
//!
//! The login owns the database and its tables, so that it can migrate them, and is no superuser, so
//! that row level security holds for it too. The superuser is used here only. Every step may run
//! again: a start that was interrupted is completed by the next one.
//!
//! Earlier builds had one login, `steward`, the cluster's first superuser. PostgreSQL cannot take
//! that right from it. So it is renamed, and a new login gets its name: earlier builds, too, can go
//! on with the cluster.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Error};
use tracing::info;

use super::{Cluster, LOGIN, SUPERUSER};
use crate::store::SERVICE_ROLE;

/// The database of the cluster that always exists.
const FIRST_DATABASE: &str = "postgres";
/// A superuser that exists only while the first one is renamed: nobody can rename itself.
const RENAMER: &str = "steward_renamer";
/// The code for "no such role" during login.
const NO_ROLE: &str = "28000";

/// Creates the roles that do not exist yet. Waits while another process does so.
pub(super) async fn ensure_logins(cluster: &Cluster) -> Result<(), Error> {
    let mut connection = match cluster.superuser_options(FIRST_DATABASE).connect().await {
        Err(error) if code(&error).as_deref() == Some(NO_ROLE) => {
            separate_logins(cluster).await?;
            cluster.superuser_options(FIRST_DATABASE).connect().await?
        }
        connected => connected?,
    };
    run(&mut connection, LOCK).await?;
    // The level hides the notice that the role does not exist.
    let drop = format!("set client_min_messages = warning; drop role if exists {RENAMER}");
    run(&mut connection, &drop).await?;
    run(&mut connection, &roles()).await?;
    connection.close().await
}

/// One process at a time. The lock ends with the session.
const LOCK: &str = "select pg_advisory_lock(hashtext('steward.bootstrap'))";

/// The statements that create the service's login and role. They change nothing if both exist.
fn roles() -> String {
    format!(
        "do $$ begin
           if not exists (select from pg_roles where rolname = '{LOGIN}') then
             create role {LOGIN} login nosuperuser nobypassrls nocreatedb nocreaterole;
           end if;
           if not exists (select from pg_roles where rolname = '{SERVICE_ROLE}') then
             create role {SERVICE_ROLE} nologin nosuperuser nobypassrls nocreatedb nocreaterole;
           end if;
           if not pg_has_role('{LOGIN}', '{SERVICE_ROLE}', 'member') then
             grant {SERVICE_ROLE} to {LOGIN};
           end if;
         end $$"
    )
}

/// Renames the first superuser of a cluster that an earlier build made, and makes the login that
/// gets its name, in one transaction.
async fn separate_logins(cluster: &Cluster) -> Result<(), Error> {
    let mut first = cluster.options(FIRST_DATABASE).connect().await?;
    run(&mut first, LOCK).await?;
    let is_done =
        sqlx::query_scalar::<_, bool>("select exists (select from pg_roles where rolname = $1)")
            .bind(SUPERUSER)
            .fetch_one(&mut first)
            .await?;
    if !is_done {
        let create = format!(
            "do $$ begin
               if not exists (select from pg_roles where rolname = '{RENAMER}') then
                 create role {RENAMER} login superuser;
               end if;
             end $$"
        );
        run(&mut first, &create).await?;
        let mut renamer = cluster
            .options_as(RENAMER, FIRST_DATABASE)
            .connect()
            .await?;
        let rename = format!("begin; alter role {LOGIN} rename to {SUPERUSER}");
        run(&mut renamer, &format!("{rename}; {}; commit", roles())).await?;
        renamer.close().await?;
        info!("the embedded PostgreSQL has a login that is no superuser now");
    }
    first.close().await
}

/// Creates a database that belongs to the login, unless it exists; gives the login what belongs to
/// the superuser in it.
pub(super) async fn ensure_database(cluster: &Cluster, name: &str) -> Result<(), Error> {
    let quoted = name.replace('"', "");
    let mut connection = cluster.superuser_options(FIRST_DATABASE).connect().await?;
    run(&mut connection, LOCK).await?;
    let owner = sqlx::query_scalar::<_, String>(
        "select datdba::regrole::text from pg_database where datname = $1",
    )
    .bind(name)
    .fetch_optional(&mut connection)
    .await?;
    match owner {
        None => {
            let create = format!("create database \"{quoted}\" owner {LOGIN}");
            run(&mut connection, &create).await?;
        }
        Some(owner) if owner != LOGIN => {
            let give = format!("alter database \"{quoted}\" owner to {LOGIN}");
            run(&mut connection, &give).await?;
        }
        Some(_) => {}
    }
    let mut database = cluster.superuser_options(name).connect().await?;
    run(&mut database, &give_objects()).await?;
    database.close().await?;
    connection.close().await
}

/// The statements that give the login every object of the superuser but those of the system, of
/// extensions, and sequences that follow their tables. `reassign owned` refuses the first superuser.
fn give_objects() -> String {
    format!(
        "set client_min_messages = warning;
         do $$
         declare
           statement text;
         begin
           for statement in
             select format('alter %s %s owner to {LOGIN}',
               case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view'
                 when 'f' then 'foreign table' else 'table' end, c.oid::regclass)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relowner = '{SUPERUSER}'::regrole and c.relkind in ('r', 'p', 'S', 'v', 'm', 'f')
               and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_'
               and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                 and (d.deptype = 'e' or c.relkind = 'S' and d.deptype in ('a', 'i')))
             union all
             select format('alter routine %s owner to {LOGIN}', p.oid::regprocedure)
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where p.proowner = '{SUPERUSER}'::regrole
               and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_'
               and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid
                 and d.deptype = 'e')
           loop
             execute statement;
           end loop;
         end $$"
    )
}

async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}

fn code(error: &Error) -> Option<String> {
    let database = error.as_database_error()?;
    database.code().map(std::borrow::Cow::into_owned)
}

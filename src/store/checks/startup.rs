//! The checks that must pass before the service starts.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::access::Schema;
use super::{Finding, access, cannot_connect, migrate, pooler};
use crate::domain::Error;
use crate::store::errors::OrDomain as _;
use crate::store::{SERVICE_ROLE, Store};

impl Store {
    /// Checks that the service can connect, that this build may work with the schema, and that the
    /// service's role reaches what the migrations let it reach, and no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost meanwhile.
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        let report = self.check_schema().await?;
        Ok([report.schema_findings, report.access_findings].concat())
    }

    /// As [`Store::check`], with the findings in two parts.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection is lost meanwhile.
    pub async fn check_schema(&self) -> Result<SchemaReport, Error> {
        // Not from the pool: it would try again and again, and would not return the reason.
        let options = self.pool.connect_options();
        let mut connection = match options.connect().await {
            Ok(connection) => connection,
            Err(error) => return Ok(SchemaReport::unusable(cannot_connect(&options, &error))),
        };
        let mut finding = match pooler::check(&options).await {
            Ok(finding) => finding,
            Err(error) => Some(cannot_connect(&options, &error)),
        };
        let login = read_login(&mut connection).await.or_domain()?;
        if finding.is_none() {
            finding = migrate::check_tables(&mut connection).await.or_domain()?;
        }
        if finding.is_none() {
            finding = set_role(&mut connection).await.or_domain()?;
        }
        if let Some(finding) = finding {
            return Ok(SchemaReport::unusable(finding));
        }
        let schema = match migrate::check_version(&mut connection).await {
            Ok(schema) => schema,
            Err(finding) => return Ok(SchemaReport::unusable(finding)),
        };
        let access_findings = access::check(&mut connection, schema).await.or_domain()?;
        connection.close().await.or_domain()?;
        Ok(SchemaReport {
            is_newer: schema == Schema::Newer,
            schema_findings: Vec::new(),
            access_findings,
            login_finding: login,
        })
    }
}

/// The findings about the schema.
#[derive(Debug)]
pub struct SchemaReport {
    /// Whether a newer build has migrated the schema.
    pub is_newer: bool,
    /// What keeps the service from working with the database at all. If there is anything, the
    /// access was not checked.
    pub schema_findings: Vec<Finding>,
    /// Where the reach of the service's role differs from what the migrations made.
    pub access_findings: Vec<Finding>,
    /// That the login is a superuser. The service warns of it and starts.
    pub login_finding: Option<Finding>,
}

impl SchemaReport {
    fn unusable(finding: Finding) -> Self {
        Self {
            is_newer: false,
            schema_findings: vec![finding],
            access_findings: Vec::new(),
            login_finding: None,
        }
    }
}

/// The finding that the login of the database URL is exempt from row level security, if it is.
async fn read_login(connection: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let login = sqlx::query!(
        r#"select session_user::text as "name!", rolsuper or rolbypassrls as "is_exempt!"
           from pg_roles where rolname = session_user"#
    )
    .fetch_one(connection)
    .await?;
    Ok(login.is_exempt.then(|| {
        let name = login.name.replace('"', "\"\"");
        Finding::new(
            format!(
                "the login {} of the database URL is a superuser, or exempt from row level \
                 security: nothing but the service's own `set role {SERVICE_ROLE}` separates it \
                 from all rows",
                login.name
            ),
            format!(
                "make a login that owns the database and its tables and is no superuser, and put \
                 it into database.url; docs/operator.md has the statements. If \"{name}\" is not \
                 the server's first superuser, `alter role \"{name}\" nosuperuser nobypassrls` is \
                 enough"
            ),
        )
    }))
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

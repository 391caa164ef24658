//! The steps of a restore that concern migrations and access.

use sqlx::PgConnection;
use sqlx::migrate::{Migrate as _, Migration, Migrator};

use super::access;
use super::access::Schema;
use super::migrate::MIGRATOR;

pub(in crate::store) use super::migrate::{newest_known, prepare_role};

/// Takes the lock of the migrations until the connection ends.
pub(in crate::store) async fn lock(connection: &mut PgConnection) -> Result<(), String> {
    connection.lock().await.map_err(|error| error.to_string())
}

/// Whether this build has a migration with this number and checksum, in hexadecimal.
pub(in crate::store) fn knows(number: i64, checksum: &str) -> bool {
    let mut found = MIGRATOR.iter().filter(|it| it.version == number);
    found.any(|it| data_encoding::HEXLOWER.encode(&it.checksum) == checksum)
}

/// Applies the migrations with these numbers to an empty database, and no others.
pub(in crate::store) async fn apply(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> Result<(), String> {
    let all = MIGRATOR.iter();
    let chosen: Vec<Migration> = all
        .filter(|migration| numbers.contains(&migration.version))
        .cloned()
        .collect();
    Migrator::with_migrations(chosen)
        .run_direct(None, connection, false)
        .await
        .map_err(|error| error.to_string())
}

/// Applies the missing migrations. Returns how many they were.
pub(in crate::store) async fn migrate(connection: &mut PgConnection) -> Result<usize, String> {
    let fail = |error: sqlx::migrate::MigrateError| error.to_string();
    let before = connection.list_applied_migrations(&MIGRATOR.table_name);
    let before = before.await.map_err(fail)?.len();
    let done = MIGRATOR.run_direct(None, connection, false).await;
    done.map_err(fail)?;
    Ok(MIGRATOR.iter().count().saturating_sub(before))
}

/// What follows the migrations outside of a transaction. If it is interrupted, the next start does
/// it.
pub(in crate::store) async fn finish(connection: &mut PgConnection) -> Result<(), String> {
    super::migrate::apply(connection).await.map(drop)
}

/// Checks that the role of the service reaches what the migrations let it reach, and no more.
pub(in crate::store) async fn check(connection: &mut PgConnection) -> Result<(), String> {
    let findings = access::check(connection, Schema::Known)
        .await
        .map_err(|error| error.to_string())?;
    let findings: Vec<_> = findings
        .into_iter()
        .map(|finding| format!("{}: {}", finding.problem, finding.remedy))
        .collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the restored database would not have the access that the migrations make:\n  {}",
        findings.join("\n  ")
    ))
}

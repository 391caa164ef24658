//! Removing the resellers of a check that is over.

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::domain::ResellerId;

/// The statements, which read the numbers of the resellers from a setting.
const STATEMENTS: &str = include_str!("sql/erase_resellers.sql");

/// A reseller to remove. Both must match, so that a check against another service removes nothing
/// from this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedReseller {
    /// Its number.
    pub id: ResellerId,
    /// Its name.
    pub name: String,
}

/// Removes resellers that `steward doctor isolation` made, and all rows that they have in any table.
/// Others are left alone. It is done by the login itself, which owns the tables: the service's role
/// may remove no reseller and no journal entry. Returns the number of removed resellers.
///
/// # Errors
/// The text of the database's error.
pub async fn erase_resellers(
    options: &PgConnectOptions,
    resellers: &[ErasedReseller],
) -> Result<i64, String> {
    let keys: Vec<String> = resellers
        .iter()
        .map(|reseller| format!("{} {}", reseller.id, reseller.name))
        .collect();
    let work = async {
        let mut connection = PgConnection::connect_with(options).await?;
        let mut tx = connection.begin().await?;
        sqlx::query("select set_config('steward.scope', 'platform', true)")
            .execute(&mut *tx)
            .await?;
        sqlx::query("select set_config('steward.erased', $1, true)")
            .bind(keys.join(","))
            .execute(&mut *tx)
            .await?;
        let found = "select count(*) from reseller
            where id || ' ' || name = any(string_to_array(current_setting('steward.erased'), ','))";
        let removed: i64 = sqlx::query_scalar(found).fetch_one(&mut *tx).await?;
        sqlx::raw_sql(STATEMENTS).execute(&mut *tx).await?;
        tx.commit().await?;
        connection.close().await?;
        Ok(removed)
    };
    work.await.map_err(|error: sqlx::Error| error.to_string())
}

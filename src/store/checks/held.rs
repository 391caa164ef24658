//! The rows by which lists and jobs find holds (`held`), compared with the holds in the accounts' own
//! rows by `steward doctor`, which can also write them anew.

use sqlx::{Connection as _, PgConnection};

use super::Finding;

/// How many accounts a report names.
const NAMED: i64 = 20;
/// How many accounts are locked and written at a time.
const PAGE: i64 = 1_000;

/// The keys of accounts with wrong rows, at most `limit`.
async fn list(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<(Vec<i64>, Vec<i32>), sqlx::Error> {
    let rows = sqlx::query_file!("src/store/checks/sql/list_wrong_held.sql", limit)
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.reseller_id, row.account_id))
        .unzip())
}

/// The findings about accounts whose holds lists would miss, or find although they are lifted.
pub(super) async fn check(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let (resellers, accounts) = list(connection, NAMED + 1).await?;
    let named = usize::try_from(NAMED).unwrap_or(usize::MAX);
    let mut findings: Vec<Finding> = resellers
        .iter()
        .zip(&accounts)
        .take(named)
        .map(|(reseller, account)| {
            Finding::new(
                format!(
                    "lists do not find the holds of account {account} of reseller {reseller} as they are"
                ),
                "run steward doctor --renew-holds",
            )
        })
        .collect();
    if accounts.len() > named {
        findings.push(Finding::new(
            "so it is with further accounts",
            "run steward doctor --renew-holds",
        ));
    }
    Ok(findings)
}

/// Writes the rows of all accounts with wrong ones anew. Each page is a transaction of its own, in
/// which the accounts are locked. Returns how many accounts it wrote.
pub(super) async fn renew(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let mut written = 0;
    loop {
        let (resellers, accounts) = list(connection, PAGE).await?;
        if accounts.is_empty() {
            return Ok(written);
        }
        let mut tx = connection.begin().await?;
        sqlx::query!(
            "select from account a join unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
               on a.reseller_id = w.reseller_id and a.id = w.id
             order by a.reseller_id, a.id for no key update of a",
            &resellers,
            &accounts
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query_file!("src/store/checks/sql/renew_held.sql", &resellers, &accounts)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        written += u64::try_from(accounts.len()).unwrap_or(u64::MAX);
    }
}

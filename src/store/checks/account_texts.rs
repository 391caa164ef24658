//! Whether text searches look at the texts that the accounts have.
//!
//! Triggers write the texts together with the accounts. They can differ if somebody has changed the
//! tables without the triggers, or if the database's rules for lower case have changed, as they can
//! with an upgrade of the operating system.

use sqlx::PgConnection;

use super::Finding;

/// The finding that the texts of some accounts are wrong, if they are. Reads all accounts.
pub(super) async fn check(connection: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let wrong = sqlx::query!(r#"select accounts as "accounts!", first from wrong_account_texts()"#)
        .fetch_one(connection)
        .await?;
    Ok(wrong.first.map(|first| {
        Finding::new(
            format!(
                "text searches look at outdated texts of {} accounts; the first is account {first}",
                wrong.accounts
            ),
            "run `select fill_account_texts()` in the database as the owner of the tables; changes \
             of accounts wait meanwhile, about a minute for a million accounts",
        )
    }))
}

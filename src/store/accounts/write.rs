//! Writes new accounts, and the profiles of existing ones.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use uuid::Uuid;

use super::holds::json_of_holds;
use super::profile::json_of_profile;
use crate::domain::{Account, Email, Error, Metadata, Time};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::transaction::Tx;

impl Tx {
    /// Writes new accounts, without their holds. `false` if another account has taken a number or a
    /// UUID meanwhile; then the transaction can only be rolled back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another account of the reseller has taken an e-mail address
    /// meanwhile.
    pub async fn insert_accounts(&mut self, accounts: &[&Account]) -> Result<bool, Error> {
        let column = Columns(accounts);
        let profiles = profiles_of(accounts)?;
        let holds: Vec<Option<String>> = accounts
            .iter()
            .map(|account| json_of_holds(account))
            .collect::<Result<_, _>>()?;
        let written = sqlx::query_file!(
            "src/store/accounts/sql/insert_accounts.sql",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| it.uid),
            &column.of(|it| it.status.as_str()) as &[&str],
            &column.of(|it| it.status_set_at),
            &column.of(|it| it.expires_at) as &[Option<Time>],
            &column.of(|it| it.expiry_set_at) as &[Option<Time>],
            &column.of(|it| it.deleted_at) as &[Option<Time>],
            &column.of(|it| it.purge_at) as &[Option<Time>],
            &column.of(|it| it.operator_released_at) as &[Option<Time>],
            &column.of(|it| it.version),
            &column.of(|it| it.created_at),
            &column.of(|it| it.updated_at),
            &column.of(|it| email_key_of(it)) as &[Option<String>],
            &column.of(|it| it.profile.plan_id) as &[Option<Uuid>],
            &profiles,
            &holds as &[Option<String>],
        )
        .execute(self.connection())
        .await;
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_stale(&error) => Ok(false),
            Err(error) => Err(error).or_domain(),
        }
    }

    /// Writes the rows by which lists find the metadata of existing accounts, whose profiles are
    /// written already.
    pub async fn replace_metadata(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        let (resellers, ids) = (
            column.of(|it| it.reseller_id.0),
            column.of(|it| it.id.as_i32()),
        );
        sqlx::query!(
            "delete from account_metadata m
             using unnest($1::bigint[], $2::integer[]) as n(reseller_id, id)
             where m.reseller_id = n.reseller_id and m.account_id = n.id",
            &resellers,
            &ids
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        sqlx::query!(
            "insert into account_metadata (reseller_id, account_id, key, value)
             select n.reseller_id, n.id, member.key, member.value
             from unnest($1::bigint[], $2::integer[], $3::text[]) as n(reseller_id, id, metadata)
             cross join lateral json_each_text(n.metadata::json) as member",
            &resellers,
            &ids,
            &column.of(|it| it.profile.metadata.as_ref().map(json_of_metadata))
                as &[Option<String>]
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Writes the profiles of existing accounts.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another account of the reseller has taken an e-mail address
    /// meanwhile.
    pub async fn update_profiles(&mut self, accounts: &[&Account]) -> Result<(), Error> {
        let column = Columns(accounts);
        sqlx::query_file!(
            "src/store/accounts/sql/update_profiles.sql",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
            &column.of(|it| email_key_of(it)) as &[Option<String>],
            &column.of(|it| it.profile.plan_id) as &[Option<Uuid>],
            &profiles_of(accounts)?,
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

/// The profiles as they are stored, in the order of the accounts.
fn profiles_of(accounts: &[&Account]) -> Result<Vec<String>, Error> {
    let profiles = accounts.iter().map(|it| json_of_profile(&it.profile));
    profiles.collect()
}

fn email_key_of(account: &Account) -> Option<String> {
    account.profile.email.as_ref().map(Email::key)
}

/// The metadata of an account as a JSON object.
fn json_of_metadata(metadata: &Metadata) -> String {
    serde_json::to_string(&metadata.0).unwrap_or_default()
}

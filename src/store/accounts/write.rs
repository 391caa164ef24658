//! Writes new accounts, and the profiles of existing ones.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use uuid::Uuid;

use super::row::json_of_metadata;
use crate::domain::{Account, Email, Error, Profile, Time};
use crate::store::columns::Columns;
use crate::store::errors::{OrDomain as _, is_stale};
use crate::store::transaction::Tx;

/// `query_file!` that binds the arguments given, then the profiles of the accounts: one array for
/// each column, in the order of the table.
macro_rules! query_profiles {
    ($accounts:expr, $file:literal, $($first:expr),* $(,)?) => {{
        let column = Columns($accounts);
        let texts = |field: fn(&Profile) -> &Option<String>| column.of(|it| field(&it.profile).clone());
        let numbers = |field: fn(&Profile) -> Option<i32>| column.of(|it| field(&it.profile));
        let flags = |field: fn(&Profile) -> Option<bool>| column.of(|it| field(&it.profile));
        sqlx::query_file!(
            $file,
            $($first,)*
            &texts(|it| &it.name) as &[Option<String>],
            &texts(|it| &it.title) as &[Option<String>],
            &column.of(|it| it.profile.email.as_ref().map(|email| email.as_str().to_owned())) as &[Option<String>],
            &column.of(|it| it.profile.email.as_ref().map(Email::key)) as &[Option<String>],
            &texts(|it| &it.company) as &[Option<String>],
            &texts(|it| &it.timezone) as &[Option<String>],
            &numbers(|it| it.tariff_id) as &[Option<i32>],
            &numbers(|it| it.reports_day) as &[Option<i32>],
            &numbers(|it| it.reports_hour) as &[Option<i32>],
            &flags(|it| it.is_smart) as &[Option<bool>],
            &flags(|it| it.is_subscribers_suspend_all) as &[Option<bool>],
            &flags(|it| it.is_tariff_exceed) as &[Option<bool>],
            &flags(|it| it.pixels_enabled) as &[Option<bool>],
            &flags(|it| it.pushes_enabled) as &[Option<bool>],
            &column.of(|it| it.profile.extra.as_ref().map(ToString::to_string)) as &[Option<String>],
            &texts(|it| &it.admin_portal_domain) as &[Option<String>],
            &texts(|it| &it.customer_portal_domain) as &[Option<String>],
            &texts(|it| &it.reseller_portal_domain) as &[Option<String>],
            &texts(|it| &it.website) as &[Option<String>],
            &texts(|it| &it.logo_url) as &[Option<String>],
            &texts(|it| &it.favicon_url) as &[Option<String>],
            &texts(|it| &it.google_client_id) as &[Option<String>],
            &column.of(|it| it.profile.trial_expires_at) as &[Option<Time>],
            &column.of(|it| it.profile.plan_id) as &[Option<Uuid>],
            &texts(|it| &it.company_id) as &[Option<String>],
            &texts(|it| &it.account_alias) as &[Option<String>],
            &texts(|it| &it.region) as &[Option<String>],
            &texts(|it| &it.payment_method) as &[Option<String>],
            &texts(|it| &it.psp) as &[Option<String>],
            &numbers(|it| it.total_trial_extensions) as &[Option<i32>],
            &column.of(|it| it.profile.metadata.as_ref().map(json_of_metadata)) as &[Option<String>],
        )
    }};
}

impl Tx {
    /// Writes new accounts, without their holds. `false` if another account has taken a number or a
    /// UUID meanwhile; then the transaction can only be rolled back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another account of the reseller has taken an e-mail address
    /// meanwhile.
    pub async fn insert_accounts(&mut self, accounts: &[&Account]) -> Result<bool, Error> {
        let column = Columns(accounts);
        let written = query_profiles!(
            accounts,
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
        query_profiles!(
            accounts,
            "src/store/accounts/sql/update_profiles.sql",
            &column.of(|it| it.reseller_id.0),
            &column.of(|it| it.id.as_i32()),
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

//! Accounts: locked for a batch, read for an answer, listed by key.

mod as_of;
mod holds;
mod list;
#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of a nullable array and converts nothing"
)]
mod purge;
#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]
mod record_batch;
mod row;
mod search;
#[expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of a nullable array and converts nothing"
)]
mod write;

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;
use super::errors::{OrDomain as _, is_connection_loss};
use super::tenancy::list_of;
use super::transaction::Tx;
use crate::domain::{Account, AccountId, AccountKey, Error, ResellerId};
use row::{AccountRow, select_accounts};

pub(super) use as_of::details_of;
pub use holds::HoldWrites;
pub use purge::PurgingReseller;
pub use record_batch::Changes;

impl Tx {
    /// Locks accounts in the order of their keys.
    pub async fn lock_accounts(&mut self, keys: &[AccountKey]) -> Result<(), Error> {
        let (resellers, accounts): (Vec<i64>, Vec<i32>) = keys
            .iter()
            .map(|(reseller, account)| (reseller.0, account.as_i32()))
            .unzip();
        sqlx::query!(
            "select from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
             cross join lateral (
               select from account a where a.id = w.id and a.reseller_id is not distinct from w.reseller_id for no key update) as locked",
            &resellers,
            &accounts
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The accounts with these keys, deleted ones included, as one snapshot has them.
    pub async fn fetch_accounts(&mut self, keys: &[AccountKey]) -> Result<Vec<Account>, Error> {
        let rows = fetch_keyed(self.connection(), None, keys)
            .await
            .or_domain()?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// One account, deleted ones included.
    pub async fn fetch_account(
        &mut self,
        reseller: ResellerId,
        account: AccountId,
    ) -> Result<Option<Account>, Error> {
        Ok(self.fetch_accounts(&[(reseller, account)]).await?.pop())
    }

    /// Whose account this is, within the transaction's tenancy.
    pub async fn locate_account(
        &mut self,
        account: AccountId,
    ) -> Result<Option<ResellerId>, Error> {
        let reseller = sqlx::query_scalar!(
            "select reseller_id from account where id = $1",
            account.as_i32()
        )
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        Ok(reseller.map(ResellerId))
    }

    /// The number of the account with this outside identity, within the transaction's tenancy.
    pub async fn locate_uid(&mut self, uid: Uuid) -> Result<Option<AccountId>, Error> {
        let id = sqlx::query_scalar!("select id from account where uid = $1", uid)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        id.map(|id| AccountId::new(i64::from(id))).transpose()
    }

    /// The accounts with these numbers or outside identities, within the transaction's tenancy: whose, and both names.
    pub async fn locate_accounts(
        &mut self,
        of: Option<ResellerId>,
        ids: &[i32],
        uids: &[Uuid],
    ) -> Result<Vec<(ResellerId, AccountId, Uuid)>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id as "reseller_id!", id as "id!", uid as "uid!" from account where id = any($1) and ($3::bigint is null or reseller_id = $3)
               union select reseller_id, id, uid from account where uid = any($2) and ($3::bigint is null or reseller_id = $3)"#,
            ids,
            uids,
            of.map(|reseller| reseller.0)
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                    row.uid,
                ))
            })
            .collect()
    }

    /// Whose live accounts have this address, within the transaction's tenancy, by identity; at most `limit`.
    pub async fn locate_email(
        &mut self,
        key: &str,
        limit: i64,
    ) -> Result<Vec<(ResellerId, AccountId)>, Error> {
        let rows = sqlx::query!("select reseller_id, id from account where email_key = $1 and deleted_at is null order by id limit $2", key, limit)
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    ResellerId(row.reseller_id),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// The live account of a reseller that has this address.
    pub async fn fetch_account_id(
        &mut self,
        reseller: ResellerId,
        key: &str,
    ) -> Result<Option<AccountId>, Error> {
        let owned = self.fetch_emails(&[(reseller, key.to_owned())]).await?;
        Ok(owned.into_values().next())
    }

    /// How many accounts a reseller has that are not deleted, counted up to `limit`.
    pub async fn count_live_accounts(
        &mut self,
        reseller: ResellerId,
        limit: i32,
    ) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from account where reseller_id = $1 and deleted_at is null limit $2) as few"#,
            reseller.0,
            i64::from(limit)
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Which live accounts have these addresses.
    pub async fn fetch_emails(
        &mut self,
        emails: &[(ResellerId, String)],
    ) -> Result<HashMap<(ResellerId, String), AccountId>, Error> {
        let resellers: Vec<_> = emails.iter().map(|(reseller, _)| reseller.0).collect();
        let keys: Vec<_> = emails.iter().map(|(_, key)| key.clone()).collect();
        let rows = sqlx::query!(
            r#"select a.reseller_id, a.email_key as "email_key!", a.id
               from account a join unnest($1::bigint[], $2::text[]) as wanted(reseller_id, email_key) using (reseller_id, email_key)
               where a.deleted_at is null"#,
            &resellers,
            &keys
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                Ok((
                    (ResellerId(row.reseller_id), row.email_key),
                    AccountId::new(i64::from(row.id))?,
                ))
            })
            .collect()
    }

    /// Identities for new accounts.
    ///
    /// # Errors
    /// [`Error::Internal`] when all 2^31-1 are used up.
    pub async fn next_account_ids(&mut self, count: i32) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(
            r#"select nextval('account_id_seq')::integer as "id!" from generate_series(1, $1)"#,
            count
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        ids.into_iter()
            .map(|id| AccountId::new(i64::from(id)))
            .collect()
    }

    /// Rows with their plans, in the order of the rows.
    pub(super) async fn with_plans(
        &mut self,
        rows: Vec<AccountRow>,
    ) -> Result<Vec<Account>, Error> {
        let mut accounts: Vec<Account> = rows
            .into_iter()
            .map(Account::try_from)
            .collect::<Result<_, _>>()?;
        let sold: BTreeSet<_> = accounts
            .iter()
            .filter_map(|account| Some((account.reseller_id, account.profile.plan_id?)))
            .collect();
        if sold.is_empty() {
            return Ok(accounts);
        }
        let plans = self.fetch_plans(&sold).await?;
        for account in &mut accounts {
            account.plan = account
                .profile
                .plan_id
                .and_then(|plan| plans.get(&(account.reseller_id, plan)).cloned());
        }
        Ok(accounts)
    }
}

impl Store {
    /// The accounts with these keys, deleted ones included, and the connection that they were read on: what is written on it
    /// next is a transaction of its own, for these resellers.
    pub async fn look_up(
        &self,
        resellers: &BTreeSet<ResellerId>,
        keys: &[AccountKey],
    ) -> Result<(Tx, Vec<Account>), Error> {
        let admitted = list_of(resellers);
        let mut stale_left = self.keyed.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.keyed).await?;
            match fetch_keyed(tx.connection(), Some(&admitted), keys).await {
                Ok(rows) => {
                    return Ok((
                        tx,
                        rows.into_iter()
                            .map(Account::try_from)
                            .collect::<Result<_, _>>()?,
                    ));
                }
                Err(error) if stale_left > 0 && is_connection_loss(&error) => stale_left -= 1,
                Err(error) => return Err(error).or_domain(),
            }
        }
    }
}

/// Accounts by their keys; with `admitted`, whose rows the connection may touch from now on is said along the way.
async fn fetch_keyed(
    connection: &mut PgConnection,
    admitted: Option<&str>,
    keys: &[AccountKey],
) -> Result<Vec<AccountRow>, sqlx::Error> {
    let accounts: Vec<i32> = keys.iter().map(|(_, account)| account.as_i32()).collect();
    // The admission depends on no row, and so is asked for before any is read. The resellers are compared afterwards: no two
    // have accounts of the same number, and of an empty table any index that begins with a reseller would seem right.
    let found = select_accounts!(
        // Most accounts have none: then the table is not asked.
        "case when a.plan_id is not null then (select to_json(p)::text from plan p where p.reseller_id = a.reseller_id and p.id = a.plan_id) end",
        ["account a
          where a.id = any($1) and (select case when $2::text is null then true else set_config('steward.resellers', $2, false) is not null end)"];
        &accounts,
        admitted
    )
    .fetch_all(connection)
    .await?;
    let wanted: HashSet<(i64, i32)> = keys
        .iter()
        .map(|(reseller, account)| (reseller.0, account.as_i32()))
        .collect();
    Ok(found
        .into_iter()
        .filter(|row| wanted.contains(&(row.reseller_id, row.id)))
        .collect())
}

//! How many live accounts a reseller has. The number is kept, so that a creation costs the same
//! whatever it is.
//!
//! `reseller.counted_accounts` is the number of accounts whose column `counted` is set. Whoever
//! changes it or the column holds the lock on the reseller's row, which
//! [`Tx::fetch_reseller_terms`] takes. New accounts are counted at once. Accounts that were deleted
//! or restored are miscounted for a while: [`Tx::count_live_accounts`] adds and subtracts them,
//! and a job counts them in and out.

use crate::domain::{Error, ResellerId};
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

impl Tx {
    /// How many live accounts a reseller has. An account is live until it is deleted.
    pub async fn count_live_accounts(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        // The order makes the planner choose the small index also while the table is empty.
        sqlx::query_scalar!(
            r#"select r.counted_accounts + (
                 select coalesce(sum(case when a.counted then -1 else 1 end), 0) from (
                   select a.counted from account a
                   where a.reseller_id = $1 and a.counted <> (a.deleted_at is null)
                   order by a.reseller_id, a.counted, a.id) as a) as "count!"
               from reseller r where r.id = $1"#,
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The resellers that have miscounted accounts, at most `limit`.
    pub async fn list_miscounted(&mut self, limit: i64) -> Result<Vec<ResellerId>, Error> {
        let ids = sqlx::query_scalar!(
            "select r.id from reseller r where exists (
               select from account a
               where a.reseller_id = r.id and a.counted <> (a.deleted_at is null))
             order by r.id limit $1",
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(ids.into_iter().map(ResellerId).collect())
    }

    /// The resellers that have an account limit.
    pub async fn list_limited_resellers(&mut self) -> Result<Vec<ResellerId>, Error> {
        let ids = sqlx::query_scalar!(
            "select id from reseller where account_limit is not null order by id"
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok(ids.into_iter().map(ResellerId).collect())
    }

    /// Counts miscounted accounts of a reseller in or out, at most `limit`. Leaves out those that
    /// other transactions have locked. Returns how many it has counted.
    pub async fn settle_account_count(
        &mut self,
        reseller: ResellerId,
        limit: i64,
    ) -> Result<i64, Error> {
        self.lock_reseller(reseller).await?;
        sqlx::query_file_scalar!(
            "src/store/accounts/sql/settle_account_count.sql",
            reseller.0,
            limit
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Counts the accounts of a reseller anew. Returns how many the kept number lacks. One statement
    /// reads both, so nothing is locked: they change together.
    pub async fn recount_accounts(&mut self, reseller: ResellerId) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select (select count(*) from account a where a.reseller_id = $1 and a.counted)
                 - r.counted_accounts as "lacks!" from reseller r where r.id = $1"#,
            reseller.0
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// Adds to the kept number of a reseller's accounts.
    pub async fn correct_account_count(
        &mut self,
        reseller: ResellerId,
        lacks: i64,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update reseller set counted_accounts = counted_accounts + $2 where id = $1",
            reseller.0,
            lacks
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }
}

//! Accounts: read, listed, changed and purged.
//!
//! - by key: this file, with the row in `row.rs`, its profile in `profile.rs` and its open holds in
//!   `holds.rs`
//! - lists by id, with at most a state or conditions on holds: `keyset.rs`; all other lists, and
//!   searches: `list.rs`, with conditions in `conditions.rs` and `held.rs`, and the text index in
//!   `text.rs`; accounts at an earlier instant: `as_of.rs`
//! - a batch of changes in one statement: `record_batch.rs`; new accounts and profiles: `write.rs`
//! - scheduled announcements and the purge: `purge.rs`; what time will do: `upcoming.rs`
//! - all accounts of a reseller, for a consumer of its events: `snapshot.rs`
//! - how many accounts a reseller has: `count.rs`; how many of them are in each state: `totals.rs`
//!
//! Statements of more than a few lines are in `sql/`.

mod as_of;
mod conditions;
mod count;
mod held;
mod holds;
mod keyset;
mod list;
mod profile;
mod purge;
mod record_batch;
mod row;
mod snapshot;
mod text;
mod totals;
mod upcoming;
mod write;

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;
use super::columns::{account_id, account_key};
use super::errors::{OrDomain as _, is_connection_loss};
use super::tenancy::list_of;
use super::transaction::Tx;
use crate::domain::{Account, AccountId, AccountKey, Error, ResellerId};
use row::AccountRow;

pub use as_of::{Past, PastFact};
pub(super) use as_of::{details_of, hold_name};
pub use holds::{HeldChanges, HeldRows};
pub use keyset::{KeysetList, KeysetPage};
pub use list::list_statement;
pub use purge::PurgingReseller;
pub use record_batch::Changes;
pub use snapshot::snapshot_statement;
pub use text::among_statement;
pub use totals::StateTotal;
pub use upcoming::{ComingFilter, coming_statements};

/// How many account ids there are.
pub const ACCOUNT_NUMBERS: i64 = 2_147_483_647;
/// How many account ids may be drawn before the operator is warned: half of them.
pub const ACCOUNT_NUMBERS_ALARM: i64 = ACCOUNT_NUMBERS / 2;

impl Tx {
    /// Locks accounts in the order of `keys`. Callers sort the keys, so that two transactions
    /// cannot deadlock.
    pub async fn lock_accounts(&mut self, keys: &[AccountKey]) -> Result<(), Error> {
        let (resellers, accounts): (Vec<i64>, Vec<i32>) = keys
            .iter()
            .map(|(reseller, account)| (reseller.0, account.as_i32()))
            .unzip();
        sqlx::query!(
            "select from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
             cross join lateral (
               select from account a where a.id = w.id and a.reseller_id is not distinct
               from w.reseller_id for no key update) as locked",
            &resellers,
            &accounts
        )
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// The accounts with these keys, deleted ones included, in no particular order.
    pub async fn fetch_accounts(&mut self, keys: &[AccountKey]) -> Result<Vec<Account>, Error> {
        let rows = fetch_keyed(self.connection(), None, keys, true)
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

    /// The reseller of an account. `None` if no reseller of the transaction has it.
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

    /// The id of the account with this UUID. `None` if no reseller of the transaction has it.
    pub async fn locate_uid(&mut self, uid: Uuid) -> Result<Option<AccountId>, Error> {
        let id = sqlx::query_scalar!("select id from account where uid = $1", uid)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        id.map(account_id).transpose()
    }

    /// The keys and UUIDs of the accounts that have one of these ids or UUIDs. Without a reseller
    /// it looks at all resellers of the transaction.
    pub async fn locate_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        ids: &[i32],
        uids: &[Uuid],
    ) -> Result<Vec<(ResellerId, AccountId, Uuid)>, Error> {
        let rows = sqlx::query!(
            r#"select reseller_id as "reseller_id!", id as "id!", uid as "uid!" from account
               where id = any($1) and ($3::bigint is null or reseller_id = $3)
               union select reseller_id, id, uid from account
               where uid = any($2) and ($3::bigint is null or reseller_id = $3)"#,
            ids,
            uids,
            reseller.map(|it| it.0)
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| {
                let (reseller, account) = account_key(row.reseller_id, row.id)?;
                Ok((reseller, account, row.uid))
            })
            .collect()
    }

    /// The ids and UUIDs of the accounts of a reseller that have one of these ids or UUIDs, deleted
    /// ones included.
    pub async fn locate_imported(
        &mut self,
        reseller: ResellerId,
        ids: &[i32],
        uids: &[Uuid],
    ) -> Result<Vec<(AccountId, Uuid)>, Error> {
        let rows = sqlx::query!(
            r#"select a.id as "id!", a.uid as "uid!" from unnest($2::integer[]) as w(id)
                 cross join lateral (select id, uid from account
                   where id = w.id and reseller_id is not distinct from $1 limit 1) as a
               union select a.id, a.uid from unnest($3::uuid[]) as w(uid)
                 cross join lateral (select id, uid from account
                   where uid = w.uid and reseller_id is not distinct from $1 limit 1) as a"#,
            reseller.0,
            ids,
            uids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| Ok((account_id(row.id)?, row.uid)))
            .collect()
    }

    /// The live accounts with one of these e-mail keys, of all resellers of the transaction, in the
    /// order of the keys, then by id; at most `limit` of each key.
    pub async fn locate_email(
        &mut self,
        keys: &[String],
        limit: i64,
    ) -> Result<Vec<(ResellerId, AccountId)>, Error> {
        let rows = sqlx::query!(
            "select a.reseller_id, a.id from unnest($1::text[]) with ordinality as wanted(key, place)
               cross join lateral (select reseller_id, id from account
                 where email_key = wanted.key and deleted_at is null order by id limit $2) as a
             order by wanted.place, a.id",
            keys,
            limit
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        rows.into_iter()
            .map(|row| account_key(row.reseller_id, row.id))
            .collect()
    }

    /// The live accounts with these e-mail keys.
    pub async fn fetch_emails(
        &mut self,
        emails: &[(ResellerId, String)],
    ) -> Result<HashMap<(ResellerId, String), AccountId>, Error> {
        let resellers: Vec<_> = emails.iter().map(|(reseller, _)| reseller.0).collect();
        let keys: Vec<_> = emails.iter().map(|(_, key)| key.clone()).collect();
        // The planner has to take each key to the index of keys, also while the table is empty. With
        // a plain join it reads all accounts and compares each with the keys: `limit` fixes the
        // order of the join. With a condition on the reseller that an index can answer, it may
        // choose any index that begins with the reseller.
        let rows = sqlx::query!(
            r#"select a.reseller_id as "reseller_id!", a.email_key as "email_key!", a.id as "id!"
               from unnest($1::bigint[], $2::text[]) as w(reseller_id, email_key)
               cross join lateral (
                 select a.reseller_id, a.email_key, a.id from account a
                 where a.email_key = w.email_key and a.deleted_at is null
                   and a.reseller_id is not distinct from w.reseller_id
                 limit 1) as a"#,
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
                    account_id(row.id)?,
                ))
            })
            .collect()
    }

    /// Draws ids for new accounts, and passes over those that an import has given to an account. A
    /// drawn id is never drawn again, also if the transaction is rolled back. An import may take an
    /// id at the same time; then writing the account fails as stale. Near the end of the sequence it
    /// returns fewer than `count`, because a statement that fails would abort the whole transaction.
    ///
    /// # Errors
    /// [`Error::AccountNumbersExhausted`] if another transaction draws the last ids meanwhile.
    pub async fn next_account_ids(&mut self, count: i32) -> Result<Vec<AccountId>, Error> {
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from draw_account_numbers($1) as id"#,
            count
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        ids.into_iter().map(account_id).collect()
    }

    /// Lets the sequence of ids go on up to `last`, so that no new account gets an id up to it.
    /// Nothing happens if it is there already.
    pub async fn pass_account_ids(&mut self, last: AccountId) -> Result<(), Error> {
        sqlx::query!("select pass_account_numbers($1)", last.as_i32())
            .fetch_one(self.connection())
            .await
            .or_domain()?;
        Ok(())
    }

    /// Which of these ids and UUIDs are taken: by an account of any reseller, or by one that was
    /// purged.
    pub async fn taken_account_ids(
        &mut self,
        ids: &[i32],
        uids: &[Uuid],
    ) -> Result<(HashSet<i32>, HashSet<Uuid>), Error> {
        let rows = sqlx::query!(
            "select number, uid from taken_account_identities($1, $2)",
            ids,
            uids
        )
        .fetch_all(self.connection())
        .await
        .or_domain()?;
        Ok((
            rows.iter().filter_map(|row| row.number).collect(),
            rows.iter().filter_map(|row| row.uid).collect(),
        ))
    }

    /// How many of the 2^31-1 account ids have been drawn, for all resellers together.
    pub async fn count_account_ids(&mut self) -> Result<i64, Error> {
        sqlx::query_scalar!(
            r#"select coalesce(pg_sequence_last_value('account_id_seq'), 0) as "count!""#
        )
        .fetch_one(self.connection())
        .await
        .or_domain()
    }

    /// The accounts with these keys, in the order of the keys. An account that was purged meanwhile
    /// is left out.
    async fn fetch_in_order(&mut self, keys: &[AccountKey]) -> Result<Vec<Account>, Error> {
        let rows = fetch_keyed(self.connection(), None, keys, false)
            .await
            .or_domain()?;
        let mut found: HashMap<i32, AccountRow> =
            rows.into_iter().map(|row| (row.id, row)).collect();
        let mut accounts: Vec<Account> = keys
            .iter()
            .filter_map(|(_, account)| found.remove(&account.as_i32()))
            .map(Account::try_from)
            .collect::<Result<_, _>>()?;
        // The accounts of a page share few plans, so each plan is read once.
        let plans: BTreeSet<_> = accounts
            .iter()
            .filter_map(|account| Some((account.reseller_id, account.profile.plan_id?)))
            .collect();
        let plans = self.fetch_plans(&plans).await?;
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
    /// The accounts with these keys, deleted ones included, and the connection that read them. The
    /// connection has no open transaction and may touch the rows of `resellers`, so the caller can
    /// write on it in one statement.
    pub async fn look_up(
        &self,
        resellers: &BTreeSet<ResellerId>,
        keys: &[AccountKey],
    ) -> Result<(Tx, Vec<Account>), Error> {
        let resellers = list_of(resellers);
        let mut stale_left = self.keyed.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.keyed).await?;
            match fetch_keyed(tx.connection(), Some(&resellers), keys, true).await {
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

/// The accounts with these keys. `tenancy` lists the resellers whose rows the connection may touch
/// from now on; `None` leaves the connection as it is. `with_plans` reads the plan of each account
/// too.
async fn fetch_keyed(
    connection: &mut PgConnection,
    tenancy: Option<&str>,
    keys: &[AccountKey],
    with_plans: bool,
) -> Result<Vec<AccountRow>, sqlx::Error> {
    let accounts: Vec<i32> = keys.iter().map(|(_, account)| account.as_i32()).collect();
    let found = sqlx::query_file_as!(
        AccountRow,
        "src/store/accounts/sql/fetch_accounts.sql",
        &accounts,
        tenancy,
        with_plans
    )
    .fetch_all(connection)
    .await?;
    // The statement compares the account ids only; a comment in its file explains why.
    let wanted: HashSet<(i64, i32)> = keys
        .iter()
        .map(|(reseller, account)| (reseller.0, account.as_i32()))
        .collect();
    Ok(found
        .into_iter()
        .filter(|row| wanted.contains(&(row.reseller_id, row.id)))
        .collect())
}

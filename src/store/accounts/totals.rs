//! The totals of a reseller's accounts by state, kept so that a list need not count.
//!
//! `counted_block` has, for each account that something blocks, as what it was counted, and
//! `reseller_total_state` has the sums. They are exact as of a journal entry (`position`) and an
//! instant (`counted_at`) in this sense: an account that is in no later entry, and for which no
//! instant since has passed at which a block begins or ends, is counted as what it is. So a list
//! takes the sums and corrects them for the other accounts, of which it knows both what they were
//! counted as and what they are, in one statement. Changes of accounts write nothing for this.
//!
//! The entries of one reseller become visible in the order of their ids, because whoever writes them
//! holds the reseller's advisory lock. So no entry up to `position` is missing.
//!
//! Only resellers with many accounts have totals, and only while somebody reads their lists.

use std::sync::LazyLock;

use chrono::TimeDelta;
use sqlx::Row as _;

use crate::domain::{Block, Error, ResellerId, StateFilter, Time};
use crate::store::Store;
use crate::store::errors::{OrDomain as _, is_connection_loss};
use crate::store::tenancy::Tenancy;
use crate::store::transaction::Tx;

/// How many journal entries a list reads to correct the totals. Beyond it, the list counts.
pub(super) const MAX_ENTRIES: i64 = 5_000;
/// How many journal entries are counted in one transaction.
const FOLDED: i64 = 10_000;
/// How many account numbers are looked at in one transaction while the totals are built.
const BUILT: i32 = 100_000;
/// After this long, totals that no list has asked for are dropped, and entries of the journal may be
/// gone.
const FORGOTTEN: TimeDelta = TimeDelta::days(1);

/// What blocks an account, as bits, at the instant $2.
const BLOCKS: &str = "(case when a.id is null then 0 when a.deleted_at is not null then 32 else
    (case when a.status = 'inactive' then 1 else 0 end)
    + (case when a.expires_at <= $2 and (a.exempt_until is null or a.exempt_until <= $2)
       then 2 else 0 end)
    + (case when a.holds is null then 0 else coalesce((
        select bit_or(case when h.kind = 'freeze' then 4
          when h.authority = 'reseller' then 8 else 16 end)
        from held h where h.reseller_id = a.reseller_id and h.account_id = a.id
          and h.kind in ('freeze', 'suspend') and h.level = 'block'
          and (h.starts_at is null or h.starts_at <= $2)
          and (h.ends_at is null or h.ends_at > $2)), 0) end)
  end)::smallint";

/// The bits of accounts that are inactive or have expired.
pub(super) const INACTIVE: i16 = 1;
pub(super) const EXPIRED: i16 = 2;

/// The accounts of the reseller $1 that may be something else at the instant $2 than what they were
/// counted as: `known` are the totals, `entries` at most $3 journal entries behind them, `changed` the
/// accounts.
pub(super) const CHANGED: &str = "known as materialized (
    select position, entries_from, least(counted_at, $2) as since, greatest(counted_at, $2) as until
    from reseller_total where reseller_id = $1 and built_to is null
  ), entries as materialized (
    select j.id, j.at, j.account_id from journal j
    where j.reseller_id = $1 and j.outcome = 'applied' and j.id > (select position from known)
      and j.at >= (select entries_from from known) - interval '1 hour'
    order by j.reseller_id, j.id limit $3
  ), changed as materialized (
    select account_id from entries
    union select id from account
      where reseller_id = $1 and (deleted_at is null) and expires_at is not null
        and expires_at > (select since from known) and expires_at <= (select until from known)
    union select id from account
      where reseller_id = $1 and exempt_until is not null
        and exempt_until > (select since from known) and exempt_until <= (select until from known)
    union select account_id from held
      where reseller_id = $1 and not has_begun
        and starts_at > (select since from known) and starts_at <= (select until from known)
    union select account_id from held
      where reseller_id = $1 and ends_at is not null
        and ends_at > (select since from known) and ends_at <= (select until from known)
  )";

/// Counts the accounts in `looked_at` anew, after a list of common table expressions that ends with
/// it.
fn counting() -> String {
    format!(
        "judged as materialized (
    select w.account_id, {BLOCKS} as blocks, coalesce(b.blocks, 0) as was
    from looked_at w
    left join account a on a.id = w.account_id and a.reseller_id = $1
    left join counted_block b on b.reseller_id = $1 and b.account_id = w.account_id
  ), gone as (
    delete from counted_block b using judged j
    where b.reseller_id = $1 and b.account_id = j.account_id and j.blocks = 0 and j.was <> 0
  ), written as (
    insert into counted_block (reseller_id, account_id, blocks)
    select $1, account_id, blocks from judged where blocks <> 0 and blocks <> was
    on conflict on constraint counted_block_pkey do update set blocks = excluded.blocks
  ), summed as (
    insert into reseller_total_state (reseller_id, blocks, accounts)
    select $1, blocks, sum(difference) from (
      select blocks, 1 as difference from judged where blocks <> was
      union all select was, -1 from judged where blocks <> was) as d
    where blocks <> 0 group by blocks having sum(difference) <> 0
    on conflict on constraint reseller_total_state_pkey
      do update set accounts = reseller_total_state.accounts + excluded.accounts
  ) "
    )
}

static FOLD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "with {CHANGED}, looked_at as (select account_id from changed), {}
         update reseller_total set counted_at = greatest(counted_at, $2),
           position = coalesce((select max(id) from entries), position),
           entries_from = case when (select count(*) from entries) < $3 then greatest(counted_at, $2)
             else (select max(at) from entries) end
         where reseller_id = $1 and built_to is null
         returning (select count(*) from entries) as entries",
        counting()
    )
});

static BUILD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "with page as (
           select id from account
           where reseller_id = $1 and id > (select built_to from reseller_total where reseller_id = $1)
           order by reseller_id, id limit $3
         ), looked_at as (select id as account_id from page), {}
         update reseller_total set built_to = (select max(id) from page)
         where reseller_id = $1 returning built_to",
        counting()
    )
});

static TOTAL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "with {CHANGED}, judged as materialized (
           select {BLOCKS} as blocks, coalesce(b.blocks, 0) as was
           from changed w
           left join lateral (select * from account a
             where a.id = w.account_id and a.reseller_id is not distinct from $1 limit 1) as a on true
           left join counted_block b on b.reseller_id = $1 and b.account_id = w.account_id)
         select exists (select from known) as is_known, (select count(*) from entries) as entries,
           (coalesce((select sum(accounts) from reseller_total_state
              where reseller_id = $1 and blocks & $4 <> 0), 0)
            + coalesce((select sum((blocks & $4 <> 0)::integer - (was & $4 <> 0)::integer)
              from judged), 0))::bigint as blocked,
           (coalesce((select r.counted_accounts from reseller r where r.id = $1), 0)
            + coalesce((select sum(case when m.counted then -1 else 1 end) from (
               select m.counted from account m
               where m.counted <> (m.deleted_at is null) and m.reseller_id = $1
               order by m.reseller_id, m.counted, m.id) as m), 0))::bigint as live,
           exists (select from reseller r where r.id = $1 and r.suspended_at is not null)
             as is_suspended,
           (select asked_at from reseller_total where reseller_id = $1) as asked_at
         where (select set_config('steward.resellers', $5, true) is not null
           and set_config('steward.scope', $6, true) is not null)"
    )
});

/// Whether every account is counted in the totals of a reseller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Totals {
    Incomplete,
    Complete,
}

/// What is known of the total of a list by state.
#[derive(Debug, Clone, Copy)]
pub struct StateTotal {
    /// How many accounts are in the state. `None` if they must be counted.
    pub total: Option<i64>,
    /// How many accounts of the reseller are not deleted.
    pub live: i64,
    /// How many journal entries the totals are behind.
    pub behind: i64,
    /// When a list last asked for the totals. `None` if none are kept.
    pub asked_at: Option<Time>,
}

impl Store {
    /// The total of a list of a reseller's accounts in a state, from the totals that are kept, on a
    /// listing connection.
    pub async fn state_total(
        &self,
        reseller: ResellerId,
        state: StateFilter,
        now: Time,
    ) -> Result<StateTotal, Error> {
        let (resellers, scope) = Tenancy::of(reseller).settings().unwrap_or_default();
        let mut stale_left = self.listing.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.listing).await?;
            let read = sqlx::query(TOTAL.as_str())
                .bind(reseller.0)
                .bind(now)
                .bind(MAX_ENTRIES + 1)
                .bind(bits_of(state))
                .bind(&resellers)
                .bind(scope)
                .fetch_one(tx.connection())
                .await;
            let row = match read {
                Ok(row) => row,
                Err(error) if stale_left > 0 && is_connection_loss(&error) => {
                    stale_left -= 1;
                    continue;
                }
                Err(error) => return Err(error).or_domain(),
            };
            tx.commit().await?;
            let is_known: bool = row.try_get("is_known").or_domain()?;
            let behind: i64 = row.try_get("entries").or_domain()?;
            let blocked: i64 = row.try_get("blocked").or_domain()?;
            let live: i64 = row.try_get("live").or_domain()?;
            let is_suspended: bool = row.try_get("is_suspended").or_domain()?;
            let total = match state {
                StateFilter::BlockedBy(Block::ResellerSuspended) if !is_suspended => Some(0),
                StateFilter::BlockedBy(Block::ResellerSuspended) => Some(live),
                StateFilter::Suspended if is_suspended => Some(live),
                StateFilter::Active if is_suspended => Some(0),
                _ if !is_known || behind > MAX_ENTRIES => None,
                StateFilter::Active => Some(live - blocked),
                StateFilter::Suspended | StateFilter::BlockedBy(_) => Some(blocked),
            };
            return Ok(StateTotal {
                total,
                live,
                behind,
                asked_at: row.try_get("asked_at").or_domain()?,
            });
        }
    }
}

impl Tx {
    /// Begins to keep the totals of a reseller, unless they are kept already.
    pub async fn begin_totals(&mut self, reseller: ResellerId, now: Time) -> Result<(), Error> {
        sqlx::query(
            "insert into reseller_total
               (reseller_id, position, entries_from, counted_at, built_to, asked_at)
             select $1, coalesce((select max(id) from journal
               where reseller_id = $1 and outcome = 'applied'), 0), $2, $2, 0, $2
             on conflict on constraint reseller_total_pkey do update set asked_at = $2",
        )
        .bind(reseller.0)
        .bind(now)
        .execute(self.connection())
        .await
        .map(drop)
        .or_domain()
    }

    /// Counts more accounts for the totals of a reseller. Returns whether more are left.
    pub async fn build_totals(&mut self, reseller: ResellerId, now: Time) -> Result<bool, Error> {
        if self.lock_totals(reseller).await? != Some(Totals::Incomplete) {
            return Ok(false);
        }
        let built_to: Option<Option<i32>> = sqlx::query_scalar(BUILD.as_str())
            .bind(reseller.0)
            .bind(now)
            .bind(BUILT)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        Ok(built_to.flatten().is_some())
    }

    /// Moves the totals of a reseller on to the present. Returns whether more journal entries are
    /// left.
    pub async fn fold_totals(&mut self, reseller: ResellerId, now: Time) -> Result<bool, Error> {
        self.lock_totals(reseller).await?;
        let entries: Option<i64> = sqlx::query_scalar(FOLD.as_str())
            .bind(reseller.0)
            .bind(now)
            .bind(FOLDED)
            .fetch_optional(self.connection())
            .await
            .or_domain()?;
        Ok(entries == Some(FOLDED))
    }

    /// Keeps others from changing the totals of a reseller. Returns whether they are being built;
    /// `None` if none are kept.
    async fn lock_totals(&mut self, reseller: ResellerId) -> Result<Option<Totals>, Error> {
        let built_to: Option<Option<i32>> = sqlx::query_scalar(
            "select built_to from reseller_total where reseller_id = $1 for update",
        )
        .bind(reseller.0)
        .fetch_optional(self.connection())
        .await
        .or_domain()?;
        Ok(built_to.map(|built_to| match built_to {
            Some(_) => Totals::Incomplete,
            None => Totals::Complete,
        }))
    }

    /// The resellers whose totals are kept.
    pub async fn list_totals(&mut self) -> Result<Vec<ResellerId>, Error> {
        let ids: Vec<i64> =
            sqlx::query_scalar("select reseller_id from reseller_total order by reseller_id")
                .fetch_all(self.connection())
                .await
                .or_domain()?;
        Ok(ids.into_iter().map(ResellerId).collect())
    }

    /// Drops the totals of a reseller if no list has asked for them for a day, or if they are a day
    /// behind.
    pub async fn drop_stale_totals(
        &mut self,
        reseller: ResellerId,
        now: Time,
    ) -> Result<bool, Error> {
        // What another transaction wrote is seen by the statement after the lock.
        self.lock_totals(reseller).await?;
        let dropped: i64 = sqlx::query_scalar(
            "with dropped as (
               delete from reseller_total
               where reseller_id = $1 and (asked_at < $2 or counted_at < $2) returning reseller_id
             ), of_accounts as (
               delete from counted_block b using dropped d where b.reseller_id = d.reseller_id
             ), of_states as (
               delete from reseller_total_state s using dropped d where s.reseller_id = d.reseller_id
             )
             select count(*) from dropped",
        )
        .bind(reseller.0)
        .bind(now - FORGOTTEN)
        .fetch_one(self.connection())
        .await
        .or_domain()?;
        Ok(dropped > 0)
    }
}

/// The bits of the blocks that a state is about.
fn bits_of(state: StateFilter) -> i16 {
    match state {
        StateFilter::Active => 1 | 2 | 4 | 8 | 16,
        StateFilter::Suspended => 8 | 16,
        StateFilter::BlockedBy(block) => match block {
            Block::Inactive => 1,
            Block::Expired => 2,
            Block::Frozen => 4,
            Block::SuspendedByReseller => 8,
            Block::SuspendedByOperator => 16,
            Block::Deleted => 32,
            Block::ResellerSuspended => 0,
        },
    }
}

//! Searches of accounts, and lists that `keyset.rs` does not have. Their statements are put together at
//! run time, as are those of `keyset.rs`, `totals.rs`, `upcoming.rs` and `snapshot.rs`, and no others.
//!
//! A page takes two statements. The first finds the keys in their order, each with the size of its
//! account; the second reads the accounts by key, as many as `READ_AT_ONCE` allows. The texts are
//! constants of this file; every value is bound.

use std::collections::HashMap;

use sqlx::{Postgres, QueryBuilder};

use super::conditions::{column, nulls_of, push_by_zone, push_conditions, push_members, push_text};
use super::held::{
    BLOCKING, Held, SUSPENDING, held_by, held_in, push_has_hold, push_held_accounts,
    push_no_stronger, push_optional,
};
use crate::domain::{
    Account, AccountFilter, AccountId, AccountKey, Authority, Block, Error, ResellerId, Search,
    Start, StateFilter, Time, ZoneConditions,
};
use crate::store::columns::{account_id, account_key};
use crate::store::errors::OrDomain as _;
use crate::store::slice::Slice;
use crate::store::transaction::Tx;

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// The beginning of a statement that finds the keys of a page; [`push_limit`] appends its end.
///
/// The size of an account counts the bytes of its profile and holds, and 512 for the rest.
pub(super) const KEYS: &str = "select k.reseller_id, k.id, (
   select 512 + octet_length(w.profile::text) + coalesce(octet_length(w.holds::text), 0)
   from account w where w.reseller_id = k.reseller_id and w.id = k.id
 )::bigint as size from (select a.reseller_id, a.id from ";
/// The beginning of a statement that counts accounts; [`Tx::count`] appends its end.
const COUNT: &str = "select count(*) from (select from ";
/// Whether the whole reseller of an account is suspended.
const RESELLER_SUSPENDED: &str =
    "exists (select from reseller r where r.id = a.reseller_id and r.suspended_at is not null)";
impl Tx {
    /// A page of the accounts that a filter admits, by account id from `from` on. `None` lists the
    /// accounts of every reseller that the transaction may see.
    pub async fn list_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        by_zone: &[ZoneConditions],
        from: i32,
        limit: i64,
        now: Time,
    ) -> Result<Slice<Account>, Error> {
        let page = self.list_by_text(reseller, filter, by_zone, from, limit, now);
        if let Some(page) = page.await? {
            return Ok(page);
        }
        let statement = list_statement(reseller, filter, by_zone, from, limit, now);
        self.fetch_page(statement, limit).await
    }

    /// A page of the accounts that are planned for the purge, by id after `after`. Without a
    /// reseller it looks at all resellers of the transaction.
    pub async fn list_purge_plan(
        &mut self,
        reseller: Option<ResellerId>,
        after: i32,
        limit: i64,
    ) -> Result<Slice<Account>, Error> {
        let mut statement = Statement::new(KEYS);
        statement
            .push("account a where a.purge_due_at is not null and a.id > ")
            .push_bind(after);
        push_optional(
            &mut statement,
            " and a.reseller_id = ",
            reseller.map(|it| it.0),
        );
        push_order(&mut statement, limit);
        self.fetch_page(statement, limit).await
    }

    /// A page of the keys and sizes of accounts created by an instant, deleted ones included, by id
    /// from `from` on. Without a reseller it looks at all resellers of the transaction.
    pub(super) async fn list_with_deleted(
        &mut self,
        reseller: Option<ResellerId>,
        from: i32,
        limit: i64,
        created_by: Time,
    ) -> Result<Slice<(AccountKey, i64)>, Error> {
        let mut statement = Statement::new(KEYS);
        statement
            .push("account a where a.id >= ")
            .push_bind(from)
            .push(" and a.created_at <= ")
            .push_bind(created_by);
        push_optional(
            &mut statement,
            " and a.reseller_id = ",
            reseller.map(|it| it.0),
        );
        push_order(&mut statement, limit);
        self.fetch_keys(statement, limit).await
    }

    /// How many accounts a filter admits. Counting stops at `max`.
    pub async fn count_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        by_zone: &[ZoneConditions],
        max: i64,
        now: Time,
    ) -> Result<i64, Error> {
        let counted = self.count_list_by_text(reseller, filter, by_zone, max, now);
        if let Some(found) = counted.await? {
            return Ok(found);
        }
        let statement = count_statement(reseller, filter, by_zone, None, now);
        self.count(statement, max).await
    }

    /// A page of the accounts that a search finds, in its order. `None` searches the accounts of
    /// every reseller that the transaction may see.
    pub async fn search_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
        now: Time,
    ) -> Result<Slice<Account>, Error> {
        if let Some(page) = self.search_by_text(reseller, search, now).await? {
            return Ok(page);
        }
        let statement = search_statement(reseller, search, None, search.limit, now);
        self.fetch_page(statement, search.limit).await
    }

    /// How many accounts a search finds on all its pages together. Counting stops at `max`.
    pub async fn count_found(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
        max: i64,
        now: Time,
    ) -> Result<i64, Error> {
        let counted = self.count_found_by_text(reseller, search, max, now);
        if let Some(found) = counted.await? {
            return Ok(found);
        }
        let statement = count_search_statement(reseller, search, None, now);
        self.count(statement, max).await
    }

    /// The accounts whose keys a statement finds, in its order, at most `limit`.
    pub(super) async fn fetch_page(
        &mut self,
        statement: Statement,
        limit: i64,
    ) -> Result<Slice<Account>, Error> {
        let mut statement = statement;
        let found = self.fetch_sized(&mut statement).await?;
        self.fetch_slice(found, limit).await
    }

    /// The accounts with these keys, in their order: as many of them as may be read at once. `limit`
    /// is how many were asked for.
    pub(super) async fn fetch_slice(
        &mut self,
        found: Vec<(AccountKey, i64)>,
        limit: i64,
    ) -> Result<Slice<Account>, Error> {
        let found = Slice::within(found, |(_, size)| *size, limit);
        let keys: Vec<_> = found.rows.into_iter().map(|(key, _)| key).collect();
        Ok(Slice {
            rows: self.fetch_in_order(&keys).await?,
            has_more: found.has_more,
        })
    }

    /// The sizes of accounts, about, in bytes. Without a reseller it looks at all resellers of the
    /// transaction.
    pub async fn account_sizes(
        &mut self,
        reseller: Option<ResellerId>,
        accounts: &[AccountId],
    ) -> Result<HashMap<AccountId, i64>, Error> {
        let ids: Vec<i32> = accounts.iter().map(|id| id.as_i32()).collect();
        let mut statement = Statement::new(KEYS);
        statement
            .push("account a where a.id = any(")
            .push_bind(ids)
            .push(")");
        push_optional(
            &mut statement,
            " and a.reseller_id = ",
            reseller.map(|it| it.0),
        );
        statement.push(") as k");
        let found: Vec<(i64, i32, i64)> = statement
            .build_query_as()
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        found
            .into_iter()
            .map(|(_, account, size)| Ok((account_id(account)?, size)))
            .collect()
    }

    /// The keys that a statement finds, in its order, with the sizes of the accounts: at most
    /// `limit`, and no more than those whose accounts may be read at once.
    async fn fetch_keys(
        &mut self,
        mut statement: Statement,
        limit: i64,
    ) -> Result<Slice<(AccountKey, i64)>, Error> {
        let found = self.fetch_sized(&mut statement).await?;
        Ok(Slice::within(found, |(_, size)| *size, limit))
    }

    /// All keys that a statement finds, in its order, with the sizes of the accounts.
    pub(super) async fn fetch_sized(
        &mut self,
        statement: &mut Statement,
    ) -> Result<Vec<(AccountKey, i64)>, Error> {
        let found: Vec<(i64, i32, i64)> = statement
            .build_query_as()
            .fetch_all(self.connection())
            .await
            .or_domain()?;
        found
            .into_iter()
            .map(|(reseller, account, size)| account_key(reseller, account).map(|key| (key, size)))
            .collect()
    }

    pub(super) async fn count(&mut self, mut statement: Statement, max: i64) -> Result<i64, Error> {
        statement.push(" limit ").push_bind(max).push(") as found");
        statement
            .build_query_scalar()
            .fetch_one(self.connection())
            .await
            .or_domain()
    }
}

/// The statement that finds the keys of a page of [`Tx::list_accounts`]. Public so that a test can
/// read its plan.
#[must_use]
pub fn list_statement(
    reseller: Option<ResellerId>,
    filter: &AccountFilter,
    by_zone: &[ZoneConditions],
    from: i32,
    limit: i64,
    now: Time,
) -> QueryBuilder<Postgres> {
    let mut statement = Statement::new(KEYS);
    push_filter(&mut statement, reseller, filter, Some(from), now);
    push_by_zone(&mut statement, by_zone);
    push_order(&mut statement, limit);
    statement
}

/// The beginning of a statement that counts what a filter admits, if need be only among the accounts
/// with these ids.
pub(super) fn count_statement(
    reseller: Option<ResellerId>,
    filter: &AccountFilter,
    by_zone: &[ZoneConditions],
    among: Option<&[i32]>,
    now: Time,
) -> Statement {
    let mut statement = Statement::new(COUNT);
    push_filter(&mut statement, reseller, filter, None, now);
    push_by_zone(&mut statement, by_zone);
    push_among(&mut statement, among);
    statement
}

/// The beginning of a statement that counts what a search finds, if need be only among the accounts
/// with these ids.
pub(super) fn count_search_statement(
    reseller: Option<ResellerId>,
    search: &Search,
    among: Option<&[i32]>,
    now: Time,
) -> Statement {
    let mut statement = Statement::new(COUNT);
    push_search(&mut statement, reseller, search, None, now);
    push_among(&mut statement, among);
    statement
}

/// The statement that finds the keys of a page of [`Tx::search_accounts`], if need be only among
/// the accounts with these ids.
pub(super) fn search_statement(
    reseller: Option<ResellerId>,
    search: &Search,
    among: Option<&[i32]>,
    limit: i64,
    now: Time,
) -> Statement {
    let mut statement = Statement::new(KEYS);
    let after = match search.start {
        Start::After(after) => after,
        Start::Offset { .. } => None,
    };
    push_search(&mut statement, reseller, search, after, now);
    push_among(&mut statement, among);
    match search.start {
        Start::After(after) => {
            if let Some(after) = after {
                statement.push(" and a.id > ").push_bind(after.as_i32());
            }
            statement.push(" order by a.id");
        }
        Start::Offset {
            skip,
            by,
            descending,
        } => {
            let direction = if descending { "desc" } else { "asc" };
            statement
                .push(format!(
                    " order by {} {direction}{}, a.id {direction} offset ",
                    column(by),
                    nulls_of(by)
                ))
                .push_bind(skip);
        }
    }
    push_limit(&mut statement, limit);
    statement
}

/// The condition that an account has one of these ids. `None` pushes nothing.
pub(super) fn push_among(statement: &mut Statement, ids: Option<&[i32]>) {
    if let Some(ids) = ids {
        statement
            .push(" and a.id = any(")
            .push_bind(ids.to_vec())
            .push(")");
    }
}

/// The end of a statement that begins with [`KEYS`] and lists by id.
pub(super) fn push_order(statement: &mut Statement, limit: i64) {
    statement.push(" order by a.id");
    push_limit(statement, limit);
}

/// The end of a statement that begins with [`KEYS`].
fn push_limit(statement: &mut Statement, limit: i64) {
    statement.push(" limit ").push_bind(limit).push(") as k");
}

/// The accounts that a filter admits, from account id `from` on: the rules of
/// [`StateFilter::admits`] in SQL. A property test compares the two.
///
/// A list by holds begins with the open holds: there are far fewer of them than accounts, and their
/// index has them in the order of the account ids.
pub(super) fn push_filter(
    statement: &mut Statement,
    reseller: Option<ResellerId>,
    filter: &AccountFilter,
    from: Option<i32>,
    now: Time,
) {
    if let Some(required) = required_hold(filter) {
        push_held_accounts(statement, reseller, required, from, now);
        push_members(statement, reseller, &filter.metadata, from);
        statement.push(" where a.deleted_at is null");
    } else {
        let is_deleted = filter.state == Some(StateFilter::BlockedBy(Block::Deleted));
        statement.push("account a");
        push_members(statement, reseller, &filter.metadata, from);
        statement.push(" where a.deleted_at is ");
        statement.push(if is_deleted { "not null" } else { "null" });
        push_optional(statement, " and a.reseller_id = ", reseller.map(|it| it.0));
    }
    if let Some(state) = filter.state {
        push_state(statement, state, now);
        if let Some(held) = held_by(filter) {
            statement.push(" and ");
            push_has_hold(statement, held, now);
        }
    }
    if let Some(held) = held_by(filter) {
        push_no_stronger(statement, held, now);
    }
    push_optional(statement, " and a.expires_at < ", filter.expires_before);
    push_optional(statement, " and a.expires_at >= ", filter.expires_after);
    if let Some(text) = &filter.text {
        statement
            .push(
                " and strpos(lower(concat_ws(' ', a.profile ->> 'name',
               a.profile ->> 'title', a.profile ->> 'email', a.profile ->> 'company')), ",
            )
            .push_bind(text.to_lowercase())
            .push(") > 0");
    }
    push_optional(statement, " and a.id >= ", from);
}

/// The holds that a list begins with. `None` if the list begins with the accounts, because an
/// account without a hold may belong to it.
fn required_hold(filter: &AccountFilter) -> Option<Held<'_>> {
    match filter.state {
        None => held_by(filter),
        Some(StateFilter::BlockedBy(Block::Frozen)) => {
            Some(Held::any("h.kind = 'freeze' and h.level = 'block'"))
        }
        Some(StateFilter::BlockedBy(Block::SuspendedByReseller)) => Some(Held {
            authority: Some(Authority::Reseller),
            ..Held::any(SUSPENDING)
        }),
        Some(StateFilter::BlockedBy(Block::SuspendedByOperator)) => Some(Held::any(
            "h.kind = 'suspend' and h.level = 'block' and h.authority <> 'reseller'",
        )),
        Some(
            StateFilter::Active
            | StateFilter::Suspended
            | StateFilter::BlockedBy(
                Block::Deleted | Block::ResellerSuspended | Block::Inactive | Block::Expired,
            ),
        ) => None,
    }
}

/// The condition that an account is in a state. Pushes nothing for states that the beginning of the
/// statement has selected already.
fn push_state(statement: &mut Statement, state: StateFilter, now: Time) {
    match state {
        StateFilter::Active => {
            statement
                .push(" and a.status = 'active' and (a.expires_at is null or a.expires_at > ")
                .push_bind(now)
                .push(" or a.exempt_until > ")
                .push_bind(now)
                .push(format!(") and not {RESELLER_SUSPENDED} and not "));
            push_has_hold(statement, Held::any(BLOCKING), now);
        }
        StateFilter::Suspended => {
            statement.push(format!(" and ({RESELLER_SUSPENDED} or "));
            push_has_hold(statement, Held::any(SUSPENDING), now);
            statement.push(")");
        }
        StateFilter::BlockedBy(Block::ResellerSuspended) => {
            statement.push(format!(" and {RESELLER_SUSPENDED}"));
        }
        StateFilter::BlockedBy(Block::Inactive) => {
            statement.push(" and a.status = 'inactive'");
        }
        StateFilter::BlockedBy(Block::Expired) => {
            statement
                .push(" and a.expires_at <= ")
                .push_bind(now)
                .push(" and (a.exempt_until is null or a.exempt_until <= ")
                .push_bind(now)
                .push(")");
        }
        StateFilter::BlockedBy(
            Block::Deleted
            | Block::Frozen
            | Block::SuspendedByOperator
            | Block::SuspendedByReseller,
        ) => {}
    }
}

/// The accounts that are not deleted and meet every condition of a search. The caller leaves out
/// those up to `after`.
fn push_search(
    statement: &mut Statement,
    reseller: Option<ResellerId>,
    search: &Search,
    after: Option<AccountId>,
    now: Time,
) {
    let after = after.map(AccountId::as_i32);
    let held = held_in(search);
    match held {
        Some(held) => push_held_accounts(statement, reseller, held, after, now),
        None => drop(statement.push("account a")),
    }
    push_members(statement, reseller, &search.metadata, after);
    statement.push(" where a.deleted_at is null");
    push_optional(statement, " and a.reseller_id = ", reseller.map(|it| it.0));
    if let Some(held) = held {
        push_no_stronger(statement, held, now);
    }
    push_conditions(statement, &search.conditions);
    push_text(statement, search.text.as_deref());
    push_by_zone(statement, &search.by_zone);
}

//! Lists of accounts by id, with no filter, by state, by the holds of the accounts, or by a member of
//! their metadata. Each page is one statement, which commits by itself, on a connection of the listing
//! pool: its plan is made once for each connection.
//!
//! The plan of a list must not depend on the values that are bound. So each filter is a statement of
//! its own, of which there are fewer than a hundred; each walks an index in the order of the ids and
//! stops when the page is full. Lists for which that is not the best plan are in `list.rs`.
//!
//! The statements are written so that the planner has no other choice:
//!
//! - `(deleted_at is null) = true` hides from it that a partial index has the same condition.
//! - A row comparison such as `(reseller_id, kind, account_id) >= (...)` can be answered only by the
//!   index that begins with these columns.
//! - `limit 1` in a lateral subquery fixes the order of the join, `offset 0` keeps a branch of a
//!   union apart, so that the branches are merged by id, and `is not distinct from` leaves the index
//!   by number as the only one.

mod statement;

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::held::{Held, RESTRICTING, held_by, held_in};
use super::row::AccountRow;
use crate::domain::{
    Account, AccountFilter, AccountId, Authority, Block, Error, Level, Metadata, Plan, ResellerId,
    Search, Start, StateFilter, Time, ZoneConditions,
};
use crate::store::Store;
use crate::store::errors::{OrDomain as _, is_connection_loss};
use crate::store::plans::plan_from_json;
use crate::store::slice::Slice;
use crate::store::tenancy::Tenancy;
use crate::store::transaction::Tx;

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// The position of the total, behind which the profile and the holds stand.
const TOTAL: usize = 20;
/// The kinds of holds that restrict the use of an account.
const RESTRICTING_KINDS: [&str; 2] = ["freeze", "suspend"];

/// A list whose pages are read by account id, on a kept plan.
#[derive(Debug, Clone, Copy)]
pub struct KeysetList<'a> {
    /// `None` lists the accounts of every reseller.
    reseller: Option<ResellerId>,
    which: Which<'a>,
    from: i32,
    limit: i64,
    now: Time,
}

/// Which accounts are listed.
#[derive(Debug, Clone, Copy)]
enum Which<'a> {
    /// All that are not deleted.
    Live,
    Deleted,
    Active,
    Inactive,
    Expired,
    /// Those whose reseller is suspended.
    OfSuspended,
    /// Those that are suspended themselves, or whose reseller is.
    Suspended,
    /// Those with such a hold of these kinds in force, and none that is stronger than its level.
    Held(&'static [&'static str], Held<'a>),
    /// The same, suspended by anybody but the reseller.
    SuspendedByOperator,
    /// Those of a reseller with this member in their metadata: its name and its value.
    WithMember(ResellerId, &'a str, &'a str),
}

/// A page of a [`KeysetList`].
#[derive(Debug)]
pub struct KeysetPage {
    /// The accounts, by id.
    pub accounts: Slice<Account>,
    /// How many accounts are not deleted, in all, if the list is of these.
    pub live: Option<i64>,
}

impl<'a> KeysetList<'a> {
    /// The list for a filter. `None` if the filter has several parts, or a part on dates or texts, or if no fixed plan is good for it: of all resellers together, the fewer accounts have
    /// expired, the worse it is to look for them in the order of their ids.
    #[must_use]
    pub fn of_filter(
        reseller: Option<ResellerId>,
        filter: &'a AccountFilter,
        by_zone: &[ZoneConditions],
        from: AccountId,
        limit: i64,
        now: Time,
    ) -> Option<Self> {
        let has_other_parts = filter.expires_before.is_some()
            || filter.expires_after.is_some()
            || filter.text.is_some()
            || !by_zone.is_empty();
        let which = match (filter.state, held_by(filter)) {
            _ if has_other_parts => return None,
            (None, None) if !filter.metadata.0.is_empty() => {
                Which::with_member(reseller, &filter.metadata)?
            }
            _ if !filter.metadata.0.is_empty() => return None,
            (None, None) => Which::Live,
            (None, Some(held)) => Which::Held(&RESTRICTING_KINDS, held),
            (Some(_), Some(_)) => return None,
            (Some(StateFilter::BlockedBy(Block::Expired)), None) if reseller.is_none() => {
                return None;
            }
            (Some(state), None) => Which::in_state(state),
        };
        Some(Self {
            reseller,
            which,
            from: from.as_i32(),
            limit,
            now,
        })
    }

    /// The list for a search. `None` if it is not in the order of the ids, or has conditions on
    /// fields or texts.
    #[must_use]
    pub fn of_search(reseller: Option<ResellerId>, search: &'a Search, now: Time) -> Option<Self> {
        let Start::After(after) = search.start else {
            return None;
        };
        let has_other_parts =
            !search.conditions.is_empty() || search.text.is_some() || !search.by_zone.is_empty();
        if has_other_parts {
            return None;
        }
        Some(Self {
            reseller,
            which: match held_in(search) {
                None if search.metadata.0.is_empty() => Which::Live,
                None => Which::with_member(reseller, &search.metadata)?,
                Some(_) if !search.metadata.0.is_empty() => return None,
                Some(held) => Which::Held(&RESTRICTING_KINDS, held),
            },
            from: match after {
                None => 1,
                Some(after) => after.as_i32().checked_add(1)?,
            },
            limit: search.limit,
            now,
        })
    }
}

impl<'a> Which<'a> {
    /// The accounts of a reseller with one member in their metadata.
    fn with_member(reseller: Option<ResellerId>, metadata: &'a Metadata) -> Option<Self> {
        let mut members = metadata.0.iter();
        match (reseller, members.next(), members.next()) {
            (Some(reseller), Some((name, value)), None) => {
                Some(Self::WithMember(reseller, name, value))
            }
            _ => None,
        }
    }

    fn in_state(state: StateFilter) -> Self {
        let blocking = |authority| Held {
            authority,
            level: Some(Level::Block),
            ..Held::any(RESTRICTING)
        };
        match state {
            StateFilter::Active => Self::Active,
            StateFilter::Suspended => Self::Suspended,
            StateFilter::BlockedBy(block) => match block {
                Block::Deleted => Self::Deleted,
                Block::ResellerSuspended => Self::OfSuspended,
                Block::Inactive => Self::Inactive,
                Block::Frozen => Self::Held(&["freeze"], blocking(None)),
                Block::SuspendedByReseller => {
                    Self::Held(&["suspend"], blocking(Some(Authority::Reseller)))
                }
                Block::SuspendedByOperator => Self::SuspendedByOperator,
                Block::Expired => Self::Expired,
            },
        }
    }
}

impl Store {
    /// A page of a list. `None` if an account on it is so large that only a limited number of them
    /// may be read at once; [`Tx::list_accounts`] does that.
    pub async fn list_by_id(
        &self,
        tenancy: &Tenancy,
        list: &KeysetList<'_>,
    ) -> Result<Option<KeysetPage>, Error> {
        let mut stale_left = self.listing.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.listing).await?;
            let mut statement = list.statement(tenancy);
            let rows = match statement.build().fetch_all(tx.connection()).await {
                Ok(rows) => rows,
                Err(error) if stale_left > 0 && is_connection_loss(&error) => {
                    stale_left -= 1;
                    continue;
                }
                Err(error) => return Err(error).or_domain(),
            };
            let page = page_of(tx.connection(), tenancy, list, &rows).await?;
            tx.commit().await?;
            return Ok(page);
        }
    }
}

impl Tx {
    /// How many accounts are not deleted: of a reseller, or of all that the transaction may see.
    pub async fn count_live(&mut self, reseller: Option<ResellerId>) -> Result<i64, Error> {
        let mut statement = Statement::new("");
        push_live_count(&mut statement, reseller);
        statement
            .build_query_scalar()
            .fetch_one(self.connection())
            .await
            .or_domain()
    }
}

async fn page_of(
    connection: &mut PgConnection,
    tenancy: &Tenancy,
    list: &KeysetList<'_>,
    rows: &[PgRow],
) -> Result<Option<KeysetPage>, Error> {
    let mut live = None;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        live = row.try_get(TOTAL).or_domain()?;
        let Some(row) = row_of(row).or_domain()? else {
            return Ok(None);
        };
        found.push(row);
    }
    if found.is_empty() && matches!(list.which, Which::Live) {
        live = Some(count_live(connection, tenancy, list.reseller).await?);
    }
    let size = |row: &AccountRow| {
        let bytes = row.profile.len() + row.holds.as_ref().map_or(0, String::len);
        i64::try_from(bytes + 512).unwrap_or(i64::MAX)
    };
    let found = Slice::within(found, size, list.limit);
    let mut accounts = found
        .rows
        .into_iter()
        .map(Account::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    read_plans(connection, tenancy, &mut accounts).await?;
    Ok(Some(KeysetPage {
        accounts: Slice {
            rows: accounts,
            has_more: found.has_more,
        },
        live,
    }))
}

/// Reads the plans of accounts. The accounts of a page share few plans, so each is read once.
async fn read_plans(
    connection: &mut PgConnection,
    tenancy: &Tenancy,
    accounts: &mut [Account],
) -> Result<(), Error> {
    let wanted: BTreeSet<Uuid> = accounts
        .iter()
        .filter_map(|account| account.profile.plan_id)
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut statement = Statement::new("select to_json(p)::text from unnest(");
    statement
        .push_bind(wanted.into_iter().collect::<Vec<_>>())
        .push(
            "::uuid[]) as w(id) cross join lateral (
               select * from plan p where p.id = w.id) as p where true",
        );
    push_tenancy(&mut statement, tenancy);
    let rows: Vec<String> = statement
        .build_query_scalar()
        .fetch_all(connection)
        .await
        .or_domain()?;
    let plans: Vec<Arc<Plan>> = rows
        .iter()
        .map(|json| plan_from_json(json))
        .collect::<Result<_, _>>()?;
    for account in accounts {
        let is_its = |plan: &&Arc<Plan>| {
            plan.reseller_id == account.reseller_id && Some(plan.id) == account.profile.plan_id
        };
        account.plan = plans.iter().find(is_its).cloned();
    }
    Ok(())
}

/// How many accounts are not deleted.
async fn count_live(
    connection: &mut PgConnection,
    tenancy: &Tenancy,
    reseller: Option<ResellerId>,
) -> Result<i64, Error> {
    let mut statement = Statement::new("select (");
    push_live_count(&mut statement, reseller);
    statement.push(") where true");
    push_tenancy(&mut statement, tenancy);
    statement
        .build_query_scalar()
        .fetch_one(connection)
        .await
        .or_domain()
}

/// The statement that counts live accounts from the kept numbers, as [`Tx::count_live_accounts`]
/// does.
///
/// [`Tx::count_live_accounts`]: crate::store::Tx::count_live_accounts
fn push_live_count(statement: &mut Statement, reseller: Option<ResellerId>) {
    statement.push("select (coalesce((select sum(r.counted_accounts) from reseller r");
    if let Some(reseller) = reseller {
        statement.push(" where r.id = ").push_bind(reseller.0);
    }
    statement.push(
        "), 0) + coalesce((select sum(case when m.counted then -1 else 1 end) from (
           select m.counted from account m where m.counted <> (m.deleted_at is null)",
    );
    if let Some(reseller) = reseller {
        statement
            .push(" and m.reseller_id = ")
            .push_bind(reseller.0);
    }
    statement.push(" order by m.reseller_id, m.counted, m.id) as m), 0))::bigint");
}

/// A condition that writes the settings which row level security reads, for this statement alone. It
/// depends on no row, so PostgreSQL evaluates it before it reads any.
fn push_tenancy(statement: &mut Statement, tenancy: &Tenancy) {
    statement.push(" and (select ");
    push_settings(statement, tenancy);
    statement.push(")");
}

fn push_settings(statement: &mut Statement, tenancy: &Tenancy) {
    let (resellers, scope) = tenancy.settings().unwrap_or_default();
    statement
        .push("set_config('steward.resellers', ")
        .push_bind(resellers)
        .push(", true) is not null and set_config('steward.scope', ")
        .push_bind(scope)
        .push(", true) is not null");
}

/// The row of an account. `None` if the statement left out its profile, because it is large.
fn row_of(row: &PgRow) -> Result<Option<AccountRow>, sqlx::Error> {
    // A value of json is its text.
    let profile: Option<String> = row.try_get_unchecked(TOTAL + 1)?;
    let Some(profile) = profile else {
        return Ok(None);
    };
    Ok(Some(AccountRow {
        reseller_id: row.try_get(0)?,
        id: row.try_get(1)?,
        uid: row.try_get(2)?,
        reseller_suspended_at: row.try_get(3)?,
        status: row.try_get(4)?,
        status_set_at: row.try_get(5)?,
        expires_at: row.try_get(6)?,
        expiry_set_at: row.try_get(7)?,
        exempt_until: row.try_get(8)?,
        announce_at: row.try_get(9)?,
        deleted_at: row.try_get(10)?,
        purge_at: row.try_get(11)?,
        purge_due_at: row.try_get(12)?,
        warn_at: row.try_get(13)?,
        operator_released_at: row.try_get(14)?,
        version: row.try_get(15)?,
        created_at: row.try_get(16)?,
        updated_at: row.try_get(17)?,
        email_key: row.try_get(18)?,
        plan_id: row.try_get(19)?,
        holds: row.try_get_unchecked(TOTAL + 2)?,
        profile,
        plan: None,
    }))
}

//! The conditions of lists on the holds of accounts.
//!
//! A list by holds begins with the open holds: there are far fewer of them than accounts, and their
//! index has them in the order of the account ids.

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{AccountFilter, Authority, Level, Owner, ResellerId, Search, Time};

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// The holds that block the use of an account. A retention hold only keeps it from being deleted.
pub(super) const BLOCKING: &str = "h.kind in ('freeze', 'suspend') and h.level = 'block'";
/// The suspensions that block it.
pub(super) const SUSPENDING: &str = "h.kind = 'suspend' and h.level = 'block'";
/// The same at every level: those that block, limit and warn.
pub(super) const RESTRICTING: &str = "h.kind in ('freeze', 'suspend')";

/// The accounts that have such a hold, in force, from account id `from` on.
pub(super) fn push_held_accounts(
    statement: &mut Statement,
    reseller: Option<ResellerId>,
    held: Held<'_>,
    from: Option<i32>,
    now: Time,
) {
    statement.push("(select distinct h.reseller_id, h.account_id from held h where true");
    push_optional(statement, " and h.reseller_id = ", reseller.map(|it| it.0));
    push_optional(statement, " and h.account_id >= ", from);
    push_hold(statement, held, now);
    statement.push(
        ") as held
         join account a on a.reseller_id = held.reseller_id and a.id = held.account_id",
    );
}

/// Which open holds are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'a> {
    /// A condition on the kind, the level and the authority.
    pub(super) which: &'static str,
    pub(super) authority: Option<Authority>,
    pub(super) owner: Option<&'a Owner>,
    pub(super) level: Option<Level>,
}

impl Held<'_> {
    /// The holds that a condition admits, whosever they are.
    pub(super) fn any(which: &'static str) -> Self {
        Self {
            which,
            authority: None,
            owner: None,
            level: None,
        }
    }
}

/// The holds that the filter by authority and owner looks for. `None` if it has no such part.
pub(super) fn held_by(filter: &AccountFilter) -> Option<Held<'_>> {
    let is_by_hold =
        filter.held_by.is_some() || filter.held_by_owner.is_some() || filter.held_at.is_some();
    is_by_hold.then_some(Held {
        which: RESTRICTING,
        authority: filter.held_by,
        owner: filter.held_by_owner.as_ref(),
        level: filter.held_at,
    })
}

/// The holds that a search by owner and level looks for. `None` if it has no such part.
pub(super) fn held_in(search: &Search) -> Option<Held<'_>> {
    (search.owner.is_some() || search.level.is_some()).then_some(Held {
        owner: search.owner.as_ref(),
        level: search.level,
        ..Held::any(RESTRICTING)
    })
}

/// Whether the account has such a hold, in force.
pub(super) fn push_has_hold(statement: &mut Statement, held: Held<'_>, now: Time) {
    statement.push(
        "exists (select from held h where h.reseller_id = a.reseller_id and h.account_id = a.id",
    );
    push_hold(statement, held, now);
    statement.push(")");
}

/// The condition that none of these holds, in force, is stronger than the level that is looked for.
/// Pushes nothing if there is no level, or no stronger one.
pub(super) fn push_no_stronger(statement: &mut Statement, held: Held<'_>, now: Time) {
    for level in held.level.into_iter().flat_map(Level::stronger) {
        let level = Some(level);
        statement.push(" and not ");
        push_has_hold(statement, Held { level, ..held }, now);
    }
}

/// The conditions on one open hold: which it is, and that it is in force.
pub(super) fn push_hold(statement: &mut Statement, held: Held<'_>, now: Time) {
    statement.push(" and ").push(held.which);
    push_optional(
        statement,
        " and h.authority = ",
        held.authority.map(Authority::as_str),
    );
    let owner = held.owner.map(|owner| owner.as_str().to_owned());
    push_optional(statement, " and h.owner = ", owner);
    let level = held.level.map(Level::as_str);
    push_optional(statement, " and h.level = ", level);
    push_in_force(statement, now);
}

/// The condition that an open hold is in force.
pub(super) fn push_in_force(statement: &mut Statement, now: Time) {
    statement
        .push(" and (h.starts_at is null or h.starts_at <= ")
        .push_bind(now)
        .push(") and (h.ends_at is null or h.ends_at > ")
        .push_bind(now)
        .push(")");
}

/// A condition on a value. Pushes nothing if there is no value.
pub(super) fn push_optional<T>(statement: &mut Statement, condition: &str, value: Option<T>)
where
    T: for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
{
    if let Some(value) = value {
        statement.push(condition).push_bind(value);
    }
}

//! The texts of the statements of lists by id.

use sqlx::{Postgres, QueryBuilder};

use super::{KeysetList, Statement, Which, push_live_count, push_settings};
use crate::domain::{Authority, Level, ResellerId};
use crate::store::accounts::held::{Held, push_in_force, push_no_stronger};
use crate::store::accounts::totals::{CHANGED, EXPIRED, INACTIVE, MAX_ENTRIES};
use crate::store::slice::READ_AT_ONCE;
use crate::store::tenancy::Tenancy;

/// The columns before the profile, in the order in which `row_of` reads them.
const COLUMNS: &str = "a.reseller_id, a.id, a.uid,
  (select r.suspended_at from reseller r where r.id = a.reseller_id and r.suspended_at is not null),
  a.status, a.status_set_at, a.expires_at, a.expiry_set_at, a.exempt_until, a.announce_at,
  a.deleted_at, a.purge_at, a.purge_due_at, a.warn_at, a.operator_released_at, a.version,
  a.created_at, a.updated_at, a.email_key, a.plan_id";
/// The statement leaves out the profile and the holds of an account if they are larger, in bytes,
/// whatever the limit of the page. So a page of a thousand accounts takes at most about 4 MiB.
const USUAL_SIZE: i64 = 4_096;

impl KeysetList<'_> {
    /// The statement of a page. Public so that a test can read its plan.
    #[must_use]
    pub fn statement(&self, tenancy: &Tenancy) -> QueryBuilder<Postgres> {
        let cap = USUAL_SIZE.max(READ_AT_ONCE / self.limit.max(1));
        let mut statement = Statement::new("");
        self.push_changed(&mut statement);
        statement.push("select ").push(COLUMNS);
        self.push_total(&mut statement);
        statement
            .push(
                ", case when octet_length(a.profile::text)
                     + coalesce(octet_length(a.holds::text), 0) <= ",
            )
            .push_bind(cap)
            .push(" then a.profile end, case when octet_length(a.holds::text) <= ")
            .push_bind(cap)
            .push(" then a.holds end from ");
        match self.which {
            _ if self.counted_bit().is_some() => self.push_counted(&mut statement),
            Which::Live | Which::Deleted | Which::Active | Which::Inactive | Which::Expired => {
                self.push_accounts(&mut statement);
            }
            Which::OfSuspended => self.push_of_suspended(&mut statement),
            Which::WithMember(reseller, name, value) => {
                self.push_with_member(&mut statement, reseller, name, value);
            }
            Which::Held(..) | Which::Suspended | Which::SuspendedByOperator => {
                self.push_held(&mut statement);
            }
        }
        statement.push(" and (select case when ");
        push_settings(&mut statement, tenancy);
        statement.push(" then ");
        self.push_condition_on_reseller(&mut statement);
        statement.push(" end)");
        let begins_with_account = match self.which {
            Which::Live | Which::Deleted | Which::Active => true,
            Which::Inactive | Which::Expired => self.counted_bit().is_none(),
            Which::OfSuspended => self.reseller.is_some(),
            Which::Held(..)
            | Which::Suspended
            | Which::SuspendedByOperator
            | Which::WithMember(..) => false,
        };
        statement.push(match (begins_with_account, self.reseller) {
            (true, Some(_)) => " order by a.reseller_id, a.id",
            (true, None) => " order by a.id",
            (false, _) => " order by found.id",
        });
        statement.push(" limit ").push_bind(self.limit);
        statement
    }

    /// A condition that one reseller decides for all its accounts. It is evaluated once, before a row
    /// is read, and after the settings are written, without which the reseller is hidden.
    fn push_condition_on_reseller(&self, statement: &mut Statement) {
        if self.reseller.is_some() && matches!(self.which, Which::Active | Which::OfSuspended) {
            if matches!(self.which, Which::Active) {
                statement.push("not ");
            }
            self.push_is_of_suspended(statement, "a");
        } else {
            statement.push("true");
        }
    }

    /// The number of live accounts, as a column that is computed once.
    fn push_total(&self, statement: &mut Statement) {
        match (self.which, self.reseller) {
            (Which::Live, reseller) => {
                statement.push(", (");
                push_live_count(statement, reseller);
                statement.push(")");
            }
            _ => drop(statement.push(", null::bigint")),
        }
    }

    /// Accounts in the order of their ids, with conditions on each.
    fn push_accounts(&self, statement: &mut Statement) {
        statement.push("account a where ");
        self.push_from(statement, "a");
        match self.which {
            // The same, spelled as the index for all resellers has it.
            Which::Deleted if self.reseller.is_none() => {
                statement.push(" and coalesce(a.deleted_at, a.purge_at) is not null");
            }
            Which::Deleted => drop(statement.push(" and a.deleted_at is not null")),
            Which::Inactive | Which::Expired => {
                statement.push(" and (a.deleted_at is null) = true");
                self.push_is_in_state(statement);
            }
            Which::Active => {
                statement
                    .push(
                        " and (a.deleted_at is null) = true and a.status = 'active'
                          and (a.expires_at is null or a.expires_at > ",
                    )
                    .push_bind(self.now)
                    .push(" or a.exempt_until > ")
                    .push_bind(self.now)
                    .push(")");
                if self.reseller.is_none() {
                    statement.push(" and not ");
                    self.push_is_of_suspended(statement, "a");
                }
                // Most accounts have no hold.
                statement.push(
                    " and (a.holds is null or not exists (select from held h
                       where h.reseller_id = a.reseller_id and h.account_id = a.id
                         and h.kind in ('freeze', 'suspend') and h.level = 'block'",
                );
                push_in_force(statement, self.now);
                statement.push("))");
            }
            Which::Live
            | Which::OfSuspended
            | Which::Suspended
            | Which::Held(..)
            | Which::SuspendedByOperator
            | Which::WithMember(..) => {
                statement.push(" and (a.deleted_at is null) = true");
            }
        }
    }

    /// Whether the account is inactive, or has expired.
    fn push_is_in_state(&self, statement: &mut Statement) {
        if matches!(self.which, Which::Inactive) {
            statement.push(" and a.status = 'inactive'");
        } else {
            statement
                .push(" and a.expires_at <= ")
                .push_bind(self.now)
                .push(" and (a.exempt_until is null or a.exempt_until <= ")
                .push_bind(self.now)
                .push(")");
        }
    }

    /// The bit in `counted_block` of the accounts that are listed, if the list begins there: there is
    /// no index on the status of accounts, and none on the expired ones in the order of their ids.
    fn counted_bit(&self) -> Option<i16> {
        self.reseller?;
        if matches!(self.which, Which::Inactive) {
            Some(INACTIVE)
        } else {
            matches!(self.which, Which::Expired).then_some(EXPIRED)
        }
    }

    /// The accounts that changed since the totals of the reseller were counted, for a list that
    /// begins with `counted_block`.
    fn push_changed(&self, statement: &mut Statement) {
        if let (Some(reseller), Some(_)) = (self.reseller, self.counted_bit()) {
            // The text names these by their positions.
            statement.push("with given as (select ");
            statement.push_bind(reseller.0).push("::bigint, ");
            statement.push_bind(self.now).push("::timestamptz, ");
            statement.push_bind(MAX_ENTRIES + 1).push("::bigint), ");
            statement.push(CHANGED).push(" ");
        }
    }

    /// The accounts that were counted as listed, and those that changed since. While the totals are
    /// not known, or are far behind, all accounts of the reseller.
    fn push_counted(&self, statement: &mut Statement) {
        let (Some(reseller), Some(bit)) = (self.reseller, self.counted_bit()) else {
            return;
        };
        statement
            .push(
                "(select distinct on (h.id) h.id from (
                   (select account_id as id from counted_block where reseller_id = ",
            )
            .push_bind(reseller.0)
            .push(" and account_id >= ")
            .push_bind(self.from)
            .push(format!(
                " and blocks & {bit} <> 0 order by reseller_id, account_id offset 0)
                 union all (select account_id from changed where account_id >= "
            ))
            .push_bind(self.from)
            .push(
                " order by account_id offset 0)
                 union all (select b.id from account b where ",
            );
        self.push_from(statement, "b");
        statement.push(format!(
            " and (not exists (select from known)
                or (select count(*) from entries) > {MAX_ENTRIES})
              order by b.id offset 0)) as h order by h.id) as found "
        ));
        self.push_account_of_found(statement);
        self.push_is_in_state(statement);
    }

    /// The accounts of a reseller with a member in their metadata. An account has one row for a name.
    fn push_with_member(
        &self,
        statement: &mut Statement,
        reseller: ResellerId,
        name: &str,
        value: &str,
    ) {
        statement
            .push("(select m.account_id as id from account_metadata m where m.reseller_id = ")
            .push_bind(reseller.0)
            .push(" and m.key = ")
            .push_bind(name.to_owned())
            .push(" and m.value = ")
            .push_bind(value.to_owned())
            .push(" and m.account_id >= ")
            .push_bind(self.from)
            .push(" order by m.account_id offset 0) as found ");
        self.push_account_of_found(statement);
    }

    /// The accounts of suspended resellers. An operator's list merges those of each.
    fn push_of_suspended(&self, statement: &mut Statement) {
        if self.reseller.is_some() {
            statement.push("account a where ");
            self.push_from(statement, "a");
            statement.push(" and (a.deleted_at is null) = true");
            return;
        }
        statement.push("(");
        self.push_ids_of_suspended(statement);
        statement.push(") as found ");
        self.push_account_of_found(statement);
    }

    /// The accounts that have a hold. Begins with the holds, whose index has them in the order of the
    /// account ids.
    fn push_held(&self, statement: &mut Statement) {
        statement.push("(select distinct on (h.id) h.id from (");
        if let Which::Held(kinds, held) = self.which {
            if let (Some(reseller), Some(index)) = (self.reseller, RareIndex::of(held)) {
                self.push_rare(statement, reseller, index, kinds, held);
            } else {
                for (position, kind) in kinds.iter().enumerate() {
                    statement.push(if position > 0 { " union all " } else { "" });
                    self.push_kind(statement, kind, held);
                    statement.push(" order by h.account_id offset 0)");
                }
            }
        } else {
            self.push_suspended(statement);
        }
        statement.push(") as h order by h.id) as found ");
        self.push_account_of_found(statement);
        if let Which::Held(_, held) = self.which {
            // The conditions of the lateral subquery are closed already; this one is on its account.
            push_no_stronger(statement, held, self.now);
        }
    }

    /// The ids of suspended accounts: of those that the operator or the system suspended, or of all,
    /// with those of suspended resellers.
    fn push_suspended(&self, statement: &mut Statement) {
        let held = Held {
            level: Some(Level::Block),
            ..Held::any("true")
        };
        if !matches!(self.which, Which::SuspendedByOperator) {
            self.push_kind(statement, "suspend", held);
            statement.push(" order by h.account_id offset 0) union all (");
            self.push_ids_of_suspended(statement);
            statement.push(" offset 0)");
        } else if let Some(reseller) = self.reseller {
            let authorities = [Authority::Operator, Authority::System];
            for (position, authority) in authorities.into_iter().enumerate() {
                statement.push(if position > 0 { " union all " } else { "" });
                let held = Held {
                    authority: Some(authority),
                    ..held
                };
                let index = RareIndex::Authority(authority);
                self.push_rare(statement, reseller, index, &["suspend"], held);
            }
        } else {
            self.push_kind(statement, "suspend", held);
            statement.push(" and h.authority <> 'reseller' order by h.account_id offset 0)");
        }
    }

    /// `(select` the ids of the accounts with such a hold of a kind, without the order and the end.
    fn push_kind(&self, statement: &mut Statement, kind: &str, held: Held<'_>) {
        statement.push(format!(
            "(select h.account_id as id from held h where h.kind = '{kind}' and "
        ));
        match self.reseller {
            Some(reseller) => {
                statement
                    .push("h.reseller_id = ")
                    .push_bind(reseller.0)
                    .push(" and (h.reseller_id, h.kind, h.account_id) >= (")
                    .push_bind(reseller.0)
                    .push(format!(", '{kind}', "))
                    .push_bind(self.from)
                    .push(")");
            }
            None => drop(statement.push("h.account_id >= ").push_bind(self.from)),
        }
        self.push_hold(statement, held);
    }

    /// `(select ...)` the ids of the accounts of a reseller with such a hold, by an index that has
    /// few holds.
    fn push_rare(
        &self,
        statement: &mut Statement,
        reseller: ResellerId,
        index: RareIndex,
        kinds: &[&str],
        held: Held<'_>,
    ) {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
        statement
            .push("(select h.account_id as id from held h where h.reseller_id = ")
            .push_bind(reseller.0)
            .push(format!(" and h.kind in ({})", kinds.join(", ")));
        let owner = held.owner.map(|owner| owner.as_str().to_owned());
        match (index, owner) {
            (RareIndex::Owner, owner) => {
                let owner = owner.unwrap_or_default();
                statement
                    .push(" and h.owner <> '' and (h.reseller_id, h.owner, h.account_id) >= (")
                    .push_bind(reseller.0)
                    .push(", ")
                    .push_bind(owner)
                    .push(", ")
                    .push_bind(self.from)
                    .push(")");
            }
            (RareIndex::Level(level), _) => {
                statement
                    .push(" and (h.reseller_id, h.level, h.account_id) >= (")
                    .push_bind(reseller.0)
                    .push(format!(", '{}', ", level.as_str()))
                    .push_bind(self.from)
                    .push(")");
            }
            (RareIndex::Authority(authority), _) => {
                statement
                    .push(" and (h.reseller_id, h.authority, h.account_id) >= (")
                    .push_bind(reseller.0)
                    .push(format!(", '{}', ", authority.as_str()))
                    .push_bind(self.from)
                    .push(")");
            }
        }
        self.push_hold(statement, held);
        statement.push(" order by h.account_id offset 0)");
    }

    /// The conditions on a hold, with constants for what has few values.
    fn push_hold(&self, statement: &mut Statement, held: Held<'_>) {
        if let Some(authority) = held.authority {
            statement.push(format!(" and h.authority = '{}'", authority.as_str()));
        }
        if let Some(owner) = held.owner {
            statement
                .push(" and h.owner = ")
                .push_bind(owner.as_str().to_owned());
        }
        if let Some(level) = held.level {
            statement.push(format!(" and h.level = '{}'", level.as_str()));
        }
        push_in_force(statement, self.now);
    }

    /// The ids of the accounts of suspended resellers, from the first of the page on.
    fn push_ids_of_suspended(&self, statement: &mut Statement) {
        if self.reseller.is_some() {
            statement.push("select b.id from account b where ");
            self.push_from(statement, "b");
            statement.push(" and ");
            self.push_is_of_suspended(statement, "b");
            statement.push(" order by b.id");
            return;
        }
        // A page needs no more of each.
        statement
            .push(
                "select b.id from reseller r cross join lateral (
                   select b.id from account b
                   where b.reseller_id = r.id and (b.deleted_at is null) = true and b.id >= ",
            )
            .push_bind(self.from)
            .push(" order by b.reseller_id, b.id limit ")
            .push_bind(self.limit)
            .push(") as b where r.suspended_at is not null order by b.id");
    }

    /// The account of each id that was found, unless it is deleted.
    fn push_account_of_found(&self, statement: &mut Statement) {
        statement.push(
            "cross join lateral (select * from account a
               where a.id = found.id and (a.deleted_at is null) = true",
        );
        if let Some(reseller) = self.reseller {
            statement
                .push(" and a.reseller_id is not distinct from ")
                .push_bind(reseller.0);
        }
        statement.push(" limit 1) as a where true");
    }

    fn push_from(&self, statement: &mut Statement, table: &str) {
        if let Some(reseller) = self.reseller {
            statement
                .push(format!("{table}.reseller_id = "))
                .push_bind(reseller.0)
                .push(" and ");
        }
        statement
            .push(format!("{table}.id >= "))
            .push_bind(self.from);
    }

    /// Whether the reseller is suspended. For one reseller that is decided once, before a row is
    /// read.
    fn push_is_of_suspended(&self, statement: &mut Statement, table: &str) {
        statement
            .push("exists (select from reseller r where r.suspended_at is not null and r.id = ");
        match self.reseller {
            Some(reseller) => drop(statement.push_bind(reseller.0)),
            None => drop(statement.push(format!("{table}.reseller_id"))),
        }
        statement.push(")");
    }
}

/// A partial index on the holds of a reseller that leaves out the usual value.
#[derive(Debug, Clone, Copy)]
enum RareIndex {
    /// Holds with an owner.
    Owner,
    /// Holds that limit or warn.
    Level(Level),
    /// Holds of the operator and of the system.
    Authority(Authority),
}

impl RareIndex {
    /// The index that has the fewest of the holds that are looked for. `None` if none leaves out the
    /// usual ones.
    fn of(held: Held<'_>) -> Option<Self> {
        let level = held.level.filter(|level| *level != Level::Block);
        let authority = held.authority.filter(|it| *it != Authority::Reseller);
        if held.owner.is_some() {
            Some(Self::Owner)
        } else {
            level
                .map(Self::Level)
                .or_else(|| authority.map(Self::Authority))
        }
    }
}

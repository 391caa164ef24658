//! Lists of accounts, and how many there are, by what a filter admits.

use super::row::{AccountRow, select_accounts};
use crate::domain::{Account, AccountFilter, Error, ResellerId, StateFilter, Time};
use crate::store::errors::OrDomain as _;
use crate::store::transaction::Tx;

/// `query_scalar!` of the number of accounts.
macro_rules! count_accounts {
    ($_plan:tt, [$($part:tt)+]; $($argument:expr),* $(,)?) => {
        sqlx::query_scalar!("select count(*) as \"count!\" from (select from " + $($part)+ + ") as found", $($argument),*)
    };
}

/// A statement over the accounts that a filter admits: the rules of `domain::State` once more, in SQL. A property
/// test holds the two together. Parameters: $1 the reseller (none: whoever the transaction is for), $2 now, $3 the
/// state's word, $4 the authority, $5 and $6 the window of the expiry, $7 the text in lower case.
macro_rules! filtered {
    ($statement:ident, [$($from:tt)+], $tail:tt, $reseller:expr, $now:expr, $filter:expr $(, $more:expr)*) => {
        $statement!(
            "null::text",
            [$($from)+ + "
               and ($4::text is null or exists (select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                 and h.kind <> 'retention' and h.authority = $4 and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2)))
               and ($5::timestamptz is null or a.expires_at < $5)
               and ($6::timestamptz is null or a.expires_at >= $6)
               and ($7::text is null or strpos(lower(concat_ws(' ', a.name, a.title, a.email, a.company)), $7) > 0) " + $tail];
            $reseller,
            $now,
            $filter.state.map(|state| state.as_str()),
            $filter.held_by.map(|authority| authority.as_str()),
            $filter.expires_before,
            $filter.expires_after,
            $filter.text.as_ref().map(|text| text.to_lowercase())
            $(, $more)*
        )
    };
}

/// Looks among all accounts, by their state.
macro_rules! by_state {
    ($statement:ident, $owner:tt, $tail:tt $(, $argument:expr)*) => {
        filtered!(
            $statement,
            ["account a where " + $owner + "
               and (a.deleted_at is not null) = ($3::text is not distinct from 'deleted')
               and ($3::text is null or $3 = 'deleted'
                 or $3 = 'inactive' and a.status = 'inactive'
                 or $3 = 'expired' and a.expires_at <= $2 and (a.exempt_until is null or a.exempt_until <= $2)
                 or $3 in ('suspended', 'suspended:reseller_account')
                   and exists (select from reseller r where r.id = a.reseller_id and r.suspended_at is not null)
                 or $3 = 'suspended'
                   and exists (select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                     and h.kind = 'suspend' and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2))
                 or $3 = 'active' and a.status = 'active' and (a.expires_at is null or a.expires_at > $2 or a.exempt_until > $2)
                   and not exists (select from reseller r where r.id = a.reseller_id and r.suspended_at is not null)
                   and not exists (select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                     and h.kind <> 'retention' and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2)))"],
            $tail
            $(, $argument)*
        )
    };
}

/// Looks among the accounts with a hold in force that the filter asks for. Those are few, and their index has them in the
/// order of the accounts.
macro_rules! by_hold {
    ($statement:ident, $owner:tt, $from:tt, $tail:tt $(, $argument:expr)*) => {
        filtered!(
            $statement,
            ["(select distinct h.reseller_id, h.account_id from hold h
               where " + $owner + $from + " and h.closed_at is null and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2)
                 and case when $3::text is null then h.kind <> 'retention' and h.authority = $4
                   when $3 = 'frozen' then h.kind = 'freeze'
                   when $3 = 'suspended:reseller' then h.kind = 'suspend' and h.authority = 'reseller'
                   else h.kind = 'suspend' and h.authority <> 'reseller' end) as held
             join account a on a.reseller_id = held.reseller_id and a.id = held.account_id where a.deleted_at is null"],
            $tail
            $(, $argument)*
        )
    };
}

/// Runs a statement in the way that suits the filter.
macro_rules! run {
    ($statement:ident . $run:ident ($connection:expr), $reseller:expr, $from:tt, $tail:tt, $now:expr, $filter:expr $(, $more:expr)*) => {
        match ($reseller, is_by_hold($filter)) {
            (Some(owner), false) => {
                by_state!($statement, "a.reseller_id = $1", $tail, owner.0, $now, $filter $(, $more)*).$run($connection).await
            }
            (None, false) => by_state!($statement, "$1::bigint is null", $tail, None::<i64>, $now, $filter $(, $more)*).$run($connection).await,
            (Some(owner), true) => {
                by_hold!($statement, "h.reseller_id = $1", $from, $tail, owner.0, $now, $filter $(, $more)*).$run($connection).await
            }
            (None, true) => by_hold!($statement, "$1::bigint is null", $from, $tail, None::<i64>, $now, $filter $(, $more)*).$run($connection).await,
        }
    };
}

/// Whether only accounts with a hold of their own can be meant.
fn is_by_hold(filter: &AccountFilter) -> bool {
    match filter.state.map(StateFilter::as_str) {
        None => filter.held_by.is_some(),
        Some(state) => matches!(
            state,
            "frozen" | "suspended:operator" | "suspended:reseller"
        ),
    }
}

impl Tx {
    /// A page of the accounts that a filter admits, by identity from `from` on; of one reseller, or of all within the
    /// transaction's tenancy.
    pub async fn list_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        from: i32,
        limit: i64,
        now: Time,
    ) -> Result<Vec<Account>, Error> {
        let rows = run!(
            select_accounts.fetch_all(self.connection()),
            reseller,
            " and h.account_id >= $8",
            "and a.id >= $8 order by a.id limit $9",
            now,
            filter,
            from,
            limit
        );
        self.with_plans(rows.or_domain()?).await
    }

    /// How many accounts a filter admits, counted up to `most`.
    pub async fn count_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        most: i64,
        now: Time,
    ) -> Result<i64, Error> {
        run!(
            count_accounts.fetch_one(self.connection()),
            reseller,
            "",
            "limit $8",
            now,
            filter,
            most
        )
        .or_domain()
    }
}

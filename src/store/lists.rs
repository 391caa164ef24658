//! Lists of accounts, and how many there are, by what a filter admits.

use super::accounts::{Row, select_accounts};
use super::errors::domain_error;
use super::tx::Tx;
use crate::domain::{Account, AccountFilter, Error, ResellerId, StateFilter, Time};

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
    ($statement:ident, $from:tt, $tail:tt, $reseller:expr, $now:expr, $filter:expr $(, $more:expr)*) => {
        $statement!(
            "null::text",
            [$from + "
               and (a.deleted_at is not null) = ($3::text is not distinct from 'deleted')
               and ($3::text is null or $3 = 'deleted'
                 or $3 = 'inactive' and a.status = 'inactive'
                 or $3 = 'expired' and a.expires_at <= $2
                 or $3 in ('suspended', 'suspended:reseller_account')
                   and exists (select from reseller r where r.id = a.reseller_id and r.suspended_at is not null)
                 or $3 = 'active' and a.status = 'active' and (a.expires_at is null or a.expires_at > $2)
                   and not exists (select from reseller r where r.id = a.reseller_id and r.suspended_at is not null)
                   and not exists (select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                     and h.kind <> 'retention' and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2))
                 or $3 in ('frozen', 'suspended', 'suspended:operator', 'suspended:reseller')
                   and exists (select from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null
                     and (h.starts_at is null or h.starts_at <= $2) and (h.ends_at is null or h.ends_at > $2)
                     and case $3 when 'frozen' then h.kind = 'freeze' when 'suspended' then h.kind = 'suspend'
                       when 'suspended:reseller' then h.kind = 'suspend' and h.authority = 'reseller'
                       else h.kind = 'suspend' and h.authority <> 'reseller' end))
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

/// The accounts that a filter looks among: all, or only those with an open hold that blocks, where no others can be meant.
/// Those are few, and their index has them in the order of the accounts.
macro_rules! among {
    ($statement:ident . $run:ident ($connection:expr), $reseller:expr, $tail:tt, $now:expr, $filter:expr $(, $more:expr)*) => {
        match ($reseller, is_by_hold($filter)) {
            (Some(reseller), false) => {
                filtered!($statement, "account a where a.reseller_id = $1", $tail, reseller.0, $now, $filter $(, $more)*).$run($connection).await
            }
            (None, false) => {
                filtered!($statement, "account a where $1::bigint is null", $tail, None::<i64>, $now, $filter $(, $more)*).$run($connection).await
            }
            (Some(reseller), true) => {
                filtered!(
                    $statement,
                    "(select distinct reseller_id, account_id from hold where reseller_id = $1 and closed_at is null and kind <> 'retention') as held
                     join account a on a.reseller_id = held.reseller_id and a.id = held.account_id where a.reseller_id = $1",
                    $tail, reseller.0, $now, $filter $(, $more)*
                )
                .$run($connection)
                .await
            }
            (None, true) => {
                filtered!(
                    $statement,
                    "(select distinct reseller_id, account_id from hold where closed_at is null and kind <> 'retention') as held
                     join account a on a.reseller_id = held.reseller_id and a.id = held.account_id where $1::bigint is null",
                    $tail, None::<i64>, $now, $filter $(, $more)*
                )
                .$run($connection)
                .await
            }
        }
    };
}

/// Whether only accounts with a hold of their own can be meant.
fn is_by_hold(filter: &AccountFilter) -> bool {
    let state = filter.state.map(StateFilter::as_str);
    filter.held_by.is_some() || matches!(state, Some("frozen" | "suspended:operator" | "suspended:reseller"))
}

impl Tx {
    /// A page of the accounts that a filter admits, by identity from `from` on; of one reseller, or of all within the
    /// transaction's tenancy.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list_accounts(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        from: i32,
        limit: i64,
        now: Time,
    ) -> Result<Vec<Account>, Error> {
        let rows = among!(select_accounts.fetch_all(self.connection()), reseller, "and a.id >= $8 order by a.id limit $9", now, filter, from, limit);
        self.with_plans(rows.map_err(|error| domain_error(&error))?).await
    }

    /// How many accounts a filter admits, counted up to `most`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn count_accounts(&mut self, reseller: Option<ResellerId>, filter: &AccountFilter, most: i64, now: Time) -> Result<i64, Error> {
        among!(count_accounts.fetch_one(self.connection()), reseller, "limit $8", now, filter, most).map_err(|error| domain_error(&error))
    }
}

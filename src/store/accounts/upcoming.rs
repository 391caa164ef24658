//! What time will do to accounts: when, and to which.
//!
//! The statements only say at which instants something happens to which accounts. What happens then,
//! and the state afterwards, follows from the accounts themselves: [`Account::upcoming`].
//!
//! Each source is a statement of its own that reads an index in the order of time and stops when it
//! has enough. So a page costs the same however many accounts there are.
//!
//! [`Account::upcoming`]: crate::domain::Account::upcoming

use std::collections::BTreeMap;

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{AccountKey, ComingKind, Error, ResellerId, Time};
use crate::store::columns::account_key;
use crate::store::errors::OrDomain as _;
use crate::store::slice::Slice;
use crate::store::transaction::Tx;

/// Which instants are listed.
#[derive(Debug, Clone)]
pub struct ComingFilter {
    /// Only those of this reseller's accounts. `None` lists those of every reseller that the
    /// transaction may see.
    pub reseller: Option<ResellerId>,
    /// Only instants at which something of these kinds happens.
    pub kinds: Vec<ComingKind>,
    /// Only instants up to this one.
    pub until: Option<Time>,
}

/// A source of instants: where one kind of them stands in the database.
struct Source {
    kind: ComingKind,
    table: &'static str,
    at: &'static str,
    account: &'static str,
    which: &'static str,
}

/// Every source. An account whose exemption ends after its expiry date expires when the exemption
/// ends, so expiries have two. The expiry of a deleted account is not announced.
const SOURCES: [Source; 5] = [
    Source {
        kind: ComingKind::HoldStarts,
        table: "held t",
        at: "t.starts_at",
        account: "t.account_id",
        which: "not t.has_begun and t.starts_at is not null",
    },
    Source {
        kind: ComingKind::HoldEnds,
        table: "held t",
        at: "t.ends_at",
        account: "t.account_id",
        which: "t.ends_at is not null",
    },
    Source {
        kind: ComingKind::Expires,
        table: "account t",
        at: "t.expires_at",
        account: "t.id",
        which: "t.deleted_at is null and t.expires_at is not null
           and (t.exempt_until is null or t.exempt_until <= t.expires_at)",
    },
    Source {
        kind: ComingKind::Expires,
        table: "account t",
        at: "t.exempt_until",
        account: "t.id",
        which: "t.deleted_at is null and t.exempt_until is not null
           and t.exempt_until > t.expires_at",
    },
    Source {
        kind: ComingKind::Purge,
        table: "account t",
        at: "t.purge_due_at",
        account: "t.id",
        which: "t.purge_due_at is not null",
    },
];

/// A place in the list: an instant, and the number of an account.
type Place = (Time, i32);

impl Tx {
    /// The next instants at which something will happen to an account, and the accounts, in the
    /// order of time and then of the accounts' numbers, from `from` on, at most `limit`.
    pub async fn list_coming(
        &mut self,
        filter: &ComingFilter,
        from: Place,
        limit: i64,
    ) -> Result<Slice<(Time, AccountKey)>, Error> {
        let mut found: BTreeMap<Place, AccountKey> = BTreeMap::new();
        // A source that has more is complete only up to its last row.
        let mut complete_to: Option<Place> = None;
        for mut statement in coming_statements(filter, from, limit) {
            let rows: Vec<(Time, i64, i32)> = statement
                .build_query_as()
                .fetch_all(self.connection())
                .await
                .or_domain()?;
            if i64::try_from(rows.len()) == Ok(limit) {
                let last = rows.last().map(|(at, _, account)| (*at, *account));
                complete_to = complete_to.into_iter().chain(last).min();
            }
            for (at, reseller, account) in rows {
                found.insert((at, account), account_key(reseller, account)?);
            }
        }
        let complete = found
            .into_iter()
            .take_while(|(place, _)| complete_to.is_none_or(|last| *place <= last));
        let mut rows: Vec<_> = complete.map(|((at, _), key)| (at, key)).collect();
        let page = usize::try_from(limit).unwrap_or_default();
        let has_more = complete_to.is_some() || rows.len() > page;
        rows.truncate(page);
        Ok(Slice { rows, has_more })
    }
}

/// The statements of [`Tx::list_coming`], one for each source. Public so that a test can read their
/// plans.
pub fn coming_statements(
    filter: &ComingFilter,
    (at, account): Place,
    limit: i64,
) -> impl Iterator<Item = QueryBuilder<Postgres>> {
    let sources = SOURCES
        .iter()
        .filter(|source| filter.kinds.contains(&source.kind));
    sources.map(move |source| {
        let order = format!("{}, {}", source.at, source.account);
        let mut statement = QueryBuilder::new(format!(
            "select distinct on ({order}) {}, t.reseller_id, {} from {} where {} and ({order}) >= (",
            source.at, source.account, source.table, source.which
        ));
        statement
            .push_bind(at)
            .push(", ")
            .push_bind(account)
            .push(")");
        if let Some(until) = filter.until {
            statement
                .push(format!(" and {} <= ", source.at))
                .push_bind(until);
        }
        if let Some(reseller) = filter.reseller {
            statement
                .push(" and t.reseller_id = ")
                .push_bind(reseller.0);
        }
        statement
            .push(format!(" order by {order} limit "))
            .push_bind(limit);
        statement
    })
}

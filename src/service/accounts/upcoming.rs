//! What time will do to the accounts that a caller sees.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::domain::{
    Account, AccountKey, Coming, ComingKind, ComingPlace, Error, ResellerId, Scope, Time, Upcoming,
};
use crate::service::{Context, Service};
use crate::store::{ComingFilter, READ_AT_ONCE, Slice, Tx};

/// A list of what time will do.
#[derive(Debug, Clone)]
pub struct ComingQuery {
    /// Only accounts of this reseller. `None` lists those of every reseller that the caller sees.
    pub reseller: Option<ResellerId>,
    /// Only things of these kinds.
    pub kinds: Vec<ComingKind>,
    /// Only things that happen up to this instant.
    pub until: Option<Time>,
    /// The place after which the page begins. `None` begins now.
    pub after: Option<ComingPlace>,
    /// The most rows on the page, at least 1.
    pub limit: usize,
}

/// One thing that will happen to an account without a command.
#[derive(Debug, Clone)]
pub struct ComingChange {
    /// The account, as it is now.
    pub account: Arc<Account>,
    /// What happens and when, and the state afterwards.
    pub change: Upcoming,
}

impl ComingChange {
    /// Its place in the list.
    #[must_use]
    pub fn place(&self) -> ComingPlace {
        self.change.place(self.account.id)
    }
}

impl Service {
    /// What will happen without a command after now, earliest first: holds begin and lapse, accounts
    /// expire and are purged as planned. Every state is what it will be if no command changes the
    /// account before.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`] if the caller is another reseller than the one it names.
    pub async fn upcoming(
        &self,
        context: &Context,
        query: ComingQuery,
    ) -> Result<Slice<ComingChange>, Error> {
        let caller = &context.principal;
        caller.require(Scope::AccountRead)?;
        let reseller = match caller.reseller {
            Some(_) => Some(caller.resolve_reseller(query.reseller)?),
            None => query.reseller,
        };
        let now = self.now();
        let query = ComingQuery { reseller, ..query };
        self.read(caller.tenancy(), move |tx| {
            Box::pin(async move { page(tx, &query, now).await })
        })
        .await
    }
}

/// Reads accounts with something to come until the page is full.
async fn page(tx: &mut Tx, query: &ComingQuery, now: Time) -> Result<Slice<ComingChange>, Error> {
    let filter = ComingFilter {
        reseller: query.reseller,
        kinds: query.kinds.clone(),
        until: query.until,
    };
    // An instant at which something happens to an account is read as a whole, and one may have been
    // listed already.
    let instants = i64::try_from(query.limit + 1).unwrap_or(i64::MAX);
    let soonest = now + TimeDelta::microseconds(1);
    let mut from = query
        .after
        .map(|after| (after.at, after.account.as_i32()))
        .filter(|(at, _)| *at > now)
        .unwrap_or((soonest, 0));
    let mut rows: Vec<ComingChange> = Vec::new();
    let mut budget = READ_AT_ONCE;
    loop {
        let mut found = tx.list_coming(&filter, from, instants).await?;
        let accounts = read_accounts(tx, &mut found, &mut budget).await?;
        for (at, key) in &found.rows {
            // The account is there: the transaction reads both from one snapshot.
            if let Some(account) = accounts.get(key) {
                rows.extend(changes_at(account, *at, now, query));
            }
            from = match key.1.as_i32().checked_add(1) {
                Some(next) => (*at, next),
                None => (*at + TimeDelta::microseconds(1), 0),
            };
        }
        let is_full = rows.len() > query.limit;
        if is_full || !found.has_more || (budget <= 0 && !rows.is_empty()) {
            rows.truncate(query.limit);
            let has_more = is_full || found.has_more;
            return Ok(Slice { rows, has_more });
        }
    }
}

/// The accounts of these rows, by key. Drops the rows whose accounts are too large to be read as
/// well; at least one row is left.
async fn read_accounts(
    tx: &mut Tx,
    found: &mut Slice<(Time, AccountKey)>,
    budget: &mut i64,
) -> Result<HashMap<AccountKey, Arc<Account>>, Error> {
    let ids: Vec<_> = found
        .rows
        .iter()
        .map(|(_, (_, account))| *account)
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut sizes = tx.account_sizes(None, &ids).await?;
    let mut is_first = true;
    let fitting = found.rows.iter().take_while(|(_, (_, account))| {
        let fits = *budget > 0 || is_first;
        is_first = false;
        // An account is read once, however much happens to it.
        *budget -= sizes.remove(account).unwrap_or_default();
        fits
    });
    let fitting = fitting.count();
    found.has_more |= fitting < found.rows.len();
    found.rows.truncate(fitting);
    let mut keys: Vec<AccountKey> = found.rows.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    let accounts = tx.fetch_accounts(&keys).await?;
    Ok(accounts
        .into_iter()
        .map(|account| ((account.reseller_id, account.id), Arc::new(account)))
        .collect())
}

/// The kinds of change that the query asks for and that come to an account at one instant, in order.
fn changes_at(
    account: &Arc<Account>,
    at: Time,
    now: Time,
    query: &ComingQuery,
) -> Vec<ComingChange> {
    let is_wanted = |change: &Upcoming| {
        // It is announced once the account is restored, if it is.
        let is_announced = change.what != Coming::Expires || account.deleted_at.is_none();
        change.at == at && is_announced && query.kinds.contains(&change.what.kind())
    };
    let mut changes: Vec<ComingChange> = account
        .upcoming(now)
        .into_iter()
        .filter(is_wanted)
        .map(|change| ComingChange {
            account: Arc::clone(account),
            change,
        })
        .filter(|change| query.after.is_none_or(|after| change.place() > after))
        .collect();
    changes.sort_by_key(ComingChange::place);
    changes
}

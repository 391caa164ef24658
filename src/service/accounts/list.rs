//! Pages of accounts: filtered, searched, and as they were in the past.

use std::sync::Arc;

use crate::domain::{
    Account, AccountFilter, AccountId, Error, Scope, Search, Time, ZoneConditions,
};
use crate::service::list_totals::EXACT;
use crate::service::{Context, Service};
use crate::store::{READ_AT_ONCE, Slice, Tenancy};

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The accounts, in the order of their numbers.
    pub accounts: Slice<Account>,
    /// How many accounts the filter matches in all. Above 1,000 the number may be 30 seconds old.
    pub total: i64,
    /// When the page was read.
    pub at: Time,
}

impl Service {
    /// The accounts that match a filter, from number `from` on, at most `limit`. `by_zone` are
    /// further conditions, as in [`Search::by_zone`].
    pub async fn list(
        &self,
        context: &Context,
        filter: AccountFilter,
        by_zone: Vec<ZoneConditions>,
        from: AccountId,
        limit: i64,
    ) -> Result<Page, Error> {
        context.principal.require(Scope::AccountRead)?;
        let (reseller, at) = (context.principal.reseller, self.now());
        let totals = Arc::clone(&self.totals);
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let accounts = tx
                    .list_accounts(reseller, &filter, &by_zone, from.as_i32(), limit, at)
                    .await?;
                let few = tx
                    .count_accounts(reseller, &filter, &by_zone, EXACT + 1, at)
                    .await?;
                let list = (reseller, format!("{filter:?} {by_zone:?}"));
                let all = tx.count_accounts(reseller, &filter, &by_zone, i64::MAX, at);
                Ok(Page {
                    accounts,
                    total: totals.get_or_count(list, at, few, all).await?,
                    at,
                })
            })
        })
        .await
    }

    /// A page of the accounts that a search finds, and when it was read. With `count`, also how
    /// many the search finds in all.
    pub async fn search(
        &self,
        context: &Context,
        search: Search,
        count: bool,
    ) -> Result<(Slice<Account>, Option<i64>, Time), Error> {
        context.principal.require(Scope::AccountRead)?;
        let (reseller, at) = (context.principal.reseller, self.now());
        let totals = Arc::clone(&self.totals);
        self.read(context.principal.tenancy(), move |tx| {
            Box::pin(async move {
                let accounts = tx.search_accounts(reseller, &search, at).await?;
                if !count {
                    return Ok((accounts, None, at));
                }
                let few = tx.count_found(reseller, &search, EXACT + 1, at).await?;
                let list = (
                    reseller,
                    format!(
                        "{:?} {:?} {:?} {:?} {:?} {:?}",
                        search.conditions,
                        search.metadata,
                        search.text,
                        search.by_zone,
                        search.owner,
                        search.level
                    ),
                );
                let all = tx.count_found(reseller, &search, i64::MAX, at);
                let total = totals.get_or_count(list, at, few, all).await?;
                Ok((accounts, Some(total), at))
            })
        })
        .await
    }

    /// Moves the texts of new accounts to where text searches find them fastest. Searches find them
    /// before, too.
    pub async fn flush_account_texts(&self) -> Result<(), Error> {
        self.background_write(Tenancy::Platform, |tx| {
            Box::pin(async move { tx.flush_account_texts().await.map(drop) })
        })
        .await
    }

    /// The accounts as they were at an instant, without those that were deleted then; from number
    /// `from` on, at most `limit`. Accounts purged since then are missing.
    ///
    /// # Errors
    /// As [`Service::account_as_of`].
    pub async fn list_as_of(
        &self,
        context: &Context,
        from: AccountId,
        limit: usize,
        at: Time,
    ) -> Result<Slice<Account>, Error> {
        context.principal.require(Scope::AccountRead)?;
        self.check_past(at)?;
        let (reseller, tenancy) = (context.principal.reseller, context.principal.tenancy());
        let page = i64::try_from(limit).unwrap_or(i64::MAX);
        let (mut rows, mut next, mut budget) = (Vec::new(), Some(from.as_i32()), READ_AT_ONCE);
        let mut has_more = false;
        while let Some(from) = next {
            let read = self.read(tenancy.clone(), move |tx| {
                Box::pin(tx.list_past(reseller, from, page, budget, at))
            });
            let past = read.await?;
            next = past.next;
            for (account, size) in past.accounts {
                if account.deleted_at.is_some() {
                    continue;
                }
                if rows.len() == limit || budget <= 0 {
                    has_more = true;
                    break;
                }
                budget -= size;
                rows.push(account);
            }
            if has_more || rows.len() == limit || budget <= 0 {
                has_more |= next.is_some();
                break;
            }
        }
        Ok(Slice { rows, has_more })
    }
}

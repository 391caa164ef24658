//! Pages of accounts: filtered, searched, and as they were in the past.

use std::sync::Arc;

use crate::domain::{
    Account, AccountFilter, AccountId, Error, ResellerId, Scope, Search, Time, ZoneConditions,
};
use crate::service::list_totals::{EXACT, ListKey, ListTotals};
use crate::service::{Context, Service};
use crate::store::{KeysetList, KeysetPage, READ_AT_ONCE, Slice, Tenancy, Tx};

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The accounts, in the order of their numbers.
    pub accounts: Slice<Account>,
    /// How many accounts the filter matches in all. Exact without a filter; with one,
    /// above 10,000 the number may be 30 seconds old.
    pub total: i64,
    /// When the page was read.
    pub at: Time,
}

/// A filter, and further conditions by time zone.
type Filter = (AccountFilter, Vec<ZoneConditions>);

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
        let tenancy = context.principal.tenancy();
        let list = Arc::new((filter, by_zone));
        let page = self
            .page_by_id(&tenancy, Arc::clone(&list), move |(filter, by_zone)| {
                KeysetList::of_filter(reseller, filter, by_zone, from, limit, at)
            })
            .await?;
        let (accounts, total) = match page {
            Some(KeysetPage {
                accounts,
                live: Some(total),
            }) => {
                return Ok(Page {
                    accounts,
                    total,
                    at,
                });
            }
            Some(page) => {
                let total = self.total(&tenancy, reseller, list, at).await?;
                (page.accounts, total)
            }
            None => {
                let totals = Arc::clone(&self.totals);
                self.read(tenancy, move |tx| {
                    Box::pin(async move {
                        let (filter, by_zone) = &*list;
                        let accounts = tx
                            .list_accounts(reseller, filter, by_zone, from.as_i32(), limit, at)
                            .await?;
                        let total = count(tx, &totals, reseller, &list, at).await?;
                        Ok((accounts, total))
                    })
                })
                .await?
            }
        };
        Ok(Page {
            accounts,
            total,
            at,
        })
    }

    /// How many accounts a filter matches.
    async fn total(
        &self,
        tenancy: &Tenancy,
        reseller: Option<ResellerId>,
        list: Arc<Filter>,
        at: Time,
    ) -> Result<i64, Error> {
        // Totals by state alone are kept.
        if let (Some(reseller), Some(state)) = (reseller, list.0.state) {
            let by_state = AccountFilter {
                state: Some(state),
                ..AccountFilter::default()
            };
            if list.0 == by_state
                && list.1.is_empty()
                && let Some(total) = self.state_total(reseller, state, at).await?
            {
                return Ok(total);
            }
        }
        let totals = Arc::clone(&self.totals);
        if let Some(total) = totals.cached(&key(reseller, &list), at) {
            return Ok(total);
        }
        self.read(tenancy.clone(), move |tx| {
            Box::pin(async move { count(tx, &totals, reseller, &list, at).await })
        })
        .await
    }

    /// A page that is read by account id on a kept plan. `None` if that is not possible.
    async fn page_by_id<P: Send + Sync + 'static>(
        &self,
        tenancy: &Tenancy,
        parts: Arc<P>,
        list: impl Fn(&P) -> Option<KeysetList<'_>> + Send + Sync + 'static,
    ) -> Result<Option<KeysetPage>, Error> {
        if list(&parts).is_none() {
            return Ok(None);
        }
        let of_tenancy = tenancy.clone();
        self.read_page(tenancy, move |store| async move {
            match list(&parts) {
                Some(list) => store.list_by_id(&of_tenancy, &list).await,
                None => Ok(None),
            }
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
        let tenancy = context.principal.tenancy();
        let search = Arc::new(search);
        if !count {
            let page = self
                .page_by_id(&tenancy, Arc::clone(&search), move |search| {
                    KeysetList::of_search(reseller, search, at)
                })
                .await?;
            if let Some(page) = page {
                return Ok((page.accounts, None, at));
            }
        }
        let totals = Arc::clone(&self.totals);
        self.read(tenancy, move |tx| {
            Box::pin(async move {
                let accounts = tx.search_accounts(reseller, &search, at).await?;
                if !count {
                    return Ok((accounts, None, at));
                }
                if search.selects_all() {
                    return Ok((accounts, Some(tx.count_live(reseller).await?), at));
                }
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
                if let Some(total) = totals.cached(&list, at) {
                    return Ok((accounts, Some(total), at));
                }
                let mut total = tx.count_found(reseller, &search, EXACT + 1, at).await?;
                if total > EXACT {
                    total = tx.count_found(reseller, &search, i64::MAX, at).await?;
                    totals.insert(list, at, total);
                }
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

/// How many accounts a filter matches, by counting them.
async fn count(
    tx: &mut Tx,
    totals: &ListTotals,
    reseller: Option<ResellerId>,
    list: &Filter,
    at: Time,
) -> Result<i64, Error> {
    let key = key(reseller, list);
    if let Some(total) = totals.cached(&key, at) {
        return Ok(total);
    }
    let (filter, by_zone) = list;
    let few = tx
        .count_accounts(reseller, filter, by_zone, EXACT + 1, at)
        .await?;
    if few <= EXACT {
        return Ok(few);
    }
    let total = tx
        .count_accounts(reseller, filter, by_zone, i64::MAX, at)
        .await?;
    totals.insert(key, at, total);
    Ok(total)
}

/// What the total of a list is cached under.
fn key(reseller: Option<ResellerId>, (filter, by_zone): &Filter) -> ListKey {
    (reseller, format!("{filter:?} {by_zone:?}"))
}

//! Text search by the index of `account_text`.
//!
//! A function of the database finds candidates: the accounts in whose texts the searched text
//! occurs, by id. The list's own statement then decides about them, so the index changes no answer.
//! A list that finds its accounts sooner without the index ends up without it: see [`MOST`].

use sqlx::{Postgres, QueryBuilder};

use super::conditions::push_by_zone;
use super::list::{
    KEYS, count_search_statement, count_statement, push_among, push_filter, push_order,
    search_statement,
};
use crate::domain::{
    Account, AccountFilter, AccountId, AccountKey, Error, ResellerId, Search, Start, Time,
    ZoneConditions,
};
use crate::store::errors::OrDomain as _;
use crate::store::slice::Slice;
use crate::store::transaction::Tx;

/// A statement that is being put together.
type Statement = QueryBuilder<Postgres>;

/// How many candidates are looked at before a list goes on without the index. So many candidates
/// and not enough accounts mean that another condition of the list is the rarer one.
const MOST: i32 = 10_000;

/// A text that is searched for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needle<'a> {
    text: &'a str,
    /// Whether the text is in lower case already. Otherwise the database converts it.
    is_lower: bool,
    reseller: Option<ResellerId>,
    /// The candidates have larger account ids.
    after: i32,
}

impl<'a> Needle<'a> {
    /// The text of a search, whose case the database ignores. `None` if there is no text: every
    /// account contains the empty one.
    pub(super) fn new(
        text: Option<&'a str>,
        reseller: Option<ResellerId>,
        after: i32,
    ) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(|text| Self {
            text,
            is_lower: false,
            reseller,
            after,
        })
    }

    /// A text in lower case.
    pub(super) fn lower(
        text: Option<&'a str>,
        reseller: Option<ResellerId>,
        after: i32,
    ) -> Option<Self> {
        Self::new(text, reseller, after).map(|it| Self {
            is_lower: true,
            ..it
        })
    }
}

impl Tx {
    /// A page of [`Tx::list_accounts`]. `None` if the filter has no text, or the index does not help.
    pub(super) async fn list_by_text(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        by_zone: &[ZoneConditions],
        from: i32,
        limit: i64,
        now: Time,
    ) -> Result<Option<Slice<Account>>, Error> {
        let text = lower_text(filter);
        let needle = Needle::lower(text.as_deref(), reseller, from.saturating_sub(1));
        let Some(needle) = needle else {
            return Ok(None);
        };
        let among = |ids: &[i32], limit| {
            among_statement((reseller, filter, by_zone), from, ids, limit, now)
        };
        match self.keys_by_text(needle, limit, among).await? {
            Some(keys) => self.fetch_slice(keys, limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// The number of [`Tx::count_accounts`]. `None` as [`Tx::list_by_text`].
    pub(super) async fn count_list_by_text(
        &mut self,
        reseller: Option<ResellerId>,
        filter: &AccountFilter,
        by_zone: &[ZoneConditions],
        max: i64,
        now: Time,
    ) -> Result<Option<i64>, Error> {
        let text = lower_text(filter);
        let Some(needle) = Needle::lower(text.as_deref(), reseller, 0) else {
            return Ok(None);
        };
        let alone = AccountFilter {
            text: filter.text.clone(),
            ..AccountFilter::default()
        };
        let is_text_only = by_zone.is_empty() && *filter == alone;
        let among = |ids: &[i32]| count_statement(reseller, filter, by_zone, Some(ids), now);
        self.count_by_text(needle, max, is_text_only, among).await
    }

    /// A page of [`Tx::search_accounts`]. `None` as [`Tx::list_by_text`].
    pub(super) async fn search_by_text(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
        now: Time,
    ) -> Result<Option<Slice<Account>>, Error> {
        let after = match search.start {
            Start::After(after) => after.map_or(0, AccountId::as_i32),
            Start::Offset { .. } => 0,
        };
        let Some(needle) = Needle::new(search.text.as_deref(), reseller, after) else {
            return Ok(None);
        };
        let among = |ids: &[i32], limit| search_statement(reseller, search, Some(ids), limit, now);
        if let Start::Offset { .. } = search.start {
            return match self.all_by_text(needle).await? {
                Some(ids) => {
                    let statement = among(&ids, search.limit);
                    self.fetch_page(statement, search.limit).await.map(Some)
                }
                None => Ok(None),
            };
        }
        match self.keys_by_text(needle, search.limit, among).await? {
            Some(keys) => self.fetch_slice(keys, search.limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// The number of [`Tx::count_found`]. `None` as [`Tx::list_by_text`].
    pub(super) async fn count_found_by_text(
        &mut self,
        reseller: Option<ResellerId>,
        search: &Search,
        max: i64,
        now: Time,
    ) -> Result<Option<i64>, Error> {
        let Some(needle) = Needle::new(search.text.as_deref(), reseller, 0) else {
            return Ok(None);
        };
        let is_text_only = search.conditions.is_empty()
            && search.metadata.0.is_empty()
            && search.owner.is_none()
            && search.level.is_none()
            && search.by_zone.is_empty();
        let among = |ids: &[i32]| count_search_statement(reseller, search, Some(ids), now);
        self.count_by_text(needle, max, is_text_only, among).await
    }

    /// The keys of a page by id, with the sizes of the accounts, at most `limit`. `statement` finds
    /// them among the accounts with the given ids, at most as many as given. `None` if the index does
    /// not help.
    async fn keys_by_text(
        &mut self,
        mut needle: Needle<'_>,
        limit: i64,
        statement: impl Fn(&[i32], i64) -> Statement + Send,
    ) -> Result<Option<Vec<(AccountKey, i64)>>, Error> {
        let page = i32::try_from(limit).unwrap_or(MOST).clamp(1, MOST);
        let (mut found, mut seen, mut wanted) = (Vec::new(), 0, page);
        loop {
            let ids = self.find_texts(needle, wanted).await?;
            let count = count_of(&ids);
            if let Some(last) = ids.last() {
                let missing = limit - i64::try_from(found.len()).unwrap_or(limit);
                found.extend(self.fetch_sized(&mut statement(&ids, missing)).await?);
                needle.after = *last;
            }
            if count < wanted || i64::try_from(found.len()).is_ok_and(|found| found >= limit) {
                return Ok(Some(found));
            }
            seen += count;
            if seen >= MOST {
                return Ok(None);
            }
            wanted = wanted.saturating_mul(4).min(MOST - seen);
        }
    }

    /// The ids of all candidates, or `None` if they are more than [`MOST`].
    async fn all_by_text(&mut self, needle: Needle<'_>) -> Result<Option<Vec<i32>>, Error> {
        let ids = self.find_texts(needle, MOST + 1).await?;
        Ok((count_of(&ids) <= MOST).then_some(ids))
    }

    /// How many accounts a list has; counting stops at `max`. `statement` counts those among the
    /// accounts with the given ids. `None` if the index does not help: if there are many candidates
    /// and `is_text_only` is false, because the list has other conditions.
    async fn count_by_text(
        &mut self,
        mut needle: Needle<'_>,
        max: i64,
        is_text_only: bool,
        statement: impl Fn(&[i32]) -> Statement + Send,
    ) -> Result<Option<i64>, Error> {
        let mut found = 0;
        loop {
            let wanted = i32::try_from(max - found).unwrap_or(MOST).clamp(1, MOST);
            let ids = self.find_texts(needle, wanted).await?;
            if let Some(last) = ids.last() {
                found += self.count(statement(&ids), max - found).await?;
                needle.after = *last;
            }
            if count_of(&ids) < wanted || found >= max {
                return Ok(Some(found));
            }
            if !is_text_only {
                return Ok(None);
            }
        }
    }

    /// The ids of the next candidates: `wanted`, or fewer if there are no more.
    async fn find_texts(&mut self, needle: Needle<'_>, wanted: i32) -> Result<Vec<i32>, Error> {
        sqlx::query_scalar!(
            r#"select id as "id!" from find_account_texts($1, case when $5 then $2 else lower($2) end,
                 $3, $4) as id"#,
            needle.reseller.map(|it| it.0),
            needle.text,
            needle.after,
            wanted,
            needle.is_lower
        )
        .fetch_all(self.connection())
        .await
        .or_domain()
    }

    /// Moves new entries of the index from its list of pending entries to their places, because
    /// every search reads the whole list. Returns how many pages that were.
    pub async fn flush_account_texts(&mut self) -> Result<i64, Error> {
        sqlx::query_scalar!(r#"select flush_account_texts() as "pages!""#)
            .fetch_one(self.connection())
            .await
            .or_domain()
    }
}

/// The statement that finds the keys of a page of [`Tx::list_accounts`] among the accounts with these
/// ids. Public so that a test can read its plan.
#[must_use]
pub fn among_statement(
    (reseller, filter, by_zone): (Option<ResellerId>, &AccountFilter, &[ZoneConditions]),
    from: i32,
    ids: &[i32],
    limit: i64,
    now: Time,
) -> QueryBuilder<Postgres> {
    let mut statement = Statement::new(KEYS);
    push_filter(&mut statement, reseller, filter, Some(from), now);
    push_by_zone(&mut statement, by_zone);
    push_among(&mut statement, Some(ids));
    push_order(&mut statement, limit);
    statement
}

/// The text of a filter in lower case.
fn lower_text(filter: &AccountFilter) -> Option<String> {
    filter.text.as_ref().map(|text| text.to_lowercase())
}

fn count_of(ids: &[i32]) -> i32 {
    i32::try_from(ids.len()).unwrap_or(i32::MAX)
}

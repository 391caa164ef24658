//! Text search by the index of `account_text`.
//!
//! A function of the database finds candidates: the accounts in whose texts the searched text
//! occurs, by id. The list's own statement then decides about them, so the index changes no answer.
//! A list that finds its accounts sooner without the index ends up without it: see [`MOST`].

use sqlx::{Postgres, QueryBuilder};

use crate::domain::{AccountKey, Error, ResellerId};
use crate::store::errors::OrDomain as _;
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

    /// The same, for candidates with ids above another one.
    pub(super) fn behind(self, after: i32) -> Self {
        Self { after, ..self }
    }
}

impl Tx {
    /// The keys of a page by id, with the sizes of the accounts, at most `limit`. `statement` finds
    /// them among the accounts with the given ids, at most as many as given. `None` if the index does
    /// not help.
    pub(super) async fn keys_by_text(
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
    pub(super) async fn all_by_text(
        &mut self,
        needle: Needle<'_>,
    ) -> Result<Option<Vec<i32>>, Error> {
        let ids = self.find_texts(needle, MOST + 1).await?;
        Ok((count_of(&ids) <= MOST).then_some(ids))
    }

    /// How many accounts a list has; counting stops at `max`. `statement` counts those among the
    /// accounts with the given ids. `None` if the index does not help: if there are many candidates
    /// and `is_text_only` is false, because the list has other conditions.
    pub(super) async fn count_by_text(
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

fn count_of(ids: &[i32]) -> i32 {
    i32::try_from(ids.len()).unwrap_or(i32::MAX)
}

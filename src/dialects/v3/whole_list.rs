//! Lists that are read as a whole, then searched, sorted and cut into pages here: those of plans,
//! tokens, webhook endpoints and resellers, which are short.

use std::cmp::Ordering;

use axum::http::header::{self, HeaderName};
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::respond::{Many, Reply};
use crate::dialects::failure::Failure;
use crate::service::Slice;

/// The most rows that such a list may have for its pages. One more is read, to notice a longer list,
/// which can only be read by cursor.
pub(super) const MOST: i64 = 10_000;

/// A field that `sort` can name, and the order of the rows by it.
type Field<R> = (&'static str, fn(&R, &R) -> Ordering);

/// How a kind of row is sorted and searched.
pub(super) struct Listing<R: 'static> {
    /// The fields that `sort` can name.
    pub(super) fields: &'static [Field<R>],
    /// The texts of a row in which `query` is searched.
    pub(super) texts: fn(&R) -> Vec<Option<&str>>,
}

impl<R> Listing<R> {
    /// The names of the fields that `sort` can name.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|(name, _)| *name).collect()
    }

    /// The page of all rows that the query of a call asks for, and its headers. `next` links to the
    /// page after a row, for a query without a page, an order and a text.
    pub(super) fn reply<D: Serialize + ToSchema + Send + 'static>(
        &self,
        call: &Call,
        mut rows: Vec<R>,
        document: impl Fn(&R) -> D,
        next: impl FnOnce(&R) -> String,
    ) -> Result<Reply<Many<D>>, Failure> {
        let query = &call.query;
        let is_whole = i64::try_from(rows.len()).is_ok_and(|count| count <= MOST);
        if query.is_by_page() && !is_whole {
            let name = [
                ("page", query.page.is_some()),
                ("sort", query.sort.is_some()),
                ("query", true),
            ];
            let name = name.iter().find(|(_, is_given)| *is_given);
            let problem = format!(
                "needs a list of at most {MOST} rows, and this one has more; read it with after="
            );
            return Err(Failure::parameter(
                name.map_or("page", |(name, _)| name),
                problem,
            ));
        }
        if let Some(text) = &query.search {
            let text = text.to_lowercase();
            rows.retain(|row| {
                let mut texts = (self.texts)(row).into_iter().flatten();
                texts.any(|it| it.to_lowercase().contains(&text))
            });
        }
        if let Some(sort) = &query.sort {
            let (name, is_descending) = sort
                .strip_prefix('-')
                .map_or((sort.as_str(), false), |name| (name, true));
            let field = self.fields.iter().find(|(field, _)| *field == name);
            let (_, order) = field.ok_or_else(|| query.no_sort(&self.names()))?;
            rows.sort_by(order);
            if is_descending {
                rows.reverse();
            }
        }
        let (count, skip) = (
            rows.len(),
            usize::try_from(query.skip()).unwrap_or(usize::MAX),
        );
        let limit = usize::try_from(query.limit).unwrap_or_default();
        let rows: Vec<R> = rows.into_iter().skip(skip).take(limit).collect();
        let has_more = count.saturating_sub(skip) > rows.len();
        let format = call.format();
        let reply = if query.is_by_page() {
            let reply = Reply::unless_cut(format, rows, document).ok_or_else(too_large)?;
            if has_more {
                reply.with_header(header::LINK, &query.next_page(&call.uri))
            } else {
                reply
            }
        } else {
            Reply::page(format, Slice { rows, has_more }, document, next)
        };
        let count = i64::try_from(count).ok().filter(|_| is_whole);
        Ok(with_page(reply, call, count))
    }
}

/// The refusal of a page whose rows are larger than a page may be.
pub(super) fn too_large() -> Failure {
    let problem = "must be smaller: these rows are larger than a page may be";
    Failure::parameter("limit", problem)
}

/// Adds the headers that describe a page by its number. `count` is the number of rows on all pages.
pub(super) fn with_page<D>(reply: Reply<Many<D>>, call: &Call, count: Option<i64>) -> Reply<Many<D>>
where
    D: Serialize + ToSchema + Send + 'static,
{
    let query = &call.query;
    let headers = [
        ("pagination-count", count),
        ("pagination-page", Some(query.page.unwrap_or(1))),
        ("pagination-limit", Some(query.limit)),
    ];
    headers
        .into_iter()
        .fold(reply, |reply, (name, value)| match value {
            Some(value) => reply.with_header(HeaderName::from_static(name), &value.to_string()),
            None => reply,
        })
}

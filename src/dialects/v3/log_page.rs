//! Pages of logs by number: those of delivery attempts and of changes.

use axum::http::header;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::page::Query;
use super::respond::{Many, Reply};
use super::whole_list::{too_large, with_page};
use crate::dialects::failure::Failure;
use crate::service::{LogPage, MAX_LOGGED};

/// The fields that a log can be sorted by: the times of its entries alone.
pub(super) const FIELDS: [&str; 1] = ["createdAt"];

/// The page of a log that a query asks for.
pub(super) fn log_page(query: &Query) -> Result<LogPage, Failure> {
    let is_ascending = match query.sort.as_deref() {
        None | Some("-createdAt") => false,
        Some("createdAt") => true,
        Some(_) => return Err(query.no_sort(&FIELDS)),
    };
    if query.skip() > MAX_LOGGED {
        let problem = "is too deep; follow the links from a list without page instead";
        return Err(Failure::parameter("page", problem));
    }
    Ok(LogPage {
        skip: query.skip(),
        limit: query.limit,
        is_ascending,
        is_counted: query.is_by_page(),
        searched: MAX_LOGGED,
    })
}

/// The reply with a page of a log by its number. `count` is the number of entries on all pages.
pub(super) fn log_reply<R, D: Serialize + ToSchema + Send + 'static>(
    call: &Call,
    rows: Vec<R>,
    count: Option<i64>,
    document: impl FnMut(&R) -> D,
) -> Result<Reply<Many<D>>, Failure> {
    let query = &call.query;
    let reply = Reply::unless_cut(call.format(), rows, document).ok_or_else(too_large)?;
    let reply = with_page(reply, call, count);
    let ends_at = query.skip().saturating_add(query.limit);
    Ok(if count.is_some_and(|count| count > ends_at) {
        reply.with_header(header::LINK, &query.next_page(&call.uri))
    } else {
        reply
    })
}

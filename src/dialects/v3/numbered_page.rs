//! Pages by number. A client that counts pages loses the rows that a short page leaves out, because
//! it asks for the next page by its number and not by a position. So such a page is always whole. If
//! its rows are large, they are read and sent piece by piece: the answer has no `Content-Length`,
//! and its memory does not grow with its rows.

use std::io;

use axum::body::Body;
use axum::http::StatusCode;
use futures_util::stream;

use super::Api;
use super::accounts::documents::{self, AccountDocument};
use super::respond::{Many, Reply};
use crate::dialects::body;
use crate::dialects::views::Viewer;
use crate::domain::{Account, Search, Start};
use crate::service::{Context, Slice};
use crate::wire::{self, Codec};

/// The size of the pieces that are sent, in bytes.
const PIECE: usize = 64 * 1_024;

/// A reply with a page of accounts by number. `first` are the accounts that were read already.
pub(super) fn reply(
    api: &Api,
    context: &Context,
    format: Codec,
    search: &Search,
    first: Slice<Account>,
    viewer: Viewer,
) -> Reply<Many<AccountDocument>> {
    let rest = following(search, first.rows.len()).filter(|_| first.has_more);
    if rest.is_none() {
        let document = |account: &&Account| documents::account(account, viewer);
        if let Some(reply) = Reply::unless_cut(format, first.rows.iter().collect(), document) {
            return reply;
        }
    }
    let pieces = Pieces {
        api: api.clone(),
        context: context.clone(),
        format,
        viewer,
        accounts: first.rows.into_iter(),
        rest,
        is_first: true,
        is_over: false,
    };
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        Some((piece, pieces))
    });
    Reply::response(body::response(
        StatusCode::OK,
        Some(format.content_type()),
        Body::from_stream(pieces),
    ))
}

/// The search for the rest of a page of which this many accounts are read. `None` if the page is
/// complete.
fn following(search: &Search, read: usize) -> Option<Search> {
    let read = i64::try_from(read).ok()?;
    let Start::Offset {
        skip,
        by,
        descending,
    } = search.start
    else {
        return None;
    };
    let limit = search.limit - read;
    (limit > 0).then(|| Search {
        conditions: search.conditions.clone(),
        metadata: search.metadata.clone(),
        owner: search.owner.clone(),
        level: search.level,
        text: search.text.clone(),
        by_zone: search.by_zone.clone(),
        start: Start::Offset {
            skip: skip + read,
            by,
            descending,
        },
        limit,
    })
}

/// A page that is being sent.
struct Pieces {
    api: Api,
    context: Context,
    format: Codec,
    viewer: Viewer,
    /// Accounts that were read but not encoded yet.
    accounts: std::vec::IntoIter<Account>,
    /// The search for the accounts that were not read yet. `None` if all were.
    rest: Option<Search>,
    is_first: bool,
    is_over: bool,
}

impl Pieces {
    /// The next piece of the body. `None` after the end. An error breaks the connection, so that the
    /// client does not take half a page for a whole one.
    async fn next(&mut self) -> Option<Result<Vec<u8>, io::Error>> {
        if self.is_over {
            return None;
        }
        let (begin, end) = match self.format {
            Codec::Json => ("[", "]"),
            Codec::Xml => ("<xml>", "</xml>"),
        };
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(account) = self.accounts.next() else {
                match self.read_on().await {
                    Ok(true) => continue,
                    Ok(false) => {
                        self.is_over = true;
                        piece.extend_from_slice(end.as_bytes());
                        break;
                    }
                    Err(error) => return Some(Err(error)),
                }
            };
            let separator = match (std::mem::take(&mut self.is_first), self.format) {
                (true, _) => begin,
                (false, Codec::Json) => ",",
                (false, Codec::Xml) => "",
            };
            piece.extend_from_slice(separator.as_bytes());
            let document = documents::account(&account, self.viewer);
            match wire::encode_row(self.format, "item", &document) {
                Ok(row) => piece.extend_from_slice(&row),
                Err(problem) => return Some(Err(io::Error::other(problem))),
            }
        }
        Some(Ok(piece))
    }

    /// Reads more accounts of the page. Returns whether there are any.
    async fn read_on(&mut self) -> Result<bool, io::Error> {
        let Some(search) = self.rest.take() else {
            return Ok(false);
        };
        let read = self
            .api
            .service
            .search(&self.context, search.clone(), false);
        let (found, ..) = read.await.map_err(io::Error::other)?;
        self.rest = following(&search, found.rows.len()).filter(|_| found.has_more);
        self.accounts = found.rows.into_iter();
        Ok(self.accounts.len() > 0)
    }
}

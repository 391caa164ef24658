//! `GET /v3/snapshot`: all accounts with the cursors of the events that follow, as lines of JSON.
//!
//! The lines are made while they are sent. A reader that stops reading keeps one page of accounts in
//! memory and no connection to the database, and after a minute it is cut off.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use futures_util::stream;
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::accounts::documents::{self, AccountDocument};
use super::call::Request;
use super::cursor::Cursor;
use super::respond::{Answer, Described, Reply};
use crate::dialects::body;
use crate::dialects::failure::Failure;
use crate::dialects::schemas::describe;
use crate::dialects::views::Viewer;
use crate::domain::{Account, Error, ResellerId, Time};
use crate::service::{Context, SnapshotPage, SnapshotPermit, SnapshotPlace};
use crate::wire::{self, Codec};

/// The media type of lines of JSON.
pub(super) const LINES: &str = "application/x-ndjson";
/// About the size of the pieces that are sent, in bytes.
const PIECE: usize = 16 << 10;
/// The longest time that a reader may take for a page of at most 100 accounts. It is cut off when it
/// wants the next one. One that reads nothing at all is cut off by the limits on connections.
const SLOWEST_PAGE: TimeDelta = TimeDelta::minutes(1);

/// The first line of a reseller in a snapshot. The lines of its accounts follow.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SnapshotBegin)]
struct BeginDocument {
    reseller_id: i64,
    /// The cursor with which `GET /v3/events?after=` continues, when the snapshot is complete. The
    /// accounts contain every event up to it. Skip an event behind it if its `sequence` is not
    /// greater than the `version` that the account has in the snapshot: the account contains it
    /// already.
    cursor: String,
}

/// The last line of a snapshot. A snapshot without it is not complete: begin again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotEnd)]
struct EndDocument {
    /// Always true.
    complete: bool,
    /// The number of accounts in the snapshot.
    accounts: u64,
}

/// The answer: for each reseller a line with its cursor and a line for each account, then the last
/// line.
pub(super) struct Lines;

impl Answer for Lines {
    const DESCRIBED: Described = Described::Lines(&[
        describe::<BeginDocument>,
        describe::<AccountDocument>,
        describe::<EndDocument>,
    ]);

    fn write(self, _: Codec) -> Option<Vec<u8>> {
        None
    }
}

pub(super) async fn read(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Lines>, Failure> {
    let only = call.query.reseller()?;
    let permit = api.service.snapshot_permit(&context.principal).await?;
    // The first page is read before the response begins, so that an error still gets its HTTP status.
    let first = api.service.snapshot(context, only, None).await?;
    let writer = Writer {
        api: api.clone(),
        context: context.clone(),
        token: call.credential()?,
        only,
        page: None,
        next: None,
        count: 0,
        is_over: false,
        read_at: api.service.now(),
        _permit: permit,
    };
    Ok(Reply::response(writer.response(first)))
}

/// The accounts of a page that are not sent yet.
struct Unsent {
    accounts: std::vec::IntoIter<Account>,
    viewer: Viewer,
    /// The reseller and its last event, if the line with its cursor is not sent yet.
    begin: Option<(ResellerId, i64)>,
}

/// A snapshot that is being sent.
struct Writer {
    api: Api,
    context: Context,
    token: SecretString,
    only: Option<ResellerId>,
    page: Option<Unsent>,
    /// Where the page after it begins.
    next: Option<SnapshotPlace>,
    /// The number of accounts sent.
    count: u64,
    is_over: bool,
    /// When the page was read.
    read_at: Time,
    _permit: SnapshotPermit,
}

impl Writer {
    fn response(mut self, first: Option<SnapshotPage>) -> Response {
        self.begin(first);
        let pieces = stream::unfold(self, |mut writer| async move {
            let piece = writer.piece().await?;
            Some((piece, writer))
        });
        body::response(StatusCode::OK, Some(LINES), Body::from_stream(pieces))
    }

    /// Takes a page. `None` is after the last one.
    fn begin(&mut self, page: Option<SnapshotPage>) {
        self.next = page.as_ref().map(|page| page.next);
        self.page = page.map(|page| Unsent {
            viewer: Viewer::of(&self.context, page.at),
            begin: page.begins_after.map(|last| (page.reseller, last)),
            accounts: page.accounts.into_iter(),
        });
        self.read_at = self.api.service.now();
    }

    /// The next piece of the body. `None` after the end. An error breaks the connection, so that the
    /// client does not take a part of a snapshot for a whole one.
    async fn piece(&mut self) -> Option<Result<Bytes, io::Error>> {
        if self.is_over {
            return None;
        }
        let mut piece = Vec::new();
        while piece.len() < PIECE && !self.is_over {
            if let Err(problem) = self.add_line(&mut piece).await {
                self.is_over = true;
                return Some(Err(problem));
            }
        }
        Some(Ok(piece.into()))
    }

    /// Adds the next line, or reads the next page.
    async fn add_line(&mut self, piece: &mut Vec<u8>) -> Result<(), io::Error> {
        let Some(page) = &mut self.page else {
            self.is_over = true;
            let end = EndDocument {
                complete: true,
                accounts: self.count,
            };
            return add(piece, &end);
        };
        if let Some((reseller, last)) = page.begin.take() {
            let begin = BeginDocument {
                reseller_id: reseller.0,
                cursor: Cursor::event(last, reseller).encode(),
            };
            return add(piece, &begin);
        }
        if let Some(account) = page.accounts.next() {
            self.count += 1;
            return add(piece, &documents::account(&account, page.viewer));
        }
        self.read_on().await
    }

    /// Reads the next page, unless the reader is too slow, its token is no longer valid, or the
    /// service stops.
    async fn read_on(&mut self) -> Result<(), io::Error> {
        if self.api.service.now() - self.read_at > SLOWEST_PAGE {
            let problem = "the reader of a snapshot took more than a minute for a page";
            return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
        }
        let service = &self.api.service;
        let read = async {
            let caller = service.authenticate(&self.token).await?;
            if caller.reseller != self.context.principal.reseller {
                return Err(Error::CredentialInvalid);
            }
            service.snapshot(&self.context, self.only, self.next).await
        };
        let page = tokio::select! {
            page = read => page.map_err(io::Error::other)?,
            () = service.stopping() => return Err(io::Error::other("the service stops")),
        };
        self.begin(page);
        Ok(())
    }
}

/// Adds a document as a line.
fn add(piece: &mut Vec<u8>, document: &impl Serialize) -> Result<(), io::Error> {
    let line = wire::encode(Codec::Json, document).map_err(io::Error::other)?;
    piece.extend_from_slice(&line);
    piece.push(b'\n');
    Ok(())
}

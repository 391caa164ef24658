//! Events: the content of webhooks, the list `GET /v3/events`, and its stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::{self, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::Api;
use super::accounts::documents::{self, AccountDocument};
use super::call::{Call, Request};
use super::cursor::Cursor;
use super::respond::{Many, Reply};
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::dialects::views::{Viewer, facts_in};
use crate::domain::{Authority, Error, ResellerId, TEST, Time, UPDATED, message_id};
use crate::service::{Context, EventRead, JournalEntry, Slice};
use crate::wire::Codec;

/// The interval at which a stream polls for events, in case a notification was lost.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// The interval at which an idle stream sends a comment, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The largest number of events that a stream reads at once.
const STREAM_PAGE: i64 = 100;

/// An event: Cryptlex's three members, then ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(super) struct EventDocument {
    event: String,
    /// The account as it is now. Null if it has been purged.
    data: Option<AccountDocument>,
    #[schema(format = DateTime)]
    triggered_at: String,
    id: String,
    /// The account's version after the change. Each change adds 1, without gaps.
    sequence: Option<i64>,
    actor: Option<String>,
    reason: Option<String>,
    /// The changed fields, each with its `old` and `new` value.
    #[schema(value_type = Object)]
    changes: Value,
    /// The specific events of the change, such as `account.frozen`. Not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    events: Option<Vec<String>>,
    /// The cursor of this event; the next page begins after it. Not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    cursor: Option<String>,
}

fn document(read: &EventRead, event: &str, viewer: Viewer) -> EventDocument {
    EventDocument {
        event: event.to_owned(),
        data: read
            .account
            .as_ref()
            .map(|account| documents::account(account, viewer)),
        triggered_at: dates::write(read.entry.at),
        id: message_id(read.entry.id, event),
        sequence: read.entry.sequence,
        actor: Some(read.entry.actor.clone()),
        reason: reason(&read.entry),
        changes: changes(&read.entry),
        events: None,
        cursor: None,
    }
}

/// The content of a webhook for an event, in JSON.
#[must_use]
pub fn message(read: &EventRead, event: &str, now: Time) -> String {
    let document = document(
        read,
        event,
        Viewer {
            authority: Authority::Reseller,
            now,
        },
    );
    serde_json::to_string(&document).unwrap_or_default()
}

/// The content of a test webhook, in JSON.
#[must_use]
pub fn test_message(id: &str, at: Time) -> String {
    json!({ "event": TEST, "data": {}, "triggeredAt": dates::write(at), "id": id }).to_string()
}

/// The changed fields, each with its old and new value.
fn changes(entry: &JournalEntry) -> Value {
    let side = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (side(&entry.before), side(&entry.after));
    let names = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)));
    let change = |name: &String| json!({ "old": before.get(name), "new": after.get(name) });
    Value::Object(
        names
            .map(|name| (name.clone(), change(name)))
            .collect::<Map<_, _>>(),
    )
}

/// The reason, or else the reason code, of a hold in the entry. `None` if no hold has one.
fn reason(entry: &JournalEntry) -> Option<String> {
    let mut holds = [&entry.after, &entry.before]
        .into_iter()
        .filter_map(Value::as_object)
        .flatten()
        .filter(|(name, _)| name.contains(':'));
    let reason_of = |hold: &Value| {
        ["reason", "reason_code"]
            .into_iter()
            .find_map(|name| hold.get(name)?.as_str().map(str::to_owned))
    };
    holds.find_map(|(_, hold)| reason_of(hold))
}

/// An event in an answer or a stream.
fn answer_document(
    read: &EventRead,
    reseller: ResellerId,
    viewer: Viewer,
    format: Codec,
) -> EventDocument {
    let document = document(read, UPDATED, viewer);
    EventDocument {
        changes: facts_in(format, document.changes),
        events: Some(read.entry.events.clone()),
        cursor: Some(Cursor::event(read.entry.id, reseller).encode()),
        ..document
    }
}

/// The events that a request selects: one reseller's, after a cursor.
struct Selection {
    reseller: Option<ResellerId>,
    after: Option<Cursor>,
}

impl Selection {
    /// Reads the selection. `Last-Event-ID`, which a client sends when it reconnects to a stream,
    /// takes precedence over `after`.
    fn read(call: &Call) -> Result<Self, Failure> {
        let last = call
            .header(HeaderName::from_static("last-event-id"))
            .filter(|id| !id.is_empty());
        let after = last
            .or(call.query.cursor.as_deref())
            .filter(|text| !text.is_empty());
        Ok(Self {
            reseller: call.query.reseller()?,
            after: after.map(Cursor::decode).transpose()?,
        })
    }

    async fn events(
        &self,
        api: &Api,
        context: &Context,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Slice<EventRead>), Error> {
        api.service
            .events(context, self.reseller, after, limit)
            .await
    }

    fn position(&self, context: &Context) -> Result<i64, Failure> {
        let Some(after) = &self.after else {
            return Ok(0);
        };
        let reseller = context.principal.reseller.or(self.reseller);
        after.event_of(reseller.unwrap_or(ResellerId::PLATFORM))
    }
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<EventDocument>>, Failure> {
    let selection = Selection::read(&call)?;
    let after = selection.position(context)?;
    let accept = call.header(header::ACCEPT);
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        let token = call.credential()?;
        let response = stream(api.clone(), token, context.clone(), selection, after).await?;
        return Ok(Reply::response(response));
    }
    let limit = call.query.limit;
    let (reseller, events) = selection.events(api, context, after, limit).await?;
    let (viewer, format) = (Viewer::of(context, api.service.now()), call.format());
    let next = |last: i64| {
        let cursor = Cursor::event(last, reseller).encode();
        let path = call.uri.path();
        format!("<{path}?after={cursor}&limit={limit}>; rel=\"next\"")
    };
    // The last page also has a link, so that the client knows where to continue later.
    let is_empty = events.rows.is_empty();
    let events = Slice {
        has_more: true,
        ..events
    };
    let document = |event: &EventRead| answer_document(event, reseller, viewer, format);
    let reply = Reply::page(format, events, document, |last| next(last.entry.id));
    Ok(if is_empty {
        reply.with_header(header::LINK, &next(after))
    } else {
        reply
    })
}

/// Streams the events after a position. The id of each event is its cursor, so a client that
/// reconnects with `Last-Event-ID` misses no event.
async fn stream(
    api: Api,
    token: SecretString,
    context: Context,
    selection: Selection,
    after: i64,
) -> Result<Response, Failure> {
    // The first page is read before the response begins, so that an error still gets its HTTP
    // status.
    let notifications = api.service.news_of_events();
    let (reseller, events) = selection.events(&api, &context, after, STREAM_PAGE).await?;
    let follower = Follower {
        api,
        context,
        token,
        selection,
        reseller,
        waiting: events.rows.into(),
        after,
        is_page_full: true,
        notifications,
    };
    let events = futures_util::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(events.fuse())
        .keep_alive(keep_alive)
        .into_response();
    let headers = response.headers_mut();
    // This header tells proxies not to buffer the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The state of one event stream.
struct Follower {
    api: Api,
    context: Context,
    token: SecretString,
    selection: Selection,
    reseller: ResellerId,
    /// Events that were read but not sent yet.
    waiting: VecDeque<EventRead>,
    /// The number of the journal entry after which the next page begins.
    after: i64,
    /// Whether the last page was full. More events may then exist already.
    is_page_full: bool,
    notifications: broadcast::Receiver<Vec<ResellerId>>,
}

impl Follower {
    /// Waits for the next event. `None` ends the stream: when the service stops, when the token is
    /// no longer valid, or when the events cannot be read. The client then reconnects.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(read) = self.waiting.pop_front() {
                self.after = read.entry.id;
                let viewer = Viewer::of(&self.context, self.api.service.now());
                let document = answer_document(&read, self.reseller, viewer, Codec::Json);
                let id = document.cursor.clone().unwrap_or_default();
                return Event::default()
                    .id(id)
                    .event(UPDATED)
                    .json_data(document)
                    .ok();
            }
            if !self.is_page_full {
                self.wait().await?;
            }
            self.api.service.authenticate(&self.token).await.ok()?;
            let page = self
                .selection
                .events(&self.api, &self.context, self.after, STREAM_PAGE);
            let (_, events) = page.await.ok()?;
            self.is_page_full = events.has_more;
            self.waiting = events.rows.into();
        }
    }

    /// Waits for a notification that names this reseller, at most for the poll interval. `None`
    /// means the service is stopping.
    async fn wait(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                received = self.notifications.recv() => match received {
                    Ok(resellers) if !resellers.is_empty() && !resellers.contains(&self.reseller) => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Some(()),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(POLL_EVERY) => return Some(()),
                () = self.api.service.stopping() => return None,
            }
        }
    }
}

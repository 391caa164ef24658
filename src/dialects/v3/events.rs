//! Events: what a webhook is sent, what `GET /v3/events` answers, and its stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::Api;
use super::accounts::documents;
use super::accounts::documents::{AccountDocument, Reader};
use super::call::Call;
use super::codes::Failure;
use super::cursor::Cursor;
use super::page::{Page, Several};
use crate::dialects::dates;
use crate::domain::{Authority, ResellerId, Scope, TEST, Time, UPDATED, message_id};
use crate::service::{Context, EventRead, JournalEntry};
use crate::wire::Codec;

/// How often a stream looks for events, whatever is heard.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many events a stream reads at once.
const STREAM_PAGE: i64 = 100;

/// An event: the original's three members, then ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(super) struct EventDocument {
    event: String,
    /// The account as it is now; null if it was purged.
    data: Option<AccountDocument>,
    #[schema(format = DateTime)]
    triggered_at: String,
    id: String,
    /// One more with every change of the account, without gaps.
    sequence: Option<i64>,
    actor: Option<String>,
    reason: Option<String>,
    /// Field by field, the old value and the new one.
    #[schema(value_type = Object)]
    changes: Value,
    /// The finer names of what happened. In answers, not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    events: Option<Vec<String>>,
    /// Where to go on from. In answers, not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    cursor: Option<String>,
}

fn document(read: &EventRead, event: &str, reader: Reader) -> EventDocument {
    EventDocument {
        event: event.to_owned(),
        data: read
            .account
            .as_ref()
            .map(|account| documents::account(account, reader)),
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

/// What a webhook is sent of an event.
#[must_use]
pub fn message(read: &EventRead, event: &str, now: Time) -> String {
    let document = document(
        read,
        event,
        Reader {
            authority: Authority::Reseller,
            now,
        },
    );
    serde_json::to_string(&document).unwrap_or_default()
}

/// What a webhook is sent as a test.
#[must_use]
pub fn test_message(id: &str, at: Time) -> String {
    json!({ "event": TEST, "data": {}, "triggeredAt": dates::write(at), "id": id }).to_string()
}

/// Field by field, the old value and the new one.
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

/// Why, as far as a hold that changed says so.
fn reason(entry: &JournalEntry) -> Option<String> {
    let mut holds = [&entry.after, &entry.before]
        .into_iter()
        .filter_map(Value::as_object)
        .flatten()
        .filter(|(name, _)| name.contains(':'));
    let said = |hold: &Value| {
        ["reason", "reason_code"]
            .into_iter()
            .find_map(|name| hold.get(name)?.as_str().map(str::to_owned))
    };
    holds.find_map(|(_, hold)| said(hold))
}

/// An event as it is pulled.
fn pulled(read: &EventRead, reseller: ResellerId, reader: Reader, format: Codec) -> EventDocument {
    let mut document = document(read, UPDATED, reader);
    if let (Codec::Xml, Value::Object(members)) = (format, &mut document.changes) {
        // Names of holds have a colon, which names in XML cannot have.
        *members = std::mem::take(members)
            .into_iter()
            .map(|(name, value)| (name.replace(':', "."), value))
            .collect();
    }
    EventDocument {
        events: Some(read.entry.events.clone()),
        cursor: Some(Cursor::event(read.entry.id, reseller).written()),
        ..document
    }
}

/// What is asked for: whose, behind which, how many.
struct Request {
    of: Option<ResellerId>,
    after: Option<Cursor>,
    limit: i64,
}

fn request(call: &Call) -> Result<Request, Failure> {
    let page = Page::read_with_cursor(&call.uri, &["resellerId"])?;
    let of = page.number("resellerId")?.map(ResellerId);
    let resumed = call.header("last-event-id").filter(|id| !id.is_empty());
    let after = resumed
        .or(page.cursor.as_deref())
        .filter(|text| !text.is_empty())
        .map(Cursor::read)
        .transpose()?;
    Ok(Request {
        of,
        after,
        limit: page.limit,
    })
}

impl Request {
    async fn read(
        &self,
        api: &Api,
        context: &Context,
        after: i64,
        limit: i64,
    ) -> Result<(ResellerId, Vec<EventRead>), Failure> {
        Ok(api.service.events(context, self.of, after, limit).await?)
    }

    fn position(&self, context: &Context) -> Result<i64, Failure> {
        let Some(after) = &self.after else {
            return Ok(0);
        };
        let home = context
            .principal
            .reseller
            .or(self.of)
            .unwrap_or(ResellerId::PLATFORM);
        after.event_of(home)
    }
}

pub(super) async fn list(State(api): State<Api>, call: Call) -> Response {
    let wants_stream = call
        .header("accept")
        .is_some_and(|accept| accept.contains("text/event-stream"));
    let entered = async {
        let context = call.enter(&api, Scope::WebhookRead).await?;
        let request = request(&call)?;
        let after = request.position(&context)?;
        Ok((context, request, after))
    };
    let (context, request, after) = match entered.await {
        Ok(entered) => entered,
        Err(failure) => return call.refuse(&failure),
    };
    if wants_stream {
        return stream(api, &call, context, request, after).await;
    }
    let outcome = async {
        let (reseller, events) = request.read(&api, &context, after, request.limit).await?;
        let reader = Reader {
            authority: context.principal.authority(),
            now: api.service.now(),
        };
        // Also at the end: the link is where to ask next time.
        let last = events.last().map_or(after, |event| event.entry.id);
        let next = format!(
            "<{}?after={}&limit={}>; rel=\"next\"",
            call.uri.path(),
            Cursor::event(last, reseller).written(),
            request.limit
        );
        let documents: Vec<EventDocument> = events
            .iter()
            .map(|event| pulled(event, reseller, reader, call.format()))
            .collect();
        Ok((Several::of(documents, call.format()), Some(next)))
    };
    call.answer_page(outcome.await)
}

/// Follows the events from a cursor on. Every event has its cursor as id: a client that comes back with `Last-Event-ID`
/// misses none.
async fn stream(api: Api, call: &Call, context: Context, request: Request, after: i64) -> Response {
    // The first page is read before the answer begins, so that what is wrong is answered as an error.
    let news = api.service.news_of_events();
    let token = match call.credential() {
        Ok(token) => token,
        Err(failure) => return call.refuse(&failure),
    };
    let first = match request.read(&api, &context, after, STREAM_PAGE).await {
        Ok(first) => first,
        Err(failure) => return call.refuse(&failure),
    };
    let state = Following {
        reseller: first.0,
        waiting: first.1.into(),
        after,
        is_page_full: true,
        api,
        context,
        token,
        request,
        news,
    };
    let events = futures_util::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    let mut response = Sse::new(events.fuse())
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // Proxies that collect answers would hold the events back.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct Following {
    api: Api,
    context: Context,
    token: SecretString,
    request: Request,
    reseller: ResellerId,
    waiting: std::collections::VecDeque<EventRead>,
    after: i64,
    is_page_full: bool,
    news: broadcast::Receiver<Vec<ResellerId>>,
}

impl Following {
    /// The next event; none when the service stops, the token is not valid any more, or the events cannot be read, which
    /// ends the stream: the client comes back.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(read) = self.waiting.pop_front() {
                self.after = read.entry.id;
                let reader = Reader {
                    authority: self.context.principal.authority(),
                    now: self.api.service.now(),
                };
                let document = pulled(&read, self.reseller, reader, Codec::Json);
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
            let (_, events) = self
                .request
                .read(&self.api, &self.context, self.after, STREAM_PAGE)
                .await
                .ok()?;
            self.is_page_full = i64::try_from(events.len()) == Ok(STREAM_PAGE);
            self.waiting = events.into();
        }
    }

    /// Until there may be something new.
    async fn wait(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                told = self.news.recv() => match told {
                    Ok(resellers) if !resellers.is_empty() && !resellers.contains(&self.reseller) => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Some(()),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(LOOK_EVERY) => return Some(()),
                () = self.api.service.stopping() => return None,
            }
        }
    }
}

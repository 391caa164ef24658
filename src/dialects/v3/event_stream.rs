//! The stream of `GET /v3/events`: server-sent events, each with its cursor as id.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use tokio::sync::broadcast;

use super::Api;
use super::event_document::answer_document;
use crate::dialects::failure::Failure;
use crate::dialects::views::Viewer;
use crate::domain::{ResellerId, UPDATED};
use crate::service::{Context, FeedPage, StreamPermit};

/// The interval at which an idle stream checks that its token is still valid.
const AUTHENTICATE_EVERY: Duration = Duration::from_secs(5);
/// The interval at which an idle stream sends a comment, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The largest number of events that a stream that catches up reads at once. A client that does not
/// read keeps them in memory.
const CATCH_UP_PAGE: i64 = 20;

/// Streams a reseller's events after a position. The id of each event is its cursor, so a client
/// that reconnects with `Last-Event-ID` misses no event.
pub(super) async fn stream(
    api: Api,
    token: SecretString,
    context: Context,
    reseller: ResellerId,
    after: i64,
) -> Result<Response, Failure> {
    let permit = api.service.stream_permit(&context.principal)?;
    // A cursor that is beyond the last event comes from elsewhere.
    let after = after.min(api.service.last_event(&context, reseller).await?);
    let mut follower = Follower {
        api,
        context,
        token,
        reseller,
        page: FeedPage::default(),
        next: 0,
        after,
        feed: None,
        _permit: permit,
    };
    // The first page is read before the response begins, so that an error still gets its HTTP
    // status.
    follower.catch_up().await?;
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
    reseller: ResellerId,
    /// The events that were read last.
    page: FeedPage,
    /// The index of the next event of the page to send.
    next: usize,
    /// The number of the journal entry that was sent last.
    after: i64,
    /// The reseller's feed. `None` while the stream catches up.
    feed: Option<broadcast::Receiver<FeedPage>>,
    _permit: StreamPermit,
}

impl Follower {
    /// Waits for the next event. `None` ends the stream: when the service stops, when the token is
    /// no longer valid, or when the events cannot be read. The client then reconnects.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(read) = self.page.get(self.next) {
                self.next += 1;
                if read.entry.id <= self.after {
                    // A page of the feed may begin before the position of the stream.
                    continue;
                }
                self.after = read.entry.id;
                let read = read.for_caller(&self.context.principal);
                let viewer = Viewer::of(&self.context, self.api.service.now());
                let document = answer_document(&read, self.reseller, viewer);
                let id = document.cursor.clone().unwrap_or_default();
                return Event::default()
                    .id(id)
                    .event(UPDATED)
                    .json_data(document)
                    .ok();
            }
            if let Some(feed) = &mut self.feed {
                tokio::select! {
                    page = feed.recv() => match page {
                        Ok(page) => self.begin(page),
                        // The stream fell behind, or the feed has ended.
                        Err(_) => self.feed = None,
                    },
                    () = tokio::time::sleep(AUTHENTICATE_EVERY) => {}
                    () = self.api.service.stopping() => return None,
                }
                self.authenticate().await?;
            } else {
                self.authenticate().await?;
                self.catch_up().await.ok()?;
            }
        }
    }

    /// Checks that the token is still valid. `None` if it is not.
    async fn authenticate(&self) -> Option<()> {
        let principal = self.api.service.authenticate(&self.token).await.ok()?;
        (principal.reseller == self.context.principal.reseller).then_some(())
    }

    /// Reads a page of its own. If that is the last one there is, joins the reseller's feed.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let service = &self.api.service;
        let (_, events) = service
            .events(
                &self.context,
                Some(self.reseller),
                self.after,
                CATCH_UP_PAGE,
            )
            .await?;
        let last = events.rows.last();
        let last = last.map_or(self.after, |event| event.entry.id);
        if !events.has_more {
            let (feed, position) = service.follow(self.reseller, last);
            // Beyond `last` there are events that the feed has sent already.
            self.feed = (position <= last).then_some(feed);
        }
        self.begin(Arc::new(events.rows));
        Ok(())
    }

    fn begin(&mut self, page: FeedPage) {
        self.page = page;
        self.next = 0;
    }
}

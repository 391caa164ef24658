//! One reader for all event streams of a reseller.
//!
//! A stream first reads pages of its own until it has caught up. Then it follows the reseller's
//! feed: a task that reads each new event once and hands it to all streams. A thousand idle streams
//! cost the database as much as one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tracing::warn;

use super::events::EventRead;
use crate::domain::ResellerId;
use crate::service::{News, Service};
use crate::shares::Holder;

/// The interval at which a feed polls for events, in case a notification was lost.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// The largest number of events that a feed reads at once.
const PAGE: i64 = 100;
/// How many pages a stream may be behind before it has to read pages of its own again.
const BACKLOG: usize = 4;

/// A page of new events, shared by the streams.
pub type FeedPage = Arc<Vec<EventRead>>;

/// The feeds of the resellers that have streams.
#[derive(Debug, Default)]
pub(in crate::service) struct Feeds(Mutex<HashMap<ResellerId, Feed>>);

#[derive(Debug)]
struct Feed {
    sender: broadcast::Sender<FeedPage>,
    /// The last journal entry that was sent, or at which the feed began.
    position: i64,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<ResellerId, Feed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a feed. Returns its position, and whether the feed is new.
    fn join(&self, reseller: ResellerId, after: i64) -> (broadcast::Receiver<FeedPage>, i64, bool) {
        let mut feeds = self.lock();
        let mut is_new = false;
        let feed = feeds.entry(reseller).or_insert_with(|| {
            is_new = true;
            Feed {
                sender: broadcast::channel(BACKLOG).0,
                position: after,
            }
        });
        (feed.sender.subscribe(), feed.position, is_new)
    }

    /// Sends a page to the streams. Returns the position after it; `None` if no stream is left, and
    /// the feed is over.
    fn send(&self, reseller: ResellerId, page: Vec<EventRead>) -> Option<i64> {
        let mut feeds = self.lock();
        let feed = feeds.get_mut(&reseller)?;
        if feed.sender.receiver_count() == 0 {
            feeds.remove(&reseller);
            return None;
        }
        if let Some(last) = page.last() {
            // Under the lock, so that a stream that joins gets either the page or the position
            // after it.
            feed.position = last.entry.id;
            let _every_stream_is_gone = feed.sender.send(Arc::new(page));
        }
        Some(feed.position)
    }

    fn position(&self, reseller: ResellerId) -> Option<i64> {
        self.lock().get(&reseller).map(|feed| feed.position)
    }

    fn end(&self, reseller: ResellerId) {
        self.lock().remove(&reseller);
    }
}

impl Service {
    /// Follows the events of a reseller. `after` is the last journal entry that the caller has.
    /// Returns the feed of the pages behind a position, and that position. If it is beyond `after`,
    /// the caller has to read the events in between by itself. A caller that falls behind misses
    /// pages, and its receiver then says so.
    #[must_use]
    pub fn follow(
        self: &Arc<Self>,
        reseller: ResellerId,
        after: i64,
    ) -> (broadcast::Receiver<FeedPage>, i64) {
        let (receiver, position, is_new) = self.feeds.join(reseller, after);
        if is_new {
            let service = Arc::clone(self);
            self.tasks
                .spawn(async move { service.feed(reseller).await });
        }
        (receiver, position)
    }

    /// Reads a reseller's new events and sends them to its streams, until none is left.
    async fn feed(&self, reseller: ResellerId) {
        // Subscribed before the first read, so that no event falls between the two.
        let mut notifications = self.news_of_events();
        while let Some(position) = self.feeds.position(reseller) {
            let has_more = match self
                .read_events(Holder::Reseller(reseller), reseller, position, PAGE)
                .await
            {
                Ok(page) => {
                    if self.feeds.send(reseller, page.rows).is_none() {
                        return;
                    }
                    page.has_more
                }
                Err(error) => {
                    // The streams then read by themselves, and end if they cannot either.
                    warn!(%error, %reseller, "could not read new events for the event streams");
                    break;
                }
            };
            if has_more {
                continue;
            }
            tokio::select! {
                () = next_event(&mut notifications, reseller) => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
                () = self.stopping() => break,
            }
        }
        self.feeds.end(reseller);
    }
}

/// Waits for a notification that names the reseller. When the channel is closed, waits for ever.
async fn next_event(notifications: &mut broadcast::Receiver<News>, reseller: ResellerId) {
    loop {
        match notifications.recv().await {
            Ok(News::Endpoints(_)) => {}
            Ok(News::Events(resellers))
                if !resellers.is_empty() && !resellers.contains(&reseller) => {}
            Ok(News::Events(_)) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

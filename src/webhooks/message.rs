//! Messages: one for each journal entry and each of its events that the endpoint subscribed to.

use crate::domain::{TEST, Time, message_id};
use crate::service::{DeliveryKey, EventRead, Pending};

/// Functions that write the bodies of messages. The `v3` dialect supplies them, so that receivers
/// see the same documents as API clients.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// Writes the message about a journal entry under one event name, at an instant.
    pub event: fn(&EventRead, &str, Time) -> String,
    /// Writes a test message with this message id, requested at an instant.
    pub test: fn(&str, Time) -> String,
}

/// One delivery, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) key: DeliveryKey,
    /// When the event happened.
    pub(super) at: Time,
    /// How many attempts have failed.
    pub(super) attempts: i32,
    /// Whether it was loaded from the table of pending deliveries. If not, it comes from the
    /// journal.
    pub(super) is_parked: bool,
    pub(super) message_id: String,
    /// `None` if there is nothing to send any more, because retention removed the event.
    pub(super) body: Option<String>,
}

impl Delivery {
    /// The bytes of the body.
    pub(super) fn size(&self) -> usize {
        self.body.as_ref().map_or(0, String::len)
    }

    /// The deliveries of one journal entry to an endpoint that subscribed to these of its events.
    pub(super) fn of_event(
        mut read: EventRead,
        subscribed: Vec<String>,
        writer: Writer,
        now: Time,
    ) -> Vec<Self> {
        // A receiver gets only what its reseller may see.
        read.entry.hide_reasons_of_others();
        let delivery = |event: String| Self {
            body: Some((writer.event)(&read, &event, now)),
            message_id: message_id(read.entry.id, &event),
            key: DeliveryKey {
                account: read.account_id.as_i32(),
                event_id: read.entry.id,
                event,
            },
            at: read.entry.at,
            attempts: 0,
            is_parked: false,
        };
        subscribed.into_iter().map(delivery).collect()
    }

    /// A pending delivery. `event` is `None` for test messages, and for events that retention
    /// removed.
    pub(super) fn of_pending(
        pending: Pending,
        event: Option<EventRead>,
        writer: Writer,
        now: Time,
    ) -> Self {
        let message_id = message_id(pending.key.event_id, &pending.key.event);
        let body = match event {
            Some(mut read) => {
                read.entry.hide_reasons_of_others();
                Some((writer.event)(&read, &pending.key.event, now))
            }
            None => (pending.key.event == TEST).then(|| (writer.test)(&message_id, pending.at)),
        };
        Self {
            key: pending.key,
            at: pending.at,
            attempts: pending.attempts,
            is_parked: true,
            message_id,
            body,
        }
    }
}

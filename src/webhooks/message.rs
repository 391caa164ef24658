//! What is sent: one message for each event and name that an endpoint wants.

use crate::domain::{TEST, Time, message_id};
use crate::service::{DeliveryKey, EventRead, Pending};

/// Writes messages as their receivers expect them; made by the dialect that receivers know.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// An event by one of its names, for its reseller.
    pub event: fn(&EventRead, &str, Time) -> String,
    /// A test with an identity, asked for at an instant.
    pub test: fn(&str, Time) -> String,
}

/// One thing to be delivered, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: DeliveryKey,
    pub(super) at: Time,
    /// How often it was tried before.
    pub(super) attempts: i32,
    /// Whether it is in the table of what is pending.
    pub(super) is_parked: bool,
    pub(super) message_id: String,
    /// None: there is nothing left to be told.
    pub(super) body: Option<String>,
}

impl Item {
    /// What a new event is to an endpoint that wants it by these names.
    pub(super) fn of_event(
        mut read: EventRead,
        names: Vec<String>,
        writer: Writer,
        now: Time,
    ) -> Vec<Self> {
        // A receiver is told what its reseller may see.
        read.entry.hide_reasons_of_others();
        let item = |event: String| Self {
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
        names.into_iter().map(item).collect()
    }

    /// Something that is pending. An event that is kept no longer has nothing to be told.
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

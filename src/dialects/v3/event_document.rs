//! Events as documents: the content of webhooks, and the rows of lists and streams.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::accounts::documents::{self, AccountDocument};
use super::cursor::Cursor;
use crate::dialects::dates;
use crate::dialects::views::{Viewer, facts_in};
use crate::domain::{Authority, ResellerId, TEST, Time, UPDATED, message_id};
use crate::service::{EventRead, JournalEntry};
use crate::wire::Codec;

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
    pub(super) cursor: Option<String>,
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
pub(super) fn answer_document(
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

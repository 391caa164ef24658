//! Events as documents: the content of webhooks, and the rows of lists and streams.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::accounts::documents::{self, AccountDocument};
use super::cursor::Cursor;
use super::journal_names::{self, ActorDocument};
use crate::dialects::dates;
use crate::dialects::views::Viewer;
use crate::domain::{Authority, ResellerId, TEST, Time, UPDATED, message_id};
use crate::service::{EventRead, JournalEntry};

/// An event: Cryptlex's three members, then ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(super) struct EventDocument {
    event: String,
    /// The account as it is now. One that has been purged is deleted, and its details are empty.
    data: Option<AccountDocument>,
    #[schema(format = DateTime)]
    triggered_at: String,
    /// The instant that the event is about. Earlier than `triggeredAt` if time changed the account: a
    /// hold began or lapsed, or the account expired, some time before it was announced.
    #[schema(format = DateTime)]
    effective_at: String,
    id: String,
    /// The account's version after the change. Each change adds 1, without gaps.
    sequence: Option<i64>,
    /// Who made the change.
    actor: ActorDocument,
    /// The reason of the hold; `lapsed` if the hold has ended by itself.
    reason: Option<String>,
    /// The changed members of the account, each with its `old` and `new` value. In `holds` are the
    /// holds that were opened, changed or closed.
    #[schema(value_type = Object)]
    changes: Value,
    /// The specific events of the change, such as `account.frozen`. Not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    events: Option<Vec<String>>,
    /// The cursor of this event; the next page begins after it. Not in webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub(super) cursor: Option<String>,
}

fn document(read: &EventRead, event: &str, viewer: Viewer) -> EventDocument {
    // Of the account of an erased reseller nothing is left.
    let created_at = read
        .account
        .as_ref()
        .map_or(read.entry.at, |it| it.created_at);
    EventDocument {
        event: event.to_owned(),
        data: read
            .account
            .as_ref()
            .map(|account| documents::account(account, viewer)),
        triggered_at: dates::write(read.entry.at),
        effective_at: dates::write(effective_at(&read.entry)),
        id: message_id(read.entry.id, event),
        sequence: read.entry.sequence,
        actor: journal_names::actor(&read.entry),
        reason: reason(&read.entry),
        changes: journal_names::changes(&read.entry, created_at),
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
    let at = dates::write(at);
    json!({ "event": TEST, "data": {}, "triggeredAt": at, "effectiveAt": at, "id": id }).to_string()
}

/// The instant that an entry is about: for an announcement, that of what it announces.
fn effective_at(entry: &JournalEntry) -> Time {
    let announced = entry.after.get("effective_at").and_then(Value::as_str);
    announced
        .and_then(|text| text.parse().ok())
        .unwrap_or(entry.at)
}

/// The reason, or else the reason code, of a hold in the entry; `lapsed` if it ended by itself.
/// `None` if no hold has a reason.
fn reason(entry: &JournalEntry) -> Option<String> {
    let before = entry.before.as_object().into_iter().flatten();
    let is_gone = |(name, hold): (&String, &Value)| {
        name.contains(':') && !hold.is_null() && entry.after.get(name).is_none_or(Value::is_null)
    };
    if entry.action == "announce" && before.into_iter().any(is_gone) {
        return Some("lapsed".to_owned());
    }
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
) -> EventDocument {
    let document = document(read, UPDATED, viewer);
    EventDocument {
        events: Some(read.entry.events.clone()),
        cursor: Some(Cursor::event(read.entry.id, reseller).encode()),
        ..document
    }
}

//! The changes of all accounts, as Cryptlex's log of events shows them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::call::Request;
use super::journal_names;
use super::log_page::{log_page, log_reply};
use super::path_id::EntryId;
use super::respond::{Many, One, Reply};
use super::users::UserDocument;
use super::whole_list::too_large;
use crate::dialects::dates;
use crate::dialects::failure::Failure;
use crate::service::{Context, EventLog, EventLogQuery};

/// A change of an account, with the members of Cryptlex.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventLog)]
pub(super) struct EventLogDocument {
    /// The number of the journal entry.
    id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The same. A change is never changed.
    #[schema(format = DateTime)]
    updated_at: String,
    /// `account`.
    resource: &'static str,
    /// The account's UUID.
    resource_id: String,
    /// The operation, as the journal calls it.
    action: String,
    changes: Vec<ChangeDocument>,
    /// Always empty: addresses are not stored.
    ip_address: &'static str,
    /// Who made the change.
    user: UserDocument,
}

/// A member of an account that changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PropertyChange)]
struct ChangeDocument {
    property_name: String,
    /// The value before. Absent if there was none.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(required = false)]
    old_value: Value,
    /// The value after. Absent if there is none.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(required = false)]
    new_value: Value,
}

fn document(log: &EventLog) -> EventLogDocument {
    let entry = &log.entry;
    let created_at = log.known.map_or(entry.at, |(_, created_at)| created_at);
    let changes = journal_names::sides(entry, created_at).map(|(name, old, new)| ChangeDocument {
        property_name: name,
        old_value: old,
        new_value: new,
    });
    EventLogDocument {
        id: entry.id.to_string(),
        created_at: dates::write(entry.at),
        updated_at: dates::write(entry.at),
        resource: "account",
        resource_id: log
            .known
            .map_or_else(|| log.account.to_string(), |(uid, _)| uid.to_string()),
        action: entry.action.clone(),
        changes: changes.collect(),
        ip_address: "",
        user: UserDocument::actor(entry),
    }
}

pub(super) async fn list(
    api: &Api,
    context: &Context,
    Request { call, .. }: Request<()>,
) -> Result<Reply<Many<EventLogDocument>>, Failure> {
    let query = &call.query;
    let wanted = EventLogQuery {
        reseller: query.reseller()?,
        before: query.before_number()?,
        text: query.search.clone(),
    };
    let page = log_page(query)?;
    let (logs, count) = api.service.event_logs(context, wanted, page).await?;
    if !query.is_by_page() {
        return Ok(Reply::page(call.format(), logs, document, |last| {
            query.before_entry(last.entry.id, &call.uri)
        }));
    }
    let expected = count.map_or(0, |count| (count - page.skip).clamp(0, page.limit));
    if i64::try_from(logs.rows.len()) != Ok(expected) {
        return Err(too_large());
    }
    log_reply(&call, logs.rows, count, document)
}

pub(super) async fn get(
    api: &Api,
    context: &Context,
    Request {
        id: EntryId(id),
        call,
        ..
    }: Request<EntryId>,
) -> Result<Reply<One<EventLogDocument>>, Failure> {
    let log = api.service.event_log(context, call.query.reseller()?, id);
    Ok(Reply::one(document(&log.await?)))
}

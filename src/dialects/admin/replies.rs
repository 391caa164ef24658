//! The answers of this dialect: envelopes in JSON or XML, with their members in alphabetical order.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::codes::Code;
use crate::dialects::dates;
use crate::dialects::views::{Viewer, blocked_by, facts_in};
use crate::domain::{Account, Block, Hold, Outcome, Status};
use crate::service::{CommandOutcome, JournalEntry};
use crate::wire::{self, Codec};

/// The `error_text` of every success.
pub(super) const SUCCESS: &str = "Successful operation";

/// The envelope of every answer. Members without a value are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Envelope {
    /// What blocks the account now. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<Vec<&'static str>>,
    /// Whether the call changed the account. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    /// The result, if the call has one. In XML, a list is one element per item.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    /// The computed state of the account. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_status: Option<&'static str>,
    /// 0 for a success, else the HTTP status of the error.
    error: u16,
    /// `Successful operation`, or the reason for the error.
    error_text: String,
    /// The number of all accounts that match. Only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<i64>,
}

/// An answer before it is encoded.
#[derive(Debug)]
pub(super) struct Reply {
    envelope: Envelope,
    /// Whether XML has an empty `<data/>` if there is no result. Altcraft leaves it out for some
    /// calls.
    has_data_element: bool,
}

impl Reply {
    fn success() -> Self {
        let envelope = Envelope {
            blocked_by: None,
            changed: None,
            data: None,
            effective_status: None,
            error: 0,
            error_text: SUCCESS.to_owned(),
            total_count: None,
        };
        Self {
            envelope,
            has_data_element: true,
        }
    }

    /// The answer to a change.
    pub(super) fn done(done: &CommandOutcome, verbose: bool) -> Self {
        let mut reply = Self::success();
        if verbose {
            let state = done.account.state(done.at);
            reply.envelope.blocked_by = Some(blocked_by(&state));
            reply.envelope.changed = Some(done.outcome == Outcome::Applied);
            reply.envelope.effective_status = Some(state.effective_status());
        }
        reply
    }

    /// The answer to `freeze`, with the release ticket if the request asked for one.
    pub(super) fn frozen(
        done: &CommandOutcome,
        verbose: bool,
        ticket: Option<&SecretString>,
    ) -> Self {
        let mut reply = Self::done(done, verbose);
        reply.envelope.data =
            ticket.map(|ticket| serde_json::json!({ "release_ticket": ticket.expose_secret() }));
        reply
    }

    /// The answer to a change without a `<data/>` in XML, as Altcraft answers `activate` and
    /// `deactivate`.
    pub(super) fn done_bare(done: &CommandOutcome, verbose: bool) -> Self {
        Self {
            has_data_element: false,
            ..Self::done(done, verbose)
        }
    }

    /// The answer to `save`.
    pub(super) fn saved(done: &CommandOutcome, verbose: bool) -> Self {
        let mut reply = Self::done(done, verbose);
        reply.envelope.data = Some(Value::Object(object(&SavedItem {
            saved_id: done.account.id.as_i32(),
        })));
        reply
    }

    /// An answer with one result.
    pub(super) fn data(data: Value) -> Self {
        let mut reply = Self::success();
        reply.envelope.data = Some(data);
        reply
    }

    /// An answer with a list. `total` is the number of all matching accounts; `None` leaves
    /// `total_count` out.
    pub(super) fn list(items: Vec<Value>, total: Option<i64>) -> Self {
        let mut reply = Self::data(Value::Array(items));
        reply.envelope.total_count = total;
        reply
    }

    /// The answer to a failure.
    pub(super) fn failure(code: &Code) -> Self {
        let mut reply = Self::success();
        reply.has_data_element = false;
        reply.envelope.error = code.error;
        reply.envelope.error_text.clone_from(&code.error_text);
        reply
    }

    /// The encoded answer.
    pub(super) fn encode(mut self, codec: Codec) -> Vec<u8> {
        if codec == Codec::Xml {
            let is_empty = |data: &Value| data.as_array().is_some_and(Vec::is_empty);
            if self.envelope.data.as_ref().is_none_or(is_empty)
                && (self.has_data_element || self.envelope.data.is_some())
            {
                self.envelope.data = Some(Value::Null);
            }
        }
        wire::encode(codec, &self.envelope).unwrap_or_else(|problem| {
            tracing::error!(%problem, "cannot encode an answer; sending an internal error instead");
            match codec {
                Codec::Json => br#"{"error":500,"error_text":"Internal error"}"#.to_vec(),
                Codec::Xml => {
                    b"<xml><error>500</error><error_text>Internal error</error_text></xml>".to_vec()
                }
            }
        })
    }
}

/// The result of `save`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSaved)]
pub(super) struct SavedItem {
    /// The number of the created or changed account.
    saved_id: i32,
}

/// An account as `list` and `get` answer it: Altcraft's members and ours.
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the members of Altcraft's API"
)]
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminAccount)]
pub(super) struct Item {
    /// What blocks the account now. Empty if it may be used.
    blocked_by: Vec<&'static str>,
    company: Option<String>,
    /// The computed state of the account.
    effective_status: &'static str,
    email: Option<String>,
    /// Until this instant the account does not expire, is not purged, and gets no holds from the
    /// system. Absent if the account is not exempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    exempt_until: Option<String>,
    /// When the account expires. Null if it never does.
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_details: Option<FrozenDetailsItem>,
    /// The open holds. Only in `get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<Vec<HoldItem>>,
    id: i32,
    /// Whether the account is switched on (`status` is `active`). Holds and expiry are separate.
    is_active: bool,
    is_frozen: bool,
    is_smart: bool,
    is_subscribers_suspend_all: bool,
    is_suspended: bool,
    is_tariff_exceed: bool,
    name: Option<String>,
    pixels_enabled: bool,
    /// When the account will be purged. Absent if no purge is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    purge_due_at: Option<String>,
    pushes_enabled: bool,
    reports_day: Option<i32>,
    reports_hour: Option<i32>,
    /// The number of the account's plan. Null if it has none.
    tariff_id: Option<i32>,
    timezone: Option<String>,
    title: Option<String>,
    /// The account's UUID.
    uid: String,
    /// A number that each change of the account increases by 1.
    version: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminFrozenDetails)]
struct FrozenDetailsItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_url: Option<String>,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminHold)]
struct HoldItem {
    authority: &'static str,
    /// When the hold ends automatically. Null if it stays until it is lifted.
    ends_at: Option<String>,
    hold_id: String,
    /// Whether the hold has started and not ended.
    in_force: bool,
    kind: &'static str,
    opened_at: String,
    /// The actor that placed the hold.
    opened_by: String,
    payment_url: Option<String>,
    public_message: Option<String>,
    /// The internal reason, shown only to the authority that placed the hold.
    reason: Option<String>,
    reason_code: Option<String>,
    /// When the hold took effect, or will.
    since: String,
    /// When the hold starts. Null if it started at once.
    starts_at: Option<String>,
}

/// An account as `list` answers it.
pub(super) fn item(account: &Account, viewer: Viewer) -> Value {
    let state = account.state(viewer.now);
    let profile = &account.profile;
    let is_frozen = state.is(Block::Frozen);
    let suspended = [
        Block::SuspendedByOperator,
        Block::ResellerSuspended,
        Block::SuspendedByReseller,
    ];
    let item = Item {
        blocked_by: blocked_by(&state),
        company: profile.company.clone(),
        effective_status: state.effective_status(),
        email: profile
            .email
            .as_ref()
            .map(|email| email.as_str().to_owned()),
        exempt_until: account.exempt_until.map(dates::write),
        expires_at: account.expires_at.map(dates::write),
        frozen_details: is_frozen.then(|| FrozenDetailsItem {
            payment_url: account
                .payment_url(viewer.now)
                .map(|url| url.as_str().to_owned()),
        }),
        holds: None,
        id: account.id.as_i32(),
        is_active: account.status == Status::Active,
        is_frozen,
        is_smart: profile.is_smart.unwrap_or_default(),
        is_subscribers_suspend_all: profile.is_subscribers_suspend_all.unwrap_or_default(),
        is_suspended: suspended.into_iter().any(|block| state.is(block)),
        is_tariff_exceed: profile.is_tariff_exceed.unwrap_or_default(),
        name: profile.name.clone(),
        pixels_enabled: profile.pixels_enabled.unwrap_or_default(),
        purge_due_at: account.purge_due_at.map(dates::write),
        pushes_enabled: profile.pushes_enabled.unwrap_or_default(),
        reports_day: profile.reports_day,
        reports_hour: profile.reports_hour,
        tariff_id: profile.tariff_id,
        timezone: profile.timezone.clone(),
        title: profile.title.clone(),
        uid: account.uid.to_string(),
        version: account.version,
    };
    // Members that an earlier `save` stored as extra are returned under their own names, in
    // alphabetical order with ours.
    let mut members = object(&item);
    for (name, value) in profile.extra.iter().flat_map(|extra| &extra.0) {
        members
            .entry(name.clone())
            .or_insert_with(|| serde_json::from_str(value).unwrap_or_default());
    }
    Value::Object(members)
}

/// An account as `get` answers it: with its open holds.
pub(super) fn item_with_holds(account: &Account, viewer: Viewer) -> Value {
    let mut item = item(account, viewer);
    let holds = account
        .holds
        .iter()
        .filter(|hold| !hold.has_lapsed(viewer.now))
        .map(|hold| Value::Object(object(&hold_item(hold, viewer))))
        .collect();
    if let Value::Object(members) = &mut item {
        members.insert("holds".to_owned(), Value::Array(holds));
    }
    item
}

fn hold_item(hold: &Hold, viewer: Viewer) -> HoldItem {
    let details = &hold.details;
    HoldItem {
        authority: hold.authority.as_str(),
        ends_at: details.ends_at.map(dates::write),
        hold_id: hold.id.to_string(),
        in_force: hold.in_force(viewer.now),
        kind: hold.kind.as_str(),
        opened_at: dates::write(hold.opened_at),
        opened_by: hold.opened_by.clone(),
        payment_url: details
            .payment_url
            .as_ref()
            .map(|url| url.as_str().to_owned()),
        public_message: details.public_message.clone(),
        reason: hold.reason_seen_by(viewer.authority).cloned(),
        reason_code: details.reason_code.clone(),
        since: dates::write(hold.since()),
        starts_at: details.starts_at.map(dates::write),
    }
}

/// An entry of the journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminJournalEntry)]
pub(super) struct EntryItem {
    /// The operation, such as `freeze`.
    action: String,
    /// Who made the change.
    actor: String,
    /// The values after the change, of the facts that changed.
    #[schema(value_type = Object)]
    after: Value,
    at: String,
    authority: String,
    /// The values before the change, of the facts that changed.
    #[schema(value_type = Object)]
    before: Value,
    dialect: String,
    events: Vec<String>,
    id: i64,
    /// The outcome: `applied`, `unchanged` or `refused`.
    outcome: String,
    /// Why the operation was refused. Null if it was not.
    refusal: Option<String>,
    request_id: String,
    /// The account's version after the entry. Null if nothing changed.
    sequence: Option<i64>,
}

/// An entry of the journal as `history` answers it.
pub(super) fn entry_item(entry: JournalEntry, codec: Codec) -> Value {
    Value::Object(object(&EntryItem {
        action: entry.action,
        actor: entry.actor,
        after: facts_in(codec, entry.after),
        at: entry.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        authority: entry.authority,
        before: facts_in(codec, entry.before),
        dialect: entry.dialect,
        events: entry.events,
        id: entry.id,
        outcome: entry.outcome,
        refusal: entry.refusal,
        request_id: entry.request_id,
        sequence: entry.sequence,
    }))
}

/// The members of a serialized struct, in alphabetical order.
pub(super) fn object(item: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(item) {
        Ok(Value::Object(members)) => members,
        _ => Map::from_iter(BTreeMap::new()),
    }
}

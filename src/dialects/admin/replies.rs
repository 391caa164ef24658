//! What the answers of this dialect contain: accounts, holds and journal entries.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::documented;
use crate::dialects::dates;
use crate::dialects::views::{Viewer, blocked_by, facts_in, words};
use crate::domain::{Account, Block, Hold, Status};
use crate::service::JournalEntry;
use crate::wire::{Codec, Members, Verbatim};

/// The result of `save`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSaved)]
pub(super) struct SavedItem {
    /// The number of the created or changed account.
    pub(super) saved_id: i32,
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
    #[schema(nullable = false)]
    #[schema(required = false)]
    exempt_until: Option<String>,
    /// When the account expires. Null if it never does.
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    frozen_details: Option<FrozenDetailsItem>,
    /// The open holds. Only in `get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    holds: Option<Vec<HoldItem>>,
    id: i32,
    /// Whether the account is switched on (`status` is `active`). Holds and expiry are separate.
    is_active: bool,
    is_frozen: bool,
    is_smart: bool,
    is_subscribers_suspend_all: bool,
    is_suspended: bool,
    is_tariff_exceed: bool,
    /// What limits the account, as `blocked_by` says what blocks it. Absent if nothing does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    limited_by: Vec<&'static str>,
    /// Texts for your own programs, by name. Absent if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    metadata: BTreeMap<String, String>,
    /// The system name. Empty if it has none.
    name: String,
    pixels_enabled: bool,
    /// When the account will be purged. Absent if no purge is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    #[schema(required = false)]
    purge_due_at: Option<String>,
    pushes_enabled: bool,
    reports_day: Option<i32>,
    reports_hour: Option<i32>,
    /// The strongest level of what is in force: `none`, `warn`, `limit` or `block`.
    restriction: &'static str,
    /// The number of the account's plan. 0 if it has none.
    tariff_id: i32,
    /// The name of its time zone. Empty if it has none of its own.
    timezone: String,
    title: Option<String>,
    /// The account's UUID.
    uid: String,
    /// A number that each change of the account increases by 1.
    version: i64,
    /// What the account's user is warned of. Absent if of nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warned_by: Vec<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminFrozenDetails)]
struct FrozenDetailsItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    /// How far the hold restricts the account: `block`, `limit` or `warn`.
    level: &'static str,
    opened_at: String,
    /// The actor that placed the hold.
    opened_by: String,
    /// For whom the authority holds the account, such as `billing`. Null if for nobody in
    /// particular.
    owner: Option<String>,
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

/// An account as it is written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AccountDocument {
    /// The members of the struct, which stand in alphabetical order. Only in JSON.
    Plain(Box<Item>),
    /// The same members and those that an earlier `save` stored as extra.
    Members(Members),
}

/// An account as `list` answers it.
pub(super) fn item(codec: Codec, account: &Account, viewer: Viewer) -> AccountDocument {
    document(codec, account, viewer, None)
}

/// An account as `get` answers it: with its open holds.
pub(super) fn item_with_holds(codec: Codec, account: &Account, viewer: Viewer) -> AccountDocument {
    let open = account.holds.iter();
    let open = open.filter(|hold| !hold.has_lapsed(viewer.now));
    let holds = open.map(|hold| hold_item(hold, viewer)).collect();
    document(codec, account, viewer, Some(holds))
}

fn document(
    codec: Codec,
    account: &Account,
    viewer: Viewer,
    holds: Option<Vec<HoldItem>>,
) -> AccountDocument {
    let item = item_of(account, viewer, holds);
    let extra = account.profile.extra.as_ref();
    if codec == Codec::Json && extra.is_none_or(|extra| extra.0.is_empty()) {
        return AccountDocument::Plain(Box::new(item));
    }
    // Members that an earlier `save` stored as extra are returned under their own names, in
    // alphabetical order with ours.
    let mut members = Members::of(codec, object(&item));
    for (name, value) in extra.into_iter().flat_map(|extra| &extra.0) {
        match Verbatim::read(value) {
            Ok(value) => members.add_stored(name, &documented::answered(name, value).json()),
            Err(_) => members.add_stored(name, value),
        }
    }
    AccountDocument::Members(members)
}

fn item_of(account: &Account, viewer: Viewer, holds: Option<Vec<HoldItem>>) -> Item {
    let state = account.state(viewer.now);
    let profile = &account.profile;
    let is_frozen = state.is(Block::Frozen);
    let suspended = [
        Block::SuspendedByOperator,
        Block::ResellerSuspended,
        Block::SuspendedByReseller,
    ];
    Item {
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
        holds,
        id: account.id.as_i32(),
        is_active: account.status == Status::Active,
        is_frozen,
        is_smart: profile.is_smart.unwrap_or_default(),
        is_subscribers_suspend_all: profile.is_subscribers_suspend_all.unwrap_or_default(),
        is_suspended: suspended.into_iter().any(|block| state.is(block)),
        is_tariff_exceed: profile.is_tariff_exceed.unwrap_or_default(),
        limited_by: words(state.limited_by()),
        metadata: profile.metadata.clone().unwrap_or_default().0,
        name: profile.name.clone().unwrap_or_default(),
        pixels_enabled: profile.pixels_enabled.unwrap_or_default(),
        purge_due_at: account.purge_due_at.map(dates::write),
        pushes_enabled: profile.pushes_enabled.unwrap_or_default(),
        reports_day: profile.reports_day,
        reports_hour: profile.reports_hour,
        restriction: state.restriction(),
        tariff_id: profile.tariff_id.unwrap_or_default(),
        timezone: profile.timezone.clone().unwrap_or_default(),
        title: profile.title.clone(),
        uid: account.uid.to_string(),
        version: account.version,
        warned_by: words(state.warned_by()),
    }
}

fn hold_item(hold: &Hold, viewer: Viewer) -> HoldItem {
    let details = &hold.details;
    HoldItem {
        authority: hold.authority.as_str(),
        ends_at: details.ends_at.map(dates::write),
        hold_id: hold.id.to_string(),
        in_force: hold.in_force(viewer.now),
        kind: hold.kind.as_str(),
        level: details.level.as_str(),
        opened_at: dates::write(hold.opened_at),
        opened_by: hold.opened_by.clone(),
        owner: hold.owner.as_ref().map(ToString::to_string),
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
pub(super) fn entry_item(entry: &JournalEntry, codec: Codec) -> Value {
    let entry = entry.clone();
    Value::Object(object(&EntryItem {
        action: entry.action,
        actor: entry.actor,
        after: facts_in(codec, facts(entry.after)),
        at: entry.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        authority: entry.authority,
        before: facts_in(codec, facts(entry.before)),
        dialect: entry.dialect,
        events: entry.events,
        id: entry.id,
        outcome: entry.outcome,
        refusal: entry.refusal,
        request_id: entry.request_id,
        sequence: entry.sequence,
    }))
}

/// Facts of the journal as this dialect names them: the status as `is_active`, the id of a hold as
/// `hold_id`. The other names are the same.
fn facts(side: Value) -> Value {
    let Value::Object(facts) = side else {
        return side;
    };
    let named = facts.into_iter().map(|(name, mut value)| {
        if name == "status" {
            let is_active = value.as_str().map(|word| word == Status::Active.as_str());
            return ("is_active".to_owned(), Value::from(is_active));
        }
        if name.contains(':')
            && let Some(hold) = value.as_object_mut()
            && let Some(id) = hold.remove("id")
        {
            hold.insert("hold_id".to_owned(), id);
        }
        (name, value)
    });
    Value::Object(named.collect())
}

/// The members of a serialized struct, in alphabetical order.
pub(super) fn object(item: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(item) {
        Ok(Value::Object(members)) => members,
        _ => Map::from_iter(BTreeMap::new()),
    }
}

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
use crate::service::{CommandOutcome, JournalEntry, Slice};
use crate::wire::{self, Codec, Members, Rows};

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
    #[schema(value_type = Option<Value>)]
    data: Option<Data>,
    /// The computed state of the account. Only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_status: Option<&'static str>,
    /// 0 for a success, else the HTTP status of the error.
    error: u16,
    /// `Successful operation`, or the reason for the error.
    error_text: String,
    /// The `before` of the next page. Only in lists of journal entries that are shorter than their
    /// `limit` because a page has at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<i64>,
    /// The `from_id` of the next page. Only in lists of accounts that are shorter than their `limit`
    /// because a page has at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_from_id: Option<i64>,
    /// The number of all accounts that match. Only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<i64>,
}

/// The result of a call that is not a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Value(Value),
    Members(Members),
}

/// The next page of a list, for a page that ended before its limit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// The list goes on from this account.
    FromId(i64),
    /// The list goes on before this journal entry.
    Before(i64),
}

/// An answer before it is encoded.
#[derive(Debug)]
pub(super) struct Reply {
    envelope: Envelope,
    /// The beginning of the encoded answer, up to the last row, if the result is a list.
    rows: Option<Vec<u8>>,
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
            next_before: None,
            next_from_id: None,
            total_count: None,
        };
        Self {
            envelope,
            rows: None,
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
        reply.envelope.data = ticket.map(|ticket| {
            Data::Value(serde_json::json!({ "release_ticket": ticket.expose_secret() }))
        });
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
        reply.envelope.data = Some(Data::Value(Value::Object(object(&SavedItem {
            saved_id: done.account.id.as_i32(),
        }))));
        reply
    }

    /// An answer with one result.
    pub(super) fn data(data: Value) -> Self {
        let mut reply = Self::success();
        reply.envelope.data = Some(Data::Value(data));
        reply
    }

    /// An answer with one account.
    pub(super) fn account(members: Members) -> Self {
        let mut reply = Self::success();
        reply.envelope.data = Some(Data::Members(members));
        reply
    }

    /// An answer with a list that is always whole, because it is always smaller than a page.
    pub(super) fn list(codec: Codec, items: Vec<Value>) -> Self {
        Self::written(codec, items, Value::clone, |_, _| {
            Err("a list without pages is larger than a page".to_owned())
        })
    }

    /// An answer with a page of a list. The page ends at [`MAX_PAGE`](wire::MAX_PAGE) bytes, even if
    /// more rows were read. If it has fewer rows than its `limit` and more may follow, `next` makes
    /// the position after the last row that was written.
    pub(super) fn page<R, D: Serialize>(
        codec: Codec,
        rows: Slice<R>,
        limit: i64,
        document: impl FnMut(&R) -> D,
        next: impl Fn(&R) -> Next,
    ) -> Self {
        let is_short = i64::try_from(rows.rows.len()).is_ok_and(|found| found < limit);
        let last = rows
            .rows
            .last()
            .map(&next)
            .filter(|_| is_short && rows.has_more);
        let mut reply = Self::written(codec, rows.rows, document, |reply, last| {
            reply.goes_on(next(last));
            Ok(())
        });
        if reply
            .envelope
            .next_before
            .or(reply.envelope.next_from_id)
            .is_none()
            && let Some(last) = last
        {
            reply.goes_on(last);
        }
        reply
    }

    fn goes_on(&mut self, next: Next) {
        match next {
            Next::FromId(id) => self.envelope.next_from_id = Some(id),
            Next::Before(id) => self.envelope.next_before = Some(id),
        }
    }

    /// An answer with a list. If not all rows fit, `cut` gets the last row that was written.
    fn written<R, D: Serialize>(
        codec: Codec,
        rows: Vec<R>,
        document: impl FnMut(&R) -> D,
        cut: impl FnOnce(&mut Self, &R) -> Result<(), String>,
    ) -> Self {
        let mut reply = Self::success();
        let begin = match (codec, rows.is_empty()) {
            (Codec::Json, _) => r#"{"data":["#,
            (Codec::Xml, false) => "<xml>",
            (Codec::Xml, true) => "<xml><data/>",
        };
        let written = Rows::encode(codec, begin, "data", rows, document).and_then(|page| {
            if let Some(last) = page.last.as_ref().filter(|_| page.is_cut) {
                cut(&mut reply, last)?;
            }
            Ok(page.finish(""))
        });
        match written {
            Ok(rows) => reply.rows = Some(rows),
            Err(problem) => {
                tracing::error!(%problem, "cannot write a list; sending an internal error instead");
                reply.envelope.error = 500;
                "Internal error".clone_into(&mut reply.envelope.error_text);
            }
        }
        reply
    }

    /// Adds the number of all accounts that match.
    pub(super) fn with_total(mut self, total: Option<i64>) -> Self {
        self.envelope.total_count = total;
        self
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
        let rows = self.rows.take();
        if codec == Codec::Xml
            && rows.is_none()
            && self.envelope.data.is_none()
            && self.has_data_element
        {
            self.envelope.data = Some(Data::Value(Value::Null));
        }
        let envelope = wire::encode(codec, &self.envelope);
        let envelope = match (rows, envelope) {
            (Some(rows), Ok(envelope)) => Ok(after_rows(codec, rows, &envelope)),
            (_, envelope) => envelope,
        };
        envelope.unwrap_or_else(|problem| {
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

/// The rows of a list, and the members of the envelope after them.
fn after_rows(codec: Codec, mut rows: Vec<u8>, envelope: &[u8]) -> Vec<u8> {
    let (begin, end): (&[u8], &[u8]) = match codec {
        Codec::Json => (b"{", b"],"),
        Codec::Xml => (b"<xml>", b""),
    };
    rows.extend_from_slice(end);
    rows.extend_from_slice(envelope.strip_prefix(begin).unwrap_or(envelope));
    rows
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
pub(super) fn item(codec: Codec, account: &Account, viewer: Viewer) -> Members {
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
    let mut members = Members::of(codec, object(&item));
    for (name, value) in profile.extra.iter().flat_map(|extra| &extra.0) {
        members.add_stored(name, value);
    }
    members
}

/// An account as `get` answers it: with its open holds.
pub(super) fn item_with_holds(codec: Codec, account: &Account, viewer: Viewer) -> Members {
    let mut item = item(codec, account, viewer);
    let holds = account
        .holds
        .iter()
        .filter(|hold| !hold.has_lapsed(viewer.now))
        .map(|hold| Value::Object(object(&hold_item(hold, viewer))))
        .collect();
    item.set("holds", Value::Array(holds));
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
pub(super) fn entry_item(entry: &JournalEntry, codec: Codec) -> Value {
    let entry = entry.clone();
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

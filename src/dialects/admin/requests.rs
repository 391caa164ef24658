//! The requests of this dialect, as they come over the wire, and what they ask of the service.
//!
//! `token`, `format` and `verbose`, which every call has, are read apart ([`Common`]): a call without a token is
//! told so whatever else is wrong with it.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::dialects::dates;
use crate::domain::{
    AccountFilter, AccountId, Authority, Email, Error, Extra, HoldId, HoldPatch, Patch, PaymentUrl, ProfilePatch, ResellerId, Revision, StateFilter,
    Status, Time,
};
use crate::wire::{Codec, Field, object};

/// How a request is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// What it is written in.
    pub(super) codec: Codec,
    /// The time zone of dates that name none.
    pub(super) zone: Tz,
}

/// What every call may carry.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Common)]
pub(super) struct Common {
    /// The API token, unless it stands in the `Authorization` header.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) token: Option<secrecy::SecretString>,
    /// How the answer is written: `json` or `xml`; the request's own format if absent.
    pub(super) format: Option<String>,
    /// Whether the answer to a change says `changed`, `effective_status` and `blocked_by`.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) verbose: bool,
}

/// A call about one account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Target {
    /// The account, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    id: i64,
}

impl Target {
    pub(super) fn account(&self) -> Result<AccountId, Error> {
        AccountId::new(self.id)
    }
}

/// Freezes an account: payment is due.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Freeze {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// What the blocked user is shown.
    #[serde(default, deserialize_with = "object")]
    frozen_details: Option<FrozenDetails>,
    /// For programs, at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason_code: Field<String>,
    /// For the staff, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Field<String>,
    /// For the user, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    public_message: Field<String>,
    /// When the freeze ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ends_at: Field<String>,
}

/// The details of a freeze.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct FrozenDetails {
    /// Where the user pays: an absolute https or http URL of at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    public_message: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ends_at: Field<String>,
    /// Text where XML should have elements.
    #[serde(default, rename = "$text")]
    #[schema(ignore)]
    stray_text: Option<String>,
}

impl Freeze {
    pub(super) fn details(self, read: Reading) -> Result<HoldPatch, Error> {
        let inner = self.frozen_details.unwrap_or_default();
        if inner.stray_text.is_some_and(|text| !text.trim().is_empty()) {
            return Err(Error::invalid("frozen_details", "must be an object"));
        }
        Ok(HoldPatch {
            reason_code: text(either("reason_code", self.reason_code, inner.reason_code)?, read),
            reason: text(either("reason", self.reason, inner.reason)?, read),
            public_message: text(either("public_message", self.public_message, inner.public_message)?, read),
            payment_url: parsed(inner.payment_url, read, |url| PaymentUrl::parse(&url))?,
            starts_at: Patch::Keep,
            ends_at: time("ends_at", either("ends_at", self.ends_at, inner.ends_at)?, read)?,
        })
    }
}

/// Lifts the caller's freeze.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Unfreeze {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// Only if this freeze is the one that is open.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Field<String>,
}

impl Unfreeze {
    pub(super) fn only(self, read: Reading) -> Result<Option<HoldId>, Error> {
        let parsed = parsed(self.hold_id, read, |id| Uuid::parse_str(&id).map_err(|_| Error::invalid("hold_id", "must be a UUID")))?;
        Ok(parsed.value().copied().map(HoldId))
    }
}

/// Suspends an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Suspend {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// For programs, at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason_code: Field<String>,
    /// For the staff, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Field<String>,
    /// For the user, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    public_message: Field<String>,
    /// When it begins; at once if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    starts_at: Field<String>,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ends_at: Field<String>,
}

impl Suspend {
    pub(super) fn details(self, read: Reading) -> Result<HoldPatch, Error> {
        Ok(HoldPatch {
            reason_code: text(self.reason_code, read),
            reason: text(self.reason, read),
            public_message: text(self.public_message, read),
            payment_url: Patch::Keep,
            starts_at: time("starts_at", self.starts_at, read)?,
            ends_at: time("ends_at", self.ends_at, read)?,
        })
    }
}

/// Sets the switch.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetStatus {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// `active` or `inactive`.
    status: String,
}

impl SetStatus {
    pub(super) fn status(&self) -> Result<Status, Error> {
        Status::parse(&self.status).ok_or_else(|| Error::invalid("status", "must be active or inactive"))
    }
}

/// Moves the expiry date.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetExpiry {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// A date (the end of that day in the reseller's time zone), a date and time, or null (in XML an empty element) for never.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = true)]
    expiry_date: Field<String>,
}

impl SetExpiry {
    pub(super) fn expires_at(self, read: Reading) -> Result<Option<Time>, Error> {
        match time("expires_at", self.expiry_date, read)? {
            Patch::Keep => Err(Error::invalid("expires_at", "is required; null for never")),
            Patch::Clear => Ok(None),
            Patch::Set(at) => Ok(Some(at)),
        }
    }
}

/// Lists accounts by identity.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct List {
    /// The first identity; 1 if absent.
    from_id: Option<i64>,
    /// How many, 1 to 1000; 1000 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `active`, `suspended`, or one of the words of `blocked_by`: the accounts that this blocks.
    state: Option<String>,
    /// `operator`, `reseller` or `system`: the accounts that a hold of this authority blocks.
    held_by: Option<String>,
    /// The accounts that expire before this.
    expires_before: Option<String>,
    /// The accounts that expire at this or later.
    expires_after: Option<String>,
    /// The accounts with this text in name, title, e-mail or company, ignoring case.
    q: Option<String>,
}

impl List {
    pub(super) fn page(&self) -> Result<(AccountId, i64), Error> {
        let from = self.from_id.unwrap_or(1).max(1);
        let from = AccountId::new(from).map_err(|_| Error::invalid("from_id", "must be at most 2147483647"))?;
        if self.from_id.is_some_and(|from| from < 0) {
            return Err(Error::invalid("from_id", "must not be negative"));
        }
        Ok((from, limit(self.limit, 1_000, 1_000)?))
    }

    pub(super) fn filter(self, zone: Tz) -> Result<AccountFilter, Error> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let authority = |word: String| Authority::parse(&word).ok_or_else(|| Error::invalid("held_by", "must be operator, reseller or system"));
        let date = |field, text: String| dates::parse(&text, zone).map_err(|problem| Error::invalid(field, problem));
        Ok(AccountFilter {
            state: given(self.state).map(|word| StateFilter::parse(&word)).transpose()?,
            held_by: given(self.held_by).map(authority).transpose()?,
            expires_before: given(self.expires_before).map(|text| date("expires_before", text)).transpose()?,
            expires_after: given(self.expires_after).map(|text| date("expires_after", text)).transpose()?,
            text: given(self.q)
                .map(|text| if text.contains('\0') { Err(Error::invalid("q", "must not contain control characters")) } else { Ok(text) })
                .transpose()?,
        })
    }
}

/// Creates an account, or with `id` changes one.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Save {
    /// The account to change; without it one is created.
    pub(super) id: Option<i64>,
    /// Of which reseller; with an operator's token only.
    pub(super) reseller_id: Option<i64>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    title: Field<String>,
    /// The name of a time zone, such as `Europe/Berlin`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tz: Field<String>,
    /// The number of a tariff.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    tariff: Field<i32>,
    /// 0 to 31.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    reports_day: Field<i32>,
    /// 0 to 23.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    reports_hour: Field<i32>,
    /// Unique per reseller, ignoring case.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    company: Field<String>,
    is_active: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_smart: Field<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_subscribers_suspend_all: Field<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_tariff_exceed: Field<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pixels_enabled: Field<bool>,
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pushes_enabled: Field<bool>,
    /// As in `expiry_date` of the call of that name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    expiry_date: Field<String>,
}

/// The members of a `save` that are read, and those of an account that are computed: everything else that a `save`
/// names is kept as it is and returned.
const KNOWN: [&str; 37] = [
    "token",
    "format",
    "verbose",
    "id",
    "reseller_id",
    "name",
    "title",
    "tz",
    "tariff",
    "reports_day",
    "reports_hour",
    "email",
    "company",
    "is_active",
    "is_smart",
    "is_subscribers_suspend_all",
    "is_tariff_exceed",
    "pixels_enabled",
    "pushes_enabled",
    "expiry_date",
    "blocked_by",
    "effective_status",
    "expires_at",
    "frozen_details",
    "holds",
    "is_frozen",
    "is_suspended",
    "tariff_id",
    "timezone",
    "uid",
    "version",
    "error",
    "error_text",
    "data",
    "total_count",
    "changed",
    "saved_id",
];
/// The most other members that a `save` may name.
const MAX_EXTRA: usize = 64;

impl Save {
    pub(super) fn account(&self) -> Result<Option<AccountId>, Error> {
        self.id.map(AccountId::new).transpose()
    }

    pub(super) fn reseller(&self) -> Option<ResellerId> {
        self.reseller_id.map(ResellerId)
    }

    /// What is to be changed; `members` are all members of the body. On creation six members are required.
    pub(super) fn revision(self, members: Map<String, Value>, read: Reading) -> Result<Revision, Error> {
        if self.id.is_none() {
            let texts = [("name", &self.name), ("title", &self.title), ("tz", &self.tz)];
            let numbers = [("tariff", &self.tariff), ("reports_day", &self.reports_day), ("reports_hour", &self.reports_hour)];
            let missing = texts.iter().find(|(_, value)| !matches!(value, Field::Value(_))).map(|(name, _)| *name);
            let missing = missing.or_else(|| numbers.iter().find(|(_, value)| !matches!(value, Field::Value(_))).map(|(name, _)| *name));
            if let Some(name) = missing {
                return Err(Error::invalid(name, "is required"));
            }
        }
        let profile = ProfilePatch {
            name: text(self.name, read),
            title: text(self.title, read),
            timezone: text(self.tz, read),
            tariff_id: plain(self.tariff),
            reports_day: plain(self.reports_day),
            reports_hour: plain(self.reports_hour),
            email: parsed(self.email, read, |email| Email::parse(&email))?,
            company: text(self.company, read),
            is_smart: plain(self.is_smart),
            is_subscribers_suspend_all: plain(self.is_subscribers_suspend_all),
            is_tariff_exceed: plain(self.is_tariff_exceed),
            pixels_enabled: plain(self.pixels_enabled),
            pushes_enabled: plain(self.pushes_enabled),
            extra: extra(members)?,
            ..ProfilePatch::default()
        };
        let expires_at = match time("expires_at", self.expiry_date, read)? {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(at) => Some(Some(at)),
        };
        let status = self.is_active.map(|on| if on { Status::Active } else { Status::Inactive });
        Ok(Revision { profile, status, expires_at })
    }
}

/// The history of an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct History {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// Only entries older than this one.
    pub(super) before: Option<i64>,
    /// How many, 1 to 1000; 100 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

impl History {
    pub(super) fn limit(&self) -> Result<i64, Error> {
        limit(self.limit, 100, 1_000)
    }
}

fn limit(asked: Option<i64>, default: i64, max: i64) -> Result<i64, Error> {
    let limit = asked.unwrap_or(default);
    if (1..=max).contains(&limit) { Ok(limit) } else { Err(Error::invalid("limit", format!("must be between 1 and {max}"))) }
}

/// A member that may stand in either of two places, but not in both.
fn either(name: &'static str, outer: Field<String>, inner: Field<String>) -> Result<Field<String>, Error> {
    match (outer, inner) {
        (outer, Field::Absent) => Ok(outer),
        (Field::Absent, inner) => Ok(inner),
        _ => Err(Error::invalid(name, "stands both beside and inside frozen_details")),
    }
}

fn plain<T>(field: Field<T>) -> Patch<T> {
    match field {
        Field::Absent => Patch::Keep,
        Field::Null => Patch::Clear,
        Field::Value(value) => Patch::Set(value),
    }
}

fn text(field: Field<String>, read: Reading) -> Patch<String> {
    plain(field.in_codec(read.codec))
}

fn parsed<T>(field: Field<String>, read: Reading, parse: impl FnOnce(String) -> Result<T, Error>) -> Result<Patch<T>, Error> {
    Ok(match field.in_codec(read.codec) {
        Field::Absent => Patch::Keep,
        Field::Null => Patch::Clear,
        Field::Value(written) => Patch::Set(parse(written)?),
    })
}

fn time(name: &'static str, field: Field<String>, read: Reading) -> Result<Patch<Time>, Error> {
    parsed(field, read, |written| dates::parse(&written, read.zone).map_err(|problem| Error::invalid(name, problem)))
}

/// The members that are not ours. They must be such as XML can say too.
fn extra(members: Map<String, Value>) -> Result<Patch<Extra>, Error> {
    let others: BTreeMap<String, Value> = members.into_iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).collect();
    if others.is_empty() {
        return Ok(Patch::Keep);
    }
    if others.len() > MAX_EXTRA {
        return Err(Error::invalid("save", format!("has more than {MAX_EXTRA} members of its own")));
    }
    if !others.iter().all(|(name, value)| is_name(name) && is_fit(value, 0)) {
        return Err(Error::invalid(
            "save",
            "has a member of its own whose name is not 1 to 64 letters, digits and underscores, that is nested too deep, or that has control characters",
        ));
    }
    Ok(Patch::Set(Extra(others.into_iter().map(|(name, value)| (name, value.to_string())).collect())))
}

fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= 64 && name.starts_with(is_start) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_fit(value: &Value, depth: u8) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.chars().all(|c| matches!(c, '\n' | '\r' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))),
        Value::Array(values) => depth < 8 && values.iter().all(|value| !value.is_array() && is_fit(value, depth + 1)),
        Value::Object(members) => depth < 8 && members.iter().all(|(name, value)| is_name(name) && is_fit(value, depth + 1)),
    }
}

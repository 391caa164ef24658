//! The requests of this dialect, as they come over the wire, and what they ask of the service.
//!
//! `token`, `format` and `verbose`, which every call has, are read apart ([`Common`]): a call without a token is
//! told so whatever else is wrong with it.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::dialects::dates;
use crate::dialects::patches::{Reading, mentioned_time, only_hold, parsed, text, time};
use crate::domain::{
    AccountFilter, AccountId, Authority, Error, HoldId, HoldPatch, Patch, PaymentUrl, StateFilter,
    Status, Time,
};
use crate::wire::{self, Codec, Field, object};

/// What every call may carry.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Common)]
pub(super) struct Common {
    /// The API token, unless it stands in the `Authorization` header: described as the one way to authenticate.
    #[schema(ignore)]
    pub(super) token: Option<secrecy::SecretString>,
    /// How the answer is written: `json` or `xml`; the request's own format if absent.
    #[schema(pattern = "^(json|xml)$")]
    pub(super) format: Option<String>,
    /// Whether the answer to a change says `changed`, `effective_status` and `blocked_by`.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) verbose: bool,
}

impl Common {
    /// The format that the body asks for; an empty element in XML asks for none.
    pub(super) fn format(&self, codec: Codec) -> Result<Option<Codec>, wire::Error> {
        let word = self.format.as_deref();
        let Some(word) = word.filter(|word| codec == Codec::Json || !word.is_empty()) else {
            return Ok(None);
        };
        let unknown = || wire::Error::Malformed {
            field: "format".to_owned(),
            problem: "must be json or xml".to_owned(),
        };
        Codec::parse(word).map(Some).ok_or_else(unknown)
    }
}

/// Reads one account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Get {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// As it was then: a date and time in the past; as it is now if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    as_of: Field<String>,
}

impl Get {
    pub(super) fn as_of(&self, read: Reading) -> Result<Option<Time>, Error> {
        Ok(time("as_of", self.as_of.clone(), read)?.value().copied())
    }
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
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    /// For the staff, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    /// For the user, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    /// When the freeze ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
    /// Whether the answer has a ticket with which whoever collects the payment lifts the freeze.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) release_ticket: bool,
}

/// The details of a freeze.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct FrozenDetails {
    /// Where the user pays: an absolute https or http URL of at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^https?://[A-Za-z][A-Za-z0-9]*([.-][A-Za-z0-9]+)*(:[0-9]{1,4})?(/[A-Za-z0-9._~-]*)*$")]
    pub(super) payment_url: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
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
            reason_code: text(
                either("reason_code", self.reason_code, inner.reason_code)?,
                read,
            ),
            reason: text(either("reason", self.reason, inner.reason)?, read),
            public_message: text(
                either("public_message", self.public_message, inner.public_message)?,
                read,
            ),
            payment_url: parsed(inner.payment_url, read, |url| PaymentUrl::parse(&url))?,
            starts_at: Patch::Keep,
            ends_at: time(
                "ends_at",
                either("ends_at", self.ends_at, inner.ends_at)?,
                read,
            )?,
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
        only_hold(self.hold_id, read)
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
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    /// For the staff, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    /// For the user, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    /// When it begins; at once if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    /// When it ends by itself.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
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
    #[schema(pattern = "^(active|inactive)$")]
    status: String,
}

impl SetStatus {
    pub(super) fn status(&self) -> Result<Status, Error> {
        Status::parse(&self.status)
            .ok_or_else(|| Error::invalid("status", "must be active or inactive"))
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
    #[schema(value_type = Option<String>, required = true, format = DateTime, min_length = 1)]
    expiry_date: Field<String>,
}

impl SetExpiry {
    pub(super) fn expires_at(self, read: Reading) -> Result<Option<Time>, Error> {
        mentioned_time("expires_at", self.expiry_date, read, "never")
    }
}

/// Has automation leave an account alone.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetExemption {
    /// The account.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// A date (the end of that day in the reseller's time zone), a date and time, or null (in XML an empty element) for no longer.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = true, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
}

impl SetExemption {
    pub(super) fn exempt_until(self, read: Reading) -> Result<Option<Time>, Error> {
        mentioned_time("exempt_until", self.exempt_until, read, "no longer")
    }
}

/// Lists accounts by identity.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct List {
    /// The first identity; 1 if absent.
    #[schema(minimum = 0, maximum = 2_147_483_647_u32)]
    from_id: Option<i64>,
    /// How many, 1 to 1000; 1000 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `active`, `suspended`, or one of the words of `blocked_by`: the accounts that this blocks.
    #[schema(
        pattern = "^(active|suspended|deleted|suspended:operator|suspended:reseller_account|suspended:reseller|inactive|frozen|expired)$"
    )]
    state: Option<String>,
    /// `operator`, `reseller` or `system`: the accounts that a hold of this authority blocks.
    #[schema(pattern = "^(operator|reseller|system)$")]
    held_by: Option<String>,
    /// The accounts that expire before this.
    #[schema(format = DateTime, min_length = 1)]
    expires_before: Option<String>,
    /// The accounts that expire at this or later.
    #[schema(format = DateTime, min_length = 1)]
    expires_after: Option<String>,
    /// The accounts with this text in name, title, e-mail or company, ignoring case.
    q: Option<String>,
    /// As they were then: a date and time in the past; not together with a filter, and without `total_count`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    as_of: Field<String>,
}

impl List {
    pub(super) fn page(&self) -> Result<(AccountId, i64), Error> {
        let from = self.from_id.unwrap_or(1).max(1);
        let from = AccountId::new(from)
            .map_err(|_| Error::invalid("from_id", "must be at most 2147483647"))?;
        if self.from_id.is_some_and(|from| from < 0) {
            return Err(Error::invalid("from_id", "must not be negative"));
        }
        Ok((from, limit(self.limit, 1_000, 1_000)?))
    }

    /// The instant as of which it lists, if one is named.
    pub(super) fn as_of(&self, read: Reading) -> Result<Option<Time>, Error> {
        let at = time("as_of", self.as_of.clone(), read)?.value().copied();
        let filters = [
            &self.state,
            &self.held_by,
            &self.expires_before,
            &self.expires_after,
            &self.q,
        ];
        if at.is_some() && filters.iter().any(|filter| filter.is_some()) {
            return Err(Error::invalid("as_of", "cannot be combined with a filter"));
        }
        Ok(at)
    }

    pub(super) fn filter(self, read: Reading) -> Result<AccountFilter, Error> {
        let zone = read.zone;
        // An empty element says nothing; an empty text in JSON is a mistake.
        let given = |text: Option<String>| {
            text.filter(|text| read.codec == Codec::Json || !text.is_empty())
        };
        let authority = |word: String| {
            Authority::parse(&word)
                .ok_or_else(|| Error::invalid("held_by", "must be operator, reseller or system"))
        };
        let date = |field, text: String| {
            dates::parse(&text, zone).map_err(|problem| Error::invalid(field, problem))
        };
        Ok(AccountFilter {
            state: given(self.state)
                .map(|word| StateFilter::parse(&word))
                .transpose()?,
            held_by: given(self.held_by).map(authority).transpose()?,
            expires_before: given(self.expires_before)
                .map(|text| date("expires_before", text))
                .transpose()?,
            expires_after: given(self.expires_after)
                .map(|text| date("expires_after", text))
                .transpose()?,
            text: given(self.q)
                .map(|text| {
                    if text.contains('\0') {
                        Err(Error::invalid("q", "must not contain control characters"))
                    } else {
                        Ok(text)
                    }
                })
                .transpose()?,
        })
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
    if (1..=max).contains(&limit) {
        Ok(limit)
    } else {
        Err(Error::invalid(
            "limit",
            format!("must be between 1 and {max}"),
        ))
    }
}

/// A member that may stand in either of two places, but not in both.
fn either(
    name: &'static str,
    outer: Field<String>,
    inner: Field<String>,
) -> Result<Field<String>, Error> {
    match (outer, inner) {
        (outer, Field::Absent) => Ok(outer),
        (Field::Absent, inner) => Ok(inner),
        _ => Err(Error::invalid(
            name,
            "stands both beside and inside frozen_details",
        )),
    }
}

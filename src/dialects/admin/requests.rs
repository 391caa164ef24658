//! The request types of this dialect, and their conversion to the service's types.
//!
//! The dispatcher decodes `token`, `format` and `verbose` ([`Common`]) before the other members, so
//! that a missing token is reported first.

use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::dialects::dates::Role;
use crate::dialects::filter::FilterMembers;
use crate::dialects::patches::{
    Reading, level, only_hold, owner, parsed, plain, required_time, time,
};
use crate::domain::{
    AccountFilter, AccountId, Command, Error, HoldKind, HoldPatch, Metadata, Owner, Patch,
    PaymentUrl, Status, Time, ZoneConditions, quoted,
};
use crate::wire::{self, Codec, Field};

/// The members that every call accepts.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Common)]
pub(super) struct Common {
    /// The API token, unless the `Authorization` header has it. The OpenAPI document leaves it out
    /// and describes the header instead.
    #[schema(ignore)]
    pub(super) token: Option<secrecy::SecretString>,
    /// The format of the answer: `json` or `xml`. If absent, the request's own format.
    #[schema(pattern = "^(json|xml)$")]
    pub(super) format: Option<String>,
    /// Whether the answer to a change includes `changed`, `effective_status` and `blocked_by`.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) verbose: bool,
}

/// The members of [`Common`].
pub(super) const COMMON: [&str; 3] = ["token", "format", "verbose"];

impl Common {
    /// The format that the body names. `None` if it names none, or in XML if the element is empty.
    pub(super) fn format(&self, codec: Codec) -> Result<Option<Codec>, wire::Error> {
        let word = self.format.as_deref();
        let Some(word) = word.filter(|word| codec == Codec::Json || !word.is_empty()) else {
            return Ok(None);
        };
        let unknown = || wire::Error::Malformed {
            field: "format".to_owned(),
            problem: format!("must be json or xml, not {}", quoted(word)),
        };
        Codec::parse(word).map(Some).ok_or_else(unknown)
    }
}

/// Reads one account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Get {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// Read the account as it was at this date and time in the past; a date alone means the end of
    /// that day, and today means now. If absent, as it is now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    as_of: Field<String>,
}

impl Get {
    pub(super) fn as_of(&self, read: Reading, now: Time) -> Result<Option<Time>, Error> {
        let at = time("as_of", Role::AsOf(now), self.as_of.clone(), read)?;
        Ok(at.value().copied())
    }
}

/// Names one account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Target {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    id: i64,
}

impl Target {
    pub(super) fn account(&self) -> Result<AccountId, Error> {
        AccountId::new(self.id)
    }
}

/// Freezes an account because a payment is due.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Freeze {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// The details of the freeze. The payment URL stands only here; the others may also stand
    /// beside it.
    #[serde(default)]
    frozen_details: Option<FrozenDetails>,
    /// A code for programs, at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    /// The internal reason, for the staff; at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    /// The message that the blocked user sees, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    /// For whom the hold is placed, such as `billing`. Holds of different owners stand side by side,
    /// and only the same owner lifts its own. A token that is bound to an owner always acts for it.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
    /// `block` (the default) blocks the account; `limit` asks the product to let it only read;
    /// `warn` closes nothing; the product shows its user a warning.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(block|limit|warn)$")]
    level: Field<String>,
    /// When the freeze starts: a date (its first second) or a date and time. If absent, at once; a
    /// freeze that blocks already keeps its begin.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    /// When the freeze ends automatically: a date (its last second) or a date and time. If absent,
    /// it stays until it is lifted, also if an earlier call gave it an end.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
    /// Whether the answer includes a release ticket, with which a payment service can lift the
    /// freeze without a token.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) release_ticket: bool,
}

/// The details of a freeze.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct FrozenDetails {
    /// Where the user pays: an absolute http or https URL of at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#\\\\@]+([/?#][^\\s\\\\]*)?$")]
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
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(block|limit|warn)$")]
    level: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
}

impl Freeze {
    /// The owner and the details.
    pub(super) fn details(self, read: Reading) -> Result<(Option<Owner>, HoldPatch), Error> {
        let inner = self.frozen_details.unwrap_or_default();
        let owner = owner(either("owner", self.owner, inner.owner)?, read)?;
        let details = HoldPatch {
            level: level(either("level", self.level, inner.level)?, read)?,
            reason_code: plain(either("reason_code", self.reason_code, inner.reason_code)?),
            reason: plain(either("reason", self.reason, inner.reason)?),
            public_message: plain(either(
                "public_message",
                self.public_message,
                inner.public_message,
            )?),
            payment_url: parsed(inner.payment_url, read, |url| PaymentUrl::parse(&url))?,
            starts_at: time(
                "starts_at",
                Role::Begin,
                either("starts_at", self.starts_at, inner.starts_at)?,
                read,
            )?,
            ends_at: time(
                "ends_at",
                Role::End,
                either("ends_at", self.ends_at, inner.ends_at)?,
                read,
            )?,
        };
        Ok((owner, details))
    }
}

/// Lifts the caller's freeze, suspension or retention.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Lift {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// Lift only the hold with this id. If absent, the open one is lifted.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Field<String>,
    /// Lift the hold of this owner. If absent, the hold of no owner in particular. A token that is
    /// bound to an owner always lifts its own.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
}

impl Lift {
    /// The command that lifts the hold.
    pub(super) fn command(self, kind: HoldKind, read: Reading) -> Result<Command, Error> {
        Ok(Command::Lift {
            kind,
            owner: owner(self.owner, read)?,
            only: only_hold(self.hold_id, read)?,
        })
    }
}

/// Suspends an account, or places a retention hold.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Suspend {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// A code for programs, at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    reason_code: Field<String>,
    /// The internal reason, for the staff; at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    reason: Field<String>,
    /// The message that the blocked user sees, at most 2048 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 2048)]
    public_message: Field<String>,
    /// For whom the hold is placed, such as `billing`. Holds of different owners stand side by side,
    /// and only the same owner lifts its own. A token that is bound to an owner always acts for it.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Field<String>,
    /// `block` (the default) blocks the account; `limit` asks the product to let it only read;
    /// `warn` closes nothing; the product shows its user a warning.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^(block|limit|warn)$")]
    level: Field<String>,
    /// When the hold starts: a date (its first second) or a date and time. If absent, at once; a
    /// hold that blocks already keeps its begin.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    starts_at: Field<String>,
    /// When the hold ends automatically: a date (its last second) or a date and time. If absent, it
    /// stays until it is lifted, also if an earlier call gave it an end.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    ends_at: Field<String>,
}

impl Suspend {
    /// The owner and the details.
    pub(super) fn details(self, read: Reading) -> Result<(Option<Owner>, HoldPatch), Error> {
        let details = HoldPatch {
            level: level(self.level, read)?,
            reason_code: plain(self.reason_code),
            reason: plain(self.reason),
            public_message: plain(self.public_message),
            payment_url: Patch::Keep,
            starts_at: time("starts_at", Role::Begin, self.starts_at, read)?,
            ends_at: time("ends_at", Role::End, self.ends_at, read)?,
        };
        Ok((owner(self.owner, read)?, details))
    }
}

/// Activates or deactivates an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetStatus {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// `active` or `inactive`.
    #[schema(pattern = "^(active|inactive)$")]
    status: String,
}

impl SetStatus {
    pub(super) fn status(&self) -> Result<Status, Error> {
        Status::parse(&self.status)
            .ok_or_else(|| Error::must_be("status", "active or inactive", &self.status))
    }
}

/// Changes the expiry date.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetExpiry {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// A date (the end of that day in the reseller's time zone) or a date and time. Null, in XML an
    /// empty element, means the account never expires.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = true, format = DateTime, min_length = 1)]
    expiry_date: Field<String>,
}

impl SetExpiry {
    pub(super) fn expires_at(self, read: Reading) -> Result<Option<Time>, Error> {
        required_time("expires_at", self.expiry_date, read, "never")
    }
}

/// Exempts an account from automation.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SetExemption {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// A date (the end of that day in the reseller's time zone) or a date and time. Null, in XML an
    /// empty element, ends the exemption.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = true, format = DateTime, min_length = 1)]
    exempt_until: Field<String>,
}

impl SetExemption {
    pub(super) fn exempt_until(self, read: Reading) -> Result<Option<Time>, Error> {
        required_time("exempt_until", self.exempt_until, read, "no longer")
    }
}

/// Lists accounts by number.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct List {
    /// The lowest account number to list. If absent, 1.
    #[schema(minimum = 0, maximum = 2_147_483_647_u32)]
    from_id: Option<i64>,
    /// The length of the page, 1 to 1000. If absent, 1000.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Only accounts in this state: `active`, `suspended`, or one of the values of `blocked_by`,
    /// which selects the accounts that it blocks.
    #[schema(
        pattern = "^(active|suspended|deleted|suspended:operator|suspended:reseller_account|suspended:reseller|inactive|frozen|expired)$"
    )]
    state: Option<String>,
    /// Only accounts that a hold of this authority blocks, limits or warns: `operator`, `reseller`
    /// or `system`.
    #[schema(pattern = "^(operator|reseller|system)$")]
    held_by: Option<String>,
    /// Only accounts that a hold of this owner blocks, limits or warns, such as `billing`.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    owner: Option<String>,
    /// Only accounts whose strongest hold in force has this level: `block`, `limit` or `warn`. With
    /// `held_by` or `owner`, the strongest of their holds.
    #[schema(pattern = "^(block|limit|warn)$")]
    level: Option<String>,
    /// Only accounts that expire before this instant, or before this day.
    #[schema(format = DateTime, min_length = 1)]
    expires_before: Option<String>,
    /// Only accounts that expire at this instant or later; for a date alone, from the begin of that
    /// day on.
    #[schema(format = DateTime, min_length = 1)]
    expires_after: Option<String>,
    /// Only accounts with this text in name, title, e-mail or company, ignoring case.
    q: Option<String>,
    /// List the accounts as they were at this date and time in the past; a date alone means the end
    /// of that day, and today means now. Cannot be combined with a
    /// filter; the answer then has no `total_count`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    as_of: Field<String>,
}

impl List {
    pub(super) fn page(&self) -> Result<(AccountId, i64), Error> {
        let from = self.from_id.unwrap_or(1).max(1);
        let from = AccountId::new(from)
            .map_err(|_| Error::out_of_range("from_id", "at most 2147483647", from))?;
        if self.from_id.is_some_and(|from| from < 0) {
            return Err(Error::invalid("from_id", "must not be negative"));
        }
        Ok((from, limit(self.limit, 1_000, 1_000)?))
    }

    /// The instant in the past as of which accounts are listed. `None` means now.
    pub(super) fn as_of(&self, read: Reading, now: Time) -> Result<Option<Time>, Error> {
        let at = time("as_of", Role::AsOf(now), self.as_of.clone(), read)?;
        let at = at.value().copied();
        let filters = [
            &self.state,
            &self.held_by,
            &self.owner,
            &self.level,
            &self.expires_before,
            &self.expires_after,
            &self.q,
        ];
        if at.is_some() && filters.iter().any(|filter| filter.is_some()) {
            return Err(Error::invalid("as_of", "cannot be combined with a filter"));
        }
        Ok(at)
    }

    /// Whether the request has dates, so that the time zones of the accounts matter.
    pub(super) fn has_dates(&self) -> bool {
        let has_as_of = !matches!(self.as_of, Field::Absent);
        has_as_of || self.expires_before.is_some() || self.expires_after.is_some()
    }

    /// The filter, and the conditions besides that [`FilterMembers::filter`] returns.
    pub(super) fn filter(
        &self,
        codec: Codec,
        zones: &[Tz],
    ) -> Result<(AccountFilter, Vec<ZoneConditions>), Error> {
        // In XML an empty element means absent. In JSON an empty text is an error.
        let is_given = |text: &&str| codec == Codec::Json || !text.is_empty();
        let given = |text| Option::filter(text, is_given);
        let members = FilterMembers {
            state: given(self.state.as_deref()),
            held_by: given(self.held_by.as_deref()),
            owner: given(self.owner.as_deref()),
            level: given(self.level.as_deref()),
            expires_before: given(self.expires_before.as_deref()),
            expires_after: given(self.expires_after.as_deref()),
            text: given(self.q.as_deref()),
            metadata: Metadata::default(),
        };
        members.filter(zones)
    }
}

/// Reads the journal of an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct History {
    /// The account's number, 1 to 2147483647.
    #[schema(minimum = 1, maximum = 2_147_483_647_u32)]
    pub(super) id: i64,
    /// Only entries with a lower number than this.
    pub(super) before: Option<i64>,
    /// The number of entries, 1 to 1000. If absent, 100.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

impl History {
    pub(super) fn limit(&self) -> Result<i64, Error> {
        limit(self.limit, 100, 1_000)
    }
}

fn limit(requested: Option<i64>, default: i64, max: i64) -> Result<i64, Error> {
    let limit = requested.unwrap_or(default);
    if (1..=max).contains(&limit) {
        Ok(limit)
    } else {
        let accepted = format!("between 1 and {max}");
        Err(Error::out_of_range("limit", &accepted, limit))
    }
}

/// The value of a member that may stand in one of two places, but not in both.
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

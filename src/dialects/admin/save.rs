//! The request of `save`, which creates or changes an account. Members of Altcraft's API that this
//! service does not use are stored as they came.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::documented::{self, Documented, NumberOrName};
use crate::dialects::dates::Role;
use crate::dialects::metadata::{self, MetadataMembers};
use crate::dialects::patches::{Reading, none_if_empty, parsed, plain, time};
use crate::domain::{
    Account, AccountId, Email, Error, Extra, Patch, ProfilePatch, ResellerId, Revision, Status,
    quoted,
};
use crate::wire::{self, Codec, Field, Verbatim};

/// Creates an account, or changes the one that `id` names. Other members are stored as they came, with
/// their numbers as written, and returned. All of them together take at most 4096 bytes per account, in
/// JSON and in XML.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(
    dead_code,
    reason = "the documented members are read from all members of the body"
)]
pub(super) struct Save {
    /// The number of the account to change. If absent, an account is created.
    pub(super) id: Option<i64>,
    /// The reseller that will own the account. Only with an operator's token.
    pub(super) reseller_id: Option<i64>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    title: Field<String>,
    /// The name of an IANA time zone, such as `Europe/Berlin`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tz: Field<String>,
    /// The account's plan (its tariff): its number, or its name. A number that no plan has is
    /// stored as it is.
    #[serde(default)]
    #[schema(value_type = Option<NumberOrName>)]
    tariff: Field<Tariff>,
    /// The day of the month for reports, 0 to 31.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 31)]
    reports_day: Field<i32>,
    /// The hour of the day for reports, 0 to 23.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 23)]
    reports_hour: Field<i32>,
    /// The e-mail address, unique per reseller ignoring case and Unicode form.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
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
    /// The name in Altcraft's `save` for `pixels_enabled`, which it overrides.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    enable_pixel: Field<bool>,
    /// The name in Altcraft's `save` for `pushes_enabled`, which it overrides.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    enable_push: Field<bool>,
    /// The name in Altcraft's `save` for `is_smart`, which it overrides.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    enable_smart_settings: Field<bool>,
    /// The expiry date, in the same form as in the call `expiry_date`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime, min_length = 1)]
    expiry_date: Field<String>,
    /// Texts for your own programs, by name: at most 50, with names of 1 to 40 characters and values
    /// of up to 500. Members that are absent stay; null removes a member, and null instead of the
    /// object removes all.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::HashMap<String, Option<String>>>)]
    metadata: Field<MetadataMembers>,
    /// The number or the name that Altcraft documents. Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<NumberOrName>)]
    account_cache_clickhouse: Documented,
    /// The number or the name that Altcraft documents. Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<NumberOrName>)]
    account_postgresql: Documented,
    /// Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    custom_push_domain: Documented,
    /// Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    enable_track_email_replies: Documented,
    /// Stored and returned as a list; in XML the element is repeated, and one empty element is an
    /// empty list.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i64>>)]
    external_data_connectors: Documented,
    /// Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    force_2fa_auth: Documented,
    /// The number or the name that Altcraft documents. Stored and returned.
    #[serde(default)]
    #[schema(value_type = Option<NumberOrName>)]
    web_version_policy: Documented,
}

/// The plan of an account, by its number or by its name. XML does not tell the two apart, so a text
/// of digits is a number in both formats.
#[derive(Debug)]
pub(super) enum Tariff {
    Number(i32),
    Name(String),
}

impl<'de> Deserialize<'de> for Tariff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = wire::number_or_text(deserializer)?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text));
        }
        let too_large = |_| D::Error::custom("must be between 0 and 2147483647");
        text.parse().map(Self::Number).map_err(too_large)
    }
}

/// The members that `save` reads, and the computed members of an account and of answers. All other
/// members are stored as they came and returned.
const KNOWN: [&str; 49] = [
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
    "enable_pixel",
    "enable_push",
    "enable_smart_settings",
    "expiry_date",
    "metadata",
    "blocked_by",
    "effective_status",
    "exempt_until",
    "expires_at",
    "frozen_details",
    "holds",
    "limited_by",
    "warned_by",
    "restriction",
    "is_frozen",
    "is_suspended",
    "purge_due_at",
    "tariff_id",
    "timezone",
    "uid",
    "version",
    "error",
    "error_text",
    "data",
    "total_count",
    "changed",
    "ignored",
    "saved_id",
    "next_before",
    "next_from_id",
];
/// The largest number of extra members that `save` stores.
const MAX_EXTRA: usize = 64;

/// Whether `save` ignores a member that it has no field for, because the service computes it.
pub(super) fn is_computed(name: &str) -> bool {
    KNOWN.contains(&name)
}

impl Save {
    pub(super) fn account(&self) -> Result<Option<AccountId>, Error> {
        self.id.map(AccountId::new).transpose()
    }

    pub(super) fn reseller(&self) -> Option<ResellerId> {
        self.reseller_id.map(ResellerId)
    }

    /// The name of the plan, if the request names it so.
    pub(super) fn plan_name(&self) -> Option<&str> {
        match &self.tariff {
            Field::Value(Tariff::Name(name)) => Some(name),
            Field::Value(Tariff::Number(_)) | Field::Null | Field::Absent => None,
        }
    }

    /// Whether the six members are there that are required to create an account.
    fn check_required(&self) -> Result<(), Error> {
        let is_value = |field: &Field<i32>| matches!(field, Field::Value(_));
        let required = [
            ("name", matches!(self.name, Field::Value(_))),
            ("title", matches!(self.title, Field::Value(_))),
            ("tz", matches!(self.tz, Field::Value(_))),
            ("tariff", matches!(self.tariff, Field::Value(_))),
            ("reports_day", is_value(&self.reports_day)),
            ("reports_hour", is_value(&self.reports_hour)),
        ];
        match required.into_iter().find(|(_, is_there)| !is_there) {
            Some((name, _)) => Err(Error::invalid(name, "is required")),
            None => Ok(()),
        }
    }

    /// The change that the request describes. `members` are all members of the body; `named_plan`
    /// is the number of the plan that the request names.
    pub(super) fn revision(
        mut self,
        members: BTreeMap<String, Verbatim>,
        named_plan: Option<i32>,
        read: Reading,
    ) -> Result<Revision, Error> {
        if matches!(&self.name, Field::Value(name) if name.is_empty()) {
            self.name = Field::Null;
        }
        if self.id.is_none() {
            self.check_required()?;
        }
        let tariff_id = match self.tariff {
            Field::Absent => Patch::Keep,
            Field::Null => Patch::Clear,
            Field::Value(Tariff::Number(number)) => Patch::Set(number),
            Field::Value(Tariff::Name(_)) => named_plan.map_or(Patch::Keep, Patch::Set),
        };
        let renamed = |requested, answered| match requested {
            Field::Absent => plain(answered),
            Field::Null | Field::Value(_) => plain(requested),
        };
        let profile = ProfilePatch {
            name: plain(self.name),
            title: plain(self.title),
            timezone: parsed(none_if_empty(self.tz), read, Ok)?,
            tariff_id,
            reports_day: plain(self.reports_day),
            reports_hour: plain(self.reports_hour),
            email: parsed(self.email, read, |email| Email::parse(&email))?,
            company: plain(self.company),
            is_smart: renamed(self.enable_smart_settings, self.is_smart),
            is_subscribers_suspend_all: plain(self.is_subscribers_suspend_all),
            is_tariff_exceed: plain(self.is_tariff_exceed),
            pixels_enabled: renamed(self.enable_pixel, self.pixels_enabled),
            pushes_enabled: renamed(self.enable_push, self.pushes_enabled),
            extra: extra(members, read.codec)?,
            metadata: metadata::patch(self.metadata),
            ..ProfilePatch::default()
        };
        let expires_at = match time("expires_at", Role::End, self.expiry_date, read)? {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(at) => Some(Some(at)),
        };
        let status = self
            .is_active
            .map(|on| if on { Status::Active } else { Status::Inactive });
        Ok(Revision {
            profile,
            status,
            expires_at,
        })
    }
}

/// Whether any of the members is one that Steward has no field for.
pub(super) fn has_own(members: &BTreeMap<String, Verbatim>) -> bool {
    members.keys().any(|name| !is_computed(name))
}

/// Leaves out the own members that are stored with the same value, though written differently. A
/// caller who sends back what it read cannot do better:
///
/// - XML does not tell texts from numbers, null from an empty text, or a list of one value from the
///   value.
/// - Most JSON libraries write `1.0` as `1`.
pub(super) fn leave_out_unchanged(
    members: &mut BTreeMap<String, Verbatim>,
    present: &Account,
    codec: Codec,
) {
    let in_xml = |name: &str, value: &Verbatim| {
        let member = BTreeMap::from([(name, value)]);
        wire::encode(Codec::Xml, &member).ok()
    };
    let is_same = |name: &str, stored: &Verbatim, value: &Verbatim| match codec {
        Codec::Json => stored.is_same(value),
        Codec::Xml => in_xml(name, stored) == in_xml(name, value),
    };
    let stored = present.profile.extra.as_ref();
    members.retain(|name, value| {
        let stored = stored.and_then(|extra| Verbatim::read(extra.0.get(name)?).ok());
        let stored = stored.map(|stored| documented::answered(name, stored));
        stored.is_none_or(|stored| !is_same(name, &stored, value))
    });
}

/// The extra members, checked so that they can also be written in XML.
fn extra(members: BTreeMap<String, Verbatim>, codec: Codec) -> Result<Patch<Extra>, Error> {
    let others = members.into_iter().filter(|(name, _)| !is_computed(name));
    let others = others.map(|(name, value)| {
        let value = documented::typed(&name, value, codec)?;
        Ok((name, value))
    });
    let others: BTreeMap<String, Verbatim> = others.collect::<Result<_, Error>>()?;
    if others.is_empty() {
        return Ok(Patch::Keep);
    }
    if others.len() > MAX_EXTRA {
        return Err(Error::invalid(
            "save",
            format!("has more than {MAX_EXTRA} members of its own"),
        ));
    }
    let unfit = others
        .iter()
        .find(|(name, value)| !is_name(name) || !is_fit(value, 0));
    if let Some((name, _)) = unfit {
        let name = quoted(name);
        let problem = format!(
            "has a member of its own, {name}, whose name is not 1 to 64 letters, digits and \
             underscores, that is nested too deep, or that has control characters"
        );
        return Err(Error::invalid("save", problem));
    }
    Ok(Patch::Set(Extra(
        others
            .into_iter()
            .map(|(name, value)| (name, value.json()))
            .collect(),
    )))
}

fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= 64
        && name.starts_with(is_start)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_fit(value: &Verbatim, depth: u8) -> bool {
    match value {
        Verbatim::Null | Verbatim::Bool(_) | Verbatim::Number(_) => true,
        Verbatim::Text(text) => text.chars().all(|c| {
            matches!(c, '\n' | '\r' | '\t')
                || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
        }),
        Verbatim::List(values) => {
            depth < 8
                && values
                    .iter()
                    .all(|value| !matches!(value, Verbatim::List(_)) && is_fit(value, depth + 1))
        }
        Verbatim::Object(members) => {
            depth < 8
                && members
                    .iter()
                    .all(|(name, value)| is_name(name) && is_fit(value, depth + 1))
        }
    }
}

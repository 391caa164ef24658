//! The request of `save`, which creates or changes an account. Members of Altcraft's API that this
//! service does not use are stored as they came.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::dialects::dates::Role;
use crate::dialects::metadata::{self, MetadataMembers};
use crate::dialects::patches::{Reading, parsed, plain, time};
use crate::domain::{
    Account, AccountId, Email, Error, Extra, Patch, ProfilePatch, ResellerId, Revision, Status,
    quoted,
};
use crate::wire::{self, Codec, Field, Verbatim};

/// Creates an account, or changes the one that `id` names. Other members are stored as they came, with
/// their numbers as written, and returned. All of them together take at most 4096 bytes per account, in
/// JSON and in XML.
#[derive(Debug, Deserialize, ToSchema)]
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
    /// The number of the account's plan (its tariff).
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 0)]
    tariff: Field<i32>,
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
}

/// The members that `save` reads, and the computed members of an account and of answers. All other
/// members are stored as they came and returned.
const KNOWN: [&str; 43] = [
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
    "metadata",
    "blocked_by",
    "effective_status",
    "exempt_until",
    "expires_at",
    "frozen_details",
    "holds",
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

    /// The change that the request describes. `members` are all members of the body. Six members
    /// are required to create an account.
    pub(super) fn revision(
        self,
        members: BTreeMap<String, Verbatim>,
        read: Reading,
    ) -> Result<Revision, Error> {
        if self.id.is_none() {
            let texts = [
                ("name", &self.name),
                ("title", &self.title),
                ("tz", &self.tz),
            ];
            let numbers = [
                ("tariff", &self.tariff),
                ("reports_day", &self.reports_day),
                ("reports_hour", &self.reports_hour),
            ];
            let missing = texts
                .iter()
                .find(|(_, value)| !matches!(value, Field::Value(_)))
                .map(|(name, _)| *name);
            let missing = missing.or_else(|| {
                numbers
                    .iter()
                    .find(|(_, value)| !matches!(value, Field::Value(_)))
                    .map(|(name, _)| *name)
            });
            if let Some(name) = missing {
                return Err(Error::invalid(name, "is required"));
            }
        }
        let profile = ProfilePatch {
            name: plain(self.name),
            title: plain(self.title),
            timezone: parsed(self.tz, read, Ok)?,
            tariff_id: plain(self.tariff),
            reports_day: plain(self.reports_day),
            reports_hour: plain(self.reports_hour),
            email: parsed(self.email, read, |email| Email::parse(&email))?,
            company: plain(self.company),
            is_smart: plain(self.is_smart),
            is_subscribers_suspend_all: plain(self.is_subscribers_suspend_all),
            is_tariff_exceed: plain(self.is_tariff_exceed),
            pixels_enabled: plain(self.pixels_enabled),
            pushes_enabled: plain(self.pushes_enabled),
            extra: extra(members)?,
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
        stored.is_none_or(|stored| !is_same(name, &stored, value))
    });
}

/// The extra members, checked so that they can also be written in XML.
fn extra(members: BTreeMap<String, Verbatim>) -> Result<Patch<Extra>, Error> {
    let others: BTreeMap<String, Verbatim> = members
        .into_iter()
        .filter(|(name, _)| !is_computed(name))
        .collect();
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

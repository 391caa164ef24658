//! What is known of an account besides its lifecycle. No rule of the lifecycle reads any of it.

use std::collections::BTreeMap;
use std::fmt;

use chrono_tz::Tz;
use uuid::Uuid;

use super::text::{self, MAX_LONG_TEXT, MAX_TEXT};
use super::{Error, Fact, Patch, Time};

macro_rules! profile {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// The descriptive fields of an account: those of all three original systems. None means "not known".
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Profile { $($(#[$doc])* pub $field: Option<$type>,)* }

        /// A change of the descriptive fields; what it does not mention stays.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct ProfilePatch { $(#[doc = concat!("See [`Profile::", stringify!($field), "`].")] pub $field: Patch<$type>,)* }

        impl ProfilePatch {
            fn over_unchecked(&self, current: &Profile) -> Profile {
                Profile { $($field: self.$field.over(current.$field.as_ref()),)* }
            }
        }

        impl Profile {
            /// Every field with its value, for the journal.
            pub(super) fn facts(&self) -> Vec<(&'static str, Fact)> {
                vec![$((stringify!($field), self.$field.as_ref().map_or(Fact::Null, Fact::from)),)*]
            }

            /// Gives a field a value that the journal kept; says whether there is such a field and the value is one of its kind.
            pub fn restore(&mut self, field: &str, fact: &Fact) -> bool {
                match field {
                    $(stringify!($field) => match (fact, <$type>::kept(fact)) {
                        (Fact::Null, _) => self.$field = None,
                        (_, Some(value)) => self.$field = Some(value),
                        (_, None) => return false,
                    },)*
                    _ => return false,
                }
                true
            }
        }
    };
}

/// A value as the journal keeps it.
trait Kept: Sized {
    fn kept(fact: &Fact) -> Option<Self>;
}

macro_rules! kept {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {
        $(impl Kept for $type {
            fn kept(fact: &Fact) -> Option<Self> {
                if let $pattern = fact { $value } else { None }
            }
        })*
    };
}

kept! {
    String: Fact::Text(text) => Some(text.clone());
    Email: Fact::Text(text) => Self::parse(text).ok();
    Uuid: Fact::Text(text) => Self::parse_str(text).ok();
    Time: Fact::Text(text) => text.parse().ok();
    i32: Fact::Number(number) => Self::try_from(*number).ok();
    bool: Fact::Bool(on) => Some(*on);
    // Its members are JSON, which is read where JSON is known.
    Extra: Fact::Null => None;
}

profile! {
    /// The system name.
    name: String,
    /// The name for people.
    title: String,
    /// Unique per reseller among the accounts that are not deleted, ignoring case.
    email: Email,
    /// The company.
    company: String,
    /// The name of its time zone in the tz database, as `Europe/Berlin`.
    timezone: String,
    /// The number of its tariff; a plan of the same number need not exist.
    tariff_id: i32,
    /// The day of its reports, 0 ..= 31 (the original counts week days or days of the month).
    reports_day: i32,
    /// The hour of its reports, 0 ..= 23.
    reports_hour: i32,
    /// A flag of the `admin` original.
    is_smart: bool,
    /// A flag of the `admin` original.
    is_subscribers_suspend_all: bool,
    /// A flag of the `admin` original.
    is_tariff_exceed: bool,
    /// A flag of the `admin` original.
    pixels_enabled: bool,
    /// A flag of the `admin` original.
    pushes_enabled: bool,
    /// The other members that a `save` of the `admin` original named; a change adds to them.
    extra: Extra,
    /// A domain of the `v3` original.
    admin_portal_domain: String,
    /// A domain of the `v3` original.
    customer_portal_domain: String,
    /// A domain of the `v3` original.
    reseller_portal_domain: String,
    /// A web address.
    website: String,
    /// A web address.
    logo_url: String,
    /// A web address.
    favicon_url: String,
    /// An identity at Google.
    google_client_id: String,
    /// When its trial ends; informative, blocks nothing.
    trial_expires_at: Time,
    /// Its plan.
    plan_id: Uuid,
    /// The company's identity elsewhere.
    company_id: String,
    /// A second name.
    account_alias: String,
    /// Where it lives.
    region: String,
    /// How it pays.
    payment_method: String,
    /// Its payment service provider.
    psp: String,
    /// How often its trial was extended, 0 or more.
    total_trial_extensions: i32,
}

impl ProfilePatch {
    /// The profile after the patch.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the first value that cannot be accepted.
    pub fn over(&self, current: &Profile) -> Result<Profile, Error> {
        let short = [
            ("name", &self.name),
            ("title", &self.title),
            ("company", &self.company),
            ("admin_portal_domain", &self.admin_portal_domain),
            ("customer_portal_domain", &self.customer_portal_domain),
            ("reseller_portal_domain", &self.reseller_portal_domain),
            ("google_client_id", &self.google_client_id),
            ("company_id", &self.company_id),
            ("account_alias", &self.account_alias),
            ("region", &self.region),
            ("payment_method", &self.payment_method),
            ("psp", &self.psp),
        ];
        let long = [
            ("website", &self.website),
            ("logo_url", &self.logo_url),
            ("favicon_url", &self.favicon_url),
        ];
        let short = short.map(|(field, patch)| (field, patch, MAX_TEXT));
        for (field, patch, max) in short
            .into_iter()
            .chain(long.map(|(field, patch)| (field, patch, MAX_LONG_TEXT)))
        {
            if let Some(value) = patch.value() {
                text::check(field, value, max)?;
            }
        }
        let numbers = [
            ("tariff_id", &self.tariff_id, 0..=i32::MAX),
            ("reports_day", &self.reports_day, 0..=31),
            ("reports_hour", &self.reports_hour, 0..=23),
            (
                "total_trial_extensions",
                &self.total_trial_extensions,
                0..=i32::MAX,
            ),
        ];
        for (field, patch, range) in numbers {
            if patch.value().is_some_and(|value| !range.contains(value)) {
                return Err(Error::invalid(
                    field,
                    format!("must be between {} and {}", range.start(), range.end()),
                ));
            }
        }
        if let Some(zone) = self.timezone.value()
            && zone.parse::<Tz>().is_err()
        {
            return Err(Error::invalid(
                "timezone",
                "must be the name of a time zone such as Europe/Berlin",
            ));
        }
        let mut profile = self.over_unchecked(current);
        if let (Some(Extra(new)), Some(Extra(known))) = (self.extra.value(), &current.extra) {
            let all = known
                .iter()
                .chain(new)
                .map(|(name, value)| (name.clone(), value.clone()));
            profile.extra = Some(Extra(all.collect()));
        }
        Ok(profile)
    }
}

/// Members by name, that mean nothing to us: each value is kept as the JSON text that it came as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra(pub BTreeMap<String, String>);

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        write!(f, "{{{}}}", members.join(","))
    }
}

/// An e-mail address: something, an `@`, something; at most 254 characters. Whether mail arrives is not ours to know.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// # Errors
    /// [`Error::InvalidField`] for `email`.
    pub fn parse(written: &str) -> Result<Self, Error> {
        text::check("email", written, 254)?;
        let well_formed = written.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !local.contains('@')
        });
        if !well_formed || written.chars().any(char::is_whitespace) {
            return Err(Error::invalid("email", "must be an e-mail address"));
        }
        Ok(Self(written.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two addresses that differ in case only have in common.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! The descriptive fields of an account. No rule of the lifecycle reads them.
//!
//! Each API of Steward follows an existing one, its original: `admin` follows Altcraft, `soap`
//! Zoolz and `v3` Cryptlex. An account has the descriptive fields of all three.

use uuid::Uuid;

use super::email::Email;
use super::metadata::Metadata;
use super::own_members::Extra;
use super::text::{self, MAX_LONG_TEXT, MAX_TEXT};
use super::{Error, Fact, Patch, Time};

macro_rules! profile {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// The descriptive fields of an account. `None` means that the value is not known.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Profile { $($(#[$doc])* pub $field: Option<$type>,)* }

        /// A change of the descriptive fields. Fields that it omits stay as they are.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct ProfilePatch { $(#[doc = concat!("See [`Profile::", stringify!($field), "`].")] pub $field: Patch<$type>,)* }

        impl ProfilePatch {
            /// The patch without the values that the fields have already.
            fn changing(&self, current: &Profile) -> Self {
                Self { $($field: self.$field.unless_present(current.$field.as_ref()),)* }
            }

            fn apply(&self, current: &Profile) -> Profile {
                Profile { $($field: self.$field.over(current.$field.as_ref()),)* }
            }
        }

        impl Profile {
            /// Every field with its value, for comparing two profiles.
            pub(super) fn facts(&self) -> Vec<(&'static str, Fact)> {
                vec![$((stringify!($field), self.$field.as_ref().map_or(Fact::Null, Fact::from)),)*]
            }

            /// Sets a field to a value read from the journal. Returns `false` if no field has this
            /// name, or if the value is not of the field's type.
            pub fn restore(&mut self, field: &str, fact: &Fact) -> bool {
                match field {
                    $(stringify!($field) => match (fact, <$type>::from_journal(fact)) {
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

/// A field type that can be read back from the journal.
trait FromJournal: Sized {
    /// `None` if the fact is not of this type.
    fn from_journal(fact: &Fact) -> Option<Self>;
}

macro_rules! from_journal {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {
        $(impl FromJournal for $type {
            fn from_journal(fact: &Fact) -> Option<Self> {
                if let $pattern = fact { $value } else { None }
            }
        })*
    };
}

from_journal! {
    String: Fact::Text(text) => Some(text.clone());
    Email: Fact::Text(text) => Some(Self::stored(text, None));
    Uuid: Fact::Text(text) => Self::parse_str(text).ok();
    Time: Fact::Text(text) => text.parse().ok();
    i32: Fact::Number(number) => Self::try_from(*number).ok();
    bool: Fact::Bool(on) => Some(*on);
    // The members are JSON, which this room does not parse. The store restores them itself.
    Extra: Fact::Null => None;
    Metadata: Fact::Texts(members) => Some(Self(members.clone()));
}

profile! {
    /// The system name.
    name: String,
    /// The display name.
    title: String,
    /// Unique per reseller among the accounts that are not deleted, by [`Email::key`].
    email: Email,
    /// The company's name.
    company: String,
    /// Its time zone, as a name of the tz database such as `Europe/Berlin`.
    timezone: String,
    /// The number of its tariff. A plan with this number need not exist.
    tariff_id: i32,
    /// The day of its reports, 0 ..= 31. The original counts either days of the week or of the
    /// month.
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
    /// Members of the `admin` API's `save` that Steward has no field for. A change adds to them, up
    /// to [`MAX_OWN_MEMBERS`](super::MAX_OWN_MEMBERS).
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
    /// A client identity at Google.
    google_client_id: String,
    /// When its trial ends. Informative only: it blocks nothing.
    trial_expires_at: Time,
    /// The identity of its plan.
    plan_id: Uuid,
    /// The company's identity in another system.
    company_id: String,
    /// An alias.
    account_alias: String,
    /// The region in which it is hosted.
    region: String,
    /// The payment method.
    payment_method: String,
    /// The payment service provider.
    psp: String,
    /// How often the trial was extended, 0 or more.
    total_trial_extensions: i32,
    /// Members for the reseller's own programs. A change adds to them, and removes those to which it
    /// gives an empty text. `None` if there are none.
    metadata: Metadata,
}

/// The flags that Altcraft's `save` names otherwise than its answers: the name in `save`, and the
/// field of the profile.
type Renamed = (&'static str, fn(&mut Profile) -> &mut Option<bool>);

const RENAMED: [Renamed; 3] = [
    ("enable_pixel", |profile| &mut profile.pixels_enabled),
    ("enable_push", |profile| &mut profile.pushes_enabled),
    ("enable_smart_settings", |profile| &mut profile.is_smart),
];

impl Profile {
    /// Moves the flags to their fields that earlier versions stored as own members, under the names
    /// of `save`. A field that has a value keeps it.
    pub fn adopt_renamed_flags(&mut self) {
        for (name, field) in RENAMED {
            let Some(json) = self.extra.as_mut().and_then(|own| own.0.remove(name)) else {
                continue;
            };
            let is_on = matches!(json.as_str(), "true" | "1" | "\"true\"" | "\"1\"");
            field(self).get_or_insert(is_on);
        }
        self.extra = self.extra.take().filter(|own| !own.0.is_empty());
    }

    /// A flag that is not known reads as false. So false does not change it.
    fn keep_unknown_flags(&mut self, current: &Self) {
        for (flag, before) in [
            (&mut self.is_smart, current.is_smart),
            (
                &mut self.is_subscribers_suspend_all,
                current.is_subscribers_suspend_all,
            ),
            (&mut self.is_tariff_exceed, current.is_tariff_exceed),
            (&mut self.pixels_enabled, current.pixels_enabled),
            (&mut self.pushes_enabled, current.pushes_enabled),
        ] {
            if before.is_none() && *flag == Some(false) {
                *flag = None;
            }
        }
    }
}

impl Profile {
    /// A number that is not known reads as 0, and a trial that there was not as one that ended when
    /// the account was created. So neither changes anything when it is sent back. Clients that write
    /// times with fewer digits, or with the least time of their language for none, send an earlier
    /// one.
    pub(super) fn keep_unknown(&mut self, current: &Self, created_at: Time) {
        if current.total_trial_extensions.is_none() && self.total_trial_extensions == Some(0) {
            self.total_trial_extensions = None;
        }
        if current.tariff_id.is_none() && self.tariff_id == Some(0) {
            self.tariff_id = None;
        }
        let is_past = |end: Time| end <= created_at;
        if current.trial_expires_at.is_none() && self.trial_expires_at.is_some_and(is_past) {
            self.trial_expires_at = None;
        }
    }
}

impl ProfilePatch {
    /// The profile after the patch. A value that is the present one is not checked: an earlier
    /// version may have stored values that this one refuses, and a caller may send them back.
    ///
    /// # Errors
    /// [`Error::InvalidField`] naming the first value that is refused.
    pub fn over(&self, current: &Profile) -> Result<Profile, Error> {
        self.changing(current).checked_over(current)
    }

    fn checked_over(&self, current: &Profile) -> Result<Profile, Error> {
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
        if let Some(email) = self.email.value() {
            email.check_new()?;
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
            if let Some(value) = patch.value().filter(|value| !range.contains(value)) {
                let accepted = format!("between {} and {}", range.start(), range.end());
                return Err(Error::out_of_range(field, &accepted, value));
            }
        }
        if let Some(zone) = self.timezone.value() {
            text::check_time_zone(zone)?;
        }
        let mut profile = self.apply(current);
        profile.keep_unknown_flags(current);
        if profile.email == current.email {
            // The same address, but the stored one knows the key that it is stored with.
            profile.email.clone_from(&current.email);
        }
        if let Some(new) = self.extra.value() {
            let known = current.extra.clone().unwrap_or_default();
            profile.extra = Some(known.with(new)?);
        }
        if let Some(new) = self.metadata.value() {
            let known = current.metadata.clone().unwrap_or_default();
            profile.metadata = Some(known.with(new)?).filter(|all| !all.0.is_empty());
        }
        Ok(profile)
    }
}

//! The profile of an account as the JSON object in its row. Members that are not known are left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{Email, Error, Extra, Metadata, Profile, Time};
use crate::store::errors::internal;

/// The members, in the order in which they are written.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    email: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    company: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    timezone: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tariff_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports_day: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports_hour: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_smart: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_subscribers_suspend_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_tariff_exceed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pixels_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushes_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    admin_portal_domain: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    customer_portal_domain: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    reseller_portal_domain: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    website: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    logo_url: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    favicon_url: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    google_client_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_expires_at: Option<Time>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    company_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    account_alias: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    region: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    payment_method: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    psp: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_trial_extensions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// The profile as it is stored. Its plan and the key of its e-mail address have columns.
pub(super) fn json_of_profile(profile: &Profile) -> Result<String, Error> {
    fn text(text: Option<&String>) -> Option<Cow<'_, str>> {
        text.map(|text| Cow::Borrowed(text.as_str()))
    }
    let members = Members {
        name: text(profile.name.as_ref()),
        title: text(profile.title.as_ref()),
        email: profile.email.as_ref().map(|it| Cow::Borrowed(it.as_str())),
        company: text(profile.company.as_ref()),
        timezone: text(profile.timezone.as_ref()),
        tariff_id: profile.tariff_id,
        reports_day: profile.reports_day,
        reports_hour: profile.reports_hour,
        is_smart: profile.is_smart,
        is_subscribers_suspend_all: profile.is_subscribers_suspend_all,
        is_tariff_exceed: profile.is_tariff_exceed,
        pixels_enabled: profile.pixels_enabled,
        pushes_enabled: profile.pushes_enabled,
        extra: profile.extra.as_ref().map(raw_members).transpose()?,
        admin_portal_domain: text(profile.admin_portal_domain.as_ref()),
        customer_portal_domain: text(profile.customer_portal_domain.as_ref()),
        reseller_portal_domain: text(profile.reseller_portal_domain.as_ref()),
        website: text(profile.website.as_ref()),
        logo_url: text(profile.logo_url.as_ref()),
        favicon_url: text(profile.favicon_url.as_ref()),
        google_client_id: text(profile.google_client_id.as_ref()),
        trial_expires_at: profile.trial_expires_at,
        company_id: text(profile.company_id.as_ref()),
        account_alias: text(profile.account_alias.as_ref()),
        region: text(profile.region.as_ref()),
        payment_method: text(profile.payment_method.as_ref()),
        psp: text(profile.psp.as_ref()),
        total_trial_extensions: profile.total_trial_extensions,
        metadata: profile.metadata.as_ref().map(|it| Cow::Borrowed(&it.0)),
    };
    serde_json::to_string(&members).map_err(|_| internal("a profile cannot be written as JSON"))
}

/// The profile of a row.
pub(super) fn profile_of(
    json: &str,
    email_key: Option<String>,
    plan_id: Option<Uuid>,
) -> Result<Profile, Error> {
    let members: Members<'_> =
        serde_json::from_str(json).map_err(|_| internal("account has an unreadable profile"))?;
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let mut profile = Profile {
        name: owned(members.name),
        title: owned(members.title),
        email: members.email.map(|email| Email::stored(&email, email_key)),
        company: owned(members.company),
        timezone: owned(members.timezone),
        tariff_id: members.tariff_id,
        reports_day: members.reports_day,
        reports_hour: members.reports_hour,
        is_smart: members.is_smart,
        is_subscribers_suspend_all: members.is_subscribers_suspend_all,
        is_tariff_exceed: members.is_tariff_exceed,
        pixels_enabled: members.pixels_enabled,
        pushes_enabled: members.pushes_enabled,
        extra: members.extra.map(texts_of),
        admin_portal_domain: owned(members.admin_portal_domain),
        customer_portal_domain: owned(members.customer_portal_domain),
        reseller_portal_domain: owned(members.reseller_portal_domain),
        website: owned(members.website),
        logo_url: owned(members.logo_url),
        favicon_url: owned(members.favicon_url),
        google_client_id: owned(members.google_client_id),
        trial_expires_at: members.trial_expires_at,
        plan_id,
        company_id: owned(members.company_id),
        account_alias: owned(members.account_alias),
        region: owned(members.region),
        payment_method: owned(members.payment_method),
        psp: owned(members.psp),
        total_trial_extensions: members.total_trial_extensions,
        metadata: members.metadata.map(|it| Metadata(it.into_owned())),
    };
    profile.adopt_renamed_flags();
    Ok(profile)
}

/// The members of a profile that this product does not know, from a JSON object of the journal.
pub(super) fn extra_of(text: &str) -> Result<Extra, Error> {
    serde_json::from_str(text)
        .map(texts_of)
        .map_err(|_| internal("account has unusable extra members"))
}

/// The members of a profile that this product does not know, which it stores as they came.
fn texts_of(members: BTreeMap<String, Box<RawValue>>) -> Extra {
    let members = members.into_iter();
    Extra(
        members
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
    )
}

fn raw_members(extra: &Extra) -> Result<BTreeMap<String, Box<RawValue>>, Error> {
    let raw = |(name, text): (&String, &String)| {
        RawValue::from_string(text.clone())
            .map(|value| (name.clone(), value))
            .map_err(|_| internal("account has unusable extra members"))
    };
    extra.0.iter().map(raw).collect()
}

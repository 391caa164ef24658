//! The columns of descriptive fields that only one of the three systems has, by the names of their
//! fields.

use crate::domain::{Patch, ProfilePatch};

/// A text, with the most characters that it may have.
pub(super) const TEXTS: [(&str, &str); 12] = [
    ("company_id", SHORT),
    ("website", LONG),
    ("logo_url", LONG),
    ("favicon_url", LONG),
    ("admin_portal_domain", SHORT),
    ("customer_portal_domain", SHORT),
    ("reseller_portal_domain", SHORT),
    ("google_client_id", SHORT),
    ("account_alias", SHORT),
    ("region", SHORT),
    ("payment_method", SHORT),
    ("psp", SHORT),
];

pub(super) const FLAGS: [&str; 5] = [
    "is_smart",
    "is_subscribers_suspend_all",
    "is_tariff_exceed",
    "pixels_enabled",
    "pushes_enabled",
];

/// A number, with its range.
pub(super) const NUMBERS: [(&str, &str); 3] = [
    ("reports_day", "a whole number from 0 to 31"),
    ("reports_hour", "a whole number from 0 to 23"),
    (
        "total_trial_extensions",
        "a whole number from 0 to 2147483647",
    ),
];

pub(super) const SHORT: &str = "a text of up to 255 characters";
const LONG: &str = "a text of up to 2048 characters";

/// The field of a column of [`TEXTS`].
pub(super) fn text<'a>(profile: &'a mut ProfilePatch, name: &str) -> Option<&'a mut Patch<String>> {
    Some(match name {
        "company_id" => &mut profile.company_id,
        "website" => &mut profile.website,
        "logo_url" => &mut profile.logo_url,
        "favicon_url" => &mut profile.favicon_url,
        "admin_portal_domain" => &mut profile.admin_portal_domain,
        "customer_portal_domain" => &mut profile.customer_portal_domain,
        "reseller_portal_domain" => &mut profile.reseller_portal_domain,
        "google_client_id" => &mut profile.google_client_id,
        "account_alias" => &mut profile.account_alias,
        "region" => &mut profile.region,
        "payment_method" => &mut profile.payment_method,
        "psp" => &mut profile.psp,
        _ => return None,
    })
}

/// The field of a column of [`FLAGS`].
pub(super) fn flag<'a>(profile: &'a mut ProfilePatch, name: &str) -> Option<&'a mut Patch<bool>> {
    Some(match name {
        "is_smart" => &mut profile.is_smart,
        "is_subscribers_suspend_all" => &mut profile.is_subscribers_suspend_all,
        "is_tariff_exceed" => &mut profile.is_tariff_exceed,
        "pixels_enabled" => &mut profile.pixels_enabled,
        "pushes_enabled" => &mut profile.pushes_enabled,
        _ => return None,
    })
}

/// The field of a column of [`NUMBERS`].
pub(super) fn number<'a>(profile: &'a mut ProfilePatch, name: &str) -> Option<&'a mut Patch<i32>> {
    Some(match name {
        "reports_day" => &mut profile.reports_day,
        "reports_hour" => &mut profile.reports_hour,
        "total_trial_extensions" => &mut profile.total_trial_extensions,
        _ => return None,
    })
}

//! The `v3` dialect as clients of Cryptlex use it. Their classes have types that null does not fit,
//! so every member of theirs must have a value of its type, wherever such a document appears.

mod accounts;
mod lists;
mod log_searches;
mod routes;
mod webhooks;

use serde_json::Value;

/// The type of a member in the classes of Cryptlex's clients. Their texts and lists may be null
/// there; here they are not, because the documentation of Cryptlex prints none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Text,
    Time,
    Number,
    Flag,
    Texts,
    Plan,
}

use Type::{Flag, Number, Plan, Text, Texts, Time};

/// The class of an account, as documented, which has all members of the Python and .NET classes but
/// `customDomain`, the former name of the portal domains.
pub(crate) const ACCOUNT: &[(&str, Type)] = &[
    ("id", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
    ("company", Text),
    ("email", Text),
    ("status", Text),
    ("adminPortalDomain", Text),
    ("customerPortalDomain", Text),
    ("resellerPortalDomain", Text),
    ("website", Text),
    ("logoUrl", Text),
    ("faviconUrl", Text),
    ("googleClientId", Text),
    ("trialExpiresAt", Time),
    ("plan", Plan),
    ("companyId", Text),
    ("accountAlias", Text),
    ("region", Text),
    ("paymentMethod", Text),
    ("psp", Text),
    ("totalTrialExtensions", Number),
];

/// The members of a plan that are no flags. All others are.
const PLAN: &[(&str, Type)] = &[
    ("id", Text),
    ("name", Text),
    ("displayName", Text),
    ("version", Number),
    ("tier", Number),
    ("interval", Text),
    ("paddleId", Text),
    ("paddlePriceId", Text),
    ("allowedUsers", Number),
    ("allowedOrganizations", Number),
    ("allowedAdmins", Number),
    ("allowedProducts", Number),
    ("allowedMeterAttributes", Number),
    ("allowedFeatureFlags", Number),
    ("allowedFeatures", Number),
    ("allowedActivations", Number),
    ("allowedTrialActivations", Number),
    ("allowedReleases", Number),
    ("allowedProductSpace", Number),
    ("amount", Text),
    ("activationLogsRetentionPeriod", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
];

const TOKEN: &[(&str, Type)] = &[
    ("id", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
    ("name", Text),
    ("revoked", Flag),
    ("scopes", Texts),
];

/// The members of a user, except the times, which may be absent.
const USER: &[(&str, Type)] = &[
    ("id", Text),
    ("name", Text),
    ("firstName", Text),
    ("lastName", Text),
    ("email", Text),
    ("company", Text),
    ("twoFactorEnabled", Flag),
    ("googleSsoEnabled", Flag),
    ("allowCustomerPortalAccess", Flag),
    ("role", Text),
    ("roles", Texts),
    ("metadata", Texts),
    ("tags", Texts),
];

const EVENT_LOG: &[(&str, Type)] = &[
    ("id", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
    ("resource", Text),
    ("resourceId", Text),
    ("action", Text),
    ("ipAddress", Text),
];

pub(crate) const WEBHOOK: &[(&str, Type)] = &[
    ("id", Text),
    ("createdAt", Time),
    ("updatedAt", Time),
    ("name", Text),
    ("url", Text),
    ("token", Text),
    ("active", Flag),
    ("events", Texts),
];

/// Checks that a document fits a class.
#[track_caller]
pub(crate) fn typed(document: &Value, class: &[(&str, Type)]) {
    for (name, kind) in class {
        let value = &document[*name];
        let fits = match kind {
            Text => value.is_string(),
            Time => value.as_str().is_some_and(|text| {
                // The .NET classes read any year, and show those of before 2000 as nonsense.
                let time = chrono::DateTime::parse_from_rfc3339(text);
                time.is_ok() && text.ends_with('Z') && text > "2000"
            }),
            // The classes have 32 bits.
            Number => value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
            Flag => value.is_boolean(),
            Texts => value
                .as_array()
                .is_some_and(|texts| texts.iter().all(Value::is_string)),
            Plan => {
                typed(value, PLAN);
                true
            }
        };
        assert!(fits, "{name} is no {kind:?}: {document}");
    }
    if class.len() == PLAN.len() {
        let members = document.as_object().unwrap();
        let flags = members.iter().filter(|(name, _)| {
            (name.starts_with("allow") && !name.starts_with("allowed")) || *name == "deprecated"
        });
        assert_eq!(flags.filter(|(_, value)| value.is_boolean()).count(), 17);
    }
}

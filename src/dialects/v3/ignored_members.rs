//! Members of requests that are ignored, while all others that a request does not know are refused.

use axum::http::HeaderValue;

use super::respond::Described;
pub(super) use crate::dialects::body::IGNORED_MEMBERS;
use crate::dialects::schemas::member_names;
use crate::wire::{self, Codec};

/// The members that Cryptlex's clients send and that Steward cannot honour, by operation. An answer
/// names them in [`IGNORED_MEMBERS`].
///
/// A Cryptlex account is made with its first user; `customDomain` is the former name of the three
/// portal domains. A client that keeps one class for both directions sends the members of an answer
/// when it creates. The secret of a webhook endpoint is changed by `rotate-secret` or by `token`.
const CANNOT_HONOUR: &[(&str, &[&str])] = &[
    (
        "accounts_create",
        &[
            "firstName",
            "lastName",
            "password",
            "customDomain",
            "id",
            "createdAt",
            "updatedAt",
            "plan",
        ],
    ),
    (
        "accounts_patch",
        &["firstName", "lastName", "password", "customDomain"],
    ),
    ("webhooks_create", &["id", "createdAt", "updatedAt"]),
    ("webhooks_patch", &["secret"]),
    (
        "personal_access_tokens_patch",
        &["name", "expiresAt", "scopes"],
    ),
];

/// The members that an operation ignores and names in [`IGNORED_MEMBERS`].
pub(super) fn cannot_honour(operation: &str) -> &'static [&'static str] {
    CANNOT_HONOUR
        .iter()
        .find(|(name, _)| *name == operation)
        .map_or(&[], |(_, members)| members)
}

/// The members that an operation ignores silently: `PATCH` knows all members of its answer, so that
/// a document can be sent back as it was read. Those that the request has no field for are read
/// only.
pub(super) fn read_only(method: &str, answer: Described) -> Vec<String> {
    match answer {
        Described::One(describe) if method == "PATCH" => member_names(describe),
        Described::One(_) | Described::Many(_) | Described::Lines(_) | Described::Nothing => {
            Vec::new()
        }
    }
}

/// The value of [`IGNORED_MEMBERS`] in the answer to a body. `None` if nothing is to be named.
pub(super) fn header(operation: &str, codec: Codec, body: &[u8]) -> Option<HeaderValue> {
    let ignored = cannot_honour(operation);
    if ignored.is_empty() {
        return None;
    }
    let members = wire::members(codec, body).ok()?;
    let named: Vec<&str> = ignored
        .iter()
        .copied()
        .filter(|name| members.contains_key(*name))
        .collect();
    let value = HeaderValue::from_str(&named.join(", ")).ok();
    value.filter(|value| !value.is_empty())
}

//! Members of requests that are ignored, while all others that a request does not know are refused.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue};

use super::operation::Operation;
use super::operations::OPERATIONS;
use super::respond::Described;
use crate::dialects::schemas::member_names;
use crate::wire::{self, Codec};

/// The header of an answer that names the members that were ignored, separated by commas.
pub(super) const IGNORED_MEMBERS: HeaderName = HeaderName::from_static("ignored-members");

/// The members that Cryptlex's clients send and that Steward cannot honour, by operation. An answer
/// names them in [`IGNORED_MEMBERS`].
///
/// A Cryptlex account is made with its first user; `customDomain` is the former name of the three
/// portal domains. A client that keeps one class for both directions sends the members of an answer
/// when it creates. The secret of a webhook endpoint is changed by `rotate-secret` alone.
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
    ("webhooks_create", &["name", "token", "active"]),
    ("webhooks_patch", &["name", "token", "active", "secret"]),
];

/// The members that the operation ignores and names in [`IGNORED_MEMBERS`].
pub(super) fn cannot_honour(operation: &Operation) -> &'static [&'static str] {
    CANNOT_HONOUR
        .iter()
        .find(|(name, _)| *name == operation.name)
        .map_or(&[], |(_, members)| members)
}

/// The members that the operation ignores silently: `PATCH` knows all members of its answer, so that
/// a document can be sent back as it was read. Those that the request has no field for are read
/// only.
pub(super) fn read_only(operation: &Operation) -> &'static [String] {
    static BY_NAME: LazyLock<HashMap<&'static str, Vec<String>>> = LazyLock::new(|| {
        let members = |operation: &Operation| match operation.answer {
            Described::One(describe) if operation.method == "PATCH" => {
                Some((operation.name, member_names(describe)))
            }
            Described::One(_) | Described::Many(_) | Described::Nothing => None,
        };
        OPERATIONS.iter().filter_map(members).collect()
    });
    BY_NAME
        .get(operation.name)
        .map_or(&[], |members| members.as_slice())
}

/// Whether the operation ignores a member that its request does not know.
pub(super) fn is_ignored(operation: &Operation, name: &str) -> bool {
    cannot_honour(operation).contains(&name)
        || read_only(operation).iter().any(|member| member == name)
}

/// The value of [`IGNORED_MEMBERS`] in the answer to a body. `None` if nothing is to be named.
pub(super) fn header(operation: &Operation, codec: Codec, body: &[u8]) -> Option<HeaderValue> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_belongs_to_an_operation_with_a_body() {
        for (name, _) in CANNOT_HONOUR {
            let operation = OPERATIONS.iter().find(|operation| operation.name == *name);
            assert!(operation.is_some_and(|row| row.request.is_some()), "{name}");
        }
    }

    #[test]
    fn a_patch_knows_the_members_of_its_answer() {
        let patches: Vec<_> = OPERATIONS
            .iter()
            .filter(|operation| operation.method == "PATCH")
            .collect();
        assert_eq!(patches.len(), 4);
        for operation in patches {
            for name in ["id", "createdAt", "updatedAt"] {
                assert!(is_ignored(operation, name), "{}: {name}", operation.name);
            }
            assert!(!is_ignored(operation, "account_limit"));
        }
    }
}

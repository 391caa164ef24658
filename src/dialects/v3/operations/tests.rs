//! Every row of the table is complete and consistent.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::dialects::v3::ignored_members;
use crate::dialects::v3::path_id::Id;
use crate::dialects::v3::respond::Described;

#[test]
fn every_row_is_complete_and_unique() {
    let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let routes: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|row| (row.method, row.path))
        .collect();
    assert_eq!(
        (names.len(), routes.len()),
        (OPERATIONS.len(), OPERATIONS.len())
    );
    for operation in OPERATIONS {
        let name = operation.name;
        assert!(
            !operation.tag.is_empty() && !operation.summary.is_empty(),
            "{name}"
        );
        assert_eq!(
            operation.path.contains("{id}"),
            operation.id != Id::None,
            "{name}"
        );
        assert!(
            operation.example.is_empty()
                || serde_json::from_str::<Value>(operation.example).is_ok(),
            "{name}"
        );
        assert!(
            operation.request.is_some() || operation.example.is_empty(),
            "{name}"
        );
        assert_eq!(
            matches!(operation.answer, Described::Many(_)) || name == "accounts_timeline",
            operation.paging != Paging::None || name == "accounts_holds",
            "{name}: a list must be paged, except the open holds, of which there are nine at most"
        );
    }
}

#[test]
fn read_scopes_do_not_allow_writes() {
    for operation in OPERATIONS {
        let only_reads = matches!(operation.access.scope(), Some(AccountRead | WebhookRead));
        let is_safe = operation.method == "GET" || operation.name == "accounts_simulate";
        assert!(
            !only_reads || is_safe,
            "{} writes with a read scope",
            operation.name
        );
        assert!(
            !is_safe || !(operation.idempotent || operation.conditional),
            "{}",
            operation.name
        );
    }
}

#[test]
fn the_members_that_cannot_be_honoured_belong_to_operations_with_a_body() {
    for name in [
        "accounts_create",
        "accounts_patch",
        "webhooks_create",
        "webhooks_patch",
    ] {
        let operation = OPERATIONS.iter().find(|operation| operation.name == name);
        let is_listed = |row: &Operation| {
            row.request.is_some() && !ignored_members::cannot_honour(row.name).is_empty()
        };
        assert!(operation.is_some_and(is_listed), "{name}");
    }
}

#[test]
fn a_patch_knows_the_members_of_its_answer() {
    let patches = OPERATIONS.iter().filter(|row| row.method == "PATCH");
    let mut count = 0;
    for operation in patches {
        let known = ignored_members::read_only(operation.method, operation.answer);
        for name in ["id", "createdAt", "updatedAt"] {
            assert!(
                known.iter().any(|it| it == name),
                "{}: {name}",
                operation.name
            );
        }
        count += 1;
    }
    assert_eq!(count, 5);
}

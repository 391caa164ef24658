//! `steward account`: listing, explaining and changing existing accounts.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::process::{folder, run, succeed};

/// What a refused command prints.
#[track_caller]
fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn create(data: &Path, reseller: &str, email: &str) -> Value {
    let arguments = [
        "account",
        "create",
        "--reseller",
        reseller,
        "--email",
        email,
        "--json",
    ];
    serde_json::from_str(&succeed(data, &arguments)).unwrap()
}

#[test]
fn accounts_are_named_by_number_uuid_or_address_and_explained_with_the_command_that_helps() {
    let folder = folder();
    let data = folder.path();
    succeed(data, &["migrate"]);
    let json =
        |arguments: &[&str]| -> Value { serde_json::from_str(&succeed(data, arguments)).unwrap() };
    for name in ["Acme Hosting", "Other"] {
        succeed(data, &["reseller", "create", "--name", name]);
    }
    let made = create(data, "1", "jo@example.com");
    let uid = made["uid"].as_str().unwrap();
    for name in ["1", uid, "jo@example.com", "JO@EXAMPLE.COM"] {
        assert_eq!(json(&["account", "show", name, "--json"]), made, "{name}");
    }

    // Two resellers with the same address: one of them must be named.
    create(data, "Other", "jo@example.com");
    let ambiguous = refused(data, &["account", "show", "jo@example.com"]);
    assert!(
        ambiguous.contains("name one with --reseller"),
        "{ambiguous}"
    );
    let of_other = [
        "account",
        "show",
        "jo@example.com",
        "--reseller",
        "other",
        "--json",
    ];
    assert_eq!(json(&of_other)["id"], 2);
    let elsewhere = refused(data, &["account", "show", "1", "--reseller", "Other"]);
    assert!(
        elsewhere.contains("account 1 belongs to reseller 1, not to reseller 2"),
        "{elsewhere}"
    );

    let frozen = succeed(
        data,
        &[
            "account",
            "freeze",
            "1",
            "--payment-url",
            "https://pay.example/1?a=1&b=2",
            "--reason",
            "invoice 7",
        ],
    );
    assert_eq!(
        frozen,
        "account 1 (jo@example.com) is now frozen\n\
         it is blocked: frozen. `steward account explain 1` shows who may lift what\n"
    );
    let suspended = ["account", "suspend", "1", "--reason-code", "abuse"];
    assert_eq!(
        json(&[&suspended[..], &["--json"]].concat())["blocked_by"],
        json!(["suspended:operator", "frozen"])
    );
    let again = succeed(data, &suspended);
    assert!(
        again.contains("was suspended like this already; nothing changed\n"),
        "{again}"
    );

    let ends = [
        "--owner",
        "billing",
        "--level",
        "limit",
        "--ends-at",
        "2999-12-31T12:00:00Z",
    ];
    succeed(data, &[&["account", "suspend", "1"][..], &ends].concat());
    let upcoming = ["account", "upcoming", "--reseller", "Acme Hosting"];
    let coming = succeed(data, &upcoming);
    assert!(
        coming.starts_with("WHEN ")
            && coming.contains("2999-12-31 12:00:00 UTC  1 ")
            && coming.contains("hold ends  suspend:operator:billing (limit)  suspended:operator"),
        "{coming}"
    );
    let change = json(&[&upcoming[..], &["--json", "--until", "2999-12-31"]].concat());
    assert_eq!(
        (&change["what"], &change["owner"], &change["id"]),
        (&json!("hold_ends"), &json!("billing"), &json!(1))
    );
    let sooner = [&upcoming[..], &["--until", "2999-12-30"]].concat();
    assert_eq!(succeed(data, &sooner), "");
    let mistaken = refused(data, &["account", "upcoming", "--until", "soon"]);
    assert!(mistaken.contains("--until: must be a date"), "{mistaken}");
    let limited = [
        "account", "list", "--owner", "billing", "--level", "limit", "--json",
    ];
    assert_eq!(json(&limited)[0]["id"], 1);
    let mistaken = refused(data, &["account", "list", "--level", "none"]);
    assert!(
        mistaken.contains("--level: must be block, limit or warn"),
        "{mistaken}"
    );
    succeed(data, &["account", "unsuspend", "1", "--owner", "billing"]);

    let explained = succeed(
        data,
        &["account", "explain", "jo@example.com", "--reseller", "1"],
    );
    for expected in [
        "account 1 (jo@example.com) of reseller 1 Acme Hosting is blocked, 2 times\n",
        "\nsuspended by the operator\n",
        "  code       abuse\n",
        "  reason     invoice 7\n",
        "  payment    https://pay.example/1?a=1&b=2\n",
        "  lifted by  the operator\n",
        "  how        steward account unsuspend 1\n  then       still blocked: frozen\n",
    ] {
        assert!(
            explained.contains(expected),
            "{expected:?} is not in {explained}"
        );
    }
    // Each command that `explain` names lifts its block.
    let blocks = json(&["account", "explain", "1", "--json"])["blocks"].clone();
    for block in blocks.as_array().unwrap() {
        let command = block["command"].as_str().unwrap();
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        succeed(data, &arguments);
    }
    assert_eq!(
        succeed(data, &["account", "explain", "1"]),
        "account 1 (jo@example.com) of reseller 1 Acme Hosting may be used\n"
    );
    assert_eq!(
        succeed(data, &["account", "unfreeze", "1"]),
        "account 1 (jo@example.com) was not frozen by the operator; nothing changed\nit may be used\n"
    );

    // The other facts: the switch, the expiry date, the deletion and the reseller.
    for (arguments, block, command) in [
        (
            &["deactivate", "1"][..],
            "inactive",
            "steward account activate 1",
        ),
        (
            &["expiry", "1", "2020-01-01"],
            "expired",
            "steward account expiry 1 never",
        ),
        (&["delete", "1"], "deleted", "steward account restore 1"),
    ] {
        succeed(data, &[&["account"], arguments].concat());
        let explained = json(&["account", "explain", "1", "--json"]);
        assert_eq!(explained["blocked_by"][0], block);
        let named = explained["blocks"][0]["command"].as_str().unwrap();
        assert_eq!(named.replace("DATE, or never for DATE", "never"), command);
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let lifted = succeed(data, &arguments);
        assert!(lifted.ends_with("it may be used\n"), "{lifted}");
    }
    succeed(data, &["reseller", "suspend", "1"]);
    let explained = json(&["account", "explain", "1", "--json"]);
    assert_eq!(
        explained["blocks"][0]["command"],
        "steward reseller unsuspend 1"
    );
}

#[test]
fn accounts_are_listed_page_by_page_as_a_table_or_as_json() {
    let folder = folder();
    let data = folder.path();
    succeed(data, &["migrate"]);
    for name in ["Acme", "Other"] {
        succeed(data, &["reseller", "create", "--name", name]);
        let create = [
            "account",
            "create",
            "--reseller",
            name,
            "--email",
            "a@example.com",
        ];
        succeed(data, &[&create[..], &["--count", "3"]].concat());
    }
    succeed(data, &["account", "freeze", "2"]);
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let text = succeed(data, &[&["account", "list", "--json"], arguments].concat());
        let listed: Vec<Value> = serde_json::from_str(&text).unwrap();
        listed
            .iter()
            .map(|account| account["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ids(&["--limit", "0", "--from", "3"]), [3, 4, 5, 6]);
    assert_eq!(ids(&["--limit", "2", "--from", "3"]), [3, 4]);
    assert_eq!(ids(&["--reseller", "other"]), [4, 5, 6]);
    assert_eq!(ids(&["--state", "frozen"]), [2]);
    assert_eq!(ids(&["--text", "a3@"]), [3, 6]);
    assert_eq!(ids(&["--text", "nobody"]), [0; 0]);

    let page = run(data, ["account", "list", "--limit", "2"]);
    assert_eq!(
        String::from_utf8(page.stdout).unwrap(),
        "ID  EMAIL           NAME  RESELLER  STATE   EXPIRES\n\
         1   a1@example.com        1 Acme    active  never\n\
         2   a2@example.com        1 Acme    frozen  never\n"
    );
    assert_eq!(
        String::from_utf8(page.stderr).unwrap(),
        "2 of 6 accounts, without the deleted ones, which --state deleted lists; --from 3 lists the next ones, --limit 0 all\n"
    );
    let empty = run(data, ["account", "list", "--state", "expired"]);
    assert!(empty.status.success() && empty.stdout.is_empty());
    assert_eq!(String::from_utf8(empty.stderr).unwrap(), "no account\n");
}

//! The commands: their output, their errors and their exit codes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::process::{folder, run, steward, succeed};

#[test]
fn resellers_tokens_and_accounts_are_managed_from_the_command_line() {
    let folder = folder();
    let data = folder.path();
    succeed(data, &["migrate"]);
    let json =
        |arguments: &[&str]| -> Value { serde_json::from_str(&succeed(data, arguments)).unwrap() };

    assert_eq!(
        json(&["reseller", "create", "--name", "Acme Hosting", "--json"]),
        json!({"id": 1, "name": "Acme Hosting"})
    );
    let again = run(data, ["reseller", "create", "--name", "ACME hosting"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("another reseller has this name"));
    assert_eq!(
        succeed(data, &["reseller", "suspend", "acme hosting"]),
        "reseller 1 is now suspended\n"
    );
    assert_eq!(
        succeed(data, &["reseller", "suspend", "1"]),
        "reseller 1 is already suspended\n"
    );
    assert!(json(&["reseller", "list", "--json"])[0]["suspended_at"].is_string());
    assert_eq!(
        succeed(data, &["reseller", "unsuspend", "1"]),
        "reseller 1 is now active\n"
    );
    let suspensions = json(&["reseller", "suspensions", "Acme Hosting", "--json"]);
    assert_eq!(suspensions[0]["suspended_by"], "operator, command line");
    assert_eq!(suspensions[0]["lifted_by"], "operator, command line");
    assert!(suspensions[0]["lifted_at"].is_string(), "{suspensions}");
    let table = succeed(data, &["reseller", "suspensions", "1"]);
    assert!(table.starts_with("SUSPENDED"), "{table}");
    let updated = succeed(
        data,
        &[
            "reseller",
            "update",
            "1",
            "--timezone",
            "Europe/Berlin",
            "--soap-codes",
            "number",
        ],
    );
    assert_eq!(
        updated,
        "reseller 1: time zone Europe/Berlin, SOAP codes as numbers, any number of accounts, accounts never purged\n"
    );
    assert_eq!(
        succeed(data, &["reseller", "update", "1", "--soap-codes", "word"]),
        "reseller 1: time zone Europe/Berlin, SOAP codes as words, any number of accounts, accounts never purged\n"
    );

    let token = json(&[
        "token",
        "create",
        "--reseller",
        "Acme Hosting",
        "--scope",
        "account:read,account:write",
        "--expires-in",
        "90d",
        "--name",
        "backend",
        "--json",
    ]);
    assert!(token["token"].as_str().unwrap().starts_with("stw_"));
    assert_eq!(
        (token["reseller_id"].clone(), token["scopes"].clone()),
        (json!(1), json!(["account:read", "account:write"]))
    );
    let id = token["id"].to_string();
    for arguments in [
        ["token", "create", "--operator", "--expires-in", "36526d"],
        ["token", "create", "--operator", "--expires-in", "0s"],
        ["token", "rotate", &id, "--grace", "36526d"],
    ] {
        let output = run(data, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let problem = if arguments[4] == "0s" {
            "must be longer"
        } else {
            "must be at most a hundred years"
        };
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr.contains(&format!("{}: {problem}", arguments[3])),
            "{arguments:?}: {stderr}"
        );
    }
    let rotated = json(&["token", "rotate", &id, "--grace", "7d", "--json"]);
    assert_ne!(rotated["token"], token["token"]);
    assert_eq!(rotated["name"], "backend");
    assert_eq!(
        succeed(data, &["token", "revoke", &id]),
        format!("token {id} is now revoked\n")
    );
    assert_eq!(
        succeed(data, &["token", "revoke", &id]),
        format!("token {id} is already revoked\n")
    );
    let operator = json(&["token", "create", "--operator", "--json"]);
    assert_eq!(operator["reseller_id"], Value::Null);
    let listed = succeed(data, &["token", "list"]);
    assert!(
        listed.contains("operator") && listed.contains("revoked") && !listed.contains("stw_"),
        "{listed}"
    );

    let made = json(&[
        "account",
        "create",
        "--reseller",
        "1",
        "--email",
        "jo@example.com",
        "--name",
        "Jo",
        "--company",
        "Acme",
        "--expires-at",
        "2030-01-31",
        "--json",
    ]);
    assert_eq!(
        (
            made["id"].clone(),
            made["email"].clone(),
            made["expires_at"].clone()
        ),
        (
            json!(1),
            json!("jo@example.com"),
            json!("2030-01-31T22:59:59Z")
        )
    );
    let shown = json(&["account", "show", "1", "--json"]);
    assert_eq!(
        (shown["uid"].clone(), shown["effective_status"].clone()),
        (made["uid"].clone(), json!("active"))
    );
    let many = succeed(
        data,
        &[
            "account",
            "create",
            "--reseller",
            "1",
            "--email",
            "load@example.com",
            "--count",
            "1200",
        ],
    );
    assert_eq!(many, "created 1200 accounts\n");
    assert_eq!(
        json(&["account", "show", "1201", "--json"])["email"],
        "load1200@example.com"
    );
    for (arguments, expected) in [
        (&["account", "show", "999999"][..], "account not found"),
        (
            &["account", "show", "0"],
            "it must be a number from 1 to 2147483647, a UUID",
        ),
        (
            &[
                "account",
                "create",
                "--reseller",
                "nobody",
                "--email",
                "x@example.com",
            ],
            "reseller not found",
        ),
        (
            &[
                "account",
                "create",
                "--reseller",
                "1",
                "--email",
                "nonsense",
            ],
            "email: must be an e-mail address",
        ),
        (
            &[
                "account",
                "create",
                "--reseller",
                "1",
                "--email",
                "JO@example.com",
            ],
            "email_in_use",
        ),
        (&["token", "revoke", "999"], "token not found"),
        (
            &[
                "token",
                "create",
                "--reseller",
                "1",
                "--scope",
                "reseller:write",
            ],
            "for an operator's token only",
        ),
    ] {
        let output = run(data, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && stderr.contains(expected),
            "{arguments:?}: {stderr}"
        );
        assert!(output.stdout.is_empty());
    }

    let missing = run(
        data,
        ["account", "import", "nowhere.csv", "--reseller", "1"],
    );
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere.csv: "));
}

#[test]
fn bulk_operations_and_the_purge_plan_are_run_from_the_command_line() {
    let folder = folder();
    let data = folder.path();
    succeed(data, &["migrate"]);
    succeed(data, &["reseller", "create", "--name", "Acme"]);
    succeed(
        data,
        &[
            "account",
            "create",
            "--reseller",
            "Acme",
            "--email",
            "a@example.com",
            "--count",
            "3",
        ],
    );
    let file = data.join("operations.jsonl");
    let write = |lines: &[&str]| fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    write(&[
        r#"{"operation":"freeze","account":1,"paymentUrl":"https://pay.example/1"}"#,
        "",
        r#"{"operation":"delete","account":"2"}"#,
    ]);
    assert_eq!(
        succeed(data, &["bulk", "--dry-run", path]),
        "2 valid operations: delete 1, freeze 1\n"
    );
    assert_eq!(
        succeed(data, &["bulk", path]),
        "2 changed, 0 unchanged, 0 failed\n"
    );
    // A second run: the first account is frozen already, and the second is deleted.
    let again = run(data, ["bulk", path]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "0 changed, 1 unchanged, 1 failed\n"
    );
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("line 3: delete: account is deleted"),
        "{again:?}"
    );
    // An invalid line is named, and no operation runs.
    for (line, expected) in [
        (
            r#"{"operation":"dance","account":3}"#,
            "line 2: operation: must be one of freeze",
        ),
        (r#"{"operation":"freeze"}"#, "line 2: account: is required"),
        (
            r#"{"operation":"freeze","account":3,"paymentUrl":"ftp://x"}"#,
            "line 2: paymentUrl: must be an absolute",
        ),
        (
            r#"{"operation":"freeze","account":3,"payment_url":"https://pay.example"}"#,
            "line 2: payment_url: is no member of this request; did you mean paymentUrl?",
        ),
        (
            r#"{"operation":"delete","account":3,"endsAt":"2027-01-01"}"#,
            "line 2: endsAt: is no member of the operation delete",
        ),
        (r#"["freeze",3]"#, "line 2: must be an object"),
        ("freeze 3", "line 2: "),
    ] {
        write(&[r#"{"operation":"suspend","account":3}"#, line]);
        let refused = run(data, ["bulk", path]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains(expected),
            "{refused:?}"
        );
    }
    assert_eq!(
        serde_json::from_str::<Value>(&succeed(data, &["account", "show", "3", "--json"])).unwrap()
            ["effective_status"],
        "active"
    );

    assert_eq!(
        succeed(data, &["purge", "plan"]),
        "no account will be purged\n"
    );
    assert_eq!(
        succeed(data, &["purge", "plan", "--reseller", "acme", "--json"]),
        "[]\n"
    );
    let on = succeed(
        data,
        &[
            "reseller",
            "update",
            "Acme",
            "--purges",
            "on",
            "--purge-grace-days",
            "60",
        ],
    );
    assert!(
        on.ends_with("accounts purged after 60 days, at most 100 at once\n"),
        "{on}"
    );
    assert_eq!(
        succeed(data, &["purge", "approve", "Acme"]),
        "reseller 1: no purge is waiting for approval; nothing changed\n"
    );
    assert_eq!(
        run(data, ["purge", "approve", "Nobody"]).status.code(),
        Some(1)
    );
    assert_eq!(
        run(data, ["reseller", "update", "Acme", "--purge-limit", "0"])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_help_has_examples() {
    let folder = folder();
    for arguments in [
        &["nonsense"][..],
        &["token", "create"],
        &["account", "create"],
        &["token", "create", "--operator", "--reseller", "1"],
        &["token", "create", "--operator", "--scope", "x"],
        &[],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    for command in [
        &["serve"][..],
        &["worker"],
        &["demo"],
        &["migrate"],
        &["openapi"],
        &["wsdl"],
        &["reseller", "update"],
        &["reseller", "create"],
        &["reseller", "list"],
        &["token", "create"],
        &["token", "rotate"],
        &["account", "import"],
        &["config", "show"],
    ] {
        let help = succeed(folder.path(), &[command, &["--help"]].concat());
        assert!(help.contains("Example"), "{command:?} has no example");
        assert!(help.contains("--config"), "{command:?} takes no --config");
    }
    assert!(
        !folder.path().join("postgres").exists(),
        "nothing was started for it"
    );
}

/// Fails if a reference of the document has no target.
fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref") {
                let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(
                    document.pointer(pointer).is_some(),
                    "{pointer} leads nowhere"
                );
            }
            members
                .values()
                .for_each(|value| check_references(value, document));
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| check_references(value, document)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn openapi_needs_no_database_and_describes_every_call() {
    let folder = folder();
    let document: Value = serde_json::from_str(&succeed(folder.path(), &["openapi"])).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let operations: usize = paths
        .values()
        .map(|methods| methods.as_object().unwrap().len())
        .sum();
    // One more: the operation that redeems a release ticket and takes no token.
    assert_eq!(
        operations,
        steward::dialects::admin::OPERATIONS.len() + steward::dialects::v3::OPERATIONS.len()
    );
    check_references(&document, &document);
    assert!(!folder.path().join("postgres").exists());
}

#[test]
fn wsdl_names_the_configured_address_and_types_codes_as_they_are_written() {
    let folder = folder();
    let wsdl = |arguments: &[&str]| {
        let output = steward(folder.path())
            .arg("wsdl")
            .args(arguments)
            .env("STEWARD_SERVER__PUBLIC_URL", "https://accounts.example")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let words = wsdl(&[]);
    let location = "location=\"https://accounts.example/Services/Reseller/Service.asmx\"";
    assert!(
        words.starts_with("<?xml") && words.contains(location),
        "{words}"
    );
    let enumeration = "name=\"Code\" type=\"tns:ReturnCode\"";
    assert!(words.contains(enumeration) && words == wsdl(&["--codes", "word"]));
    let numbers = wsdl(&["--codes", "number"]);
    assert!(
        numbers.contains("name=\"Code\" type=\"s:string\"") && !numbers.contains(enumeration),
        "{numbers}"
    );
}

#[test]
fn a_closed_standard_output_is_no_error() {
    let folder = folder();
    let mut child = steward(folder.path())
        .arg("openapi")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

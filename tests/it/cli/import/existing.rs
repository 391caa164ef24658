//! Rows whose account exists.

use serde_json::{Value, json};
use steward::domain::{Patch, ResellerId};
use steward::service::{Principal, ResellerPatch};

use super::Place;

#[tokio::test]
async fn an_import_is_run_again_without_doubling() {
    let place = Place::new().await;
    let text = super::columns_without_plan();
    let file = place.file("all.csv", text);
    place.import(&[&file]).ok("2 rows, 2 created");
    let journal = "select count(*) from journal";
    let entries = place.app.database.number(journal).await;
    for mode in ["fail", "skip", "update"] {
        place
            .import(&[&file, "--on-existing", mode])
            .ok("2 rows, 0 created, 2 already there");
    }
    assert_eq!(place.app.database.number(journal).await, entries);
    assert_eq!(place.accounts().await, 2);
}

#[tokio::test]
async fn rows_that_differ_are_refused_skipped_or_change_the_account() {
    let place = Place::new().await;
    let first = "number,email,name,company\n7,a@example.com,a,Acme\n";
    place
        .import(&[&place.file("first.csv", first)])
        .ok("1 created");
    place.client.call("freeze", json!({"id": 7})).await.ok();
    let file = place.file(
        "second.csv",
        "number,email,name\n7,a@example.com,b\n8,new@example.com,n\n",
    );
    place.import(&[&file]).fails(&[
        "line 2: number \"7\": account 7 has it, and differs in name",
        "--on-existing skip leaves such accounts as they are, update changes them",
        "1 of 2 rows are refused",
    ]);
    assert_eq!(place.accounts().await, 1);
    place
        .import(&[&file, "--on-existing", "skip"])
        .ok("2 rows, 1 created, 1 skipped");
    assert_eq!(place.client.get(7).await["name"], "a");
    place
        .import(&[&file, "--on-existing", "update"])
        .ok("2 rows, 0 created, 1 updated, 1 already there");
    let changed = place.client.get(7).await;
    // The column company is not in the file, and no column names a freeze.
    assert_eq!(
        json!([
            changed["name"],
            changed["company"],
            changed["is_frozen"],
            changed["version"]
        ]),
        json!(["b", "Acme", true, 3])
    );
    let file = place.file("clear.csv", "email,company\nA@Example.com,\n");
    let cleared = place.import(&[&file, "--on-existing", "update"]);
    cleared.ok("1 rows, 0 created, 1 updated");
    let changed = place.client.get(7).await;
    assert_eq!(
        json!([changed["company"], changed["email"], changed["name"]]),
        json!([null, "A@Example.com", "b"])
    );
}

#[tokio::test]
async fn a_row_is_about_one_account_whose_identity_stays() {
    let place = Place::new().await;
    let other = place.app.new_reseller("Other").await;
    let theirs = other.account("theirs").await;
    let uid = other.get(theirs).await["uid"].as_str().unwrap().to_owned();
    let first = "number,email\n7,a@example.com\n8,b@example.com\n9,c@example.com\n";
    place
        .import(&[&place.file("first.csv", first)])
        .ok("3 created");
    place.client.call("delete", json!({"id": 9})).await.ok();
    for mode in ["fail", "update"] {
        for (row, expected) in [
            (
                "7,,b@example.com".to_owned(),
                "account 8 has it, but account 7 has the number",
            ),
            (
                "10,,b@example.com".to_owned(),
                "email \"b@example.com\": account 8 has it; its number 8 cannot become 10",
            ),
            (format!("7,{uid},"), "uid"),
            (
                format!("{theirs},,"),
                "an account of another reseller has it",
            ),
            (format!(",{uid},"), "an account of another reseller has it"),
            ("9,,".to_owned(), "account 9 has it, and is deleted"),
        ] {
            let file = place.file("row.csv", format!("number,uid,email\n{row}\n"));
            place
                .import(&[&file, "--on-existing", mode])
                .fails(&["line 2: ", expected]);
        }
    }
    // The address of a deleted account is free, its number is not.
    let file = place.file("row.csv", "number,email\n11,c@example.com\n");
    place.import(&[&file]).ok("1 created");
    let file = place.file("row.csv", "number,email\n7,b@example.com\n");
    place
        .import(&[&file, "--on-existing", "skip"])
        .fails(&["a row is about one account"]);
}

#[tokio::test]
async fn the_quota_refuses_the_rows_beyond_it_and_says_how_to_raise_it() {
    let place = Place::new().await;
    let limit = |limit: i32| {
        let patch = ResellerPatch {
            account_limit: Patch::Set(limit),
            ..ResellerPatch::default()
        };
        let service = place.app.service.clone();
        async move {
            let caller = Principal::command_line();
            service
                .revise_reseller(&caller, ResellerId(1), patch, None)
                .await
                .unwrap()
        }
    };
    limit(5).await;
    let file = place.file("in.csv", super::addresses(8));
    let small = |more: &[&str]| place.import(&[&[file.as_str(), "--batch", "2"], more].concat());
    let dry = small(&["--dry-run"]);
    dry.fails(&[
        "line 7: the reseller may have 5 accounts and has 5",
        "accountLimit",
        "3 of 8 rows would be refused",
    ]);
    small(&[]).fails(&["nothing was imported: 3 of 8 rows are refused"]);
    assert_eq!(place.accounts().await, 0);
    small(&["--skip-invalid"]).ok("8 rows, 5 created, 3 refused");
    limit(8).await;
    small(&[]).ok("8 rows, 3 created, 5 already there");
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let place = Place::new().await;
    let file = place.file("in.csv", "number,email\n7,a@example.com\n,b@example.com\n");
    place
        .import(&[&file, "--dry-run"])
        .ok("dry run, nothing was written: 2 rows, 2 created");
    assert_eq!(place.accounts().await, 0);
    let drawn = "select coalesce(pg_sequence_last_value('account_id_seq'), 0)";
    assert_eq!(place.app.database.number(drawn).await, 0);
}

#[tokio::test]
async fn a_hold_keeps_the_times_that_the_file_does_not_have() {
    let place = Place::new().await;
    let file = place.file("first.csv", "number\n7\n8\n");
    place.import(&[&file]).ok("2 created");
    let times = json!({"id": 7, "reason_code": "unpaid", "ends_at": "2099-01-31T12:00:00Z"});
    place.client.call("freeze", times).await.ok();
    let times = json!({"id": 8, "reason_code": "unpaid", "starts_at": "2098-01-31T12:00:00Z"});
    place.client.call("suspend", times).await.ok();
    let file = "number,freeze_reason,suspend_reason\n7,overdue,\n8,,overdue\n";
    let file = place.file("second.csv", file);
    place
        .import(&[&file, "--on-existing", "update"])
        .ok("2 updated");
    let hold = |account: Value| {
        let hold = &account["holds"][0];
        json!([hold["reason_code"], hold["starts_at"], hold["ends_at"]])
    };
    assert_eq!(
        hold(place.client.get(7).await),
        json!(["overdue", null, "2099-01-31T12:00:00Z"])
    );
    assert_eq!(
        hold(place.client.get(8).await),
        json!(["overdue", "2098-01-31T12:00:00Z", null])
    );
}

#[tokio::test]
async fn blocks_that_the_file_does_not_have_are_named_and_lifted_on_demand() {
    let place = Place::new().await;
    let first = "number,name,freeze_reason,suspend_reason\n1,a,unpaid,\n2,b,unpaid,abuse\n3,c,,\n";
    place
        .import(&[&place.file("first.csv", first)])
        .ok("3 created");
    let unmarked = "number,name\n1,a\n2,b\n3,c\n";
    let silent = place.import(&[&place.file("names.csv", unmarked)]);
    silent.ok("3 already there");
    assert!(
        !silent.stderr.contains("not in the file"),
        "{}",
        silent.stderr
    );
    let paid = "number,name,freeze_reason,suspend_reason\n1,a,,\n2,b,unpaid,\n3,c2,,\n";
    let paid = place.file("paid.csv", paid);
    let update = [paid.as_str(), "--on-existing", "update"];
    let named = place.import(&update);
    named.ok("3 rows, 0 created, 1 updated, 2 already there");
    for text in [
        "frozen here and not in the file: 1 (account 1 of line 2)",
        "suspended here and not in the file: 1 (account 2 of line 3)",
        "--on-existing update --lift",
    ] {
        assert!(named.stderr.contains(text), "{text}: {}", named.stderr);
    }
    assert_eq!(place.client.get(1).await["is_frozen"], true);
    place
        .import(&[&paid, "--lift"])
        .fails(&["--lift changes accounts: it needs --on-existing update"]);
    let lift = [&update[..], &["--lift"]].concat();
    place
        .import(&[&lift[..], &["--dry-run"]].concat())
        .ok("3 already there, 2 to lift");
    place.import(&lift).ok("3 already there, 2 lifted");
    let blocks = async |id| {
        let account = place.client.get(id).await;
        json!([account["is_frozen"], account["is_suspended"]])
    };
    assert_eq!(blocks(1).await, json!([false, false]));
    assert_eq!(blocks(2).await, json!([true, false]));
    // The operator's blocks are not the reseller's to lift.
    place
        .app
        .operator()
        .await
        .call("suspend", json!({"id": 1}))
        .await
        .ok();
    let counts = place.import(&[&lift[..], &["--json"]].concat()).json();
    assert_eq!(
        json!([
            counts["lifted"],
            counts["blocked_only_here"]["suspended"]["count"]
        ]),
        json!([0, 0])
    );
}

#[tokio::test]
async fn json_lines_need_the_members_of_a_block_in_one_row() {
    let place = Place::new().await;
    let first = "{\"number\":1,\"freeze_reason\":\"unpaid\"}\n{\"number\":2}\n";
    place
        .import(&[&place.file("first.jsonl", first)])
        .ok("2 created");
    let none = place.file("none.jsonl", "{\"number\":1}\n{\"number\":2}\n");
    let lift = ["--on-existing", "update", "--lift"];
    place
        .import(&[&[none.as_str()], &lift[..]].concat())
        .ok("2 already there");
    assert_eq!(place.client.get(1).await["is_frozen"], true);
    let null = "{\"number\":1}\n{\"number\":2,\"freeze_reason\":null}\n";
    let null = place.file("null.jsonl", null);
    place
        .import(&[&[null.as_str()], &lift[..]].concat())
        .ok("1 lifted");
    assert_eq!(place.client.get(1).await["is_frozen"], false);
}

/// A suspension of an owner is placed for this owner, stands beside others, and is left alone by a
/// file that says nothing of it.
#[tokio::test]
async fn a_suspension_may_be_an_owners_and_is_then_lifted_by_nobody_else() {
    let place = Place::new().await;
    let file = place.file(
        "owners.csv",
        "number,email,suspend_reason,suspend_owner\n\
         71,jo@example.com,spam,abuse-desk\n72,al@example.com,,billing\n73,di@example.com,late,\n",
    );
    place.import(&[&file]).ok("3 created");
    place.import(&[&file]).ok("3 already there");
    let mut owners = Vec::new();
    for number in [71, 72, 73] {
        let account = place.account(number).await;
        assert_eq!(account["effectiveStatus"], "suspended:reseller");
        owners.push(account["holds"][0]["owner"].clone());
    }
    assert_eq!(owners, [json!("abuse-desk"), json!("billing"), json!(null)]);
    let silent = place.file(
        "silent.csv",
        "number,email,suspend_reason\n71,jo@example.com,\n72,al@example.com,\n73,di@example.com,\n",
    );
    let lift = ["--on-existing", "update", "--lift"];
    place
        .import(&[&[silent.as_str()], &lift[..]].concat())
        .ok("1 lifted");
    for (number, status) in [
        (71, "suspended:reseller"),
        (72, "suspended:reseller"),
        (73, "active"),
    ] {
        assert_eq!(
            place.account(number).await["effectiveStatus"],
            status,
            "{number}"
        );
    }
}

/// A file has no column for the level of a hold, so it changes none.
#[tokio::test]
async fn a_warning_stays_one_when_its_row_is_imported_again() {
    let place = Place::new().await;
    let file = place.file(
        "late.csv",
        "number,email,freeze_reason\n71,jo@example.com,late\n",
    );
    place.import(&[&file]).ok("1 created");
    let warn = json!({"id": 71, "level": "warn"});
    place.client.call("freeze", warn).await.ok();
    place.import(&[&file]).ok("1 already there");
    let changed = place.file(
        "later.csv",
        "number,email,freeze_reason\n71,jo@example.com,later\n",
    );
    place
        .import(&[&changed, "--on-existing", "update"])
        .ok("1 updated");
    let account = place.account(71).await;
    assert_eq!(
        (&account["restriction"], &account["effectiveStatus"]),
        (&json!("warn"), &json!("active"))
    );
}

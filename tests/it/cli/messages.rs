//! What the commands answer to mistakes, and what they report: the flag, what was given, what is
//! accepted, and how to go on.

use std::net::TcpListener;
use std::process::Output;

use serde_json::{Value, json};

use super::import::Place;
use crate::harness::process::{folder, run, steward};

fn command(place: &Place, arguments: &[&str]) -> Output {
    let mut command = steward(place.path("").as_path());
    let command = command.env("DATABASE_URL", place.app.database.url());
    command.args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    let streams = streams.map(|stream| String::from_utf8_lossy(stream).into_owned());
    streams.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_on_the_command_line_are_answered_with_flag_value_and_way_out() {
    let place = Place::new().await;
    place.client.account("gina").await;
    let nowhere = place.path("nowhere/x.gz");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, code, words) in [
        (&["freeze", "7"][..], 2, &["'account freeze'"][..]),
        (&["rotate", "7"], 2, &["'token rotate'"]),
        (
            &["token", "revoke", "abc"],
            2,
            &["'abc'", "a whole number from 1 on", "steward token list"],
        ),
        (
            &["token", "rotate", "stw_abc", "--grace", "1d"],
            2,
            &["this is a token, not its number"],
        ),
        (
            &["reseller", "update", "1", "--purge-grace-days", "-1"],
            1,
            &["--purge-grace-days: must be between", "-1"],
        ),
        (
            &["account", "list", "--limit", "-1"],
            2,
            &["'-1'", "--limit"],
        ),
        (
            &["token", "list", "--reseller", "99"],
            1,
            &["reseller not found", "\"99\""],
        ),
        (
            &["account", "freeze", "1", "--payment-url", "pay.example/1"],
            1,
            &["--payment-url: must be", "not \"pay.example/1\""],
        ),
        (
            &["account", "freeze", "1", "--ends-at", "2020-01-01"],
            1,
            &["--ends-at: ", "not \"2020-01-01\""],
        ),
        (
            &[
                "account",
                "create",
                "--reseller",
                "1",
                "--email",
                "Gina@example.com",
            ],
            1,
            &[
                "Gina@example.com",
                "email_in_use",
                "account 1",
                "steward account show 1",
            ],
        ),
        (
            &["backup", nowhere],
            1,
            &["there is no folder", "/nowhere; "],
        ),
        (
            &[
                "listen",
                "--forward-to",
                "http://127.0.0.1:1",
                "--after",
                "12",
            ],
            2,
            &["--after", "'12'", "must be the cursor of an event"],
        ),
    ] {
        let output = command(&place, arguments);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: no {word} in {text}");
        }
        assert!(!text.contains("signing secret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_everything_that_an_import_can_set() {
    let place = Place::new().await;
    let file = place.file(
        "all.csv",
        "number,email,name,title,company,status,expires_at,created_at,plan,timezone,metadata.crm,\
         freeze_reason,freeze_payment_url,freeze_since,suspend_reason,suspend_message,suspend_since\n\
         77,a@example.com,the name,the title,the company,inactive,2031-01-02,2019-01-02,4,\
         Europe/Berlin,K-7,unpaid,https://pay.example/77,2026-01-03,abuse,Please call.,2026-01-04\n",
    );
    place.import(&[&file]).ok("1 created");
    let shown = text(&command(&place, &["account", "show", "77"]));
    let json = command(&place, &["account", "show", "77", "--json"]);
    let document = text(&json);
    for value in [
        "a@example.com",
        "the name",
        "the title",
        "the company",
        "inactive",
        "2031-01-02",
        "2019-01-02",
        "4",
        "Europe/Berlin",
        "K-7",
        "unpaid",
        "https://pay.example/77",
        "2026-01-03",
        "abuse",
        "Please call.",
        "2026-01-04",
    ] {
        assert!(shown.contains(value), "{value}: {shown}");
        assert!(document.contains(value), "{value}: {document}");
    }
    let never = text(&command(&place, &["account", "expiry", "77", "never"]));
    assert!(never.contains("has a new expiry date: never"), "{never}");
    let date = text(&command(&place, &["account", "expiry", "77", "2032-05-06"]));
    assert!(date.contains("date: 2032-05-06 23:59:59 UTC"), "{date}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_names_every_mistake_and_a_dry_run_the_accounts_that_are_not_there() {
    let place = Place::new().await;
    place.client.account("gina").await;
    let file = place.file(
        "wrong.jsonl",
        "{\"operation\":\"freeze\",\"account\":1,\"paymentUrl\":\"x\"}\n\
         {\"op\":\"freeze\",\"account\":1}\n\
         {\"operation\":\"suspend\",\"account\":1}\n\
         {\"operation\":\"thaw\",\"account\":1}\n",
    );
    let wrong = text(&command(&place, &["bulk", &file]));
    for word in [
        "line 1: paymentUrl: must be",
        "line 2: operation: is required; op is no member of this request, did you mean operation?",
        "line 4: operation: must be one of freeze",
        "not \"thaw\"",
        "3 operations are invalid, so none was carried out",
    ] {
        assert!(wrong.contains(word), "{word}: {wrong}");
    }
    let file = place.file(
        "missing.jsonl",
        "{\"operation\":\"suspend\",\"account\":1}\n{\"operation\":\"suspend\",\"account\":999}\n",
    );
    let dry = command(&place, &["bulk", "--dry-run", &file]);
    assert_eq!(dry.status.code(), Some(1));
    let dry = text(&dry);
    assert!(
        dry.contains("line 2: suspend: account 999: account not found"),
        "{dry}"
    );
    let account = place.account(1).await;
    assert_eq!(account["effectiveStatus"], Value::from("active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_or_not_allowed_is_a_warning_with_its_fix_once() {
    let place = Place::new().await;
    for port in [1, 2] {
        let url = format!("https://localhost.invalid:{port}/");
        let made = place
            .v3
            .call("POST", "/v3/webhooks", &json!({"url": url}))
            .await;
        assert_eq!(made.status.as_u16(), 201);
    }
    let doctor = command(&place, &["doctor"]);
    let doctor = text(&doctor);
    assert!(
        doctor.contains("warn   webhooks       2 of 2 receivers are down"),
        "{doctor}"
    );
    assert_eq!(doctor.matches("ask its owner").count(), 1, "{doctor}");
    assert!(!doctor.contains("ok     webhooks"), "{doctor}");
    assert!(!doctor.contains("FAIL   webhooks"), "{doctor}");
}

#[test]
fn a_database_that_is_down_is_named_with_host_port_and_key() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let folder = folder();
    for arguments in [&["account", "list"][..], &["migrate"], &["doctor"]] {
        let output = steward(folder.path())
            .env(
                "DATABASE_URL",
                format!("postgres://u:secret@127.0.0.1:{port}/x"),
            )
            .args(arguments)
            .output()
            .unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(text.contains("DATABASE_URL"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn the_demo_takes_its_addresses_as_flags_and_names_both_that_are_taken() {
    let folder = folder();
    let taken = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, other] = taken
        .each_ref()
        .map(|it| it.local_addr().unwrap().to_string());
    let refused = run(
        folder.path(),
        ["demo", "--listen", &one, "--management-listen", &other],
    );
    let refused = text(&refused);
    for word in [&one, &other, "--listen", "--management-listen"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

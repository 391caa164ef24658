//! Passwords are checked as Zoolz does, and kept nowhere.

use std::sync::Mutex;

use super::two_resellers;
use crate::harness::App;
use crate::harness::soap::{NS12, envelope, post};
use steward::hash::sha256;

#[tokio::test]
async fn operations_on_passwords_and_drives_are_refused_with_zoolzs_codes() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let jo = "<email>jo@example.com</email>";
    let theirs = "<email>theirs@example.com</email>";
    let wrong = "Invalid password, please check password";
    let short = "Invalid Password, Minimum 6 characters";
    let foreign = "Invalid Email, Email does not belong to you";
    let unknown = "Invalid Email or Email does not exist";
    for (operation, children, code, message) in [
        (
            "GetAccountInfoUsingEmailAndPass",
            format!("{jo}<password>secret</password>"),
            "InvalidPassword",
            wrong,
        ),
        (
            "GetAccountInfoByEmailAndPass",
            format!("{jo}<password>x</password>"),
            "InvalidPassword",
            wrong,
        ),
        (
            "GetAccountInfoUsingEmailAndPass",
            jo.to_owned(),
            "InvalidPassword",
            "Missing Main Parameters (password)",
        ),
        (
            "GetAccountInfoUsingEmailAndPass",
            theirs.to_owned(),
            "InvalidEmail",
            foreign,
        ),
        (
            "GetAccountInfoUsingEmailAndPass",
            String::new(),
            "InvalidEmail",
            unknown,
        ),
        (
            "ResetPassword",
            format!("{jo}<password>secret</password>"),
            "GeneralError",
            "General Error. Failed to reset password: passwords are not kept by this service",
        ),
        (
            "ResetPassword",
            format!("{jo}<password>12345</password>"),
            "InvalidPassword",
            short,
        ),
        ("ResetPassword", jo.to_owned(), "InvalidPassword", short),
        ("ResetPassword", theirs.to_owned(), "InvalidEmail", foreign),
        (
            "ToggleNetworkDrive",
            format!("<accountID>{id}</accountID><isEnabled>true</isEnabled>"),
            "GeneralError",
            "General Error. Failed to toggle network drive: network drives do not exist in this service",
        ),
        (
            "ToggleNetworkDrive",
            "<accountID>2</accountID>".to_owned(),
            "InvalidAccount",
            "Invalid Account ID, Account ID does not belong to you",
        ),
    ] {
        let (seen, text, _) = soap.call(operation, &children).await;
        assert_eq!(
            (seen.as_str(), text.as_str()),
            (code, message),
            "{operation} {children}"
        );
    }
    assert_eq!(client.get(id).await["version"], 1);
}

/// The whole database as text: every row of every table.
async fn everything_stored(app: &App) -> String {
    let superuser = app.database.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
           and not c.relispartition order by 1",
    )
    .fetch_all(&superuser)
    .await
    .unwrap();
    let mut all = String::new();
    for table in tables {
        let query = format!("select coalesce(string_agg(t::text, e'\n'), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&superuser)
            .await
            .unwrap();
        all.push_str(&rows);
    }
    all
}

#[tokio::test]
async fn a_password_is_kept_nowhere() {
    const CANARY: &str = "canary-9c1f4e";
    let app = App::new().await;
    let (client, ..) = two_resellers(&app).await;
    let bodies = Mutex::new(Vec::new());
    let send = async |key: &str, operation: &str, email: &str, password: &str| {
        let element = format!(
            "<{operation} xmlns=\"Zoolz\"><authToken>{}</authToken><name>n</name><email>{email}@example.com</email><password>{password}</password></{operation}>",
            client.token
        );
        let headers = [
            ("content-type", "application/soap+xml"),
            ("idempotency-key", key),
        ];
        let body = envelope(NS12, &element);
        bodies.lock().unwrap().push(sha256(body.as_bytes()));
        post(&app.router, &headers, body).await
    };
    let created = send("1", "CreateAccount", "new", CANARY).await;
    let taken = send("2", "CreateAccount", "jo", CANARY).await;
    let reset = send("3", "ResetPassword", "jo", CANARY).await;
    let asked = send("4", "GetAccountInfoUsingEmailAndPass", "jo", CANARY).await;
    let broken = send("5", "CreateAccount", "new", &format!("{CANARY}</x>")).await;
    for (answer, code) in [
        (&created, "Success"),
        (&taken, "UsedEmail"),
        (&reset, "GeneralError"),
        (&asked, "InvalidPassword"),
    ] {
        assert!(
            answer.body.contains(&format!("<Code>{code}</Code>")),
            "{}",
            answer.body
        );
    }
    for answer in [&created, &taken, &reset, &asked, &broken] {
        assert!(!answer.body.contains(CANARY), "{}", answer.body);
    }
    let stored = everything_stored(&app).await;
    assert!(stored.contains("new@example.com"), "the rows are read");
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    for trace in [
        CANARY.to_owned(),
        hex(CANARY.as_bytes()),
        hex(&sha256(CANARY.as_bytes())),
    ] {
        assert!(!stored.contains(&trace), "{trace}");
    }
    for body in bodies.lock().unwrap().iter() {
        assert!(!stored.contains(&hex(body)), "a hash of a body");
    }
    // No stored hash tells whether a guess of the password is right: the password is no part of
    // the command, so a repeat with another one is the same command.
    let again = send("1", "CreateAccount", "new", "another-secret").await;
    assert_eq!(
        (again.header("idempotent-replayed"), &again.body),
        ("true", &created.body)
    );
}

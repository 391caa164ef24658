//! Every operation of the dialect in one conversation, in SOAP 1.2.

use chrono::TimeDelta;
use steward::dialects::soap::{OPERATIONS, PATH};

use crate::harness::App;
use crate::harness::soap::{NS12, envelope};
use crate::harness::transcript::Transcript;

/// The story: each operation with its children.
const STORY: [(&str, &str); 15] = [
    (
        "CreateAccount",
        "<name>Jo</name><email>jo@example.com</email><password>secret</password><planID>3</planID><sendEmail>false</sendEmail>",
    ),
    ("GetAccountInfo", "<email>jo@example.com</email>"),
    ("SuspendAccount", "<email>jo@example.com</email>"),
    ("ActivateAccount", "<email>jo@example.com</email>"),
    (
        "ChangeAccountExpiryDate",
        "<email>jo@example.com</email><expiryDate>2027-05-05T10:00:00</expiryDate>",
    ),
    ("SuspendAccountUsingAccountID", "<accountID>1</accountID>"),
    ("GetAccountInfoUsingAccountID", "<accountID>1</accountID>"),
    ("ActivateAccountUsingAccountID", "<accountID>1</accountID>"),
    (
        "ChangeAccountExpiryDateUsingAccountID",
        "<accountID>1</accountID><expiryDate>2028-05-05T10:00:00</expiryDate>",
    ),
    (
        "FreezeAccountUsingAccountID",
        "<accountID>1</accountID><paymentUrl>https://pay.example/1</paymentUrl>",
    ),
    ("UnfreezeAccountUsingAccountID", "<accountID>1</accountID>"),
    (
        "UpdateAccountStatusUsingAccountID",
        "<accountID>1</accountID><status>inactive</status>",
    ),
    ("DeleteAccountUsingAccountID", "<accountID>1</accountID>"),
    (
        "CreateAccount",
        "<name>Al</name><email>al@example.com</email><password>secret</password><planID>3</planID><sendEmail>false</sendEmail>",
    ),
    ("DeleteAccount", "<email>al@example.com</email>"),
];

#[tokio::test]
async fn every_operation() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut transcript = Transcript::new(&app.router);
    transcript.name("token", &client.token);
    for (operation, children) in STORY {
        let body = envelope(
            NS12,
            &format!(
                "<{operation} xmlns=\"Zoolz\"><authToken>{}</authToken>{children}</{operation}>",
                client.token
            ),
        );
        let headers = [("content-type", "application/soap+xml; charset=utf-8")];
        let answer = transcript
            .send(operation, "POST", PATH, &headers, &body)
            .await;
        assert!(
            answer.body.contains("<Code>Success</Code>"),
            "{operation}: {}",
            answer.body
        );
        app.clock.advance(TimeDelta::minutes(1));
    }
    let operations = OPERATIONS.iter().map(|operation| operation.name);
    assert_eq!(
        transcript.missing(operations),
        [""; 0],
        "operations without an example"
    );
    insta::assert_snapshot!(transcript.finish());
}

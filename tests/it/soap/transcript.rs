//! Every operation of the dialect in one conversation, in SOAP 1.2.

use chrono::TimeDelta;
use steward::dialects::soap::{OPERATIONS, PATH};

use crate::harness::App;
use crate::harness::soap::{NS12, envelope};
use crate::harness::transcript::Transcript;

/// The story: each operation with its children.
const STORY: [(&str, &str); 30] = [
    (
        "CreatePlan",
        "<planName>Home 50</planName><instantStorageGB>50</instantStorageGB><coldStorageGB>100</coldStorageGB><users>5</users><servers>1</servers><type>0</type><frequency>2</frequency>",
    ),
    (
        "CreatePlan",
        "<planName>Business</planName><type>1</type><frequency>3</frequency>",
    ),
    ("GetPlanInfo", "<planID>1</planID>"),
    ("GetPlansInfo", ""),
    (
        "CreateAccount",
        "<name>Jo</name><email>jo@example.com</email><password>secret</password><planID>1</planID><sendEmail>false</sendEmail>",
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
        "<name>Al</name><email>al@example.com</email><password>secret</password><planID>1</planID><sendEmail>false</sendEmail>",
    ),
    (
        "UpgradeAccount",
        "<email>al@example.com</email><planID>2</planID>",
    ),
    ("GetAccountInfoByEmail", "<email>al@example.com</email>"),
    (
        "UpgradeAccountUsingAccountID",
        "<accountID>2</accountID><planID>1</planID>",
    ),
    ("GetAccountInfoByID", "<accountID>2</accountID>"),
    (
        "GetAccountInfoUsingEmailAndPass",
        "<email>al@example.com</email><password>secret</password>",
    ),
    (
        "GetAccountInfoByEmailAndPass",
        "<email>al@example.com</email><password>secret</password>",
    ),
    (
        "ResetPassword",
        "<email>al@example.com</email><password>secret</password>",
    ),
    (
        "ToggleNetworkDrive",
        "<accountID>2</accountID><isEnabled>true</isEnabled>",
    ),
    ("DeleteAccount", "<email>al@example.com</email>"),
    (
        "CreateAccountWithLanguage",
        "<name>Bo</name><email>bo@example.com</email><password></password><planID>0</planID><sendEmail>true</sendEmail><Language>3</Language>",
    ),
    (
        "CreateAccountWithNetworkDrive",
        "<name>Cy</name><email>cy@example.com</email><planID>0</planID><sendEmail>true</sendEmail><Language>1</Language><enableNetworkDrive>true</enableNetworkDrive>",
    ),
    (
        "CreateAccountWithComputersLimit",
        "<name>Di</name><email>di@example.com</email><planID>0</planID><sendEmail>true</sendEmail><Language>1</Language><enableNetworkDrive>false</enableNetworkDrive><computersLimit>4</computersLimit>",
    ),
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
        let code = match operation {
            "GetAccountInfoUsingEmailAndPass" | "GetAccountInfoByEmailAndPass" => "InvalidPassword",
            "ResetPassword" | "ToggleNetworkDrive" => "GeneralError",
            _ => "Success",
        };
        assert!(
            answer.body.contains(&format!("<Code>{code}</Code>")),
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

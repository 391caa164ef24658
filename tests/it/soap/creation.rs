//! `CreateAccount` and the operations like it.

use serde_json::{Value, json};

use super::two_resellers;
use crate::harness::App;
use crate::harness::soap::{NS12, Soap, envelope, post};
use crate::harness::v3::V3;

const CREATED: &str = "The Account has been created successfully";

/// The code and the message of a creation with these children.
async fn create(soap: &Soap, operation: &str, children: &str) -> (String, String) {
    let (code, message, after) = soap.call(operation, children).await;
    assert_eq!(after, "", "{operation}");
    (code, message)
}

fn result(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn a_password_is_optional_and_has_six_characters_if_given() {
    let app = App::new().await;
    let soap = Soap::of(&app.new_reseller("Acme").await);
    let short = result("InvalidPassword", "Invalid Password, Minimum 6 characters");
    for (number, (password, expected)) in [
        ("", result("Success", CREATED)),
        ("<password/>", result("Success", CREATED)),
        ("<password></password>", result("Success", CREATED)),
        ("<password>p</password>", short.clone()),
        ("<password>12345</password>", short.clone()),
        ("<password>     </password>", short.clone()),
        // Characters count, not bytes.
        ("<password>\u{e4}\u{f6}\u{fc}\u{df}\u{e9}</password>", short),
        ("<password>123456</password>", result("Success", CREATED)),
        (
            "<password>\u{e4}\u{f6}\u{fc}\u{df}\u{e9}\u{e8}</password>",
            result("Success", CREATED),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let children = format!("<name>n</name><email>n{number}@example.com</email>{password}");
        assert_eq!(
            create(&soap, "CreateAccount", &children).await,
            expected,
            "{password}"
        );
    }
}

#[tokio::test]
async fn a_refused_creation_is_answered_in_zoolzs_words() {
    let app = App::new().await;
    let (client, soap, _) = two_resellers(&app).await;
    let missing = |name: &str| {
        result(
            "MissingParameters",
            &format!("Missing Main Parameters ({name})"),
        )
    };
    let email = "<email>x@example.com</email>";
    let unknown_plan = result("PlanError", "The specified plan id does not exist");
    let invalid_email = result(
        "InvalidEmail",
        "Invalid Email, Please send a valid email address",
    );
    for operation in [
        "CreateAccount",
        "CreateAccountWithLanguage",
        "CreateAccountWithNetworkDrive",
        "CreateAccountWithComputersLimit",
    ] {
        for (children, expected) in [
            (email.to_owned(), missing("name")),
            (format!("<name> </name>{email}"), missing("name")),
            ("<name>n</name>".to_owned(), invalid_email.clone()),
            ("<name>n</name><email/>".to_owned(), invalid_email.clone()),
            (
                "<name>n</name><email>bad</email>".to_owned(),
                invalid_email.clone(),
            ),
            (
                "<name>n</name><email>jo@example.com</email>".to_owned(),
                result("UsedEmail", "Used Email, Someone already has that email"),
            ),
            (
                format!("<name>n</name>{email}<planID>3</planID>"),
                unknown_plan.clone(),
            ),
            (
                format!("<name>n</name>{email}<planID>-1</planID>"),
                unknown_plan.clone(),
            ),
        ] {
            assert_eq!(
                create(&soap, operation, &children).await,
                expected,
                "{operation} {children}"
            );
        }
    }
    // Another reseller's plan has a number of its own.
    let other = V3::of(&app.new_reseller("Third").await);
    let plan = json!({"name": "p", "number": 3});
    assert_eq!(other.call("POST", "/v3/plans", &plan).await.status, 201);
    let children = format!("<name>n</name>{email}<planID>3</planID>");
    assert_eq!(
        create(&soap, "CreateAccount", &children).await,
        unknown_plan
    );
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 1);
}

#[tokio::test]
async fn a_plan_a_company_and_what_else_is_asked_for_are_kept() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (soap, v3) = (Soap::of(&client), V3::of(&client));
    let plan = json!({"name": "p", "number": 331});
    let plan = v3.call("POST", "/v3/plans", &plan).await.json();
    let more = "<planID>331</planID><sendEmail>true</sendEmail><Language>3</Language>\
                <enableNetworkDrive>1</enableNetworkDrive><computersLimit>4</computersLimit>\
                <companyName>Acme Ltd</companyName>";
    for (operation, company, metadata) in [
        ("CreateAccount", json!("Acme Ltd"), json!({"language": "3"})),
        (
            "CreateAccountWithLanguage",
            json!(""),
            json!({"language": "3"}),
        ),
        (
            "CreateAccountWithNetworkDrive",
            json!(""),
            json!({"language": "3", "networkDrive": "true"}),
        ),
        (
            "CreateAccountWithComputersLimit",
            json!(""),
            json!({"language": "3", "networkDrive": "true", "computersLimit": "4"}),
        ),
    ] {
        let email = format!("{}@example.com", operation.to_lowercase());
        let children = format!("<name>n</name><email>{email}</email>{more}");
        assert_eq!(
            create(&soap, operation, &children).await,
            result("Success", CREATED)
        );
        let found = v3.get(&format!("/v3/accounts?email={email}")).await.json();
        let account = &found[0];
        assert_eq!(account["plan"]["id"], plan["id"], "{operation}");
        assert_eq!(account["metadata"], metadata, "{operation}");
        let seen = account["company"].as_str().unwrap_or_default();
        assert_eq!(json!(seen), company, "{operation}");
    }
    for (child, refused) in [
        ("<Language>x</Language>", "Language must be an int, not 'x'"),
        (
            "<enableNetworkDrive>yes</enableNetworkDrive>",
            "enableNetworkDrive must be a boolean, not 'yes'",
        ),
        (
            "<sendEmail>yes</sendEmail>",
            "sendEmail must be a boolean, not 'yes'",
        ),
    ] {
        let token = &soap.token;
        let operation = format!(
            "<CreateAccountWithNetworkDrive xmlns=\"Zoolz\"><authToken>{token}</authToken>{child}</CreateAccountWithNetworkDrive>"
        );
        let answer = soap.raw(envelope(NS12, &operation)).await;
        assert_eq!(answer.status, 500, "{child}");
        let written = refused.replace('\'', "&apos;");
        assert!(
            answer.body.contains(refused) || answer.body.contains(&written),
            "{}",
            answer.body
        );
    }
}

/// Zoolz's shop plugin sends an empty password, and plan 0 for a product that it does not know.
#[tokio::test]
async fn the_shop_plugins_request_creates_an_account_without_a_plan() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let token = &client.token;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:ns1=\"Zoolz\"><SOAP-ENV:Body><ns1:CreateAccount><ns1:authToken>{token}</ns1:authToken><ns1:name>Jo Doe</ns1:name><ns1:email>jo@shop.example</ns1:email><ns1:password></ns1:password><ns1:planID>0</ns1:planID><ns1:sendEmail>true</ns1:sendEmail></ns1:CreateAccount></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    );
    let headers = [
        ("content-type", "text/xml; charset=utf-8"),
        ("soapaction", "\"Zoolz/CreateAccount\""),
    ];
    let answer = post(&app.router, &headers, body).await;
    assert!(
        answer.body.contains("<Code>Success</Code>"),
        "{}",
        answer.body
    );
    let info = Soap::of(&client)
        .call("GetAccountInfo", "<email>jo@shop.example</email>")
        .await;
    let info: Value = serde_json::from_str(&info.1.replace("&quot;", "\"")).unwrap();
    assert_eq!((&info["PlanID"], &info["Capacity"]), (&json!(0), &json!(0)));
}

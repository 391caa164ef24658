//! The account as the operations `GetAccountInfo...` answer it.

use serde_json::{Value, json};

use super::two_resellers;
use crate::harness::App;
use crate::harness::soap::Soap;
use crate::harness::v3::V3;

/// The document in an answer, and the elements after the message.
async fn info(soap: &Soap, operation: &str, children: &str) -> (Value, String) {
    let (code, message, after) = soap.call(operation, children).await;
    assert_eq!(code, "Success", "{operation}: {message}");
    let document = |text: &str| serde_json::from_str(&text.replace("&quot;", "\"")).unwrap();
    (document(&message), after.replace(&message, "[message]"))
}

#[tokio::test]
async fn zoolzs_members_are_there_and_never_null() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (soap, v3) = (Soap::of(&client), V3::of(&client));
    v3.call("POST", "/v3/accounts", &json!({})).await.json();
    let one = "<accountID>1</accountID>";
    let (empty, _) = info(&soap, "GetAccountInfoUsingAccountID", one).await;
    let plan = json!({"name": "p", "number": 331, "allowedProductSpace": 50});
    v3.call("POST", "/v3/plans", &plan).await.json();
    let full = "<name>Jo</name><email>jo@example.com</email><planID>331</planID>";
    assert_eq!(soap.call("CreateAccount", full).await.0, "Success");
    let date = "<email>jo@example.com</email><expiryDate>2027-05-05T10:00:00</expiryDate>";
    assert_eq!(
        soap.call("ChangeAccountExpiryDate", date).await.0,
        "Success"
    );
    let (full, _) = info(&soap, "GetAccountInfo", "<email>jo@example.com</email>").await;
    for (member, without, with) in [
        ("AccountID", json!(1), json!(2)),
        ("Name", json!(""), json!("Jo")),
        ("Email", json!(""), json!("jo@example.com")),
        ("RegEndDate", json!(""), json!("2027-05-05T10:00:00Z")),
        ("PlanID", json!(0), json!(331)),
        ("Capacity", json!(0), json!(50)),
        ("ColdCapacity", json!(0), json!(0)),
        ("UsedSpace", json!(0), json!(0)),
        ("ColdUsedSpace", json!(0), json!(0)),
        ("LastBackup", json!(""), json!("")),
        ("LastDownload", json!(""), json!("")),
        ("LastActivity", json!(""), json!("")),
    ] {
        assert_eq!(
            (&empty[member], &full[member]),
            (&without, &with),
            "{member}"
        );
    }
}

#[tokio::test]
async fn each_operation_has_the_document_where_its_clients_look_for_it() {
    let app = App::new().await;
    let (_, soap, id) = two_resellers(&app).await;
    let by_id = format!("<accountID>{id}</accountID>");
    let by_email = "<email>jo@example.com</email>".to_owned();
    let mut seen = Vec::new();
    for (operation, children, after) in [
        ("GetAccountInfo", &by_email, ""),
        ("GetAccountInfoByEmail", &by_email, "<JSON>[message]</JSON>"),
        ("GetAccountInfoByID", &by_id, "<JSON>[message]</JSON>"),
        (
            "GetAccountInfoUsingAccountID",
            &by_id,
            "<Joson>[message]</Joson>",
        ),
    ] {
        let (document, elements) = info(&soap, operation, children).await;
        assert_eq!(elements, after, "{operation}");
        seen.push(document);
    }
    assert!(seen.iter().all(|document| *document == seen[0]), "{seen:?}");
}

//! Operations and their results.

use serde_json::{Value, json};
use steward::dialects::soap;
use steward::service::{Principal, ResellerPatch};

use super::two_resellers;
use crate::harness::App;
use crate::harness::app::{admin_settings, router, soap_settings};
use crate::harness::soap::{NS12, Soap, envelope, post};

#[tokio::test]
async fn zoolzs_examples_are_answered_byte_for_byte() {
    let app = App::new().await;
    let (client, _, id) = two_resellers(&app).await;
    // The two examples of Zoolz's pages, with plain quotes. The second has the stray header of its
    // page.
    let by_id = include_str!("golden/suspend_by_id.xml")
        .replace("string", &client.token)
        .replace(">int<", &format!(">{id}<"));
    let by_email = include_str!("golden/suspend_by_email.xml")
        .replacen("string", &client.token, 1)
        .replace("string", "jo@example.com");
    let content_type = ("content-type", "application/soap+xml; charset=utf-8");
    let answer = post(&app.router, &[content_type], by_id).await;
    let expected = "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><soap:Body>\
        <SuspendAccountUsingAccountIDResponse xmlns=\"Zoolz\"><SuspendAccountUsingAccountIDResult><Code>Success</Code>\
        <Message>The account has been suspended</Message><Joson /></SuspendAccountUsingAccountIDResult></SuspendAccountUsingAccountIDResponse>\
        </soap:Body></soap:Envelope>";
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, expected)
    );
    assert_eq!(
        answer.header("content-type"),
        "application/soap+xml; charset=utf-8"
    );
    assert_eq!(
        client.get(id).await["effective_status"],
        "suspended:reseller"
    );
    client.call("unsuspend", json!({"id": id})).await.ok();
    let answer = post(
        &app.router,
        &[
            content_type,
            (
                "soapaction",
                "\"Zoolz/ChangeAccountExpiryDateUsingAccountID\"",
            ),
        ],
        by_email,
    )
    .await;
    let expected = expected
        .replace("UsingAccountID", "")
        .replace("<Joson />", "");
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, expected.as_str())
    );
    assert_eq!(
        client.get(id).await["effective_status"],
        "suspended:reseller"
    );
}

#[tokio::test]
async fn every_operation_works_by_account_id_and_by_email() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let by_id = format!("<accountID>{id}</accountID>");
    let by_email = "<email>JO@example.com</email>".to_owned();
    for (suffix, who, tail) in [("UsingAccountID", by_id, "<Joson />"), ("", by_email, "")] {
        let call = |name: &str, more: &str| {
            let (name, children) = (format!("{name}{suffix}"), format!("{who}{more}"));
            let soap = &soap;
            async move { soap.call(&name, &children).await }
        };
        let done = |message: &str| ("Success".to_owned(), message.to_owned(), tail.to_owned());
        for _ in 0..2 {
            assert_eq!(
                call("SuspendAccount", "").await,
                done("The account has been suspended")
            );
        }
        assert_eq!(
            client.get(id).await["blocked_by"],
            json!(["suspended:reseller"])
        );
        client.call("freeze", json!({"id": id})).await.ok();
        assert_eq!(
            call("ActivateAccount", "").await,
            done("The account has been activated")
        );
        assert_eq!(
            client.get(id).await["blocked_by"],
            json!(["frozen"]),
            "it does not unfreeze"
        );
        client.call("unfreeze", json!({"id": id})).await.ok();
        assert_eq!(
            call(
                "ChangeAccountExpiryDate",
                "<expiryDate>2027-05-05T10:00:00</expiryDate>"
            )
            .await,
            done("The Account Expiry Date has been updated")
        );
        assert_eq!(client.get(id).await["expires_at"], "2027-05-05T10:00:00Z");
        let (code, message, after) = call("GetAccountInfo", "").await;
        let info: Value = serde_json::from_str(&message.replace("&quot;", "\"")).unwrap();
        assert_eq!(
            (
                code.as_str(),
                info["AccountID"].clone(),
                info["Email"].clone()
            ),
            ("Success", json!(id), json!("jo@example.com"))
        );
        assert_eq!(
            after,
            if suffix.is_empty() {
                String::new()
            } else {
                format!("<Joson>{message}</Joson>")
            }
        );
        assert_eq!(
            call("DeleteAccount", "").await,
            done("The account has been Deleted")
        );
        client.call("restore", json!({"id": id})).await.ok();
    }
    let id_child = format!("<accountID>{id}</accountID>");
    let done = |message: &str| {
        (
            "Success".to_owned(),
            message.to_owned(),
            "<Joson />".to_owned(),
        )
    };
    let pay = format!("{id_child}<paymentUrl>https://pay.example/?a=1&amp;b=2</paymentUrl>");
    assert_eq!(
        soap.call("FreezeAccountUsingAccountID", &pay).await,
        done("The account has been frozen")
    );
    assert_eq!(
        client.get(id).await["frozen_details"]["payment_url"],
        "https://pay.example/?a=1&b=2"
    );
    assert_eq!(
        soap.call("UnfreezeAccountUsingAccountID", &id_child).await,
        done("The account has been unfrozen")
    );
    assert_eq!(
        soap.call(
            "UpdateAccountStatusUsingAccountID",
            &format!("{id_child}<status>inactive</status>")
        )
        .await,
        done("The account status has been updated")
    );
    assert_eq!(client.get(id).await["is_active"], json!(false));
    let create = "<name>New</name><email>new@example.com</email><password>secret</password><planID>0</planID><sendEmail>false</sendEmail>";
    assert_eq!(
        soap.call("CreateAccount", create).await.1,
        "The Account has been created successfully"
    );
    assert_eq!(client.get(3).await["tariff_id"], json!(0));
}

#[tokio::test]
async fn missing_and_foreign_accounts_are_results_not_faults() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let result = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let two = |(code, message, _): (String, String, String)| (code, message);
    let unknown = result(
        "InvalidAccount",
        "Invalid Account ID or Account ID does not exist",
    );
    for who in [
        "",
        "<accountID>0</accountID>",
        "<accountID>-5</accountID>",
        "<accountID>2147483647</accountID>",
        "<accountID xmlns=\"urn:other\">1</accountID>",
    ] {
        assert_eq!(
            two(soap.call("SuspendAccountUsingAccountID", who).await),
            unknown,
            "{who}"
        );
    }
    assert_eq!(
        two(soap
            .call("SuspendAccountUsingAccountID", "<accountID>2</accountID>")
            .await),
        result(
            "InvalidAccount",
            "Invalid Account ID, Account ID does not belong to you"
        )
    );
    let expiry = "<accountID>2</accountID><expiryDate>2027-01-01</expiryDate>";
    assert_eq!(
        two(soap
            .call("ChangeAccountExpiryDateUsingAccountID", expiry)
            .await),
        result(
            "InvalidAccount",
            "Invalid Account ID, Email does not belong to you"
        )
    );
    for email in [
        "",
        "<email/>",
        "<email>nonsense</email>",
        "<email>nobody@example.com</email>",
    ] {
        assert_eq!(
            two(soap.call("SuspendAccount", email).await),
            result("InvalidEmail", "Invalid Email or Email does not exist"),
            "{email}"
        );
    }
    assert_eq!(
        two(soap
            .call("SuspendAccount", "<email>theirs@example.com</email>")
            .await),
        result(
            "InvalidEmail",
            "Invalid Email, Email does not belong to you"
        )
    );
    let invalid = result("InvalidAuth", "Invalid Authentication Token");
    let mine = format!("<accountID>{id}</accountID>");
    for token in ["", "<authToken/>", "<authToken>abc</authToken>"] {
        assert_eq!(
            two(soap
                .call_with("SuspendAccountUsingAccountID", &format!("{token}{mine}"))
                .await),
            invalid
        );
        assert_eq!(
            two(soap
                .call_with(
                    "SuspendAccountUsingAccountID",
                    &format!("{token}<accountID>2</accountID>")
                )
                .await),
            invalid,
            "the token comes first"
        );
    }
    assert_eq!(
        two(soap
            .call("ChangeAccountExpiryDateUsingAccountID", &mine)
            .await),
        result("MissingParameters", "Missing Main Parameters (expiryDate)")
    );
    let empty = format!("{mine}<expiryDate/>");
    assert_eq!(
        two(soap
            .call("ChangeAccountExpiryDateUsingAccountID", &empty)
            .await)
        .0,
        "MissingParameters"
    );
    for year in [
        "1969-12-31T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "-0044-03-15T00:00:00",
    ] {
        let children = format!("{mine}<expiryDate>{year}</expiryDate>");
        assert_eq!(
            two(soap
                .call("ChangeAccountExpiryDateUsingAccountID", &children)
                .await),
            result(
                "GeneralError",
                "General Error, failed to change account expiry date"
            ),
            "{year}"
        );
    }
    app.operator()
        .await
        .call("suspend", json!({"id": id}))
        .await
        .ok();
    assert_eq!(
        two(soap.call("DeleteAccountUsingAccountID", &mine).await),
        result("GeneralError", "General Error. Failed to delete account")
    );
    assert_eq!(
        client.get(id).await["version"],
        2,
        "nothing else took effect"
    );
}

#[tokio::test]
async fn a_reseller_can_choose_numeric_codes_and_its_time_zone() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let berlin = ResellerPatch {
        timezone: Some("Europe/Berlin".to_owned()),
        soap_numbers: Some(true),
        ..ResellerPatch::default()
    };
    app.service
        .revise_reseller(&Principal::command_line(), reseller, berlin, None)
        .await
        .unwrap();
    assert_eq!(
        soap.call(
            "SuspendAccountUsingAccountID",
            &format!("<accountID>{id}</accountID>")
        )
        .await
        .0,
        "1000"
    );
    assert_eq!(
        soap.call("SuspendAccountUsingAccountID", "<accountID>99</accountID>")
            .await
            .0,
        "1008"
    );
    for (written, means) in [
        ("2027-07-01T00:00:00", "2027-06-30T22:00:00Z"),
        ("2027-07-01", "2027-07-01T21:59:59Z"),
        ("2027-07-01T00:00:00Z", "2027-07-01T00:00:00Z"),
    ] {
        let children = format!("<accountID>{id}</accountID><expiryDate>{written}</expiryDate>");
        assert_eq!(
            soap.call("ChangeAccountExpiryDateUsingAccountID", &children)
                .await
                .0,
            "1000"
        );
        assert_eq!(client.get(id).await["expires_at"], means);
        client
            .call("expiry_date", json!({"id": id, "expiry_date": written}))
            .await
            .ok();
        assert_eq!(
            client.get(id).await["expires_at"],
            means,
            "both dialects read dates alike"
        );
    }
    let mars = ResellerPatch {
        timezone: Some("Mars/Base".to_owned()),
        ..ResellerPatch::default()
    };
    assert!(
        app.service
            .revise_reseller(&Principal::command_line(), reseller, mars, None)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn foreign_accounts_can_be_hidden() {
    let app = App::new().await;
    let (client, _, _) = two_resellers(&app).await;
    let hiding = soap::Settings {
        hide_foreign_accounts: true,
        ..soap_settings()
    };
    let soap = Soap {
        router: router(&app.service, admin_settings(), hiding),
        token: client.token,
    };
    for (operation, foreign, unknown) in [
        (
            "SuspendAccountUsingAccountID",
            "<accountID>2</accountID>",
            "<accountID>99</accountID>",
        ),
        (
            "SuspendAccount",
            "<email>theirs@example.com</email>",
            "<email>nobody@example.com</email>",
        ),
    ] {
        assert_eq!(
            soap.call(operation, foreign).await,
            soap.call(operation, unknown).await
        );
    }
}

#[tokio::test]
async fn a_repeat_with_a_key_is_answered_with_the_stored_answer() {
    let app = App::new().await;
    let (client, soap, _) = two_resellers(&app).await;
    let create = format!(
        "<CreateAccount xmlns='Zoolz'><authToken>{}</authToken><name>n</name><email>n@example.com</email><password>secret</password></CreateAccount>",
        soap.token
    );
    let headers = [
        ("content-type", "application/soap+xml"),
        ("idempotency-key", "k"),
    ];
    let first = post(&app.router, &headers, envelope(NS12, &create)).await;
    let second = post(&app.router, &headers, envelope(NS12, &create)).await;
    assert!(first.body.contains("<Code>Success</Code>") && first.body == second.body);
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        ("", "true")
    );
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 2);

    // A refusal is repeated with HTTP 200 too, and is counted as a refusal.
    let taken = create.replace("<name>n", "<name>m");
    let headers = [headers[0], ("idempotency-key", "k2")];
    let first = post(&app.router, &headers, envelope(NS12, &taken)).await;
    let second = post(&app.router, &headers, envelope(NS12, &taken)).await;
    assert!(first.body.contains("<Code>UsedEmail</Code>") && first.body == second.body);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    let metrics = app.service.render_metrics();
    let refused = "steward_http_requests_total{dialect=\"soap\",operation=\"CreateAccount\",outcome=\"refused\"} 2";
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn an_operator_can_use_an_email_only_if_one_account_has_it() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (a, b) = (client.account("same").await, other.account("same").await);
    let alone = client.account("alone").await;
    let soap = Soap::of(&app.operator().await);
    assert_eq!(
        soap.call("SuspendAccount", "<email>same@example.com</email>")
            .await
            .0,
        "InvalidEmail"
    );
    assert_eq!(
        (
            client.get(a).await["version"].clone(),
            other.get(b).await["version"].clone()
        ),
        (json!(1), json!(1))
    );
    assert_eq!(
        soap.call("SuspendAccount", "<email>alone@example.com</email>")
            .await
            .0,
        "Success"
    );
    assert_eq!(
        client.get(alone).await["effective_status"],
        "suspended:operator"
    );
    assert_eq!(
        Soap::of(&client)
            .call("ActivateAccount", "<email>alone@example.com</email>")
            .await
            .0,
        "Success"
    );
    assert_eq!(
        client.get(alone).await["effective_status"],
        "suspended:operator",
        "the reseller cannot lift it"
    );
}

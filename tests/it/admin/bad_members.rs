//! Members with wrong values: the error names the member, and nothing changes.

use serde_json::{Value, json};

use super::client_with_an_account;
use crate::harness::App;

#[tokio::test]
async fn payment_urls_that_are_not_web_addresses_are_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let long = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
    let (fits, too_long) = (long(2_048), long(2_049));
    for bad in [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://user:secret@example.com",
        "https://user@example.com",
        "//example.com",
        "example.com",
        "",
        "https://example.com/\u{1}",
        &too_long,
    ] {
        let answer = client
            .call(
                "freeze",
                json!({"id": 1, "frozen_details": {"payment_url": bad}}),
            )
            .await;
        answer.is_error(400, "Incorrect request: frozen_details.payment_url: ");
    }
    for good in [
        "https://example.com",
        "http://example.com/pay?a=1&b=2",
        "https://пример.example/ö",
        &fits,
    ] {
        client
            .call(
                "freeze",
                json!({"id": 1, "frozen_details": {"payment_url": good}}),
            )
            .await
            .ok();
        assert_eq!(
            client.get(1).await["frozen_details"]["payment_url"],
            json!(good),
            "it is kept as it was written"
        );
    }
}

#[tokio::test]
async fn xml_entities_and_cdata_are_read_and_answers_are_escaped() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    for written in [
        "\n  https://example.com/?a=1&amp;b=2\n",
        "https://example.com/?a=1&amp;b=2",
        "<![CDATA[https://example.com/?a=1&b=2]]>",
        "https://example.com/?a=1&#38;b=2",
    ] {
        client
            .call(
                "freeze",
                json!({"id": 1, "frozen_details": {"payment_url": null}}),
            )
            .await
            .ok();
        let answer = client.call_xml("freeze", &format!("<id>1</id><frozen_details><payment_url>{written}</payment_url></frozen_details>")).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        assert_eq!(
            client.get(1).await["frozen_details"]["payment_url"],
            "https://example.com/?a=1&b=2"
        );
        let read = client.call_xml("get", "<id>1</id>").await;
        assert!(read.body.contains("<frozen_details><payment_url>https://example.com/?a=1&amp;b=2</payment_url></frozen_details>"), "{}", read.body);
    }
}

#[tokio::test]
async fn errors_name_the_wrong_member_of_every_call() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    for (call, members, expected) in [
        (
            "status",
            json!({"id": 1, "status": "Active"}),
            "status: must be active or inactive",
        ),
        ("status", json!({"id": 1}), "status: is required"),
        ("expiry_date", json!({"id": 1}), "expiry_date: is required"),
        (
            "expiry_date",
            json!({"id": 1, "expiry_date": ""}),
            "expiry_date: must be a date",
        ),
        (
            "expiry_date",
            json!({"id": 1, "expiry_date": "2026-02-30"}),
            "expiry_date: must be a date",
        ),
        (
            "expiry_date",
            json!({"id": 1, "expiry_date": "1969-01-01"}),
            "expiry_date: must be in the years 1970 to 9999",
        ),
        (
            "expiry_date",
            json!({"id": 1, "expiry_date": 1_798_675_200}),
            "expiry_date: must be a text, not the number 1798675200",
        ),
        (
            "unfreeze",
            json!({"id": 1, "hold_id": "x"}),
            "hold_id: must be the UUID of a hold",
        ),
        (
            "suspend",
            json!({"id": 1, "starts_at": "2026-05-02", "ends_at": "2026-05-01"}),
            "ends_at: must be later than starts_at",
        ),
        (
            "list",
            json!({"limit": 0}),
            "limit: must be between 1 and 1000",
        ),
        (
            "list",
            json!({"limit": 1001}),
            "limit: must be between 1 and 1000",
        ),
        (
            "list",
            json!({"from_id": -1}),
            "from_id: must not be negative",
        ),
        ("list", json!({"from_id": 1e99}), "from_id: "),
        ("list", json!({"state": "frosty"}), "state: must be one of"),
        ("list", json!({"held_by": "nobody"}), "held_by: must be"),
        (
            "list",
            json!({"expires_before": "x"}),
            "expires_before: must be a date",
        ),
        ("list", json!({"q": "a\u{0}"}), "q: must not contain"),
        (
            "history",
            json!({"id": 1, "limit": 1001}),
            "limit: must be between",
        ),
        (
            "save",
            json!({"id": 1, "reports_day": 32}),
            "reports_day: must be between 0 and 31",
        ),
        (
            "save",
            json!({"id": 1, "reports_hour": 24}),
            "reports_hour: must be between 0 and 23",
        ),
        (
            "save",
            json!({"id": 1, "tariff": -1}),
            "tariff: must be between",
        ),
        (
            "save",
            json!({"id": 1, "email": "no address"}),
            "email: must be an e-mail address",
        ),
        (
            "save",
            json!({"id": 1, "title": ""}),
            "title: must not be empty",
        ),
        (
            "save",
            json!({"id": 1, "name": 7}),
            "name: must be a text, not the number 7",
        ),
        (
            "save",
            json!({"id": 1, "bad name": 7}),
            "save: has a member of its own",
        ),
    ] {
        client
            .call(call, members)
            .await
            .is_error(400, &format!("Incorrect request: {expected}"));
    }
    assert_eq!(client.get(1).await["version"], 1);
}

#[tokio::test]
async fn a_freeze_detail_in_both_places_is_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    client
        .call(
            "freeze",
            json!({"id": 1, "reason": "a", "frozen_details": {"reason": "b"}}),
        )
        .await
        .is_error(400, "Incorrect request: reason: stands both");
    client
        .call(
            "freeze",
            json!({"id": 1, "frozen_details": {"reason_code": "late"}}),
        )
        .await
        .ok();
    assert_eq!(client.get(1).await["holds"][0]["reason_code"], "late");
}

#[tokio::test]
async fn stored_texts_come_back_as_well_formed_xml() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let nasty = "<b>&\"'>]]>\u{e9}\u{1f600}";
    client
        .call(
            "save",
            json!({"id": 1, "title": nasty, "extra_text": nasty}),
        )
        .await
        .ok();
    assert_eq!(client.get(1).await["title"], json!(nasty));
    let xml = client.call_xml("get", "<id>1</id>").await;
    let escaped = "&lt;b&gt;&amp;";
    assert_eq!(xml.body.matches(escaped).count(), 2, "{}", xml.body);
    assert!(!xml.body.contains("<b>"));
    for control in ["\u{b}", "\u{7f}", "\u{fffe}"] {
        client
            .call("save", json!({"id": 1, "extra_text": control}))
            .await
            .is_error(400, "Incorrect request: save: ");
        client
            .call("save", json!({"id": 1, "title": control}))
            .await
            .is_error(400, "Incorrect request: title: ");
    }
    let _: Value = client.get(1).await;
}

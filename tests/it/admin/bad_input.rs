//! What careless callers and attackers send, and what each of them gets: the table's error, in the dialect's
//! envelope, naming the field; nothing changed.

use axum::http::Request;
use serde_json::{Value, json};

use crate::harness::app::send;
use crate::harness::{App, Client};

/// A client with one account, number 1.
async fn client(app: &App) -> Client {
    let client = app.new_reseller("Acme").await;
    assert_eq!(client.account("a").await, 1);
    client
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_in_their_own_format() {
    let app = App::new().await;
    let client = client(&app).await;
    let token = &client.token;
    let many_attributes = format!(
        "<xml><token>{token}</token><id {}>1</id></xml>",
        "a='' ".repeat(5_000)
    );
    let deep_xml = format!(
        "<xml><token>{token}</token><id>1</id>{}{}</xml>",
        "<a>".repeat(9_000),
        "</a>".repeat(9_000)
    );
    let deep_json = format!(
        r#"{{"token":"{token}","id":1,"x":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let (xml, json) = ("application/xml", "application/json");
    for (content_type, body, says) in [
        (json, String::new(), "the body is empty"),
        (json, "{".to_owned(), "not valid JSON"),
        (
            json,
            format!(r#"{{"token":"{token}","id":1}} trailing"#),
            "not valid JSON",
        ),
        (json, format!(r#"["{token}",1]"#), "must be an object"),
        (json, "\"text\"".to_owned(), "invalid type"),
        (json, deep_json, "nested deeper than 32"),
        (
            json,
            format!(r#"{{"token":"{token}","token":"{token}","id":1}}"#),
            "token: appears more than once",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"id":1}}"#),
            "id: appears more than once",
        ),
        (
            json,
            format!(
                r#"{{"token":"{token}","id":1,"frozen_details":{{"payment_url":"https://a.example","payment_url":"https://b.example"}}}}"#
            ),
            "frozen_details.payment_url: appears more than once",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":"1"}}"#),
            "id: invalid type",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1.0}}"#),
            "id: invalid type",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":null}}"#),
            "id: invalid type",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":0}}"#),
            "id: must be between 1 and 2147483647",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":-1}}"#),
            "id: must be between",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":2147483648}}"#),
            "id: must be between",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":99999999999999999999}}"#),
            "id: ",
        ),
        (json, format!(r#"{{"token":"{token}"}}"#), "id: is required"),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"frozen_details":"x"}}"#),
            "frozen_details: ",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"frozen_details":["https://a.example"]}}"#),
            "frozen_details: ",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"frozen_details":{{"payment_url":7}}}}"#),
            "frozen_details.payment_url: ",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"format":"yaml"}}"#),
            "format: must be json or xml",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"verbose":"yes"}}"#),
            "verbose: ",
        ),
        (json, r#"{"token":7,"id":1}"#.to_owned(), "token: "),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"public_message":"a\u0000b"}}"#),
            "public_message: must not contain control characters",
        ),
        (
            json,
            format!(
                r#"{{"token":"{token}","id":1,"reason_code":"{}"}}"#,
                "x".repeat(256)
            ),
            "reason_code: must be at most 255",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"ends_at":"2020-01-01"}}"#),
            "ends_at: must be in the future",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1,"ends_at":"soon"}}"#),
            "ends_at: must be a date",
        ),
        (xml, String::new(), "the body is empty"),
        (xml, "<xml><id>1</id>".to_owned(), "not well-formed XML"),
        (
            xml,
            "<request><id>1</id></request>".to_owned(),
            "the root element must be xml",
        ),
        (
            xml,
            format!(
                "<!DOCTYPE xml [<!ENTITY e \"x\">]><xml><token>{token}</token><id>1</id></xml>"
            ),
            "a document type is not accepted",
        ),
        (
            xml,
            format!("<xml><token>{token}</token><id>&e;</id></xml>"),
            "entities other than",
        ),
        (xml, many_attributes, "more than 16 attributes"),
        (xml, deep_xml, "nested deeper than 32"),
        (
            xml,
            format!("<xml><token>{token}</token><id>1</id><id>1</id></xml>"),
            "id: appears more than once",
        ),
        (
            xml,
            format!("<xml><token>{token}</token><id>one</id></xml>"),
            "id: ",
        ),
        (
            xml,
            format!("<xml><token>{token}</token><id/></xml>"),
            "id: ",
        ),
        (
            xml,
            format!(
                "<xml><token>{token}</token><id>1</id><frozen_details>https://a.example</frozen_details></xml>"
            ),
            "frozen_details: must be an object",
        ),
        (
            xml,
            format!("<xml xmlns=\"urn:x\"><token>{token}</token><id>1</id></xml>"),
            "namespaces are not used",
        ),
    ] {
        let answer = client.raw("freeze", content_type, body).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.header("content-type").starts_with(content_type)
            ),
            (400, true),
            "{says}: {}",
            answer.body
        );
        let begins = if content_type == json {
            r#"{"error":400,"error_text":"Incorrect request: "#
        } else {
            "<xml><error>400</error><error_text>Incorrect request: "
        };
        assert!(
            answer.body.starts_with(begins) && answer.body.contains(says),
            "{says:?} is not in {}",
            answer.body
        );
        assert!(
            !answer.body.contains(token.as_str()),
            "the token must not come back"
        );
    }
    let untouched = client.get(1).await;
    assert_eq!(
        (untouched["version"].clone(), untouched["is_frozen"].clone()),
        (json!(1), json!(false))
    );
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_refused() {
    let app = App::new().await;
    let client = client(&app).await;
    for (content_type, body) in [
        ("application/json", &b"{\"id\":1,\"token\":\"\xff\"}"[..]),
        ("application/xml", &b"<xml><id>\xc3\x28</id></xml>"[..]),
    ] {
        let answer = client.raw("freeze", content_type, body.to_vec()).await;
        assert_eq!(answer.status.as_u16(), 400);
        assert!(
            answer.body.contains("not valid UTF-8 at byte"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn the_body_may_have_64_kib_and_not_one_byte_more() {
    let app = App::new().await;
    let client = client(&app).await;
    let padded = |size: usize| {
        let body = json!({"token": client.token, "id": 1, "padding": ""}).to_string();
        body.replace(
            r#""padding":"""#,
            &format!(r#""padding":"{}""#, "x".repeat(size - body.len())),
        )
    };
    client
        .raw("activate", "application/json", padded(64 * 1024))
        .await
        .ok();
    client
        .raw("activate", "application/json", padded(64 * 1024 + 1))
        .await
        .is_error(413, "Request too large");
    let huge = client
        .raw("activate", "application/xml", vec![b'<'; 1 << 20])
        .await;
    assert_eq!(
        huge.body,
        "<xml><error>413</error><error_text>Request too large</error_text></xml>"
    );
}

#[tokio::test]
async fn other_media_types_and_character_sets_are_refused() {
    let app = App::new().await;
    let client = client(&app).await;
    let body = json!({"token": client.token, "id": 1}).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/soap+xml",
        "application/json; charset=windows-1251",
        "multipart/form-data; boundary=x",
    ] {
        client
            .raw("freeze", content_type, body.clone())
            .await
            .is_error(415, "Unsupported media type");
    }
    let missing = Request::post("/api/v1.1/admin/accounts/freeze")
        .body(body.clone().into())
        .unwrap();
    send(&app.router, missing)
        .await
        .is_error(415, "Unsupported media type");
    let declared = "<?xml version=\"1.0\" encoding=\"windows-1251\"?><xml><id>1</id></xml>";
    assert_eq!(
        client
            .raw("freeze", "text/xml", declared)
            .await
            .status
            .as_u16(),
        415
    );
    client
        .raw(
            "freeze",
            "Application/JSON; Charset=UTF-8",
            format!("\u{feff}{body}"),
        )
        .await
        .ok();
}

#[tokio::test]
async fn payment_urls_are_web_addresses_or_refused() {
    let app = App::new().await;
    let client = client(&app).await;
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
async fn ampersands_and_cdata_arrive_whole_and_leave_escaped() {
    let app = App::new().await;
    let client = client(&app).await;
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
async fn other_methods_and_paths_are_answered_in_the_envelope() {
    let app = App::new().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri("/api/v1.1/admin/accounts/freeze/")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = send(&app.router, request).await;
        answer.is_error(405, "Method not allowed");
        assert_eq!(answer.header("allow"), "POST");
    }
    for path in [
        "/api/v1.1/admin/accounts/nonsense",
        "/api/v1.1/admin/accounts/freeze//",
        "/",
        "/api",
    ] {
        let request = Request::post(path)
            .header("accept", "application/xml")
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = send(&app.router, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (
                404,
                "<xml><error>404</error><error_text>Call not found</error_text></xml>"
            ),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_members_of_every_call_are_checked_by_name() {
    let app = App::new().await;
    let client = client(&app).await;
    for (call, members, says) in [
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
            "expiry_date: invalid type",
        ),
        (
            "unfreeze",
            json!({"id": 1, "hold_id": "x"}),
            "hold_id: must be a UUID",
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
            json!({"id": 1, "name": ""}),
            "name: must not be empty",
        ),
        ("save", json!({"id": 1, "name": 7}), "name: invalid type"),
        (
            "save",
            json!({"id": 1, "bad name": 7}),
            "save: has a member of its own",
        ),
    ] {
        client
            .call(call, members)
            .await
            .is_error(400, &format!("Incorrect request: {says}"));
    }
    assert_eq!(client.get(1).await["version"], 1);
}

#[tokio::test]
async fn both_places_for_a_detail_of_a_freeze_are_one_too_many() {
    let app = App::new().await;
    let client = client(&app).await;
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
async fn what_is_stored_comes_back_as_well_formed_xml() {
    let app = App::new().await;
    let client = client(&app).await;
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

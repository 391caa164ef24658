//! Bodies that cannot be read: the answer is an error of the dialect, and nothing changes.

use axum::http::Request;
use serde_json::json;

use super::client_with_an_account;
use crate::harness::App;
use crate::harness::app::send;

#[tokio::test]
async fn unreadable_bodies_are_refused_in_the_format_of_the_request() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
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
    for (content_type, body, expected) in [
        (json, String::new(), "the body is empty"),
        (json, "{".to_owned(), "not valid JSON"),
        (
            json,
            format!(r#"{{"token":"{token}","id":1}} trailing"#),
            "not valid JSON",
        ),
        (json, format!(r#"["{token}",1]"#), "must be an object"),
        (
            json,
            "\"text\"".to_owned(),
            "must be an object, not the text",
        ),
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
            "id: must be a whole number, not ",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":1.0}}"#),
            "id: must be a whole number, not ",
        ),
        (
            json,
            format!(r#"{{"token":"{token}","id":null}}"#),
            "id: must be a whole number, not ",
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
            "{expected}: {}",
            answer.body
        );
        let begins = if content_type == json {
            r#"{"error":400,"error_text":"Incorrect request: "#
        } else {
            "<xml><error>400</error><error_text>Incorrect request: "
        };
        assert!(
            answer.body.starts_with(begins) && answer.body.contains(expected),
            "{expected:?} is not in {}",
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
async fn bodies_that_are_not_utf8_are_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
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
async fn bodies_over_64_kib_are_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
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
async fn unsupported_media_types_and_character_sets_are_refused() {
    let app = App::new().await;
    let client = client_with_an_account(&app).await;
    let body = json!({"token": client.token, "id": 1}).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/soap+xml",
        "application/json; charset=klingon",
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
    let declared = "<?xml version=\"1.0\" encoding=\"klingon\"?><xml><id>1</id></xml>";
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
async fn unknown_methods_and_paths_are_answered_in_the_dialects_envelope() {
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
    // Below Altcraft's own path the text is Altcraft's.
    for (path, more) in [
        ("/api/v1.1/admin/accounts/nonsense", ""),
        ("/api/v1.1/admin/accounts/freeze/freeze", ""),
        (
            "/api",
            ": /api; paths begin with /api/v1.1/admin/accounts/ or /v3/, and SOAP is at /Services/Reseller/Service.asmx",
        ),
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
                format!(
                    "<xml><error>404</error><error_text>Call not found{more}</error_text></xml>"
                )
                .as_str()
            ),
            "{path}"
        );
    }
}

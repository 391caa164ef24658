//! Bodies in other character sets than UTF-8.

use axum::http::Request;
use serde_json::json;

use crate::harness::App;
use crate::harness::app::send;
use crate::harness::soap::{NS11, Soap};
use crate::harness::v3::{V3, refused};

const LATIN1: &str = "text/xml; charset=ISO-8859-1";

/// The text in ISO-8859-1, in which a character's number is its byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}")
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect()
}

#[tokio::test]
async fn admin_reads_any_declared_character_set() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let document = |head: &str, title: &str| {
        format!(
            "{head}<xml><token>{}</token><id>{id}</id><title>{title}</title></xml>",
            client.token
        )
    };
    let declared = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";
    let json = |title: &str| json!({"token": client.token, "id": id, "title": title}).to_string();
    let shift_jis = [
        document("", "@").split('@').next().unwrap().as_bytes(),
        b"\x93\xfa\x96\x7b",
        b"</title></xml>",
    ]
    .concat();
    for (content_type, body, title) in [
        (LATIN1, latin1(&document("", "J\u{f6}rg")), "J\u{f6}rg"),
        (
            "text/xml",
            latin1(&document(declared, "Zo\u{eb}")),
            "Zo\u{eb}",
        ),
        // The header wins over the declaration.
        (
            "application/xml; charset=utf-8",
            document(declared, "\u{c5}sa").into_bytes(),
            "\u{c5}sa",
        ),
        (
            "application/json; charset=\"iso-8859-1\"",
            latin1(&json("Andr\u{e9}")),
            "Andr\u{e9}",
        ),
        // The byte order mark wins over both.
        ("text/xml", utf16(&document("", "\u{65e5}")), "\u{65e5}"),
        (LATIN1, utf16(&document("", "\u{672c}")), "\u{672c}"),
        ("application/json", utf16(&json("\u{1f600}")), "\u{1f600}"),
        ("text/xml; charset=Shift_JIS", shift_jis, "\u{65e5}\u{672c}"),
    ] {
        let answer = client.raw("save", content_type, body).await;
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.body);
        assert_eq!(client.get(id).await["title"], title, "{content_type}");
    }
    for (content_type, body, expected) in [
        (
            "text/xml; charset=klingon",
            document("", "x").into_bytes(),
            "the character set klingon is not known",
        ),
        (
            "text/xml; charset=shift_jis",
            [document("", "@").into_bytes(), vec![0xff]].concat(),
            "not valid Shift_JIS",
        ),
        (
            "text/xml",
            latin1(&document("", "J\u{f6}rg")),
            "not valid UTF-8 at byte",
        ),
    ] {
        let answer = client.raw("save", content_type, body).await;
        assert!(
            matches!(answer.status.as_u16(), 400 | 415) && answer.body.contains(expected),
            "{content_type}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn soap_reads_any_declared_character_set_and_v3_only_utf_8() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let soap = Soap::of(&client);
    let create = |head: &str, name: &str| {
        format!(
            "{head}<e:Envelope xmlns:e=\"{NS11}\"><e:Body><CreateAccount xmlns=\"Zoolz\"><authToken>{}</authToken><name>{name}</name><email>{}@example.com</email><password>secret1</password><planID>0</planID><sendEmail>false</sendEmail></CreateAccount></e:Body></e:Envelope>",
            soap.token,
            name.len()
        )
    };
    let declared = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";
    for (content_type, body, name) in [
        (LATIN1, latin1(&create("", "J\u{f6}rg")), "J\u{f6}rg"),
        (
            "text/xml",
            latin1(&create(declared, "Zo\u{eb}s")),
            "Zo\u{eb}s",
        ),
    ] {
        let request = Request::post(steward::dialects::soap::PATH)
            .header("content-type", content_type)
            .header("soapaction", "Zoolz/CreateAccount")
            .body(body.into())
            .unwrap();
        let answer = send(&client.router, request).await;
        assert!(answer.body.contains("Success"), "{}", answer.body);
        let list = client.call("list/", json!({"q": name})).await.ok();
        assert_eq!(list["data"][0]["name"], name);
        // The addresses are derived from the length of the name.
        let id = list["data"][0]["id"].as_i64().unwrap();
        client.call("delete", json!({"id": id})).await.ok();
    }
    let request = Request::post(steward::dialects::soap::PATH)
        .header("content-type", "text/xml; charset=klingon")
        .body(create("", "x").into())
        .unwrap();
    let answer = send(&client.router, request).await;
    assert_eq!(answer.status, 415);
    let why = answer.header("steward-problem");
    assert!(why.contains("unknown character set klingon"), "{why}");

    let id = client.account("a").await;
    let v3 = V3::of(&client);
    for media in ["application/json", "application/xml"] {
        let content_type = format!("{media}; charset=ISO-8859-1");
        let headers = [("content-type", content_type.as_str())];
        let path = format!("/v3/accounts/{id}");
        let answer = v3.send("PATCH", &path, &headers, "{}").await;
        refused(&answer, 415, "UNSUPPORTED_MEDIA_TYPE", "not ISO-8859-1");
    }
}

#[tokio::test]
async fn compressed_bodies_are_refused_in_every_dialect() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    for (path, content_type, expected) in [
        (
            "/api/v1.1/admin/accounts/get".to_owned(),
            "application/json",
            "Content-Encoding gzip",
        ),
        (
            format!("/v3/accounts/{id}/freeze"),
            "application/json",
            "Content-Encoding gzip",
        ),
        (
            steward::dialects::soap::PATH.to_owned(),
            "application/soap+xml",
            "",
        ),
    ] {
        let post = |encoding: &str, body: &'static str| {
            let request = Request::post(&path)
                .header("authorization", format!("Bearer {}", client.token))
                .header("content-type", content_type)
                .header("content-encoding", encoding);
            let request = request.body(body.into()).unwrap();
            let router = client.router.clone();
            async move { send(&router, request).await }
        };
        for encoding in ["gzip", "identity, br"] {
            let answer = post(encoding, "\u{1f}\u{8b}").await;
            let expected = expected.replace("gzip", encoding);
            assert_eq!(answer.status, 415, "{path}");
            assert!(answer.body.contains(&expected), "{}", answer.body);
        }
        assert_ne!(post("identity", "{}").await.status, 415, "{path}");
    }
}

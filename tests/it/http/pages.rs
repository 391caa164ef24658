//! The start page, the reference of the calls, and the help of the SOAP API.

use std::io::Read as _;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::harness::App;
use crate::harness::app::{Answer, send};

async fn get(app: &App, path: &str, accept: &str) -> Answer {
    let request = Request::get(path)
        .header("accept", accept)
        .header("host", "steward.example:8080");
    send(&app.router, request.body(Body::empty()).unwrap()).await
}

/// The names in attributes like `href="..."`.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(&start)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn the_start_page_leads_a_browser_on_and_answers_everybody_else_in_json() {
    let app = App::new().await;
    let page = get(&app, "/", BROWSER).await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(page.header("vary"), "Accept");
    for expected in [
        "/api/v1.1/admin/accounts/",
        "/Services/Reseller/Service.asmx",
        "/v3/",
    ] {
        assert!(
            page.body.contains(expected),
            "{expected} is not in {}",
            page.body
        );
    }
    for link in values(&page.body, "href") {
        assert_eq!(get(&app, link, BROWSER).await.status, 200, "{link}");
    }
    for accept in ["*/*", "application/json"] {
        let answer = get(&app, "/", accept).await;
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(document["v3"], "https://steward.example/v3");
        assert_eq!(document["docs"], "https://steward.example/docs");
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=utf-8"
        );
    }
}

#[tokio::test]
async fn the_reference_describes_every_call_and_every_link_in_it_has_a_target() {
    let app = App::new().await;
    let page = get(&app, "/docs", BROWSER).await;
    let document: Value =
        serde_json::from_str(&get(&app, "/openapi.json", "*/*").await.body).unwrap();
    let ids = values(&page.body, "id");
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert_eq!(ids.iter().filter(|found| **found == id).count(), 1, "{id}");
        }
    }
    for link in values(&page.body, "href") {
        match link.strip_prefix('#') {
            Some(id) => assert!(ids.contains(&id), "{link} has no target"),
            None => assert_eq!(get(&app, link, BROWSER).await.status, 200, "{link}"),
        }
    }
    assert_eq!(get(&app, "/docs/", BROWSER).await.body, page.body);
}

#[tokio::test]
async fn the_pages_load_nothing_and_their_policy_forbids_everything_but_their_own_style() {
    let app = App::new().await;
    for path in [
        "/",
        "/docs",
        "/Services/Reseller/Service.asmx",
        "/Services/Reseller/Service.asmx?op=GetAccountInfo",
    ] {
        let page = get(&app, path, BROWSER).await;
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-")
                && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        let style = page
            .body
            .split("<style>")
            .nth(1)
            .unwrap()
            .split("</style>")
            .next()
            .unwrap();
        let hash = data_encoding::BASE64.encode(&steward::hash::sha256(style.as_bytes()));
        assert!(policy.contains(&hash), "{path}");
        for forbidden in ["<script", "<link", " src=", " style=", " onclick="] {
            assert!(!page.body.contains(forbidden), "{path} has {forbidden}");
        }
        assert!(
            values(&page.body, "href")
                .iter()
                .all(|link| !link.contains("://")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_reference_and_the_document_are_compressed_for_those_who_accept_gzip() {
    let app = App::new().await;
    for path in ["/docs", "/openapi.json"] {
        let plain = get(&app, path, "*/*").await;
        let request = Request::get(path)
            .header("accept-encoding", "br, gzip")
            .header("host", "steward.example:8080")
            .body(Body::empty())
            .unwrap();
        let response = app.router.clone().oneshot(request).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (header("content-encoding"), header("vary")),
            ("gzip".to_owned(), "Accept-Encoding".to_owned())
        );
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            bytes.len() * 5 < plain.body.len(),
            "{path}: {} of {}",
            bytes.len(),
            plain.body.len()
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, plain.body, "{path}");
        assert_eq!(plain.header("vary"), "Accept-Encoding");
    }
}

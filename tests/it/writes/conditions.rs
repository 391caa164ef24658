//! `If-Match`, by RFC 9110.

use serde_json::json;
use steward::dialects::v3;

use super::things::Things;
use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn if_match_compares_strong_tags_and_the_star_stands_alone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let account = v3.call("POST", "/v3/accounts", &json!({})).await;
    let at = account.header("location").to_owned();
    let version = account.json()["version"].clone();
    assert_eq!((version, account.header("etag")), (json!(1), "\"1\""));
    let patch = async |lines: &[&str]| {
        let headers: Vec<_> = lines.iter().map(|line| ("if-match", *line)).collect();
        v3.send("PATCH", &at, &headers, "{}").await
    };
    let matching: [&[&str]; 7] = [
        &["\"1\""],
        &["*"],
        &["\"7\", \"1\""],
        &["W/\"1\",\"1\""],
        &["\"foreign\" , \"1\" ,"],
        &["\"7\"", "\"1\""],
        &["  \"1\"  "],
    ];
    for matching in matching {
        let answer = patch(matching).await;
        assert_eq!(answer.status, 200, "{matching:?}: {}", answer.body);
    }
    let others: [&[&str]; 15] = [
        &["\"2\""],
        &["W/\"1\""],
        &["w/\"1\""],
        &["\"01\""],
        &["\"+1\""],
        &["\" 1\""],
        &["1"],
        &["\"1"],
        &["1\""],
        &["\"\""],
        &[""],
        &["\"99999999999999999999\""],
        &["\"33a64df551425fcc55e4d42a148795d9f25f89d4\""],
        &["nonsense"],
        &["\"a,1\""],
    ];
    for other in others {
        let answer = patch(other).await;
        refused(&answer, 412, "PRECONDITION_FAILED", "If-Match");
    }
    let stars: [&[&str]; 5] = [
        &["\"1\", *"],
        &["*, \"9\""],
        &["*", "\"1\""],
        &["*,*"],
        &["nonsense, *"],
    ];
    for star in stars {
        let answer = patch(star).await;
        refused(&answer, 400, "INVALID_REQUEST", "or * alone");
    }
}

#[tokio::test]
async fn if_match_is_refused_where_nothing_has_a_version() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    for operation in v3::OPERATIONS.iter().filter(|row| row.idempotent) {
        let request = things.of_v3(operation).await;
        let before = things.state().await;
        let answer = request
            .send_with("k", &[("if-match", "\"987654321\"")])
            .await;
        if operation.conditional {
            refused(&answer, 412, "PRECONDITION_FAILED", "");
        } else {
            let text = "If-Match: is accepted only by the operations on one account";
            refused(&answer, 400, "INVALID_REQUEST", text);
            assert!(things.state().await == before, "{}", operation.name);
        }
    }
}

#[tokio::test]
async fn a_key_stands_for_one_version_and_a_mismatch_is_not_stored() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let account = v3.call("POST", "/v3/accounts", &json!({})).await;
    let at = account.header("location").to_owned();
    let patch = async |version: &str| {
        let headers = [("idempotency-key", "k"), ("if-match", version)];
        v3.send("PATCH", &at, &headers, r#"{"company":"Acme"}"#)
            .await
    };
    refused(&patch("\"9\"").await, 412, "PRECONDITION_FAILED", "");
    // The caller has read the account again, and tries with the right version.
    let done = patch("\"1\"").await;
    assert_eq!((done.status.as_u16(), done.header("etag")), (200, "\"2\""));
    // The account has moved on, but the key comes first.
    let again = patch("\"1\"").await;
    assert_eq!((again.status, &again.body), (done.status, &done.body));
    assert_eq!(
        (again.header("etag"), again.header("idempotent-replayed")),
        ("\"2\"", "true")
    );
    refused(&patch("\"2\"").await, 422, "IDEMPOTENCY_KEY_REUSED", "");
}

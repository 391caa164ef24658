//! Reads with `If-None-Match`: 304 if the document is the one that the caller has.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::dialects::v3::OPERATIONS;

use crate::harness::App;
use crate::harness::app::Answer;
use crate::harness::v3::V3;

async fn read(v3: &V3, path: &str, none_match: &str) -> Answer {
    v3.send("GET", path, &[("if-none-match", none_match)], "")
        .await
}

#[track_caller]
fn is_not_modified(answer: &Answer, tag: &str) {
    let got = (
        answer.status.as_u16(),
        answer.header("etag"),
        answer.body.as_str(),
    );
    assert_eq!(got, (304, tag, ""));
    assert_eq!(answer.header("content-type"), "");
}

#[track_caller]
fn is_whole(answer: &Answer) -> Value {
    assert_eq!(
        answer.header("etag").is_empty(),
        answer.status != 200,
        "{}",
        answer.body
    );
    answer.ok()
}

#[tokio::test]
async fn an_account_is_not_sent_again_until_it_changes() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (v3, path) = (V3::of(&client), format!("/v3/accounts/{id}"));
    assert_eq!(v3.get(&path).await.header("etag"), "\"1\"");
    for named in ["\"1\"", "W/\"1\"", "*", "\"x\", \"1\""] {
        is_not_modified(&read(&v3, &path, named).await, "\"1\"");
        assert_eq!(
            v3.send("HEAD", &path, &[("if-none-match", named)], "")
                .await
                .status,
            304
        );
    }
    for other in ["\"2\"", "1", "\"01\"", ""] {
        is_whole(&read(&v3, &path, other).await);
    }
    v3.call("POST", &format!("{path}/suspend"), &json!({}))
        .await
        .ok();
    assert_eq!(
        is_whole(&read(&v3, &path, "\"1\"").await)["effectiveStatus"],
        "suspended:reseller"
    );
    is_not_modified(&read(&v3, &path, "\"2\"").await, "\"2\"");
    let unknown = read(&v3, "/v3/accounts/999", "*").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn what_time_does_to_an_account_is_sent_although_its_version_is_the_same() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (v3, path) = (V3::of(&client), format!("/v3/accounts/{id}"));
    let expiry = json!({"expiresAt": "2026-03-01T14:00:00Z"});
    v3.call("PUT", &format!("{path}/expires-at"), &expiry)
        .await
        .ok();
    let hold = json!({"startsAt": "2026-03-01T12:30:00Z", "endsAt": "2026-03-01T13:00:00Z"});
    v3.call("POST", &format!("{path}/suspend"), &hold)
        .await
        .ok();
    let tag = v3.get(&path).await.header("etag").to_owned();
    is_not_modified(&read(&v3, &path, &tag).await, &tag);
    app.clock.advance(TimeDelta::minutes(29));
    is_not_modified(&read(&v3, &path, &tag).await, &tag);
    for (minutes, state) in [(1, "suspended:reseller"), (30, "active"), (61, "expired")] {
        app.clock.advance(TimeDelta::minutes(minutes));
        let answer = read(&v3, &path, &tag).await;
        assert_eq!(is_whole(&answer)["effectiveStatus"], state);
        assert_eq!(answer.header("etag"), tag, "no command changed it");
    }
}

#[tokio::test]
async fn a_change_of_the_plan_or_of_the_reseller_is_sent_although_the_version_is_the_same() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let v3 = V3::of(&client);
    let plan = json!({"name": "p", "displayName": "p"});
    let plan = v3.call("POST", "/v3/plans", &plan).await.json()["id"].clone();
    let plan_path = format!("/v3/plans/{}", plan.as_str().unwrap());
    app.clock.advance(TimeDelta::minutes(1));
    let made = v3
        .call("POST", "/v3/accounts", &json!({"planId": plan}))
        .await;
    let path = made.header("location").to_owned();
    is_not_modified(&read(&v3, &path, "\"1\"").await, "\"1\"");
    // In the same instant and later.
    for minutes in [0, 1] {
        app.clock.advance(TimeDelta::minutes(minutes));
        let change = json!({"tier": 5 + minutes});
        v3.call("PATCH", &plan_path, &change).await.ok();
        let answer = is_whole(&read(&v3, &path, "\"1\"").await);
        assert_eq!(answer["plan"]["tier"], 5 + minutes);
    }
    app.clock.advance(TimeDelta::minutes(1));
    let touched = v3.call("PATCH", &path, &json!({"company": "Acme"})).await;
    let tag = touched.header("etag").to_owned();
    is_not_modified(&read(&v3, &path, &tag).await, &tag);
    app.suspend_reseller(reseller, true).await;
    is_whole(&read(&v3, &path, &tag).await);
    app.suspend_reseller(reseller, false).await;
    // It was suspended in between, and the caller may have read that.
    is_whole(&read(&v3, &path, &tag).await);
}

#[tokio::test]
async fn every_single_document_has_a_tag_and_is_not_sent_twice() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let made = async |path: &str, body: Value| {
        let made = v3.call("POST", path, &body).await.json()["id"].clone();
        made.as_str()
            .map_or_else(|| made.to_string(), str::to_owned)
    };
    let plan = made("/v3/plans", json!({"name": "p", "displayName": "p"})).await;
    let webhook = made("/v3/webhooks", json!({"url": "https://example.com/a"})).await;
    let mut read_ones = 0;
    for operation in OPERATIONS.iter().filter(|it| it.method == "GET") {
        let id = match operation.path.split('/').nth(2) {
            Some("plans") => plan.clone(),
            Some("webhooks") => webhook.clone(),
            Some("resellers") => app.service.find_reseller("Acme").await.unwrap().to_string(),
            _ => id.to_string(),
        };
        let path = operation.path.replace("{id}", &id);
        let mut caller = &v3;
        let mut first = v3.get(&path).await;
        if first.status == 403 {
            (caller, first) = (&operator, operator.get(&path).await);
        }
        if first.status != 200 || first.header("etag").is_empty() {
            continue;
        }
        read_ones += 1;
        let tag = first.header("etag").to_owned();
        is_not_modified(&read(caller, &path, &tag).await, &tag);
        is_whole(&read(caller, &path, "\"other\"").await);
    }
    // Of accounts: itself, access, explain and timeline; a plan, an endpoint, a reseller.
    assert!(read_ones >= 7, "{read_ones}");
    for (path, change) in [
        (format!("/v3/plans/{plan}"), json!({"tier": 7})),
        (
            format!("/v3/webhooks/{webhook}"),
            json!({"url": "https://example.com/b"}),
        ),
    ] {
        let tag = v3.get(&path).await.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        v3.call("PATCH", &path, &change).await.ok();
        let after = read(&v3, &path, &tag).await;
        is_whole(&after);
        assert_ne!(after.header("etag"), tag);
    }
}

#[tokio::test]
async fn a_repeat_names_the_ignored_members_as_the_first_answer_did() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let key = [("idempotency-key", "k")];
    let body = r#"{"company": "Acme", "firstName": "Ann", "password": "x"}"#;
    let first = v3.send("POST", "/v3/accounts", &key, body).await;
    let again = v3.send("POST", "/v3/accounts", &key, body).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.header("ignored-members"), "firstName, password");
    assert_eq!(
        again.header("ignored-members"),
        first.header("ignored-members")
    );
    let save = json!({"id": 1, "title": "t", "uid": "x", "verbose": true});
    let first = client.call_once("save", "s", save.clone()).await.ok();
    let again = client.call_once("save", "s", save).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(
        (again.ok(), &first["ignored"]),
        (first.clone(), &json!(["uid"]))
    );
}

#[tokio::test]
async fn the_tag_of_a_compressed_document_is_not_sent_again_either() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let metadata = json!({"a": "x".repeat(255), "b": "y".repeat(255), "c": "z".repeat(255)});
    let account = json!({"email": "a@example.com", "metadata": metadata});
    let made = v3.call("POST", "/v3/accounts", &account).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = made.header("location").to_owned();
    let url = format!("https://example.com/{}", "y".repeat(1_500));
    let webhook = v3.call("POST", "/v3/webhooks", &json!({"url": url})).await;
    assert_eq!(webhook.status, 201, "{}", webhook.body);
    let webhook = format!("/v3/webhooks/{}", webhook.json()["id"].as_str().unwrap());
    for path in [&path, &webhook] {
        let plain = v3.get(path).await;
        assert!(!plain.header("etag").is_empty(), "{path}: {}", plain.body);
        let plain = plain.header("etag").to_owned();
        // The body is not text.
        let gzip = ("accept-encoding", "gzip");
        let zipped = v3.send("HEAD", path, &[gzip], "").await;
        let zipped = zipped.header("etag").to_owned();
        let opaque = plain.strip_suffix('"').unwrap();
        assert_eq!(zipped, format!("{opaque}-gzip\""));
        let weak = format!("W/{}", zipped.trim_start_matches("W/"));
        for (named, answered) in [
            (zipped.clone(), &zipped),
            (weak, &zipped),
            (format!("\"x\", {zipped}"), &zipped),
            (plain.clone(), &plain),
            ("*".to_owned(), &plain),
        ] {
            let headers = [gzip, ("if-none-match", named.as_str())];
            let answer = v3.send("GET", path, &headers, "").await;
            is_not_modified(&answer, answered);
            assert_eq!(answer.header("vary"), "Accept-Encoding", "{path}");
        }
        for other in ["\"-gzip\"", "\"7-gzip\"", "\"1-br\"", "1-gzip"] {
            is_whole(&read(&v3, path, other).await);
        }
    }
}

#[tokio::test]
async fn an_account_in_xml_has_a_tag_of_its_own_that_if_match_accepts() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (v3, path) = (V3::of(&client), format!("/v3/accounts/{id}"));
    let xml = ("accept", "application/xml");
    let first = v3.send("GET", &path, &[xml], "").await;
    assert!(first.body.starts_with('<'), "{}", first.body);
    assert_eq!(first.header("etag"), "\"1-xml\"");
    for named in ["\"1-xml\"", "*"] {
        let answer = v3
            .send("GET", &path, &[xml, ("if-none-match", named)], "")
            .await;
        is_not_modified(&answer, "\"1-xml\"");
    }
    let named = ("if-none-match", "\"1-xml-gzip\"");
    let answer = v3.send("GET", &path, &[xml, named], "").await;
    is_not_modified(&answer, "\"1-xml-gzip\"");
    // Whoever has the one form does not have the other.
    let answer = v3
        .send("GET", &path, &[xml, ("if-none-match", "\"1\"")], "")
        .await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, first.body));
    is_whole(&read(&v3, &path, "\"1-xml\"").await);
    for (tag, status) in [
        ("\"1-xml\"", 200),
        ("\"1-xml\"", 412),
        ("\"2-xml-gzip\"", 200),
        ("\"3-gzip-xml\"", 412),
        ("\"-xml\"", 412),
    ] {
        let change = json!({"company": format!("{tag}{status}")}).to_string();
        let answer = v3.send("PATCH", &path, &[("if-match", tag)], &change).await;
        assert_eq!(answer.status, status, "{tag}: {}", answer.body);
    }
}

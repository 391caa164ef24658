//! The `v3` dialect: accounts, their documents, versions, pages and errors.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::app::Answer;
use crate::harness::v3::{V3, refused};

const MEMBERS: [&str; 28] = [
    "id",
    "createdAt",
    "updatedAt",
    "company",
    "email",
    "status",
    "adminPortalDomain",
    "customerPortalDomain",
    "resellerPortalDomain",
    "website",
    "logoUrl",
    "faviconUrl",
    "googleClientId",
    "trialExpiresAt",
    "plan",
    "companyId",
    "accountAlias",
    "region",
    "paymentMethod",
    "psp",
    "totalTrialExtensions",
    "expiresAt",
    "holds",
    "effectiveStatus",
    "blockedBy",
    "version",
    "exemptUntil",
    "purgeDueAt",
];

#[tokio::test]
async fn the_seeds_status_call_answers_the_whole_account_in_its_order() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let uid = client.get(id).await["uid"].as_str().unwrap().to_owned();
    for (name, status) in [
        (uid.clone(), "inactive"),
        (id.to_string(), "active"),
        (uid.to_uppercase(), "active"),
    ] {
        let answer = v3
            .call(
                "PUT",
                &format!("/v3/accounts/{name}/status"),
                &json!({"status": status}),
            )
            .await;
        let account = answer.ok();
        assert_eq!(
            (account["id"].as_str(), account["status"].as_str()),
            (Some(uid.as_str()), Some(status))
        );
        let places: Vec<_> = MEMBERS
            .iter()
            .map(|name| {
                answer
                    .body
                    .find(&format!("\"{name}\":"))
                    .unwrap_or_else(|| panic!("{name}: {}", answer.body))
            })
            .collect();
        assert!(places.is_sorted(), "{}", answer.body);
        assert_eq!(account.as_object().unwrap().len(), MEMBERS.len());
        assert_eq!(answer.header("etag"), format!("\"{}\"", account["version"]));
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=utf-8"
        );
    }
    assert_eq!(
        client.get(id).await["version"],
        3,
        "the present value changes nothing"
    );
    let path = format!("/v3/accounts/{uid}/status");
    for bad in [
        json!({"status": "Active"}),
        json!({"status": 1}),
        json!({}),
        json!([]),
        json!({"status": null}),
    ] {
        refused(
            &v3.call("PUT", &path, &bad).await,
            400,
            "INVALID_REQUEST",
            "",
        );
    }
    let xml = v3
        .send(
            "PUT",
            &path,
            &[
                ("content-type", "application/xml"),
                ("accept", "application/xml"),
            ],
            "<xml><status>inactive</status></xml>",
        )
        .await;
    assert!(
        xml.body
            .starts_with(&format!("<xml><id>{uid}</id><createdAt>"))
            && xml.body.contains("<status>inactive</status>"),
        "{}",
        xml.body
    );
}

#[tokio::test]
async fn an_account_is_created_changed_deleted_and_restored() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let body = json!({"email": "jo@example.com", "company": "Acme", "website": "https://acme.example", "expiresAt": "2027-01-01T00:00:00+01:00", "totalTrialExtensions": 2});
    let created = v3.call("POST", "/v3/accounts", &body).await;
    assert_eq!(created.status.as_u16(), 201, "{}", created.body);
    let account = created.json();
    assert_eq!(
        (
            account["expiresAt"].as_str(),
            account["totalTrialExtensions"].clone()
        ),
        (Some("2026-12-31T23:00:00Z"), json!(2))
    );
    let path = format!("/v3/accounts/{}", account["id"].as_str().unwrap());
    assert_eq!(
        v3.call("PATCH", &path, &account).await.ok(),
        account,
        "written back as it was read, nothing changes"
    );
    let changed = v3
        .call("PATCH", &path, &json!({"company": null, "region": "eu"}))
        .await
        .ok();
    assert_eq!(
        (
            changed["company"].clone(),
            changed["region"].clone(),
            changed["website"].clone()
        ),
        (Value::Null, json!("eu"), account["website"].clone())
    );
    assert_eq!(
        v3.call(
            "PUT",
            &format!("{path}/expires-at"),
            &json!({"expiresAt": null})
        )
        .await
        .ok()["expiresAt"],
        Value::Null
    );
    refused(
        &v3.call("PUT", &format!("{path}/expires-at"), &json!({}))
            .await,
        400,
        "INVALID_REQUEST",
        "expiresAt: is required",
    );
    refused(
        &v3.call("POST", "/v3/accounts", &json!({"email": "JO@example.com"}))
            .await,
        409,
        "CONFLICT",
        "email_in_use",
    );
    refused(
        &v3.call("PATCH", &path, &json!({"email": "x"})).await,
        400,
        "INVALID_REQUEST",
        "email: must be an e-mail address",
    );
    refused(
        &v3.call("PATCH", &path, &json!({"adminPortalDomain": ""}))
            .await,
        400,
        "INVALID_REQUEST",
        "adminPortalDomain: must not be empty",
    );
    for _ in 0..2 {
        let deleted = v3.call("DELETE", &path, &Value::Null).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.as_str()), (204, ""));
    }
    refused(
        &v3.get(&path).await,
        404,
        "ACCOUNT_NOT_FOUND",
        "Account not found",
    );
    assert_eq!(
        v3.call("POST", &format!("{path}/restore"), &Value::Null)
            .await
            .ok()["effectiveStatus"],
        "active"
    );
}

#[tokio::test]
async fn holds_are_placed_lifted_and_explained() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let path = |tail: &str| format!("/v3/accounts/{id}/{tail}");
    let frozen = v3
        .call(
            "POST",
            &path("freeze"),
            &json!({"paymentUrl": "https://pay.example", "publicMessage": "Please pay."}),
        )
        .await
        .ok();
    assert_eq!(
        (
            frozen["effectiveStatus"].as_str(),
            frozen["holds"][0]["paymentUrl"].as_str()
        ),
        (Some("frozen"), Some("https://pay.example"))
    );
    let access = v3.get(&path("access")).await;
    let expected = r#"{"allowed":false,"effectiveStatus":"frozen","blockedBy":["frozen"],"remedy":"pay","paymentUrl":"https://pay.example","publicMessage":"Please pay."}"#;
    assert_eq!(access.body, expected);
    v3.call("POST", &path("suspend"), &json!({"reasonCode": "abuse"}))
        .await
        .ok();
    let explained = v3.get(&path("explain")).await.ok();
    assert_eq!(
        explained["blockedBy"],
        json!(["suspended:reseller", "frozen"])
    );
    for block in explained["blocks"].as_array().unwrap() {
        let call = &block["call"];
        v3.send(
            call["method"].as_str().unwrap(),
            call["path"].as_str().unwrap(),
            &[],
            call["body"].as_str().unwrap(),
        )
        .await
        .ok();
    }
    assert_eq!(v3.get(&path("access")).await.ok()["allowed"], json!(true));
    assert_eq!(v3.get(&path("holds")).await.ok(), json!([]));
    let history = v3.get(&path("history")).await.ok();
    let actions: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["unfreeze", "unsuspend", "suspend", "freeze", "create"]
    );
    assert_eq!(
        (
            history[0]["dialect"].as_str(),
            history[0]["sequence"].clone()
        ),
        (Some("v3"), json!(5))
    );
    let stale = explained["blocks"][1]["hold"]["id"].clone();
    v3.call("POST", &path("freeze"), &Value::Null).await.ok();
    refused(
        &v3.call("POST", &path("unfreeze"), &json!({"holdId": stale}))
            .await,
        409,
        "CONFLICT",
        "stale_hold",
    );
    v3.call("POST", &path("unfreeze"), &Value::Null).await.ok();
}

#[tokio::test]
async fn a_change_can_depend_on_the_version() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let path = format!("/v3/accounts/{id}");
    let tag = v3.get(&path).await.header("etag").to_owned();
    let change = |tag: &str, status: &str| {
        let (path, tag, body) = (
            format!("{path}/status"),
            tag.to_owned(),
            json!({"status": status}).to_string(),
        );
        let v3 = &v3;
        async move { v3.send("PUT", &path, &[("if-match", &tag)], &body).await }
    };
    assert_eq!(change(&tag, "inactive").await.header("etag"), "\"2\"");
    refused(
        &change(&tag, "active").await,
        412,
        "PRECONDITION_FAILED",
        "If-Match",
    );
    assert_eq!(v3.get(&path).await.ok()["status"], "inactive");
    change("*", "active").await.ok();
    for bad in ["2", "W/\"3\"", "\"x\"", "\"2\", \"3\"", ""] {
        refused(
            &change(bad, "inactive").await,
            400,
            "INVALID_REQUEST",
            "If-Match: must be one ETag",
        );
    }
    let last = v3.get(&format!("{path}/history")).await.ok()[1].clone();
    assert_eq!(
        (last["outcome"].as_str(), last["sequence"].clone()),
        (Some("refused"), Value::Null)
    );
    let headers = [("if-match", "\"9\"")];
    assert_eq!(
        v3.send("DELETE", &path, &headers, "").await.status.as_u16(),
        412
    );
}

#[tokio::test]
async fn lists_have_pages_filters_an_order_and_cursors() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    for number in 0..25 {
        let body = json!({"email": format!("n{number:02}@example.com"), "company": if number % 5 == 0 { json!("Five") } else { Value::Null }});
        assert_eq!(
            v3.call("POST", "/v3/accounts", &body).await.status.as_u16(),
            201
        );
        app.clock.advance(chrono::TimeDelta::minutes(1));
    }
    other.account("hidden").await;
    let emails = |answer: &Answer| {
        answer
            .ok()
            .as_array()
            .unwrap()
            .iter()
            .map(|account| account["email"].as_str().unwrap()[..3].to_owned())
            .collect::<Vec<_>>()
    };
    let first = v3.get("/v3/accounts").await;
    assert_eq!(
        (emails(&first)[0].as_str(), emails(&first).len()),
        ("n24", 10),
        "newest first, ten of them"
    );
    assert_eq!(
        (
            first.header("pagination-count"),
            first.header("pagination-page"),
            first.header("pagination-limit")
        ),
        ("25", "1", "10")
    );
    let third = v3.get("/v3/accounts?page=3&limit=10&sort=createdAt").await;
    assert_eq!(emails(&third), ["n20", "n21", "n22", "n23", "n24"]);
    for (query, expected) in [
        (
            "company=Five&sort=email",
            vec!["n00", "n05", "n10", "n15", "n20"],
        ),
        (
            "company[ne]=Five&email[lt]=n03&sort=email",
            vec!["n01", "n02"],
        ),
        (
            "email[in]=n01@example.com,N02@EXAMPLE.COM,none&sort=-email",
            vec!["n02", "n01"],
        ),
        (
            "createdAt[gte]=2026-03-01T12:23:00Z&sort=createdAt",
            vec!["n23", "n24"],
        ),
        (
            "createdAt[gt]=2026-03-01T12:05:00Z&createdAt[lte]=2026-03-01T12:07:00Z&sort=createdAt",
            vec!["n06", "n07"],
        ),
        ("expiresAt[lt]=2030-01-01", vec![]),
        ("status=inactive", vec![]),
    ] {
        assert_eq!(
            emails(&v3.get(&format!("/v3/accounts?{query}")).await),
            expected,
            "{query}"
        );
    }
    let mut path = "/v3/accounts?after=&limit=7&status=active".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = v3.get(&path).await;
        assert_eq!(
            page.header("pagination-count"),
            "",
            "a cursor's page is not counted"
        );
        seen.extend(emails(&page));
        let Some(next) = page
            .header("link")
            .strip_prefix('<')
            .and_then(|rest| rest.split_once(">; rel=\"next\""))
        else {
            break;
        };
        path = next.0.to_owned();
    }
    assert_eq!(
        seen,
        (0..25)
            .map(|number| format!("n{number:02}"))
            .collect::<Vec<_>>()
    );
    for (query, says) in [
        ("page=0", "page: must be a number from 1 on"),
        ("page=-1", "page: "),
        ("page=99999999999999999999", "page: "),
        ("page=900000&limit=100", "page: is too deep"),
        ("page=1&page=2", "page: appears more than once"),
        ("limit=101", "limit: must be between 1 and 100"),
        ("limit=x", "limit: "),
        ("sort=password", "sort: must be one of"),
        ("password=x", "password: is no parameter and no field"),
        ("email[like]=x", "email[like]: must be compared with"),
        ("createdAt[gt]=soon", "createdAt[gt]: must be a date"),
        ("after=%21%21", "after: must be a cursor"),
        ("after=AAAA", "after: must be a cursor"),
        ("after=&page=2", "after: cannot be combined"),
        ("email=%00", "email: "),
    ] {
        refused(
            &v3.get(&format!("/v3/accounts?{query}")).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
    let xml = v3
        .send(
            "GET",
            "/v3/accounts?limit=2",
            &[("accept", "application/xml")],
            "",
        )
        .await;
    assert_eq!(xml.body.matches("<item><id>").count(), 2, "{}", xml.body);
}

#[tokio::test]
async fn errors_have_the_dialects_form_wherever_they_arise() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let status = format!("/v3/accounts/{id}/status");
    refused(&v3.get("/v3/nonsense").await, 404, "NOT_FOUND", "");
    refused(&v3.get("/v3").await, 404, "NOT_FOUND", "");
    let wrong = v3.get(&status).await;
    refused(&wrong, 405, "METHOD_NOT_ALLOWED", "");
    assert_eq!(wrong.header("allow"), "PUT, OPTIONS");
    let options = v3.call("OPTIONS", "/v3/accounts", &Value::Null).await;
    let mut allowed: Vec<_> = options.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(
        (options.status.as_u16(), allowed),
        (204, vec!["GET", "HEAD", "OPTIONS", "POST"])
    );
    assert_eq!(
        v3.call("HEAD", &format!("/v3/accounts/{id}"), &Value::Null)
            .await
            .status
            .as_u16(),
        200
    );
    refused(
        &v3.send("PUT", &status, &[("content-type", "text/plain")], "x")
            .await,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "",
    );
    refused(
        &v3.send("PUT", &status, &[], &"x".repeat(65_537)).await,
        413,
        "REQUEST_TOO_LARGE",
        "",
    );
    refused(
        &v3.send("PUT", &status, &[], "{").await,
        400,
        "INVALID_REQUEST",
        "not valid JSON",
    );
    refused(
        &v3.send(
            "PUT",
            &status,
            &[("idempotency-key", &"k".repeat(256))],
            "{\"status\":\"active\"}",
        )
        .await,
        400,
        "INVALID_REQUEST",
        "Idempotency-Key",
    );
    refused(
        &v3.send(
            "PUT",
            &status,
            &[("authorization", "Bearer x")],
            "{\"status\":\"active\"}",
        )
        .await,
        400,
        "INVALID_REQUEST",
        "Authorization: appears more than once",
    );
    assert_eq!(client.get(id).await["version"], 1);
}

#[tokio::test]
async fn a_repeat_with_a_key_is_answered_with_the_stored_answer() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let once = |body: &'static str| {
        let v3 = &v3;
        async move {
            v3.send("POST", "/v3/accounts", &[("idempotency-key", "k")], body)
                .await
        }
    };
    let (first, second) = (
        once(r#"{"company":"A"}"#).await,
        once(r#"{"company":"A"}"#).await,
    );
    assert_eq!(
        (first.status.as_u16(), first.body.clone()),
        (201, second.body.clone())
    );
    assert_eq!(
        (second.status.as_u16(), second.header("idempotent-replayed")),
        (201, "true")
    );
    refused(
        &once(r#"{"company":"B"}"#).await,
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "",
    );
    assert_eq!(v3.get("/v3/accounts").await.header("pagination-count"), "1");
}

//! Accounts: their documents, versions and holds.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

const MEMBERS: [&str; 32] = [
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
    "metadata",
    "restriction",
    "limitedBy",
    "warnedBy",
];

#[tokio::test]
async fn cryptlexs_status_call_answers_the_whole_account_in_its_member_order() {
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
        // Without the members of the plan, which has some of the same names.
        let plan = answer.body.find("\"plan\":{").unwrap() + 7;
        let end = plan + answer.body[plan..].find('}').unwrap();
        let flat = format!("{}{}", &answer.body[..plan], &answer.body[end..]);
        let places: Vec<_> = MEMBERS
            .iter()
            .map(|name| {
                flat.find(&format!("\"{name}\":"))
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
        (json!(""), json!("eu"), account["website"].clone())
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
        &v3.call(
            "PATCH",
            &path,
            &json!({"adminPortalDomain": "x".repeat(256)}),
        )
        .await,
        400,
        "INVALID_REQUEST",
        "adminPortalDomain: must",
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
    let expected = r#"{"allowed":false,"effectiveStatus":"frozen","blockedBy":["frozen"],"remedy":"pay","paymentUrl":"https://pay.example","publicMessage":"Please pay.","level":"block","limitedBy":[],"warnedBy":[]}"#;
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
async fn if_match_makes_a_change_depend_on_the_version() {
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

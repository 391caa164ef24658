//! Accounts and plans with the types of Cryptlex.

use serde_json::{Value, json};

use super::{ACCOUNT, PLAN, typed};
use crate::harness::App;
use crate::harness::v3::{V3, refused};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// The texts of an account that a client may leave empty.
const TEXTS: [&str; 14] = [
    "company",
    "email",
    "adminPortalDomain",
    "customerPortalDomain",
    "resellerPortalDomain",
    "website",
    "logoUrl",
    "faviconUrl",
    "googleClientId",
    "companyId",
    "accountAlias",
    "region",
    "paymentMethod",
    "psp",
];

fn v3_path(account: &Value) -> String {
    format!("/v3/accounts/{}", account["id"].as_str().unwrap())
}

#[tokio::test]
async fn no_member_of_cryptlex_is_null_wherever_an_account_appears() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let made = v3.call("POST", "/v3/accounts", &json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let account = made.json();
    let path = v3_path(&account);
    assert_eq!(account["trialExpiresAt"], account["createdAt"]);
    assert_eq!(
        (&account["plan"]["id"], &account["plan"]["name"]),
        (&json!(NIL), &json!("none"))
    );
    assert_eq!(account["expiresAt"], Value::Null, "ours may be null");
    let since = "2020-01-01T00:00:00Z";
    let mut answers = vec![
        account.clone(),
        v3.get(&path).await.ok(),
        v3.get(&format!("{path}?asOf=2026-03-01T12:00:00Z"))
            .await
            .ok(),
        v3.get("/v3/accounts").await.ok()[0].clone(),
        v3.get("/v3/accounts?after=").await.ok()[0].clone(),
    ];
    let status = json!({"status": "inactive"});
    answers.push(
        v3.call("PUT", &format!("{path}/status"), &status)
            .await
            .ok(),
    );
    answers.push(
        v3.call("PUT", &format!("{path}/plan"), &json!({"planId": null}))
            .await
            .ok(),
    );
    answers.push(
        v3.call(
            "PUT",
            &format!("{path}/expires-at"),
            &json!({"expiresAt": since}),
        )
        .await
        .ok(),
    );
    for (verb, body) in [
        ("freeze", json!({"paymentUrl": "https://pay.example"})),
        ("unfreeze", json!({})),
        ("suspend", json!({})),
        ("unsuspend", json!({})),
    ] {
        answers.push(v3.call("POST", &format!("{path}/{verb}"), &body).await.ok());
    }
    answers.push(v3.get("/v3/events").await.ok()[0]["data"].clone());
    let restore = json!({"operations": [{"operation": "restore"}]});
    let simulated = v3
        .call("POST", &format!("{path}/simulate"), &restore)
        .await
        .ok();
    answers.extend(Some(simulated["account"].clone()).filter(Value::is_object));
    for account in &answers {
        typed(account, ACCOUNT);
    }
    // In XML an empty element is an empty text; what is null has none.
    let accept = [("accept", "application/xml")];
    let xml = v3.send("GET", &path, &accept, "").await.body;
    for name in TEXTS {
        assert!(
            xml.contains(&format!("<{name}/>")) || xml.contains(&format!("<{name}></{name}>")),
            "{name}: {xml}"
        );
    }
    assert!(xml.contains(&format!("<plan><id>{NIL}</id>")), "{xml}");
}

#[tokio::test]
async fn a_webhook_and_the_history_have_no_null_either() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let account = v3.call("POST", "/v3/accounts", &json!({})).await.json();
    let path = v3_path(&account);
    let filled: Value = TEXTS
        .iter()
        .map(|name| ((*name).to_owned(), json!("jo@x.example")))
        .chain([
            ("totalTrialExtensions".to_owned(), json!(3)),
            ("trialExpiresAt".to_owned(), json!("2027-01-01T00:00:00Z")),
        ])
        .collect::<serde_json::Map<_, _>>()
        .into();
    v3.call("PATCH", &path, &filled).await.ok();
    let entry = v3.get(&format!("{path}/history?limit=1")).await.ok()[0].clone();
    for name in TEXTS {
        assert_eq!(
            (&entry["before"][name], &entry["after"][name]),
            (&json!(""), &json!("jo@x.example"))
        );
    }
    assert_eq!(
        (
            &entry["before"]["totalTrialExtensions"],
            &entry["before"]["trialExpiresAt"]
        ),
        (&json!(0), &account["createdAt"])
    );
    let timeline = v3.get(&format!("{path}/timeline?limit=1")).await.ok();
    assert_eq!(timeline["past"][0]["before"], entry["before"]);
    let events = v3.get("/v3/events").await.ok();
    let change = &events.as_array().unwrap().last().unwrap()["changes"];
    assert_eq!(change["company"], json!({"old": "", "new": "jo@x.example"}));
    assert_eq!(
        change["trialExpiresAt"],
        json!({"old": account["createdAt"], "new": "2027-01-01T00:00:00Z"})
    );
    typed(&events[0]["data"], ACCOUNT);
}

#[tokio::test]
async fn an_account_that_was_read_is_sent_back_without_a_change() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let plan = json!({"name": "pro", "displayName": "Pro"});
    let plan = v3.call("POST", "/v3/plans", &plan).await.json();
    let filled = json!({"company": "Acme", "planId": plan["id"], "totalTrialExtensions": 0,
        "trialExpiresAt": "2027-01-01T00:00:00Z"});
    for body in [json!({}), filled] {
        let account = v3.call("POST", "/v3/accounts", &body).await.json();
        let path = v3_path(&account);
        let answer = v3.call("PATCH", &path, &account).await;
        assert_eq!(answer.ok(), account);
        assert_eq!(answer.header("steward-changed"), "false");
        assert_eq!(answer.header("ignored-members"), "");
        // A client that keeps times in milliseconds, in seconds, or has a least time for none.
        for trial in [
            "2026-03-01T12:00:00.000Z",
            "2026-03-01T12:00:00+00:00",
            "0001-01-01T00:00:00",
            "",
        ] {
            if body != json!({}) {
                continue;
            }
            let answer = v3
                .call("PATCH", &path, &json!({"trialExpiresAt": trial}))
                .await;
            assert_eq!(
                answer.header("steward-changed"),
                "false",
                "{trial} {}",
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn an_empty_text_is_none_and_no_address_is_never_taken() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let empty: Value = TEXTS
        .iter()
        .map(|name| ((*name).to_owned(), json!("")))
        .chain([
            ("totalTrialExtensions".to_owned(), json!(0)),
            ("trialExpiresAt".to_owned(), json!("")),
            ("planId".to_owned(), json!("")),
        ])
        .collect::<serde_json::Map<_, _>>()
        .into();
    // Two accounts without an address.
    let first = v3.call("POST", "/v3/accounts", &empty).await;
    let second = v3.call("POST", "/v3/accounts", &empty).await;
    assert_eq!(
        (first.status.as_u16(), second.status.as_u16()),
        (201, 201),
        "{}",
        second.body
    );
    let filled = json!({"email": "jo@example.com", "company": "Acme", "region": "eu",
        "totalTrialExtensions": 2, "trialExpiresAt": "2027-01-01T00:00:00Z"});
    let path = v3_path(&first.json());
    v3.call("PATCH", &path, &filled).await.ok();
    let cleared = v3.call("PATCH", &path, &empty).await;
    assert_eq!(cleared.header("steward-changed"), "true");
    let (cleared, before) = (cleared.ok(), first.json());
    for name in TEXTS
        .iter()
        .copied()
        .chain(["totalTrialExtensions", "trialExpiresAt", "plan"])
    {
        assert_eq!(cleared[name], before[name], "{name}");
    }
    // The address is free again.
    let taken = v3
        .call("POST", "/v3/accounts", &json!({"email": "jo@example.com"}))
        .await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    // Empty is none only where Cryptlex shows it: a date of ours must not become never by mistake.
    let answer = v3
        .call(
            "PUT",
            &format!("{path}/expires-at"),
            &json!({"expiresAt": ""}),
        )
        .await;
    refused(&answer, 400, "INVALID_REQUEST", "expiresAt");
}

#[tokio::test]
async fn the_plan_none_can_be_read_and_assigned_and_is_in_no_list() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let account = v3.call("POST", "/v3/accounts", &json!({})).await.json();
    let path = v3_path(&account);
    let none = v3.get(&format!("/v3/plans/{NIL}")).await.ok();
    typed(&none, PLAN);
    for (name, value) in account["plan"].as_object().unwrap() {
        assert_eq!(&none[name], value, "{name}");
    }
    assert_eq!(v3.get("/v3/plans").await.ok(), json!([]));
    let plan = v3
        .call(
            "POST",
            "/v3/plans",
            &json!({"name": "pro", "allowedUsers": 5}),
        )
        .await;
    let plan = plan.json();
    typed(&plan, PLAN);
    let plan_path = format!("{path}/plan");
    for (id, changed, shown) in [
        (json!(NIL), "false", json!(NIL)),
        (plan["id"].clone(), "true", plan["id"].clone()),
        (json!(NIL), "true", json!(NIL)),
        (plan["id"].clone(), "true", plan["id"].clone()),
        (json!(""), "true", json!(NIL)),
        (json!(null), "false", json!(NIL)),
    ] {
        let answer = v3.call("PUT", &plan_path, &json!({"planId": id})).await;
        assert_eq!(answer.header("steward-changed"), changed, "{id}");
        assert_eq!(answer.ok()["plan"]["id"], shown, "{id}");
    }
    let revised = v3
        .call("PATCH", &format!("/v3/plans/{NIL}"), &json!({"tier": 1}))
        .await;
    refused(&revised, 404, "PLAN_NOT_FOUND", "");
    // A plan that was read is sent back without a change, and 0 is no limit.
    let path = format!("/v3/plans/{}", plan["id"].as_str().unwrap());
    for (body, changed) in [
        (plan.clone(), "false"),
        (json!({"allowedUsers": 0}), "true"),
        (
            json!({"allowedUsers": null, "allowedAdmins": 0, "interval": ""}),
            "false",
        ),
    ] {
        let answer = v3.call("PATCH", &path, &body).await;
        assert_eq!(answer.header("steward-changed"), changed, "{body}");
        typed(&answer.ok(), PLAN);
    }
}

#[tokio::test]
async fn a_plan_with_a_stored_limit_of_0_is_sent_back_without_a_change() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let plan = v3
        .call("POST", "/v3/plans", &json!({"name": "pro"}))
        .await
        .json();
    let superuser = app.database.superuser().await;
    // As a version that distinguished 0 from no limit stored it.
    sqlx::query("update plan set allowed_users = 0")
        .execute(&superuser)
        .await
        .unwrap();
    let path = format!("/v3/plans/{}", plan["id"].as_str().unwrap());
    let answer = v3.call("PATCH", &path, &plan).await;
    assert_eq!(answer.header("steward-changed"), "false");
    assert_eq!(answer.ok(), plan);
}

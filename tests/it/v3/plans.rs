//! Plans over REST, resellers over REST, and how a plan is one thing in all dialects.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

const PLAN_MEMBERS: [&str; 40] = [
    "id",
    "name",
    "displayName",
    "version",
    "tier",
    "interval",
    "paddleId",
    "paddlePriceId",
    "allowedUsers",
    "allowedOrganizations",
    "allowedAdmins",
    "allowedProducts",
    "allowedMeterAttributes",
    "allowedFeatureFlags",
    "allowedFeatures",
    "allowedActivations",
    "allowedTrialActivations",
    "allowedReleases",
    "allowedProductSpace",
    "allowSendingDomain",
    "amount",
    "allowCustomerPortalAccess",
    "allowOrganizationAdmins",
    "allowOfflineActivations",
    "allowHostedFloatingLicenses",
    "allowOnPremiseFloatingLicenses",
    "allowCustomDomain",
    "allowResellers",
    "allowSso",
    "allowCustomRoles",
    "allowLegacyCustomRoles",
    "allowEventLogs",
    "allowAuditLogs",
    "allowCustomEmailTemplates",
    "allowMaintenancePolicies",
    "allowActivationLogs",
    "activationLogsRetentionPeriod",
    "deprecated",
    "createdAt",
    "updatedAt",
];

#[tokio::test]
async fn an_account_shows_its_plan_with_the_originals_forty_members() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let body = json!({"name": "pro", "displayName": "Pro", "tier": 2, "interval": "month", "amount": "49.00", "allowedUsers": 25, "allowSso": true});
    let made = v3.call("POST", "/v3/plans", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let plan = made.json();
    assert_eq!(
        (plan["number"].clone(), plan["resellerId"].clone()),
        (json!(1), json!(1))
    );
    let path = format!("/v3/accounts/{id}/plan");
    let assigned = v3.call("PUT", &path, &json!({"planId": plan["id"]})).await;
    let at = assigned.body.find("\"plan\":{").unwrap();
    let mut rest = &assigned.body[at + 7..];
    for member in PLAN_MEMBERS {
        let found = rest
            .find(&format!("\"{member}\":"))
            .unwrap_or_else(|| panic!("{member} is missing or out of order: {}", assigned.body));
        rest = &rest[found..];
    }
    let shown = assigned.json()["plan"].clone();
    assert_eq!(shown.as_object().unwrap().len(), 40);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!(
        (
            shown["allowedAdmins"].clone(),
            shown["allowResellers"].clone(),
            shown["deprecated"].clone()
        ),
        (Value::Null, json!(false), json!(false))
    );
    // Again: nothing changes. Read back and written back: nothing changes.
    assert_eq!(
        v3.call("PUT", &path, &json!({"planId": plan["id"]}))
            .await
            .json()["version"],
        2
    );
    let account = v3.get(&format!("/v3/accounts/{id}")).await.ok();
    assert_eq!(
        v3.call("PATCH", &format!("/v3/accounts/{id}"), &account)
            .await
            .json()["version"],
        2
    );
    assert_eq!(account["plan"], shown);
    assert_eq!(v3.get("/v3/accounts").await.ok()[0]["plan"], shown);
    let xml = v3
        .send(
            "GET",
            &format!("/v3/accounts/{id}"),
            &[("accept", "application/xml")],
            "",
        )
        .await;
    assert!(
        xml.body.contains("<plan><id>") && xml.body.contains("<allowedUsers>25</allowedUsers>"),
        "{}",
        xml.body
    );

    // The plan changes, and with it what every account of it shows; no account's version does.
    let changed = v3
        .call(
            "PATCH",
            &format!("/v3/plans/{}", plan["id"].as_str().unwrap()),
            &json!({"amount": "59.00", "allowedUsers": null, "deprecated": true}),
        )
        .await;
    assert_eq!(
        (
            changed.status.as_u16(),
            changed.json()["name"].clone(),
            changed.json()["amount"].clone()
        ),
        (200, json!("pro"), json!("59.00"))
    );
    let account = v3.get(&format!("/v3/accounts/{id}")).await.ok();
    assert_eq!(
        (
            account["plan"]["amount"].clone(),
            account["plan"]["allowedUsers"].clone(),
            account["version"].clone()
        ),
        (json!("59.00"), Value::Null, json!(2))
    );
    assert_eq!(
        v3.call("PUT", &path, &json!({"planId": null})).await.json()["plan"],
        Value::Null
    );
}

#[tokio::test]
async fn a_plans_number_is_the_tariff_and_the_plan_id_of_the_other_dialects() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let plans = [
        json!({"name": "small"}),
        json!({"name": "big", "number": 7}),
    ];
    let mut ids = Vec::new();
    for plan in &plans {
        ids.push(v3.call("POST", "/v3/plans", plan).await.json()["id"].clone());
    }
    // The harness' accounts have tariff 1.
    let id = client.account("a").await;
    let plan_of = async || v3.get(&format!("/v3/accounts/{id}")).await.ok()["plan"]["name"].clone();
    assert_eq!(plan_of().await, "small");
    client
        .call("save", json!({"id": id, "tariff": 7}))
        .await
        .ok();
    assert_eq!(plan_of().await, "big");
    v3.call(
        "PUT",
        &format!("/v3/accounts/{id}/plan"),
        &json!({"planId": ids[0]}),
    )
    .await
    .ok();
    assert_eq!(client.get(id).await["tariff_id"], 1);
    client
        .call("save", json!({"id": id, "tariff": 99}))
        .await
        .ok();
    assert_eq!(
        (plan_of().await, client.get(id).await["tariff_id"].clone()),
        (Value::Null, json!(99)),
        "a number that no plan has is kept"
    );
    let created = v3
        .call(
            "POST",
            "/v3/accounts",
            &json!({"planId": ids[1], "company": "New"}),
        )
        .await
        .json();
    assert_eq!(created["plan"]["name"], "big");
    assert_eq!(
        v3.get("/v3/plans?limit=1").await.header("link"),
        "</v3/plans?after=1&limit=1>; rel=\"next\""
    );
    assert_eq!(
        v3.get("/v3/plans?after=1&limit=1").await.ok()[0]["name"],
        "big"
    );
}

#[tokio::test]
async fn plans_that_cannot_be_are_refused_and_a_foreign_one_is_none() {
    let app = App::new().await;
    let (acme, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let id = acme.account("a").await;
    let (v3, theirs, operator) = (V3::of(&acme), V3::of(&other), V3::of(&app.operator().await));
    let foreign = theirs
        .call("POST", "/v3/plans", &json!({"name": "theirs"}))
        .await
        .json()["id"]
        .clone();
    let path = format!("/v3/accounts/{id}/plan");
    refused(
        &v3.call("PUT", &path, &json!({"planId": foreign})).await,
        400,
        "INVALID_REQUEST",
        "planId: no such plan",
    );
    refused(
        &v3.call("POST", "/v3/accounts", &json!({"planId": foreign}))
            .await,
        400,
        "INVALID_REQUEST",
        "planId: no such plan",
    );
    refused(
        &v3.call("PUT", &path, &json!({"planId": "x"})).await,
        400,
        "INVALID_REQUEST",
        "planId: must be a UUID",
    );
    refused(
        &v3.call("PUT", &path, &json!({})).await,
        400,
        "INVALID_REQUEST",
        "planId: is required",
    );
    for (body, says) in [
        (json!({}), "name: must not be empty"),
        (json!({"name": "x".repeat(256)}), "name: must be at most"),
        (
            json!({"name": "x", "tier": -1}),
            "tier: must not be negative",
        ),
        (
            json!({"name": "x", "allowedUsers": -1}),
            "allowedUsers: must not be negative",
        ),
        (
            json!({"name": "x", "allowedUsers": 3_000_000_000_u64}),
            "allowedUsers",
        ),
        (json!({"name": "x", "allowSso": "yes"}), "allowSso"),
        (
            json!({"name": "x", "number": 0}),
            "number: must be at least 1",
        ),
    ] {
        refused(
            &v3.call("POST", "/v3/plans", &body).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
    v3.call("POST", "/v3/plans", &json!({"name": "one", "number": 5}))
        .await;
    refused(
        &v3.call("POST", "/v3/plans", &json!({"name": "two", "number": 5}))
            .await,
        400,
        "INVALID_REQUEST",
        "number: another plan",
    );
    theirs
        .call(
            "POST",
            "/v3/plans",
            &json!({"name": "last", "number": i32::MAX}),
        )
        .await;
    refused(
        &theirs
            .call("POST", "/v3/plans", &json!({"name": "more"}))
            .await,
        400,
        "INVALID_REQUEST",
        "number: must be named",
    );
    refused(
        &operator
            .call("POST", "/v3/plans", &json!({"name": "x"}))
            .await,
        400,
        "INVALID_REQUEST",
        "resellerId: is required",
    );
    refused(
        &operator
            .call(
                "POST",
                "/v3/plans",
                &json!({"name": "x", "resellerId": 999}),
            )
            .await,
        400,
        "INVALID_REQUEST",
        "resellerId: no such reseller",
    );
    assert_eq!(
        operator
            .call("POST", "/v3/plans", &json!({"name": "x", "resellerId": 1}))
            .await
            .json()["number"],
        6
    );
    assert_eq!(
        operator
            .get("/v3/plans?resellerId=2")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    for (query, says) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=-1", "after"),
        ("after=x", "after"),
        ("page=2", "page: is no parameter"),
        ("limit=1&limit=2", "limit: appears more than once"),
    ] {
        refused(
            &v3.get(&format!("/v3/plans?{query}")).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
}

#[tokio::test]
async fn an_operator_manages_resellers_and_a_reseller_sees_itself() {
    let app = App::new().await;
    let operator = V3::of(&app.operator().await);
    let made =
        operator.call("POST", "/v3/resellers", &json!({"name": "Acme", "timezone": "Europe/Berlin", "soapCodes": "number", "accountLimit": 1})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let reseller = made.json();
    let token = operator
        .call("POST", "/v3/tokens", &json!({"resellerId": reseller["id"]}))
        .await
        .json();
    assert_eq!(token["resellerId"], reseller["id"]);
    let v3 = V3 {
        router: app.router.clone(),
        token: token["token"].as_str().unwrap().to_owned(),
    };
    app.new_reseller("Other").await;
    assert_eq!(
        operator
            .get("/v3/resellers")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(v3.get("/v3/resellers").await.ok(), json!([reseller]));
    let account = v3
        .call("POST", "/v3/accounts", &json!({"expiresAt": "2026-07-01"}))
        .await
        .json();
    assert_eq!(
        account["expiresAt"], "2026-07-01T21:59:59Z",
        "the end of that day in Berlin"
    );
    refused(
        &v3.call("POST", "/v3/accounts", &json!({})).await,
        409,
        "CONFLICT",
        "quota_reached",
    );
    let path = format!("/v3/resellers/{}", reseller["id"]);
    let changed = operator
        .call(
            "PATCH",
            &path,
            &json!({"accountLimit": null, "name": "Acme Hosting"}),
        )
        .await
        .ok();
    assert_eq!(
        (
            changed["accountLimit"].clone(),
            changed["name"].clone(),
            changed["timezone"].clone()
        ),
        (Value::Null, json!("Acme Hosting"), json!("Europe/Berlin"))
    );
    assert_eq!(
        v3.call("POST", "/v3/accounts", &json!({})).await.status,
        201
    );
    assert!(
        operator
            .call("POST", &format!("{path}/suspend"), &Value::Null)
            .await
            .ok()["suspendedAt"]
            .is_string()
    );
    let first = account["id"].as_str().unwrap();
    assert_eq!(
        v3.get(&format!("/v3/accounts/{first}/access")).await.ok()["blockedBy"],
        json!(["suspended:reseller_account"])
    );
    assert_eq!(
        operator
            .call("POST", &format!("{path}/unsuspend"), &Value::Null)
            .await
            .ok()["suspendedAt"],
        Value::Null
    );
    assert_eq!(
        v3.get(&format!("/v3/accounts/{first}/access")).await.ok()["allowed"],
        true
    );
    for (body, says) in [
        (json!({"name": "other"}), "name: another reseller"),
        (json!({"name": "123"}), "name: must be 1 to 255"),
        (json!({"timezone": "Mars/Base"}), "timezone: "),
        (json!({"soapCodes": "emoji"}), "soapCodes: "),
        (json!({"accountLimit": -1}), "accountLimit: "),
    ] {
        refused(
            &operator.call("PATCH", &path, &body).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
    refused(
        &operator.call("POST", "/v3/resellers", &json!({})).await,
        400,
        "INVALID_REQUEST",
        "name: is required",
    );
}

#[tokio::test]
async fn an_operators_internal_reason_is_not_shown_to_the_reseller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
    let body = json!({"reason": "fraud desk, case 12", "publicMessage": "Please contact support."});
    operator
        .call("POST", &format!("/v3/accounts/{id}/suspend"), &body)
        .await
        .ok();
    for path in ["", "/holds", "/explain", "/history"] {
        let (theirs, ours) = (
            v3.get(&format!("/v3/accounts/{id}{path}")).await,
            operator.get(&format!("/v3/accounts/{id}{path}")).await,
        );
        assert!(
            !theirs.body.contains("case 12") && theirs.body.contains("Please contact support."),
            "{path}: {}",
            theirs.body
        );
        assert!(ours.body.contains("case 12"), "{path}: {}", ours.body);
    }
}

#[tokio::test]
async fn the_description_and_the_page_to_try_it_are_served_by_the_program_alone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let document = v3.get("/openapi.json").await.ok();
    assert_eq!(
        (
            document["openapi"].clone(),
            document["servers"][0]["url"].clone()
        ),
        (json!("3.1.0"), json!("https://steward.example"))
    );
    let page = v3.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
            && page.header("content-type").starts_with("text/html")
    );
    assert!(
        !page.body.contains("http://") && !page.body.contains("https://"),
        "{}",
        page.body
    );
    for asset in page
        .body
        .split('"')
        .filter_map(|part| part.strip_prefix("./"))
    {
        assert_eq!(
            v3.get_bytes(&format!("/docs/{asset}")).await,
            200,
            "{asset}"
        );
    }
    assert!(
        v3.get("/docs/swagger-initializer.js")
            .await
            .body
            .contains("/openapi.json")
    );
    assert_eq!(v3.get("/docs").await.header("location"), "/docs/");
    assert_eq!(v3.get("/docs/../Cargo.toml").await.status, 404);
    let cursors = client.account("a").await;
    assert_eq!(cursors, 1);
    let link = v3
        .get("/v3/accounts?after=&limit=1")
        .await
        .header("link")
        .to_owned();
    let path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(v3.get(&path).await.status, 200);
    let other = V3::of(&app.new_reseller("Other").await);
    refused(
        &other.get(&path).await,
        400,
        "INVALID_REQUEST",
        "after: must be a cursor",
    );
}

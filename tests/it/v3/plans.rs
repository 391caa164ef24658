//! Plans over REST; one plan in all dialects.

use serde_json::json;

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
async fn an_account_shows_its_plan_with_cryptlexs_forty_members() {
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
        (json!(0), json!(false), json!(false))
    );
    // The same change again, and the document written back as it was read, change nothing.
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

    // A change of the plan shows in all of its accounts, and moves no account's version.
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
        (json!("59.00"), json!(0), json!(2))
    );
    assert_eq!(
        v3.call("PUT", &path, &json!({"planId": null})).await.json()["plan"]["name"],
        "none"
    );
}

#[tokio::test]
async fn a_plan_number_is_the_tariff_in_admin_and_the_plan_id_in_soap() {
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
    // Accounts of the harness have tariff 1.
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
        (json!("none"), json!(99)),
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
async fn invalid_plans_are_refused_and_other_resellers_plans_are_not_found() {
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
    for (body, expected) in [
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
            expected,
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
    for (query, expected) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=-1", "after"),
        ("after=x", "after"),
        ("before=2", "before: is no parameter"),
        ("limit=1&limit=2", "limit: appears more than once"),
    ] {
        refused(
            &v3.get(&format!("/v3/plans?{query}")).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
}

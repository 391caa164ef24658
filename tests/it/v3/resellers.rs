//! Resellers, for operators and for themselves.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn operators_manage_resellers_and_a_reseller_reads_only_itself() {
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
    for (body, expected) in [
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
            expected,
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

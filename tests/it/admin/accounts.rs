//! Creating, changing, deleting and restoring accounts.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::Patch;
use steward::service::ResellerPatch;

use crate::harness::App;

#[tokio::test]
async fn every_change_adds_one_journal_entry_with_actor_and_action() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let steps = [
        (
            "freeze",
            json!({"frozen_details": {"payment_url": "https://pay.example"}}),
            "freeze",
            "account.frozen",
        ),
        ("unfreeze", json!({}), "unfreeze", "account.unfrozen"),
        (
            "suspend",
            json!({"reason": "spam", "reason_code": "abuse"}),
            "suspend",
            "account.suspended",
        ),
        ("unsuspend", json!({}), "unsuspend", "account.unsuspended"),
        ("deactivate", json!({}), "deactivate", "account.deactivated"),
        ("activate", json!({}), "activate", "account.activated"),
        (
            "status",
            json!({"status": "inactive"}),
            "deactivate",
            "account.deactivated",
        ),
        (
            "expiry_date",
            json!({"expiry_date": "2027-05-05"}),
            "set_expiry",
            "account.expiry_changed",
        ),
        ("save", json!({"title": "New"}), "revise", ""),
        ("delete", json!({}), "delete", "account.deleted"),
        ("restore", json!({}), "restore", "account.restored"),
    ];
    for (number, (call, mut members, action, event)) in steps.into_iter().enumerate() {
        members["id"] = json!(id);
        client.call(call, members).await.ok();
        let entries = client.call("history", json!({"id": id})).await.ok()["data"].clone();
        let entry = &entries[0];
        assert_eq!(
            entries.as_array().unwrap().len(),
            number + 2,
            "{call} leaves one entry"
        );
        assert_eq!(
            (entry["action"].as_str(), entry["outcome"].as_str()),
            (Some(action), Some("applied"))
        );
        assert_eq!(
            entry["events"],
            if event.is_empty() {
                json!([])
            } else {
                json!([event])
            }
        );
        assert_eq!(
            entry["sequence"],
            json!(number + 2),
            "the sequence has no gaps"
        );
        assert_eq!(
            (entry["authority"].as_str(), entry["dialect"].as_str()),
            (Some("reseller"), Some("admin"))
        );
        assert!(
            entry["actor"]
                .as_str()
                .unwrap()
                .starts_with("reseller 1, token ")
        );
        assert_ne!(entry["before"], entry["after"]);
    }
    let entries = client
        .call("history", json!({"id": id, "limit": 2}))
        .await
        .ok()["data"]
        .clone();
    let before = entries[1]["id"].clone();
    let older = client
        .call("history", json!({"id": id, "before": before, "limit": 1}))
        .await
        .ok()["data"]
        .clone();
    assert_eq!(older[0]["action"], "revise");
    assert_eq!(
        (older[0]["before"].clone(), older[0]["after"].clone()),
        (json!({"title": "a"}), json!({"title": "New"}))
    );
}

#[tokio::test]
async fn an_account_expires_without_any_job_or_request() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-02"}),
        )
        .await
        .ok();
    assert_eq!(client.get(id).await["expires_at"], "2026-03-02T23:59:59Z");
    assert_eq!(client.get(id).await["effective_status"], "active");
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(client.get(id).await["effective_status"], "expired");
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-05-01T10:00:00+02:00"}),
        )
        .await
        .ok();
    assert_eq!(client.get(id).await["expires_at"], "2026-05-01T08:00:00Z");
    client
        .call_xml("expiry_date", &format!("<id>{id}</id><expiry_date/>"))
        .await;
    assert_eq!(client.get(id).await["expires_at"], Value::Null);
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "1999-01-01"}),
        )
        .await
        .ok();
    assert_eq!(
        client.get(id).await["effective_status"],
        "expired",
        "a past date is allowed"
    );
    client
        .call("expiry_date", json!({"id": id, "expiry_date": null}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
}

#[tokio::test]
async fn suspending_a_reseller_blocks_its_accounts_without_changing_them() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "freeze",
            json!({"id": id, "frozen_details": {"payment_url": "https://pay.example"}}),
        )
        .await
        .ok();
    let before = client.get(id).await;
    let reseller = app.service.find_reseller("acme").await.unwrap();
    app.suspend_reseller(reseller, true).await;
    app.suspend_reseller(reseller, true).await;
    let suspended = client.get(id).await;
    assert_eq!(
        suspended["blocked_by"],
        json!(["suspended:reseller_account", "frozen"])
    );
    assert_eq!(
        (
            suspended["is_suspended"].clone(),
            suspended["version"].clone()
        ),
        (json!(true), before["version"].clone())
    );
    app.suspend_reseller(reseller, false).await;
    assert_eq!(client.get(id).await, before);
}

#[tokio::test]
async fn a_deleted_account_is_gone_until_it_is_restored() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    client.call("delete", json!({"id": id})).await.ok();
    for call in ["get", "freeze", "unfreeze", "suspend", "activate", "delete"] {
        client
            .call(call, json!({"id": id}))
            .await
            .is_error(404, "Account not found");
    }
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 0);
    assert_eq!(
        client.call("list", json!({"state": "deleted"})).await.ok()["data"][0]["id"],
        id
    );
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["effective_status"],
        "deleted"
    );
    client.call("restore", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "frozen");
}

#[tokio::test]
async fn an_email_is_unique_per_reseller_ignoring_case_and_free_after_deletion() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let id = client.account("jo").await;
    let save = |email: &str| json!({"name": "x", "title": "x", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1, "email": email});
    client
        .call("save", save("JO@Example.com"))
        .await
        .is_error(409, "Conflict: email_in_use");
    other.call("save", save("JO@Example.com")).await.ok();
    client
        .call("save", json!({"id": id, "email": "jo@EXAMPLE.com"}))
        .await
        .ok();
    client.call("delete", json!({"id": id})).await.ok();
    let second = client.call("save", save("jo@example.com")).await.ok()["data"]["saved_id"]
        .as_i64()
        .unwrap();
    client
        .call("restore", json!({"id": id}))
        .await
        .is_error(409, "Conflict: email_in_use");
    client
        .call("save", json!({"id": second, "email": "else@example.com"}))
        .await
        .ok();
    client.call("restore", json!({"id": id})).await.ok();
}

#[tokio::test]
async fn a_reseller_at_its_account_limit_cannot_create_another() {
    let app = App::new().await;
    let reseller = app
        .reseller_with(
            "Small",
            ResellerPatch {
                account_limit: Patch::Set(2),
                ..ResellerPatch::default()
            },
        )
        .await;
    let client = app.client(&app.token(Some(reseller), None).await);
    let first = client.account("a").await;
    client.account("b").await;
    let save = json!({"name": "c", "title": "c", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1});
    client
        .call("save", save.clone())
        .await
        .is_error(402, "Tariff limit reached");
    client.call("delete", json!({"id": first})).await.ok();
    client.call("save", save).await.ok();
}

#[tokio::test]
async fn save_keeps_absent_members_and_returns_unknown_ones() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let create = json!({"name": "n", "title": "t", "tz": "Europe/Moscow", "tariff": 5, "reports_day": 3, "reports_hour": 7, "is_smart": true, "virtual_sender": 12});
    let id = client.call("save", create).await.ok()["data"]["saved_id"]
        .as_i64()
        .unwrap();
    client
        .call(
            "save",
            json!({"id": id, "title": "T2", "static_domain": "x.example"}),
        )
        .await
        .ok();
    let account = client.get(id).await;
    for (name, value) in [
        ("name", json!("n")),
        ("title", json!("T2")),
        ("timezone", json!("Europe/Moscow")),
        ("tariff_id", json!(5)),
        ("reports_day", json!(3)),
        ("reports_hour", json!(7)),
        ("is_smart", json!(true)),
        ("virtual_sender", json!(12)),
        ("static_domain", json!("x.example")),
    ] {
        assert_eq!(account[name], value, "{name}");
    }
    let unchanged = client
        .call("save", json!({"id": id, "title": "T2", "verbose": true}))
        .await
        .ok();
    assert_eq!(unchanged["changed"], json!(false));
    client
        .call("save", json!({"id": id, "tz": "Europe/Nowhere"}))
        .await
        .is_error(400, "Incorrect request: tz: ");
    client
        .call("save", json!({"id": 999, "title": "x"}))
        .await
        .is_error(404, "Account not found");
    client
        .call("save", json!({"name": "n"}))
        .await
        .is_error(400, "Incorrect request: title: is required");
}

#[tokio::test]
async fn an_operator_reaches_all_accounts_and_names_the_reseller_of_a_new_one() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (mine, theirs) = (client.account("a").await, other.account("b").await);
    let operator = app.operator().await;
    let listed = operator.call("list", json!({})).await.ok();
    assert_eq!(
        (
            listed["total_count"].clone(),
            listed["data"][0]["id"].clone(),
            listed["data"][1]["id"].clone()
        ),
        (json!(2), json!(mine), json!(theirs))
    );
    operator.call("freeze", json!({"id": theirs})).await.ok();
    other.call("unfreeze", json!({"id": theirs})).await.ok();
    assert_eq!(
        other.get(theirs).await["is_frozen"],
        json!(true),
        "the reseller cannot lift it"
    );
    let mut save = json!({"name": "n", "title": "t", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1});
    operator
        .call("save", save.clone())
        .await
        .is_error(400, "Incorrect request: reseller_id: is required");
    save["reseller_id"] = json!(99);
    operator
        .call("save", save.clone())
        .await
        .is_error(400, "Incorrect request: reseller_id: no such reseller");
    save["reseller_id"] = json!(2);
    let made = operator.call("save", save).await.ok()["data"]["saved_id"].clone();
    assert_eq!(other.get(made.as_i64().unwrap()).await["name"], "n");
    client
        .call("get", json!({"id": made}))
        .await
        .is_error(404, "Account not found");
}

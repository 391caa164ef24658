//! Dates without a zone are in that of the account's reseller, whoever calls, and however.

use std::fs;

use serde_json::{Value, json};
use steward::service::ResellerPatch;

use crate::harness::App;
use crate::harness::app::Client;
use crate::harness::process::{folder, succeed, until};
use crate::harness::soap::Soap;
use crate::harness::v3::V3;

const BERLIN: &str = "2026-06-30T21:59:59Z";
const TOKYO: &str = "2026-06-30T14:59:59Z";

async fn reseller_in(app: &App, name: &str, zone: &str) -> (i64, Client) {
    let patch = ResellerPatch {
        timezone: Some(zone.to_owned()),
        ..ResellerPatch::default()
    };
    let reseller = app.reseller_with(name, patch).await;
    let client = app.client(&app.token(Some(reseller), None).await);
    (reseller.0, client)
}

#[tokio::test]
async fn an_operators_dates_are_in_the_zone_of_the_accounts_reseller() {
    let app = App::new().await;
    let (berlin, in_berlin) = reseller_in(&app, "Berlin", "Europe/Berlin").await;
    let (tokyo, in_tokyo) = reseller_in(&app, "Tokyo", "Asia/Tokyo").await;
    let client = app.operator().await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    let date = "2026-06-30";
    let mut accounts = Vec::new();
    for (reseller, owner, end) in [(berlin, &in_berlin, BERLIN), (tokyo, &in_tokyo, TOKYO)] {
        let id = owner.account(&format!("n{reseller}")).await;
        accounts.push((id, end));
        let path = format!("/v3/accounts/{id}");
        let never = || async {
            let body = json!({ "expiresAt": null });
            v3.call("PUT", &format!("{path}/expires-at"), &body)
                .await
                .ok();
        };
        let expires = async |way: &str| {
            assert_eq!(v3.get(&path).await.ok()["expiresAt"], end, "{way}");
            never().await;
        };
        let body = json!({ "expiresAt": date });
        v3.call("PUT", &format!("{path}/expires-at"), &body)
            .await
            .ok();
        expires("v3 expires-at").await;
        v3.call("PATCH", &path, &body).await.ok();
        expires("v3 patch").await;
        client
            .call("expiry_date", json!({"id": id, "expiry_date": date}))
            .await
            .ok();
        expires("admin expiry_date").await;
        client
            .call("save", json!({"id": id, "expiry_date": date}))
            .await
            .ok();
        expires("admin save").await;
        let children = format!("<accountID>{id}</accountID><expiryDate>{date}</expiryDate>");
        soap.call("ChangeAccountExpiryDateUsingAccountID", &children)
            .await;
        expires("soap by number").await;
        let children =
            format!("<email>n{reseller}@example.com</email><expiryDate>{date}</expiryDate>");
        soap.call("ChangeAccountExpiryDate", &children).await;
        expires("soap by address").await;
        let job = json!({"resellerId": reseller, "selector": {"q": "n"},
            "operation": {"operation": "expires-at", "expiresAt": date}});
        let job = v3.call("POST", "/v3/bulk-jobs", &job).await.json();
        let job_path = format!("/v3/bulk-jobs/{}", job["id"].as_str().unwrap());
        v3.call("POST", &format!("{job_path}/apply"), &json!({}))
            .await;
        until("the job is applied", async || {
            let job = v3.get(&job_path).await.ok();
            (job["state"] == "applied").then_some(())
        })
        .await;
        expires("bulk job").await;

        let until = json!({ "exemptUntil": date });
        let exempt = v3
            .call("PUT", &format!("{path}/exempt-until"), &until)
            .await;
        assert_eq!(exempt.ok()["exemptUntil"], end);
        let held = json!({ "endsAt": date });
        let held = v3.call("POST", &format!("{path}/freeze"), &held).await.ok();
        assert_eq!(held["holds"][0]["endsAt"], end);
        client
            .call("suspend", json!({"id": id, "ends_at": date}))
            .await
            .ok();
        let held = v3.get(&path).await.ok();
        assert_eq!(held["holds"][1]["endsAt"], end);
        let simulated = json!({"operations": [{"operation": "expires-at", "expiresAt": date}]});
        let simulated = v3
            .call("POST", &format!("{path}/simulate"), &simulated)
            .await
            .ok();
        assert_eq!(simulated["account"]["expiresAt"], end);
        let new = json!({"resellerId": reseller, "expiresAt": date});
        let made = v3.call("POST", "/v3/accounts", &new).await.json();
        assert_eq!(made["expiresAt"], end);
        let new = json!({"reseller_id": reseller, "name": "x", "title": "x", "tz": "UTC", "tariff": 0,
            "reports_day": 1, "reports_hour": 1, "expiry_date": date});
        let made = client.call("save", new).await.ok()["data"]["saved_id"].clone();
        assert_eq!(client.get(made.as_i64().unwrap()).await["expires_at"], end);
        client.call("delete", json!({ "id": made })).await.ok();
    }
    // One request for accounts of both: each has its own zone.
    let operations: Vec<Value> = accounts
        .iter()
        .map(|(id, _)| json!({"operation": "expires-at", "account": id, "expiresAt": date}))
        .collect();
    let bulk = v3
        .call("POST", "/v3/bulk", &json!({ "operations": operations }))
        .await
        .ok();
    assert_eq!(bulk["succeeded"], 2);
    for (id, end) in &accounts {
        let account = v3.get(&format!("/v3/accounts/{id}")).await.ok();
        assert_eq!(account["expiresAt"], *end);
    }
}

#[tokio::test]
async fn a_list_of_several_resellers_compares_each_account_in_its_own_zone() {
    let app = App::new().await;
    let (_, in_berlin) = reseller_in(&app, "Berlin", "Europe/Berlin").await;
    let (_, in_tokyo) = reseller_in(&app, "Tokyo", "Asia/Tokyo").await;
    let client = app.operator().await;
    let v3 = V3::of(&client);
    let operators = [&in_berlin, &in_tokyo];
    // At 15:00 in UTC it is still 30 June in Berlin, and already 1 July in Tokyo.
    for owner in operators {
        let id = owner.account("jo").await;
        let body = json!({"expiresAt": "2026-06-30T15:00:00Z"});
        V3::of(owner)
            .call("PUT", &format!("/v3/accounts/{id}/expires-at"), &body)
            .await
            .ok();
    }
    for (filter, expected) in [
        ("expiresAt=2026-06-30", vec!["Berlin"]),
        ("expiresAt=2026-07-01", vec!["Tokyo"]),
        ("expiresAt[ne]=2026-07-01", vec!["Berlin"]),
        ("expiresAt[gt]=2026-06-30", vec!["Tokyo"]),
        ("expiresAt[gte]=2026-07-01", vec!["Tokyo"]),
        ("expiresAt[lte]=2026-06-30", vec!["Berlin"]),
        ("expiresAt[lt]=2026-07-01", vec!["Berlin"]),
        (
            "expiresAt[in]=2026-07-01,2026-06-30",
            vec!["Berlin", "Tokyo"],
        ),
        ("expiresAt=2026-06-30Z", vec!["Berlin", "Tokyo"]),
        ("expiresAt=2026-06-30T15:00:00Z", vec!["Berlin", "Tokyo"]),
        ("expiresAt=2026-06-30T17:00:00", vec!["Berlin"]),
        ("createdAt=2026-03-01&expiresAt=2026-07-01", vec!["Tokyo"]),
    ] {
        let query = filter.replace('[', "%5B").replace(']', "%5D");
        let found = v3
            .get(&format!("/v3/accounts?sort=createdAt&{query}"))
            .await;
        assert_eq!(
            found.header("pagination-count"),
            expected.len().to_string(),
            "{filter}"
        );
        let cursor = v3.get(&format!("/v3/accounts?after=&{query}")).await.ok();
        assert_eq!(cursor.as_array().unwrap().len(), expected.len(), "{filter}");
    }
    for (members, expected) in [
        (json!({"expires_before": "2026-07-01"}), vec![1]),
        (json!({"expires_after": "2026-07-01"}), vec![2]),
        (
            json!({"expires_after": "2026-06-30", "expires_before": "2026-07-02"}),
            vec![1, 2],
        ),
        (json!({"expires_before": "2026-07-01Z"}), vec![1, 2]),
        (
            json!({"expires_before": "2026-07-01", "state": "active"}),
            vec![1],
        ),
    ] {
        let listed = client.call("list", members.clone()).await.ok();
        let found = listed["data"].as_array().unwrap().iter();
        let found: Vec<i64> = found.map(|it| it["id"].as_i64().unwrap()).collect();
        assert_eq!(found, expected, "{members}");
        assert_eq!(listed["total_count"], expected.len(), "{members}");
    }
}

#[test]
fn the_command_line_reads_dates_in_the_zone_of_the_reseller() {
    let folder = folder();
    let data = folder.path();
    succeed(data, &["migrate"]);
    let json =
        |arguments: &[&str]| -> Value { serde_json::from_str(&succeed(data, arguments)).unwrap() };
    for (name, zone) in [("Berlin", "Europe/Berlin"), ("Tokyo", "Asia/Tokyo")] {
        succeed(data, &["reseller", "create", "--name", name]);
        succeed(data, &["reseller", "update", name, "--timezone", zone]);
    }
    let import = data.join("accounts.csv");
    fs::write(
        &import,
        "email,expires_at\nimported@example.com,2026-06-30\n",
    )
    .unwrap();
    let import = import.to_str().unwrap().to_owned();
    for (name, end) in [("Berlin", BERLIN), ("Tokyo", TOKYO)] {
        let created = json(&[
            "account",
            "create",
            "--reseller",
            name,
            "--email",
            "jo@example.com",
            "--expires-at",
            "2026-06-30",
            "--json",
        ]);
        assert_eq!(created["expires_at"], end);
        succeed(data, &["account", "import", &import, "--reseller", name]);
    }
    let shown = |id: &str| json(&["account", "show", id, "--json"])["expires_at"].clone();
    assert_eq!((shown("2"), shown("4")), (json!(BERLIN), json!(TOKYO)));
    let file = data.join("operations.jsonl");
    let operations = ["1", "3"].map(|id| {
        json!({"operation": "expires-at", "account": id, "expiresAt": "2027-06-30"}).to_string()
    });
    fs::write(&file, operations.join("\n")).unwrap();
    succeed(data, &["bulk", file.to_str().unwrap()]);
    assert_eq!(
        (shown("1"), shown("3")),
        (json!("2027-06-30T21:59:59Z"), json!("2027-06-30T14:59:59Z"))
    );
}

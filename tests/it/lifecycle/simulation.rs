//! Simulated calls.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn a_simulation_predicts_the_calls_and_writes_nothing() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let path = format!("/v3/accounts/{id}/simulate");
    let operations = [
        ("freeze", json!({"paymentUrl": "https://pay.example/7"})),
        ("status", json!({"status": "inactive"})),
        ("status", json!({"status": "inactive"})),
        ("suspend", json!({"endsAt": "2020-01-01"})),
        (
            "unfreeze",
            json!({"holdId": "00000000-0000-4000-8000-000000000000"}),
        ),
        ("expires-at", json!({"expiresAt": "2026-01-01T00:00:00Z"})),
        ("retain", json!({})),
        ("release", json!({})),
        ("unfreeze", json!({})),
        ("restore", json!({})),
    ];
    let requested: Vec<Value> = operations
        .iter()
        .map(|(name, members)| {
            let mut members = members.clone();
            members["operation"] = json!(name);
            members
        })
        .collect();
    let simulated = v3
        .call("POST", &path, &json!({ "operations": requested }))
        .await
        .ok();
    assert_eq!(client.get(id).await["version"], 1, "nothing was written");
    assert_eq!(client.history(id).await.len(), 1);
    for ((name, members), result) in operations
        .iter()
        .zip(simulated["results"].as_array().unwrap())
    {
        let (method, tail) = if matches!(*name, "status" | "expires-at") {
            ("PUT", *name)
        } else {
            ("POST", *name)
        };
        let before = client.get(id).await["version"].clone();
        let done = v3
            .call(method, &format!("/v3/accounts/{id}/{tail}"), members)
            .await;
        let document = done.json();
        assert_eq!(
            (result["status"].as_u64(), &result["code"]),
            (Some(u64::from(done.status.as_u16())), &document["code"]),
            "{name}"
        );
        assert_eq!(result["message"], document["message"], "{name}");
        if done.status == 200 {
            assert_eq!(
                (&result["effectiveStatus"], &result["blockedBy"]),
                (&document["effectiveStatus"], &document["blockedBy"]),
                "{name}"
            );
            assert_eq!(result["changed"], before != document["version"], "{name}");
        }
    }
    assert_eq!(
        simulated["account"]["blockedBy"],
        v3.get(&format!("/v3/accounts/{id}")).await.ok()["blockedBy"]
    );
    assert_eq!(simulated["results"][0]["events"], json!(["account.frozen"]));

    // The same in the admin dialect, in JSON and in XML.
    let calls = json!([{"call": "activate"}, {"call": "nonsense"}, {"call": "expiry_date", "expiry_date": null}]);
    let simulated = client
        .call("simulate", json!({"id": id, "operations": calls}))
        .await
        .ok();
    assert_eq!(
        simulated["data"][0],
        json!({"blocked_by": ["expired"], "call": "activate", "changed": true, "effective_status": "expired", "error": 0, "error_text": "Successful operation", "events": ["account.activated"]})
    );
    assert_eq!(
        (
            simulated["data"][1]["error"].as_i64(),
            simulated["data"][2]["effective_status"].as_str()
        ),
        (Some(400), Some("active"))
    );
    let xml = client
        .call_xml("simulate", &format!("<id>{id}</id><operations><call>activate</call></operations><operations><call>suspend</call></operations>"))
        .await;
    assert!(
        xml.body
            .contains("<effective_status>suspended:reseller</effective_status>"),
        "{}",
        xml.body
    );
    for bad in [
        json!({}),
        json!({"operations": []}),
        json!({"operations": [{}]}),
        json!({"operations": "freeze"}),
    ] {
        refused(
            &v3.call("POST", &path, &bad).await,
            400,
            "INVALID_REQUEST",
            "operation",
        );
    }
}

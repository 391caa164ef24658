//! Many operations in one request.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn bulk_operations_succeed_or_fail_on_their_own_and_can_be_repeated() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    let (first, second, theirs) = (
        client.account("a").await,
        client.account("b").await,
        other.account("c").await,
    );
    let uid = client.get(second).await["uid"].clone();
    let operations = json!([
        {"operation": "freeze", "account": first, "paymentUrl": "https://pay.example/7"},
        {"operation": "suspend", "account": uid},
        {"operation": "freeze", "account": theirs},
        {"operation": "freeze", "account": "nonsense"},
        {"operation": "freeze", "account": first, "paymentUrl": "javascript:alert(1)"},
        {"operation": "freeze"},
        {"operation": "unfreeze", "account": first.to_string()},
        {"operation": "delete", "account": second},
        {"operation": "delete", "account": second},
        {"operation": "dance", "account": second},
    ]);
    let body = json!({"operations": operations}).to_string();
    let done = v3
        .send("POST", "/v3/bulk", &[("idempotency-key", "k1")], &body)
        .await
        .ok();
    let statuses = |done: &Value| {
        done["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["status"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        statuses(&done),
        [200, 200, 404, 404, 400, 400, 200, 204, 204, 400]
    );
    assert_eq!(
        (done["succeeded"].as_i64(), done["failed"].as_i64()),
        (Some(5), Some(5))
    );
    assert_eq!(
        done["results"][6]["effectiveStatus"], "active",
        "at one account they are done in order"
    );
    assert_eq!(
        client
            .history(first)
            .await
            .iter()
            .map(|(verb, _)| verb.as_str())
            .collect::<Vec<_>>(),
        ["create", "freeze", "unfreeze"]
    );
    assert_eq!(other.get(theirs).await["version"], 1);

    // A repeat with the same key gets the same statuses, and nothing runs again.
    let again = v3
        .send("POST", "/v3/bulk", &[("idempotency-key", "k1")], &body)
        .await
        .ok();
    assert_eq!(statuses(&again), statuses(&done));
    assert_eq!(again["results"][2]["code"], done["results"][2]["code"]);
    assert_eq!(client.history(first).await.len(), 3);
    // With another body nothing runs, not even what the first body did not have.
    let more = client.account("d").await;
    let mut other_body: Value = serde_json::from_str(&body).unwrap();
    other_body["operations"][0]["paymentUrl"] = json!("https://pay.example/8");
    let added = json!({"operation": "suspend", "account": more});
    other_body["operations"].as_array_mut().unwrap().push(added);
    let other_body = other_body.to_string();
    let changed = v3
        .send(
            "POST",
            "/v3/bulk",
            &[("idempotency-key", "k1")],
            &other_body,
        )
        .await;
    refused(&changed, 422, "IDEMPOTENCY_KEY_REUSED", "");
    assert_eq!(client.get(more).await["version"], 1);
    // Without a key a repeated deletion gets the same answer as the first.
    let repeated = v3
        .call(
            "POST",
            "/v3/bulk",
            &json!({"operations": [{"operation": "delete", "account": second}]}),
        )
        .await
        .ok();
    assert_eq!(
        (
            repeated["results"][0]["status"].as_i64(),
            &repeated["results"][0]["changed"]
        ),
        (Some(204), &json!(false))
    );

    // The limit is a thousand operations. An operator may change accounts of several resellers.
    let many = |count: usize| json!({"operations": vec![json!({"operation": "status", "status": "active", "account": first}); count]});
    assert_eq!(
        v3.call("POST", "/v3/bulk", &many(1_000)).await.ok()["succeeded"],
        1_000
    );
    refused(
        &v3.call("POST", "/v3/bulk", &many(1_001)).await,
        400,
        "INVALID_REQUEST",
        "operations: must have 1 to 1000 entries, not 1001",
    );
    let operator = V3::of(&app.operator().await);
    let both = json!({"operations": [{"operation": "suspend", "account": first}, {"operation": "suspend", "account": theirs}]});
    assert_eq!(
        operator.call("POST", "/v3/bulk", &both).await.ok()["succeeded"],
        2
    );
    assert_eq!(
        other.get(theirs).await["effective_status"],
        "suspended:operator"
    );
    let xml =
        "<xml><operations><operation>freeze</operation><account>1</account></operations></xml>";
    let answer = v3
        .send(
            "POST",
            "/v3/bulk",
            &[
                ("content-type", "application/xml"),
                ("accept", "application/xml"),
            ],
            xml,
        )
        .await;
    assert!(
        answer.body.contains("<succeeded>1</succeeded>"),
        "{}",
        answer.body
    );
}

//! Every call that places a hold states its time: without a begin it is in force now, without an end
//! until it is lifted.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::soap::Soap;
use crate::harness::v3::V3;

#[tokio::test]
async fn a_passing_suspension_lasts_after_a_call_without_an_end_in_every_dialect() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    for dialect in ["admin", "soap by number", "soap by address", "v3"] {
        let name = dialect.replace(' ', "-");
        let id = client.account(&name).await;
        let passing = json!({"id": id, "reason_code": "abuse", "public_message": "See us.", "ends_at": "2026-03-12T00:00:00Z"});
        client.call("suspend", passing).await.ok();
        let path = format!("/v3/accounts/{id}");
        let before = v3.get(&path).await.ok();
        assert_eq!(before["holds"][0]["endsAt"], "2026-03-12T00:00:00Z");
        let by_number = format!("<accountID>{id}</accountID>");
        let by_address = format!("<email>{name}@example.com</email>");
        match dialect {
            "admin" => drop(client.call("suspend", json!({ "id": id })).await.ok()),
            "soap by number" => drop(soap.call("SuspendAccountUsingAccountID", &by_number).await),
            "soap by address" => drop(soap.call("SuspendAccount", &by_address).await),
            _ => drop(
                v3.call("POST", &format!("{path}/suspend"), &json!({}))
                    .await
                    .ok(),
            ),
        }
        let after = v3.get(&path).await.ok();
        let (was, hold) = (&before["holds"][0], &after["holds"][0]);
        assert_eq!(hold["endsAt"], Value::Null, "{dialect}: no end any more");
        for kept in ["id", "reasonCode", "publicMessage", "since", "startsAt"] {
            assert_eq!(hold[kept], was[kept], "{dialect}: {kept}");
        }
    }
    app.clock.advance(chrono::TimeDelta::days(400));
    let listed = client.call("list", json!({"state": "active"})).await.ok();
    assert_eq!(listed["total_count"], 0, "none of them lapsed");
}

#[tokio::test]
async fn a_scheduled_hold_begins_now_and_one_in_force_keeps_its_begin() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("jo").await;
    let path = format!("/v3/accounts/{id}");
    let suspend = format!("{path}/suspend");
    let place = async |body: Value| v3.call("POST", &suspend, &body).await.ok();
    let scheduled = json!({"startsAt": "2026-03-05T00:00:00Z", "endsAt": "2026-03-12T00:00:00Z"});
    let account = place(scheduled).await;
    assert_eq!(account["effectiveStatus"], "active");
    // An end before the scheduled begin is in order, because the hold begins now.
    let account = place(json!({"endsAt": "2026-03-03T00:00:00Z"})).await;
    assert_eq!(account["effectiveStatus"], "suspended:reseller");
    let since = account["holds"][0]["since"].clone();
    assert_eq!(since, "2026-03-01T12:00:00Z");
    app.clock.advance(chrono::TimeDelta::hours(1));
    for body in [json!({}), json!({"startsAt": null, "reason": "again"})] {
        let account = place(body).await;
        let hold = &account["holds"][0];
        assert_eq!((&hold["since"], &hold["endsAt"]), (&since, &Value::Null));
    }
    // What is simulated is what the call does.
    let operation = json!({"operations": [{"operation": "suspend", "endsAt": "2026-03-04T00:00:00Z"}, {"operation": "suspend"}]});
    let simulated = v3
        .call("POST", &format!("{path}/simulate"), &operation)
        .await
        .ok();
    assert_eq!(simulated["account"]["holds"][0]["endsAt"], Value::Null);
    assert_eq!(simulated["results"][1]["changed"], true);
    let unchanged = place(json!({})).await;
    assert_eq!(unchanged["version"], v3.get(&path).await.ok()["version"]);
}

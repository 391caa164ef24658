//! Test messages and redeliveries.

use std::time::Duration;

use serde_json::{Value, json};

use super::live::{Live, sequence, settings};
use crate::harness::process::until;
use crate::harness::receiver::Receiver;

#[tokio::test]
async fn test_messages_and_redeliveries_are_sent_on_request() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    live.dispatch(settings());
    assert_eq!(
        live.v3
            .call("POST", &format!("{path}/test"), &Value::Null)
            .await
            .status,
        202
    );
    let test = receiver.next().await.json();
    assert_eq!(
        (test["event"].clone(), test["data"].clone()),
        (json!("webhook.test"), json!({}))
    );
    let id = live.client.account("a").await;
    live.client
        .call("save", json!({"id": id, "title": "t"}))
        .await
        .ok();
    let first = receiver.next().await;
    receiver.next().await;
    live.finish_when(&path, |endpoint| {
        endpoint["pending"] == 0 && endpoint["lastSuccessAt"].is_string()
    })
    .await;
    let logged = until("three attempts", async || {
        Some(live.v3.get("/v3/webhook-event-logs").await.ok())
            .filter(|logs| logs.as_array().unwrap().len() == 3)
    })
    .await;
    let wanted = logged
        .as_array()
        .unwrap()
        .iter()
        .find(|log| log["eventId"] == first.header("webhook-id"))
        .unwrap();
    assert_eq!(
        (
            wanted["succeeded"].clone(),
            wanted["statusCode"].clone(),
            wanted["accountId"].clone()
        ),
        (json!(true), json!(204), json!(id))
    );
    let again = live
        .v3
        .call(
            "POST",
            &format!(
                "/v3/webhook-event-logs/{}/redeliver",
                wanted["id"].as_str().unwrap()
            ),
            &Value::Null,
        )
        .await;
    assert_eq!(again.status, 202);
    assert_eq!(
        receiver.next().await.header("webhook-id"),
        first.header("webhook-id")
    );
    live.finish_when(&path, |endpoint| endpoint["pending"] == 0)
        .await;
    let all = live
        .v3
        .call(
            "POST",
            &format!("{path}/redeliver"),
            &json!({"since": "2020-01-01"}),
        )
        .await;
    assert_eq!(
        (all.status.as_u16(), all.json()["queued"].clone()),
        (202, json!(2))
    );
    assert_eq!(
        [
            sequence(&receiver.next().await).1,
            sequence(&receiver.next().await).1
        ],
        [1, 2]
    );
    live.finish_when(&path, |endpoint| endpoint["pending"] == 0)
        .await;
    let page = live.v3.get("/v3/webhook-event-logs?limit=2").await;
    let next = page
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    let (first_page, second_page) = (page.ok(), live.v3.get(&next).await.ok());
    assert!(second_page[0]["id"].as_str().unwrap() < first_page[1]["id"].as_str().unwrap());
    live.service.trim_attempts(Duration::ZERO).await.unwrap();
    assert_eq!(live.v3.get("/v3/webhook-event-logs").await.ok(), json!([]));
    live.finish().await;
}

//! Signatures, and secrets under rotation.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::live::{Live, settings};
use crate::harness::receiver::Receiver;
use crate::harness::v3::refused;

#[tokio::test]
async fn a_change_through_any_dialect_is_delivered_signed_in_cryptlexs_form() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live
        .endpoint(
            &receiver,
            json!({"events": ["account.updated", "account.frozen"]}),
        )
        .await;
    live.dispatch(settings());
    let id = live.client.account("a").await;
    live.client.call("freeze", json!({"id": id, "frozen_details": {"payment_url": "https://pay.example/1"}, "reason": "unpaid"})).await.ok();
    let created = receiver.next().await;
    assert_eq!(
        (
            created.json()["event"].clone(),
            created.json()["sequence"].clone()
        ),
        (json!("account.updated"), json!(1))
    );
    let (updated, frozen) = (receiver.next().await, receiver.next().await);
    let body = updated.json();
    assert_eq!(
        (body["event"].clone(), frozen.json()["event"].clone()),
        (json!("account.updated"), json!("account.frozen"))
    );
    assert_eq!(
        (body["sequence"].clone(), body["reason"].clone()),
        (json!(2), json!("unpaid"))
    );
    assert_eq!(body["changes"]["holds"]["old"], json!([]));
    let hold = &body["changes"]["holds"]["new"][0];
    assert_eq!(
        (&hold["kind"], &hold["paymentUrl"], &hold["id"]),
        (
            &json!("freeze"),
            &json!("https://pay.example/1"),
            &body["data"]["holds"][0]["id"]
        )
    );
    assert_eq!(
        (&body["actor"]["kind"], &body["actor"]["authority"]),
        (&json!("token"), &json!("reseller"))
    );
    // `data` is the account as GET returns it. Cryptlex's members come first.
    assert_eq!(
        body["data"],
        live.v3.get(&format!("/v3/accounts/{id}")).await.ok()
    );
    assert!(
        updated
            .body
            .starts_with(r#"{"event":"account.updated","data":{"id":""#),
        "{}",
        updated.body
    );
    assert!(body["triggeredAt"].as_str().unwrap().ends_with('Z'));
    assert_ne!(updated.header("webhook-id"), frozen.header("webhook-id"));
    assert_eq!(updated.header("webhook-id"), body["id"].as_str().unwrap());
    // The test computes the signature itself.
    let secret = endpoint["secret"].as_str().unwrap();
    let key = BASE64
        .decode(secret.strip_prefix("whsec_").unwrap().as_bytes())
        .unwrap();
    let signed = format!(
        "{}.{}.{}",
        updated.header("webhook-id"),
        updated.header("webhook-timestamp"),
        updated.body
    );
    assert_eq!(
        updated.header("webhook-signature"),
        format!("v1,{}", BASE64.encode(&hmac(&key, &signed)))
    );
    assert!(
        live.v3.get("/v3/webhooks").await.ok()[0]
            .get("secret")
            .is_none()
    );
    live.finish().await;
}

/// HMAC-SHA-256 as RFC 2104 defines it.
pub(super) fn hmac(key: &[u8], content: &str) -> [u8; 32] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = [
        block.map(|byte| byte ^ 0x36).to_vec(),
        content.as_bytes().to_vec(),
    ]
    .concat();
    steward::hash::sha256(
        &[
            block.map(|byte| byte ^ 0x5c).to_vec(),
            steward::hash::sha256(&inner).to_vec(),
        ]
        .concat(),
    )
}

#[tokio::test]
async fn the_plain_style_signs_the_body_and_both_secrets_sign_during_a_rotation() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let plain = live
        .endpoint(
            &receiver,
            json!({"signatureStyle": "plain", "secret": "a-secret-of-the-original"}),
        )
        .await;
    assert_eq!(plain["secret"], "a-secret-of-the-original");
    live.dispatch(settings());
    live.client.account("a").await;
    let delivery = receiver.next().await;
    assert_eq!(
        delivery.header("webhook-signature"),
        BASE64.encode(&hmac(b"a-secret-of-the-original", &delivery.body))
    );
    assert!(
        !delivery.header("webhook-id").is_empty()
            && !delivery.header("webhook-timestamp").is_empty()
    );
    let path = format!("/v3/webhooks/{}", plain["id"].as_str().unwrap());
    refused(
        &live
            .v3
            .call("PATCH", &path, &json!({"signatureStyle": "standard"}))
            .await,
        400,
        "INVALID_REQUEST",
        "signatureStyle: does not fit",
    );
    live.v3.call("DELETE", &path, &Value::Null).await;

    // A dispatcher may not have noticed yet that the endpoint was deleted.
    let mut receiver = Receiver::start().await;
    let standard = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", standard["id"].as_str().unwrap());
    let rotated = live
        .v3
        .call(
            "POST",
            &format!("{path}/rotate-secret"),
            &json!({"graceSeconds": 600}),
        )
        .await
        .ok();
    assert_ne!(rotated["secret"], standard["secret"]);
    live.client.account("b").await;
    let delivery = receiver.next().await;
    let signed = format!(
        "{}.{}.{}",
        delivery.header("webhook-id"),
        delivery.header("webhook-timestamp"),
        delivery.body
    );
    let by = |secret: &Value| {
        let key = BASE64
            .decode(
                secret
                    .as_str()
                    .unwrap()
                    .strip_prefix("whsec_")
                    .unwrap()
                    .as_bytes(),
            )
            .unwrap();
        format!("v1,{}", BASE64.encode(&hmac(&key, &signed)))
    };
    assert_eq!(
        delivery.header("webhook-signature"),
        format!("{} {}", by(&rotated["secret"]), by(&standard["secret"])),
        "both are valid"
    );
    // Without a grace period the old secret ends at once, even if a dispatcher has read it before.
    let last = live
        .v3
        .call(
            "POST",
            &format!("{path}/rotate-secret"),
            &json!({"graceSeconds": 0}),
        )
        .await
        .ok();
    let mut number = 0;
    loop {
        number += 1;
        assert!(number < 500, "the old secret still signs");
        live.client.account(&format!("c{number}")).await;
        let delivery = receiver.next().await;
        if delivery.header("webhook-signature").split(' ').count() == 1 {
            let signed = format!(
                "{}.{}.{}",
                delivery.header("webhook-id"),
                delivery.header("webhook-timestamp"),
                delivery.body
            );
            let key = BASE64
                .decode(
                    last["secret"]
                        .as_str()
                        .unwrap()
                        .strip_prefix("whsec_")
                        .unwrap()
                        .as_bytes(),
                )
                .unwrap();
            assert_eq!(
                delivery.header("webhook-signature"),
                format!("v1,{}", BASE64.encode(&hmac(&key, &signed)))
            );
            break;
        }
    }
    live.finish().await;
}

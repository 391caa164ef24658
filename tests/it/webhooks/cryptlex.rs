//! Deliveries to a receiver of Cryptlex.

use data_encoding::BASE64;
use serde_json::json;

use super::live::{Live, settings};
use super::signing::hmac;
use crate::harness::receiver::Receiver;
use crate::v3::cryptlex::{ACCOUNT, typed};

#[tokio::test]
async fn a_receiver_of_cryptlex_verifies_the_signature_and_reads_the_account() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    // As Cryptlex's clients make an endpoint: the token is a secret that the receiver knows.
    let webhook =
        json!({"name": "CRM", "token": "s3cret", "active": true, "events": ["account.updated"]});
    let endpoint = live.endpoint(&receiver, webhook).await;
    live.dispatch(settings());
    let account = live
        .v3
        .call("POST", "/v3/accounts", &json!({}))
        .await
        .json();
    let delivery = receiver.next().await;
    let signature = BASE64.encode(&hmac(b"s3cret", &delivery.body));
    assert_eq!(delivery.header("webhook-signature"), signature);
    let body = delivery.json();
    assert_eq!(body["event"], "account.updated");
    assert_eq!(body["data"], account);
    typed(&body["data"], ACCOUNT);

    // A new token counts at once: for every event after the answer.
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    for (number, token) in ["n3w", "n3wer", "n3west"].into_iter().enumerate() {
        live.v3
            .call("PATCH", &path, &json!({"token": token}))
            .await
            .ok();
        let account = format!("/v3/accounts/{}", account["id"].as_str().unwrap());
        let change = json!({"company": format!("Acme {number}")});
        live.v3.call("PATCH", &account, &change).await.ok();
        let delivery = receiver.next().await;
        let signature = BASE64.encode(&hmac(token.as_bytes(), &delivery.body));
        assert_eq!(delivery.header("webhook-signature"), signature, "{token}");
    }
    live.finish().await;
}

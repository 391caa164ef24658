//! Release tickets: the payment provider redeems one, which lifts its freeze once and changes
//! nothing else.

use axum::body::Body;
use axum::http::Request;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::app::{Answer, send};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

async fn redeem(client: &Client, ticket: &str) -> Answer {
    let request =
        Request::post("/v3/release-tickets/redeem").header("content-type", "application/json");
    send(
        &client.router,
        request
            .body(Body::from(json!({"ticket": ticket}).to_string()))
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn a_ticket_lifts_only_the_freeze_that_it_was_made_for() {
    let app = App::new().await;
    let (client, operator) = (app.new_reseller("Acme").await, app.operator().await);
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let path = format!("/v3/accounts/{id}/freeze");
    let frozen = v3
        .call(
            "POST",
            &path,
            &json!({"paymentUrl": "https://pay.example/7", "releaseTicket": true}),
        )
        .await
        .ok();
    let ticket = frozen["releaseTicket"].as_str().unwrap().to_owned();
    assert!(ticket.starts_with("steward_release_"));
    // One hold has one ticket in all dialects. Only requests for a ticket are answered with one.
    let again = client
        .call("freeze", json!({"id": id, "release_ticket": true}))
        .await
        .ok();
    assert_eq!(again["data"]["release_ticket"], ticket);
    let xml = client
        .call_xml(
            "freeze",
            &format!("<id>{id}</id><release_ticket>true</release_ticket>"),
        )
        .await;
    assert!(
        xml.body
            .contains(&format!("<release_ticket>{ticket}</release_ticket>")),
        "{}",
        xml.body
    );
    assert!(
        !v3.call("POST", &path, &json!({}))
            .await
            .body
            .contains("releaseTicket")
    );
    assert_eq!(
        client.call("freeze", json!({"id": id})).await.body,
        r#"{"error":0,"error_text":"Successful operation"}"#
    );

    // The ticket lifts no other block.
    client.call("suspend", json!({"id": id})).await.ok();
    operator.call("freeze", json!({"id": id})).await.ok();
    let replica = app.replica(&client);
    assert_eq!(
        redeem(&replica, &ticket).await.ok(),
        json!({"changed": true, "effectiveStatus": "suspended:reseller"})
    );
    assert_eq!(redeem(&client, &ticket).await.ok()["changed"], false);
    assert_eq!(
        client.get(id).await["blocked_by"],
        json!(["suspended:reseller", "frozen"]),
        "the operator's freeze is not the reseller's"
    );

    // After another freeze the ticket of the earlier one is stale.
    let newer = v3
        .call("POST", &path, &json!({"releaseTicket": true}))
        .await
        .ok()["releaseTicket"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(newer, ticket);
    refused(
        &redeem(&client, &ticket).await,
        409,
        "CONFLICT",
        "stale_hold",
    );
    assert_eq!(redeem(&client, &newer).await.ok()["changed"], true);
    let entry = v3.get(&format!("/v3/accounts/{id}/history")).await.ok()[0].clone();
    assert_eq!(
        (entry["action"].as_str(), entry["authority"].as_str()),
        (Some("unfreeze"), Some("reseller"))
    );
    assert!(
        entry["actor"]["name"]
            .as_str()
            .unwrap()
            .starts_with("release ticket of hold "),
        "{entry}"
    );

    // A ticket of the operator's freeze lifts that freeze.
    let theirs = operator
        .call("freeze", json!({"id": id, "release_ticket": true}))
        .await
        .ok()["data"]["release_ticket"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(redeem(&client, &theirs).await.ok()["changed"], true);
    client.call("unsuspend", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
    client.call("delete", json!({"id": id})).await.ok();
    refused(&redeem(&client, &newer).await, 404, "ACCOUNT_NOT_FOUND", "");
}

/// The bytes of a ticket without those of its revision, signed again: a ticket as earlier versions
/// made them.
async fn without_revision(app: &App, ticket: &str) -> String {
    let superuser = app.database.superuser().await;
    let key: Vec<u8> =
        sqlx::query_scalar("select secret from signing_key where id = 'release_tickets'")
            .fetch_one(&superuser)
            .await
            .unwrap();
    let letters = ticket.strip_prefix("steward_release_").unwrap();
    let bytes = BASE64URL_NOPAD.decode(letters.as_bytes()).unwrap();
    assert_eq!(bytes.len(), 33 + 32);
    let mut bytes = bytes[..29].to_vec();
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    bytes.extend(mac.chain_update(&bytes).finalize().into_bytes());
    format!("steward_release_{}", BASE64URL_NOPAD.encode(&bytes))
}

/// Sequence 23 of the lifecycle model.
#[tokio::test]
async fn a_ticket_of_an_old_invoice_does_not_lift_a_freeze_that_was_revised_for_a_new_one() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("a").await;
    let bill = async |number: u32| {
        let url = format!("https://pay.example/{number}");
        let body = json!({"paymentUrl": url, "releaseTicket": true});
        let path = format!("/v3/accounts/{id}/freeze");
        let frozen = v3.call("POST", &path, &body).await.ok();
        frozen["releaseTicket"].as_str().unwrap().to_owned()
    };
    let first = bill(1).await;
    let (old, hold) = (
        without_revision(&app, &first).await,
        client.get(id).await["holds"][0]["hold_id"].clone(),
    );
    assert_eq!(bill(1).await, first, "the same invoice has the same ticket");
    let second = bill(2).await;
    for stale in [&first, &old] {
        let answer = redeem(&client, stale).await;
        refused(
            &answer,
            409,
            "CONFLICT",
            "stale_ticket: the freeze was changed",
        );
        assert!(
            answer.body.contains("releaseTicket again"),
            "{}",
            answer.body
        );
    }
    let account = client.get(id).await;
    assert_eq!(account["is_frozen"], true);
    assert_eq!(account["holds"][0]["hold_id"], hold, "it is the same hold");
    let (_, outcome) = client.history(id).await.pop().unwrap();
    assert_eq!(outcome, "refused");
    assert_eq!(redeem(&client, &second).await.ok()["changed"], true);
    for late in [&first, &old, &second] {
        assert_eq!(redeem(&client, late).await.ok()["changed"], false);
    }

    // A ticket that an earlier version made lifts a freeze that was never revised.
    let third = bill(3).await;
    let old = without_revision(&app, &third).await;
    assert_eq!(redeem(&client, &old).await.ok()["changed"], true);
    assert_eq!(client.get(id).await["is_frozen"], false);
}

#[tokio::test]
async fn a_ticket_is_secret_and_a_forged_one_is_refused() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let (id, other) = (client.account("a").await, client.account("b").await);
    let freeze = |id: i64| {
        let v3 = &v3;
        async move {
            v3.send(
                "POST",
                &format!("/v3/accounts/{id}/freeze"),
                &[("idempotency-key", "k")],
                r#"{"releaseTicket":true}"#,
            )
            .await
            .ok()
        }
    };
    let ticket = freeze(id).await["releaseTicket"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        freeze(id).await["releaseTicket"],
        ticket,
        "a repeat gets it too: the first answer may have been lost"
    );
    freeze(other).await;

    // A ticket with any change is refused.
    let letters = ticket.len() - "steward_release_".len();
    for at in 0..letters {
        let at = at + "steward_release_".len();
        let letter = if ticket.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        refused(
            &redeem(
                &client,
                &format!("{}{letter}{}", &ticket[..at], &ticket[at + 1..]),
            )
            .await,
            401,
            "AUTHENTICATION_FAILED",
            "The ticket is invalid",
        );
    }
    for bad in [
        "",
        "steward_release_",
        "steward_release_AAAA",
        &ticket[..ticket.len() - 4],
        &client.token,
        "x",
    ] {
        refused(
            &redeem(&client, bad).await,
            401,
            "AUTHENTICATION_FAILED",
            "The ticket is invalid: it must be a releaseTicket from the answer to a freeze",
        );
    }
    let nothing = Request::post("/v3/release-tickets/redeem")
        .body(Body::empty())
        .unwrap();
    refused(
        &send(&client.router, nothing).await,
        400,
        "INVALID_REQUEST",
        "ticket: is required",
    );
    assert_eq!(client.get(id).await["is_frozen"], true);

    // No other answer has the ticket, and a payment URL cannot contain it.
    let seen = [
        v3.get(&format!("/v3/accounts/{id}")).await,
        v3.get(&format!("/v3/accounts/{id}/history")).await,
        v3.get("/v3/events").await,
    ];
    assert!(
        seen.iter()
            .all(|answer| !answer.body.contains("steward_release_"))
    );
    let url = format!("https://pay.example/?t={ticket}");
    let refusal = v3
        .call(
            "POST",
            &format!("/v3/accounts/{id}/freeze"),
            &json!({"paymentUrl": url}),
        )
        .await;
    refused(
        &refusal,
        400,
        "INVALID_REQUEST",
        "paymentUrl: must not contain a release ticket",
    );
    assert!(!refusal.body.contains(&ticket));
    let kept: Value = json!(app.database.number("select count(*) from journal where (before::text || after::text) like '%steward_release_%'").await);
    assert_eq!(kept, 0);
}

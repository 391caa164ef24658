//! Holds of owners and holds that begin and lapse, under repeats, coincidences and old rows.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::owners::{bound, events, scheduled};
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// The same words under the same key are another request if they come for another owner: it gets
/// neither the other's answer nor its secrets.
#[tokio::test]
async fn a_key_repeats_nothing_across_owners() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let (billing, abuse) = (
        bound(&app, "billing").await,
        bound(&app, "abuse-desk").await,
    );
    let members = json!({"id": id, "reason_code": "hold"});
    billing
        .call_once("suspend", "k1", members.clone())
        .await
        .ok();
    billing
        .call_once("suspend", "k1", members.clone())
        .await
        .ok();
    for other in [&abuse, &client] {
        let answer = other.call_once("suspend", "k1", members.clone()).await;
        answer.is_error(422, "Idempotency-Key was used before");
    }
    // Also where the answer has a secret, which is stored under a name of its own.
    let create = async |client: &Client| {
        let headers = [
            ("idempotency-key", "k2"),
            ("content-type", "application/json"),
        ];
        V3::of(client)
            .send("POST", "/v3/tokens", &headers, r#"{"name":"ci"}"#)
            .await
    };
    let made = create(&client).await;
    assert_eq!(
        (made.status.as_u16(), &made.json()["owner"]),
        (201, &Value::Null)
    );
    assert_eq!(create(&client).await.body, made.body);
    let other = create(&billing).await;
    assert_eq!(other.status, 422, "{}", other.body);
    let children = format!("<accountID>{id}</accountID>");
    for client in [&billing, &abuse] {
        Soap::of(client)
            .call("SuspendAccountUsingAccountID", &children)
            .await;
    }
    assert_eq!(client.get(id).await["holds"].as_array().unwrap().len(), 2);
}

/// Nothing that is due is skipped because something else is due before it.
#[tokio::test]
async fn an_expiry_that_is_due_first_hides_no_begin_and_no_lapse() {
    let (app, client, v3, id) = scheduled().await;
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-04"}),
        )
        .await
        .ok();
    app.clock.advance(TimeDelta::days(13));
    client.call("suspend", json!({"id": id})).await.ok();
    let names: Vec<_> = events(&v3).await.into_iter().map(|it| it.0).collect();
    let expected = [
        "account.created",
        "account.hold_scheduled",
        "account.expiry_changed",
        "account.suspended",
        "account.unsuspended",
        "account.suspended",
    ];
    assert_eq!(names, expected);
    // The expiry is announced by the job, in its turn.
    app.service.announce_due().await.unwrap();
    let names: Vec<_> = events(&v3).await.into_iter().map(|it| it.0).collect();
    let late = ["account.expiring", "account.expired"];
    assert_eq!(names[expected.len()..], late);
}

/// What changes nothing announces nothing: an account that is sent back as it was read stays so.
#[tokio::test]
async fn a_call_that_changes_nothing_leaves_announcements_to_the_job() {
    let (app, client, v3, id) = scheduled().await;
    app.clock.advance(TimeDelta::days(13));
    let path = format!("/v3/accounts/{id}");
    let read = v3.get(&path).await;
    let sent = v3.call("PATCH", &path, &read.json()).await;
    assert_eq!(sent.body, read.body);
    assert_eq!(client.get(id).await["version"], 2);
}

/// A scheduled hold that an earlier version announced when it was placed is announced again if it
/// is moved; a warning that lapses says so.
#[tokio::test]
async fn a_moved_begin_is_announced_and_so_is_the_lapse_of_a_warning() {
    let (app, client, v3, id) = scheduled().await;
    let superuser = app.database.superuser().await;
    sqlx::raw_sql(
        "update held set has_begun = true;
         update account set holds = replace(holds::text, '\"scheduled\":true,', '')::json",
    )
    .execute(&superuser)
    .await
    .unwrap();
    let members = json!({"id": id, "starts_at": "2026-03-08", "ends_at": "2026-03-12",
        "reason_code": "maintenance"});
    client.call("suspend", members).await.ok();
    let warning =
        json!({"id": id, "level": "warn", "ends_at": "2026-03-09", "reason_code": "late"});
    client.call("freeze", warning).await.ok();
    app.clock.advance(TimeDelta::days(20));
    app.service.announce_due().await.unwrap();
    let last: Vec<_> = events(&v3).await.split_off(4);
    let event =
        |name: &str, at: &str, reason: &str| (name.to_owned(), at.to_owned(), json!(reason));
    assert_eq!(
        last,
        [
            event("account.suspended", "2026-03-08T00:00:00Z", "maintenance"),
            event("", "2026-03-09T23:59:59Z", "lapsed"),
            event("account.unsuspended", "2026-03-12T23:59:59Z", "lapsed"),
        ]
    );
}

/// Who asks for access is told of what is strongest, and where to pay only if that helps.
#[tokio::test]
async fn access_tells_of_the_strongest_level_alone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let warn = json!({"id": id, "owner": "billing", "level": "warn", "public_message": "pay soon",
        "frozen_details": {"payment_url": "https://pay.example/warn"}});
    client.call("freeze", warn).await.ok();
    let access = async || v3.get(&format!("/v3/accounts/{id}/access")).await.ok();
    assert_eq!(access().await["paymentUrl"], "https://pay.example/warn");
    client
        .call(
            "suspend",
            json!({"id": id, "level": "warn", "public_message": "be nice"}),
        )
        .await
        .ok();
    assert_eq!(access().await["publicMessage"], "be nice");
    client
        .call("freeze", json!({"id": id, "public_message": "pay now"}))
        .await
        .ok();
    let told = access().await;
    assert_eq!(
        (&told["publicMessage"], &told["paymentUrl"]),
        (&json!("pay now"), &Value::Null)
    );
    // An answer to a lift says whose holds remain.
    let lifted = client
        .call("unfreeze", json!({"id": id, "verbose": true}))
        .await
        .ok();
    assert_eq!(
        lifted["held_by"],
        json!(["freeze:reseller:billing", "suspend:reseller"])
    );
}

#[tokio::test]
async fn a_bound_token_deletes_no_bulk_job_of_another_owner() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let (billing, unbound) = (V3::of(&bound(&app, "billing").await), V3::of(&client));
    let job = json!({"selector": {"all": true}, "operation": {"operation": "freeze", "owner": "abuse-desk"}});
    let planned = unbound.call("POST", "/v3/bulk-jobs", &job).await.json();
    let path = format!("/v3/bulk-jobs/{}", planned["id"].as_str().unwrap());
    let answer = billing.call("DELETE", &path, &Value::Null).await;
    refused(&answer, 403, "NOT_YOUR_HOLD", "abuse-desk of the reseller");
    assert_eq!(
        unbound.call("DELETE", &path, &Value::Null).await.status,
        204
    );
}

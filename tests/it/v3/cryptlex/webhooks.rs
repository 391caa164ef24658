//! Webhook endpoints with the members of Cryptlex.

use serde_json::{Value, json};

use super::{WEBHOOK, typed};
use crate::harness::App;
use crate::harness::v3::{V3, refused};

/// What Cryptlex's clients send.
fn webhook(token: &str) -> Value {
    json!({"name": "CRM", "url": "https://example.com/hook", "token": token, "active": false,
        "events": ["account.updated"]})
}

/// The secrets and the signature style that the database has for an endpoint, newest secret first.
async fn stored(app: &App, id: &str) -> (Vec<String>, String) {
    let superuser = app.database.superuser().await;
    let secrets = sqlx::query_scalar(
        "select secret from webhook_secret where endpoint_id = $1::text::uuid
         and expires_at is null order by created_at desc",
    );
    let style = sqlx::query_scalar(
        "select signature_style from webhook_endpoint where id = $1::text::uuid",
    );
    (
        secrets.bind(id).fetch_all(&superuser).await.unwrap(),
        style.bind(id).fetch_one(&superuser).await.unwrap(),
    )
}

#[tokio::test]
async fn name_token_and_active_are_honoured() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let made = v3.call("POST", "/v3/webhooks", &webhook("s3cret")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("ignored-members"), "");
    let made = made.json();
    typed(&made, WEBHOOK);
    assert_eq!(
        (
            &made["name"],
            &made["active"],
            &made["enabled"],
            &made["signatureStyle"]
        ),
        (&json!("CRM"), &json!(false), &json!(false), &json!("plain"))
    );
    assert_eq!(
        (&made["token"], &made["secret"]),
        (&json!("s3cret"), &json!("s3cret"))
    );
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        stored(&app, id).await,
        (vec!["s3cret".to_owned()], "plain".to_owned())
    );
    // Only that answer has the secret.
    let path = format!("/v3/webhooks/{id}");
    for document in [
        v3.get(&path).await.ok(),
        v3.get("/v3/webhooks").await.ok()[0].clone(),
    ] {
        typed(&document, WEBHOOK);
        assert_eq!(
            (&document["token"], document.get("secret")),
            (&json!(""), None)
        );
        assert_eq!(document["name"], "CRM");
        // What was read is sent back without a change.
        let answer = v3.call("PATCH", &path, &document).await;
        assert_eq!(answer.header("steward-changed"), "false", "{}", answer.body);
        assert_eq!(answer.ok(), document);
    }
    assert_eq!(stored(&app, id).await.0, ["s3cret"]);
    // What the client sent is sent again without a change, too, and so is what Cryptlex's .NET
    // classes write for members that are not set.
    let unset = json!({"name": null, "url": null, "token": null, "active": null, "events": null});
    for body in [webhook("s3cret"), webhook(""), unset] {
        let answer = v3.call("PATCH", &path, &body).await;
        assert_eq!(
            answer.header("steward-changed"),
            "false",
            "{body} {}",
            answer.body
        );
        assert_eq!(answer.ok()["token"], "");
    }
    let renamed = v3.call("PATCH", &path, &json!({"name": ""})).await;
    assert_eq!(renamed.ok()["name"], "");
}

#[tokio::test]
async fn a_token_in_a_patch_is_the_new_secret_at_once() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    // Made without a token: a new secret, and the standard style.
    let made = v3.call("POST", "/v3/webhooks", &webhook("")).await.json();
    assert_eq!(
        (&made["signatureStyle"], &made["token"]),
        (&json!("standard"), &made["secret"])
    );
    let id = made["id"].as_str().unwrap();
    let path = format!("/v3/webhooks/{id}");
    // The secret that the answer showed is the present one, so nothing changes.
    let same = v3
        .call("PATCH", &path, &json!({"token": made["token"]}))
        .await;
    assert_eq!(same.header("steward-changed"), "false");
    let key = [("idempotency-key", "k")];
    let body = webhook("n3w").to_string();
    let changed = v3.send("PATCH", &path, &key, &body).await;
    assert_eq!(changed.header("steward-changed"), "true");
    let changed = changed.ok();
    assert_eq!(
        (&changed["token"], &changed["signatureStyle"]),
        (&json!("n3w"), &json!("plain"))
    );
    assert_eq!(
        stored(&app, id).await,
        (vec!["n3w".to_owned()], "plain".to_owned())
    );
    // A repeat gets the same answer, which is stored encrypted.
    let repeat = v3.send("PATCH", &path, &key, &body).await;
    assert_eq!(
        (repeat.header("idempotent-replayed"), repeat.json()),
        ("true", changed)
    );
    let superuser = app.database.superuser().await;
    let shown: i64 = sqlx::query_scalar(
        "select count(*) from idempotency where position('n3w'::bytea in body) > 0",
    )
    .fetch_one(&superuser)
    .await
    .unwrap();
    assert_eq!(shown, 0);
    // `signatureStyle` says otherwise.
    let fitting = format!("whsec_{}", "A".repeat(32));
    let body = json!({"token": fitting, "signatureStyle": "standard"});
    let answer = v3.call("PATCH", &path, &body).await.ok();
    assert_eq!(answer["signatureStyle"], "standard");
    for (body, problem) in [
        (
            json!({"token": "n3w", "signatureStyle": "standard"}),
            "token: must be whsec_",
        ),
        (
            json!({"token": "with space"}),
            "token: must be 1 to 255 visible",
        ),
        (
            json!({"token": "x".repeat(256)}),
            "token: must be 1 to 255 visible",
        ),
    ] {
        refused(
            &v3.call("PATCH", &path, &body).await,
            400,
            "INVALID_REQUEST",
            problem,
        );
    }
    assert_eq!(stored(&app, id).await.0, [fitting]);
}

#[tokio::test]
async fn the_two_names_of_one_member_do_not_contradict_each_other() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let both = json!({"url": "https://example.com", "token": "a", "secret": "b"});
    let answer = v3.call("POST", "/v3/webhooks", &both).await;
    refused(
        &answer,
        400,
        "INVALID_REQUEST",
        "token: differs from secret",
    );
    let made = v3
        .call(
            "POST",
            "/v3/webhooks",
            &json!({"url": "https://example.com"}),
        )
        .await
        .json();
    assert_eq!(
        (&made["enabled"], &made["active"]),
        (&json!(true), &json!(true))
    );
    let path = format!("/v3/webhooks/{}", made["id"].as_str().unwrap());
    // A client that changes one of them sends the other one as it was read.
    for (member, value) in [
        ("active", false),
        ("enabled", true),
        ("enabled", false),
        ("active", true),
    ] {
        let mut document = v3.get(&path).await.ok();
        document[member] = json!(value);
        let answer = v3.call("PATCH", &path, &document).await.ok();
        assert_eq!(
            (&answer["enabled"], &answer["active"]),
            (&json!(value), &json!(value)),
            "{member}"
        );
    }
}

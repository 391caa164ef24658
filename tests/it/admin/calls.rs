//! What each call changes, what `get` and `list` then say, and what it leaves in the journal.

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::Patch;
use steward::service::ResellerPatch;

use crate::harness::App;

#[tokio::test]
async fn freezing_shows_the_url_and_leaves_one_applied_entry() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let details = json!({"id": id, "frozen_details": {"payment_url": "https://pay.example/?a=1&b=2"}, "public_message": "Please pay."});
    let answer = client.call("freeze", details.clone()).await;
    assert_eq!(
        answer.body,
        r#"{"error":0,"error_text":"Successful operation"}"#
    );
    let account = client.get(id).await;
    assert_eq!(account["effective_status"], "frozen");
    assert_eq!(account["blocked_by"], json!(["frozen"]));
    assert_eq!(
        account["frozen_details"],
        json!({"payment_url": "https://pay.example/?a=1&b=2"})
    );
    assert_eq!(
        account["is_active"],
        json!(true),
        "the switch reads back as it was set"
    );
    assert_eq!(account["holds"][0]["public_message"], "Please pay.");
    assert_eq!(account["version"], 2);

    client.call("freeze", details).await.ok();
    assert_eq!(client.get(id).await, account, "a repeat changes nothing");
    let listed = client.call("list", json!({})).await.ok()["data"][0].clone();
    assert_eq!(
        (
            listed["is_frozen"].clone(),
            listed["frozen_details"].clone()
        ),
        (json!(true), account["frozen_details"].clone())
    );
    let expected = [
        ("save", "create", "applied"),
        ("freeze", "freeze", "applied"),
        ("freeze", "freeze", "unchanged"),
    ];
    assert_eq!(
        client.history(id).await,
        expected.map(|(_, action, outcome)| (action.to_owned(), outcome.to_owned()))
    );
}

#[tokio::test]
async fn every_change_leaves_one_entry_with_who_and_what() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let steps = [
        (
            "freeze",
            json!({"frozen_details": {"payment_url": "https://pay.example"}}),
            "freeze",
            "account.frozen",
        ),
        ("unfreeze", json!({}), "unfreeze", "account.unfrozen"),
        (
            "suspend",
            json!({"reason": "spam", "reason_code": "abuse"}),
            "suspend",
            "account.suspended",
        ),
        ("unsuspend", json!({}), "unsuspend", "account.unsuspended"),
        ("deactivate", json!({}), "deactivate", "account.deactivated"),
        ("activate", json!({}), "activate", "account.activated"),
        (
            "status",
            json!({"status": "inactive"}),
            "deactivate",
            "account.deactivated",
        ),
        (
            "expiry_date",
            json!({"expiry_date": "2027-05-05"}),
            "set_expiry",
            "account.expiry_changed",
        ),
        ("save", json!({"title": "New"}), "revise", ""),
        ("delete", json!({}), "delete", "account.deleted"),
        ("restore", json!({}), "restore", "account.restored"),
    ];
    for (number, (call, mut members, action, event)) in steps.into_iter().enumerate() {
        members["id"] = json!(id);
        client.call(call, members).await.ok();
        let entries = client.call("history", json!({"id": id})).await.ok()["data"].clone();
        let entry = &entries[0];
        assert_eq!(
            entries.as_array().unwrap().len(),
            number + 2,
            "{call} leaves one entry"
        );
        assert_eq!(
            (entry["action"].as_str(), entry["outcome"].as_str()),
            (Some(action), Some("applied"))
        );
        assert_eq!(
            entry["events"],
            if event.is_empty() {
                json!([])
            } else {
                json!([event])
            }
        );
        assert_eq!(
            entry["sequence"],
            json!(number + 2),
            "the sequence has no gaps"
        );
        assert_eq!(
            (entry["authority"].as_str(), entry["dialect"].as_str()),
            (Some("reseller"), Some("admin"))
        );
        assert!(
            entry["actor"]
                .as_str()
                .unwrap()
                .starts_with("reseller 1, token ")
        );
        assert_ne!(entry["before"], entry["after"]);
    }
    let entries = client
        .call("history", json!({"id": id, "limit": 2}))
        .await
        .ok()["data"]
        .clone();
    let before = entries[1]["id"].clone();
    let older = client
        .call("history", json!({"id": id, "before": before, "limit": 1}))
        .await
        .ok()["data"]
        .clone();
    assert_eq!(older[0]["action"], "revise");
    assert_eq!(
        (older[0]["before"].clone(), older[0]["after"].clone()),
        (json!({"title": "a"}), json!({"title": "New"}))
    );
}

#[tokio::test]
async fn the_expiry_takes_effect_by_the_clock_alone() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-02"}),
        )
        .await
        .ok();
    assert_eq!(client.get(id).await["expires_at"], "2026-03-02T23:59:59Z");
    assert_eq!(client.get(id).await["effective_status"], "active");
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(client.get(id).await["effective_status"], "expired");
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-05-01T10:00:00+02:00"}),
        )
        .await
        .ok();
    assert_eq!(client.get(id).await["expires_at"], "2026-05-01T08:00:00Z");
    client
        .call_xml("expiry_date", &format!("<id>{id}</id><expiry_date/>"))
        .await;
    assert_eq!(client.get(id).await["expires_at"], Value::Null);
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "1999-01-01"}),
        )
        .await
        .ok();
    assert_eq!(
        client.get(id).await["effective_status"],
        "expired",
        "a past date is allowed"
    );
    client
        .call("expiry_date", json!({"id": id, "expiry_date": null}))
        .await
        .ok();
    assert_eq!(client.get(id).await["effective_status"], "active");
}

#[tokio::test]
async fn verbose_says_what_changed_and_what_still_blocks() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "secret", "public_message": "Contact us."}),
        )
        .await
        .ok();
    client.call("suspend", json!({"id": id})).await.ok();
    let answer = client
        .call("unsuspend", json!({"id": id, "verbose": true}))
        .await;
    assert_eq!(
        answer.body,
        r#"{"blocked_by":["suspended:operator"],"changed":true,"effective_status":"suspended:operator","error":0,"error_text":"Successful operation"}"#
    );
    let again = client
        .call("unsuspend", json!({"id": id, "verbose": true}))
        .await
        .ok();
    assert_eq!(
        (again["changed"].clone(), again["effective_status"].clone()),
        (json!(false), json!("suspended:operator"))
    );
}

#[tokio::test]
async fn the_operators_internal_reason_is_not_shown_to_the_reseller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "under investigation", "public_message": "Contact us."}),
        )
        .await
        .ok();
    operator
        .call(
            "suspend",
            json!({"id": id, "reason": "investigation closed"}),
        )
        .await
        .ok();
    for call in ["get", "history", "explain", "list"] {
        let seen = client.call(call, json!({"id": id})).await;
        assert!(
            !seen.body.contains("investigation"),
            "{call}: {}",
            seen.body
        );
        assert!(
            call == "list" || seen.body.contains("Contact us."),
            "{call}: {}",
            seen.body
        );
        assert!(
            call == "list"
                || operator
                    .call(call, json!({"id": id}))
                    .await
                    .body
                    .contains("investigation")
        );
    }
}

#[tokio::test]
async fn explain_names_the_call_that_lifts_each_block() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    for (call, mut members) in [
        (
            "freeze",
            json!({"frozen_details": {"payment_url": "https://pay.example"}}),
        ),
        ("suspend", json!({"reason_code": "abuse"})),
        ("deactivate", json!({})),
        ("expiry_date", json!({"expiry_date": "2020-01-01"})),
    ] {
        members["id"] = json!(id);
        client.call(call, members).await.ok();
    }
    operator.call("suspend", json!({"id": id})).await.ok();
    let explained = client.call("explain", json!({"id": id})).await.ok()["data"].clone();
    assert_eq!(explained["effective_status"], "suspended:operator");
    assert_eq!(
        explained["blocked_by"],
        json!([
            "suspended:operator",
            "suspended:reseller",
            "inactive",
            "frozen",
            "expired"
        ])
    );
    for block in explained["blocks"].as_array().unwrap() {
        let (path, body) = (
            block["call"]["path"].as_str().unwrap(),
            block["call"]["body"].as_str().unwrap(),
        );
        assert!(
            block["call"]["curl"]
                .as_str()
                .unwrap()
                .contains(&format!("'https://steward.example{path}'"))
        );
        let who = if block["lifted_by"][0] == "operator" {
            &operator
        } else {
            &client
        };
        let call = path.rsplit('/').next().unwrap();
        who.call(call, serde_json::from_str(body).unwrap())
            .await
            .ok();
    }
    assert_eq!(client.get(id).await["effective_status"], "active");
    let explained = client.call("explain", json!({"id": id})).await.ok()["data"].clone();
    assert_eq!(
        explained,
        json!({"blocked_by": [], "blocks": [], "effective_status": "active", "remedy": null})
    );
}

#[tokio::test]
async fn paying_is_the_remedy_only_when_nothing_worse_blocks() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2020-01-01"}),
        )
        .await
        .ok();
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["remedy"],
        "pay"
    );
    client.call("suspend", json!({"id": id})).await.ok();
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["remedy"],
        Value::Null
    );
}

#[tokio::test]
async fn a_suspended_reseller_covers_its_accounts_without_touching_them() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "freeze",
            json!({"id": id, "frozen_details": {"payment_url": "https://pay.example"}}),
        )
        .await
        .ok();
    let before = client.get(id).await;
    let reseller = app.service.find_reseller("acme").await.unwrap();
    app.suspend_reseller(reseller, true).await;
    app.suspend_reseller(reseller, true).await;
    let suspended = client.get(id).await;
    assert_eq!(
        suspended["blocked_by"],
        json!(["suspended:reseller_account", "frozen"])
    );
    assert_eq!(
        (
            suspended["is_suspended"].clone(),
            suspended["version"].clone()
        ),
        (json!(true), before["version"].clone())
    );
    app.suspend_reseller(reseller, false).await;
    assert_eq!(client.get(id).await, before);
}

#[tokio::test]
async fn a_deleted_account_is_gone_until_it_is_restored() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id})).await.ok();
    client.call("delete", json!({"id": id})).await.ok();
    for call in ["get", "freeze", "unfreeze", "suspend", "activate", "delete"] {
        client
            .call(call, json!({"id": id}))
            .await
            .is_error(404, "Account not found");
    }
    assert_eq!(client.call("list", json!({})).await.ok()["total_count"], 0);
    assert_eq!(
        client.call("list", json!({"state": "deleted"})).await.ok()["data"][0]["id"],
        id
    );
    assert_eq!(
        client.call("explain", json!({"id": id})).await.ok()["data"]["effective_status"],
        "deleted"
    );
    client.call("restore", json!({"id": id})).await.ok();
    assert_eq!(client.get(id).await["effective_status"], "frozen");
}

#[tokio::test]
async fn an_address_is_unique_per_reseller_ignoring_case_and_free_after_deletion() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let id = client.account("jo").await;
    let save = |email: &str| json!({"name": "x", "title": "x", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1, "email": email});
    client
        .call("save", save("JO@Example.com"))
        .await
        .is_error(409, "Conflict: email_in_use");
    other.call("save", save("JO@Example.com")).await.ok();
    client
        .call("save", json!({"id": id, "email": "jo@EXAMPLE.com"}))
        .await
        .ok();
    client.call("delete", json!({"id": id})).await.ok();
    let second = client.call("save", save("jo@example.com")).await.ok()["data"]["saved_id"]
        .as_i64()
        .unwrap();
    client
        .call("restore", json!({"id": id}))
        .await
        .is_error(409, "Conflict: email_in_use");
    client
        .call("save", json!({"id": second, "email": "else@example.com"}))
        .await
        .ok();
    client.call("restore", json!({"id": id})).await.ok();
}

#[tokio::test]
async fn a_full_quota_refuses_one_more_account() {
    let app = App::new().await;
    let reseller = app
        .reseller_with(
            "Small",
            ResellerPatch {
                account_limit: Patch::Set(2),
                ..ResellerPatch::default()
            },
        )
        .await;
    let client = app.client(&app.token(Some(reseller), None).await);
    let first = client.account("a").await;
    client.account("b").await;
    let save = json!({"name": "c", "title": "c", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1});
    client
        .call("save", save.clone())
        .await
        .is_error(402, "Tariff limit reached");
    client.call("delete", json!({"id": first})).await.ok();
    client.call("save", save).await.ok();
}

#[tokio::test]
async fn save_keeps_what_it_does_not_mention_and_gives_back_what_it_does_not_know() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let create = json!({"name": "n", "title": "t", "tz": "Europe/Moscow", "tariff": 5, "reports_day": 3, "reports_hour": 7, "is_smart": true, "virtual_sender": 12});
    let id = client.call("save", create).await.ok()["data"]["saved_id"]
        .as_i64()
        .unwrap();
    client
        .call(
            "save",
            json!({"id": id, "title": "T2", "static_domain": "x.example"}),
        )
        .await
        .ok();
    let account = client.get(id).await;
    for (name, value) in [
        ("name", json!("n")),
        ("title", json!("T2")),
        ("timezone", json!("Europe/Moscow")),
        ("tariff_id", json!(5)),
        ("reports_day", json!(3)),
        ("reports_hour", json!(7)),
        ("is_smart", json!(true)),
        ("virtual_sender", json!(12)),
        ("static_domain", json!("x.example")),
    ] {
        assert_eq!(account[name], value, "{name}");
    }
    let unchanged = client
        .call("save", json!({"id": id, "title": "T2", "verbose": true}))
        .await
        .ok();
    assert_eq!(unchanged["changed"], json!(false));
    client
        .call("save", json!({"id": id, "tz": "Europe/Nowhere"}))
        .await
        .is_error(400, "Incorrect request: tz: ");
    client
        .call("save", json!({"id": 999, "title": "x"}))
        .await
        .is_error(404, "Account not found");
    client
        .call("save", json!({"name": "n"}))
        .await
        .is_error(400, "Incorrect request: title: is required");
}

#[tokio::test]
async fn the_operator_reaches_all_accounts_and_says_whose_a_new_one_is() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let (mine, theirs) = (client.account("a").await, other.account("b").await);
    let operator = app.operator().await;
    let listed = operator.call("list", json!({})).await.ok();
    assert_eq!(
        (
            listed["total_count"].clone(),
            listed["data"][0]["id"].clone(),
            listed["data"][1]["id"].clone()
        ),
        (json!(2), json!(mine), json!(theirs))
    );
    operator.call("freeze", json!({"id": theirs})).await.ok();
    other.call("unfreeze", json!({"id": theirs})).await.ok();
    assert_eq!(
        other.get(theirs).await["is_frozen"],
        json!(true),
        "the reseller cannot lift it"
    );
    let mut save = json!({"name": "n", "title": "t", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1});
    operator
        .call("save", save.clone())
        .await
        .is_error(400, "Incorrect request: reseller_id: is required");
    save["reseller_id"] = json!(99);
    operator
        .call("save", save.clone())
        .await
        .is_error(400, "Incorrect request: reseller_id: no such reseller");
    save["reseller_id"] = json!(2);
    let made = operator.call("save", save).await.ok()["data"]["saved_id"].clone();
    assert_eq!(other.get(made.as_i64().unwrap()).await["name"], "n");
    client
        .call("get", json!({"id": made}))
        .await
        .is_error(404, "Account not found");
}

#[tokio::test]
async fn the_answers_format_follows_body_then_query_then_accept_then_the_request() {
    use axum::http::Request;
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let send = |content_type: &'static str,
                query: &'static str,
                accept: &'static str,
                format: Option<&'static str>| {
        let body = match (content_type, format) {
            ("application/json", None) => json!({"token": client.token, "id": id}).to_string(),
            ("application/json", Some(format)) => {
                json!({"token": client.token, "id": id, "format": format}).to_string()
            }
            (_, None) => format!("<xml><token>{}</token><id>{id}</id></xml>", client.token),
            (_, Some(format)) => format!(
                "<xml><token>{}</token><id>{id}</id><format>{format}</format></xml>",
                client.token
            ),
        };
        let request = Request::post(format!("/api/v1.1/admin/accounts/activate{query}"))
            .header("content-type", content_type)
            .header("accept", accept);
        let request = request.body(body.into()).unwrap();
        let router = client.router.clone();
        async move {
            crate::harness::app::send(&router, request)
                .await
                .header("content-type")
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        }
    };
    assert_eq!(
        send("application/json", "", "*/*", None).await,
        "application/json"
    );
    assert_eq!(send("text/xml", "", "*/*", None).await, "application/xml");
    assert_eq!(
        send("application/json", "", "application/xml", None).await,
        "application/xml"
    );
    assert_eq!(
        send(
            "application/json",
            "",
            "application/xml, application/json",
            None
        )
        .await,
        "application/json"
    );
    assert_eq!(
        send("application/json", "?format=xml", "application/json", None).await,
        "application/xml"
    );
    assert_eq!(
        send("text/xml", "?format=xml", "application/xml", Some("json")).await,
        "application/json"
    );
    assert_eq!(
        send("application/json", "?format=json", "*/*", Some("xml")).await,
        "application/xml"
    );
}

#[tokio::test]
async fn the_token_may_stand_in_the_header_the_body_or_when_allowed_the_query() {
    use axum::http::Request;
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let send = |router: &axum::Router, query: String, header: Option<String>, body: Value| {
        let mut request = Request::post(format!("/api/v1.1/admin/accounts/get{query}"))
            .header("content-type", "application/json");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let (router, request) = (
            router.clone(),
            request.body(body.to_string().into()).unwrap(),
        );
        async move { crate::harness::app::send(&router, request).await }
    };
    let bearer = Some(format!("Bearer {}", client.token));
    send(
        &app.router,
        String::new(),
        bearer.clone(),
        json!({"id": id}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        bearer.clone(),
        json!({"id": id, "token": client.token}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        Some(format!("bearer  {}", client.token)),
        json!({"id": id}),
    )
    .await
    .ok();
    send(
        &app.router,
        String::new(),
        bearer,
        json!({"id": id, "token": "other"}),
    )
    .await
    .is_error(400, "Incorrect request: token: differs");
    send(
        &app.router,
        String::new(),
        Some("Basic eDp5".to_owned()),
        json!({"id": id}),
    )
    .await
    .is_error(401, "API token required");
    let query = format!("?token={}", client.token);
    send(&app.router, query.clone(), None, json!({"id": id}))
        .await
        .is_error(401, "API token required");
    let allowing = steward::dialects::admin::Settings {
        token_in_query: true,
        ..crate::harness::app::admin_settings()
    };
    let router =
        crate::harness::app::router(&app.service, allowing, crate::harness::app::soap_settings());
    send(&router, query, None, json!({"id": id})).await.ok();
}

#[tokio::test]
async fn always_200_keeps_the_error_in_the_body() {
    let app = App::with(steward::dialects::admin::Settings {
        always_200: true,
        ..crate::harness::app::admin_settings()
    })
    .await;
    let client = app.new_reseller("Acme").await;
    let answer = client.call("get", json!({"id": 5})).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, r#"{"error":404,"error_text":"Account not found"}"#)
    );
}

#[tokio::test]
async fn the_details_that_a_repeat_replaces_are_kept() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client.call("freeze", json!({"id": id, "reason": "first", "frozen_details": {"payment_url": "https://a.example"}})).await.ok();
    let since = client.get(id).await["holds"][0]["since"].clone();
    app.clock.advance(TimeDelta::days(1));
    client
        .call("freeze", json!({"id": id, "reason": "second"}))
        .await
        .ok();
    client
        .call(
            "freeze",
            json!({"id": id, "frozen_details": {"payment_url": null}}),
        )
        .await
        .ok();
    let hold = client.get(id).await["holds"][0].clone();
    assert_eq!(
        (
            hold["reason"].clone(),
            hold["payment_url"].clone(),
            hold["since"].clone()
        ),
        (json!("second"), Value::Null, since)
    );
    let superuser = app.database.superuser().await;
    let kept: Vec<(i32, Option<String>, Option<String>)> =
        sqlx::query_as("select revision, reason, payment_url from hold_revision order by revision")
            .fetch_all(&superuser)
            .await
            .unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        kept,
        [
            (1, text("first"), text("https://a.example")),
            (2, text("second"), text("https://a.example"))
        ]
    );
    client
        .call("unfreeze", json!({"id": id, "hold_id": hold["hold_id"]}))
        .await
        .ok();
    client.call("freeze", json!({"id": id})).await.ok();
    client
        .call("unfreeze", json!({"id": id, "hold_id": hold["hold_id"]}))
        .await
        .is_error(409, "Conflict: stale_hold");
    assert_eq!(
        app.database
            .number("select count(*) from hold where closed_at is null")
            .await,
        1
    );
    assert_eq!(app.database.number("select count(*) from hold where close_reason = 'lifted' and closed_by like 'reseller 1, token %'").await, 1);
    assert_eq!(
        client.history(id).await.last().unwrap(),
        &("unfreeze".to_owned(), "refused".to_owned())
    );
}

#[tokio::test]
async fn retention_and_the_operators_suspension_forbid_deletion() {
    use steward::domain::{AccountId, Command, Dialect, HoldKind, HoldPatch};
    use steward::service::{Context, Principal};
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let operator = app.operator().await;
    let id = client.account("a").await;
    let context = Context {
        principal: Principal::command_line(),
        dialect: Dialect::Cli,
        request_id: "test".to_owned(),
    };
    let account = AccountId::new(id).unwrap();
    app.service
        .place(
            &context,
            account,
            HoldKind::Retention,
            HoldPatch::default(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(
        client.get(id).await["effective_status"],
        "active",
        "retention blocks no use"
    );
    client
        .call("delete", json!({"id": id}))
        .await
        .is_error(409, "Conflict: retention_hold");
    app.service
        .execute(
            &context,
            account,
            Command::Lift {
                kind: HoldKind::Retention,
                only: None,
            },
            None,
        )
        .await
        .unwrap();
    operator.call("suspend", json!({"id": id})).await.ok();
    client
        .call("delete", json!({"id": id}))
        .await
        .is_error(409, "Conflict: suspended_by_operator");
    let last = client
        .call("history", json!({"id": id, "limit": 1}))
        .await
        .ok()["data"][0]
        .clone();
    assert_eq!(
        (last["outcome"].as_str(), last["sequence"].clone()),
        (Some("refused"), Value::Null)
    );
    assert!(
        last["refusal"]
            .as_str()
            .unwrap()
            .starts_with("suspended_by_operator")
    );
    operator.call("unsuspend", json!({"id": id})).await.ok();
    client.call("delete", json!({"id": id})).await.ok();
}

#[tokio::test]
async fn a_lapsed_hold_is_closed_when_its_successor_opens() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    client
        .call(
            "suspend",
            json!({"id": id, "ends_at": "2026-03-02T00:00:00Z"}),
        )
        .await
        .ok();
    app.clock.advance(TimeDelta::days(3));
    assert_eq!(
        client.get(id).await["holds"],
        json!([]),
        "what has ended is not shown as open"
    );
    client.call("suspend", json!({"id": id})).await.ok();
    assert_eq!(
        client.get(id).await["effective_status"],
        "suspended:reseller"
    );
    let lapsed = "select count(*) from hold where close_reason = 'lapsed' and closed_at = '2026-03-02T00:00:00Z' and closed_by = 'system'";
    assert_eq!(app.database.number(lapsed).await, 1);
}

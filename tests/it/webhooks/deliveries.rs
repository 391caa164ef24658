//! Webhooks: signed, in order, never lost; the log of deliveries; the events for those who pull.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse as _;
use chrono::TimeDelta;
use data_encoding::BASE64;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steward::dialects::v3;
use steward::service::{Clock, Service, Settings as ServiceSettings};
use steward::store::Store;
use steward::webhooks::{Dispatcher, Settings, Writer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::process::{PATIENCE, until};
use crate::harness::receiver::{Received, Receiver};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

pub fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        retries: vec![Duration::from_millis(20)],
        suspend_after: TimeDelta::days(5),
        lease: Duration::from_secs(30),
        concurrency: 64,
        endpoint_concurrency: 16,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        writer: Writer {
            event: v3::message,
            test: v3::test_message,
        },
    }
}

/// A service on the machine's clock, with a dispatcher.
struct Live {
    app: App,
    service: Arc<Service>,
    client: Client,
    v3: V3,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl Live {
    async fn new() -> Self {
        let app = App::new().await;
        let owner = app.new_reseller("Acme").await;
        let service_settings = ServiceSettings {
            webhooks_allow_http: true,
            ..ServiceSettings::default()
        };
        let service = Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            Clock::System,
            service_settings,
        ));
        service.remember_credentials();
        let client = Client {
            router: router(&service, admin_settings(), soap_settings()),
            token: owner.token.clone(),
        };
        let v3 = V3::of(&client);
        Self {
            app,
            service,
            client,
            v3,
            stop: CancellationToken::new(),
            running: Vec::new(),
        }
    }

    fn dispatch(&mut self, settings: Settings) {
        let dispatcher = Dispatcher::new(Arc::clone(&self.service), settings).unwrap();
        self.running
            .push(tokio::spawn(dispatcher.run(self.stop.clone())));
    }

    async fn endpoint(&self, receiver: &Receiver, more: Value) -> Value {
        let mut body = json!({"url": receiver.url()});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = self.v3.call("POST", "/v3/webhooks", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()
    }

    async fn finish(self) {
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
        self.service.stop().await;
    }
}

fn sequence(delivery: &Received) -> (String, i64) {
    let body = delivery.json();
    (
        body["data"]["email"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        body["sequence"].as_i64().unwrap(),
    )
}

#[tokio::test]
async fn a_change_through_any_dialect_is_delivered_signed_and_in_the_originals_form() {
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
    assert_eq!(body["changes"]["freeze:reseller"]["old"], Value::Null);
    assert_eq!(
        body["changes"]["freeze:reseller"]["new"]["payment_url"],
        "https://pay.example/1"
    );
    assert!(
        body["actor"]
            .as_str()
            .unwrap()
            .starts_with("reseller 1, token")
    );
    // The data is the account as GET returns it, and the members of the seed come first.
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
    // The signature, computed by hand.
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
fn hmac(key: &[u8], content: &str) -> [u8; 32] {
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
async fn the_plain_style_and_a_secret_under_rotation() {
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

    // Who delivers to the one that is gone may not know that yet.
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
    // Without a grace period the old one ends at once, also for a dispatcher that has it in hand.
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

#[tokio::test]
async fn a_failing_account_holds_up_only_itself_and_stays_in_order() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let (a, b) = (
        live.client.account("a").await,
        live.client.account("b").await,
    );
    let mut failures_left = 4;
    receiver.answer(move |delivery| {
        if delivery.body.contains("a@example.com") && failures_left > 0 {
            failures_left -= 1;
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        StatusCode::OK.into_response()
    });
    for round in 0..5 {
        for id in [a, b] {
            live.client
                .call("save", json!({"id": id, "title": format!("round {round}")}))
                .await
                .ok();
        }
    }
    live.dispatch(settings());
    let mut seen: Vec<(String, i64)> = Vec::new();
    while seen.iter().collect::<BTreeSet<_>>().len() < 12
        || seen
            .iter()
            .filter(|(email, _)| email.starts_with('a'))
            .count()
            < 10
    {
        seen.push(sequence(&receiver.next().await));
    }
    let of = |who: &str| {
        seen.iter()
            .filter(|(email, _)| email.starts_with(who))
            .map(|(_, sequence)| *sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("b"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        of("a"),
        [1, 1, 1, 1, 1, 2, 3, 4, 5, 6],
        "the first is tried until it is taken, then the others follow"
    );
    let last_b = seen
        .iter()
        .rposition(|(email, _)| email.starts_with('b'))
        .unwrap();
    let first_taken_a = seen
        .iter()
        .position(|(email, sequence)| email.starts_with('a') && *sequence == 2)
        .unwrap();
    assert!(last_b < first_taken_a, "b did not wait for a: {seen:?}");
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    live.finish_when(&path, |endpoint| {
        endpoint["pending"] == 0 && endpoint["health"] == "Healthy"
    })
    .await;
    let logs = live
        .v3
        .get("/v3/webhook-event-logs?succeeded=false")
        .await
        .ok();
    let failed: Vec<_> = logs
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            (
                log["attempt"].clone(),
                log["statusCode"].clone(),
                log["problem"].clone(),
            )
        })
        .collect();
    let expected: Vec<_> = (1..=4)
        .rev()
        .map(|number| (json!(number), json!(500), json!("answered 500")))
        .collect();
    assert_eq!(failed, expected);
    live.finish().await;
}

impl Live {
    /// Waits until the endpoint is as it should be.
    async fn finish_when(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until("the endpoint's state", async || {
            Some(self.v3.get(path).await.ok()).filter(&is_so)
        })
        .await
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_switched_off_keeps_its_place() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver.answer(|_| StatusCode::GONE.into_response());
    live.dispatch(settings());
    live.client.account("a").await;
    assert_eq!(
        sequence(&receiver.next().await),
        ("a@example.com".to_owned(), 1)
    );
    let suspended = live
        .finish_when(&path, |endpoint| endpoint["health"] == "Suspended")
        .await;
    assert_eq!(
        (
            suspended["suspendedBy"].clone(),
            suspended["enabled"].clone()
        ),
        (json!("gone"), json!(false))
    );
    live.client.account("b").await;
    receiver.answer(|_| StatusCode::OK.into_response());
    let enabled = live
        .v3
        .call("PATCH", &path, &json!({"enabled": true}))
        .await
        .ok();
    assert_eq!(
        (enabled["health"].clone(), enabled["suspendedBy"].clone()),
        (json!("Healthy"), Value::Null)
    );
    let both: BTreeSet<_> = [receiver.next().await, receiver.next().await]
        .iter()
        .map(sequence)
        .collect();
    assert_eq!(
        both,
        BTreeSet::from([
            ("a@example.com".to_owned(), 1),
            ("b@example.com".to_owned(), 1)
        ]),
        "nothing is skipped"
    );
    live.finish_when(&path, |endpoint| {
        endpoint["pending"] == 0 && endpoint["lastSuccessAt"].is_string()
    })
    .await;

    live.v3
        .call("PATCH", &path, &json!({"enabled": false}))
        .await
        .ok();
    live.client.account("c").await;
    live.v3
        .call("PATCH", &path, &json!({"enabled": true}))
        .await
        .ok();
    assert_eq!(
        sequence(&receiver.next().await),
        ("c@example.com".to_owned(), 1)
    );
    live.finish().await;
}

#[tokio::test]
async fn days_of_failures_suspend_an_endpoint_and_a_wish_to_wait_is_heard() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver
        .answer(|_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]).into_response());
    live.dispatch(settings());
    live.client.account("a").await;
    receiver.next().await;
    live.finish_when(&path, |endpoint| {
        endpoint["health"] == "Unhealthy" && endpoint["pending"] == 1
    })
    .await;
    let superuser = live.app.database.superuser().await;
    let waits: f64 = sqlx::query_scalar("select extract(epoch from next_attempt_at - current_timestamp)::float8 from webhook_pending")
        .fetch_one(&superuser)
        .await
        .unwrap();
    assert!((3_000.0..3_700.0).contains(&waits), "{waits}");
    live.finish().await;

    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let endpoint = live.endpoint(&receiver, json!({})).await;
    let path = format!("/v3/webhooks/{}", endpoint["id"].as_str().unwrap());
    receiver.answer(|_| StatusCode::BAD_GATEWAY.into_response());
    live.dispatch(Settings {
        suspend_after: TimeDelta::milliseconds(200),
        ..settings()
    });
    live.client.account("a").await;
    receiver.next().await;
    let suspended = live
        .finish_when(&path, |endpoint| endpoint["health"] == "Suspended")
        .await;
    assert_eq!(
        (
            suspended["suspendedBy"].clone(),
            suspended["pending"].clone()
        ),
        (json!("failures"), json!(1))
    );
    live.finish().await;
}

#[tokio::test]
async fn tests_and_redeliveries_are_made_on_request() {
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

#[tokio::test]
async fn what_only_we_can_reach_is_not_reached_whatever_leads_there() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    let port = receiver.address.port();
    let mut targets = vec![
        format!("http://127.0.0.1:{port}/hook"),
        format!("http://localhost:{port}/hook"),
        format!("http://[::ffff:127.0.0.1]:{port}/hook"),
        format!("http://[::1]:{port}/hook"),
        format!("http://2130706433:{port}/hook"),
        format!("http://0x7f.1:{port}/hook"),
        "http://169.254.169.254/latest".to_owned(),
        "http://10.0.0.1/".to_owned(),
    ];
    for target in &targets {
        live.endpoint(&receiver, json!({"url": target})).await;
    }
    live.dispatch(Settings {
        allowed_networks: Vec::new(),
        ..settings()
    });
    live.client.account("a").await;
    let logs = until("an attempt at each", async || {
        let logs = live.v3.get("/v3/webhook-event-logs").await.ok();
        let reached: BTreeSet<String> = logs
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["webhookId"].as_str().unwrap().to_owned())
            .collect();
        (reached.len() == targets.len()).then_some(logs)
    })
    .await;
    for log in logs.as_array().unwrap() {
        assert_eq!(log["problem"], "its address is not a public one", "{log}");
    }
    assert!(receiver.arrived.try_recv().is_err(), "something arrived");
    targets.clear();
    live.finish().await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_answers_are_not_read() {
    let mut live = Live::new().await;
    let mut receiver = Receiver::start().await;
    live.endpoint(&receiver, json!({})).await;
    let mut turn = 0;
    receiver.answer(move |_| {
        turn += 1;
        match turn {
            1 => (StatusCode::FOUND, [("location", "/hook")]).into_response(),
            2 => (StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(5_000_000)).into_response(),
            _ => (StatusCode::OK, "thanks").into_response(),
        }
    });
    live.dispatch(settings());
    live.client.account("a").await;
    for _ in 0..3 {
        receiver.next().await;
    }
    let logs = until("three attempts", async || {
        Some(live.v3.get("/v3/webhook-event-logs").await.ok())
            .filter(|logs| logs.as_array().unwrap().len() == 3)
    })
    .await;
    let seen: Vec<_> = logs
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|log| {
            (
                log["statusCode"].clone(),
                log["response"].as_str().map_or(0, str::len),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [(json!(302), 0), (json!(500), seen[1].1), (json!(200), 6)]
    );
    assert!(seen[1].1 <= 512, "{}", seen[1].1);
    live.finish().await;
}

#[tokio::test]
async fn endpoints_that_cannot_be_are_refused() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    for (body, says) in [
        (json!({}), "url: is required"),
        (json!({"url": "nonsense"}), "url: must be an absolute URL"),
        (
            json!({"url": "http://example.com/"}),
            "url: must be an absolute https URL",
        ),
        (
            json!({"url": "javascript:alert(1)"}),
            "url: must be an absolute https URL",
        ),
        (
            json!({"url": "https://user:pass@example.com/"}),
            "url: must not have user info",
        ),
        (
            json!({"url": format!("https://example.com/{}", "x".repeat(2_048))}),
            "url: must be at most",
        ),
        // Short as it is written, too long as it is kept.
        (
            json!({"url": format!("https://example.com/{}", "\u{e9}".repeat(1_000))}),
            "url: must be at most",
        ),
        (
            json!({"url": format!("https://{}example.com/", "\u{e9}.".repeat(40))}),
            "url: must have a host name of at most 253",
        ),
        (
            json!({"url": "https://example.com", "events": []}),
            "events: must name at least one",
        ),
        (
            json!({"url": "https://example.com", "events": ["account.eaten"]}),
            "events: \"account.eaten\" is no event",
        ),
        (
            json!({"url": "https://example.com", "signatureStyle": "md5"}),
            "signatureStyle: must be",
        ),
        (
            json!({"url": "https://example.com", "secret": "short"}),
            "secret: must be whsec_",
        ),
        (
            json!({"url": "https://example.com", "signatureStyle": "plain", "secret": "short"}),
            "secret: must be 16 to 255",
        ),
    ] {
        refused(
            &v3.call("POST", "/v3/webhooks", &body).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
    for _ in 0..50 {
        assert_eq!(
            v3.call(
                "POST",
                "/v3/webhooks",
                &json!({"url": "https://example.com"})
            )
            .await
            .status,
            201
        );
    }
    refused(
        &v3.call(
            "POST",
            "/v3/webhooks",
            &json!({"url": "https://example.com"}),
        )
        .await,
        409,
        "CONFLICT",
        "too_many_webhooks",
    );
    for (query, says) in [
        ("before=x", "before: must be a UUID"),
        ("succeeded=perhaps", "succeeded: "),
        ("webhookId=1", "webhookId: "),
        ("limit=0", "limit: "),
    ] {
        refused(
            &v3.get(&format!("/v3/webhook-event-logs?{query}")).await,
            400,
            "INVALID_REQUEST",
            says,
        );
    }
}

#[tokio::test]
async fn events_are_pulled_by_cursor_and_followed_as_a_stream() {
    let mut live = Live::new().await;
    let other = live.app.new_reseller("Other").await;
    other.account("theirs").await;
    let ids = [
        live.client.account("a").await,
        live.client.account("b").await,
    ];
    live.client.call("freeze", json!({"id": ids[0]})).await.ok();
    live.client.call("freeze", json!({"id": ids[0]})).await.ok();
    let first = live.v3.get("/v3/events?limit=2").await;
    let events = first.ok();
    assert_eq!(
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["events"].clone())
            .collect::<Vec<_>>(),
        [json!(["account.created"]), json!(["account.created"])]
    );
    let next = first
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    let second = live.v3.get(&next).await;
    assert_eq!(
        second.ok().as_array().unwrap().len(),
        1,
        "what changed nothing is no event"
    );
    assert_eq!(second.ok()[0]["events"], json!(["account.frozen"]));
    let end = second
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    assert_eq!(live.v3.get(&end).await.ok(), json!([]));
    assert_eq!(
        live.v3
            .get(&end)
            .await
            .header("link")
            .split(['<', '>'])
            .nth(1)
            .unwrap(),
        end,
        "the place to ask next time"
    );
    refused(
        &V3::of(&other).get(&next).await,
        400,
        "INVALID_REQUEST",
        "after: must be a cursor",
    );
    refused(
        &live.v3.get("/v3/events?after=AAAA").await,
        400,
        "INVALID_REQUEST",
        "after: must be a cursor",
    );
    let operator = V3 {
        router: live.v3.router.clone(),
        token: live.app.token(None, None).await,
    };
    refused(
        &operator.get("/v3/events").await,
        400,
        "INVALID_REQUEST",
        "resellerId: is required",
    );
    assert_eq!(
        operator
            .get("/v3/events?resellerId=2")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let xml = live
        .v3
        .send("GET", "/v3/events", &[("accept", "application/xml")], "")
        .await;
    assert_eq!(xml.body.matches("<item>").count(), 3, "{}", xml.body);

    // The stream goes on where a reader left off, and tells what happens from then on.
    let left_off = events[1]["cursor"].as_str().unwrap().to_owned();
    let request = Request::get("/v3/events")
        .header("authorization", format!("Bearer {}", live.v3.token))
        .header("accept", "text/event-stream");
    let response = live
        .v3
        .router
        .clone()
        .oneshot(
            request
                .header("last-event-id", left_off)
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let mut stream = response.into_body();
    let mut text = String::new();
    while !text.contains("\n\n") {
        text += std::str::from_utf8(&stream.frame().await.unwrap().unwrap().into_data().unwrap())
            .unwrap();
    }
    assert!(
        text.contains("event: account.updated")
            && text.contains("account.frozen")
            && text.contains("id: "),
        "{text}"
    );
    live.client
        .call("unfreeze", json!({"id": ids[0]}))
        .await
        .ok();
    while !text.contains("account.unfrozen") {
        text += std::str::from_utf8(&stream.frame().await.unwrap().unwrap().into_data().unwrap())
            .unwrap();
    }
    assert_eq!(text.matches("event: account.updated").count(), 2);

    // A token that is revoked ends what was begun with it.
    let tokens = operator.get("/v3/tokens").await.ok();
    let own = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["resellerId"] == 1 && token["revokedAt"].is_null())
        .unwrap();
    operator
        .call("DELETE", &format!("/v3/tokens/{}", own["id"]), &Value::Null)
        .await;
    live.app
        .client(
            &live
                .app
                .token(Some(steward::domain::ResellerId(1)), None)
                .await,
        )
        .call("freeze", json!({"id": ids[0]}))
        .await
        .ok();
    let mut rest = String::new();
    while let Some(frame) = stream.frame().await {
        rest += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    assert!(!rest.contains("account.frozen"), "{rest}");
    live.stop.cancel();
    live.service.stop().await;
    while let Some(Ok(_)) = stream.frame().await {}
    live.running.clear();
}

#[tokio::test]
async fn a_reader_who_follows_cursors_misses_nothing_although_transactions_commit_out_of_order() {
    let live = Live::new().await;
    // Several replicas write at once; a reader follows all the while.
    let replicas: Vec<Client> = (0..4).map(|_| live.app.replica(&live.client)).collect();
    let (accounts, rounds) = (12, 25);
    let mut ids = Vec::new();
    for number in 0..accounts {
        ids.push(live.client.account(&format!("n{number}")).await);
    }
    let writers: Vec<_> = replicas
        .into_iter()
        .enumerate()
        .map(|(replica, client)| {
            let ids = ids.clone();
            tokio::spawn(async move {
                for round in 0..rounds {
                    let work = ids.iter().map(|id| {
                        client.call(
                            "save",
                            json!({"id": id, "title": format!("{replica} {round}")}),
                        )
                    });
                    futures_util::future::join_all(work)
                        .await
                        .iter()
                        .for_each(|answer| drop(answer.ok()));
                }
            })
        })
        .collect();
    let expected = accounts + accounts * rounds * 4;
    let mut seen: Vec<(String, i64)> = Vec::new();
    let mut path = "/v3/events?limit=37".to_owned();
    let started = Instant::now();
    while seen.len() < usize::try_from(expected).unwrap() {
        assert!(
            started.elapsed() < PATIENCE * 3,
            "{} of {expected} events were seen",
            seen.len()
        );
        let page = live.v3.get(&path).await;
        let events = page.ok();
        seen.extend(events.as_array().unwrap().iter().map(|event| {
            (
                event["data"]["id"].as_str().unwrap().to_owned(),
                event["sequence"].as_i64().unwrap(),
            )
        }));
        path = page
            .header("link")
            .split(['<', '>'])
            .nth(1)
            .unwrap()
            .to_owned();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        live.v3.get(&path).await.ok(),
        json!([]),
        "and no more than once"
    );
    for account in seen
        .iter()
        .map(|(account, _)| account.clone())
        .collect::<BTreeSet<_>>()
    {
        let sequences: Vec<i64> = seen
            .iter()
            .filter(|(of, _)| *of == account)
            .map(|(_, sequence)| *sequence)
            .collect();
        assert_eq!(
            sequences,
            (1..=i64::from(rounds) * 4 + 1).collect::<Vec<_>>()
        );
    }
    live.finish().await;
}

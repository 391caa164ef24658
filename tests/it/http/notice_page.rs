//! The page for the user of a blocked account.

use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::App;
use crate::harness::app::{Answer, send};

async fn open(app: &App, uid: &str, language: &str) -> Answer {
    send(
        &app.router,
        Request::get(format!("/notice/{uid}"))
            .header("accept-language", language)
            .body(Body::empty())
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn the_page_shows_the_public_message_and_the_payment_link_if_paying_unblocks() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let uid = client.get(id).await["uid"].as_str().unwrap().to_owned();
    let page = open(&app, &uid, "en").await;
    assert!(
        page.status == 200 && page.body.contains("<h1>This account is active</h1>"),
        "{}",
        page.body
    );

    let details = json!({"payment_url": "https://pay.example/?a=1&b=\"2'"});
    let freeze = json!({"id": id, "frozen_details": details, "reason": "INTERNAL", "public_message": "Invoice <b>7</b> & more\nis open.", "ends_at": "2026-04-05T06:07:00Z"});
    client.call("freeze", freeze).await.ok();
    let page = open(&app, &uid, "en-GB,en;q=0.9").await;
    assert!(
        page.body
            .contains("<h1>A payment is due for this account</h1>"),
        "{}",
        page.body
    );
    assert!(
        page.body
            .contains("Invoice &lt;b&gt;7&lt;/b&gt; &amp; more\nis open."),
        "{}",
        page.body
    );
    assert!(page.body.contains("<a href=\"https://pay.example/?a=1&amp;b=&quot;2&apos;\" rel=\"noreferrer\">Go to payment</a>"), "{}", page.body);
    assert!(
        page.body.contains(
            "<time datetime=\"2026-04-05T06:07:00Z\">Until 5 April 2026, 06:07 UTC</time>"
        ),
        "{}",
        page.body
    );
    assert!(
        !page.body.contains("INTERNAL") && !page.body.contains("<script"),
        "{}",
        page.body
    );
    let german = open(&app, &uid.to_uppercase(), "de-CH, en;q=0.5").await;
    assert!(
        german.body.contains("<html lang=\"de\">")
            && german.body.contains("Zur Zahlung")
            && german.body.contains("Für dieses Konto"),
        "{}",
        german.body
    );
    assert_eq!(
        (german.header("content-language"), german.header("vary")),
        ("de", "Accept-Language")
    );

    // Paying does not unblock a suspended account: the page has no link, and both messages.
    client
        .call(
            "suspend",
            json!({"id": id, "public_message": "Please call us."}),
        )
        .await
        .ok();
    let page = open(&app, &uid, "").await;
    assert!(
        page.body.contains("<h1>This account is suspended</h1>")
            && page
                .body
                .contains("<li>A payment is due for this account</li>"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("Please call us.")
            && !page.body.contains("<a ")
            && page.body.contains("Please contact your provider."),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<time"), "the suspension has no end");

    client.call("unsuspend", json!({"id": id})).await.ok();
    client.call("unfreeze", json!({"id": id})).await.ok();
    client
        .call(
            "expiry_date",
            json!({"id": id, "expiry_date": "2026-03-02"}),
        )
        .await
        .ok();
    app.clock.advance(TimeDelta::days(2));
    assert!(
        open(&app, &uid, "")
            .await
            .body
            .contains("renew it with your provider")
    );
    client.call("delete", json!({"id": id})).await.ok();
    assert!(
        open(&app, &uid, "")
            .await
            .body
            .contains("<h1>This account has been closed</h1>")
    );
}

#[tokio::test]
async fn the_page_has_a_strict_content_policy_and_unknown_ids_get_404() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let uid = client.get(id).await["uid"].as_str().unwrap().to_owned();
    let mut pages = vec![open(&app, &uid, "en").await];
    for id in [
        "00000000-0000-4000-8000-000000000000",
        &id.to_string(),
        "nonsense",
        "%3Cscript%3E",
        "..%2f",
    ] {
        let page = open(&app, id, "en").await;
        assert_eq!(page.status, 404, "{id}");
        assert!(
            page.body.contains("There is no account at this address.")
                && !page.body.contains("script"),
            "{}",
            page.body
        );
        pages.push(page);
    }
    for page in &pages {
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(
            (page.header("content-type"), page.header("cache-control")),
            ("text/html; charset=utf-8", "no-store")
        );
        assert_eq!(
            (
                page.header("referrer-policy"),
                page.header("x-content-type-options")
            ),
            ("no-referrer", "nosniff")
        );
    }
    assert_eq!(
        pages[1].body, pages[3].body,
        "unknown and malformed look the same"
    );
    // The policy has the hash of the page's style.
    let style = pages[0]
        .body
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let hash = data_encoding::BASE64.encode(&steward::hash::sha256(style.as_bytes()));
    assert!(pages[0].header("content-security-policy").contains(&hash));

    // Without a database the page says that the service is unavailable.
    app.service.stop().await;
    let page = open(&app, &uid, "de").await;
    assert_eq!(
        (page.status.as_u16(), page.header("retry-after")),
        (503, "60")
    );
    assert!(
        page.body.contains("Bitte noch einmal versuchen"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn the_page_tells_of_limits_and_warnings_and_where_to_pay_in_time() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let uid = client.get(id).await["uid"].as_str().unwrap().to_owned();
    let link = "<a href=\"https://pay.example/7\" rel=\"noreferrer\">Go to payment</a>";
    for (level, heading) in [
        ("warn", "This account needs your attention"),
        ("limit", "This account is read-only for now"),
        ("block", "A payment is due for this account"),
    ] {
        let details = json!({"payment_url": "https://pay.example/7"});
        let freeze = json!({"id": id, "level": level, "frozen_details": details, "public_message": "Invoice 7 is open."});
        client.call("freeze", freeze).await.ok();
        let page = open(&app, &uid, "en").await;
        for part in [&format!("<h1>{heading}</h1>"), link, "Invoice 7 is open."] {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
    }
    // Without somewhere to pay, there is only somebody to speak to.
    client.call("unfreeze", json!({"id": id})).await.ok();
    client
        .call("suspend", json!({"id": id, "level": "limit"}))
        .await
        .ok();
    let page = open(&app, &uid, "de").await;
    for part in [
        "<h1>Dieses Konto kann vorerst nur gelesen werden</h1>",
        "Bitte wenden Sie sich an Ihren Anbieter.",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
}

//! Endpoints that are refused.

use serde_json::json;

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn invalid_endpoints_are_refused() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    for (body, expected) in [
        (json!({}), "url: is required"),
        (json!({"url": "nonsense"}), "url: must be an absolute URL"),
        (json!({"url": ""}), "url: must not be empty"),
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
        // Short enough as written, too long in the percent-encoded form that is stored.
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
            "is not an event; did you mean account.created? The events are account.",
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
            expected,
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
    for (query, expected) in [
        ("before=x", "before: must be a UUID"),
        ("succeeded=perhaps", "succeeded: "),
        ("webhookId=1", "webhookId: "),
        ("limit=0", "limit: "),
    ] {
        refused(
            &v3.get(&format!("/v3/webhook-event-logs?{query}")).await,
            400,
            "INVALID_REQUEST",
            expected,
        );
    }
}

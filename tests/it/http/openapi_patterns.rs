//! The OpenAPI document and the service: what is accepted matches the patterns, and what must not be
//! missing is required.

use regex::Regex;
use serde_json::json;

use crate::harness::App;
use crate::harness::v3::V3;

#[tokio::test]
async fn addresses_that_the_service_accepts_match_the_published_patterns() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let document = v3.get("/openapi.json").await.ok();
    let pattern = |schema: &str, member: &str| {
        let path = format!("/components/schemas/{schema}/properties/{member}/pattern");
        let pattern = document.pointer(&path).unwrap_or_else(|| panic!("{path}"));
        Regex::new(pattern.as_str().unwrap()).unwrap()
    };
    let payments = [
        pattern("HoldRequest", "paymentUrl"),
        pattern("AdminFrozenDetailsRequest", "payment_url"),
    ];
    let hooks = [
        pattern("WebhookCreation", "url"),
        pattern("WebhookPatch", "url"),
    ];
    let addresses = [
        "https://example.com",
        "https://pay.example.com:18443/i?inv=1&x=2",
        "https://pay.example.com:65535",
        "https://example.com?invoice=7#top",
        "https://user-pages.example.com/~jo/a;b=1/@c/%20?q=a%26b",
        "https://93.184.216.34/pay",
        "https://[2606:4700:4700::1111]:8443/pay",
        "https://b\u{fc}cher.example/stra\u{df}e?gr\u{f6}\u{df}e=1",
        "https://xn--bcher-kva.example",
        "HTTPS://EXAMPLE.COM/Pay",
        "https://a_b.example.com/pay",
    ];
    for address in addresses {
        let path = format!("/v3/accounts/{id}/freeze");
        let answer = v3
            .call("POST", &path, &json!({"paymentUrl": address}))
            .await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
        assert!(
            payments.iter().all(|pattern| pattern.is_match(address)),
            "{address}"
        );
        let answer = v3
            .call("POST", "/v3/webhooks", &json!({"url": address}))
            .await;
        assert_eq!(answer.status, 201, "{address}: {}", answer.body);
        assert!(
            hooks.iter().all(|pattern| pattern.is_match(address)),
            "{address}"
        );
    }
    for wrong in [
        "ftp://example.com",
        "https://",
        "https://a b",
        "https://u@example.com",
        "x",
    ] {
        assert!(
            !payments.iter().any(|pattern| pattern.is_match(wrong)),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn members_that_must_not_be_missing_are_required_in_the_documents() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    let operator = V3::of(&app.operator().await);
    let document = v3.get("/openapi.json").await.ok();
    let schemas = &document["components"]["schemas"];
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let Some(body) = described.get("requestBody") else {
                continue;
            };
            let schema = &body["content"]["application/json"]["schema"]["$ref"];
            let name = schema.as_str().unwrap().rsplit('/').next().unwrap();
            let required = schemas[name]["required"].clone();
            let path = path.replace("{id}", &id.to_string());
            for caller in [&v3, &operator] {
                let answer = caller.call(&method.to_uppercase(), &path, &json!({})).await;
                let text = answer.json()["error_text"].clone();
                let text = text.as_str().unwrap_or_default().to_owned();
                let text = text.trim_start_matches("Incorrect request: ");
                let problem = text.split_once(": ");
                let missing = problem.filter(|(_, problem)| {
                    problem.starts_with("is required") || problem.starts_with("must not be empty")
                });
                // A schema cannot say that operators must name the reseller, and new accounts the name.
                let is_conditional = |member| member == "resellerId" || name == "AdminSaveRequest";
                let missing = missing.filter(|(member, _)| !is_conditional(*member));
                if let Some((member, _)) = missing {
                    refused += 1;
                    let members = required.as_array().cloned().unwrap_or_default();
                    assert!(
                        members.contains(&json!(member)),
                        "{method} {path}: {member}"
                    );
                }
            }
        }
    }
    assert!(refused > 40, "{refused} refused bodies");
}

/// In the document, a member that can be null is always written. So one that is left out when it has
/// no value must not be null, and its attribute has to say so.
#[test]
fn members_that_answers_leave_out_are_not_nullable() {
    fn check(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for member in text
                .split("#[serde(skip_serializing_if = \"Option::is_none\"")
                .skip(1)
            {
                let attributes = member.split(": Option<").next().unwrap();
                let is_described = attributes.contains("nullable = false");
                assert!(
                    is_described,
                    "{}: nullable = false{attributes}",
                    path.display()
                );
            }
        }
    }
    check(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dialects"));
}

#[tokio::test]
async fn texts_with_control_characters_are_refused_where_the_documents_say_so() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let v3 = V3::of(&client);
    let operator = V3::of(&app.operator().await);
    let document = operator.get("/openapi.json").await.ok();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if path.contains('{') {
            continue;
        }
        let caller = if path == "/v3/resellers" {
            &operator
        } else {
            &v3
        };
        for parameter in methods["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let schema = &parameter["schema"];
            let name = parameter["name"].as_str().unwrap();
            let is_text = schema["type"] == "string"
                && schema.get("enum").is_none()
                && schema.get("format").is_none();
            // A cursor is a text that the service gave, and several times are one text.
            let has_a_form = name == "after" || name.ends_with("At[in]");
            if parameter["in"] != "query" || !is_text || has_a_form {
                continue;
            }
            asked += 1;
            for text in ["a\u{1}b", "a\0b", "a\u{9f}b", "ab"] {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
                let answer = caller.get(&format!("{path}?{name}={encoded}")).await;
                let pattern = schema["pattern"].as_str();
                let fits =
                    pattern.is_none_or(|pattern| Regex::new(pattern).unwrap().is_match(text));
                assert_eq!(
                    answer.status != 400,
                    fits,
                    "{path} {name} {text:?}: {}",
                    answer.body
                );
            }
        }
    }
    assert!(asked > 20, "{asked} parameters");
}

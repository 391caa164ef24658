//! What the OpenAPI documents say of reads: the orders of lists, and the answer 304.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::v3::{V3, refused};

/// The reads of `v3` in a document: the path, and what is said of it.
fn reads(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .filter(|(path, _)| path.starts_with("/v3/"))
        .filter_map(|(path, methods)| Some((path.clone(), methods.get("get")?.clone())))
        .collect()
}

fn parameter<'a>(read: &'a Value, name: &str) -> Option<&'a Value> {
    let parameters = read["parameters"].as_array().unwrap();
    parameters.iter().find(|it| it["name"] == name)
}

#[tokio::test]
async fn every_list_that_can_be_sorted_names_the_orders_that_it_takes() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    for path in ["/openapi.json", "/openapi-3.0.json"] {
        let document = v3.get(path).await.ok();
        let mut sorted = Vec::new();
        for (path, read) in reads(&document) {
            let Some(sort) = parameter(&read, "sort") else {
                continue;
            };
            let orders = sort["schema"]["enum"].as_array().unwrap();
            let orders: Vec<&str> = orders.iter().map(|it| it.as_str().unwrap()).collect();
            for order in &orders {
                let answer = v3.get(&format!("{path}?sort={order}")).await;
                assert_eq!(answer.status, 200, "{path} {order}: {}", answer.body);
            }
            let (up, down) = orders.split_at(orders.len() / 2);
            let reversed: Vec<String> = up.iter().map(|it| format!("-{it}")).collect();
            assert_eq!(down, reversed, "{path}");
            let problem = format!("sort: must be one of {}, with", up.join(", "));
            let answer = v3.get(&format!("{path}?sort=nonsense")).await;
            refused(&answer, 400, "INVALID_REQUEST", &problem);
            sorted.push(path);
        }
        let lists = [
            "/v3/accounts",
            "/v3/event-logs",
            "/v3/personal-access-tokens",
            "/v3/plans",
            "/v3/resellers",
            "/v3/tokens",
            "/v3/webhook-event-logs",
            "/v3/webhooks",
        ];
        sorted.sort();
        assert_eq!(sorted, lists, "{path}");
    }
}

#[tokio::test]
async fn every_read_that_heeds_if_none_match_says_so_and_no_other() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let account = client.account("a").await.to_string();
    let made = async |path: &str, body: Value| {
        let answer = v3.call("POST", path, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        // A token's is a number, the others are texts.
        answer.json()["id"].to_string().replace('"', "")
    };
    let plan = made("/v3/plans", json!({"name": "pro"})).await;
    let webhook = made("/v3/webhooks", json!({"url": "https://example.com"})).await;
    let token = made("/v3/tokens", json!({"scopes": ["account:read"]})).await;
    let selector = json!({"selector": {"state": "active"},
        "operation": {"operation": "status", "status": "active"}});
    let job = made("/v3/bulk-jobs", selector).await;
    let log = v3.get("/v3/event-logs").await.ok()[0]["id"].clone();
    let id_in = |path: &str| match path.split('/').nth(2).unwrap() {
        "accounts" => account.clone(),
        "plans" => plan.clone(),
        "webhooks" => webhook.clone(),
        "tokens" | "personal-access-tokens" => token.clone(),
        "bulk-jobs" => job.clone(),
        "event-logs" => log.as_str().unwrap().to_owned(),
        "resellers" => "1".to_owned(),
        other => panic!("{other} has no id here"),
    };
    for document in ["/openapi.json", "/openapi-3.0.json"] {
        let document = v3.get(document).await.ok();
        for (path, read) in reads(&document) {
            let filled = if path.contains("{id}") {
                path.replace("{id}", &id_in(&path))
            } else {
                path.clone()
            };
            let any = [("if-none-match", "*")];
            let answer = v3.send("GET", &filled, &any, "").await;
            let heeds = answer.status == 304;
            assert!(heeds || answer.status == 200, "{path}: {}", answer.body);
            let described = &read["responses"];
            let said = [
                described.get("304").is_some(),
                described["200"]["headers"].get("ETag").is_some(),
                parameter(&read, "If-None-Match").is_some(),
            ];
            assert_eq!(said, [heeds; 3], "{path}");
        }
    }
}

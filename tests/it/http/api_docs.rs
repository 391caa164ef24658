//! The OpenAPI document and the page to try it.

use serde_json::json;

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn the_openapi_document_and_its_page_load_nothing_from_elsewhere() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let document = v3.get("/openapi.json").await.ok();
    assert_eq!(
        (
            document["openapi"].clone(),
            document["servers"][0]["url"].clone()
        ),
        (json!("3.1.0"), json!("https://steward.example"))
    );
    let page = v3.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
            && page.header("content-type").starts_with("text/html")
    );
    assert!(
        !page.body.contains("http://") && !page.body.contains("https://"),
        "{}",
        page.body
    );
    for asset in page
        .body
        .split('"')
        .filter_map(|part| part.strip_prefix("./"))
    {
        assert_eq!(
            v3.get_bytes(&format!("/docs/{asset}")).await,
            200,
            "{asset}"
        );
    }
    assert!(
        v3.get("/docs/swagger-initializer.js")
            .await
            .body
            .contains("/openapi.json")
    );
    assert_eq!(v3.get("/docs").await.header("location"), "/docs/");
    assert_eq!(v3.get("/docs/../Cargo.toml").await.status, 404);
    let cursors = client.account("a").await;
    assert_eq!(cursors, 1);
    let link = v3
        .get("/v3/accounts?after=&limit=1")
        .await
        .header("link")
        .to_owned();
    let path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(v3.get(&path).await.status, 200);
    let other = V3::of(&app.new_reseller("Other").await);
    refused(
        &other.get(&path).await,
        400,
        "INVALID_REQUEST",
        "after: must be a cursor",
    );
}

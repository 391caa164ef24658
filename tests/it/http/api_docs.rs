//! The OpenAPI document.

use serde_json::json;

use crate::harness::App;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn the_openapi_document_names_the_public_address_and_cursors_belong_to_their_reseller() {
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

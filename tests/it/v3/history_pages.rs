//! The pages of an account's history and timeline.

use serde_json::{Value, json};

use crate::harness::App;
use crate::harness::app::Answer;
use crate::harness::v3::{V3, refused};

/// The path of the next page, from the `Link` header. `None` on the last page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link").strip_prefix('<')?;
    Some(link.split_once('>')?.0.to_owned())
}

#[tokio::test]
async fn history_and_timeline_are_read_page_by_page_from_the_newest_entry_to_the_oldest() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let id = client.account("jo").await;
    let path = format!("/v3/accounts/{id}");
    for number in 0..11 {
        let body = json!({ "company": format!("c{number}") });
        v3.call("PATCH", &path, &body).await.ok();
    }
    let body = json!({"startsAt": "2026-04-01T00:00:00Z"});
    v3.call("POST", &format!("{path}/suspend"), &body)
        .await
        .ok();
    let whole = v3.get(&format!("{path}/history")).await.ok();
    assert_eq!(whole.as_array().unwrap().len(), 13);
    for (list, member) in [("history", ""), ("timeline", "/past")] {
        let (mut entries, mut pages) = (Vec::new(), 0);
        let mut page = Some(format!("{path}/{list}?limit=4"));
        while let Some(address) = page {
            let answer = v3.get(&address).await;
            let read = answer.ok().pointer(member).cloned().unwrap();
            entries.extend(read.as_array().unwrap().clone());
            if list == "timeline" {
                let upcoming = answer.ok()["upcoming"].as_array().unwrap().len();
                assert_eq!(upcoming, 1, "what is to come is on every page");
            }
            pages += 1;
            page = next(&answer);
        }
        assert_eq!((Value::from(entries), pages), (whole.clone(), 4), "{list}");
        let before = whole[11]["id"].as_i64().unwrap();
        let oldest = v3.get(&format!("{path}/{list}?before={before}")).await.ok();
        assert_eq!(
            oldest.pointer(member).unwrap(),
            &json!([whole[12]]),
            "{list}"
        );
        for query in ["limit=0", "limit=101", "before=x", "after=1"] {
            let answer = v3.get(&format!("{path}/{list}?{query}")).await;
            let name = query.split('=').next().unwrap();
            refused(&answer, 400, "INVALID_REQUEST", name);
        }
    }
}

#[tokio::test]
async fn an_operator_follows_the_link_of_the_events_of_one_reseller() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    for name in ["a", "b", "c"] {
        client.account(name).await;
    }
    let operator = V3::of(&app.operator().await);
    let mut path = "/v3/events?resellerId=1&limit=1".to_owned();
    let mut read = Vec::new();
    for _ in 0..3 {
        let answer = operator.get(&path).await;
        path = next(&answer).unwrap();
        read.push(answer.ok()[0].clone());
    }
    assert_eq!(read.len(), 3);
    assert!(
        read.windows(2).all(|two| two[0] != two[1]),
        "a page came twice: {read:?}"
    );
    assert_eq!(operator.get(&path).await.ok(), json!([]));
}

//! Event streams of one reseller, which share one reader.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// A stream, and what was read of it.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    async fn open(client: &Client, after: Option<&str>) -> Self {
        let request = Request::get("/v3/events")
            .header("authorization", format!("Bearer {}", client.token))
            .header("accept", "text/event-stream");
        let request = match after {
            Some(cursor) => request.header("last-event-id", cursor),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        let response = client.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// Reads until the event with this id. Returns the ids of all events so far.
    async fn ids_until(&mut self, last: &str) -> Vec<String> {
        let last = format!("id: {last}\n");
        while !self.text.contains(&last) {
            let frame = self.body.frame().await.expect("the stream goes on");
            let data = frame.unwrap().into_data().unwrap();
            self.text += std::str::from_utf8(&data).unwrap();
        }
        let ids = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "));
        ids.map(str::to_owned).collect()
    }
}

/// The cursors of all events.
async fn cursors(v3: &V3) -> Vec<String> {
    let (mut path, mut found) = ("/v3/events?limit=100".to_owned(), Vec::new());
    loop {
        let page = v3.get(&path).await;
        let events: Vec<Value> = page.ok().as_array().unwrap().clone();
        if events.is_empty() {
            return found;
        }
        let cursor = |event: &Value| event["cursor"].as_str().unwrap().to_owned();
        found.extend(events.iter().map(cursor));
        path = page
            .header("link")
            .split(['<', '>'])
            .nth(1)
            .unwrap()
            .to_owned();
    }
}

async fn change(client: &Client, id: i64, times: usize) {
    for number in 0..times {
        let call = if number % 2 == 0 {
            "freeze"
        } else {
            "unfreeze"
        };
        client.call(call, json!({"id": id})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_gets_every_event_once_and_in_order_wherever_it_begins() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let v3 = V3::of(&client);
    let (id, foreign) = (client.account("a").await, other.account("b").await);
    change(&client, id, 60).await;
    let before = cursors(&v3).await;
    let (middle, end) = (before[30].clone(), before.last().unwrap().clone());
    let mut from_start = Stream::open(&client, None).await;
    let mut from_middle = Stream::open(&client, Some(&middle)).await;
    let mut from_end = Stream::open(&client, Some(&end)).await;
    // Nobody reads this one until everything has happened, so it falls behind the feed.
    let mut unread = Stream::open(&client, Some(&end)).await;
    change(&other, foreign, 2).await;
    for _ in 0..20 {
        change(&client, id, 20).await;
        // This one reads along, so it gets its events from the feed.
        let last = cursors(&v3).await.pop().unwrap();
        from_end.ids_until(&last).await;
    }
    let all = cursors(&v3).await;
    let last = all.last().unwrap();
    assert_eq!(from_start.ids_until(last).await, all);
    assert_eq!(from_middle.ids_until(last).await, all[31..]);
    assert_eq!(from_end.ids_until(last).await, all[before.len()..]);
    assert_eq!(unread.ids_until(last).await, all[before.len()..]);
}

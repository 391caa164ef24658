//! Events, pulled by cursor and followed as a stream.

use std::collections::BTreeSet;
use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::live::Live;
use crate::harness::Client;
use crate::harness::process::PATIENCE;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn events_can_be_pulled_by_cursor_and_followed_as_a_stream() {
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

    // The stream starts behind the reader's cursor and continues with new events.
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

    // When a token is revoked, its streams end.
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
    // The event wakes the stream, which checks its token before it reads the event. Asserted for
    // each part as it comes: a stream that goes on would have no end to wait for.
    while let Some(frame) = stream.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let part = std::str::from_utf8(&data).unwrap();
        assert!(
            part.starts_with(':'),
            "the token is revoked, and its stream goes on: {part}"
        );
    }
    live.stop.cancel();
    live.service.stop().await;
    while let Some(Ok(_)) = stream.frame().await {}
    live.running.clear();
}

#[tokio::test]
async fn a_reader_of_cursors_misses_no_event_when_transactions_commit_out_of_order() {
    let live = Live::new().await;
    // Several replicas write at once while a reader follows the cursors.
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

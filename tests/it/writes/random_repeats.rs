//! Property: a write under a key that was used is answered as it was first, and changes nothing,
//! whatever happened in between.

use proptest::prelude::any;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::things::Things;
use crate::harness::App;
use crate::harness::v3::V3;

#[tokio::test]
async fn a_repeat_changes_nothing_whatever_happened_in_between() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut things = Things::of(&app, &client).await;
    let mut requests = things.writes().await;
    // What it suspends can do nothing more.
    requests.retain(|request| request.name != "resellers_suspend");
    let mut runner = TestRunner::default();
    let mut random = |below: usize| any::<usize>().new_tree(&mut runner).unwrap().current() % below;
    let mut sent = Vec::new();
    for round in 0..160 {
        // A new write, or an earlier one under another key: it may be refused now.
        let position = random(requests.len());
        let key = format!("key-{round}");
        let first = requests[position].send(&key).await;
        let status = first.status.as_u16();
        assert!(status < 500, "{}: {}", requests[position].name, first.body);
        sent.push((position, key, first));
        things.settle().await;
        let (position, key, first) = &sent[random(sent.len())];
        let name = &requests[*position].name;
        // Refusals that ask for another request are decided anew, and alike.
        let is_stored = !matches!(first.status.as_u16(), 400 | 401 | 403 | 412);
        let before = things.state().await;
        let again = requests[*position].send(key).await;
        things.settle().await;
        assert_eq!(again.status, first.status, "{name}: {}", again.body);
        if is_stored {
            assert_eq!(again.body, first.body, "{name}");
            assert_eq!(
                again.header("idempotent-replayed"),
                "true",
                "{name}: {}",
                first.body
            );
            for header in ["content-type", "etag", "location", "steward-changed"] {
                assert_eq!(
                    again.header(header),
                    first.header(header),
                    "{name}: {header}"
                );
            }
            assert!(
                things.state().await == before,
                "{name}: the repeat changed something"
            );
        }
    }
    let v3 = V3::of(&client);
    assert_eq!(v3.get("/v3/accounts").await.status, 200);
}

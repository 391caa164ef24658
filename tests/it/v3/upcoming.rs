//! `GET /v3/upcoming`: what time will do to accounts.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};
use steward::domain::Time;
use steward::service::ResellerPatch;

use crate::harness::app::{Answer, start_of_time};
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// Noon, so many days after the begin of the test.
fn day(days: i64) -> String {
    let at = start_of_time() + TimeDelta::days(days);
    at.to_rfc3339().replace("+00:00", "Z")
}

/// A reseller whose accounts are purged, and its operator.
struct World {
    app: App,
    client: Client,
    v3: V3,
    operator: V3,
}

impl World {
    async fn new() -> Self {
        let app = App::new().await;
        let purging = ResellerPatch {
            purges: Some(true),
            ..ResellerPatch::default()
        };
        let reseller = app.reseller_with("Acme", purging).await;
        let client = app.client(&app.token(Some(reseller), None).await);
        let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
        Self {
            app,
            client,
            v3,
            operator,
        }
    }

    async fn post(&self, caller: &V3, id: i64, what: &str, body: Value) {
        let path = format!("/v3/accounts/{id}/{what}");
        caller.call("POST", &path, &body).await.ok();
    }

    async fn put(&self, id: i64, what: &str, body: Value) {
        let path = format!("/v3/accounts/{id}/{what}");
        self.v3.call("PUT", &path, &body).await.ok();
    }

    /// Accounts to which everything happens that time can do, several things at once among them.
    async fn fill(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for name in ["held", "together", "exempt", "deleted", "purged", "past"] {
            ids.push(self.client.account(name).await);
        }
        let [held, together, exempt, deleted, purged, past] = ids[..] else {
            unreachable!()
        };
        let (v3, operator) = (&self.v3, &self.operator);
        let span = |from, to| json!({"startsAt": day(from), "endsAt": day(to)});
        self.post(v3, held, "suspend", span(5, 12)).await;
        self.post(v3, held, "freeze", json!({"endsAt": day(3)}))
            .await;
        let warning =
            json!({"startsAt": day(4), "level": "warn", "owner": "billing", "reason": "ours"});
        self.post(v3, held, "freeze", warning).await;
        let theirs = json!({"startsAt": day(4), "endsAt": day(6), "reason": "theirs"});
        self.post(operator, held, "suspend", theirs).await;
        self.post(v3, held, "retain", json!({"endsAt": day(7)}))
            .await;
        self.put(held, "expires-at", json!({"expiresAt": day(10)}))
            .await;
        // Five things at one instant.
        for owner in ["a", "b", "c", "d"] {
            let limit = json!({"endsAt": day(5), "level": "limit", "owner": owner});
            self.post(v3, together, "suspend", limit).await;
        }
        self.put(together, "expires-at", json!({"expiresAt": day(5)}))
            .await;
        self.put(exempt, "expires-at", json!({"expiresAt": day(2)}))
            .await;
        self.put(exempt, "exempt-until", json!({"exemptUntil": day(9)}))
            .await;
        // Its expiry is not announced, its hold is.
        self.put(deleted, "expires-at", json!({"expiresAt": day(8)}))
            .await;
        self.post(v3, deleted, "suspend", span(8, 40)).await;
        let path = format!("/v3/accounts/{deleted}");
        self.v3.call("DELETE", &path, &Value::Null).await;
        self.put(purged, "expires-at", json!({"expiresAt": day(-40)}))
            .await;
        // No job runs before its first day in the plan.
        let planned = "update account set purge_due_at = $2::timestamptz where id = $1";
        let superuser = self.app.database.superuser().await;
        sqlx::query(planned)
            .bind(i32::try_from(purged).unwrap())
            .bind(start_of_time() + TimeDelta::days(35))
            .execute(&superuser)
            .await
            .unwrap();
        // Nothing that has happened already is listed.
        self.put(past, "expires-at", json!({"expiresAt": day(-1)}))
            .await;
        self.post(v3, past, "suspend", json!({"startsAt": day(-2)}))
            .await;
        ids
    }
}

/// A condition on a row.
type Condition<'a> = &'a dyn Fn(&Value) -> bool;

fn rows(answer: &Answer) -> Vec<Value> {
    answer.ok().as_array().unwrap().clone()
}

/// The rows of all pages.
async fn walk(v3: &V3, path: &str, limit: i64) -> Vec<Value> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut next = Some(format!("{path}{separator}limit={limit}"));
    let mut found = Vec::new();
    while let Some(path) = next {
        let page = v3.get(&path).await;
        let more = rows(&page);
        assert!(
            more.len() <= usize::try_from(limit).unwrap(),
            "{}",
            page.body
        );
        let link = page.header("link").split(['<', '>']).nth(1);
        assert!(link.is_none() || !more.is_empty(), "an empty page leads on");
        found.extend(more);
        next = link.map(str::to_owned);
    }
    found
}

/// A row in short.
fn short(row: &Value) -> String {
    let at: Time = row["at"].as_str().unwrap().parse().unwrap();
    let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
    format!(
        "day {}: {} {} {}:{}:{} {} -> {} {} {}",
        (at - start_of_time()).num_days(),
        row["accountId"],
        text("what"),
        text("kind"),
        text("authority"),
        text("owner"),
        text("level"),
        text("event"),
        text("stateAfter"),
        text("restrictionAfter"),
    )
}

#[tokio::test]
async fn everything_that_time_will_do_is_one_list_in_the_order_of_time() {
    let world = World::new().await;
    world.fill().await;
    let list = rows(&world.v3.get("/v3/upcoming").await);
    let found: Vec<String> = list.iter().map(short).collect();
    insta::assert_snapshot!(found.join("\n"));
    let text = Value::from(list.clone()).to_string();
    assert!(!text.contains("theirs") && !text.contains("ours"), "{text}");
    assert_eq!(rows(&world.operator.get("/v3/upcoming").await), list);
}

#[tokio::test]
async fn the_list_has_what_the_timelines_of_the_accounts_have() {
    let world = World::new().await;
    let ids = world.fill().await;
    let mut expected = Vec::new();
    for id in ids {
        let timeline = world
            .v3
            .get(&format!("/v3/accounts/{id}/timeline"))
            .await
            .ok();
        let document = world.v3.get(&format!("/v3/accounts/{id}")).await;
        for row in timeline["upcoming"].as_array().unwrap() {
            let is_of_deleted = !document.status.is_success() && row["what"] == "expires";
            if !is_of_deleted {
                let mut row = row.clone();
                if row["what"] == "purge" {
                    // The timeline is that of one account, which it shows to its end.
                    row["stateAfter"] = Value::Null;
                }
                row["accountId"] = json!(id);
                expected.push(row);
            }
        }
    }
    let mut found = rows(&world.v3.get("/v3/upcoming").await);
    for row in &mut found {
        let members = row.as_object_mut().unwrap();
        for more in [
            "event",
            "account",
            "resellerId",
            "level",
            "restrictionAfter",
        ] {
            members.remove(more).unwrap();
        }
    }
    let texts =
        |rows: &[Value]| -> BTreeSet<String> { rows.iter().map(Value::to_string).collect() };
    assert_eq!(texts(&found), texts(&expected));
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn pages_of_every_size_lead_to_every_row_once() {
    let world = World::new().await;
    world.fill().await;
    let all = rows(&world.v3.get("/v3/upcoming").await);
    assert!(all.len() > 15, "{}", all.len());
    for limit in (1..=8).chain([i64::try_from(all.len()).unwrap()]) {
        assert_eq!(walk(&world.v3, "/v3/upcoming", limit).await, all, "{limit}");
        let of_all = walk(&world.operator, "/v3/upcoming?resellerId=1", limit).await;
        assert_eq!(of_all, all, "{limit}");
    }
    let filters: [(&str, Condition<'_>); 5] = [
        ("what=expires", &|row| row["what"] == "expires"),
        ("what=hold_starts,hold_ends", &|row| {
            row["holdId"].is_string()
        }),
        ("until=2026-03-06T12:00:00Z", &|row| {
            row["at"].as_str() <= Some("2026-03-06T12:00:00Z")
        }),
        // The end of that day in the reseller's time zone.
        ("until=2026-03-05", &|row| {
            row["at"].as_str() < Some("2026-03-06")
        }),
        ("what=hold_ends&until=2026-03-04T12:00:00Z", &|row| {
            row["what"] == "hold_ends" && row["at"].as_str() <= Some("2026-03-04T12:00:00Z")
        }),
    ];
    for (query, fits) in filters {
        let expected: Vec<Value> = all.iter().filter(|row| fits(row)).cloned().collect();
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{query}"
        );
        let found = walk(&world.v3, &format!("/v3/upcoming?{query}"), 2).await;
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn a_reader_between_two_pages_misses_nothing_when_rows_before_it_go() {
    let world = World::new().await;
    let ids = world.fill().await;
    let all = rows(&world.v3.get("/v3/upcoming").await);
    let first = world.v3.get("/v3/upcoming?limit=5").await;
    let seen = rows(&first);
    // One of those that happen together is lifted, and the first of all has happened.
    world.post(&world.v3, ids[0], "unfreeze", json!({})).await;
    let last = seen.last().unwrap().clone();
    let next = first.header("link").split(['<', '>']).nth(1).unwrap();
    let rest = walk(&world.v3, next.split("&limit").next().unwrap(), 5).await;
    assert_eq!(seen, all[..5]);
    assert_eq!(rest, all[5..], "behind {last}");
    world.app.clock.advance(TimeDelta::days(6));
    let later: Vec<Value> = all
        .iter()
        .filter(|row| row["at"].as_str() > Some(day(6).as_str()))
        .cloned()
        .collect();
    assert_eq!(rows(&world.v3.get("/v3/upcoming").await), later);
}

#[tokio::test]
async fn what_was_foretold_happens_and_is_announced_as_foretold() {
    let world = World::new().await;
    world.fill().await;
    let foretold = rows(&world.v3.get("/v3/upcoming").await);
    let mut happened = 0;
    for row in foretold {
        let at: Time = row["at"].as_str().unwrap().parse().unwrap();
        world.app.clock.advance(at - world.app.clock.now());
        let path = "/v3/accounts?after=&limit=100";
        let accounts = rows(&world.v3.get(path).await);
        let account = accounts.iter().find(|it| it["id"] == row["account"]);
        let state = account.map_or(json!("deleted"), |it| it["effectiveStatus"].clone());
        world.app.service.announce_due().await.unwrap();
        if row["what"] == "purge" {
            assert_eq!(world.app.service.purge_due().await.unwrap().accounts, 1);
            assert_eq!(row["stateAfter"], json!(null));
        } else {
            assert_eq!(state, row["stateAfter"], "{row}");
        }
        let events = rows(&world.v3.get("/v3/events?limit=100").await);
        let announced = events.iter().any(|event| {
            event["effectiveAt"] == row["at"]
                && event["data"]["id"] == row["account"]
                && (row["event"] == event["event"]
                    || event["events"].as_array().unwrap().contains(&row["event"]))
        });
        assert!(announced, "{row}");
        happened += 1;
    }
    assert!(happened > 15, "{happened}");
    assert_eq!(rows(&world.v3.get("/v3/upcoming").await), [json!(null); 0]);
}

#[tokio::test]
async fn nobody_sees_what_will_happen_to_the_accounts_of_another() {
    let world = World::new().await;
    world.fill().await;
    let other = world.app.new_reseller("Other").await;
    let id = other.account("b").await;
    let theirs = V3::of(&other);
    world
        .post(&theirs, id, "suspend", json!({"startsAt": day(1)}))
        .await;
    let own = rows(&theirs.get("/v3/upcoming").await);
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["accountId"], id);
    let all = rows(&world.v3.get("/v3/upcoming").await);
    assert!(all.iter().all(|row| row["resellerId"] == 1), "{all:?}");
    let both = rows(&world.operator.get("/v3/upcoming").await);
    assert_eq!(both, [own.clone(), all.clone()].concat());
    let one = rows(&world.operator.get("/v3/upcoming?resellerId=2").await);
    assert_eq!(one, own);
    let foreign = world.v3.get("/v3/upcoming?resellerId=2").await;
    refused(
        &foreign,
        400,
        "INVALID_REQUEST",
        "resellerId: no such reseller",
    );
    let first = world.v3.get("/v3/upcoming?limit=1").await;
    let next = first.header("link").split(['<', '>']).nth(1).unwrap();
    refused(
        &theirs.get(next).await,
        400,
        "INVALID_REQUEST",
        "after: must be a cursor of this list",
    );
}

#[tokio::test]
async fn a_parameter_that_is_not_understood_is_refused_with_what_is_accepted() {
    let world = World::new().await;
    for (query, problem) in [
        (
            "what=expiry",
            "what: must be one or more of hold_ends, hold_starts, expires, purge, separated by commas, not \"expiry\"",
        ),
        ("what=", "what: must be one or more of"),
        ("what=expires,", "what: must be one or more of"),
        ("until=soon", "until: must be a date"),
        ("resellerId=x", "resellerId: must be a number from 1 on"),
        ("after=x", "after: must be a cursor of this list"),
        ("limit=101", "limit: must be between 1 and 100"),
        ("kind=expires", "kind: is no parameter of this call"),
        (
            "until=2026-03-05&until=2026-03-06",
            "until: appears more than once",
        ),
    ] {
        let answer = world.v3.get(&format!("/v3/upcoming?{query}")).await;
        refused(&answer, 400, "INVALID_REQUEST", problem);
    }
    // Cursors of other lists.
    world.client.account("a").await;
    world.client.account("b").await;
    for list in ["/v3/accounts?after=&limit=1", "/v3/events?limit=1"] {
        let page = world.v3.get(list).await;
        let link = page
            .header("link")
            .split(['<', '>'])
            .nth(1)
            .unwrap()
            .to_owned();
        let cursor = link
            .split("after=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        let answer = world.v3.get(&format!("/v3/upcoming?after={cursor}")).await;
        refused(
            &answer,
            400,
            "INVALID_REQUEST",
            "after: must be a cursor of this list",
        );
    }
}

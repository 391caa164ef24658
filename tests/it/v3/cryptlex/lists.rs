//! Lists by page, order and text, as Cryptlex's clients ask for them.

use chrono::TimeDelta;
use serde_json::json;
use steward::dialects::v3::{OPERATIONS, Paging};

use crate::harness::app::Answer;
use crate::harness::v3::{V3, refused};
use crate::harness::{App, Client};

/// A reseller with five of everything that is listed, named e, d, c, b and a in the order in which
/// they were made.
async fn world() -> (App, Client, V3) {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    for name in ["e", "d", "c", "b", "a"] {
        app.clock.advance(TimeDelta::minutes(1));
        for (path, body) in [
            ("/v3/plans", json!({"name": format!("plan {name}")})),
            ("/v3/tokens", json!({"name": format!("token {name}")})),
            (
                "/v3/webhooks",
                json!({"name": format!("hook {name}"), "url": "https://example.com/"}),
            ),
            (
                "/v3/accounts",
                json!({"company": format!("company {name}")}),
            ),
        ] {
            let made = v3.call("POST", path, &body).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
    }
    let log = "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event,
          account_id, event_at, number, at, succeeded, duration_ms)
        select reseller_id, id, ('00000000-0000-4000-8000-00000000000' || row)::uuid, 1,
          'account.' || right(name, 1), 1, created_at, 1, created_at, true, 1
        from (select *, display_name as name, row_number() over (order by created_at) as row
          from webhook_endpoint) as e";
    let superuser = app.database.superuser().await;
    sqlx::query(log).execute(&superuser).await.unwrap();
    (app, client, v3)
}

/// The last letters of a member of the rows.
fn letters(answer: &Answer, member: &str) -> String {
    let rows = answer.ok();
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row[member].as_str().unwrap().chars().last().unwrap())
        .collect()
}

fn headers(answer: &Answer) -> [&str; 3] {
    ["count", "page", "limit"].map(|it| match it {
        "count" => answer.header("pagination-count"),
        "page" => answer.header("pagination-page"),
        _ => answer.header("pagination-limit"),
    })
}

#[tokio::test]
async fn every_list_of_cryptlex_has_pages_an_order_and_a_text() {
    let (_app, _client, v3) = world().await;
    for (path, member, sort, newest_first) in [
        ("/v3/plans", "name", "name", false),
        ("/v3/tokens", "name", "name", false),
        ("/v3/personal-access-tokens", "name", "name", false),
        ("/v3/webhooks", "name", "name", false),
        ("/v3/accounts", "company", "company", true),
        ("/v3/webhook-event-logs", "event", "", true),
    ] {
        // The reseller's own token has no name, so the text leaves it out.
        let word = if path.ends_with("tokens") {
            "TOKEN"
        } else {
            ""
        };
        let list = async |query: &str| {
            let answer = v3.get(&format!("{path}?query={word}&{query}")).await;
            assert_eq!(answer.status, 200, "{path} {query}: {}", answer.body);
            answer
        };
        let (by_time, reversed) = if newest_first {
            (["ab", "cd", "e", ""], ["ed", "cb", "a", ""])
        } else {
            (["ed", "cb", "a", ""], ["ab", "cd", "e", ""])
        };
        let by_time_sort = if newest_first {
            "-createdAt"
        } else {
            "createdAt"
        };
        let other_sort = if newest_first {
            "createdAt"
        } else {
            "-createdAt"
        };
        for (sort, expected) in [
            ("", by_time),
            (by_time_sort, by_time),
            (other_sort, reversed),
            (sort, ["ab", "cd", "e", ""]),
        ] {
            if sort.is_empty() && expected != by_time {
                continue;
            }
            for (index, letters_of_page) in expected.into_iter().enumerate() {
                let page = (index + 1).to_string();
                let answer = list(&format!("page={page}&limit=2&sort={sort}")).await;
                assert_eq!(
                    letters(&answer, member),
                    letters_of_page,
                    "{path} {sort} {page}"
                );
                assert_eq!(headers(&answer), ["5", &page, "2"], "{path}");
                let next = answer
                    .header("link")
                    .contains(&format!("page={}", index + 2));
                assert!(
                    path == "/v3/accounts" || next == (index < 2),
                    "{path} {page}"
                );
            }
        }
        let found = v3
            .get(&format!(
                "{path}?query={}",
                if newest_first && sort.is_empty() {
                    "T.B"
                } else {
                    "%20B"
                }
            ))
            .await;
        assert_eq!(letters(&found, member), "b", "{path}");
        assert_eq!(headers(&found)[0], "1", "{path}");
        for (query, problem) in [
            ("sort=nonsense", "sort: must be one of"),
            ("page=0", "page: must be"),
            ("page=1&limit=101", "limit: must be between 1 and 100"),
            ("page=1&page=2", "page: appears more than once"),
        ] {
            let answer = v3.get(&format!("{path}?{query}")).await;
            refused(&answer, 400, "INVALID_REQUEST", problem);
        }
        let long = v3.get(&format!("{path}?query={}", "x".repeat(256))).await;
        refused(
            &long,
            400,
            "INVALID_REQUEST",
            "query: must have at most 255",
        );
        let nul = v3.get(&format!("{path}?query=%00")).await;
        refused(&nul, 400, "INVALID_REQUEST", "query: ");
        let xml = v3
            .send(
                "GET",
                &format!("{path}?page=1"),
                &[("accept", "application/xml")],
                "",
            )
            .await;
        assert!(xml.body.starts_with("<xml><item>"), "{}", xml.body);
    }
    for path in ["/v3/plans?after=0&page=1", "/v3/tokens?after=0&sort=name"] {
        refused(
            &v3.get(path).await,
            400,
            "INVALID_REQUEST",
            "after: cannot be combined with",
        );
    }
    let path = "/v3/event-logs?before=3&query=x";
    refused(
        &v3.get(path).await,
        400,
        "INVALID_REQUEST",
        "before: cannot be combined with query",
    );
    for path in [
        "/v3/event-logs?page=999999",
        "/v3/webhook-event-logs?page=999999",
    ] {
        refused(
            &v3.get(path).await,
            400,
            "INVALID_REQUEST",
            "page: is too deep",
        );
    }
    // A client that pages until a page is empty.
    assert_eq!(v3.get("/v3/plans?page=999999").await.ok(), json!([]));
}

#[tokio::test]
async fn a_list_without_pages_by_number_an_order_or_a_text_says_what_it_has_instead() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    let mut lists = 0;
    for row in OPERATIONS {
        let taken: Vec<&str> = row.query_parameters().collect();
        if row.paging == Paging::None || taken.contains(&"page") {
            continue;
        }
        lists += 1;
        let is_newest_first = taken.contains(&"before");
        let (other, link, order) = if is_newest_first {
            ("after", "older ones by before", "always newest first")
        } else {
            ("before", "the next one by after", "always in the order of")
        };
        for (name, instead) in [
            ("page", link),
            (other, link),
            ("sort", order),
            ("query", "no text can be looked for in this list"),
        ] {
            let path = row.path.replace("{id}", "1");
            let answer = v3.get(&format!("{path}?{name}=1")).await;
            refused(&answer, 400, "INVALID_REQUEST", instead);
            let rest = format!("; the parameters are {}", taken.join(", "));
            let begin = format!("{name}: is no parameter of this call: ");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(
                message.starts_with(&begin) && message.ends_with(&rest),
                "{path}: {message}"
            );
        }
    }
    // Bulk jobs and their accounts, history, timeline, suspensions, the purge plan, events, what is
    // upcoming.
    assert_eq!(lists, 8);
    let answer = v3.get("/v3/event-logs?after=1").await;
    refused(&answer, 400, "INVALID_REQUEST", "older ones by before");
    let answer = v3.get("/v3/me?page=1").await;
    let problem = "page: is no parameter of this call, which has none";
    refused(&answer, 400, "INVALID_REQUEST", problem);
}

#[tokio::test]
async fn the_log_of_changes_is_read_by_page_from_both_ends_and_by_cursor() {
    let (app, client, v3) = world().await;
    let other = V3::of(&app.new_reseller("Other").await);
    other.call("POST", "/v3/accounts", &json!({})).await;
    let id = v3.get("/v3/accounts?sort=createdAt&limit=1").await.ok()[0]["id"].clone();
    let path = format!("/v3/accounts/{}", id.as_str().unwrap());
    v3.call("PATCH", &path, &json!({"company": "new"}))
        .await
        .ok();
    v3.call("PATCH", &path, &json!({"company": "new"}))
        .await
        .ok();
    let actions = |answer: &Answer| -> Vec<String> {
        let rows = answer.ok();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    // Five creations and a change; what changed nothing is not in it.
    let all = v3.get("/v3/event-logs").await;
    let newest_first = actions(&all);
    assert_eq!(newest_first.len(), 6, "{}", all.body);
    let mut pages = Vec::new();
    for page in 1..=3 {
        let answer = v3.get(&format!("/v3/event-logs?page={page}&limit=2")).await;
        assert_eq!(headers(&answer), ["6", &page.to_string(), "2"]);
        pages.extend(actions(&answer));
    }
    assert_eq!(pages, newest_first);
    let mut oldest_first = Vec::new();
    for page in 1..=4 {
        let path = format!("/v3/event-logs?page={page}&limit=2&sort=createdAt");
        oldest_first.extend(actions(&v3.get(&path).await));
    }
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first);
    let (mut by_cursor, mut next) = (Vec::new(), "/v3/event-logs?limit=4".to_owned());
    loop {
        let answer = v3.get(&next).await;
        by_cursor.extend(actions(&answer));
        let link = answer.header("link").to_owned();
        match link.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((target, _)) => next = target.to_owned(),
            None => break,
        }
    }
    assert_eq!(by_cursor, newest_first);
    assert_eq!(
        actions(&v3.get("/v3/event-logs?query=REVISE").await),
        newest_first[..1]
    );
    assert_eq!(
        other
            .get("/v3/event-logs")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(client);
}

#[tokio::test]
async fn totals_of_searches_by_other_metadata_are_not_mixed_up() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    client.account("a").await;
    // More than are counted every time, so that the totals are cached.
    let superuser = app.database.superuser().await;
    for statement in [
        "insert into account select (a).* from (select jsonb_populate_record(a, jsonb_build_object(
           'id', 1 + n, 'uid', gen_random_uuid(), 'email', null, 'email_key', null, 'counted', false)) as a
         from account a, generate_series(1, 15000) n) as more",
        "insert into account_metadata (reseller_id, account_id, key, value)
         select reseller_id, id, 'k', case when id <= 12000 then 'x' else 'y' end from account",
        "insert into account_metadata (reseller_id, account_id, key, value)
         select reseller_id, id, 'l', 'z' from account where id > 1000",
        // As autovacuum does within a minute of such an import.
        "analyze account, account_metadata",
    ] {
        sqlx::query(statement).execute(&superuser).await.unwrap();
    }
    let count = async |query: &str| {
        let answer = v3
            .get(&format!("/v3/accounts?page=1&limit=1&{query}"))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("pagination-count").to_owned()
    };
    assert_eq!(count("metadata%5Bk%5D=x").await, "12000");
    assert_eq!(count("metadata%5Bl%5D=z").await, "14001");
    assert_eq!(count("").await, "15001");
    assert_eq!(count("query=nothing").await, "0");
}

#[tokio::test]
async fn the_text_of_a_search_is_in_every_link_and_finds_all_that_people_know_an_account_by() {
    let app = App::new().await;
    let v3 = V3::of(&app.new_reseller("Acme").await);
    for body in [
        json!({"email": "Jo@Example.com"}),
        json!({"company": "Joplin & Co"}),
        json!({"companyId": "xjox"}),
        json!({"accountAlias": "JO-1"}),
        json!({"region": "jo"}),
    ] {
        v3.call("POST", "/v3/accounts", &body).await;
    }
    let found = v3.get("/v3/accounts?query=jo&after=&limit=3").await;
    assert_eq!(found.ok().as_array().unwrap().len(), 3);
    let link = found.header("link");
    assert!(link.contains("query=jo"), "{link}");
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    assert_eq!(v3.get(next).await.ok().as_array().unwrap().len(), 1);
    let none = v3.get("/v3/accounts?query=%25").await;
    assert_eq!(none.ok(), json!([]), "no pattern");
    let past = v3.get("/v3/accounts?query=jo&asOf=2026-03-01").await;
    refused(&past, 400, "INVALID_REQUEST", "asOf");
}

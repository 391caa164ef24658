//! Pages end at 1 MiB, however large callers make the rows, and the links lead to every row exactly
//! once. The lists are read off the tables of operations; a new list fails until it has rows here.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use steward::dialects::admin;
use steward::dialects::v3::{self, Id, Paging};
use steward::domain::MAX_ENDPOINTS;
use steward::wire::MAX_PAGE;

use crate::harness::app::Answer;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// More than what stands around the rows of a page.
const FRAME: usize = 200;
/// So many accounts that they take more than one page.
const ACCOUNTS: usize = 12;

/// A text of as many bytes as a text of so many characters can have.
fn wide(characters: usize) -> String {
    "\u{1d11e}".repeat(characters)
}

/// A reseller whose rows are as large as they can be.
struct World {
    app: App,
    client: Client,
    v3: V3,
    operator: V3,
    accounts: Vec<i64>,
    job: String,
}

impl World {
    async fn new() -> Self {
        let app = App::new().await;
        let client = app.new_reseller("Acme").await;
        let (v3, operator) = (V3::of(&client), V3::of(&app.operator().await));
        let mut accounts = Vec::new();
        for number in 0..ACCOUNTS {
            accounts.push(client.account(&format!("a{number}")).await);
        }
        let mut world = Self {
            app,
            client,
            v3,
            operator,
            accounts,
            job: String::new(),
        };
        for id in world.accounts.clone() {
            world.fill(id).await;
        }
        world.add_history().await;
        let job =
            json!({"selector": {"state": "suspended"}, "operation": {"operation": "restore"}});
        let job = world.v3.call("POST", "/v3/bulk-jobs", &job).await.json();
        job["id"].as_str().unwrap().clone_into(&mut world.job);
        world.add_others().await;
        world
    }

    /// Makes an account as large as it can be.
    async fn fill(&self, id: i64) {
        let mut profile = json!({});
        for name in [
            "company",
            "adminPortalDomain",
            "customerPortalDomain",
            "resellerPortalDomain",
            "googleClientId",
            "companyId",
            "accountAlias",
            "region",
            "paymentMethod",
            "psp",
        ] {
            profile[name] = json!(wide(255));
        }
        for name in ["website", "logoUrl", "faviconUrl"] {
            profile[name] = json!(wide(2_048));
        }
        let path = format!("/v3/accounts/{id}");
        self.v3.call("PATCH", &path, &profile).await.ok();
        let own = json!({"id": id, "own": "y".repeat(4_000), "title": wide(255)});
        self.client.call("save", own).await.ok();
        for caller in [&self.v3, &self.operator] {
            for kind in ["freeze", "suspend", "retain"] {
                let mut hold = json!({"reasonCode": wide(255), "reason": wide(2_048), "publicMessage": wide(2_048)});
                if kind == "freeze" {
                    hold["paymentUrl"] =
                        json!(format!("https://example.com/?{}", "&".repeat(2_000)));
                }
                caller
                    .call("POST", &format!("{path}/{kind}"), &hold)
                    .await
                    .ok();
            }
        }
    }

    /// Changes of the first account, each with the longest texts before and after it.
    async fn add_history(&self) {
        let path = format!("/v3/accounts/{}/suspend", self.accounts[0]);
        for number in 0..40 {
            let mut reason = wide(2_047);
            reason.push(if number % 2 == 0 { 'a' } else { 'b' });
            let hold = json!({"reason": reason, "publicMessage": reason});
            self.v3.call("POST", &path, &hold).await.ok();
        }
    }

    async fn add_others(&self) {
        let url = format!("https://example.com/{}", "a&".repeat(1_014));
        for _ in 0..MAX_ENDPOINTS {
            let endpoint =
                json!({"url": url, "description": wide(255), "events": steward::domain::EVENTS});
            let made = self.v3.call("POST", "/v3/webhooks", &endpoint).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        for _ in 0..5 {
            let made = self
                .v3
                .call("POST", "/v3/tokens", &json!({"name": wide(255)}))
                .await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        let text = wide(255);
        for _ in 0..110 {
            let plan = json!({"name": text, "displayName": text, "interval": text, "paddleId": text, "paddlePriceId": text, "amount": text, "activationLogsRetentionPeriod": text});
            let made = self.v3.call("POST", "/v3/plans", &plan).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        let superuser = self.app.database.superuser().await;
        for statement in [
            // What a receiver can answer: 512 bytes of the longest that JSON makes of a byte.
            "insert into webhook_attempt (reseller_id, endpoint_id, id, event_id, event, account_id,
               event_at, number, at, succeeded, status, problem, answer, duration_ms)
             select reseller_id, (select id from webhook_endpoint limit 1), gen_random_uuid(), n, 'account.updated', 1, created_at, 1,
               created_at, false, 500, 'answered 500', repeat(chr(1), 512), 1
             from account, generate_series(1, 150) as n where id = 1",
            "insert into reseller_suspension (reseller_id, suspended_at, suspended_by, lifted_at, lifted_by)
             select reseller_id, created_at, repeat(chr(1114111), 255), created_at, repeat(chr(1114111), 255)
             from account, generate_series(1, 120) where id = 1",
            "update account set purge_due_at = created_at + interval '100 days'",
        ] {
            sqlx::query(statement).execute(&superuser).await.unwrap();
        }
    }

    async fn number(&self, query: String) -> usize {
        let superuser = self.app.database.superuser().await;
        let number: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&superuser)
            .await
            .unwrap();
        usize::try_from(number).unwrap()
    }

    /// How many rows a list of `v3` has, and on how many pages it cannot fit.
    async fn expected(&self, name: &str) -> (usize, usize) {
        let of_first = format!("account_id = {}", self.accounts[0]);
        match name {
            // The rows of what is upcoming are small, but their accounts are read for them.
            "accounts_list" | "purge_plan" | "upcoming_list" => (ACCOUNTS, 1),
            "accounts_history" | "accounts_timeline" => (
                self.number(format!("select count(*) from journal where {of_first}"))
                    .await,
                1,
            ),
            "events_list" => (
                self.number("select count(*) from journal where outcome = 'applied'".to_owned())
                    .await,
                5,
            ),
            "event_logs_list" => (
                self.number("select count(*) from journal where outcome = 'applied'".to_owned())
                    .await,
                1,
            ),
            "bulk_jobs_items" => (ACCOUNTS, 0),
            "plans_list" => (110, 1),
            // The reseller's five, and the one of this test.
            "tokens_list" | "personal_access_tokens_list" => (6, 0),
            "webhooks_list" => (usize::try_from(MAX_ENDPOINTS).unwrap(), 0),
            "webhooks_logs" => (150, 1),
            "resellers_suspensions" => (120, 1),
            // At most 20 jobs are open, and each has a few texts of 255 characters.
            "resellers_list" | "bulk_jobs_list" => (1, 0),
            name => panic!("{name}: make rows for this list, as large as they can be"),
        }
    }
}

/// The link to the next page.
fn next_of(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let (target, _) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    Some(target.to_owned())
}

/// The pages of a list, up to the last one with rows: the number of rows of each, and their texts.
async fn walk(v3: &V3, path: &str, accept: &str, element: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), path.to_owned());
    loop {
        let answer = v3.send("GET", &path, &[("accept", accept)], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let size = answer.body.len();
        assert!(size <= MAX_PAGE + FRAME, "{path}: {size} bytes");
        let rows: Vec<String> = if accept.ends_with("json") {
            let body = answer.json();
            let rows = if body.is_array() {
                &body
            } else {
                &body["past"]
            };
            rows.as_array()
                .unwrap()
                .iter()
                .map(Value::to_string)
                .collect()
        } else {
            let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
            let rows = answer.body.split(&begin).skip(1);
            rows.map(|row| row.split(&end).next().unwrap().to_owned())
                .collect()
        };
        let next = next_of(&answer);
        if rows.is_empty() {
            return pages;
        }
        pages.push(rows);
        match next {
            Some(next) => path = next,
            None => return pages,
        }
    }
}

#[tokio::test]
async fn pages_of_v3_end_at_1_mib_and_lead_to_every_row_once() {
    let world = World::new().await;
    let lists = v3::OPERATIONS
        .iter()
        .filter(|row| row.paging != Paging::None);
    for operation in lists {
        let name = operation.name;
        let id = match operation.id {
            Id::None => String::new(),
            Id::Account => world.accounts[0].to_string(),
            Id::BulkJob => world.job.clone(),
            Id::Reseller => "1".to_owned(),
            other @ (Id::Plan | Id::Token | Id::Webhook | Id::EventLog | Id::Entry) => {
                panic!("{name}: {other:?}")
            }
        };
        let path = operation.path.replace("{id}", &id);
        let mut starts = vec![format!("{path}?limit=100")];
        if name == "accounts_list" {
            let now = world.app.service.now().to_rfc3339().replace('+', "%2B");
            starts = vec![
                format!("{path}?limit=100&after="),
                format!("{path}?limit=100&asOf={now}"),
            ];
        }
        let (rows, small) = world.expected(name).await;
        for start in starts {
            for (accept, element) in [("application/json", ""), ("application/xml", "item")] {
                let element = if name == "accounts_timeline" {
                    "past"
                } else {
                    element
                };
                let pages = walk(&world.v3, &start, accept, element).await;
                let found: Vec<&String> = pages.iter().flatten().collect();
                let unique: BTreeSet<&String> = found.iter().copied().collect();
                assert_eq!((found.len(), unique.len()), (rows, rows), "{name} {accept}");
                assert!(
                    pages.len() > small,
                    "{name} {accept}: {} pages",
                    pages.len()
                );
            }
        }
    }
    let path = format!("/v3/accounts/{}/holds", world.accounts[0]);
    let holds = world.v3.get(&path).await;
    assert_eq!(holds.ok().as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_page_by_number_is_whole_however_large_its_rows_are() {
    let world = World::new().await;
    let whole = world.v3.get("/v3/accounts?page=1&limit=100").await;
    assert!(whole.body.len() > MAX_PAGE, "{}", whole.body.len());
    let ids = |answer: &Answer| -> Vec<Value> {
        let rows = answer.ok();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].clone())
            .collect()
    };
    let all = ids(&whole);
    assert_eq!(
        (all.len(), whole.header("pagination-count")),
        (ACCOUNTS, "12")
    );
    assert!(!whole.headers.contains_key("link"));
    let mut by_pages = Vec::new();
    for page in 1..=2 {
        let answer = world
            .v3
            .get(&format!("/v3/accounts?page={page}&limit=7&sort=-createdAt"))
            .await;
        by_pages.push(ids(&answer));
    }
    assert_eq!((by_pages[0].len(), by_pages[1].len()), (7, 5));
    assert_eq!(by_pages.concat(), all);
    let accept = [("accept", "application/xml")];
    let xml = world
        .v3
        .send("GET", "/v3/accounts?page=1&limit=100", &accept, "")
        .await;
    assert_eq!(xml.body.matches("<item>").count(), ACCOUNTS);
    assert!(xml.body.starts_with("<xml><item>") && xml.body.ends_with("</item></xml>"));
}

/// The pages of a list of `admin`. `next` is the member that the next page begins with.
async fn walk_admin(
    client: &Client,
    call: &str,
    format: &str,
    mut members: Value,
) -> Vec<Vec<i64>> {
    let (next, from) = match call {
        "list" => ("next_from_id", "from_id"),
        _ => ("next_before", "before"),
    };
    members["format"] = json!(format);
    let mut pages = Vec::new();
    loop {
        let answer = client.call(call, members.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let size = answer.body.len();
        assert!(size <= MAX_PAGE + FRAME, "{call}: {size} bytes");
        let element = |name: &str| {
            let (_, rest) = answer.body.rsplit_once(&format!("<{name}>"))?;
            rest.split('<').next()?.parse::<i64>().ok()
        };
        let (ids, next): (Vec<i64>, _) = if format == "json" {
            let body = answer.json();
            let rows = if call == "timeline" {
                &body["data"]["past"]
            } else {
                &body["data"]
            };
            let next = if call == "timeline" {
                &body["data"][next]
            } else {
                &body[next]
            };
            let ids = rows
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["id"].as_i64().unwrap());
            (ids.collect(), next.as_i64())
        } else {
            let row = if call == "timeline" {
                "<past>"
            } else {
                "<data>"
            };
            let rows = answer.body.split(row).skip(1).filter_map(|row| {
                // Before it there may be the ids of holds.
                let (_, rest) = row.rsplit_once("<id>")?;
                rest.split('<').next()?.parse().ok()
            });
            (rows.collect(), element(next))
        };
        pages.push(ids);
        match next {
            Some(next) if call != "timeline" => members[from] = json!(next),
            Some(_) | None => return pages,
        }
    }
}

#[tokio::test]
async fn pages_of_admin_end_at_1_mib_and_lead_to_every_row_once() {
    let world = World::new().await;
    let first = world.accounts[0];
    let entries = world
        .number(format!(
            "select count(*) from journal where account_id = {first}"
        ))
        .await;
    let now = world.app.service.now().to_rfc3339();
    // Little of an account is in this list, so all accounts fit on a page although they are read
    // piece by piece. The test of own members has a list that is cut.
    let lists = [
        ("list", json!({}), ACCOUNTS, 0),
        ("list", json!({"as_of": now}), ACCOUNTS, 0),
        ("list", json!({"state": "suspended"}), ACCOUNTS, 0),
        ("history", json!({"id": first, "limit": 1000}), entries, 1),
    ];
    for (call, members, rows, small) in lists {
        for format in ["json", "xml"] {
            let pages = walk_admin(&world.client, call, format, members.clone()).await;
            let unique: BTreeSet<&i64> = pages.iter().flatten().collect();
            let found = pages.concat().len();
            assert_eq!((found, unique.len()), (rows, rows), "{call} {format}");
            assert!(
                pages.len() > small,
                "{call} {format}: {} pages",
                pages.len()
            );
        }
    }
    for format in ["json", "xml"] {
        let pages = walk_admin(&world.client, "timeline", format, json!({"id": first})).await;
        assert!(
            pages[0].len() > 5 && pages[0].len() < entries,
            "{}",
            pages[0].len()
        );
    }
    // A simulation has no pages: a thousand results are smaller than one.
    let step = json!({"call": "suspend", "reason": "x"});
    let refused = json!({"call": "y".repeat(30)});
    let steps: Vec<&Value> = [&step, &refused].into_iter().cycle().take(1_000).collect();
    let simulation = json!({"id": first, "operations": steps, "format": "xml"});
    let answer = world.client.call("simulate", simulation).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.body.matches("<data>").count()
        ),
        (200, 1_000)
    );
    // Every call with a list is above.
    let lists: Vec<&str> = admin::OPERATIONS
        .iter()
        .filter(|row| row.answers_a_list())
        .map(|row| row.name)
        .collect();
    assert_eq!(lists, ["list", "simulate", "history"]);
}

//! What is foreseen is what happens: `simulate`, the previews of bulk jobs and `explain` are compared
//! with the calls themselves, for random accounts, operations and callers.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use steward::domain::{AccountId, Dialect, HoldKind, HoldPatch, Patch, ResellerId, Scope};
use steward::service::{Context, Principal, ResellerPatch};

use crate::harness::app::Answer;
use crate::harness::process::until;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

/// Random choices that a seed determines.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// A reseller with accounts in random states, and everybody who may call.
struct Story {
    app: App,
    dice: Dice,
    reseller: ResellerId,
    accounts: Vec<i64>,
    owner: Client,
    operator: Client,
    /// By name: the owner and the operator, each with all scopes and with `account:read` only.
    callers: Vec<(&'static str, Client)>,
}

const EMAILS: [&str; 3] = ["x@example.com", "y@example.com", "z@example.com"];

impl Story {
    async fn of(seed: u64, accounts: usize, limit: i32) -> Self {
        let app = App::new().await;
        let patch = ResellerPatch {
            account_limit: Patch::Set(limit),
            ..ResellerPatch::default()
        };
        let reseller = app.reseller_with("Acme", patch).await;
        let client = async |of, scopes: Option<&[Scope]>| {
            let token = app.token(of, scopes).await;
            app.client(&token)
        };
        let reads: &[Scope] = &[Scope::AccountRead];
        let (owner, operator) = (client(Some(reseller), None).await, client(None, None).await);
        let callers = vec![
            ("owner", owner.clone()),
            ("operator", operator.clone()),
            ("reading owner", client(Some(reseller), Some(reads)).await),
            ("reading operator", client(None, Some(reads)).await),
        ];
        let mut story = Self {
            app,
            dice: Dice(seed),
            reseller,
            accounts: Vec::new(),
            owner,
            operator,
            callers,
        };
        for _ in 0..accounts {
            story.create().await;
        }
        story
    }

    /// Creates an account if the limit allows it.
    async fn create(&mut self) {
        let made = V3::of(&self.operator)
            .call(
                "POST",
                "/v3/accounts",
                &json!({"resellerId": self.reseller.0}),
            )
            .await;
        if made.status == 201 {
            let newest = "select max(id)::bigint from account";
            self.accounts.push(self.app.database.number(newest).await);
        }
    }

    /// A date and time around now.
    fn at(&mut self) -> String {
        let hours = i64::try_from(self.dice.roll(120)).unwrap() - 40;
        let at = self.app.service.now() + TimeDelta::hours(hours);
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// One random change by a random authority, or the passing of time.
    async fn live(&mut self) {
        let id = *self.dice.pick(&self.accounts.clone());
        let roll = self.dice.roll(100);
        if roll < 10 {
            self.app.clock.advance(TimeDelta::hours(7));
        } else if roll < 14 {
            let suspend = self.dice.chance(40);
            self.app.suspend_reseller(self.reseller, suspend).await;
        } else if roll < 24 {
            let email = *self.dice.pick(&EMAILS);
            let path = format!("/v3/accounts/{id}");
            let owner = V3::of(&self.owner);
            owner.call("PATCH", &path, &json!({"email": email})).await;
        } else if roll < 32 {
            self.create().await;
        } else if roll < 38 {
            let context = Context {
                principal: Principal::automation(self.reseller),
                dialect: Dialect::Job,
                request_id: "automation".to_owned(),
            };
            let kind = *self.dice.pick(&HoldKind::ALL);
            let account = AccountId::new(id).unwrap();
            let placing =
                self.app
                    .service
                    .place(&context, account, kind, HoldPatch::default(), None);
            // An exempt or a deleted account refuses it.
            let _outcome = placing.await;
        } else {
            let caller = self.dice.roll(2);
            let operation = self.operation(id).await;
            let caller = V3::of(&self.callers[caller].1);
            call(&caller, id, &operation).await;
        }
    }

    /// A random operation of `v3`, with members that are sometimes wrong.
    async fn operation(&mut self, id: i64) -> Value {
        let mut members = match self.dice.roll(13) {
            0 => json!({"operation": "freeze", "paymentUrl": "https://pay.example/7"}),
            1 => json!({"operation": "freeze", "paymentUrl": "ftp://pay.example"}),
            2 => json!({"operation": "suspend", "reasonCode": "abuse"}),
            3 => json!({"operation": "retain"}),
            4 => json!({"operation": *self.dice.pick(&["unfreeze", "unsuspend", "release"])}),
            5 => {
                json!({"operation": "status", "status": *self.dice.pick(&["active", "inactive", "Active"])})
            }
            6 => json!({"operation": "expires-at", "expiresAt": self.at()}),
            7 => json!({"operation": "expires-at", "expiresAt": null}),
            8 => json!({"operation": "exempt-until", "exemptUntil": self.at()}),
            9 | 10 => json!({"operation": "delete"}),
            _ => json!({"operation": "restore"}),
        };
        let name = members["operation"].as_str().unwrap().to_owned();
        if matches!(name.as_str(), "freeze" | "suspend" | "retain") {
            if self.dice.chance(30) {
                members["startsAt"] = json!(self.at());
            }
            if self.dice.chance(30) {
                members["endsAt"] = json!(self.at());
            }
        }
        if matches!(name.as_str(), "unfreeze" | "unsuspend" | "release") && self.dice.chance(50) {
            let explained = self.state(id).await;
            let open = explained["blocks"].as_array().unwrap();
            let ids = open.iter().map(|block| block["hold"]["id"].clone());
            let mut ids: Vec<Value> = ids.filter(|id| !id.is_null()).collect();
            ids.push(json!("x"));
            ids.push(json!("00000000-0000-4000-8000-000000000000"));
            members["holdId"] = self.dice.pick(&ids).clone();
        }
        members
    }

    /// The account's state and blocks as the operator sees them, also of a deleted account.
    async fn state(&self, id: i64) -> Value {
        let path = format!("/v3/accounts/{id}/explain");
        V3::of(&self.operator).get(&path).await.ok()
    }

    /// The version of an account, and the events of its newest change.
    async fn newest(&self, id: i64) -> (i64, Vec<String>) {
        let superuser = self.app.database.superuser().await;
        let found = sqlx::query_as(
            "select a.version, j.events from account a join journal j on j.account_id = a.id
             where a.id = $1 and j.outcome = 'applied' order by j.id desc limit 1",
        )
        .bind(i32::try_from(id).unwrap())
        .fetch_one(&superuser)
        .await
        .unwrap();
        superuser.close().await;
        found
    }
}

/// Sends an operation as a call of its own.
async fn call(caller: &V3, id: i64, operation: &Value) -> Answer {
    let name = operation["operation"].as_str().unwrap();
    let mut members = operation.clone();
    members.as_object_mut().unwrap().remove("operation");
    let (method, tail) = match name {
        "status" | "expires-at" | "exempt-until" => ("PUT", format!("/{name}")),
        "delete" => ("DELETE", String::new()),
        _ => ("POST", format!("/{name}")),
    };
    let members = if method == "DELETE" {
        Value::Null
    } else {
        members
    };
    caller
        .call(method, &format!("/v3/accounts/{id}{tail}"), &members)
        .await
}

/// The call of `admin` for an operation of `v3`.
fn admin_call(operation: &Value) -> Value {
    let rename = |name: &str| match name {
        "operation" => "call".to_owned(),
        "expiresAt" => "expiry_date".to_owned(),
        other => other
            .chars()
            .flat_map(|c| match c {
                'A'..='Z' => vec!['_', c.to_ascii_lowercase()],
                _ => vec![c],
            })
            .collect(),
    };
    let members = operation.as_object().unwrap().iter();
    let mut call: Value = members
        .map(|(name, value)| (rename(name), value.clone()))
        .collect();
    let name = match call["call"].as_str().unwrap() {
        "expires-at" => "expiry_date",
        "exempt-until" => "exempt",
        other => other,
    }
    .to_owned();
    call["call"] = json!(name);
    // A freeze cannot be scheduled in this dialect, and its URL is inside of the details.
    if name == "freeze" {
        let members = call.as_object_mut().unwrap();
        members.remove("starts_at");
        let url = members.remove("payment_url");
        members.insert("frozen_details".to_owned(), json!({"payment_url": url}));
    }
    call
}

const SEEDS: u64 = 30;

#[tokio::test]
async fn a_simulation_answers_what_the_calls_answer() {
    let (mut refused, mut changed) = (0, 0);
    for seed in 0..SEEDS {
        let mut story = Story::of(seed, 3, 4).await;
        for _ in 0..14 {
            story.live().await;
        }
        for _ in 0..4 {
            story.live().await;
            let id = *story.dice.pick(&story.accounts.clone());
            let caller = story.dice.roll(story.callers.len());
            let (name, client) = story.callers[caller].clone();
            let v3 = V3::of(&client);
            let mut operations = Vec::new();
            for _ in 0..3 {
                operations.push(story.operation(id).await);
            }
            let in_admin = story.dice.chance(40);
            let calls: Vec<Value> = operations.iter().map(admin_call).collect();
            let simulated = if in_admin {
                let members = json!({"id": id, "operations": calls});
                client.call("simulate", members).await.ok()["data"].clone()
            } else {
                let path = format!("/v3/accounts/{id}/simulate");
                let members = json!({"operations": operations});
                v3.call("POST", &path, &members).await.ok()["results"].clone()
            };
            for (at, operation) in operations.iter().enumerate() {
                let (before, _) = story.newest(id).await;
                let what = format!("seed {seed}, account {id}, {name}: {operation}");
                let foreseen = &simulated[at];
                if in_admin {
                    let mut members = calls[at].clone();
                    members["id"] = json!(id);
                    let call = members["call"].as_str().unwrap().to_owned();
                    let answer = client.call(&call, members).await.json();
                    assert_eq!(foreseen["error"], answer["error"], "{what}: {answer}");
                    assert_eq!(foreseen["error_text"], answer["error_text"], "{what}");
                } else {
                    let answer = call(&v3, id, operation).await;
                    let status = answer.status.as_u16();
                    assert_eq!(foreseen["status"], status, "{what}: {}", answer.body);
                    if status >= 400 {
                        let answer = answer.json();
                        assert_eq!(foreseen["code"], answer["code"], "{what}");
                        assert_eq!(foreseen["message"], answer["message"], "{what}");
                    }
                }
                let (after, events) = story.newest(id).await;
                let (is_done, has_changed) = if in_admin {
                    (foreseen["error"] == 0, foreseen["changed"] == true)
                } else {
                    (foreseen["code"].is_null(), foreseen["changed"] == true)
                };
                assert_eq!(has_changed, after != before, "{what}: {foreseen}");
                refused += u32::from(!is_done);
                changed += u32::from(has_changed);
                if has_changed {
                    assert_eq!(foreseen["events"], json!(events), "{what}");
                }
                if is_done {
                    let state = story.state(id).await;
                    let names = if in_admin {
                        ("effective_status", "blocked_by")
                    } else {
                        ("effectiveStatus", "blockedBy")
                    };
                    assert_eq!(foreseen[names.0], state["effectiveStatus"], "{what}");
                    assert_eq!(foreseen[names.1], state["blockedBy"], "{what}");
                }
            }
        }
    }
    // The story is worth telling: much of it is refused, and much of it happens.
    assert!(
        refused > 80 && changed > 20,
        "{refused} refused, {changed} changed"
    );
}

#[tokio::test]
async fn a_preview_counts_what_the_job_does() {
    let (mut refused, mut changed) = (0, 0);
    for seed in 0..SEEDS / 3 {
        let mut story = Story::of(1_000 + seed, 8, 9).await;
        for _ in 0..40 {
            story.live().await;
        }
        story.app.suspend_reseller(story.reseller, false).await;
        for _ in 0..5 {
            for _ in 0..4 {
                story.live().await;
            }
            let id = *story.dice.pick(&story.accounts.clone());
            let mut operation = story.operation(id).await;
            operation.as_object_mut().unwrap().remove("holdId");
            let state = *story.dice.pick(&[
                "deleted",
                "deleted",
                "active",
                "suspended",
                "frozen",
                "inactive",
            ]);
            let caller = story.dice.roll(2);
            let (name, client) = story.callers[caller].clone();
            let v3 = V3::of(&client);
            let what = format!("seed {seed}, {name}: {operation} of {state}");
            let mut job = json!({"selector": {"state": state}, "operation": operation});
            if name == "operator" {
                job["resellerId"] = json!(story.reseller.0);
            }
            let planned = v3.call("POST", "/v3/bulk-jobs", &job).await;
            if planned.status != 201 {
                continue;
            }
            let preview = planned.json()["preview"].clone();
            let path = format!("/v3/bulk-jobs/{}", planned.json()["id"].as_str().unwrap());
            let started = v3
                .call("POST", &format!("{path}/apply"), &Value::Null)
                .await;
            assert_eq!(started.status, 202, "{what}");
            let done = until("an applied job", async || {
                Some(v3.get(&path).await.ok()).filter(|job| job["state"] == "applied")
            })
            .await;
            for (foreseen, counted) in [
                ("changes", "changed"),
                ("unchanged", "unchanged"),
                ("refused", "failed"),
            ] {
                assert_eq!(preview[foreseen], done[counted], "{what}: {preview} {done}");
            }
            refused += done["failed"].as_i64().unwrap();
            changed += done["changed"].as_i64().unwrap();
        }
    }
    assert!(
        refused > 10 && changed > 8,
        "{refused} refused, {changed} changed"
    );
}

/// The call that would lift a block, if the caller were somebody else.
fn lifting(block: &Value, id: i64, reseller: ResellerId) -> (&'static str, String, Value) {
    let account = format!("/v3/accounts/{id}");
    let hold = json!({"holdId": block["hold"]["id"]});
    match block["block"].as_str().unwrap() {
        "deleted" => ("POST", format!("{account}/restore"), json!({})),
        "suspended:operator" | "suspended:reseller" => {
            ("POST", format!("{account}/unsuspend"), hold)
        }
        "frozen" => ("POST", format!("{account}/unfreeze"), hold),
        "inactive" => (
            "PUT",
            format!("{account}/status"),
            json!({"status": "active"}),
        ),
        "expired" => (
            "PUT",
            format!("{account}/expires-at"),
            json!({"expiresAt": null}),
        ),
        _ => (
            "POST",
            format!("/v3/resellers/{reseller}/unsuspend"),
            json!({}),
        ),
    }
}

#[tokio::test]
async fn explain_names_a_call_exactly_to_those_who_can_make_it() {
    let (mut named, mut withheld) = (0, 0);
    for seed in 0..SEEDS {
        let mut story = Story::of(2_000 + seed, 3, 3).await;
        for _ in 0..16 {
            story.live().await;
        }
        for id in story.accounts.clone() {
            let caller = story.dice.roll(story.callers.len());
            let (name, client) = story.callers[caller].clone();
            let v3 = V3::of(&client);
            let path = format!("/v3/accounts/{id}/explain");
            let explained = v3.get(&path).await.ok();
            let item = client.call("explain", json!({"id": id})).await.ok()["data"].clone();
            let blocks = explained["blocks"].as_array().unwrap();
            let what = |block: &Value| format!("seed {seed}, account {id}, {name}: {block}");
            for (block, item) in blocks.iter().zip(item["blocks"].as_array().unwrap()) {
                assert_eq!(
                    block["call"].is_null(),
                    block["needs"].is_string(),
                    "{}",
                    what(block)
                );
                assert_eq!(
                    item["call"].is_null(),
                    item["needs"].is_string(),
                    "{}",
                    what(item)
                );
                let only_in_v3 = block["block"] == "suspended:reseller_account";
                assert!(
                    only_in_v3 || block["call"].is_null() == item["call"].is_null(),
                    "{}, {item}",
                    what(block)
                );
                if block["call"].is_null() {
                    let before = story.state(id).await["blockedBy"].clone();
                    let (method, path, body) = lifting(block, id, story.reseller);
                    v3.call(method, &path, &body).await;
                    let after = story.state(id).await["blockedBy"].clone();
                    assert_eq!(before, after, "{}", what(block));
                    withheld += 1;
                }
            }
            let calls: Vec<&Value> = blocks
                .iter()
                .filter(|block| !block["call"].is_null())
                .collect();
            if calls.is_empty() {
                continue;
            }
            let block = *story.dice.pick(&calls);
            let (call, text) = (&block["call"], |it: &Value| it.as_str().unwrap().to_owned());
            let body: Value = serde_json::from_str(&text(&call["body"])).unwrap();
            let answer = v3
                .call(&text(&call["method"]), &text(&call["path"]), &body)
                .await;
            assert_eq!(answer.status, 200, "{}: {}", what(block), answer.body);
            let after = story.state(id).await["effectiveStatus"].clone();
            assert_eq!(after, block["stateAfter"], "{}", what(block));
            named += 1;
        }
    }
    assert!(
        named > 10 && withheld > 30,
        "{named} named, {withheld} withheld"
    );
}

#[tokio::test]
async fn explain_says_who_can_lift_a_block_instead() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let reseller = app.service.find_reseller("Acme").await.unwrap();
    let reader = app.token(Some(reseller), Some(&[Scope::AccountRead])).await;
    let (operator, reader) = (app.operator().await, app.client(&reader));
    let id = client.account("a").await;
    let needs = async |client: &Client| {
        let path = format!("/v3/accounts/{id}/explain");
        let explained = V3::of(client).get(&path).await.ok();
        explained["blocks"][0]["needs"].clone()
    };
    operator.call("freeze", json!({"id": id})).await.ok();
    assert_eq!(needs(&client).await, "an operator's token");
    assert_eq!(needs(&operator).await, Value::Null);
    operator.call("unfreeze", json!({"id": id})).await.ok();
    client.call("freeze", json!({"id": id})).await.ok();
    assert_eq!(needs(&operator).await, "a token of the reseller");
    assert_eq!(needs(&reader).await, "a token with the scope account:write");
    app.suspend_reseller(reseller, true).await;
    let explained = client.call("explain", json!({"id": id})).await.ok();
    let blocks = explained["data"]["blocks"].as_array().unwrap();
    assert_eq!(blocks[0]["needs"], "an operator's token");
    assert_eq!(
        blocks[1]["needs"],
        "the operator, who must lift the suspension of the reseller first"
    );
    let theirs = operator.call("explain", json!({"id": id})).await.ok();
    assert_eq!(
        theirs["data"]["blocks"][0]["needs"],
        "POST /v3/resellers/1/unsuspend, or the command: steward reseller unsuspend 1"
    );
    let path = format!("/v3/accounts/{id}/explain");
    let call = V3::of(&operator).get(&path).await.ok()["blocks"][0]["call"].clone();
    assert_eq!(call["path"], "/v3/resellers/1/unsuspend");
    app.suspend_reseller(reseller, false).await;
    client.call("delete", json!({"id": id})).await.ok();
    let explained = V3::of(&client).get(&path).await.ok();
    assert_eq!(
        explained["blocks"][1]["needs"],
        "the account must be restored first"
    );
    assert_eq!(explained["blocks"][0]["needs"], Value::Null);
    // The address of the deleted account is taken: restoring it would be refused.
    client.account("a").await;
    let needed = needs(&client).await;
    assert!(
        needed.as_str().unwrap().starts_with("email_in_use"),
        "{needed}"
    );
}

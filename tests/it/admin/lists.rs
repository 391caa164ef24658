//! Lists: each filter must admit exactly the accounts that the domain computes to be in that state.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};
use steward::domain::{
    AccountFilter, AccountId, Authority, Block, Level, Metadata, Owner, StateFilter,
};
use steward::service::{Context, Principal};

use crate::harness::{App, Client};

async fn ids(client: &Client, members: Value) -> Vec<i64> {
    let listed = client.call("list", members).await.ok();
    let ids: Vec<i64> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_i64().unwrap())
        .collect();
    assert!(ids.is_sorted());
    ids
}

#[tokio::test]
async fn a_list_continues_after_an_id_and_counts_all_matches() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    for name in ["a", "b", "c", "d"] {
        client.account(name).await;
        other.account(name).await;
    }
    let page = client
        .call("list", json!({"from_id": 3, "limit": 2}))
        .await
        .ok();
    assert_eq!(
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].clone())
            .collect::<Vec<_>>(),
        [json!(3), json!(5)]
    );
    assert_eq!(page["total_count"], 4, "the count is not the page's");
    assert_eq!(ids(&client, json!({})).await, [1, 3, 5, 7]);
    assert_eq!(ids(&client, json!({"from_id": 8})).await, Vec::<i64>::new());
    assert_eq!(ids(&client, json!({"from_id": 0})).await, [1, 3, 5, 7]);
    assert_eq!(ids(&client, json!({"q": "B@EXAMPLE"})).await, [3]);
    assert_eq!(ids(&client, json!({"q": "%"})).await, Vec::<i64>::new());
}

#[tokio::test]
async fn totals_without_a_filter_are_exact_and_large_ones_with_a_text_are_cached() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let superuser = app.database.superuser().await;
    let many = "insert into account (reseller_id, id, uid, status, status_set_at, version, created_at, updated_at, profile)
                select 1, n, gen_random_uuid(), 'active', now(), 1, now(), now(), '{\"name\": \"many\"}' from generate_series(1, 10005) n";
    sqlx::query(many).execute(&superuser).await.unwrap();
    sqlx::query("select setval('account_id_seq', 10005)")
        .execute(&superuser)
        .await
        .unwrap();
    let total =
        async |members: Value| client.call("list", members).await.ok()["total_count"].clone();
    assert_eq!(total(json!({"limit": 1})).await, 10_005);
    assert_eq!(total(json!({"limit": 1, "q": "m"})).await, 10_005);
    client.account("more").await;
    assert_eq!(total(json!({"limit": 1, "from_id": 500})).await, 10_006);
    assert_eq!(total(json!({"limit": 1, "from_id": 20_000})).await, 10_006);
    assert_eq!(
        total(json!({"limit": 1, "from_id": 500, "q": "m"})).await,
        10_005,
        "from memory"
    );
    client.call("freeze", json!({"id": 7})).await.ok();
    assert_eq!(total(json!({"limit": 1, "state": "frozen"})).await, 1);
    client.call("freeze", json!({"id": 8})).await.ok();
    assert_eq!(total(json!({"limit": 1, "state": "frozen"})).await, 2);
    app.clock.advance(TimeDelta::seconds(31));
    assert_eq!(total(json!({"limit": 1, "q": "m"})).await, 10_006);
}

const LEVELS: [&str; 3] = ["block", "limit", "warn"];

/// Changes thirty accounts in various ways, in an order that depends on the seed.
async fn populate(app: &App, client: &Client, operator: &Client, seed: &[u8]) {
    for (number, dice) in seed.iter().enumerate() {
        let id = client.account(&format!("n{number}")).await;
        let day = |days: i64| (app.clock.now() + TimeDelta::days(days)).to_rfc3339();
        let who = if dice & 1 == 0 { client } else { operator };
        if dice & 2 != 0 {
            let mut hold = json!({"id": id, "ends_at": if dice & 64 != 0 { json!(day(1)) } else { json!(null) }, "level": LEVELS[usize::from(*dice) % 3]});
            if dice & 8 != 0 {
                hold["owner"] = json!("billing");
            }
            who.call("freeze", hold).await.ok();
        }
        if dice & 4 != 0 {
            let start = if dice & 128 != 0 {
                json!(day(1))
            } else {
                json!(null)
            };
            let level = LEVELS[usize::from(*dice) / 3 % 3];
            who.call(
                "suspend",
                json!({"id": id, "starts_at": start, "level": level}),
            )
            .await
            .ok();
        }
        if dice & 8 != 0 {
            client.call("deactivate", json!({"id": id})).await.ok();
        }
        if dice & 16 != 0 {
            client
                .call(
                    "expiry_date",
                    json!({"id": id, "expiry_date": day(if dice & 1 == 0 { -1 } else { 5 })}),
                )
                .await
                .ok();
        }
        let metadata = json!({"plan": if dice & 0x11 == 1 { "gold" } else { "silver" }});
        client
            .call("save", json!({"id": id, "metadata": metadata}))
            .await
            .ok();
        if dice & 32 != 0 && dice & 5 != 5 {
            client.call("delete", json!({"id": id})).await.ok();
        }
    }
}

#[test]
fn every_filter_agrees_with_the_domain() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 6,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let seeds = proptest::collection::vec(any::<u8>(), 40..41);
    let outcome = runner.run(&seeds, |seed| {
        runtime.block_on(async {
            let app = App::new().await;
            let (client, operator) = (app.new_reseller("Acme").await, app.operator().await);
            populate(&app, &client, &operator, &seed).await;
            app.clock.advance(TimeDelta::days(i64::from(seed[0] % 3)));
            if seed[1] % 4 == 0 {
                app.suspend_reseller(steward::domain::ResellerId(1), true)
                    .await;
            }
            check(&app).await
        })
    });
    outcome.unwrap();
}

async fn check(app: &App) -> Result<(), TestCaseError> {
    let context = Context {
        principal: Principal::command_line(),
        dialect: steward::domain::Dialect::Cli,
        request_id: "test".to_owned(),
    };
    let first = AccountId::new(1).unwrap();
    let now = app.clock.now();
    let list = |filter: AccountFilter| {
        let (service, context) = (app.service.clone(), context.clone());
        async move {
            service
                .list(&context, filter, Vec::new(), first, 1_000)
                .await
                .unwrap()
        }
    };
    let mut all = list(AccountFilter::default()).await.accounts.rows;
    all.extend(
        list(AccountFilter {
            held_by_owner: None,
            state: Some(StateFilter::BlockedBy(Block::Deleted)),
            ..AccountFilter::default()
        })
        .await
        .accounts
        .rows,
    );
    all.sort_by_key(|account| account.id);
    prop_assert_eq!(all.len(), 40);

    let states = [
        None,
        Some(StateFilter::Active),
        Some(StateFilter::Suspended),
    ]
    .into_iter()
    .chain(Block::ALL.map(|block| Some(StateFilter::BlockedBy(block))));
    let soon = now + TimeDelta::days(1);
    for state in states {
        let billing = || Some(Owner::parse("owner", "billing").unwrap());
        for (held_by, held_by_owner, held_at) in [
            (None, None, None),
            (Some(Authority::Operator), None, None),
            (Some(Authority::Reseller), None, None),
            (Some(Authority::System), None, None),
            (None, None, Some(Level::Warn)),
            (None, None, Some(Level::Limit)),
            (None, None, Some(Level::Block)),
            (Some(Authority::Reseller), None, Some(Level::Warn)),
            (None, billing(), None),
            (None, billing(), Some(Level::Limit)),
        ] {
            for (expires_before, expires_after) in
                [(None, None), (Some(soon), None), (None, Some(soon))]
            {
                // Each date with and without the metadata, over all states.
                let gold = Metadata([("plan".to_owned(), "gold".to_owned())].into());
                let metadata = if held_by.is_none() == expires_after.is_none() {
                    gold
                } else {
                    Metadata::default()
                };
                let filter = AccountFilter {
                    held_by_owner: held_by_owner.clone(),
                    held_at,
                    state,
                    held_by,
                    expires_before,
                    expires_after,
                    text: None,
                    metadata,
                };
                let expected: Vec<_> = all
                    .iter()
                    .filter(|account| filter.admits(account, now))
                    .map(|account| account.id)
                    .collect();
                let page = list(filter.clone()).await;
                prop_assert_eq!(
                    page.accounts
                        .rows
                        .iter()
                        .map(|account| account.id)
                        .collect::<Vec<_>>(),
                    expected.clone(),
                    "{:?}",
                    filter
                );
                prop_assert_eq!(usize::try_from(page.total).unwrap(), expected.len());
            }
        }
    }
    Ok(())
}

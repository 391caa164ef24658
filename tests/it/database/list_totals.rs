//! The kept totals of lists by state: whatever happens, and whenever they are moved on, they equal
//! a count of all accounts.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;
use steward::domain::{Account, AccountFilter, AccountId, Block, Dialect, ResellerId, StateFilter};
use steward::jobs;
use steward::service::{Context, Principal};

use crate::harness::{App, Client};

const FIRST: ResellerId = ResellerId(1);
const SECOND: ResellerId = ResellerId(2);

fn states() -> impl Iterator<Item = StateFilter> {
    let blocks = Block::ALL.map(StateFilter::BlockedBy);
    [StateFilter::Active, StateFilter::Suspended]
        .into_iter()
        .chain(blocks)
}

/// A page with all accounts in a state, and the total.
async fn list(
    app: &App,
    reseller: Option<ResellerId>,
    state: Option<StateFilter>,
) -> (Vec<Account>, i64) {
    let context = Context {
        principal: reseller.map_or_else(Principal::command_line, Principal::of_reseller),
        dialect: Dialect::Cli,
        request_id: "test".to_owned(),
    };
    let filter = AccountFilter {
        state,
        ..AccountFilter::default()
    };
    let first = AccountId::new(1).unwrap();
    let page = app.service.list(&context, filter, Vec::new(), first, 1_000);
    let page = page.await.unwrap();
    (page.accounts.rows, page.total)
}

/// Every total and every list equals what the rules say of all accounts.
async fn check(app: &App, steps: &str) -> Result<(), TestCaseError> {
    let now = app.clock.now();
    for reseller in [Some(FIRST), Some(SECOND), None] {
        let (mut all, live) = list(app, reseller, None).await;
        prop_assert_eq!(i64::try_from(all.len()).unwrap(), live);
        let deleted = StateFilter::BlockedBy(Block::Deleted);
        all.extend(list(app, reseller, Some(deleted)).await.0);
        all.sort_by_key(|account| account.id);
        for state in states() {
            let expected: Vec<AccountId> = all
                .iter()
                .filter(|account| state.admits(&account.state(now)))
                .map(|account| account.id)
                .collect();
            let (found, total) = list(app, reseller, Some(state)).await;
            let found: Vec<_> = found.iter().map(|account| account.id).collect();
            prop_assert_eq!(&found, &expected, "{:?} {:?} {}", reseller, state, steps);
            prop_assert_eq!(
                usize::try_from(total).unwrap(),
                expected.len(),
                "{:?} {:?} {}",
                reseller,
                state,
                steps
            );
        }
    }
    Ok(())
}

/// Does what a number stands for to an account that another one stands for.
async fn step(app: &App, clients: &[Client; 3], accounts: &mut Vec<i64>, what: u8, which: u8) {
    let place = usize::from(which) % accounts.len();
    let id = accounts[place];
    // Accounts belong to the two resellers in turn.
    let client = &clients[if what & 128 != 0 { 2 } else { place % 2 }];
    let at = |hours: i64| (app.clock.now() + TimeDelta::hours(hours)).to_rfc3339();
    let soon = i64::from(which % 5) + 1;
    let hold = match which >> 6 {
        0 => json!({"id": id}),
        1 => json!({"id": id, "ends_at": at(soon)}),
        2 => json!({"id": id, "starts_at": at(soon), "ends_at": at(soon + 3)}),
        _ => json!({"id": id, "level": "warn"}),
    };
    // Refusals are part of the game.
    match what & 127 {
        0..15 => drop(client.call("freeze", hold).await),
        15..24 => drop(client.call("unfreeze", json!({"id": id})).await),
        24..34 => drop(client.call("suspend", hold).await),
        34..40 => drop(client.call("unsuspend", json!({"id": id})).await),
        40..50 => drop(client.call("deactivate", json!({"id": id})).await),
        50..56 => drop(client.call("activate", json!({"id": id})).await),
        56..68 => {
            let expiry = json!({"id": id, "expiry_date": at(soon - 3)});
            drop(client.call("expiry_date", expiry).await);
        }
        68..72 => {
            let exempt = json!({"id": id, "exempt_until": at(soon)});
            drop(clients[2].call("exempt_until", exempt).await);
        }
        72..78 => drop(client.call("delete", json!({"id": id})).await),
        78..82 => drop(client.call("restore", json!({"id": id})).await),
        82..86 => {
            // Not while the reseller is suspended.
            let client = &clients[accounts.len() % 2];
            let members = json!({"name": "new", "title": "new", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 9, "email": format!("n{}@example.com", accounts.len())});
            let answer = client.call("save", members).await;
            accounts.extend(answer.json()["data"]["saved_id"].as_i64());
        }
        86..98 => app.clock.advance(TimeDelta::minutes(i64::from(which) * 2)),
        98..100 => app.clock.advance(TimeDelta::days(i64::from(which % 32))),
        100..102 => {
            let reseller = if place.is_multiple_of(2) {
                FIRST
            } else {
                SECOND
            };
            app.suspend_reseller(reseller, which >> 7 == 0).await;
        }
        102..110 => app.service.keep_totals(FIRST).await.unwrap(),
        110..122 => app.service.fold_totals().await.unwrap(),
        122..124 => app.service.settle_account_counts().await.unwrap(),
        _ => jobs::announce_and_purge(&app.service, true).await.unwrap(),
    }
}

#[test]
fn kept_totals_and_the_lists_that_use_them_equal_a_count() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let steps = proptest::collection::vec((any::<u8>(), any::<u8>()), 90..91);
    let outcome = runner.run(&steps, |steps| {
        runtime.block_on(async {
            let app = App::new().await;
            let clients = [
                app.new_reseller("Acme").await,
                app.new_reseller("Bolt").await,
                app.operator().await,
            ];
            let mut accounts = Vec::new();
            for number in 0..10_usize {
                accounts.push(clients[number % 2].account(&format!("n{number}")).await);
            }
            let kept_from = usize::from(steps[0].0) % 40;
            for (number, (what, which)) in steps.iter().enumerate() {
                if number == kept_from {
                    app.service.keep_totals(FIRST).await.unwrap();
                    app.service.keep_totals(SECOND).await.unwrap();
                }
                step(&app, &clients, &mut accounts, *what, *which).await;
                if number % 6 == 5 {
                    check(&app, &format!("{:?}", &steps[..=number])).await?;
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

/// While accounts are being counted for the first time, changes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_right_when_accounts_change_while_they_are_built() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut accounts = Vec::new();
    for number in 0..60 {
        accounts.push(client.account(&format!("n{number}")).await);
    }
    let changes = async {
        for id in &accounts {
            client.call("freeze", json!({"id": id})).await.ok();
            if id % 3 == 0 {
                client.call("deactivate", json!({"id": id})).await.ok();
            }
            if id % 7 == 0 {
                client.call("delete", json!({"id": id})).await.ok();
            }
        }
    };
    let keeping = async {
        for _ in 0..20 {
            app.service.keep_totals(FIRST).await.unwrap();
        }
    };
    tokio::join!(changes, keeping);
    let frozen = StateFilter::BlockedBy(Block::Frozen);
    let inactive = StateFilter::BlockedBy(Block::Inactive);
    for _ in 0..2 {
        for state in [frozen, inactive] {
            let (found, total) = list(&app, Some(FIRST), Some(state)).await;
            assert_eq!(i64::try_from(found.len()).unwrap(), total, "{state:?}");
            assert!(total > 10, "{state:?} {total}");
        }
        app.service.fold_totals().await.unwrap();
    }
}

//! Many callers change few accounts through two replicas. Replaying the journal must give the same
//! state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use steward::domain::{
    Account, AccountId, Command, Dialect, HoldId, HoldKind, HoldPatch, Outcome, Patch, PaymentUrl,
    ProfilePatch, ResellerId, Revision, Status,
};
use steward::service::{Clock, Context, Principal, Service, Settings};
use steward::store::{PoolSettings, Store};
use uuid::Uuid;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::process::until;
use crate::harness::v3::V3;
use crate::harness::{App, Client};

const CONNECTIONS: usize = 64;
const COMMANDS: usize = 40;
const ACCOUNTS: usize = 3;

/// Commands of all kinds. Some change nothing, and some are refused.
fn command() -> impl Strategy<Value = Command> {
    let kind = prop_oneof![
        Just(HoldKind::Freeze),
        Just(HoldKind::Suspend),
        Just(HoldKind::Retention)
    ];
    let details = (0..3_u8, any::<bool>()).prop_map(|(number, pays)| HoldPatch {
        reason: Patch::Set(format!("reason {number}")),
        payment_url: if pays {
            Patch::Set(PaymentUrl::parse("https://pay.example/1").unwrap())
        } else {
            Patch::Keep
        },
        ..HoldPatch::default()
    });
    let title = (0..3_u8).prop_map(|number| Revision {
        profile: ProfilePatch {
            title: Patch::Set(format!("title {number}")),
            ..ProfilePatch::default()
        },
        ..Revision::default()
    });
    prop_oneof![
        4 => (kind.clone(), details).prop_map(|(kind, details)| Command::Place { owner: None, kind, fresh: HoldId(Uuid::now_v7()), details }),
        3 => kind.prop_map(|kind| Command::Lift { owner: None, kind, only: None }),
        1 => Just(Command::Lift { owner: None, kind: HoldKind::Freeze, only: Some(HoldId(Uuid::nil())) }),
        2 => any::<bool>().prop_map(|on| Command::SetStatus(if on { Status::Active } else { Status::Inactive })),
        2 => (0..4_i64).prop_map(|day| Command::SetExpiry((day > 0).then(|| "2031-01-01T00:00:00Z".parse::<steward::domain::Time>().unwrap() + chrono::TimeDelta::days(day)))),
        1 => any::<bool>().prop_map(|on| Command::SetExemption(on.then(|| "2031-01-05T00:00:00Z".parse().unwrap()))),
        2 => title.prop_map(|revision| Command::Revise(Box::new(revision))),
        1 => Just(Command::Delete { purge_after: Duration::from_hours(720) }),
        2 => Just(Command::Restore),
    ]
}

fn context(reseller: Option<ResellerId>, request_id: String) -> Context {
    Context {
        principal: reseller.map_or_else(Principal::command_line, Principal::of_reseller),
        dialect: Dialect::Cli,
        request_id,
    }
}

/// Sorts the holds: the store returns them by kind, the domain by time.
fn ordered(mut account: Account) -> Account {
    account.holds.sort_by_key(|hold| hold.id.0);
    account
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replaying_the_journal_gives_the_state_that_64_parallel_callers_left() {
    let app = App::new().await;
    let start = || {
        Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            Clock::System,
            Settings::default(),
        ))
    };
    let replicas = [start(), start()];
    let mut accounts: Vec<(ResellerId, AccountId)> = Vec::new();
    let mut blank: HashMap<AccountId, Account> = HashMap::new();
    for name in ["Acme", "Globex"] {
        let reseller = app.reseller(name).await;
        for _ in 0..ACCOUNTS {
            let made = replicas[0]
                .create(
                    &context(Some(reseller), "made".to_owned()),
                    None,
                    Revision::default(),
                    None,
                )
                .await
                .unwrap()
                .done()
                .unwrap();
            accounts.push((reseller, made.account.id));
            blank.insert(made.account.id, made.account);
        }
    }

    // Each request has its own id, which its journal entry has too.
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (service, accounts) = (Arc::clone(&replicas[connection % 2]), accounts.clone());
            tokio::spawn(async move {
                let mut runner = TestRunner::default();
                let mut done = Vec::new();
                for number in 0..COMMANDS {
                    let (reseller, account) = accounts
                        [any::<usize>().new_tree(&mut runner).unwrap().current() % accounts.len()];
                    let command = command().new_tree(&mut runner).unwrap().current();
                    let by = context(
                        (connection % 3 > 0).then_some(reseller),
                        format!("{connection}-{number}"),
                    );
                    let answer = service
                        .execute(&by, account, command.clone(), None)
                        .await
                        .map(|answered| answered.done().unwrap());
                    done.push((by, account, command, answer));
                }
                done
            })
        })
        .collect();
    let mut sent = HashMap::new();
    for task in tasks {
        for (by, account, command, answer) in task.await.unwrap() {
            sent.insert(by.request_id.clone(), (by, account, command, answer));
        }
    }

    let superuser = app.database.superuser().await;
    let mut counted: HashMap<String, usize> = HashMap::new();
    for (reseller, id) in accounts {
        let mut model = blank.remove(&id).unwrap();
        let entries: Vec<(String, chrono::DateTime<chrono::Utc>, String, Option<i64>)> =
            sqlx::query_as("select request_id, at, outcome, sequence from journal where account_id = $1 and action <> 'create' order by id")
                .bind(id.as_i32())
                .fetch_all(&superuser)
                .await
                .unwrap();
        for (request, at, outcome, sequence) in entries {
            let (by, account, command, answer) = sent
                .remove(&request)
                .expect("every journal entry belongs to one request");
            assert_eq!(account, id);
            *counted.entry(outcome.clone()).or_default() += 1;
            match model.decide(&command, &by.principal.actor(), at) {
                Ok(change) => {
                    let done = answer.unwrap_or_else(|error| {
                        panic!(
                            "{request}: the model accepts {command:?}, but the answer was {error}"
                        )
                    });
                    assert_eq!(
                        done.outcome,
                        change.outcome(),
                        "{request}: {command:?} on {model:?}"
                    );
                    assert_eq!(outcome, done.outcome.as_str());
                    assert_eq!(
                        sequence,
                        (done.outcome == Outcome::Applied).then_some(change.after.version),
                        "{request}"
                    );
                    assert_eq!(
                        ordered(done.account),
                        ordered(change.after.clone()),
                        "{request}: {command:?}"
                    );
                    model = change.after;
                }
                Err(error) => {
                    assert_eq!(
                        answer.err(),
                        Some(error),
                        "{request}: {command:?} on {model:?}"
                    );
                    assert_eq!((outcome.as_str(), sequence), ("refused", None));
                }
            }
        }
        let stored = replicas[1]
            .account_or_deleted(&context(Some(reseller), String::new()), id)
            .await
            .unwrap();
        assert_eq!(ordered(stored), ordered(model));
    }
    assert!(
        sent.is_empty(),
        "without a journal entry: {:?}",
        sent.iter()
            .map(|(request, (_, _, command, answer))| (request, command, answer.as_ref().err()))
            .take(5)
            .collect::<Vec<_>>()
    );
    for outcome in ["applied", "unchanged", "refused"] {
        assert!(
            counted.get(outcome).is_some_and(|count| *count > 50),
            "{counted:?}"
        );
    }
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_the_first_one_with_its_key_and_replays_its_answer() {
    let app = App::new().await;
    let owner = app.new_reseller("Acme").await;
    // With so many connections a reseller may have two transactions at a time.
    let pool = PoolSettings {
        max_connections: 12,
        ..pool_settings()
    };
    let service = Arc::new(Service::start(
        Store::new(app.database.options(), &pool),
        Clock::System,
        Settings::default(),
    ));
    let client = Client {
        router: router(&service, admin_settings(), soap_settings()),
        token: owner.token,
    };
    let superuser = app.database.superuser().await;
    // The first request waits for the table, after it has locked the key.
    let mut lock = superuser.begin().await.unwrap();
    sqlx::raw_sql("lock table plan in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let create = || {
        let v3 = V3::of(&client);
        tokio::spawn(async move {
            let body = r#"{"name":"x","displayName":"x"}"#;
            let key = [("idempotency-key", "once")];
            v3.send("POST", "/v3/plans", &key, body).await
        })
    };
    let waiting = async |wanted: usize| -> Vec<String> {
        let query = "select wait_event from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() order by query_start";
        until("requests that wait", async || {
            let events = sqlx::query_scalar(query).fetch_all(&superuser).await;
            events.ok().filter(|events| events.len() == wanted)
        })
        .await
    };
    let first = create();
    assert_eq!(waiting(1).await, ["relation"]);
    let second = create();
    assert_eq!(waiting(2).await, ["relation", "advisory"], "for its key");
    lock.rollback().await.unwrap();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(app.database.number("select count(*) from plan").await, 1);
}

//! Many requests at once, and clients that hang up.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;

use steward::service::{Clock, CommitScope, Service, Settings};
use steward::store::Store;

use crate::harness::app::{admin_settings, pool_settings, router, soap_settings};
use crate::harness::{App, Client};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_identical_suspends_in_parallel_make_one_change() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client
                    .call(
                        "suspend",
                        json!({"id": id, "reason_code": "abuse", "verbose": true}),
                    )
                    .await
                    .ok()
            })
        })
        .collect();
    let mut changed = 0;
    for task in tasks {
        changed += i32::from(task.await.unwrap()["changed"] == json!(true));
    }
    assert_eq!(changed, 1);
    assert_eq!(client.get(id).await["version"], 2);
    assert_eq!(app.database.number("select count(*) from held").await, 1);
    assert_eq!(
        app.database
            .number("select count(*) from journal where outcome = 'applied' and action = 'suspend'")
            .await,
        1
    );
    assert_eq!(
        app.database
            .number("select count(*) from journal where outcome = 'unchanged'")
            .await,
        49
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn random_commands_through_two_replicas_leave_a_journal_without_gaps() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let mut accounts = Vec::new();
    for name in ["a", "b", "c"] {
        accounts.push(client.account(name).await);
    }
    let replica = app.replica(&client);
    let tasks: Vec<_> = (0..32_usize)
        .map(|lane| {
            let (client, accounts) = (if lane % 2 == 0 { client.clone() } else { replica.clone() }, accounts.clone());
            tokio::spawn(async move {
                for step in 0..12_usize {
                    let id = accounts[(lane + step) % accounts.len()];
                    let (call, members) = match (lane * 7 + step * 5) % 6 {
                        0 => ("freeze", json!({"id": id, "frozen_details": {"payment_url": format!("https://pay.example/{lane}")}})),
                        1 => ("unfreeze", json!({"id": id})),
                        2 => ("suspend", json!({"id": id, "reason": format!("{lane} {step}")})),
                        3 => ("unsuspend", json!({"id": id})),
                        4 => ("deactivate", json!({"id": id})),
                        _ => ("activate", json!({"id": id})),
                    };
                    client.call(call, members).await.ok();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for id in accounts {
        let entries = client
            .call("history", json!({"id": id, "limit": 1000}))
            .await
            .ok()["data"]
            .clone();
        let sequences: Vec<i64> = entries
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .filter_map(|entry| entry["sequence"].as_i64())
            .collect();
        assert_eq!(
            sequences,
            (1..=client.get(id).await["version"].as_i64().unwrap()).collect::<Vec<_>>()
        );
        // Each entry's "before" is the "after" of the last entry that changed the same field.
        let mut last: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        for entry in entries.as_array().unwrap().iter().rev() {
            for (field, before) in entry["before"].as_object().unwrap() {
                let known = last.get(field).cloned();
                assert!(
                    known.is_none_or(|known| &known == before),
                    "{field} of {id}: {entry}"
                );
                last.insert(field.clone(), entry["after"][field].clone());
            }
        }
    }
    assert_eq!(app.database.number("select count(*) from journal where id in (select id from journal group by id having count(*) > 1)").await, 0);
}

async fn listening(app: &App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn send_and_hang_up(to: SocketAddr, token: &str, number: usize) {
    let id = number % 40 + 1;
    let body = match number % 3 {
        0 => json!({"token": token, "id": id, "reason": number.to_string()}),
        1 => {
            json!({"token": token, "id": id, "frozen_details": {"payment_url": format!("https://pay.example/{number}")}})
        }
        _ => json!({"token": token, "id": id}),
    };
    let call = ["suspend", "freeze", "get"][number % 3];
    let body = body.to_string();
    let text = format!(
        "POST /api/v1.1/admin/accounts/{call} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    // A wait between zero and some hundred microseconds, so that clients hang up at every stage.
    for _ in 0..(number * 37) % 40_000 {
        std::hint::spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_clients_that_hang_up_leave_no_open_transaction() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    for number in 0..40 {
        client.account(&format!("n{number}")).await;
    }
    let (address, token) = (listening(&app).await, client.token.clone());
    tokio::task::spawn_blocking(move || {
        (0..3_000).for_each(|number| send_and_hang_up(address, &token, number));
    })
    .await
    .unwrap();

    // Later requests are committed: no pooled connection still has another request's transaction.
    let superuser = app.database.superuser().await;
    let hung_up_at: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&superuser)
        .await
        .unwrap();
    for number in 0..400 {
        let answer = client
            .call(
                "freeze",
                json!({"id": number % 40 + 1, "reason": format!("after {number}")}),
            )
            .await;
        answer.ok();
        client.get(number % 40 + 1).await;
    }
    assert_eq!(
        app.database
            .number("select count(*) from journal where after::text like '%after %'")
            .await,
        400
    );

    // The clients left no open transaction and no row lock.
    let open = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start < $1";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(open)
            .bind(hung_up_at)
            .fetch_one(&superuser)
            .await
            .unwrap(),
        0
    );
    let mut free = superuser.begin().await.unwrap();
    let locked = sqlx::query("select from account for update nowait")
        .fetch_all(&mut *free)
        .await
        .unwrap();
    assert_eq!(locked.len(), 40);
    free.rollback().await.unwrap();
    let gaps = "select count(*) from account a where a.version <> (select count(*) from journal j where j.account_id = a.id and j.outcome = 'applied')";
    assert_eq!(app.database.number(gaps).await, 0);
}

#[tokio::test]
async fn one_failing_command_does_not_fail_its_batch() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    // A constraint that only the database checks, so that the whole batch fails there.
    let superuser = app.database.superuser().await;
    sqlx::query(
        "alter table account add constraint surprise check (profile ->> 'title' <> 'forbidden')",
    )
    .execute(&superuser)
    .await
    .unwrap();
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let (call, members, expected) = match number % 10 {
                    0 => ("save", json!({"id": id, "title": "forbidden"}), 500),
                    _ => (
                        "freeze",
                        json!({"id": id, "reason": number.to_string()}),
                        200,
                    ),
                };
                (client.call(call, members).await.status.as_u16(), expected)
            })
        })
        .collect();
    for task in tasks {
        let (got, expected) = task.await.unwrap();
        assert_eq!(got, expected);
    }
    assert_eq!(client.get(id).await["version"], 28);
    assert_eq!(
        app.database
            .number("select count(*) from journal where outcome = 'applied'")
            .await,
        28
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn group_commits_can_be_limited_to_one_reseller() {
    let app = App::new().await;
    let mut owners = Vec::new();
    for name in ["Acme", "Globex", "Initech", "Umbrella"] {
        let client = app.new_reseller(name).await;
        let account = client.account("a").await;
        owners.push((app.client(&client.token), account));
    }
    let shared = "select count(*) from (select from journal where action <> 'create' group by xmin::text having count(distinct reseller_id) > 1) as mixed";
    for (scope, is_shared) in [(CommitScope::All, true), (CommitScope::Reseller, false)] {
        let settings = Settings {
            scope,
            ..Settings::default()
        };
        let service = Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            Clock::System,
            settings,
        ));
        let before = app.database.number(shared).await;
        let tasks: Vec<_> = (0..200_usize)
            .map(|number| {
                let (client, account) = &owners[number % owners.len()];
                let client = Client {
                    router: router(&service, admin_settings(), soap_settings()),
                    token: client.token.clone(),
                };
                let (account, call) = (
                    *account,
                    ["activate", "deactivate", "freeze", "unfreeze"][number % 7 % 4],
                );
                tokio::spawn(async move { client.call(call, json!({"id": account})).await.ok() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(
            app.database.number(shared).await > before,
            is_shared,
            "{scope:?}"
        );
        service.stop().await;
    }
}

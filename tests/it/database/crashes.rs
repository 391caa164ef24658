//! `kill -9` of the service, of PostgreSQL and of both under load: no acknowledged change is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::process::{Served, eventually, folder, succeed, try_request};

const ROUNDS: usize = 20;
const WRITERS: usize = 12;
/// How many changes each writer sends in a round, if nothing is killed before.
const CHANGES: usize = 40;

/// The processes that are killed in a round.
#[derive(Clone, Copy)]
enum Victim {
    Service,
    Postgres,
    Both,
}

/// The call and the member whose value is the number of a change. None has an idempotency key. A
/// suspension is made by a single statement, a new title in a transaction.
fn kind_of(change: usize) -> (&'static str, &'static str) {
    if change.is_multiple_of(2) {
        ("suspend", "reason")
    } else {
        ("save", "title")
    }
}

/// Changes one account again and again. Answers the numbers of the acknowledged changes.
fn write(
    to: std::net::SocketAddr,
    token: &str,
    account: usize,
    round: usize,
    acknowledged: &AtomicUsize,
) -> BTreeSet<usize> {
    let mut done = BTreeSet::new();
    for number in 0..CHANGES {
        let change = round * CHANGES + number;
        let (call, member) = kind_of(change);
        let mut body = json!({"token": token, "id": account});
        body[member] = json!(change.to_string());
        let answer = try_request(
            to,
            "POST",
            &format!("/api/v1.1/admin/accounts/{call}"),
            &[("content-type", "application/json")],
            &body.to_string(),
        );
        match answer {
            Ok((200, _)) => {
                done.insert(change);
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // The change may or may not have been committed.
            Ok((503, _)) => {}
            Ok((status, body)) => panic!("{status}: {body}"),
            // The service was killed.
            Err(_) => break,
        }
    }
    done
}

/// The changes in an account's history. Fails if a request has two entries.
fn made(served: &Served, token: &str, account: usize) -> BTreeSet<usize> {
    let (status, body) = served.post(
        "history",
        &json!({"token": token, "id": account, "limit": 1000}),
    );
    assert_eq!(status, 200, "{body}");
    let entries: Value = serde_json::from_str(&body).unwrap();
    let entries = entries["data"].as_array().unwrap();
    let requests: BTreeSet<_> = entries
        .iter()
        .map(|entry| entry["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(requests.len(), entries.len(), "a change was made twice");
    let number = |entry: &Value| {
        let after = &entry["after"];
        let text = after["title"]
            .as_str()
            .or(after["suspend:reseller"]["reason"].as_str());
        text?.parse().ok()
    };
    entries.iter().filter_map(number).collect()
}

#[test]
fn twenty_rounds_of_kill_9_lose_no_acknowledged_change() {
    let folder = folder();
    let mut served = Served::start(folder.path());
    succeed(folder.path(), &["reseller", "create", "--name", "Acme"]);
    let issued: Value = serde_json::from_str(&succeed(
        folder.path(),
        &["token", "create", "--reseller", "Acme", "--json"],
    ))
    .unwrap();
    let token = issued["token"].as_str().unwrap().to_owned();
    let many = WRITERS.to_string();
    succeed(
        folder.path(),
        &[
            "account",
            "create",
            "--reseller",
            "Acme",
            "--email",
            "n@example.com",
            "--count",
            &many,
        ],
    );
    let mut acknowledged = vec![BTreeSet::new(); WRITERS];
    for round in 0..ROUNDS {
        let victim = [Victim::Service, Victim::Postgres, Victim::Both][round % 3];
        let (to, postgres, count) = (
            served.listen,
            served.postmaster().unwrap(),
            AtomicUsize::new(0),
        );
        thread::scope(|scope| {
            let (token, count) = (token.as_str(), &count);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| scope.spawn(move || write(to, token, writer + 1, round, count)))
                .collect();
            // Kills while the writers run, a little later in each round.
            eventually("changes", || {
                (count.load(Ordering::SeqCst) > WRITERS + round * 4).then_some(())
            });
            match victim {
                Victim::Service => served.signal(Signal::SIGKILL),
                Victim::Postgres => kill(postgres, Signal::SIGKILL).unwrap(),
                Victim::Both => {
                    // The service is stopped first, so that it does not start PostgreSQL again.
                    served.signal(Signal::SIGSTOP);
                    kill(postgres, Signal::SIGKILL).unwrap();
                    served.signal(Signal::SIGKILL);
                }
            }
            for (all, writer) in acknowledged.iter_mut().zip(writers) {
                all.extend(writer.join().unwrap());
            }
        });
        if matches!(victim, Victim::Service | Victim::Both) {
            served.wait();
            served = Served::start(folder.path());
        }
        eventually("an answer", || {
            (served.post("get", &json!({"token": token, "id": 1})).0 == 200).then_some(())
        });
        for (writer, all) in acknowledged.iter().enumerate() {
            let made = made(&served, &token, writer + 1);
            let lost: Vec<_> = all.difference(&made).collect();
            assert!(
                lost.is_empty(),
                "round {round}: account {} lost {lost:?}",
                writer + 1
            );
            let account = served
                .post("get", &json!({"token": token, "id": writer + 1}))
                .1;
            let account: Value = serde_json::from_str(&account).unwrap();
            let latest = |member: &str| {
                let of_kind = |change: &&usize| kind_of(**change).1 == member;
                made.iter().rev().find(of_kind).map(usize::to_string)
            };
            let title = account["data"]["title"].as_str().map(str::to_owned);
            assert_eq!(title, latest("title"), "{account}");
            let holds = account["data"]["holds"].as_array().unwrap();
            let reasons: Vec<_> = holds.iter().map(|hold| hold["reason"].as_str()).collect();
            let expected = latest("reason");
            assert_eq!(reasons, [expected.as_deref()], "{account}");
        }
    }
    assert!(served.stop().success());
}

//! A hundred thousand random accounts: the remedies of `explain` unblock them, and what is upcoming
//! happens.

use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use steward::domain::{
    Account, AccountId, Actor, Authority, Command, HoldId, HoldKind, HoldPatch, Lift, NewAccount,
    Patch, ResellerId, Revision, Status, Time,
};
use uuid::Uuid;

use crate::harness::app::start_of_time;

const CASES: u32 = 100_000;

#[derive(Debug, Clone)]
enum Event {
    Command(Command),
    /// The reseller is suspended or unsuspended, which only an operator can do.
    ParentSuspended(bool),
}

fn commands() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(HoldKind::Freeze),
        Just(HoldKind::Suspend),
        Just(HoldKind::Retention)
    ];
    let at = |hours: i64| start_of_time() + TimeDelta::hours(hours);
    let span = (
        proptest::option::of(-40..60_i64),
        proptest::option::of(1..90_i64),
    );
    let place = (kind.clone(), span).prop_map(move |(kind, (start, end))| Command::Place {
        owner: None,
        kind,
        fresh: HoldId(Uuid::new_v4()),
        details: HoldPatch {
            starts_at: start.map_or(Patch::Keep, |start| Patch::Set(at(start))),
            ends_at: end.map_or(Patch::Keep, |end| {
                Patch::Set(at(start.unwrap_or_default() + end))
            }),
            ..HoldPatch::default()
        },
    });
    let command = prop_oneof![
        5 => place,
        2 => kind.prop_map(|kind| Command::Lift { owner: None, kind, only: None }),
        2 => any::<bool>().prop_map(|on| Command::SetStatus(if on { Status::Active } else { Status::Inactive })),
        3 => proptest::option::of(-60..60_i64).prop_map(move |hours| Command::SetExpiry(hours.map(at))),
        1 => proptest::option::of(1..80_i64).prop_map(move |hours| Command::SetExemption(hours.map(at))),
        1 => Just(Command::Delete { purge_after: Duration::from_hours(720) }),
        1 => Just(Command::Restore),
    ];
    prop_oneof![9 => command.prop_map(Event::Command), 1 => any::<bool>().prop_map(Event::ParentSuspended)]
}

fn actor(authority: Authority) -> Actor {
    Actor {
        bound_to: None,
        authority,
        name: authority.as_str().to_owned(),
    }
}

fn blank(now: Time) -> Account {
    let new = NewAccount {
        id: AccountId::new(7).unwrap(),
        uid: Uuid::nil(),
        reseller_id: ResellerId(1),
        reseller_suspended_at: None,
    };
    Account::create(&new, &Revision::default(), &actor(Authority::Reseller), now)
        .unwrap()
        .after
}

/// An account with a history of one change every three hours.
fn after(events: &[(Event, usize)]) -> (Account, Time) {
    let mut now = start_of_time();
    let mut account = blank(now);
    for (event, by) in events {
        match event {
            Event::Command(command) => {
                if let Ok(change) = account.decide(command, &actor(Authority::ALL[*by]), now) {
                    account = change.after;
                }
            }
            Event::ParentSuspended(on) => account.reseller_suspended_at = on.then_some(now),
        }
        now += TimeDelta::hours(3);
    }
    (account, now)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

fn history() -> impl Strategy<Value = Vec<(Event, usize)>> {
    proptest::collection::vec((commands(), 0..3_usize), 0..12)
}

/// Lifts a block on an authority that may.
fn lift_block(account: &mut Account, lift: Lift, by: Authority, now: Time) -> bool {
    let command = match lift {
        Lift::Restore => Command::Restore,
        Lift::Unfreeze => Command::Lift {
            owner: None,
            kind: HoldKind::Freeze,
            only: None,
        },
        Lift::Unsuspend => Command::Lift {
            owner: None,
            kind: HoldKind::Suspend,
            only: None,
        },
        Lift::Activate => Command::SetStatus(Status::Active),
        Lift::ExtendExpiry => Command::SetExpiry(Some(now + TimeDelta::days(365))),
        Lift::UnsuspendReseller => {
            account.reseller_suspended_at = None;
            return true;
        }
    };
    let decided = account.decide(&command, &actor(by), now);
    if let Ok(change) = &decided {
        account.clone_from(&change.after);
    }
    decided.is_ok()
}

#[test]
fn every_remedy_that_explain_lists_in_any_order_makes_an_account_active() {
    let mut blocked = 0_u32;
    let order = proptest::collection::vec(any::<u16>(), 12);
    runner(CASES)
        .run(&(history(), order), |(events, order)| {
            let (mut account, now) = after(&events);
            let mut blocks = account.explain(now).blocks;
            prop_assert_eq!(
                blocks.is_empty(),
                account.state(now).blocked_by().is_empty()
            );
            let mut keys = order.into_iter();
            blocks.sort_by_cached_key(|_| keys.next());
            // Before a deleted account is restored, no other block can be lifted. Those are tried
            // again.
            let again: Vec<_> = blocks
                .iter()
                .filter(|block| !lift_block(&mut account, block.lift, block.lifted_by[0], now))
                .collect();
            prop_assert!(
                again.is_empty() || blocks.iter().any(|block| block.lift == Lift::Restore)
            );
            for block in again {
                prop_assert!(
                    lift_block(&mut account, block.lift, block.lifted_by[0], now),
                    "{:?} is refused",
                    block.lift
                );
            }
            prop_assert!(
                account.state(now).blocked_by().is_empty(),
                "{:?} is left of {:?}",
                account.state(now),
                events
            );
            Ok(())
        })
        .unwrap();
    // A sample of the same generator: most of its accounts are blocked.
    let mut sample = runner(CASES);
    for _ in 0..1_000 {
        let (account, now) = after(&history().new_tree(&mut sample).unwrap().current());
        blocked += u32::from(!account.state(now).blocked_by().is_empty());
    }
    assert!(blocked > 500, "{blocked} of 1,000");
}

#[test]
fn each_remedy_alone_leads_to_the_state_that_explain_predicts() {
    runner(CASES / 10)
        .run(&history(), |events| {
            let (account, now) = after(&events);
            for block in account.explain(now).blocks {
                let mut unblocked = account.clone();
                if lift_block(&mut unblocked, block.lift, block.lifted_by[0], now) {
                    prop_assert_eq!(
                        unblocked.state(now),
                        block.state_after,
                        "after {:?} of {:?}",
                        block.lift,
                        account
                    );
                } else {
                    prop_assert!(account.deleted_at.is_some());
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn upcoming_state_changes_happen_as_predicted() {
    runner(CASES / 10)
        .run(&history(), |events| {
            let (account, now) = after(&events);
            let coming = account.upcoming(now);
            prop_assert!(coming.is_sorted_by_key(|one| one.at));
            // Between two upcoming changes the state stays the same.
            let mut state = account.state(now);
            let mut at = now;
            for one in &coming {
                prop_assert!(
                    one.at == at || account.state(one.at - TimeDelta::microseconds(1)) == state,
                    "before {:?} of {:?}",
                    one,
                    account
                );
                prop_assert_eq!(account.state(one.at), one.state.clone());
                (state, at) = (one.state.clone(), one.at);
            }
            prop_assert_eq!(account.state(at + TimeDelta::days(4_000)), state);
            Ok(())
        })
        .unwrap();
}

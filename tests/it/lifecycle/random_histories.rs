//! Random histories of all commands by two authorities, compared with a small independent model.
//! After each step outcome, state, version and payment URL must agree.

use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::Config;
use steward::domain::{
    Account, AccountId, Actor, Authority, Command, HoldId, HoldKind, HoldPatch, NewAccount,
    Outcome, Patch, PaymentUrl, ResellerId, Revision, Status,
};
use uuid::Uuid;

use crate::harness::app::start_of_time;

/// One step of a history. Times are in hours.
#[derive(Debug, Clone)]
enum Step {
    Place {
        kind: usize,
        by: usize,
        url: Option<u8>,
        hours: Option<u8>,
    },
    Lift {
        kind: usize,
        by: usize,
    },
    Status(bool),
    Expiry(Option<i8>),
    Delete,
    Restore,
    ParentSuspended(bool),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let place = (
        0..3_usize,
        0..2_usize,
        proptest::option::of(0..3_u8),
        proptest::option::of(1..40_u8),
    );
    prop_oneof![
        6 => place.prop_map(|(kind, by, url, hours)| Step::Place { kind, by, url, hours }),
        5 => (0..3_usize, 0..2_usize).prop_map(|(kind, by)| Step::Lift { kind, by }),
        2 => any::<bool>().prop_map(Step::Status),
        2 => proptest::option::of(-40..40_i8).prop_map(Step::Expiry),
        1 => Just(Step::Delete),
        1 => Just(Step::Restore),
        1 => any::<bool>().prop_map(Step::ParentSuspended),
        3 => (1..30_u8).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Held {
    url: Option<u8>,
    end: Option<i64>,
}

/// The model: three kinds of hold by two authorities, 0 for the operator and 1 for the reseller.
#[derive(Debug, Default)]
struct Model {
    hour: i64,
    version: i64,
    off: bool,
    expiry: Option<i64>,
    deleted: bool,
    parent: bool,
    holds: [[Option<Held>; 2]; 3],
}

const FREEZE: usize = 0;
const SUSPEND: usize = 1;
const RETENTION: usize = 2;

impl Model {
    fn holds(&self, kind: usize, by: usize) -> bool {
        self.holds[kind][by]
            .as_ref()
            .is_some_and(|held| held.end.is_none_or(|end| end > self.hour))
    }

    /// The outcome of a step: "applied", "unchanged" or "refused".
    fn step(&mut self, step: &Step) -> &'static str {
        let was = self.version;
        let refused = match step {
            Step::Wait(hours) => {
                self.hour += i64::from(*hours);
                false
            }
            Step::ParentSuspended(on) => {
                self.parent = *on;
                false
            }
            Step::Restore => {
                self.version += i64::from(self.deleted);
                self.deleted = false;
                false
            }
            _ if self.deleted => true,
            Step::Place {
                kind,
                by,
                url,
                hours,
            } => {
                let known = if self.holds(*kind, *by) {
                    self.holds[*kind][*by].clone()
                } else {
                    None
                };
                let base = known.clone().unwrap_or_default();
                let new = Held {
                    url: url.or(base.url),
                    // A call that names no end wants the hold until it is lifted.
                    end: hours.map(|hours| self.hour + i64::from(hours)),
                };
                self.version += i64::from(known.as_ref() != Some(&new));
                self.holds[*kind][*by] = Some(new);
                false
            }
            Step::Lift { kind, by } => {
                self.version += i64::from(self.holds(*kind, *by));
                self.holds[*kind][*by] = None;
                false
            }
            Step::Status(on) => {
                self.version += i64::from(self.off == *on);
                self.off = !*on;
                false
            }
            Step::Expiry(hours) => {
                let new = hours.map(|hours| self.hour + i64::from(hours));
                self.version += i64::from(self.expiry != new);
                self.expiry = new;
                false
            }
            Step::Delete => {
                let kept =
                    self.holds(RETENTION, 0) || self.holds(RETENTION, 1) || self.holds(SUSPEND, 0);
                self.version += i64::from(!kept);
                self.deleted = !kept;
                kept
            }
        };
        match (refused, self.version == was) {
            (true, _) => "refused",
            (false, true) => "unchanged",
            (false, false) => "applied",
        }
    }

    fn blocked_by(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        let mut note = |is: bool, word| {
            if is {
                words.push(word);
            }
        };
        note(self.deleted, "deleted");
        note(self.holds(SUSPEND, 0), "suspended:operator");
        note(self.parent, "suspended:reseller_account");
        note(self.holds(SUSPEND, 1), "suspended:reseller");
        note(self.off, "inactive");
        note(self.holds(FREEZE, 0) || self.holds(FREEZE, 1), "frozen");
        note(self.expiry.is_some_and(|at| at <= self.hour), "expired");
        words
    }

    fn url(&self) -> Option<u8> {
        let url = |by: usize| {
            self.holds[FREEZE][by]
                .as_ref()
                .filter(|_| self.holds(FREEZE, by))
                .and_then(|held| held.url)
        };
        url(1).or(url(0))
    }
}

fn url(number: u8) -> PaymentUrl {
    PaymentUrl::parse(&format!("https://pay.example/{number}")).unwrap()
}

fn command(step: &Step, hour: i64) -> Option<(Command, Authority)> {
    let at = |hours: i64| start_of_time() + TimeDelta::hours(hours);
    let who = |by: usize| [Authority::Operator, Authority::Reseller][by];
    let kind = |kind: usize| [HoldKind::Freeze, HoldKind::Suspend, HoldKind::Retention][kind];
    Some(match step {
        Step::Place {
            kind: what,
            by,
            url: number,
            hours,
        } => {
            let details = HoldPatch {
                payment_url: number.map_or(Patch::Keep, |number| Patch::Set(url(number))),
                ends_at: hours.map_or(Patch::Keep, |hours| Patch::Set(at(hour + i64::from(hours)))),
                ..HoldPatch::default()
            };
            (
                Command::Place {
                    owner: None,
                    kind: kind(*what),
                    fresh: HoldId(Uuid::new_v4()),
                    details,
                },
                who(*by),
            )
        }
        Step::Lift { kind: what, by } => (
            Command::Lift {
                owner: None,
                kind: kind(*what),
                only: None,
            },
            who(*by),
        ),
        Step::Status(on) => (
            Command::SetStatus(if *on {
                Status::Active
            } else {
                Status::Inactive
            }),
            Authority::Reseller,
        ),
        Step::Expiry(hours) => (
            Command::SetExpiry(hours.map(|hours| at(hour + i64::from(hours)))),
            Authority::Reseller,
        ),
        Step::Delete => (
            Command::Delete {
                purge_after: Duration::from_mins(1),
            },
            Authority::Reseller,
        ),
        Step::Restore => (Command::Restore, Authority::Operator),
        Step::ParentSuspended(_) | Step::Wait(_) => return None,
    })
}

fn check(steps: &[Step]) -> Result<(), TestCaseError> {
    let by = |authority: Authority| Actor {
        bound_to: None,
        authority,
        name: authority.as_str().to_owned(),
    };
    let new = NewAccount {
        id: AccountId::new(1).unwrap(),
        uid: Uuid::nil(),
        reseller_id: ResellerId(1),
        reseller_suspended_at: None,
    };
    let mut account: Account = Account::create(
        &new,
        &Revision::default(),
        &by(Authority::Reseller),
        start_of_time(),
    )
    .unwrap()
    .after;
    let mut model = Model {
        version: 1,
        ..Model::default()
    };
    for step in steps {
        let next = command(step, model.hour);
        let expected = model.step(step);
        let now = start_of_time() + TimeDelta::hours(model.hour);
        match next {
            None => account.reseller_suspended_at = model.parent.then_some(now),
            Some((command, authority)) => {
                let decided = account.decide(&command, &by(authority), now);
                let outcome = match &decided {
                    Err(_) => "refused",
                    Ok(change) => change.outcome().as_str(),
                };
                prop_assert_eq!(outcome, expected, "{:?}", step);
                if let Ok(change) = decided {
                    prop_assert_eq!(
                        change.outcome() == Outcome::Unchanged,
                        change.events.is_empty()
                            && change.holds.is_empty()
                            && change.after == account
                    );
                    account = change.after;
                }
            }
        }
        let state = account.state(now);
        let words: Vec<_> = state
            .blocked_by()
            .iter()
            .map(|block| block.as_str())
            .collect();
        prop_assert_eq!(&words, &model.blocked_by(), "after {:?}", step);
        prop_assert_eq!(
            state.effective_status(),
            words.first().copied().unwrap_or("active")
        );
        prop_assert_eq!(account.version, model.version, "after {:?}", step);
        prop_assert_eq!(account.payment_url(now).cloned(), model.url().map(url));
        let explained: std::collections::BTreeSet<_> = account
            .explain(now)
            .blocks
            .iter()
            .map(|detail| detail.block)
            .collect();
        prop_assert_eq!(
            explained.into_iter().collect::<Vec<_>>(),
            state.blocked_by()
        );
    }
    Ok(())
}

#[test]
fn ten_thousand_random_histories_agree_with_the_model() {
    let mut runner = proptest::test_runner::TestRunner::new(Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&proptest::collection::vec(step(), 1..40), |steps| {
            check(&steps)
        })
        .unwrap();
}

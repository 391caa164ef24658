//! Time-dependent rules of the domain: notices, exemption, the purge plan.

use std::time::Duration;

use chrono::TimeDelta;
use steward::domain::{
    Account, AccountId, Actor, Authority, Command, Conflict, Error, Event, Fact, HoldId, HoldKind,
    HoldPatch, NewAccount, Outcome, PURGE_GRACE, Patch, PurgePolicy, PurgeStop, ResellerId,
    Revision, Time,
};
use uuid::Uuid;

use crate::harness::app::start_of_time;

const DAY: TimeDelta = TimeDelta::days(1);
const POLICY: PurgePolicy = PurgePolicy {
    is_on: true,
    grace: PURGE_GRACE,
    reseller_released_at: None,
};

struct Story {
    account: Account,
    now: Time,
}

impl Story {
    fn new() -> Self {
        let now = start_of_time();
        let by = Actor {
            bound_to: None,
            authority: Authority::Reseller,
            name: "reseller".to_owned(),
        };
        let new = NewAccount {
            id: AccountId::new(7).unwrap(),
            uid: Uuid::nil(),
            reseller_id: ResellerId(1),
            reseller_suspended_at: None,
        };
        Self {
            account: Account::create(&new, &Revision::default(), &by, now)
                .unwrap()
                .after,
            now,
        }
    }

    fn by(&mut self, authority: Authority, command: &Command) -> Result<Outcome, Error> {
        let change = self.account.decide(
            command,
            &Actor {
                bound_to: None,
                authority,
                name: authority.as_str().to_owned(),
            },
            self.now,
        )?;
        let outcome = change.outcome();
        self.account = change.after;
        Ok(outcome)
    }

    fn reseller(&mut self, command: &Command) {
        self.by(Authority::Reseller, command).unwrap();
    }

    /// The notices that are due now, with the days that are left.
    fn announced(&mut self) -> Vec<(Event, i64)> {
        let mut notices = Vec::new();
        let by = Actor {
            bound_to: None,
            authority: Authority::System,
            name: "steward".to_owned(),
        };
        for _ in 0..10 {
            let change = self
                .account
                .decide(&Command::Announce, &by, self.now)
                .unwrap();
            if change.outcome() == Outcome::Unchanged {
                return notices;
            }
            let days = change
                .fields
                .iter()
                .find(|field| field.field.starts_with("days_to_"))
                .map(|field| field.after.clone());
            let Some(Fact::Number(days)) = days else {
                panic!("{:?}", change.fields)
            };
            notices.push((change.events[0], days));
            self.account = change.after;
        }
        panic!("more notices than expected: {notices:?}");
    }

    fn plan(&mut self) -> Option<Time> {
        self.by(Authority::System, &Command::PlanPurge(POLICY))
            .unwrap();
        self.account.purge_due_at
    }

    /// An account in the purge plan, after its first notice.
    fn planned() -> Self {
        let mut story = Self::new();
        story.reseller(&Command::SetExpiry(Some(story.now)));
        story.announced();
        story.now += DAY * 20;
        assert_eq!(story.plan(), Some(story.now + DAY * 14));
        assert_eq!(story.announced(), [(Event::Purging, 14)]);
        story
    }
}

fn place(kind: HoldKind) -> Command {
    Command::Place {
        owner: None,
        kind,
        fresh: HoldId(Uuid::new_v4()),
        details: HoldPatch::default(),
    }
}

#[test]
fn automatic_commands_cannot_block_an_exempt_account_and_manual_ones_can() {
    let mut story = Story::new();
    story.reseller(&Command::SetExemption(Some(story.now + DAY)));
    for kind in [HoldKind::Freeze, HoldKind::Suspend] {
        assert_eq!(
            story.by(Authority::System, &place(kind)),
            Err(Error::Conflict(Conflict::Exempt))
        );
    }
    assert_eq!(
        story.by(Authority::System, &place(HoldKind::Retention)),
        Ok(Outcome::Applied)
    );
    assert_eq!(
        story.by(Authority::Reseller, &place(HoldKind::Freeze)),
        Ok(Outcome::Applied)
    );
    assert_eq!(
        story.by(Authority::Operator, &place(HoldKind::Suspend)),
        Ok(Outcome::Applied)
    );
    story.now += DAY;
    assert_eq!(
        story.by(Authority::System, &place(HoldKind::Freeze)),
        Ok(Outcome::Applied)
    );
    assert!(
        story
            .by(
                Authority::Reseller,
                &Command::SetExemption(Some(story.now - DAY))
            )
            .is_err(),
        "an exemption that has ended has no effect"
    );
    assert_eq!(
        story.by(Authority::Reseller, &Command::SetExemption(None)),
        Ok(Outcome::Applied)
    );
    assert_eq!(
        story.by(Authority::Reseller, &Command::SetExemption(None)),
        Ok(Outcome::Unchanged)
    );
}

#[test]
fn an_expiry_is_announced_14_7_and_1_days_before_and_when_it_arrives() {
    let mut story = Story::new();
    let at = story.now + DAY * 20;
    story.reseller(&Command::SetExpiry(Some(at)));
    assert_eq!(story.announced(), []);
    for (days, event) in [
        (14, Event::Expiring),
        (7, Event::Expiring),
        (1, Event::Expiring),
        (0, Event::Expired),
    ] {
        story.now = at - DAY * days - TimeDelta::microseconds(1);
        assert_eq!(story.announced(), []);
        story.now = at - DAY * days;
        assert_eq!(story.announced(), [(event, i64::from(days))]);
        assert_eq!(story.announced(), []);
    }
    // An expired account whose date moves to another past date gets no notice. An extension starts
    // all notices again, even if the jobs run late.
    story.reseller(&Command::SetExpiry(Some(at - DAY)));
    assert_eq!(story.announced(), []);
    let next = story.now + DAY * 10;
    story.reseller(&Command::SetExpiry(Some(next)));
    story.now = next + DAY * 100;
    assert_eq!(
        story.announced(),
        [
            (Event::Expiring, 7),
            (Event::Expiring, 1),
            (Event::Expired, 0)
        ],
        "14 days before, it was not set"
    );
    // An expiry in the past is announced at once.
    let mut late = Story::new();
    late.reseller(&Command::SetExpiry(Some(late.now - DAY)));
    assert_eq!(late.announced(), [(Event::Expired, 0)]);
}

#[test]
fn a_restored_account_gets_only_the_notices_that_still_apply() {
    let mut story = Story::new();
    let at = story.now + DAY * 20;
    story.reseller(&Command::SetExpiry(Some(at)));
    story.reseller(&Command::Delete {
        purge_after: Duration::from_hours(24 * 300),
    });
    story.now = at - DAY * 3;
    assert_eq!(story.announced(), [], "a deleted account gets no notice");
    story.reseller(&Command::Restore);
    assert_eq!(story.announced(), [], "missed warnings are not sent later");
    story.now = at - DAY;
    assert_eq!(story.announced(), [(Event::Expiring, 1)]);
    story.reseller(&Command::Delete {
        purge_after: Duration::from_hours(24 * 300),
    });
    story.now = at + DAY;
    story.reseller(&Command::Restore);
    assert_eq!(
        story.announced(),
        [(Event::Expired, 0)],
        "but the expiry is"
    );
    assert_eq!(story.announced(), []);
}

#[test]
fn setting_an_expiry_under_an_exemption_announces_nothing_again() {
    let mut story = Story::new();
    let until = story.now + DAY * 10;
    story.reseller(&Command::SetExpiry(Some(story.now + DAY)));
    story.reseller(&Command::SetExemption(Some(until)));
    story.now = until - DAY * 7;
    story.reseller(&Command::SetExpiry(Some(story.now - DAY * 50)));
    assert_eq!(story.announced(), [(Event::Expiring, 7)]);
    story.now = until;
    assert_eq!(
        story.announced(),
        [(Event::Expiring, 1), (Event::Expired, 0)]
    );
}

#[test]
fn a_purge_never_comes_earlier_than_its_last_warning_promised() {
    let mut story = Story::planned();
    let due = story.account.purge_due_at.unwrap();
    assert_eq!(
        story.by(Authority::System, &Command::Purge(POLICY)),
        Err(Error::Conflict(Conflict::NotPlanned))
    );
    story.now = due - DAY * 7;
    assert_eq!(story.announced(), [(Event::Purging, 7)]);
    assert_eq!(story.account.purge_due_at, Some(due));
    // The last warning comes three days late, so the purge is put off by three days.
    story.now = due + DAY * 3;
    assert_eq!(story.announced(), [(Event::Purging, 1)]);
    assert_eq!(story.account.purge_due_at, Some(story.now + DAY));
    assert!(
        story
            .by(Authority::System, &Command::Purge(POLICY))
            .is_err()
    );
    story.now += DAY;
    assert_eq!(story.announced(), []);
    assert_eq!(
        story.by(
            Authority::System,
            &Command::Purge(PurgePolicy {
                is_on: false,
                ..POLICY
            })
        ),
        Err(Error::Conflict(Conflict::NotPlanned))
    );
    assert_eq!(
        story.by(Authority::System, &Command::Purge(POLICY)),
        Ok(Outcome::Applied)
    );
}

#[test]
fn every_change_that_affects_the_purge_takes_an_account_out_of_the_plan() {
    let later = start_of_time() + DAY * 400;
    let ends_at = HoldPatch {
        ends_at: Patch::Set(later),
        ..HoldPatch::default()
    };
    let changes = [
        (Authority::Reseller, Command::SetExpiry(Some(later))),
        (Authority::Reseller, Command::SetExpiry(None)),
        (Authority::Reseller, Command::SetExemption(Some(later))),
        (Authority::Reseller, place(HoldKind::Retention)),
        (Authority::Operator, place(HoldKind::Retention)),
        (Authority::Operator, place(HoldKind::Suspend)),
        (
            Authority::Operator,
            Command::Place {
                owner: None,
                kind: HoldKind::Freeze,
                fresh: HoldId(Uuid::new_v4()),
                details: ends_at,
            },
        ),
        (
            Authority::Reseller,
            Command::Delete {
                purge_after: Duration::from_hours(24),
            },
        ),
    ];
    for (by, command) in changes {
        let mut story = Story::planned();
        story.by(by, &command).unwrap();
        assert_eq!(
            (story.account.purge_due_at, story.account.warn_at),
            (None, None),
            "{command:?}"
        );
        assert_eq!(story.announced(), [], "{command:?}");
    }
    // Changes that do not affect the purge leave the account in the plan.
    let harmless = [
        place(HoldKind::Freeze),
        place(HoldKind::Suspend),
        Command::Lift {
            owner: None,
            kind: HoldKind::Freeze,
            only: None,
        },
        Command::SetStatus(steward::domain::Status::Inactive),
    ];
    for command in harmless {
        let mut story = Story::planned();
        let due = story.account.purge_due_at;
        story.reseller(&command);
        assert_eq!(story.account.purge_due_at, due, "{command:?}");
    }
    // Changes of the reseller's policy take effect when the plan is made again.
    let mut story = Story::planned();
    for (policy, stop) in [
        (
            PurgePolicy {
                is_on: false,
                ..POLICY
            },
            Some(PurgeStop::Off),
        ),
        (
            PurgePolicy {
                grace: DAY * 60,
                ..POLICY
            },
            None,
        ),
        (
            PurgePolicy {
                reseller_released_at: Some(story.now),
                ..POLICY
            },
            None,
        ),
    ] {
        let mut planned = Story {
            account: story.account.clone(),
            now: story.now,
        };
        planned
            .by(Authority::System, &Command::PlanPurge(policy))
            .unwrap();
        assert_eq!(planned.account.purge_due_at, None, "{policy:?}");
        assert!(stop.is_none() || planned.account.purge_stop(&policy, planned.now) == stop);
    }
    story.account.reseller_suspended_at = Some(story.now);
    assert_eq!(story.plan(), None);
}

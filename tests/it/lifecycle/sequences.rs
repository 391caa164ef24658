//! Sequences of commands and their results, in the domain without a database. Parallel requests are
//! tested in `group_commit/concurrency.rs`.

use std::time::Duration;

use chrono::TimeDelta;
use steward::domain::{
    Account, AccountId, Actor, Authority, Block, Change, Command, Conflict, Error, Event, HoldId,
    HoldKind, HoldPatch, NewAccount, Outcome, PURGE_GRACE, Patch, PaymentUrl, ProfilePatch,
    PurgePolicy, PurgeStop, ResellerId, Revision, Status, Time,
};
use uuid::Uuid;

use crate::harness::app::start_of_time;

const DAY: TimeDelta = TimeDelta::days(1);

/// An account with a clock.
/// The policy of a reseller whose accounts are purged.
const POLICY: PurgePolicy = PurgePolicy {
    is_on: true,
    grace: PURGE_GRACE,
    reseller_released_at: None,
};

struct Story {
    account: Account,
    now: Time,
}

fn actor(authority: Authority) -> Actor {
    Actor {
        bound_to: None,
        authority,
        name: authority.as_str().to_owned(),
    }
}

fn freeze(url: Option<&str>) -> Command {
    let payment_url = url.map_or(Patch::Keep, |url| {
        Patch::Set(PaymentUrl::parse(url).unwrap())
    });
    Command::Place {
        owner: None,
        kind: HoldKind::Freeze,
        fresh: HoldId(Uuid::new_v4()),
        details: HoldPatch {
            payment_url,
            ..HoldPatch::default()
        },
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

fn until(kind: HoldKind, ends_at: Time) -> Command {
    Command::Place {
        owner: None,
        kind,
        fresh: HoldId(Uuid::new_v4()),
        details: HoldPatch {
            ends_at: Patch::Set(ends_at),
            ..HoldPatch::default()
        },
    }
}

fn lift(kind: HoldKind) -> Command {
    Command::Lift {
        owner: None,
        kind,
        only: None,
    }
}

fn delete() -> Command {
    Command::Delete {
        purge_after: Duration::from_hours(30 * 24),
    }
}

impl Story {
    fn new() -> Self {
        let now = start_of_time();
        let new = NewAccount {
            id: AccountId::new(7).unwrap(),
            uid: Uuid::nil(),
            reseller_id: ResellerId(1),
            reseller_suspended_at: None,
        };
        let account = Account::create(&new, &Revision::default(), &actor(Authority::Reseller), now)
            .unwrap()
            .after;
        Self { account, now }
    }

    fn by(&mut self, authority: Authority, command: &Command) -> Result<Change, Error> {
        let change = self.account.decide(command, &actor(authority), self.now)?;
        assert_eq!(
            change.outcome() == Outcome::Applied,
            change.after.version == self.account.version + 1
        );
        assert_eq!(
            change.outcome() == Outcome::Unchanged,
            change.after == self.account
        );
        self.account = change.after.clone();
        Ok(change)
    }

    fn reseller(&mut self, command: &Command) -> Change {
        self.by(Authority::Reseller, command).unwrap()
    }

    fn operator(&mut self, command: &Command) -> Change {
        self.by(Authority::Operator, command).unwrap()
    }

    fn state(&self) -> &'static str {
        self.account.state(self.now).effective_status()
    }
}

#[test]
fn unfreezing_keeps_the_suspension() {
    let mut story = Story::new();
    story.reseller(&freeze(None));
    story.reseller(&place(HoldKind::Suspend));
    story.reseller(&lift(HoldKind::Freeze));
    assert_eq!(story.state(), "suspended:reseller");
}

#[test]
fn unsuspending_keeps_the_freeze_and_its_url() {
    let mut story = Story::new();
    story.reseller(&freeze(Some("https://pay.example")));
    story.reseller(&place(HoldKind::Suspend));
    story.reseller(&lift(HoldKind::Suspend));
    assert_eq!(story.state(), "frozen");
    assert_eq!(
        story.account.payment_url(story.now).map(PaymentUrl::as_str),
        Some("https://pay.example")
    );
}

#[test]
fn a_reseller_cannot_lift_what_the_operator_placed() {
    let mut story = Story::new();
    story.operator(&place(HoldKind::Suspend));
    story.reseller(&place(HoldKind::Suspend));
    assert_eq!(
        story.reseller(&lift(HoldKind::Suspend)).outcome(),
        Outcome::Applied
    );
    assert_eq!(story.state(), "suspended:operator");
    assert_eq!(
        story.reseller(&lift(HoldKind::Suspend)).outcome(),
        Outcome::Unchanged
    );
    assert_eq!(story.state(), "suspended:operator");
}

#[test]
fn activating_does_not_unfreeze() {
    let mut story = Story::new();
    story.reseller(&Command::SetStatus(Status::Inactive));
    story.reseller(&freeze(None));
    story.reseller(&Command::SetStatus(Status::Active));
    assert_eq!(story.state(), "frozen");
}

#[test]
fn extending_the_expiry_does_not_unfreeze() {
    let mut story = Story::new();
    story.reseller(&freeze(None));
    story.reseller(&Command::SetExpiry(Some(story.now - DAY)));
    assert_eq!(
        story.account.state(story.now).blocked_by(),
        [Block::Frozen, Block::Expired]
    );
    story.reseller(&Command::SetExpiry(Some(story.now + DAY)));
    assert_eq!(story.account.state(story.now).blocked_by(), [Block::Frozen]);
}

#[test]
fn suspending_the_reseller_and_lifting_it_leaves_every_account_as_before() {
    let mut story = Story::new();
    story.reseller(&freeze(Some("https://pay.example")));
    let before = story.account.clone();
    story.account.reseller_suspended_at = Some(story.now);
    assert_eq!(story.state(), "suspended:reseller_account");
    story.account.reseller_suspended_at = None;
    assert_eq!(story.account, before);
    assert_eq!(story.state(), "frozen");
}

#[test]
fn a_deleted_account_is_restored_as_it_was() {
    let mut story = Story::new();
    story.reseller(&freeze(None));
    story.reseller(&delete());
    assert_eq!(story.state(), "deleted");
    let purge_at = story.account.purge_at;
    story.now += DAY;
    assert_eq!(
        story.by(Authority::Reseller, &delete()),
        Err(Error::AccountDeleted)
    );
    assert_eq!(story.account.purge_at, purge_at);
    story.reseller(&Command::Restore);
    assert_eq!(story.state(), "frozen");
    assert_eq!(
        story.reseller(&Command::Restore).outcome(),
        Outcome::Unchanged
    );
}

#[test]
fn a_hold_ends_at_its_end_with_all_jobs_stopped() {
    let mut story = Story::new();
    story.reseller(&until(HoldKind::Suspend, story.now + DAY));
    let end = story.now + DAY;
    assert_eq!(
        story
            .account
            .state(end - TimeDelta::microseconds(1))
            .effective_status(),
        "suspended:reseller"
    );
    assert_eq!(story.account.state(end).effective_status(), "active");
}

#[test]
fn a_retention_hold_keeps_an_expired_account_out_of_the_purge_plan() {
    let mut story = Story::new();
    story.reseller(&Command::SetExpiry(Some(story.now)));
    story.operator(&place(HoldKind::Retention));
    story.now += DAY * 31;
    assert_eq!(
        story.account.purge_stop(&POLICY, story.now),
        Some(PurgeStop::Retention)
    );
    assert_eq!(
        story.state(),
        "expired",
        "retention blocks no use, so it does not show"
    );
    story.operator(&lift(HoldKind::Retention));
    assert_eq!(story.account.purge_stop(&POLICY, story.now), None);
}

#[test]
fn a_back_dated_expiry_cannot_purge_before_thirty_days() {
    let mut story = Story::new();
    let set_at = story.now;
    story.reseller(&Command::SetExpiry(Some(set_at - DAY * 60)));
    assert_eq!(
        story.account.purge_eligible_at(&POLICY),
        Some(set_at + DAY * 30)
    );
    assert_eq!(
        story.account.purge_stop(&POLICY, set_at + DAY * 29),
        Some(PurgeStop::TooEarly {
            eligible_at: set_at + DAY * 30
        })
    );
    assert_eq!(story.account.purge_stop(&POLICY, set_at + DAY * 30), None);
}

#[test]
fn lifting_an_operators_block_starts_the_thirty_days_again() {
    let mut story = Story::new();
    story.reseller(&Command::SetExpiry(Some(story.now)));
    story.operator(&place(HoldKind::Suspend));
    story.now += DAY * 40;
    story.operator(&lift(HoldKind::Suspend));
    assert_eq!(
        story.account.purge_eligible_at(&POLICY),
        Some(story.now + DAY * 30)
    );
    assert_eq!(
        story.account.purge_eligible_at(&PurgePolicy {
            reseller_released_at: Some(story.now + DAY),
            ..POLICY
        }),
        Some(story.now + DAY * 31)
    );
}

#[test]
fn a_late_unfreeze_does_not_lift_a_newer_freeze() {
    let mut story = Story::new();
    story.reseller(&freeze(None));
    let earlier = story.account.holds[0].id;
    story.reseller(&lift(HoldKind::Freeze));
    story.reseller(&freeze(None));
    let late = Command::Lift {
        owner: None,
        kind: HoldKind::Freeze,
        only: Some(earlier),
    };
    assert_eq!(
        story.by(Authority::Reseller, &late),
        Err(Error::Conflict(Conflict::StaleHold))
    );
    assert_eq!(story.state(), "frozen");
    let open = story.account.holds[0].id;
    story.reseller(&Command::Lift {
        owner: None,
        kind: HoldKind::Freeze,
        only: Some(open),
    });
    assert_eq!(story.state(), "active");
}

#[test]
fn writing_back_an_unchanged_account_changes_nothing() {
    let mut story = Story::new();
    let profile = ProfilePatch {
        name: Patch::Set("acme".to_owned()),
        is_smart: Patch::Set(true),
        ..ProfilePatch::default()
    };
    let written = Revision {
        profile,
        status: Some(Status::Inactive),
        expires_at: Some(Some(story.now + DAY)),
    };
    let command = Command::Revise(Box::new(written));
    let change = story.reseller(&command);
    assert_eq!(change.events, [Event::Deactivated, Event::ExpiryChanged]);
    let before = story.account.clone();
    story.now += DAY;
    assert_eq!(story.reseller(&command).outcome(), Outcome::Unchanged);
    assert_eq!(story.account, before);
}

#[test]
fn freezing_again_without_a_url_keeps_the_url() {
    let mut story = Story::new();
    story.reseller(&freeze(Some("https://pay.example")));
    let since = story.account.holds[0].since();
    story.now += DAY;
    assert_eq!(story.reseller(&freeze(None)).outcome(), Outcome::Unchanged);
    assert_eq!(
        story.account.payment_url(story.now).map(PaymentUrl::as_str),
        Some("https://pay.example")
    );
    let change = story.reseller(&freeze(Some("https://other.example")));
    assert_eq!(
        (change.outcome(), change.events),
        (Outcome::Applied, vec![Event::Frozen])
    );
    assert_eq!(
        story.account.holds[0].since(),
        since,
        "new details do not move the beginning"
    );
    assert_eq!(story.account.holds[0].revision, 2);
}

#[test]
fn operations_by_different_authorities_commute() {
    let by_reseller = [
        freeze(Some("https://r.example")),
        place(HoldKind::Suspend),
        lift(HoldKind::Freeze),
        Command::SetStatus(Status::Inactive),
        Command::SetExpiry(None),
    ];
    let by_operator = [
        freeze(Some("https://o.example")),
        place(HoldKind::Suspend),
        lift(HoldKind::Suspend),
        place(HoldKind::Retention),
    ];
    for one in &by_reseller {
        for other in &by_operator {
            let mut first = Story::new();
            first.reseller(one);
            first.operator(other);
            let mut second = Story::new();
            second.operator(other);
            second.reseller(one);
            assert_eq!(
                first.account.state(first.now),
                second.account.state(second.now),
                "{one:?} and {other:?}"
            );
            assert_eq!(first.account.version, second.account.version);
        }
    }
}

#[test]
fn deletion_is_refused_under_retention_and_under_the_operators_suspension() {
    for (kind, authority, conflict) in [
        (
            HoldKind::Retention,
            Authority::Reseller,
            Conflict::RetentionHold,
        ),
        (
            HoldKind::Retention,
            Authority::Operator,
            Conflict::RetentionHold,
        ),
        (
            HoldKind::Suspend,
            Authority::Operator,
            Conflict::SuspendedByOperator,
        ),
    ] {
        let mut story = Story::new();
        story.by(authority, &until(kind, story.now + DAY)).unwrap();
        assert_eq!(
            story.by(Authority::Reseller, &delete()),
            Err(Error::Conflict(conflict))
        );
        story.now += DAY;
        story.reseller(&delete());
    }
    let mut story = Story::new();
    story.reseller(&place(HoldKind::Suspend));
    story.reseller(&delete());
}

#[test]
fn a_lapsed_hold_is_replaced_by_a_new_one() {
    let mut story = Story::new();
    story.reseller(&until(HoldKind::Freeze, story.now + DAY));
    let first = story.account.holds[0].id;
    story.now += DAY * 2;
    assert_eq!(
        story.reseller(&lift(HoldKind::Freeze)).outcome(),
        Outcome::Unchanged,
        "what has ended cannot be lifted"
    );
    story.reseller(&freeze(None));
    assert_eq!(story.account.holds.len(), 1);
    assert_ne!(story.account.holds[0].id, first);
    assert_eq!(story.account.holds[0].since(), story.now);
}

#[test]
fn a_scheduled_hold_blocks_from_its_start_and_can_be_called_off() {
    let mut story = Story::new();
    let start = story.now + DAY;
    let details = HoldPatch {
        starts_at: Patch::Set(start),
        ..HoldPatch::default()
    };
    let schedule = Command::Place {
        owner: None,
        kind: HoldKind::Suspend,
        fresh: HoldId(Uuid::new_v4()),
        details,
    };
    story.reseller(&schedule);
    assert_eq!(story.state(), "active");
    assert_eq!(
        story.account.state(start).effective_status(),
        "suspended:reseller"
    );
    assert_eq!(story.reseller(&schedule).outcome(), Outcome::Unchanged);
    story.reseller(&lift(HoldKind::Suspend));
    assert_eq!(story.account.state(start).effective_status(), "active");

    story.reseller(&schedule);
    story.reseller(&place(HoldKind::Suspend));
    assert_eq!(
        story.state(),
        "suspended:reseller",
        "without a start it begins now"
    );
    let later = HoldPatch {
        starts_at: Patch::Set(start + DAY),
        ..HoldPatch::default()
    };
    let later = Command::Place {
        owner: None,
        kind: HoldKind::Suspend,
        fresh: HoldId(Uuid::new_v4()),
        details: later,
    };
    assert_eq!(
        story.by(Authority::Reseller, &later),
        Err(Error::Conflict(Conflict::HoldHasStarted))
    );
}

#[test]
fn every_remedy_that_explain_lists_leads_to_active() {
    let mut story = Story::new();
    story.operator(&place(HoldKind::Suspend));
    story.operator(&freeze(Some("https://o.example")));
    story.reseller(&freeze(Some("https://r.example")));
    story.reseller(&Command::SetStatus(Status::Inactive));
    story.reseller(&Command::SetExpiry(Some(story.now - DAY)));
    let explanation = story.account.explain(story.now);
    assert_eq!(explanation.blocks.len(), 5);
    assert_eq!(
        explanation.remedy(),
        None,
        "paying does not help while suspended"
    );
    for block in explanation.blocks {
        use steward::domain::Lift;
        let command = match block.lift {
            Lift::Unfreeze => lift(HoldKind::Freeze),
            Lift::Unsuspend => lift(HoldKind::Suspend),
            Lift::Activate => Command::SetStatus(Status::Active),
            Lift::ExtendExpiry => Command::SetExpiry(Some(story.now + DAY)),
            Lift::Restore => Command::Restore,
            Lift::UnsuspendReseller => continue,
        };
        let before = story.account.clone();
        let change = story.by(block.lifted_by[0], &command).unwrap();
        assert_eq!(change.outcome(), Outcome::Applied, "{command:?}");
        let alone = before
            .explain(story.now)
            .blocks
            .into_iter()
            .find(|other| other.block == block.block)
            .unwrap();
        assert_eq!(
            alone.state_after.blocked_by(),
            story.account.state(story.now).blocked_by()
        );
    }
    assert_eq!(story.state(), "active");
}

//! The rules for holds, enumerated: every small account, every command, every caller, at every
//! instant that matters. Each rule is one check; nothing is sampled.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the model gives commands about holds alone"
)]

use std::collections::BTreeSet;

use chrono::TimeDelta;
use steward::domain::{
    Account, AccountId, Actor, Authority, Block, Change, Command, Conflict, Error, Event, Hold,
    HoldChange, HoldId, HoldKind, HoldPatch, Level, NewAccount, Outcome, Owner, Patch, ResellerId,
    Revision, Status, Time,
};
use uuid::Uuid;

use crate::harness::app::start_of_time;

/// When a call wants its hold to stand: from now on without end, from now on until the last of the
/// instants, or from the second of them until the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    FromNowOn,
    Passing,
    Later,
}

const TIMES: [When; 3] = [When::FromNowOn, When::Passing, When::Later];
const AUTHORITIES: [Authority; 2] = [Authority::Operator, Authority::Reseller];

/// The instant of the first calls, one at which a scheduled hold has begun, and one at which all
/// that have an end have lapsed.
fn instants() -> [Time; 3] {
    let begin = start_of_time();
    [0, 5, 12].map(|days| begin + TimeDelta::days(days))
}

fn billing() -> Owner {
    Owner::parse("owner", "billing").unwrap()
}

/// A caller: an authority, and for whom it acts because its credential is bound, or because it says
/// so.
#[derive(Debug, Clone)]
struct Caller {
    authority: Authority,
    bound_to: Option<Owner>,
    names: Option<Owner>,
}

impl Caller {
    fn all() -> Vec<Self> {
        let abuse = Owner::parse("owner", "abuse-desk").unwrap();
        let ways = [
            (None, None),
            (None, Some(billing())),
            (Some(billing()), None),
            // What a bound credential names makes no difference.
            (Some(billing()), Some(abuse)),
        ];
        let of = |authority| {
            ways.clone().map(|(bound_to, names)| Self {
                authority,
                bound_to,
                names,
            })
        };
        AUTHORITIES.into_iter().flat_map(of).collect()
    }

    fn actor(&self) -> Actor {
        Actor {
            authority: self.authority,
            bound_to: self.bound_to.clone(),
            name: "somebody".to_owned(),
        }
    }

    /// For whom it acts, written down without the domain's help.
    fn owner(&self) -> Option<&Owner> {
        if self.bound_to.is_some() {
            self.bound_to.as_ref()
        } else {
            self.names.as_ref()
        }
    }

    fn holds(&self, hold: &Hold) -> bool {
        hold.authority == self.authority && hold.owner.as_ref() == self.owner()
    }
}

fn details(level: Level, when: When) -> HoldPatch {
    let [_, begin, end] = instants();
    let (starts_at, ends_at) = match when {
        When::FromNowOn => (Patch::Keep, Patch::Keep),
        When::Passing => (Patch::Keep, Patch::Set(end)),
        When::Later => (Patch::Set(begin), Patch::Set(end)),
    };
    HoldPatch {
        level,
        starts_at,
        ends_at,
        ..HoldPatch::default()
    }
}

fn place(kind: HoldKind, names: Option<Owner>, details: HoldPatch) -> Command {
    Command::Place {
        kind,
        owner: names,
        fresh: HoldId(Uuid::new_v4()),
        details,
    }
}

fn levels(kind: HoldKind) -> &'static [Level] {
    match kind {
        HoldKind::Freeze | HoldKind::Suspend => &Level::ALL,
        HoldKind::Retention => &[Level::Block],
    }
}

/// Every command about holds that a caller can give, on an account.
fn commands(caller: &Caller, account: &Account) -> Vec<Command> {
    let mut commands = Vec::new();
    let names = || caller.names.clone();
    for kind in HoldKind::ALL {
        for level in levels(kind) {
            for when in TIMES {
                commands.push(place(kind, names(), details(*level, when)));
            }
        }
        let open = account.holds.iter().map(|hold| Some(hold.id));
        let unknown = Some(HoldId(Uuid::nil()));
        for only in open.chain([None, unknown]) {
            commands.push(Command::Lift {
                kind,
                owner: names(),
                only,
            });
        }
    }
    commands
}

fn blank() -> Account {
    let new = NewAccount {
        id: AccountId::new(7).unwrap(),
        uid: Uuid::nil(),
        reseller_id: ResellerId(1),
        reseller_suspended_at: None,
    };
    let by = Actor {
        authority: Authority::Reseller,
        bound_to: None,
        name: "somebody".to_owned(),
    };
    let created = Account::create(&new, &Revision::default(), &by, start_of_time());
    created.unwrap().after
}

/// The accounts with up to two holds: every pair of different kinds, authorities and owners, each at
/// every level and time.
fn accounts() -> Vec<Account> {
    let mut places = Vec::new();
    for kind in HoldKind::ALL {
        for authority in AUTHORITIES {
            for owner in [None, Some(billing())] {
                for level in levels(kind) {
                    for when in TIMES {
                        places.push((kind, authority, owner.clone(), *level, when));
                    }
                }
            }
        }
    }
    let account_with =
        |account: &Account, at: &(HoldKind, Authority, Option<Owner>, Level, When)| {
            let (kind, authority, owner, level, when) = at.clone();
            let by = Actor {
                authority,
                bound_to: None,
                name: "somebody".to_owned(),
            };
            let command = place(kind, owner, details(level, when));
            account
                .decide(&command, &by, start_of_time())
                .unwrap()
                .after
        };
    let mut accounts = vec![blank()];
    for (index, first) in places.iter().enumerate() {
        let one = account_with(&blank(), first);
        for second in &places[index + 1..] {
            let slot =
                |at: &(HoldKind, Authority, Option<Owner>, Level, When)| (at.0, at.1, at.2.clone());
            if slot(first) != slot(second) {
                accounts.push(account_with(&one, second));
            }
        }
        accounts.push(one);
    }
    accounts
}

/// Makes the announcements that are due, as the service does before a command. Returns the account
/// afterwards, and the events with what they are about.
fn announced(mut account: Account, now: Time) -> (Account, Vec<(Event, Time)>) {
    let by = Actor {
        authority: Authority::System,
        bound_to: None,
        name: "steward".to_owned(),
    };
    let mut events = Vec::new();
    while let Some((at, _)) = account.next_announcement().filter(|(at, _)| *at <= now) {
        let change = account.decide(&Command::Announce, &by, now).unwrap();
        assert_eq!(change.outcome(), Outcome::Applied, "{account:?}");
        events.extend(change.events.iter().map(|event| (*event, at)));
        account = change.after;
    }
    (account, events)
}

/// What restricts an account at a level, worked out hold by hold.
fn union(account: &Account, level: Level, now: Time) -> BTreeSet<Block> {
    let stands = |hold: &&Hold| {
        let begins = hold.details.starts_at.is_none_or(|at| at <= now);
        let lasts = hold.details.ends_at.is_none_or(|at| now < at);
        hold.details.level == level && begins && lasts
    };
    let block = |hold: &Hold| match (hold.kind, hold.authority) {
        (HoldKind::Freeze, _) => Some(Block::Frozen),
        (HoldKind::Suspend, Authority::Reseller) => Some(Block::SuspendedByReseller),
        (HoldKind::Suspend, _) => Some(Block::SuspendedByOperator),
        (HoldKind::Retention, _) => None,
    };
    let of_holds = account.holds.iter().filter(stands).filter_map(block);
    let mut all: BTreeSet<Block> = of_holds.collect();
    if level == Level::Block {
        all.extend((account.status == Status::Inactive).then_some(Block::Inactive));
    }
    all
}

fn check_state(account: &Account, now: Time) {
    let state = account.state(now);
    let words = [
        (Level::Block, state.blocked_by()),
        (Level::Limit, state.limited_by()),
        (Level::Warn, state.warned_by()),
    ];
    let mut strongest = None;
    for (level, words) in words {
        let expected: Vec<Block> = union(account, level, now).into_iter().collect();
        assert_eq!(words, expected, "{level:?} of {account:?} at {now}");
        if !words.is_empty() {
            strongest = strongest.max(Some(level));
        }
    }
    assert_eq!(state.level(), strongest, "{account:?}");
    let slots: BTreeSet<_> = account
        .holds
        .iter()
        .map(|hold| (hold.kind, hold.authority, hold.owner.clone()))
        .collect();
    assert_eq!(slots.len(), account.holds.len(), "two of one: {account:?}");
}

/// Whether a hold blocks the use of the account.
fn blocks(hold: Option<&Hold>, now: Time) -> bool {
    hold.is_some_and(|hold| hold.kind != HoldKind::Retention && hold.blocks(now))
}

fn check_change(before: &Account, caller: &Caller, command: &Command, change: &Change, now: Time) {
    let context = || format!("{command:?} by {caller:?} at {now}: {before:?} -> {change:?}");
    let find = |account: &Account, id| account.holds.iter().find(|it| it.id == id).cloned();
    let kind = match command {
        Command::Place { kind, .. } | Command::Lift { kind, .. } => *kind,
        _ => unreachable!("{command:?} is about no hold"),
    };
    // Nobody's call touches another's hold, or one of another kind.
    for hold in &before.holds {
        if !caller.holds(hold) || hold.kind != kind {
            assert_eq!(
                find(&change.after, hold.id).as_ref(),
                Some(hold),
                "{}",
                context()
            );
        }
    }
    for hold in &change.after.holds {
        if find(before, hold.id).is_none() {
            assert!(caller.holds(hold) && hold.kind == kind, "{}", context());
        }
    }
    // Every change has a version, and every version a change.
    let is_applied = change.outcome() == Outcome::Applied;
    assert_eq!(
        is_applied,
        change.after.holds != before.holds,
        "{}",
        context()
    );
    assert_eq!(
        is_applied,
        change.after.version == before.version + 1,
        "{}",
        context()
    );
    assert_eq!(is_applied, !change.fields.is_empty(), "{}", context());
    assert_eq!(is_applied, !change.holds.is_empty(), "{}", context());
    // The events say what came into force and what went out of it.
    let mine = |account: &Account| {
        let own = |hold: &&Hold| hold.kind == kind && caller.holds(hold);
        account.holds.iter().find(own).cloned()
    };
    let (was, is) = (mine(before), mine(&change.after));
    let is_scheduled = |hold: &Hold| hold.details.starts_at.is_some_and(|at| at > now);
    let (on, off) = match kind {
        HoldKind::Suspend => (Event::Suspended, Event::Unsuspended),
        HoldKind::Freeze | HoldKind::Retention => (Event::Frozen, Event::Unfrozen),
    };
    let expected = if !is_applied || kind == HoldKind::Retention {
        None
    } else if is.as_ref().is_some_and(is_scheduled) {
        Some(Event::HoldScheduled)
    } else if blocks(is.as_ref(), now) {
        Some(on)
    } else {
        blocks(was.as_ref(), now).then_some(off)
    };
    assert_eq!(change.events, Vec::from_iter(expected), "{}", context());
    // A call that states no end never shortens a block; one that states no level never weakens it.
    if let Command::Place { details, .. } = command {
        let is = is.expect("a call that is carried out leaves its hold");
        if details.ends_at == Patch::Keep {
            assert_eq!(is.details.ends_at, None, "{}", context());
        }
        assert_eq!(is.details.level, details.level, "{}", context());
        if let Some(was) = was {
            assert_eq!(is.id, was.id, "a revision keeps the hold: {}", context());
            let begin = if was.has_started(now) {
                was.details.starts_at
            } else {
                Some(now)
            };
            if details.starts_at == Patch::Keep && is_applied {
                assert_eq!(is.details.starts_at, begin, "{}", context());
            }
        }
    } else {
        assert_eq!(is, None, "a hold that was lifted is gone: {}", context());
    }
    // A repeat changes nothing.
    let repeat = change.after.decide(command, &caller.actor(), now);
    match command {
        Command::Lift { only: Some(_), .. } => {
            assert_eq!(
                repeat,
                Err(Error::Conflict(Conflict::StaleHold)),
                "{}",
                context()
            );
        }
        _ => assert_eq!(
            repeat.unwrap().outcome(),
            Outcome::Unchanged,
            "{}",
            context()
        ),
    }
}

fn check_refusal(before: &Account, caller: &Caller, command: &Command, error: &Error, now: Time) {
    let context = || format!("{command:?} by {caller:?} at {now}: {error:?}, {before:?}");
    match command {
        Command::Lift { kind, only, .. } => {
            let named = before.holds.iter().find(|hold| Some(hold.id) == *only);
            let expected = match named {
                Some(hold) if !caller.holds(hold) => Error::NotYourHold {
                    holder: hold.holder(),
                },
                Some(hold) => {
                    assert_ne!(hold.kind, *kind, "{}", context());
                    Error::Conflict(Conflict::StaleHold)
                }
                None => {
                    assert!(only.is_some(), "{}", context());
                    Error::Conflict(Conflict::StaleHold)
                }
            };
            assert_eq!(*error, expected, "{}", context());
        }
        Command::Place { details, .. } => {
            let has_passed = |at: &Patch<Time>| at.value().is_some_and(|at| *at <= now);
            match error {
                Error::InvalidField {
                    field: "ends_at", ..
                } => {
                    assert!(has_passed(&details.ends_at), "{}", context());
                }
                Error::Conflict(Conflict::HoldHasStarted) => {
                    assert!(
                        details.starts_at.value().is_some_and(|at| *at > now),
                        "{}",
                        context()
                    );
                }
                _ => panic!("{}", context()),
            }
        }
        _ => panic!("{}", context()),
    }
}

/// Everything that time does to an account is announced once, in its order, whenever that is looked
/// for: an event for each block that begins and for each that lapses.
fn check_announcements(account: &Account) {
    let [_, _, end] = instants();
    let mut expected = Vec::new();
    for hold in &account.holds {
        let (on, off) = match hold.kind {
            HoldKind::Freeze => (Event::Frozen, Event::Unfrozen),
            HoldKind::Suspend => (Event::Suspended, Event::Unsuspended),
            HoldKind::Retention => continue,
        };
        if hold.details.level == Level::Block {
            expected.extend(hold.details.starts_at.map(|at| (on.as_str(), at)));
            expected.extend(hold.details.ends_at.map(|at| (off.as_str(), at)));
        }
    }
    expected.sort_by_key(|(event, at)| (*at, *event));
    let sorted = |events: Vec<(Event, Time)>| {
        assert!(events.is_sorted_by_key(|(_, at)| *at), "{events:?}");
        let mut events: Vec<_> = events
            .iter()
            .map(|(event, at)| (event.as_str(), *at))
            .collect();
        events.sort_by_key(|(event, at)| (*at, *event));
        events
    };
    let late = announced(account.clone(), end);
    let (mut step_by_step, mut in_steps) = (account.clone(), Vec::new());
    for now in instants() {
        let (after, events) = announced(step_by_step, now);
        step_by_step = after;
        in_steps.extend(events);
        assert_eq!(step_by_step.state(now), account.state(now), "{account:?}");
    }
    assert_eq!(sorted(late.1), expected, "{account:?}");
    assert_eq!(sorted(in_steps), expected, "{account:?}");
    let ending = account
        .holds
        .iter()
        .filter(|hold| hold.details.ends_at.is_some());
    assert_eq!(late.0.holds.len() + ending.count(), account.holds.len());
}

/// What explains a block names who may lift it: the command that it gives, by that holder, lifts it
/// and nothing else.
fn check_explanation(account: &Account, now: Time) {
    let explanation = account.explain(now);
    let restricting: Vec<_> = explanation
        .blocks
        .iter()
        .chain(&explanation.milder)
        .collect();
    let in_force = account
        .holds
        .iter()
        .filter(|hold| hold.kind != HoldKind::Retention && hold.in_force(now));
    assert_eq!(restricting.len(), in_force.count(), "{account:?}");
    for detail in restricting {
        let hold = detail.hold.as_ref().unwrap();
        let by = Actor {
            authority: detail.lifted_by[0],
            bound_to: hold.owner.clone(),
            name: "somebody".to_owned(),
        };
        let lifted = account
            .decide(&detail.command(now).unwrap(), &by, now)
            .unwrap();
        assert_eq!(lifted.after.state(now), detail.state_after, "{account:?}");
        let closed = [HoldChange::Closed {
            hold: hold.clone(),
            at: now,
            lapsed: false,
        }];
        assert_eq!(lifted.holds, closed, "{account:?}");
    }
}

#[test]
fn every_command_on_every_small_account_keeps_the_rules() {
    let (mut accounts_checked, mut decisions) = (0_u32, 0_u32);
    for account in accounts() {
        check_announcements(&account);
        for now in instants() {
            let (account, _) = announced(account.clone(), now);
            accounts_checked += 1;
            check_state(&account, now);
            check_explanation(&account, now);
            for caller in Caller::all() {
                for command in commands(&caller, &account) {
                    decisions += 1;
                    match account.decide(&command, &caller.actor(), now) {
                        Ok(change) => {
                            check_change(&account, &caller, &command, &change, now);
                            check_state(&change.after, now);
                        }
                        Err(error) => check_refusal(&account, &caller, &command, &error, now),
                    }
                }
            }
        }
    }
    // A model that has shrunk proves less than it says.
    assert_eq!((accounts_checked, decisions), (9_813, 2_481_144));
}

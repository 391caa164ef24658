//! Four hundred days of ten thousand accounts, with the jobs of two replicas running at once.
//! Notices, purge plans and purges are compared with an independent model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use steward::domain::{
    AccountId, Command, Dialect, HoldId, HoldKind, HoldPatch, ResellerId, Revision, Status, Time,
};
use steward::jobs;
use steward::service::{Clock, Context, Principal, ResellerPatch, Service, Settings};
use steward::store::Store;
use uuid::Uuid;

use crate::harness::App;
use crate::harness::app::{pool_settings, start_of_time};

const ACCOUNTS: u64 = 10_000;
const DAYS: i64 = 400;
/// The number of manual changes on each day.
const CHANGES: u64 = 60;

/// A small pseudorandom generator with the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn days(&mut self, from: i64, to: i64) -> TimeDelta {
        TimeDelta::hours(
            from * 24
                + i64::try_from(self.below(u64::try_from((to - from) * 24).unwrap())).unwrap(),
        )
    }
}

/// An account of the model.
#[derive(Debug, Clone, Default)]
struct Model {
    reseller: i64,
    expiry: Option<Time>,
    expiry_set: Time,
    exempt: Option<Time>,
    /// No notice is due from before this instant: the expiry was not set, or the account was
    /// deleted.
    known_since: Time,
    /// The notices that were sent for the current expiry, in days before it.
    announced: BTreeSet<i64>,
    deleted: Option<Time>,
    retained: bool,
    suspended_by_operator: bool,
    released: Option<Time>,
    purged: Option<Time>,
    /// All notices that were sent, in days before the expiry, in order.
    sent: Vec<i64>,
}

impl Model {
    fn in_effect(&self) -> Option<Time> {
        self.expiry
            .map(|at| self.exempt.map_or(at, |until| until.max(at)))
    }

    /// Changes the expiry date or the exemption.
    fn moved(&mut self, now: Time, change: impl FnOnce(&mut Self)) {
        let before = self.in_effect();
        change(self);
        if self.in_effect() == before {
            return;
        }
        let was_announced = self.announced.contains(&0);
        self.announced.clear();
        if before.is_some_and(|at| at <= now)
            && was_announced
            && self.in_effect().is_some_and(|at| at <= now)
        {
            self.announced.insert(0);
        }
        self.known_since = now;
    }

    /// The notices that the jobs must send at an instant.
    fn announce(&mut self, now: Time) {
        let Some(at) = self
            .in_effect()
            .filter(|_| self.deleted.is_none() && self.purged.is_none())
        else {
            return;
        };
        for days in [14, 7, 1, 0] {
            let due = at - TimeDelta::days(days);
            let is_owed = days == 0 || due > self.known_since;
            if due <= now && is_owed && self.announced.insert(days) {
                self.sent.push(days);
            }
        }
    }
}

/// A journal entry: account, time, events, days left.
type Row = (i32, Time, Vec<String>, Option<i64>);

struct World {
    numbers: Numbers,
    /// The accounts in the order of their creation.
    order: Vec<AccountId>,
    changes: u64,
    accounts: BTreeMap<AccountId, Model>,
    replicas: [Arc<Service>; 2],
}

fn by(reseller: Option<i64>) -> Context {
    Context {
        principal: reseller.map_or_else(Principal::command_line, |reseller| {
            Principal::of_reseller(ResellerId(reseller))
        }),
        dialect: Dialect::Cli,
        request_id: "sweep".to_owned(),
    }
}

impl World {
    /// One change by a person, in the model and in the product.
    async fn change_an_account(&mut self, now: Time) {
        // A generator for each change, so that every run makes the same changes.
        self.changes += 1;
        let mut numbers = Numbers(self.changes.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let place = usize::try_from(numbers.below(ACCOUNTS)).unwrap();
        let id = self.order[place];
        let model = self.accounts.get_mut(&id).unwrap();
        if model.purged.is_some() {
            return;
        }
        let hold = |kind| Command::Place {
            owner: None,
            kind,
            fresh: HoldId(Uuid::now_v7()),
            details: HoldPatch::default(),
        };
        let lift = |kind| Command::Lift {
            owner: None,
            kind,
            only: None,
        };
        let (mut operator, is_live) = (false, model.deleted.is_none());
        let command = match numbers.below(12) {
            0 | 1 if is_live => {
                let at = (numbers.below(5) > 0).then(|| now + numbers.days(-60, 200));
                model.moved(now, |it| it.expiry = at);
                if at.is_some() {
                    model.expiry_set = now;
                }
                Command::SetExpiry(at)
            }
            2 if is_live => {
                let until = (numbers.below(3) > 0).then(|| now + numbers.days(1, 60));
                model.moved(now, |it| it.exempt = until);
                Command::SetExemption(until)
            }
            3 | 4 if is_live => {
                model.retained = true;
                hold(HoldKind::Retention)
            }
            5 if is_live => {
                model.retained = false;
                lift(HoldKind::Retention)
            }
            6 if is_live => {
                operator = true;
                model.suspended_by_operator = true;
                hold(HoldKind::Suspend)
            }
            7 | 8 if is_live => {
                operator = true;
                if std::mem::take(&mut model.suspended_by_operator) {
                    model.released = Some(now);
                }
                lift(HoldKind::Suspend)
            }
            9 if is_live && !model.retained && !model.suspended_by_operator => {
                model.deleted = Some(now);
                Command::Delete {
                    purge_after: Duration::from_hours(30 * 24),
                }
            }
            10 => {
                if model.deleted.take().is_some() {
                    model.known_since = now;
                }
                Command::Restore
            }
            _ if is_live => Command::SetStatus(if numbers.below(2) == 0 {
                Status::Active
            } else {
                Status::Inactive
            }),
            _ => return,
        };
        let context = by((!operator).then_some(model.reseller));
        self.replicas[place % 2]
            .execute(&context, id, command.clone(), None)
            .await
            .unwrap_or_else(|error| panic!("{command:?} at {model:?}: {error}"));
    }

    async fn populate(&mut self, resellers: [ResellerId; 3]) {
        let newcomers: Vec<_> = (0..ACCOUNTS)
            .map(|number| {
                let reseller = resellers[usize::try_from(number % 3).unwrap()];
                let expires_at = (self.numbers.below(10) > 0)
                    .then(|| start_of_time() + self.numbers.days(-100, 450));
                (reseller, expires_at)
            })
            .collect();
        let create = |(reseller, expires_at): &(ResellerId, Option<Time>)| {
            let revision = Revision {
                expires_at: Some(*expires_at),
                ..Revision::default()
            };
            let (service, reseller, expires_at) =
                (Arc::clone(&self.replicas[0]), *reseller, *expires_at);
            async move {
                (
                    service
                        .create(&by(Some(reseller.0)), None, revision, None)
                        .await
                        .unwrap()
                        .done()
                        .unwrap()
                        .account
                        .id,
                    reseller,
                    expires_at,
                )
            }
        };
        let mut made = Vec::new();
        for some in newcomers.chunks(1_000) {
            made.extend(join_all(some.iter().map(create)).await);
        }
        for (id, reseller, expiry) in made {
            let now = start_of_time();
            self.order.push(id);
            self.accounts.insert(
                id,
                Model {
                    reseller: reseller.0,
                    expiry,
                    expiry_set: now,
                    known_since: now,
                    ..Model::default()
                },
            );
        }
    }

    async fn check_notices(&self, superuser: &sqlx::PgPool, purged_in_all: usize) {
        // Every notice was sent once, and no other was sent.
        let rows: Vec<Row> = sqlx::query_as(
            "select account_id, at, events, coalesce(after -> 'days_to_expiry', after -> 'days_to_purge')::bigint from journal where dialect = 'job' order by id",
        )
        .fetch_all(superuser)
        .await
        .unwrap();
        let mut sent: HashMap<AccountId, Vec<i64>> = HashMap::new();
        let mut warned: HashMap<AccountId, Vec<(i64, Time)>> = HashMap::new();
        let mut purge_events = 0;
        for (id, at, events, days) in rows {
            let id = AccountId::new(i64::from(id)).unwrap();
            match events.first().map(String::as_str) {
                Some("account.expiring" | "account.expired") => {
                    sent.entry(id).or_default().push(days.unwrap());
                }
                Some("account.purging") => warned.entry(id).or_default().push((days.unwrap(), at)),
                Some("account.purged") => purge_events += 1,
                Some(other) => panic!("{other}"),
                None => {}
            }
        }
        for (id, model) in &self.accounts {
            assert_eq!(
                sent.remove(id).unwrap_or_default(),
                model.sent,
                "{id:?}: {model:?}"
            );
            if let Some(at) = model.purged {
                let warnings = warned.get(id).map_or(&[][..], Vec::as_slice);
                let days: Vec<i64> = warnings.iter().map(|(days, _)| *days).collect();
                assert!(
                    days.ends_with(&[14, 7, 1]),
                    "{id:?} was purged after these warnings: {days:?}"
                );
                for (days, warned_at) in &warnings[days.len() - 3..] {
                    assert!(
                        at - *warned_at >= TimeDelta::days(*days) - TimeDelta::hours(1),
                        "{id:?} was purged at {at}: {warnings:?}"
                    );
                }
            }
        }
        assert_eq!(purge_events, purged_in_all);
    }

    /// The accounts in the purge plan, with the time of their purge.
    async fn plan(&self) -> HashMap<AccountId, Time> {
        let (mut planned, mut after) = (HashMap::new(), 0);
        for _ in 0..ACCOUNTS {
            let (page, _) = self.replicas[0]
                .purge_plan(&by(None), None, after, 1_000)
                .await
                .unwrap();
            let page = page.rows;
            let Some(last) = page.last() else { break };
            after = last.account.id.as_i32();
            planned.extend(
                page.iter()
                    .map(|one| (one.account.id, one.account.purge_due_at.unwrap())),
            );
        }
        planned
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn notices_and_purges_agree_with_the_model_for_400_days() {
    let app = App::new().await;
    let start = || {
        Arc::new(Service::start(
            Store::new(app.database.options(), &pool_settings()),
            Clock::Manual(app.clock.clone()),
            Settings::default(),
        ))
    };
    let mut world = World {
        numbers: Numbers(42),
        order: Vec::new(),
        changes: 0,
        accounts: BTreeMap::new(),
        replicas: [start(), start()],
    };
    let purging = |days, limit| ResellerPatch {
        purges: Some(true),
        purge_grace_days: Some(days),
        purge_limit: Some(limit),
        ..ResellerPatch::default()
    };
    let generous = app.reseller_with("Generous", purging(30, 100_000)).await;
    let hasty = app.reseller_with("Hasty", purging(7, 25)).await;
    let never = app.reseller("Never").await;

    world.populate([generous, hasty, never]).await;

    let superuser = app.database.superuser().await;
    let (mut lifted, mut parent_suspended, mut is_approved, mut approvals) =
        (None, false, false, 0);
    // The purge plans of the last days.
    let mut plans: Vec<(Time, HashMap<AccountId, Time>)> = Vec::new();
    let mut now = start_of_time();
    let mut purged_in_all = 0;
    while now < start_of_time() + TimeDelta::days(DAYS) {
        // Sometimes the jobs do not run for days.
        let down = if world.numbers.below(20) == 0 {
            world.numbers.days(1, 6)
        } else {
            TimeDelta::days(1)
        };
        app.clock.advance(down);
        now += down;
        for _ in 0..CHANGES {
            world.change_an_account(now).await;
        }
        if world.numbers.below(60) == 0 {
            parent_suspended = !parent_suspended;
            app.suspend_reseller(generous, parent_suspended).await;
            if !parent_suspended {
                lifted = Some(now);
            }
        }

        for model in world.accounts.values_mut() {
            model.announce(now);
        }
        let (one, other) = tokio::join!(
            jobs::announce_and_purge(&world.replicas[0], true),
            jobs::announce_and_purge(&world.replicas[1], true)
        );
        one.unwrap();
        other.unwrap();
        let operator = Principal::command_line();
        let mut was_approved = false;
        if world.replicas[1]
            .reseller(&operator, hasty)
            .await
            .unwrap()
            .purge
            .held
            .is_some()
            && world.numbers.below(4) == 0
        {
            assert!(
                world.replicas[0]
                    .approve_purge(&operator, hasty, None)
                    .await
                    .unwrap()
                    .done()
                    .unwrap()
            );
            approvals += 1;
            was_approved = true;
        }

        // Every purged account was in the plan a day before, and no rule protected it.
        let gone: Vec<i32> =
            sqlx::query_scalar("select account_id from tombstone where purged_at = $1")
                .bind(now)
                .fetch_all(&superuser)
                .await
                .unwrap();
        let day_before = plans
            .iter()
            .rev()
            .find(|(at, _)| *at <= now - TimeDelta::days(1))
            .map(|(_, plan)| plan);
        let mut of_hasty = 0;
        for id in gone {
            let id = AccountId::new(i64::from(id)).unwrap();
            let model = world.accounts.get_mut(&id).unwrap();
            assert!(
                day_before.unwrap().contains_key(&id),
                "{id:?} was not in the plan a day before {now}: {model:?}"
            );
            assert!(
                !model.retained
                    && !model.suspended_by_operator
                    && model.exempt.is_none_or(|until| until <= now),
                "{model:?}"
            );
            assert!(
                model.reseller != never.0 && !(parent_suspended && model.reseller == generous.0),
                "{model:?}"
            );
            let grace = TimeDelta::days(if model.reseller == hasty.0 { 7 } else { 30 });
            let since = [
                model.in_effect(),
                model.released,
                lifted.filter(|_| model.reseller == generous.0),
            ];
            let expired = since
                .into_iter()
                .flatten()
                .fold(model.expiry_set, Time::max)
                + grace;
            let eligible = model.deleted.map_or(expired, |at| at + TimeDelta::days(30));
            assert!(
                eligible <= now,
                "{id:?} was purged at {now}, and might be from {eligible} on: {model:?}"
            );
            model.purged = Some(now);
            purged_in_all += 1;
            of_hasty += usize::from(model.reseller == hasty.0);
        }
        assert!(
            of_hasty <= 25 || is_approved,
            "{of_hasty} were purged at once, and no operator approved"
        );
        is_approved = was_approved;
        plans.push((now, world.plan().await));
        plans.retain(|(at, _)| *at > now - TimeDelta::days(8));
        // Every account that is due and not protected is purged.
        let overdue = plans
            .last()
            .unwrap()
            .1
            .iter()
            .filter(|(id, due)| **due <= now && world.accounts[*id].reseller == generous.0)
            .count();
        assert!(
            overdue == 0 || parent_suspended,
            "{overdue} overdue at {now}"
        );
    }

    world.check_notices(&superuser, purged_in_all).await;

    // Enough accounts were purged, protected and approved for the test to mean something.
    let protected = world
        .accounts
        .values()
        .filter(|it| {
            it.retained
                && it
                    .in_effect()
                    .is_some_and(|at| at < now - TimeDelta::days(60))
        })
        .count();
    let left: i64 = sqlx::query_scalar("select count(*) from account")
        .fetch_one(&superuser)
        .await
        .unwrap();
    assert_eq!(
        left,
        i64::try_from(ACCOUNTS).unwrap() - i64::try_from(purged_in_all).unwrap()
    );
    assert!(
        purged_in_all > 1_000 && protected > 50 && approvals > 3,
        "{purged_in_all} purged, {protected} protected, {approvals} approvals"
    );
    assert_eq!(app.database.wrong_held_rows().await, 0);
    assert_eq!(app.database.wrong_texts().await, 0);
}

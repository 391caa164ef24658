//! Random bulk jobs, reverted after random deeds of others. What others touched since stays; the
//! rest is as it was before the job.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use steward::domain::{
    Account, AccountFilter, AccountId, Authority, Block, Command, Dialect, HoldId, HoldKind,
    HoldPatch, Outcome, Patch, PaymentUrl, ProfilePatch, ResellerId, Revision, StateFilter, Status,
    Time,
};
use steward::service::{Context, Principal};
use steward::store::{Store, Tenancy};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harness::App;
use crate::harness::app::pool_settings;
use crate::harness::process::until;

const CASES: u32 = 48;
const ACCOUNTS: usize = 4;
const RESELLER: ResellerId = ResellerId(1);

/// A command. Times are in hours from now.
#[derive(Debug, Clone)]
enum Deed {
    Place {
        kind: usize,
        url: Option<u8>,
        start: Option<i8>,
        end: Option<u8>,
    },
    Lift(usize),
    Status(bool),
    Expiry(Option<i8>),
    Exemption(Option<u8>),
    Delete,
    Restore,
}

/// What happens to an account besides the job.
#[derive(Debug, Clone)]
enum Step {
    /// A deed on one of the accounts, by one of the authorities.
    Deed(usize, usize, Deed),
    Rename(usize),
    Wait(u8),
}

#[derive(Debug, Clone)]
struct Case {
    before: Vec<Step>,
    job: Deed,
    is_operators: bool,
    planned: Vec<Step>,
    after: Vec<Step>,
}

fn deed() -> impl Strategy<Value = Deed> {
    use proptest::option::of;
    let place = (0..3_usize, of(0..3_u8), of(-5..30_i8), of(1..40_u8));
    prop_oneof![
        6 => place.prop_map(|(kind, url, start, end)| Deed::Place {kind, url, start, end}),
        4 => (0..3_usize).prop_map(Deed::Lift),
        3 => any::<bool>().prop_map(Deed::Status),
        2 => of(-40..40_i8).prop_map(Deed::Expiry),
        2 => of(1..40_u8).prop_map(Deed::Exemption),
        2 => Just(Deed::Delete),
        2 => Just(Deed::Restore),
    ]
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..ACCOUNTS, 0..3_usize, deed()).prop_map(|(account, by, deed)| Step::Deed(account, by, deed)),
        1 => (0..ACCOUNTS).prop_map(Step::Rename),
        2 => (1..20_u8).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..count)
}

fn case() -> impl Strategy<Value = Case> {
    (steps(14), deed(), any::<bool>(), steps(4), steps(10)).prop_map(
        |(before, job, is_operators, planned, after)| Case {
            before,
            job,
            is_operators,
            planned,
            after,
        },
    )
}

impl Deed {
    fn command(&self, now: Time) -> Command {
        let hours = |hours: i64| now + TimeDelta::hours(hours);
        match self {
            Self::Place {
                kind,
                url,
                start,
                end,
            } => Command::Place {
                owner: None,
                kind: HoldKind::ALL[*kind],
                fresh: HoldId(Uuid::new_v4()),
                details: HoldPatch {
                    payment_url: url.map_or(Patch::Keep, |number| {
                        let url = format!("https://pay.example/{number}");
                        Patch::Set(PaymentUrl::parse(&url).unwrap())
                    }),
                    starts_at: start
                        .map_or(Patch::Keep, |start| Patch::Set(hours(i64::from(start)))),
                    ends_at: end.map_or(Patch::Keep, |end| {
                        Patch::Set(hours(
                            i64::from(start.unwrap_or_default().max(0)) + i64::from(end),
                        ))
                    }),
                    ..HoldPatch::default()
                },
            },
            Self::Lift(kind) => Command::Lift {
                owner: None,
                kind: HoldKind::ALL[*kind],
                only: None,
            },
            Self::Status(on) => Command::SetStatus(if *on {
                Status::Active
            } else {
                Status::Inactive
            }),
            Self::Expiry(at) => Command::SetExpiry(at.map(|at| hours(i64::from(at)))),
            Self::Exemption(until) => {
                Command::SetExemption(until.map(|until| hours(i64::from(until))))
            }
            Self::Delete => Command::Delete {
                purge_after: Duration::from_hours(720),
            },
            Self::Restore => Command::Restore,
        }
    }

    /// The fact or hold that the deed changes, if it changes something.
    fn fact(&self, by: Authority) -> (&'static str, Option<Authority>) {
        match self {
            Self::Place { kind, .. } | Self::Lift(kind) => {
                (HoldKind::ALL[*kind].as_str(), Some(by))
            }
            Self::Status(_) => ("status", None),
            Self::Expiry(_) => ("expiry", None),
            Self::Exemption(_) => ("exemption", None),
            Self::Delete | Self::Restore => ("deletion", None),
        }
    }
}

/// What an account is at an instant: its facts, without what has ended by itself.
#[derive(Debug, Clone, PartialEq)]
struct Facts {
    status: Status,
    expires_at: Option<Time>,
    exempt_until: Option<Time>,
    is_deleted: bool,
    holds: Vec<(HoldKind, Authority, HoldPatch)>,
}

fn facts(account: &Account, now: Time) -> Facts {
    let mut holds: Vec<_> = account
        .holds
        .iter()
        .filter(|hold| !hold.has_lapsed(now))
        .map(|hold| {
            let details = HoldPatch {
                payment_url: patch(hold.details.payment_url.clone()),
                // A hold without a start has started when it was opened.
                starts_at: patch(hold.details.starts_at.filter(|start| *start > now)),
                ends_at: patch(hold.details.ends_at),
                ..HoldPatch::default()
            };
            (hold.kind, hold.authority, details)
        })
        .collect();
    holds.sort_by_key(|(kind, by, _)| (*kind, *by));
    Facts {
        status: account.status,
        expires_at: account.expires_at,
        exempt_until: account.exempt_until.filter(|until| *until > now),
        is_deleted: account.deleted_at.is_some(),
        holds,
    }
}

fn patch<T>(value: Option<T>) -> Patch<T> {
    value.map_or(Patch::Clear, Patch::Set)
}

/// An account that has one fact of another one, and else its own.
fn with_fact(now: &Facts, then: &Facts, fact: (&'static str, Option<Authority>)) -> Facts {
    let mut facts = now.clone();
    match fact {
        ("status", _) => facts.status = then.status,
        ("expiry", _) => facts.expires_at = then.expires_at,
        ("exemption", _) => facts.exempt_until = then.exempt_until,
        ("deletion", _) => facts.is_deleted = then.is_deleted,
        (kind, by) => {
            let is_it = |hold: &&(HoldKind, Authority, HoldPatch)| {
                hold.0.as_str() == kind && Some(hold.1) == by
            };
            facts.holds.retain(|hold| !is_it(&hold));
            facts.holds.extend(then.holds.iter().filter(is_it).cloned());
            facts.holds.sort_by_key(|(kind, by, _)| (*kind, *by));
        }
    }
    facts
}

/// Why the account refuses the command that would bring it from `now` to `then`. `None` if it does
/// not refuse it.
fn refusal(now: &Facts, then: &Facts) -> Option<&'static str> {
    let has = |kind: HoldKind, by: Option<Authority>| {
        let fits = |hold: &&(HoldKind, Authority, HoldPatch)| {
            hold.0 == kind && by.is_none_or(|by| by == hold.1)
        };
        now.holds.iter().any(|hold| fits(&hold))
    };
    if now.is_deleted && then.is_deleted {
        return Some("account is deleted");
    }
    if then.is_deleted && has(HoldKind::Retention, None) {
        return Some("retention_hold");
    }
    if then.is_deleted && has(HoldKind::Suspend, Some(Authority::Operator)) {
        return Some("suspended_by_operator");
    }
    // A hold that blocks cannot be scheduled for later.
    let started = |hold: &(HoldKind, Authority, HoldPatch)| hold.2.starts_at == Patch::Clear;
    let is_moved = then.holds.iter().any(|hold| {
        !started(hold)
            && now
                .holds
                .iter()
                .any(|it| (it.0, it.1) == (hold.0, hold.1) && started(it))
    });
    is_moved.then_some("hold_has_started")
}

struct World {
    app: App,
    store: Store,
}

impl World {
    fn context(by: Authority) -> Context {
        let principal = match by {
            Authority::Operator => Principal::command_line(),
            Authority::Reseller => Principal::of_reseller(RESELLER),
            Authority::System => Principal::automation(RESELLER),
        };
        Context {
            principal,
            dialect: Dialect::Cli,
            request_id: "deed".to_owned(),
        }
    }

    async fn read(&self, accounts: &[AccountId]) -> Vec<Account> {
        let tenancy = Tenancy::Platform;
        let mut tx = self.store.begin_reading(&tenancy).await.unwrap();
        let mut read = Vec::new();
        for id in accounts {
            read.push(tx.fetch_account(RESELLER, *id).await.unwrap().unwrap());
        }
        tx.commit().await.unwrap();
        read
    }

    /// Takes steps. Returns the facts that they changed, of each account.
    async fn take(
        &self,
        accounts: &[AccountId],
        steps: &[Step],
    ) -> Vec<Vec<(&'static str, Option<Authority>)>> {
        let mut touched = vec![Vec::new(); accounts.len()];
        for step in steps {
            let (account, by, command) = match step {
                Step::Wait(hours) => {
                    self.app.clock.advance(TimeDelta::hours(i64::from(*hours)));
                    continue;
                }
                Step::Rename(account) => {
                    let profile = ProfilePatch {
                        company: Patch::Set(Uuid::new_v4().to_string()),
                        ..ProfilePatch::default()
                    };
                    let revision = Revision {
                        profile,
                        ..Revision::default()
                    };
                    let command = Command::Revise(Box::new(revision));
                    (*account, Authority::Reseller, command)
                }
                Step::Deed(account, by, deed) => {
                    let by = Authority::ALL[*by];
                    (*account, by, deed.command(self.app.clock.now()))
                }
            };
            let done = self
                .app
                .service
                .execute(&Self::context(by), accounts[account], command, None)
                .await
                .and_then(steward::service::Completion::done);
            if let (Ok(done), Step::Deed(_, _, deed)) = (done, step)
                && done.outcome == Outcome::Applied
            {
                touched[account].push(deed.fact(by));
            }
        }
        touched
    }

    async fn finish(&self, context: &Context, job: Uuid, state: &str) {
        until("a job that is finished", async || {
            let job = self.app.service.bulk_job(context, job).await.unwrap();
            (job.state.as_str() == state).then_some(())
        })
        .await;
    }

    async fn check(&self, case: &Case) -> Result<(), TestCaseError> {
        let service = &self.app.service;
        let label = Uuid::new_v4().simple().to_string();
        let mut accounts = Vec::new();
        for _ in 0..ACCOUNTS {
            let profile = ProfilePatch {
                name: Patch::Set(label.clone()),
                ..ProfilePatch::default()
            };
            let revision = Revision {
                profile,
                ..Revision::default()
            };
            let context = Self::context(Authority::Reseller);
            let created = service.create(&context, None, revision, None).await;
            accounts.push(created.unwrap().done().unwrap().account.id);
        }
        self.take(&accounts, &case.before).await;
        let by = if case.is_operators {
            Authority::Operator
        } else {
            Authority::Reseller
        };
        let context = Self::context(by);
        let is_restoration = matches!(case.job, Deed::Restore);
        let filter = AccountFilter {
            state: is_restoration.then_some(StateFilter::BlockedBy(Block::Deleted)),
            text: Some(label.clone()),
            ..AccountFilter::default()
        };
        let command = case.job.command(self.app.clock.now());
        let Ok(job) = service
            .plan_bulk_job(&context, Some(RESELLER), filter, label, command, None)
            .await
        else {
            return Ok(());
        };
        let job = job.done().unwrap();
        self.take(&accounts, &case.planned).await;
        let before = self.read(&accounts).await;
        service
            .apply_bulk_job(&context, job.id, None)
            .await
            .unwrap();
        self.finish(&context, job.id, "applied").await;
        let touched = self.take(&accounts, &case.after).await;
        let items = service
            .bulk_items(&context, job.id, None, 0, 100)
            .await
            .unwrap();
        let last = self.read(&accounts).await;
        service
            .revert_bulk_job(&context, job.id, None)
            .await
            .unwrap();
        self.finish(&context, job.id, "reverted").await;
        let reverted = service
            .bulk_items(&context, job.id, None, 0, 100)
            .await
            .unwrap();
        let now = self.app.clock.now();
        let fact = case.job.fact(by);
        for (index, after) in self.read(&accounts).await.iter().enumerate() {
            let (last, before) = (facts(&last[index], now), facts(&before[index], now));
            let after = facts(after, now);
            let item = |items: &[steward::service::BulkItem]| {
                let mut items = items.iter();
                items.find(|item| item.account == accounts[index]).cloned()
            };
            let is_changed = item(&items).is_some_and(|item| item.state == "changed");
            let Some(item) = item(&reverted).filter(|_| is_changed) else {
                prop_assert_eq!(after, last, "the job did not change account {}", index);
                continue;
            };
            let problem = item.problem.unwrap_or_default();
            let then = with_fact(&last, &before, fact);
            if touched[index].contains(&fact) {
                prop_assert_eq!(after, last, "others touched account {}", index);
                prop_assert_eq!(&item.state, "kept");
                prop_assert!(problem.contains(" was changed since: "), "{}", problem);
            } else if let Some(refusal) = refusal(&last, &then).filter(|_| then != last) {
                prop_assert_eq!(after, last, "account {} refuses it", index);
                prop_assert!(problem.contains(refusal), "{} is not {}", problem, refusal);
            } else {
                prop_assert_eq!(
                    &after,
                    &then,
                    "account {}: {} {}",
                    index,
                    item.state,
                    problem
                );
                prop_assert!(then == last || item.state == "reverted", "{}", problem);
            }
        }
        Ok(())
    }
}

#[test]
fn a_revert_leaves_alone_what_others_touched_since_and_restores_the_rest() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(async {
        let app = App::new().await;
        app.reseller("Acme").await;
        let store = Store::new(app.database.options(), &pool_settings());
        Arc::new(World { app, store })
    });
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    });
    let result = runner.run(&case(), |case| {
        runtime.block_on(async { world.check(&case).await })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

//! One transaction for many commands.
//!
//! The accounts are read, each command is decided in memory in the order of arrival on what the ones before it left, and
//! the result is written in the order of the accounts' keys: what commands of the lifecycle leave with one statement, however
//! many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::request::{ChangeKind, Request};
use crate::domain::{
    Account, AccountId, Change, Command, Conflict, Dialect, Error, Event, NewAccount, Outcome,
    Patch, Plan, PurgePolicy, ResellerId, Revision, Time,
};
use crate::service::{CommandOutcome, Completion, IdempotencyKey};
use crate::store::{
    Changes, HoldWrites, NewJournalEntry, ResellerTerms, Store, StoredRequest, Tenancy, Tx,
};

pub(in crate::service) type AccountKey = (ResellerId, AccountId);

/// Why a batch was not committed.
pub(in crate::service) struct BatchError {
    pub(in crate::service) error: Error,
    /// Whether its requests may fare better one by one: not when the database is away, and not when the commit
    /// itself went unanswered.
    pub(in crate::service) is_worth_trying_alone: bool,
}

impl From<Error> for BatchError {
    fn from(error: Error) -> Self {
        Self {
            is_worth_trying_alone: error != Error::Unavailable,
            error,
        }
    }
}

/// Why a transaction was not completed.
enum CommitError {
    /// An account was changed by another replica since it was read, or takes more than one statement to write.
    Stale,
    Error(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What was committed.
pub(in crate::service) struct Committed {
    /// In the order of the requests.
    pub(in crate::service) outcomes: Vec<Result<Completion, Error>>,
    /// Who has new events.
    pub(in crate::service) told: BTreeSet<ResellerId>,
}

/// Carries out requests in one transaction.
///
/// Accounts are not locked while they are decided about: nobody but another replica changes one meanwhile, which is rare and
/// is seen when they are written, by their versions. Then everything is done once more, with locks.
pub(in crate::service) async fn commit(
    store: &Store,
    requests: &[Request],
    now: Time,
    window: Duration,
) -> Result<Committed, BatchError> {
    let homes = requests
        .iter()
        .filter(|request| request.once.is_some())
        .map(|request| request.context.principal.storage_reseller());
    let resellers: BTreeSet<_> = requests
        .iter()
        .map(|request| request.reseller)
        .chain(homes)
        .collect();
    let keys: Vec<AccountKey> = requests
        .iter()
        .filter_map(Request::key)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if requests.iter().all(Request::is_of_the_lifecycle) {
        let (tx, accounts) = store.look_up(&resellers, &keys).await?;
        if let Some(committed) =
            attempt(tx, Batch::of(accounts, now), requests, now + window).await?
        {
            return Ok(committed);
        }
    }
    for locked in [false, true] {
        let mut tx = store
            .begin_keyed(&Tenancy::Resellers(resellers.clone()))
            .await?;
        let loaded = Batch::load(&mut tx, requests, &keys, now, locked).await;
        let batch = match loaded {
            Ok(batch) => batch,
            Err(error) => {
                tx.abort(&error).await;
                return Err(error.into());
            }
        };
        if let Some(committed) = attempt(tx, batch, requests, now + window).await? {
            return Ok(committed);
        }
    }
    // Locked accounts cannot be changed by anybody else.
    Err(BatchError::from(Error::Unavailable))
}

/// One try; nothing, if an account was changed since it was read.
async fn attempt(
    mut tx: Tx,
    mut batch: Batch,
    requests: &[Request],
    answers_until: Time,
) -> Result<Option<Committed>, BatchError> {
    let outcomes = requests
        .iter()
        .map(|request| batch.answer(request))
        .collect();
    let told = batch
        .journal
        .iter()
        .filter(|entry| entry.sequence.is_some())
        .map(|entry| entry.reseller)
        .collect();
    match batch.write(&mut tx, answers_until).await {
        Ok(()) => {
            tx.commit().await.map_err(|error| BatchError {
                error,
                is_worth_trying_alone: false,
            })?;
            Ok(Some(Committed { outcomes, told }))
        }
        Err(CommitError::Stale) => {
            tx.rollback().await;
            Ok(None)
        }
        Err(CommitError::Error(error)) => {
            tx.abort(&error).await;
            Err(BatchError::from(error))
        }
    }
}

/// What the commands of a batch see and what they leave.
#[derive(Default)]
struct Batch {
    now: Time,
    accounts: BTreeMap<AccountKey, Account>,
    /// The accounts' versions as they were read.
    versions: BTreeMap<AccountKey, i64>,
    terms: HashMap<ResellerId, ResellerTerms>,
    live_accounts: HashMap<ResellerId, i64>,
    emails: HashMap<(ResellerId, String), AccountId>,
    plans: Vec<Arc<Plan>>,
    fresh_ids: Vec<AccountId>,
    answers: HashMap<IdempotencyKey, StoredRequest>,
    // What is to be written.
    created: BTreeSet<AccountKey>,
    changed: BTreeSet<AccountKey>,
    reprofiled: BTreeSet<AccountKey>,
    rescheduled: BTreeSet<AccountKey>,
    purged: BTreeSet<AccountKey>,
    holds: HoldWrites,
    journal: Vec<NewJournalEntry>,
    new_answers: Vec<StoredRequest>,
}

impl Batch {
    /// With accounts and nothing else: all that commands of the lifecycle need.
    fn of(accounts: Vec<Account>, now: Time) -> Self {
        let accounts: BTreeMap<AccountKey, Account> = accounts
            .into_iter()
            .map(|account| ((account.reseller_id, account.id), account))
            .collect();
        Self {
            now,
            versions: accounts
                .iter()
                .map(|(key, account)| (*key, account.version))
                .collect(),
            accounts,
            ..Self::default()
        }
    }

    async fn load(
        tx: &mut Tx,
        requests: &[Request],
        keys: &[AccountKey],
        now: Time,
        locked: bool,
    ) -> Result<Self, Error> {
        if locked {
            tx.lock_accounts(keys).await?;
        }
        let read = if keys.is_empty() {
            Vec::new()
        } else {
            tx.fetch_accounts(keys).await?
        };
        let batch = Self::of(read, now);
        let accounts = &batch.accounts;

        // After the accounts: whoever changed one before we read it has stored its answer by now.
        let asked: BTreeSet<_> = requests
            .iter()
            .filter_map(|request| request.once.as_ref().map(|once| once.key.clone()))
            .collect();
        let asked: Vec<_> = asked.into_iter().collect();
        let answers = if asked.is_empty() {
            HashMap::new()
        } else {
            tx.fetch_answers(&asked, now)
                .await?
                .into_iter()
                .map(|kept| (kept.key.clone(), kept))
                .collect()
        };

        let needs_terms = |request: &&Request| request.key().is_none() || request.is_of_the_purge();
        let creators: BTreeSet<_> = requests
            .iter()
            .filter(needs_terms)
            .map(|request| request.reseller.0)
            .collect();
        let creators: Vec<_> = creators.into_iter().collect();
        let mut terms = HashMap::new();
        let mut live_accounts = HashMap::new();
        if !creators.is_empty() {
            for reseller in tx.fetch_reseller_terms(&creators, true).await? {
                if let Some(limit) = reseller.account_limit {
                    live_accounts.insert(
                        reseller.id,
                        tx.count_live_accounts(reseller.id, limit).await?,
                    );
                }
                terms.insert(reseller.id, reseller);
            }
        }
        let creations = requests
            .iter()
            .filter(|request| request.key().is_none())
            .count();
        let creations = i32::try_from(creations).unwrap_or(i32::MAX);
        let mut fresh_ids = if creations > 0 {
            tx.next_account_ids(creations).await?
        } else {
            Vec::new()
        };
        fresh_ids.reverse();

        let named = requests
            .iter()
            .filter_map(|request| request.email().map(|email| (request.reseller, email.key())));
        let returning = requests.iter().filter(|request| {
            matches!(
                request.what,
                ChangeKind::Command {
                    command: Command::Restore,
                    ..
                }
            )
        });
        let restored = returning
            .filter_map(|request| accounts.get(&request.key()?))
            .filter_map(|account| email_key(account, true));
        let wanted: Vec<_> = named
            .chain(restored)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let emails = if wanted.is_empty() {
            HashMap::new()
        } else {
            tx.fetch_emails(&wanted).await?
        };

        let revisions = || {
            requests
                .iter()
                .filter_map(|request| Some((request.reseller, &request.revision()?.profile)))
        };
        let by_id: BTreeSet<_> = revisions()
            .filter_map(|(reseller, profile)| Some((reseller, *profile.plan_id.value()?)))
            .collect();
        let by_number: BTreeSet<_> = revisions()
            .filter_map(|(reseller, profile)| Some((reseller, *profile.tariff_id.value()?)))
            .collect();
        let mut plans: Vec<_> = tx.fetch_plans(&by_id).await?.into_values().collect();
        plans.extend(tx.fetch_numbered_plans(&by_number).await?);

        Ok(Self {
            terms,
            live_accounts,
            emails,
            plans,
            fresh_ids,
            answers,
            ..batch
        })
    }

    /// The outcome of one request, a stored one if it was answered before.
    fn answer(&mut self, request: &Request) -> Result<Completion, Error> {
        let Some(once) = &request.once else {
            return self
                .decide(request)
                .map(|done| Completion::Fresh(Box::new(done)));
        };
        if let Some(kept) = self.answers.get(&once.key) {
            let is_same = kept.fingerprint == once.fingerprint;
            return if is_same {
                Ok(Completion::Replayed(kept.answer.clone()))
            } else {
                Err(Error::IdempotencyKeyReused)
            };
        }
        let outcome = self.decide(request);
        let kept = StoredRequest {
            key: once.key.clone(),
            fingerprint: once.fingerprint,
            answer: (once.encode)(&outcome),
        };
        if kept.answer.status < 500 {
            self.answers.insert(once.key.clone(), kept.clone());
            self.new_answers.push(kept);
        }
        outcome.map(|done| Completion::Fresh(Box::new(done)))
    }

    fn decide(&mut self, request: &Request) -> Result<CommandOutcome, Error> {
        match &request.what {
            ChangeKind::Create { uid, revision } => {
                self.create(request, *uid, &self.with_plan(request.reseller, revision)?)
            }
            ChangeKind::Command {
                account,
                command: Command::Revise(revision),
                only_at,
            } => {
                let command =
                    Command::Revise(Box::new(self.with_plan(request.reseller, revision)?));
                self.command(request, (request.reseller, *account), &command, *only_at)
            }
            ChangeKind::Command {
                account,
                command: Command::PlanPurge(_),
                only_at,
            } => self.command(
                request,
                (request.reseller, *account),
                &Command::PlanPurge(self.purge_policy(request)?),
                *only_at,
            ),
            ChangeKind::Command {
                account,
                command: Command::Purge(_),
                only_at,
            } => self.command(
                request,
                (request.reseller, *account),
                &Command::Purge(self.purge_policy(request)?),
                *only_at,
            ),
            ChangeKind::Command {
                account,
                command,
                only_at,
            } => self.command(request, (request.reseller, *account), command, *only_at),
        }
    }

    /// What the reseller says of the purge, as it is in this transaction.
    fn purge_policy(&self, request: &Request) -> Result<PurgePolicy, Error> {
        self.terms
            .get(&request.reseller)
            .map(|terms| terms.purge)
            .ok_or(Error::ResellerNotFound)
    }

    fn create(
        &mut self,
        request: &Request,
        uid: Uuid,
        revision: &Revision,
    ) -> Result<CommandOutcome, Error> {
        let terms = *self
            .terms
            .get(&request.reseller)
            .ok_or(Error::ResellerNotFound)?;
        let live = self
            .live_accounts
            .get(&request.reseller)
            .copied()
            .unwrap_or_default();
        if terms
            .account_limit
            .is_some_and(|limit| live >= i64::from(limit))
        {
            return Err(Error::QuotaReached);
        }
        let id = self.fresh_ids.pop().ok_or(Error::Unavailable)?;
        let new = NewAccount {
            id,
            uid,
            reseller_id: request.reseller,
            reseller_suspended_at: terms.suspended_at,
        };
        let change = Account::create(&new, revision, &request.context.principal.actor(), self.now)?;
        self.check_email(&change.after)?;
        self.live_accounts.insert(request.reseller, live + 1);
        self.created.insert((request.reseller, id));
        Ok(self.apply(request, "create", None, change))
    }

    fn command(
        &mut self,
        request: &Request,
        key: AccountKey,
        command: &Command,
        only_at: Option<i64>,
    ) -> Result<CommandOutcome, Error> {
        let account = self
            .accounts
            .get(&key)
            .filter(|_| !self.purged.contains(&key))
            .ok_or(Error::AccountNotFound)?
            .clone();
        let is_current = only_at.is_none_or(|version| version == account.version);
        let decided = if is_current {
            account.decide(command, &request.context.principal.actor(), self.now)
        } else {
            Err(Error::PreconditionFailed)
        };
        let decided = decided.and_then(|change| {
            self.check_email(&change.after)?;
            Ok(change)
        });
        match decided {
            Ok(change) => Ok(self.apply(request, command.action(), Some(&account), change)),
            Err(error) => {
                let entry = self.entry(request, key.1, command.action(), Outcome::Refused);
                self.journal.push(NewJournalEntry {
                    refusal: Some(error.to_string()),
                    ..entry
                });
                Err(error)
            }
        }
    }

    /// A plan has an identity and a number, and an account has both or, for a number that no plan has, the number alone: what
    /// a request says of one is said of the other.
    fn with_plan(&self, reseller: ResellerId, revision: &Revision) -> Result<Revision, Error> {
        let mut revision = revision.clone();
        let plan = |fits: &dyn Fn(&Plan) -> bool| {
            self.plans
                .iter()
                .find(|plan| plan.reseller_id == reseller && fits(plan))
        };
        match (&revision.profile.plan_id, &revision.profile.tariff_id) {
            (Patch::Set(id), _) => {
                let plan = plan(&|plan| plan.id == *id)
                    .ok_or_else(|| Error::invalid("plan_id", "no such plan"))?;
                revision.profile.tariff_id = Patch::Set(plan.number);
            }
            (Patch::Clear, _) => revision.profile.tariff_id = Patch::Clear,
            (Patch::Keep, Patch::Set(number)) => {
                revision.profile.plan_id = plan(&|plan| plan.number == *number)
                    .map_or(Patch::Clear, |plan| Patch::Set(plan.id));
            }
            (Patch::Keep, Patch::Clear) => revision.profile.plan_id = Patch::Clear,
            (Patch::Keep, Patch::Keep) => {}
        }
        Ok(revision)
    }

    /// Takes a change over, and notes what is to be written of it.
    fn apply(
        &mut self,
        request: &Request,
        action: &'static str,
        before: Option<&Account>,
        mut change: Change,
    ) -> CommandOutcome {
        if let Some(id) = change
            .after
            .profile
            .plan_id
            .filter(|id| change.after.plan.as_ref().is_none_or(|plan| plan.id != *id))
        {
            change.after.plan = self
                .plans
                .iter()
                .find(|plan| plan.reseller_id == change.after.reseller_id && plan.id == id)
                .cloned();
        } else if change.after.profile.plan_id.is_none() {
            change.after.plan = None;
        }
        let outcome = change.outcome();
        let key = (change.after.reseller_id, change.after.id);
        if outcome == Outcome::Applied {
            if before.is_none_or(|before| before.profile != change.after.profile) {
                self.reprofiled.insert(key);
            }
            let planned =
                |it: &Account| (it.exempt_until, it.announce_at, it.purge_due_at, it.warn_at);
            if before.map_or_else(Default::default, planned) != planned(&change.after) {
                self.rescheduled.insert(key);
            }
            if change.events.contains(&Event::Purged) {
                self.purged.insert(key);
            }
            self.changed.insert(key);
            let actor = request.context.principal.actor();
            self.holds
                .add(key.0, key.1, &change.holds, &actor.name, self.now);
            if let Some(free) = before.and_then(|before| email_key(before, false)) {
                self.emails.remove(&free);
            }
            if let Some(taken) = email_key(&change.after, false) {
                self.emails.insert(taken, key.1);
            }
            if change.after.deleted_at.is_some()
                && let Some(live) = self.live_accounts.get_mut(&key.0)
            {
                *live -= 1;
            }
        }
        if outcome == Outcome::Unchanged && request.context.dialect == Dialect::Job {
            // Nobody asked, and nothing came of it.
            return CommandOutcome {
                account: change.after,
                outcome,
                at: self.now,
            };
        }
        let sequence = (outcome == Outcome::Applied).then_some(change.after.version);
        let entry = self.entry(request, key.1, action, outcome);
        self.journal.push(NewJournalEntry {
            sequence,
            events: change.events,
            fields: change.fields,
            ..entry
        });
        self.accounts.insert(key, change.after.clone());
        CommandOutcome {
            account: change.after,
            outcome,
            at: self.now,
        }
    }

    fn check_email(&self, account: &Account) -> Result<(), Error> {
        let owner = email_key(account, false).and_then(|key| self.emails.get(&key));
        if owner.is_some_and(|owner| *owner != account.id) {
            Err(Error::Conflict(Conflict::EmailInUse))
        } else {
            Ok(())
        }
    }

    fn entry(
        &self,
        request: &Request,
        account: AccountId,
        action: &'static str,
        outcome: Outcome,
    ) -> NewJournalEntry {
        let principal = &request.context.principal;
        NewJournalEntry {
            reseller: request.reseller,
            account,
            at: self.now,
            sequence: None,
            action,
            outcome,
            refusal: None,
            events: Vec::new(),
            authority: principal.authority(),
            actor: principal.actor().name,
            token: principal.token,
            dialect: request.context.dialect,
            request_id: request.context.request_id.clone(),
            fields: Vec::new(),
        }
    }

    /// Writes everything.
    async fn write(mut self, tx: &mut Tx, answers_until: Time) -> Result<(), CommitError> {
        if tx.is_standalone() && !self.rescheduled.is_empty() {
            return Err(CommitError::Stale);
        }
        let pick = |keys: &BTreeSet<AccountKey>, is_new: bool| -> Vec<&Account> {
            keys.iter()
                .filter(|key| self.created.contains(key) == is_new)
                .filter_map(|key| self.accounts.get(key))
                .collect()
        };
        let (changed, reprofiled, created) = (
            pick(&self.changed, false),
            pick(&self.reprofiled, false),
            pick(&self.created, true),
        );
        let was = |account: &Account| {
            self.versions
                .get(&(account.reseller_id, account.id))
                .copied()
                .unwrap_or_default()
        };
        let changed: Vec<(&Account, i64)> = changed
            .into_iter()
            .map(|account| (account, was(account)))
            .collect();
        if !self.journal.is_empty() {
            // One that is only read is locked, and then all are: everybody locks in the order of the keys.
            let is_only_read = |key: &AccountKey| !self.changed.contains(key);
            let seen: Vec<(AccountKey, i64)> = if self.versions.keys().any(is_only_read) {
                self.versions
                    .iter()
                    .map(|(key, was)| (*key, *was))
                    .collect()
            } else {
                Vec::new()
            };
            let all = Changes {
                seen: &seen,
                accounts: &changed,
                holds: &self.holds,
                journal: &self.journal,
            };
            if !tx.record_changes(&all).await? {
                return Err(CommitError::Stale);
            }
        }
        // Addresses that are given up come before those that are taken.
        if !reprofiled.is_empty() {
            tx.update_profiles(&reprofiled).await?;
        }
        if !created.is_empty() {
            tx.insert_accounts(&created).await?;
        }
        let meant = |keys: &BTreeSet<AccountKey>| -> Vec<&Account> {
            keys.iter()
                .filter_map(|key| self.accounts.get(key))
                .collect()
        };
        if !self.rescheduled.is_empty() {
            tx.update_schedules(&meant(&self.rescheduled)).await?;
        }
        if !self.purged.is_empty() && !tx.purge_accounts(&meant(&self.purged), self.now).await? {
            return Err(CommitError::Stale);
        }
        if !self.new_answers.is_empty() {
            // In one order everywhere: an operator's keys may come through several lanes.
            self.new_answers
                .sort_unstable_by(|one, other| one.key.cmp(&other.key));
            tx.insert_answers(&self.new_answers, self.now, answers_until)
                .await?;
        }
        Ok(())
    }
}

/// The address that an account occupies: a deleted one occupies none, unless it is to be restored.
fn email_key(account: &Account, although_deleted: bool) -> Option<(ResellerId, String)> {
    let email = account
        .profile
        .email
        .as_ref()
        .filter(|_| although_deleted || account.deleted_at.is_none())?;
    Some((account.reseller_id, email.key()))
}

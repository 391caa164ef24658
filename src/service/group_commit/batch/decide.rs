//! Decides the requests of a batch in memory. Each sees the effect of those before it.

use std::borrow::Cow;

use uuid::Uuid;

use super::{Batch, Request, emails_of, is_live, live_email};
use crate::domain::{
    Account, AccountId, AccountKey, Change, Command, Conflict, Dialect, Error, Event, NewAccount,
    Outcome, Patch, Plan, PurgePolicy, ResellerId, Revision,
};
use crate::service::group_commit::request::ChangeKind;
use crate::service::{CommandOutcome, Completion, Context, IdempotentRequest, Principal};
use crate::store::NewJournalEntry;

impl Batch {
    /// The outcome of a request, or the stored answer if it is a repeat.
    pub(super) fn answer(&mut self, request: &Request) -> Result<Completion, Error> {
        let Some(idempotency) = &request.idempotency else {
            let outcome = self.decide(request)?;
            return Ok(Completion::Fresh(Box::new(outcome)));
        };
        let other = self.under_other_key(request);
        for known in [Some(idempotency), other.as_ref()].into_iter().flatten() {
            if let Some(stored) = self.answers.get(&known.key) {
                return known
                    .stored_answer(stored.clone())
                    .map(Completion::Replayed);
            }
        }
        let outcome = self.decide(request);
        if let Some(stored) = idempotency.with_answer(&outcome) {
            self.answers.insert(stored.key.clone(), stored.clone());
            self.new_answers.push(stored);
        }
        outcome.map(|outcome| Completion::Fresh(Box::new(outcome)))
    }

    /// The idempotent request under the other identity of its account. `None` without a key, or
    /// if the account does not exist.
    pub(super) fn under_other_key(&self, request: &Request) -> Option<IdempotentRequest> {
        let idempotency = request.idempotency.as_ref()?;
        idempotency.under_other_key(self.accounts.get(&request.key()?)?)
    }

    fn decide(&mut self, request: &Request) -> Result<CommandOutcome, Error> {
        self.check_suspension(request)?;
        match &request.kind {
            ChangeKind::Create { uid, revision } => {
                let revision = self.with_plan(request.reseller, revision)?;
                self.create(request, *uid, &revision)
            }
            ChangeKind::Command {
                account,
                command,
                expected_versions,
                filter,
            } => {
                let key = (request.reseller, *account);
                // A job does not call an account that it no longer selects, so nothing is written.
                if let Some(filter) = filter
                    && let Some(account) = self.accounts.get(&key)
                    && !filter.admits(account, self.now)
                {
                    return Err(Error::Conflict(Conflict::NotSelected));
                }
                let command = self.complete(request.reseller, command)?;
                self.command(request, key, &command, expected_versions.as_deref())
            }
        }
    }

    /// Refuses the request of a suspended reseller. It leaves no journal entry, as any request that
    /// its credential does not allow. If the reseller is not suspended, that is checked once more
    /// when the batch is written.
    fn check_suspension(&mut self, request: &Request) -> Result<(), Error> {
        if !request.context.principal.heeds_suspension {
            return Ok(());
        }
        let suspended_at = match request.key() {
            Some(key) => self.accounts.get(&key).map(|it| it.reseller_suspended_at),
            None => self.terms.get(&request.reseller).map(|it| it.suspended_at),
        };
        if suspended_at.flatten().is_some() {
            return Err(Error::ResellerSuspended);
        }
        self.unsuspended.insert(request.reseller);
        Ok(())
    }

    /// Refuses one more live account of a reseller that has as many as it may have.
    fn check_quota(&self, reseller: ResellerId) -> Result<(), Error> {
        let limit = self.terms.get(&reseller).and_then(|it| it.account_limit);
        let live = self.live_accounts.get(&reseller).copied();
        match limit {
            Some(limit) if live.unwrap_or_default() >= i64::from(limit) => Err(Error::QuotaReached),
            _ => Ok(()),
        }
    }

    /// The command with the facts that this transaction has read: an account's plan, or its
    /// reseller's purge policy.
    fn complete<'a>(
        &self,
        reseller: ResellerId,
        command: &'a Command,
    ) -> Result<Cow<'a, Command>, Error> {
        let completed = if let Command::Revise(revision) = command {
            Command::Revise(Box::new(self.with_plan(reseller, revision)?))
        } else if let Command::PlanPurge(_) = command {
            Command::PlanPurge(self.purge_policy(reseller)?)
        } else if let Command::Purge(_) = command {
            Command::Purge(self.purge_policy(reseller)?)
        } else {
            return Ok(Cow::Borrowed(command));
        };
        Ok(Cow::Owned(completed))
    }

    fn purge_policy(&self, reseller: ResellerId) -> Result<PurgePolicy, Error> {
        self.terms
            .get(&reseller)
            .map(|terms| terms.purge)
            .ok_or(Error::ResellerNotFound)
    }

    /// A plan has an identity and a number, and a revision may name either. The account stores
    /// both, or the number alone if no plan has it. Adds the missing one to the revision.
    pub(super) fn with_plan(
        &self,
        reseller: ResellerId,
        revision: &Revision,
    ) -> Result<Revision, Error> {
        let mut revision = revision.clone();
        match (&revision.profile.plan_id, &revision.profile.tariff_id) {
            (Patch::Set(id), _) => {
                let plan = self
                    .find_plan(reseller, |plan| plan.id == *id)
                    .ok_or_else(|| Error::invalid("plan_id", "no such plan"))?;
                revision.profile.tariff_id = Patch::Set(plan.number);
            }
            (Patch::Clear, _) => revision.profile.tariff_id = Patch::Clear,
            (Patch::Keep, Patch::Set(number)) => {
                let plan = self.find_plan(reseller, |plan| plan.number == *number);
                revision.profile.plan_id = plan.map_or(Patch::Clear, |plan| Patch::Set(plan.id));
            }
            (Patch::Keep, Patch::Clear) => revision.profile.plan_id = Patch::Clear,
            (Patch::Keep, Patch::Keep) => {}
        }
        Ok(revision)
    }

    fn find_plan(
        &self,
        reseller: ResellerId,
        matches: impl Fn(&Plan) -> bool,
    ) -> Option<&std::sync::Arc<Plan>> {
        self.plans
            .iter()
            .find(|plan| plan.reseller_id == reseller && matches(plan))
    }

    fn create(
        &mut self,
        request: &Request,
        uid: Uuid,
        revision: &Revision,
    ) -> Result<CommandOutcome, Error> {
        let reseller = request.reseller;
        let terms = *self.terms.get(&reseller).ok_or(Error::ResellerNotFound)?;
        self.check_quota(reseller)?;
        // Without a number left, what else may refuse the account is still found out.
        let id = self.fresh_ids.last().copied().or(self.spare_id);
        let id = id.ok_or(Error::AccountNumbersExhausted)?;
        let new = NewAccount {
            id,
            uid,
            reseller_id: reseller,
            reseller_suspended_at: terms.suspended_at,
        };
        let change = Account::create(&new, revision, &request.context.principal.actor(), self.now)?;
        self.check_email(None, &change.after)?;
        // The number is used up only now that nothing can refuse the account any more.
        self.fresh_ids.pop().ok_or(Error::AccountNumbersExhausted)?;
        self.created.insert((reseller, id));
        Ok(self.apply(request, "create", None, change))
    }

    fn command(
        &mut self,
        request: &Request,
        key: AccountKey,
        command: &Command,
        expected_versions: Option<&[i64]>,
    ) -> Result<CommandOutcome, Error> {
        let account = self
            .accounts
            .get(&key)
            .filter(|_| !self.purged.contains(&key))
            .ok_or(Error::AccountNotFound)?
            .clone();
        let is_expected =
            expected_versions.is_none_or(|versions| versions.contains(&account.version));
        let actor = request.context.principal.actor();
        let mut account = account;
        let mut decided = if is_expected {
            account.decide(command, &actor, self.now)
        } else {
            Err(Error::PreconditionFailed)
        };
        // What changes nothing needs no past in order.
        let changes = |change: &Change| change.outcome() == Outcome::Applied;
        if *command != Command::Announce && decided.as_ref().is_ok_and(changes) {
            let announced = self.announce_holds(request, account.clone());
            if announced.version != account.version {
                account = announced;
                decided = account.decide(command, &actor, self.now);
            }
        }
        let decided = decided.and_then(|change| {
            if !is_live(&account) && is_live(&change.after) {
                self.check_quota(key.0)?;
            }
            self.check_email(Some(&account), &change.after)
                .map(|()| change)
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

    /// Announces the begins and the lapses of holds that are due, before a command is carried out:
    /// the events then tell what happened to the holds in its order. Returns the account afterwards.
    pub(super) fn announce_holds(&mut self, request: &Request, mut account: Account) -> Account {
        let jobs = Principal::automation(account.reseller_id);
        while let Some(change) = account.announce_hold(&jobs.actor(), self.now) {
            let request = Request {
                context: Context {
                    principal: jobs.clone(),
                    dialect: Dialect::Job,
                    request_id: "job".to_owned(),
                },
                idempotency: None,
                ..request.clone()
            };
            let action = Command::Announce.action();
            account = self.apply(&request, action, Some(&account), change).account;
        }
        account
    }

    /// Checks that a change takes no address of another account. `before` is the account before the
    /// change; `None` means that the change creates it.
    pub(super) fn check_email(
        &self,
        before: Option<&Account>,
        account: &Account,
    ) -> Result<(), Error> {
        let taken = live_email(account);
        if account.deleted_at.is_some() || taken == before.and_then(live_email) {
            return Ok(());
        }
        let is_others = |key: (ResellerId, String)| {
            let owner = self.emails.get(&key);
            owner.is_some_and(|owner| *owner != account.id)
        };
        if emails_of(account).into_iter().any(is_others) {
            Err(Error::Conflict(Conflict::EmailInUse))
        } else {
            Ok(())
        }
    }

    /// Applies a change to the batch, and records what is to be written. `before` is the account
    /// before the change; `None` means that the change creates it.
    pub(super) fn apply(
        &mut self,
        request: &Request,
        action: &'static str,
        before: Option<&Account>,
        mut change: Change,
    ) -> CommandOutcome {
        self.attach_plan(&mut change.after);
        let outcome = change.outcome();
        if outcome == Outcome::Applied {
            self.record(before, &change);
        }
        let result = CommandOutcome {
            account: change.after.clone(),
            outcome,
            at: self.now,
        };
        if outcome == Outcome::Unchanged && request.context.dialect == Dialect::Job {
            // A background job that changed nothing leaves no journal entry.
            return result;
        }
        let account = &change.after;
        let entry = self.entry(request, account.id, action, outcome);
        self.journal.push(NewJournalEntry {
            sequence: (outcome == Outcome::Applied).then_some(account.version),
            events: change.events,
            fields: change.fields,
            ..entry
        });
        self.accounts
            .insert((account.reseller_id, account.id), change.after);
        result
    }

    /// Sets the account's plan to the plan that its profile names.
    fn attach_plan(&self, account: &mut Account) {
        let Some(id) = account.profile.plan_id else {
            account.plan = None;
            return;
        };
        if account.plan.as_ref().is_none_or(|plan| plan.id != id) {
            account.plan = self
                .find_plan(account.reseller_id, |plan| plan.id == id)
                .cloned();
        }
    }

    /// Records the rows that an applied change writes, and updates the data that the decisions on
    /// later requests use.
    fn record(&mut self, before: Option<&Account>, change: &Change) {
        let after = &change.after;
        let key = (after.reseller_id, after.id);
        if before.is_none_or(|before| before.profile != after.profile) {
            self.reprofiled.insert(key);
        }
        if before.is_some_and(|before| before.profile.metadata != after.profile.metadata)
            && !self.created.contains(&key)
        {
            self.retagged.insert(key);
        }
        let schedule = |account: &Account| {
            (
                account.exempt_until,
                account.announce_at,
                account.purge_due_at,
                account.warn_at,
            )
        };
        if before.map_or_else(Default::default, schedule) != schedule(after) {
            self.rescheduled.insert(key);
        }
        if change.events.contains(&Event::Purged) {
            self.purged.insert(key);
        }
        self.changed.insert(key);
        self.held.note(key, &change.holds);
        if let Some(freed) = before.and_then(live_email) {
            self.emails.remove(&freed);
        }
        if let Some(taken) = live_email(after) {
            self.emails.insert(taken, key.1);
        }
        let count = |is_live| i64::from(is_live);
        let were = count(before.is_some_and(is_live));
        let are = count(is_live(after) && !self.purged.contains(&key));
        if let Some(live) = self.live_accounts.get_mut(&key.0) {
            *live += are - were;
        }
    }

    /// The journal entry of a request. Events, fields and the refusal are added by the caller.
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
}

//! Imports: many accounts of one reseller in one transaction. The rows are matched with the accounts
//! that exist, decided in memory, and written like any other batch.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::{Batch, BatchError, CommitError, imported_numbers, load};
use crate::domain::{
    Account, AccountId, AccountKey, Actor, Conflict, Error, Hold, HoldKind, ImportedAccount,
    NewAccount, Outcome, ResellerId, Time,
};
use crate::service::Context;
use crate::service::group_commit::import_batch::{
    ImportBatch, ImportOutcome, ImportOutcomes, ImportProblem, OnExisting, OwnBlocks,
};
use crate::service::group_commit::request::{ChangeKind, Request};
use crate::store::{Store, Tenancy, Tx};

/// How often a batch is tried: other processes change accounts too, and then it is read anew. The
/// last tries lock the accounts.
const TRIES: usize = 6;

/// Imports rows in one transaction, or only finds out what would come of them.
///
/// # Errors
/// [`Error::Unavailable`] if the commit was not answered, or nothing can be committed;
/// [`Error::ResellerNotFound`].
pub(in crate::service) async fn import(
    store: &Store,
    context: &Context,
    batch: &ImportBatch,
    now: Time,
) -> Result<ImportOutcomes, Error> {
    let mut last = Error::Unavailable;
    for attempt in 0..TRIES {
        match try_import(store, context, batch, now, attempt >= 2).await {
            Ok(Some(outcomes)) => {
                let created = |it: &&Result<_, _>| matches!(it, Ok(ImportOutcome::Created(_)));
                if batch.is_writing {
                    store.note_created(outcomes.iter().filter(created).count());
                }
                return Ok(outcomes);
            }
            Ok(None) => {}
            // Somebody else took an address, a number or a UUID after it was looked up.
            Err(BatchError {
                error:
                    error @ (Error::Conflict(_) | Error::InvalidField { .. } | Error::Unavailable),
                is_worth_trying_alone: true,
            }) => last = error,
            Err(BatchError { error, .. }) => return Err(error),
        }
    }
    Err(last)
}

/// `None` means that an account was stale, and nothing was committed.
async fn try_import(
    store: &Store,
    context: &Context,
    import: &ImportBatch,
    now: Time,
    is_locking: bool,
) -> Result<Option<ImportOutcomes>, BatchError> {
    let not_committed = |error: Error| BatchError {
        is_worth_trying_alone: true,
        error,
    };
    let mut tx = store
        .begin_keyed(&Tenancy::of(import.reseller))
        .await
        .map_err(not_committed)?;
    let decided = match Decided::load(&mut tx, context, import, now, is_locking).await {
        Ok(decided) => decided,
        Err(error) => {
            tx.abort(&error).await;
            return Err(not_committed(error));
        }
    };
    if !import.is_writing {
        tx.rollback().await;
        return Ok(Some(decided.outcomes));
    }
    match decided.batch.write(&mut tx, now).await {
        Ok(_) => tx.commit().await.map_err(|error| BatchError {
            error,
            is_worth_trying_alone: false,
        })?,
        Err(CommitError::Stale) => {
            tx.rollback().await;
            return Ok(None);
        }
        Err(CommitError::Error(error)) => {
            tx.abort(&error).await;
            return Err(not_committed(error));
        }
    }
    Ok(Some(decided.outcomes))
}

/// A batch whose rows are decided.
struct Decided {
    batch: Batch,
    outcomes: ImportOutcomes,
}

/// The identities of accounts beside those in the batch.
#[derive(Clone, Default)]
struct Identities {
    /// The accounts of the reseller that have a UUID of a row.
    by_uid: HashMap<Uuid, AccountId>,
    /// Numbers that an account of another reseller has, or one that was purged.
    taken_numbers: HashSet<i32>,
    /// UUIDs that an account of another reseller has, or one that was purged.
    taken_uids: HashSet<Uuid>,
}

impl Decided {
    async fn load(
        tx: &mut Tx,
        context: &Context,
        import: &ImportBatch,
        now: Time,
        is_locking: bool,
    ) -> Result<Self, Error> {
        let reseller = import.reseller;
        let rows = &import.rows;
        let numbers: Vec<i32> = rows
            .iter()
            .filter_map(|row| Some(row.number?.as_i32()))
            .collect();
        let uids: Vec<Uuid> = rows.iter().filter_map(|row| row.uid).collect();
        let requests = requests(context, import);
        let (terms, mut live_accounts) = load::load_terms(tx, &requests, import.is_writing).await?;
        if !terms.contains_key(&reseller) {
            return Err(Error::ResellerNotFound);
        }
        *live_accounts.entry(reseller).or_default() += import.planned;
        let (mut taken_numbers, mut taken_uids) = if numbers.is_empty() && uids.is_empty() {
            Default::default()
        } else {
            tx.taken_account_ids(&numbers, &uids).await?
        };
        let found = tx.locate_imported(reseller, &numbers, &uids).await?;
        for (id, uid) in &found {
            taken_numbers.remove(&id.as_i32());
            taken_uids.remove(uid);
        }
        let emails = Batch::of(Vec::new(), now)
            .load_emails(tx, &requests)
            .await?;
        let keys: BTreeSet<AccountKey> = found
            .iter()
            .map(|(id, _)| *id)
            .chain(emails.values().copied())
            .map(|id| (reseller, id))
            .collect();
        let keys: Vec<AccountKey> = keys.into_iter().collect();
        if is_locking && !keys.is_empty() {
            tx.lock_accounts(&keys).await?;
        }
        let accounts = if keys.is_empty() {
            Vec::new()
        } else {
            tx.fetch_accounts(&keys).await?
        };
        let plans = load::load_plans(tx, &requests).await?;
        let identities = Identities {
            by_uid: found.iter().map(|(id, uid)| (*uid, *id)).collect(),
            taken_numbers,
            taken_uids,
        };
        let batch = Batch {
            terms,
            live_accounts,
            emails,
            plans,
            ..Batch::of(accounts, now)
        };
        Self::decide(tx, batch, identities, import, &requests).await
    }

    /// Decides the rows, first with numbers that no account has, in order to draw as many as are
    /// needed.
    async fn decide(
        tx: &mut Tx,
        mut batch: Batch,
        identities: Identities,
        import: &ImportBatch,
        requests: &[Request],
    ) -> Result<Self, Error> {
        let named: HashSet<AccountId> = import.rows.iter().filter_map(|row| row.number).collect();
        let avoid: HashSet<AccountId> = batch
            .accounts
            .keys()
            .map(|(_, id)| *id)
            .chain(named.iter().copied())
            .collect();
        let unnamed = import.rows.len() - named.len();
        let mut rehearsal = batch.clone();
        rehearsal.fresh_ids = load::unused_ids(&avoid, unnamed);
        let outcomes = rehearsal.import_rows(&mut identities.clone(), import, requests);
        if !import.is_writing {
            return Ok(Self {
                batch: rehearsal,
                outcomes,
            });
        }
        let created = rehearsal.created.iter().map(|(_, id)| *id);
        let (brought, fresh): (Vec<_>, Vec<_>) = created.partition(|id| named.contains(id));
        imported_numbers::pass_dense(tx, brought).await?;
        if fresh.is_empty() {
            return Ok(Self {
                batch: rehearsal,
                outcomes,
            });
        }
        // Rows of this batch or of a later one bring these numbers along.
        let is_reserved = |id: &AccountId| named.contains(id) || import.reserved.contains(id);
        let mut fresh = imported_numbers::draw(tx, fresh.len(), is_reserved).await?;
        fresh.reverse();
        batch.fresh_ids = fresh;
        let mut identities = identities;
        let outcomes = batch.import_rows(&mut identities, import, requests);
        Ok(Self { batch, outcomes })
    }
}

/// A request for each row, with what loading and the journal need.
fn requests(context: &Context, import: &ImportBatch) -> Vec<Request> {
    let request = |row: &ImportedAccount| Request {
        context: context.clone(),
        reseller: import.reseller,
        kind: ChangeKind::Create {
            uid: row.uid.unwrap_or_else(Uuid::new_v4),
            revision: Box::new(row.revision.clone()),
        },
        idempotency: None,
    };
    import.rows.iter().map(request).collect()
}

impl Batch {
    fn import_rows(
        &mut self,
        identities: &mut Identities,
        import: &ImportBatch,
        requests: &[Request],
    ) -> ImportOutcomes {
        let mut outcomes = Vec::with_capacity(import.rows.len());
        for (row, request) in import.rows.iter().zip(requests) {
            let outcome = self.import_row(identities, row, request, import.on_existing);
            let is_problem = outcome.is_err();
            outcomes.push(outcome);
            if is_problem && import.stops_at_problem {
                break;
            }
        }
        outcomes
    }

    fn import_row(
        &mut self,
        identities: &mut Identities,
        row: &ImportedAccount,
        request: &Request,
        on_existing: OnExisting,
    ) -> Result<ImportOutcome, ImportProblem> {
        let revision = self.with_plan(request.reseller, &row.revision)?;
        let row = &ImportedAccount {
            revision,
            ..row.clone()
        };
        match self.matching(identities, row, request.reseller)? {
            Some((account, column)) => {
                self.import_existing(&account, column, row, request, on_existing)
            }
            None => self.import_new(identities, row, request),
        }
    }

    /// The account that has the number, the UUID or the address of a row, and the column by which it
    /// was found.
    fn matching(
        &self,
        identities: &Identities,
        row: &ImportedAccount,
        reseller: ResellerId,
    ) -> Result<Option<(Account, &'static str)>, ImportProblem> {
        let by_number = row
            .number
            .filter(|id| self.accounts.contains_key(&(reseller, *id)));
        let by_uid = row.uid.and_then(|uid| identities.by_uid.get(&uid).copied());
        let email = row.revision.profile.email.value();
        let by_email = email.and_then(|email| {
            let mut keys = email.possible_keys().into_iter();
            keys.find_map(|key| self.emails.get(&(reseller, key)).copied())
        });
        let mut found: Option<(AccountId, &'static str)> = None;
        for (id, column) in [(by_number, "number"), (by_uid, "uid"), (by_email, "email")] {
            match (id, found) {
                (Some(id), None) => found = Some((id, column)),
                (Some(id), Some((other, other_column))) if id != other => {
                    return Err(ImportProblem::of(
                        column,
                        format!(
                            "account {id} has it, but account {other} has the {other_column} of \
                             this row; a row is about one account"
                        ),
                    ));
                }
                _ => {}
            }
        }
        let Some((id, column)) = found else {
            return Ok(None);
        };
        let account = self.accounts.get(&(reseller, id)).cloned();
        Ok(account.map(|account| (account, column)))
    }

    fn import_existing(
        &mut self,
        account: &Account,
        column: &'static str,
        row: &ImportedAccount,
        request: &Request,
        on_existing: OnExisting,
    ) -> Result<ImportOutcome, ImportProblem> {
        let id = account.id;
        if account.deleted_at.is_some() {
            if on_existing == OnExisting::Skip {
                return Ok(ImportOutcome::Skipped(id, OwnBlocks::default()));
            }
            return Err(ImportProblem::of(
                column,
                format!(
                    "account {id} has it, and is deleted; restore it, or use --on-existing skip"
                ),
            ));
        }
        let cannot_become = |what: &str, has: String, other: String| {
            let problem = format!("account {id} has it; its {what} {has} cannot become {other}");
            Err(ImportProblem::of(column, problem))
        };
        let is_skipped = on_existing == OnExisting::Skip;
        if let Some(number) = row.number.filter(|it| *it != id && !is_skipped) {
            return cannot_become("number", id.to_string(), number.to_string());
        }
        if let Some(uid) = row.uid.filter(|it| *it != account.uid && !is_skipped) {
            return cannot_become("uid", account.uid.to_string(), uid.to_string());
        }
        let is_same = row.number.is_none_or(|number| number == id)
            && row.uid.is_none_or(|uid| uid == account.uid)
            && row.created_at.is_none_or(|at| at == account.created_at);
        let actor = request.context.principal.actor();
        let blocks = blocks_here(account, row, &actor, self.now);
        let account = match on_existing {
            OnExisting::Update => &self.announce_holds(request, account.clone()),
            OnExisting::Skip | OnExisting::Fail => account,
        };
        let change = account.reimport(row, &actor, self.now)?;
        let is_unchanged = change.outcome() == Outcome::Unchanged;
        match on_existing {
            _ if is_unchanged && is_same => Ok(ImportOutcome::AlreadyThere(id, blocks)),
            OnExisting::Skip => Ok(ImportOutcome::Skipped(id, blocks)),
            OnExisting::Update if is_unchanged => Ok(ImportOutcome::AlreadyThere(id, blocks)),
            OnExisting::Update => {
                self.check_email(Some(account), &change.after)?;
                self.apply(request, "import", Some(account), change);
                Ok(ImportOutcome::Updated(id, blocks))
            }
            OnExisting::Fail => {
                let mut differs: Vec<&str> = change
                    .fields
                    .iter()
                    .map(|changed| column_of(&changed.field))
                    .collect();
                differs.dedup();
                if row.created_at.is_some_and(|at| at != account.created_at) {
                    differs.push("created_at");
                }
                Err(ImportProblem::of(
                    column,
                    format!(
                        "account {id} has it, and differs in {}; --on-existing skip leaves such \
                         accounts as they are, update changes them",
                        differs.join(", ")
                    ),
                ))
            }
        }
    }

    fn import_new(
        &mut self,
        identities: &mut Identities,
        row: &ImportedAccount,
        request: &Request,
    ) -> Result<ImportOutcome, ImportProblem> {
        let reseller = request.reseller;
        if let Some(number) = row.number
            && identities.taken_numbers.contains(&number.as_i32())
        {
            return Err(ImportProblem::of(
                "number",
                "an account of another reseller has it, or one that was purged; leave it empty for \
                 the next free number",
            ));
        }
        if row
            .uid
            .is_some_and(|uid| identities.taken_uids.contains(&uid))
        {
            return Err(ImportProblem::of(
                "uid",
                "an account of another reseller has it, or one that was purged; leave it empty for a \
                 random one",
            ));
        }
        let terms = *self.terms.get(&reseller).ok_or(Error::ResellerNotFound)?;
        let live = self
            .live_accounts
            .get(&reseller)
            .copied()
            .unwrap_or_default();
        if let Some(limit) = terms.account_limit
            && live >= i64::from(limit)
        {
            return Err(ImportProblem {
                column: None,
                problem: format!(
                    "the reseller may have {limit} accounts and has {live}; an operator raises the \
                     limit with PATCH /v3/resellers/{reseller} and accountLimit"
                ),
            });
        }
        let fresh = self.fresh_ids.last().copied();
        let id = row.number.or(fresh).ok_or(Error::AccountNumbersExhausted)?;
        let ChangeKind::Create { uid, .. } = &request.kind else {
            return Err(Error::AccountNotFound.into());
        };
        let new = NewAccount {
            id,
            uid: *uid,
            reseller_id: reseller,
            reseller_suspended_at: terms.suspended_at,
        };
        let change = Account::import(&new, row, &request.context.principal.actor(), self.now)?;
        self.check_email(None, &change.after)?;
        if row.number.is_none() {
            self.fresh_ids.pop();
        }
        self.created.insert((reseller, id));
        identities.by_uid.insert(*uid, id);
        self.apply(request, "import", None, change);
        Ok(ImportOutcome::Created(id))
    }
}

/// The caller's own holds, of no owner in particular, that the account has and the row does not.
fn blocks_here(account: &Account, row: &ImportedAccount, by: &Actor, now: Time) -> OwnBlocks {
    let has = |kind| {
        let is_own = |hold: &&Hold| hold.kind == kind && hold.is_of(by.authority, by.owner(None));
        let mut holds = account.holds.iter().filter(is_own);
        holds.any(|hold| !hold.has_lapsed(now))
    };
    OwnBlocks {
        freeze: row.freeze.is_none() && has(HoldKind::Freeze),
        suspension: row.suspension.is_none() && has(HoldKind::Suspend),
    }
}

/// The columns of the file that a field comes from.
fn column_of(field: &str) -> &str {
    match field {
        "plan_id" | "tariff_id" => "plan",
        "freeze:reseller" => "freeze_reason, freeze_payment_url or freeze_since",
        hold if hold.starts_with("suspend:reseller") => {
            "suspend_reason, suspend_message, suspend_since or suspend_owner"
        }
        other => other,
    }
}

impl From<Error> for ImportProblem {
    fn from(error: Error) -> Self {
        if let Error::InvalidField { field, problem } = error {
            return Self::of(column_of(field), problem);
        }
        if error == Error::Conflict(Conflict::EmailInUse) {
            return Self::of("email", "another account of this reseller has it");
        }
        Self {
            column: None,
            problem: error.to_string(),
        }
    }
}

//! One transaction for many requests.
//!
//! A [`Batch`] is loaded with the accounts, decides each request in memory, and is then written.
//! `group_commit/mod.rs` explains group commit.

mod decide;
mod import;
mod imported_numbers;
mod load;
mod rehearsal;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::service) use import::import;

use super::request::Request;
use crate::domain::{Account, AccountId, AccountKey, Email, Error, Plan, ResellerId, Time};
use crate::service::{Completion, IdempotencyKey};
use crate::store::{
    HeldChanges, NewJournalEntry, ResellerTerms, Store, StoredRequest, Tenancy, Tx,
};
pub(in crate::service) use rehearsal::Rehearsal;
pub use rehearsal::Rehearsed;

/// Why a batch was not committed.
pub(super) struct BatchError {
    pub(super) error: Error,
    /// Whether the requests may succeed one by one. They cannot if the database is unavailable.
    /// They must not be tried again if the commit was not answered, because then they may have been
    /// committed.
    pub(super) is_worth_trying_alone: bool,
}

impl From<Error> for BatchError {
    fn from(error: Error) -> Self {
        Self {
            is_worth_trying_alone: error != Error::Unavailable,
            error,
        }
    }
}

/// Why a batch was not written.
enum CommitError {
    /// Another replica has changed an account since it was read. Or the batch needs several
    /// statements and has no transaction.
    Stale,
    Error(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The result of a committed batch.
pub(super) struct Committed {
    /// The outcomes, in the order of the requests.
    pub(super) outcomes: Vec<Result<Completion, Error>>,
    /// The resellers that have new events.
    pub(super) with_events: BTreeSet<ResellerId>,
    /// The answers that were stored.
    pub(super) answers: Vec<StoredRequest>,
}

/// Carries out requests in one transaction. Answers to idempotent requests are stored for `window`.
///
/// There are up to three attempts: in a single statement without a transaction, if all requests are
/// simple; in a transaction; and in a transaction that locks the accounts. If an attempt finds a
/// stale account, the next one follows.
pub(super) async fn commit(
    store: &Store,
    requests: &[Request],
    now: Time,
    window: Duration,
) -> Result<Committed, BatchError> {
    let answers_until = now + window;
    // An operator's answers are stored under the platform's reseller, not the account's.
    let storage_resellers = requests
        .iter()
        .filter(|request| request.idempotency.is_some())
        .map(|request| request.context.principal.storage_reseller());
    let resellers: BTreeSet<_> = requests
        .iter()
        .map(|request| request.reseller)
        .chain(storage_resellers)
        .collect();
    let keys: BTreeSet<AccountKey> = requests.iter().filter_map(Request::key).collect();
    let keys: Vec<AccountKey> = keys.into_iter().collect();
    if requests.iter().all(Request::is_simple) {
        let (tx, accounts) = store.look_up(&resellers, &keys).await?;
        let batch = Batch::of(accounts, now);
        if let Some(committed) = attempt(tx, batch, requests, answers_until).await? {
            return Ok(committed);
        }
    }
    let tenancy = Tenancy::Resellers(resellers);
    // The first time without locks. Locked accounts do not change, but an import may yet take a
    // number that was drawn for a new account.
    for is_locking in [false, true, true, true] {
        let mut tx = store.begin_keyed(&tenancy).await?;
        let batch = match Batch::load(&mut tx, requests, &keys, now, is_locking).await {
            Ok(batch) => batch,
            Err(error) => {
                tx.abort(&error).await;
                return Err(error.into());
            }
        };
        if let Some(committed) = attempt(tx, batch, requests, answers_until).await? {
            let creations = requests.iter().filter(|request| request.key().is_none());
            store.note_created(creations.count());
            return Ok(committed);
        }
    }
    // Several imports took the numbers that were drawn, one after the other.
    Err(BatchError::from(Error::Unavailable))
}

/// Decides, writes and commits. `None` means that an account was stale, and nothing was committed.
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
    let with_events = batch
        .journal
        .iter()
        .filter(|entry| entry.sequence.is_some())
        .map(|entry| entry.reseller)
        .collect();
    match batch.write(&mut tx, answers_until).await {
        Ok(answers) => {
            tx.commit().await.map_err(|error| BatchError {
                error,
                is_worth_trying_alone: false,
            })?;
            Ok(Some(Committed {
                outcomes,
                with_events,
                answers,
            }))
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

/// The accounts and the other data that the decisions need, and the changes that they make.
#[derive(Clone, Default)]
struct Batch {
    now: Time,
    /// The accounts as they are after the requests decided so far.
    accounts: BTreeMap<AccountKey, Account>,
    /// The versions of the accounts as they were read.
    versions: BTreeMap<AccountKey, i64>,
    terms: HashMap<ResellerId, ResellerTerms>,
    /// How many live accounts each reseller with an account limit has.
    live_accounts: HashMap<ResellerId, i64>,
    /// The live account that has an e-mail address, for each address that the requests need.
    emails: HashMap<(ResellerId, String), AccountId>,
    plans: Vec<Arc<Plan>>,
    /// Unused account numbers, one for each account that the batch will create.
    fresh_ids: Vec<AccountId>,
    /// A number that no account of the batch has. A creation is decided with it when no unused one
    /// is left, and is then refused in any case.
    spare_id: Option<AccountId>,
    /// The stored answers, including those of this batch.
    answers: HashMap<IdempotencyKey, StoredRequest>,

    // The fields from here on record what is to be written.
    /// The resellers that requests were decided for because they are not suspended.
    unsuspended: BTreeSet<ResellerId>,
    created: BTreeSet<AccountKey>,
    changed: BTreeSet<AccountKey>,
    /// Accounts whose profile changed, new ones included.
    reprofiled: BTreeSet<AccountKey>,
    /// Accounts that exist already and whose metadata changed.
    retagged: BTreeSet<AccountKey>,
    /// Accounts whose dates of announcement or purge changed.
    rescheduled: BTreeSet<AccountKey>,
    purged: BTreeSet<AccountKey>,
    /// The holds whose rows in the lists are to be written.
    held: HeldChanges,
    journal: Vec<NewJournalEntry>,
    new_answers: Vec<StoredRequest>,
}

impl Batch {
    /// A batch with accounts and nothing else, which is enough for simple requests.
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
}

/// The key of the e-mail address of a live account, which no other live account of the reseller may
/// have.
fn live_email(account: &Account) -> Option<(ResellerId, String)> {
    let email = account.profile.email.as_ref()?;
    is_live(account).then(|| (account.reseller_id, email.key()))
}

/// Whether an account counts against its reseller's limit: it is not deleted.
fn is_live(account: &Account) -> bool {
    account.deleted_at.is_none()
}

/// The keys that the e-mail address of an account may have, also of a deleted one, which takes its
/// address again when it is restored.
fn emails_of(account: &Account) -> Vec<(ResellerId, String)> {
    let email = account.profile.email.as_ref();
    email
        .map(|email| with_keys(account.reseller_id, email))
        .unwrap_or_default()
}

fn with_keys(reseller: ResellerId, email: &Email) -> Vec<(ResellerId, String)> {
    let keys = email.possible_keys().into_iter();
    keys.map(|key| (reseller, key)).collect()
}

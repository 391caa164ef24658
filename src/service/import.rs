//! Imports: accounts of another system, many in one transaction.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::group_commit::{ImportOutcomes, import};
use super::{Context, Service};
use crate::domain::{AccountId, Error, ImportedAccount, ResellerId, Scope};

/// What becomes of a row whose number, UUID or e-mail address an account of the reseller has, and
/// which differs from that account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// The row is refused.
    Fail,
    /// The account stays as it is.
    Skip,
    /// The account is changed. Columns that the file does not have stay as they are.
    Update,
}

/// Rows that one transaction imports.
#[derive(Debug, Clone)]
pub struct ImportBatch {
    /// The reseller that gets the accounts.
    pub reseller: ResellerId,
    /// The rows, in order. A few hundred to a few thousand.
    pub rows: Arc<[ImportedAccount]>,
    /// See [`OnExisting`].
    pub on_existing: OnExisting,
    /// Whether rows after the first one with a problem are left out. If not, each row is imported or
    /// refused on its own.
    pub stops_at_problem: bool,
    /// Numbers that rows of other batches bring along. No row without a number gets one of them.
    pub reserved: Arc<HashSet<AccountId>>,
    /// How many accounts earlier batches would have created, if they were not written.
    pub planned: i64,
    /// Whether the rows are imported. If not, nothing is written, and the outcomes are those that
    /// the rows would have.
    pub is_writing: bool,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The account was created.
    Created(AccountId),
    /// The account existed and was changed.
    Updated(AccountId),
    /// The account existed, as the row says.
    AlreadyThere(AccountId),
    /// The account existed, differs from the row, and stays as it is.
    Skipped(AccountId),
}

/// Why a row was refused. Nothing of it was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProblem {
    /// The column; `None` if the row as a whole is refused.
    pub column: Option<&'static str>,
    /// What is wrong, for people.
    pub problem: String,
}

impl ImportProblem {
    /// A problem of a column.
    pub fn of(column: &'static str, problem: impl Into<String>) -> Self {
        Self {
            column: Some(column),
            problem: problem.into(),
        }
    }
}

impl Service {
    /// Imports accounts in one transaction. The outcomes are in the order of the rows; there are
    /// fewer if the batch stopped at a problem, which is then the last one.
    ///
    /// # Errors
    /// [`Error::ResellerNotFound`]. After [`Error::Unavailable`] the rows may have been committed or
    /// not. It is safe to import them again: rows that are in count as already there.
    pub async fn import_accounts(
        &self,
        context: &Context,
        batch: ImportBatch,
    ) -> Result<ImportOutcomes, Error> {
        context.principal.require(Scope::AccountWrite)?;
        context.principal.resolve_reseller(Some(batch.reseller))?;
        let (store, context, now) = (self.store.clone(), context.clone(), self.now());
        let (process, events) = (self.process, self.events.clone());
        self.detached(async move {
            let outcomes = import(&store, &context, &batch, now).await?;
            let has_events = |outcome: &Result<ImportOutcome, _>| {
                matches!(
                    outcome,
                    Ok(ImportOutcome::Created(_) | ImportOutcome::Updated(_))
                )
            };
            if batch.is_writing && outcomes.iter().any(has_events) {
                let resellers = BTreeSet::from([batch.reseller]);
                // Readers in this process and in others also poll, so a lost notification is a delay.
                let _no_receiver = events.send(super::News::Events(vec![batch.reseller]));
                let _lost = store.announce_events(process, &resellers).await;
            }
            Ok(outcomes)
        })
        .await
    }
}

//! What an import is asked to do, and what became of it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::{AccountId, ImportedAccount, ResellerId};

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
    Updated(AccountId, OwnBlocks),
    /// The account existed, as the row says.
    AlreadyThere(AccountId, OwnBlocks),
    /// The account existed, differs from the row, and stays as it is.
    Skipped(AccountId, OwnBlocks),
}

/// The holds of the reseller that an account has and its row does not. An import lifts none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnBlocks {
    /// It has a freeze.
    pub freeze: bool,
    /// It has a suspension.
    pub suspension: bool,
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

/// The outcome of each row, in order. There are fewer than rows if the batch stopped at a problem.
pub(in crate::service) type ImportOutcomes = Vec<Result<ImportOutcome, ImportProblem>>;

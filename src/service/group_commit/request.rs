//! The request for a change, as it is queued on a lane.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::{AccountFilter, AccountId, AccountKey, Command, Email, ResellerId, Revision};
use crate::service::Context;
use crate::service::idempotency::IdempotentRequest;

/// A change of one account.
#[derive(Debug, Clone)]
pub(in crate::service) struct Request {
    /// The caller.
    pub(in crate::service) context: Context,
    /// The reseller that owns the account, or will.
    pub(in crate::service) reseller: ResellerId,
    /// The change.
    pub(in crate::service) kind: ChangeKind,
    /// Set if the request carries an idempotency key.
    pub(in crate::service) idempotency: Option<IdempotentRequest>,
}

/// The kinds of changes.
#[derive(Debug, Clone)]
pub(in crate::service) enum ChangeKind {
    /// Creates an account.
    Create {
        /// The outside identity of the new account.
        uid: Uuid,
        /// Its profile.
        revision: Box<Revision>,
    },
    /// Carries out a command on an existing account.
    Command {
        account: AccountId,
        command: Command,
        /// The versions of which the account must have one. `None` means any.
        expected_versions: Option<Arc<[i64]>>,
        /// The filter that the account must match. `None` means any account.
        filter: Option<Arc<AccountFilter>>,
    },
}

impl Request {
    /// The key of the account. `None` if the request creates it.
    pub(in crate::service) fn key(&self) -> Option<AccountKey> {
        match &self.kind {
            ChangeKind::Create { .. } => None,
            ChangeKind::Command { account, .. } => Some((self.reseller, *account)),
        }
    }

    /// Whether the account alone is enough to decide the request, and a single statement is usually
    /// enough to write the result. Most requests are of this kind.
    pub(in crate::service) fn is_simple(&self) -> bool {
        let is_simple = match &self.kind {
            ChangeKind::Create { .. } => false,
            ChangeKind::Command { command, .. } => {
                matches!(
                    command,
                    Command::Place { .. }
                        | Command::Lift { .. }
                        | Command::Redeem { .. }
                        | Command::SetStatus(_)
                        | Command::Delete { .. }
                )
            }
        };
        is_simple && self.idempotency.is_none()
    }

    /// Whether the reseller's terms (account limit, suspension, purge policy) are needed to decide
    /// the request.
    pub(in crate::service) fn needs_terms(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::Create { .. }
                | ChangeKind::Command {
                    command: Command::PlanPurge(_) | Command::Purge(_) | Command::Restore,
                    ..
                }
        )
    }

    /// The changes of profile fields that the request contains.
    pub(in crate::service) fn revision(&self) -> Option<&Revision> {
        match &self.kind {
            ChangeKind::Create { revision, .. }
            | ChangeKind::Command {
                command: Command::Revise(revision),
                ..
            } => Some(revision),
            ChangeKind::Command { .. } => None,
        }
    }

    /// The e-mail address that the request gives to its account. A restored account takes its old
    /// address again, which is not known before the account is read.
    pub(in crate::service) fn email(&self) -> Option<&Email> {
        self.revision()?.profile.email.value()
    }

    /// Whether the request restores a deleted account.
    pub(in crate::service) fn is_restoration(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::Command {
                command: Command::Restore,
                ..
            }
        )
    }
}

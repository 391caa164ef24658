//! One change that is asked for, on its way to a lane.

use uuid::Uuid;

use crate::domain::AccountKey;
use crate::domain::{AccountId, Command, Email, ResellerId, Revision};
use crate::service::Context;
use crate::service::idempotency::IdempotentRequest;

/// One change that is asked for.
#[derive(Debug, Clone)]
pub(in crate::service) struct Request {
    pub(in crate::service) context: Context,
    pub(in crate::service) reseller: ResellerId,
    pub(in crate::service) what: ChangeKind,
    pub(in crate::service) once: Option<IdempotentRequest>,
}

#[derive(Debug, Clone)]
pub(in crate::service) enum ChangeKind {
    Create {
        uid: Uuid,
        revision: Box<Revision>,
    },
    Command {
        account: AccountId,
        command: Command,
        only_at: Option<i64>,
    },
}

impl Request {
    pub(in crate::service) fn key(&self) -> Option<AccountKey> {
        match &self.what {
            ChangeKind::Create { .. } => None,
            ChangeKind::Command { account, .. } => Some((self.reseller, *account)),
        }
    }

    /// Whether nothing but the account itself is needed to decide it, and one statement, in all likelihood, to write it.
    pub(in crate::service) fn is_of_the_lifecycle(&self) -> bool {
        let what = match &self.what {
            ChangeKind::Create { .. } => false,
            ChangeKind::Command { command, .. } => {
                matches!(
                    command,
                    Command::Place { .. }
                        | Command::Lift { .. }
                        | Command::SetStatus(_)
                        | Command::Delete { .. }
                )
            }
        };
        what && self.once.is_none()
    }

    /// Whether what its reseller says of the purge is needed to decide it.
    pub(in crate::service) fn is_of_the_purge(&self) -> bool {
        matches!(
            self.what,
            ChangeKind::Command {
                command: Command::PlanPurge(_) | Command::Purge(_),
                ..
            }
        )
    }

    /// What this request says of the descriptive fields, if anything.
    pub(in crate::service) fn revision(&self) -> Option<&Revision> {
        match &self.what {
            ChangeKind::Create { revision, .. }
            | ChangeKind::Command {
                command: Command::Revise(revision),
                ..
            } => Some(revision),
            ChangeKind::Command { .. } => None,
        }
    }

    /// The address that this request may give to an account, as far as it can be known beforehand.
    pub(in crate::service) fn email(&self) -> Option<&Email> {
        self.revision()?.profile.email.value()
    }
}
